//! The service manager of a cluster: the small supervisor or systemd, behind the same questions.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::Instant;

use super::{
    config::{Config, Manager},
    layout::Layout,
    progress::Step,
    spec::Spec,
    supervisor::{
        MARK,
        client::ask,
        protocol::{Request, State, Status},
    },
    systemd,
};

/// Whether systemd is PID 1 of this machine.
#[must_use]
pub fn systemd_is_running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The services of one cluster.
#[derive(Debug)]
pub struct Services<'a> {
    config: &'a Config,
    layout: Layout,
}

impl<'a> Services<'a> {
    /// The services of `config`.
    #[must_use]
    pub fn new(config: &'a Config) -> Self {
        Self { config, layout: config.layout() }
    }

    /// Makes the manager run and know `specs`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn install(&self, specs: &[Spec]) -> anyhow::Result<()> {
        Spec::save_all(&self.layout, specs)?;
        match self.config.manager {
            Manager::Systemd => systemd::install(self.config, specs),
            Manager::Builtin => {
                if self.ask(&Request::Reload)?.is_none() {
                    self.start_supervisor()?;
                }
                Ok(())
            }
        }
    }

    fn ask(&self, request: &Request) -> anyhow::Result<Option<Vec<Status>>> {
        ask(&self.layout, request)
    }

    fn start_supervisor(&self) -> anyhow::Result<()> {
        let path = self.layout.logs().join("supervisor.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot open {}", path.display()))?;
        let me = std::env::current_exe().context("cannot find the path of gantryctl")?;
        let status = Command::new("setsid")
            .arg("--fork")
            .arg(me)
            .args(["supervise", "--name", &self.config.name, "--data-dir"])
            .arg(&self.config.data_dir)
            // Found by it, as the services are, when the state folder is lost.
            .env(MARK, self.layout.root().join("supervisor"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .context("cannot start the supervisor with setsid")?;
        if !status.success() {
            bail!("the supervisor cannot be started: setsid: {status}");
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.ask(&Request::Status)?.is_none() {
            if Instant::now() > deadline {
                bail!("the supervisor does not start; see {}", path.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// How the services are. Without a manager, nothing is known: an empty list.
    ///
    /// # Errors
    /// When the manager does not answer.
    pub fn status(&self) -> anyhow::Result<Vec<Status>> {
        match self.config.manager {
            Manager::Systemd => systemd::status(self.config, &Spec::load_all(&self.layout)?),
            Manager::Builtin => Ok(self.ask(&Request::Status)?.unwrap_or_default()),
        }
    }

    fn require(&self, request: &Request) -> anyhow::Result<()> {
        match self.ask(request)? {
            Some(_) => Ok(()),
            None => bail!(
                "the supervisor of the cluster {:?} does not run; `gantryctl up` starts it (services go on without it)",
                self.config.name
            ),
        }
    }

    /// Starts a service; one that runs with an older description is started anew.
    ///
    /// # Errors
    /// When there is no such service, or the manager refuses.
    pub fn start(&self, name: &str) -> anyhow::Result<()> {
        match self.config.manager {
            Manager::Systemd => systemd::start(self.config, name),
            Manager::Builtin => self.require(&Request::Start { name: name.to_owned() }),
        }
    }

    /// Ends a service, and waits for its end.
    ///
    /// # Errors
    /// As [`Services::start`], or when it does not end.
    pub fn stop(&self, name: &str, kill: bool) -> anyhow::Result<()> {
        match self.config.manager {
            Manager::Systemd => systemd::stop(self.config, name, kill),
            Manager::Builtin => {
                self.require(&Request::Stop { name: name.to_owned(), kill })?;
                self.wait(name, Duration::from_secs(60), None, |s| s.state == State::Stopped).map(drop)
            }
        }
    }

    /// Ends a service and starts it again.
    ///
    /// # Errors
    /// As [`Services::start`].
    pub fn restart(&self, name: &str) -> anyhow::Result<()> {
        match self.config.manager {
            Manager::Systemd => systemd::restart(self.config, name),
            Manager::Builtin => self.require(&Request::Restart { name: name.to_owned() }),
        }
    }

    /// Makes the manager run without starting anything that does not run, so that services can be stopped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn adopt(&self) -> anyhow::Result<()> {
        match self.config.manager {
            Manager::Systemd => Ok(()),
            Manager::Builtin if self.ask(&Request::Status)?.is_some() => Ok(()),
            Manager::Builtin => self.start_supervisor(),
        }
    }

    /// Waits until a service works in another process than `before`.
    ///
    /// # Errors
    /// As [`Services::wait_ready`].
    pub fn wait_replaced(&self, name: &str, before: Option<i32>, limit: Duration) -> anyhow::Result<Status> {
        self.wait(name, limit, None, |s| s.state == State::Ready && !s.outdated && s.pid != before)
    }

    /// Waits until a service says that it works.
    ///
    /// # Errors
    /// When it does not within `limit`: with the end of its log.
    pub fn wait_ready(&self, name: &str, limit: Duration, step: Option<&Step>) -> anyhow::Result<Status> {
        self.wait(name, limit, step, |s| s.state == State::Ready && !s.outdated)
    }

    fn wait(
        &self,
        name: &str,
        limit: Duration,
        step: Option<&Step>,
        wanted: impl Fn(&Status) -> bool,
    ) -> anyhow::Result<Status> {
        let deadline = Instant::now() + limit;
        loop {
            let all = self.status()?;
            let status = all.into_iter().find(|s| s.name == name);
            let status = status.with_context(|| format!("there is no service {name:?}"))?;
            if wanted(&status) {
                return Ok(status);
            }
            if Instant::now() > deadline {
                let last = status.last_exit.map(|e| format!(", it ended last with {e}")).unwrap_or_default();
                bail!(
                    "the service {name} is {:?} after {} s{last}. Its log ends with:\n{}",
                    status.state,
                    limit.as_secs(),
                    self.log_end(name)
                );
            }
            if let (Some(step), Some(exit)) = (step, &status.last_exit) {
                step.waiting(&format!("{name} ended with {exit}, tried again"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The last lines of a service's log.
    #[must_use]
    pub fn log_end(&self, name: &str) -> String {
        let text = match self.config.manager {
            Manager::Systemd => systemd::log_end(self.config, name),
            Manager::Builtin => {
                let bytes = fs::read(self.layout.logs().join(format!("{name}.log"))).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].iter().map(|l| format!("    {l}\n")).collect()
    }

    /// Ends the manager itself.
    ///
    /// # Errors
    /// When it does not end.
    pub fn uninstall(&self) -> anyhow::Result<()> {
        match self.config.manager {
            Manager::Systemd => systemd::uninstall(self.config),
            Manager::Builtin => {
                self.ask(&Request::Quit)?;
                let deadline = Instant::now() + Duration::from_secs(10);
                while self.layout.supervisor_socket().exists() && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            }
        }
    }
}
