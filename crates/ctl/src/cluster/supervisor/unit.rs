//! One supervised service: a task that starts its process, watches it, and starts it again.

use std::{
    fs,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use gantry_common::{backoff::Backoff, task};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpStream, UnixDatagram},
    process::{Child, Command as Program},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    MARK,
    protocol::{State, Status},
};
use crate::cluster::{
    layout::Layout,
    process::{self, Ident},
    spec::{Ready, Spec},
};

/// Delay before the first restart.
const RESTART_MIN: Duration = Duration::from_millis(200);
/// Longest delay before a restart.
const RESTART_MAX: Duration = Duration::from_secs(10);
/// A service that ran this long starts again without much delay.
const STEADY: Duration = Duration::from_secs(30);
/// How often a process that is not our child, or a port, is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a service's task is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Run, with the present description.
    Start,
    /// End and stay so.
    Stop {
        /// At once.
        kill: bool,
    },
    /// End and run again.
    Restart,
    /// The description from now on.
    Describe(Box<Spec>),
}

/// The outside of a service's task.
#[derive(Debug)]
pub(super) struct Handle {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
}

impl Handle {
    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(super) async fn send(&self, command: Command) -> anyhow::Result<()> {
        self.commands.send(command).await.ok().context("the service's task has ended")
    }
}

/// What is kept on disk about a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    wanted: bool,
    process: Option<Ident>,
    fingerprint: String,
    ready: bool,
}

/// A process that runs: our child, or one that an earlier supervisor started.
#[derive(Debug)]
struct Running {
    ident: Ident,
    child: Option<Child>,
    since: Instant,
}

impl Running {
    /// Waits for the end.
    async fn ended(&mut self) -> String {
        match &mut self.child {
            Some(child) => match child.wait().await {
                Ok(status) => describe(status),
                Err(error) => format!("cannot be waited for: {error}"),
            },
            None => {
                while self.ident.is_alive() {
                    sleep(LOOK).await;
                }
                "ended".to_owned()
            }
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

struct Unit {
    layout: Layout,
    spec: Spec,
    record: Record,
    running: Option<Running>,
    backoff: Backoff,
    /// When the next start is due.
    retry_at: Instant,
    /// When a process that was asked to end is killed.
    kill_at: Option<Instant>,
    notify: UnixDatagram,
    restarts: u32,
    last_exit: Option<String>,
    status: watch::Sender<Status>,
}

/// Starts a service's task; adopts the process if it runs already.
pub(super) fn start(layout: Layout, spec: Spec) -> anyhow::Result<Handle> {
    let socket = layout.notify_socket(&spec.name);
    drop(fs::remove_file(&socket));
    let notify = UnixDatagram::bind(&socket).with_context(|| format!("cannot make {}", socket.display()))?;
    let (commands, inbox) = mpsc::channel(16);
    let empty = Record { wanted: true, process: None, fingerprint: String::new(), ready: false };
    let initial = Status {
        name: spec.name.clone(),
        state: State::Waiting,
        pid: None,
        restarts: 0,
        last_exit: None,
        outdated: false,
    };
    let (sender, status) = watch::channel(initial);
    let mut unit = Unit {
        record: load(&record_path(&layout, &spec.name)).unwrap_or(empty),
        layout,
        spec,
        running: None,
        backoff: Backoff::new(RESTART_MIN, RESTART_MAX),
        retry_at: Instant::now(),
        kill_at: None,
        notify,
        restarts: 0,
        last_exit: None,
        status: sender,
    };
    unit.adopt();
    unit.publish();
    task::spawn("unit", unit.run(inbox));
    Ok(Handle { commands, status })
}

fn record_path(layout: &Layout, name: &str) -> PathBuf {
    layout.records().join(format!("{name}.json"))
}

fn load(path: &std::path::Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

impl Unit {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            if self.running.is_none() && self.record.wanted && Instant::now() >= self.retry_at {
                self.launch();
            }
            self.publish();
            let asks = self.running.is_some() && !self.record.ready;
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                how = ended(&mut self.running) => self.after_end(how),
                () = became_ready(&self.notify, self.spec.ready, asks) => {
                    self.record.ready = true;
                    self.save();
                }
                () = due(self.kill_at) => {
                    self.kill_at = None;
                    self.signal(Signal::SIGKILL);
                }
                () = sleep_until(self.retry_at), if self.running.is_none() && self.record.wanted => {}
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start => {
                self.record.wanted = true;
                self.retry_at = Instant::now();
                self.backoff.reset();
                if self.is_outdated() {
                    self.end(false);
                }
            }
            Command::Stop { kill } => {
                self.record.wanted = false;
                self.end(kill);
            }
            Command::Restart => {
                self.record.wanted = true;
                self.retry_at = Instant::now();
                self.end(false);
            }
            Command::Describe(spec) => self.spec = *spec,
        }
        self.save();
    }

    fn end(&mut self, kill: bool) {
        if self.running.is_none() {
            return;
        }
        if kill {
            self.signal(Signal::SIGKILL);
        } else if self.kill_at.is_none() {
            self.kill_at = Some(Instant::now() + Duration::from_secs(self.spec.stop_seconds.into()));
            self.signal(Signal::SIGTERM);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(running) = &self.running {
            running.ident.signal(signal);
        }
    }

    fn after_end(&mut self, how: String) {
        let running = self.running.take();
        let asked = self.kill_at.take().is_some() || !self.record.wanted;
        tracing::info!(service = %self.spec.name, %how, asked, "service ended");
        if running.is_some_and(|r| r.since.elapsed() >= STEADY) {
            self.backoff.reset();
        }
        if !asked {
            self.restarts += 1;
            self.retry_at = Instant::now() + self.backoff.next();
        }
        self.last_exit = Some(how);
        self.record.process = None;
        self.record.ready = false;
        self.save();
    }

    fn launch(&mut self) {
        self.record.ready = false;
        match self.spawn() {
            Ok(running) => {
                tracing::info!(service = %self.spec.name, pid = running.ident.pid, "service started");
                self.record.process = Some(running.ident);
                self.record.fingerprint = self.spec.fingerprint();
                self.running = Some(running);
            }
            Err(error) => {
                let message = format!("{error:#}");
                tracing::error!(service = %self.spec.name, error = message, "cannot start the service");
                self.last_exit = Some(message);
                self.retry_at = Instant::now() + self.backoff.next();
            }
        }
        self.save();
    }

    fn spawn(&self) -> anyhow::Result<Running> {
        let path = self.layout.logs().join(format!("{}.log", self.spec.name));
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot open {}", path.display()))?;
        if let Some(socket) = &self.spec.socket {
            remove_if_there(socket)?;
        }
        let mut program = match &self.spec.netns {
            None => Program::new(&self.spec.program),
            Some(netns) => {
                let mut nsenter = Program::new("nsenter");
                nsenter.arg(format!("--net={}", netns.display())).arg("--").arg(&self.spec.program);
                nsenter
            }
        };
        program
            .args(&self.spec.args)
            .envs(self.spec.env.iter().map(|(k, v)| (k, v)))
            .env("NOTIFY_SOCKET", self.layout.notify_socket(&self.spec.name))
            .env(MARK, self.mark())
            .env(FINGERPRINT, self.spec.fingerprint())
            .current_dir(self.spec.folder.as_deref().unwrap_or_else(|| Path::new("/")))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        program.as_std_mut().process_group(0);
        let child = program.spawn().with_context(|| format!("cannot start {}", self.spec.program.display()))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).context("the process ended at once")?;
        let ident = Ident::of_child(pid).context("the process cannot be found")?;
        Ok(Running { ident, child: Some(child), since: Instant::now() })
    }

    fn mark(&self) -> String {
        format!("{}/{}", self.layout.root().display(), self.spec.name)
    }

    /// Takes over the process that an earlier supervisor started.
    fn adopt(&mut self) {
        let recorded = self.record.process.filter(|p| p.is_alive());
        let found = recorded.map(|ident| (ident, None)).or_else(|| self.find_by_mark());
        let Some((ident, fingerprint)) = found else {
            self.record.process = None;
            return;
        };
        tracing::info!(service = %self.spec.name, pid = ident.pid, "service adopted");
        if let Some(fingerprint) = fingerprint {
            self.record.fingerprint = fingerprint;
        }
        self.record.process = Some(ident);
        self.running = Some(Running { ident, child: None, since: Instant::now() });
        self.save();
    }

    /// A process that was started but not recorded. Children of a service inherit the mark, but run other programs.
    fn find_by_mark(&self) -> Option<(Ident, Option<String>)> {
        let mark = format!("{MARK}={}", self.mark());
        let program = self.spec.program.to_string_lossy();
        process::all().into_iter().find_map(|pid| {
            let environment = process::environment(pid);
            let is_it =
                environment.contains(&mark) && process::command_line(pid).first().is_some_and(|a| *a == program);
            let fingerprint = environment.iter().find_map(|e| e.strip_prefix(&format!("{FINGERPRINT}=")));
            is_it.then(|| Ident::of(pid)).flatten().map(|ident| (ident, fingerprint.map(str::to_owned)))
        })
    }

    fn is_outdated(&self) -> bool {
        self.running.is_some() && self.record.fingerprint != self.spec.fingerprint()
    }

    fn save(&self) {
        let path = record_path(&self.layout, &self.spec.name);
        let bytes = serde_json::to_vec(&self.record).unwrap_or_default();
        if let Err(error) = process::write_atomically(&path, &bytes, 0o600) {
            tracing::warn!("{error:#}");
        }
    }

    fn publish(&self) {
        let state = match &self.running {
            Some(_) if self.kill_at.is_some() || !self.record.wanted => State::Stopping,
            Some(_) if self.record.ready => State::Ready,
            Some(_) => State::Starting,
            None if self.record.wanted => State::Waiting,
            None => State::Stopped,
        };
        self.status.send_replace(Status {
            name: self.spec.name.clone(),
            state,
            pid: self.running.as_ref().map(|r| r.ident.pid),
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            outdated: self.is_outdated(),
        });
    }
}

/// In the environment of each service: the description it was started with.
const FINGERPRINT: &str = "GANTRY_SERVICE_FINGERPRINT";

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

async fn ended(running: &mut Option<Running>) -> String {
    match running {
        Some(running) => running.ended().await,
        None => std::future::pending().await,
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until the service says, or shows, that it works; for ever when nobody asks.
async fn became_ready(notify: &UnixDatagram, how: Ready, asked: bool) {
    if !asked {
        return std::future::pending().await;
    }
    match how {
        Ready::Notify => {
            let mut buffer = [0; 4096];
            loop {
                match notify.recv(&mut buffer).await {
                    Ok(n) if String::from_utf8_lossy(&buffer[..n]).lines().any(|l| l == "READY=1") => return,
                    Ok(_) => {}
                    Err(_) => sleep(LOOK).await,
                }
            }
        }
        Ready::Tcp(address) => {
            while TcpStream::connect(address).await.is_err() {
                sleep(LOOK).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
