//! A small supervisor for machines where systemd is not PID 1.
//!
//! Services outlive it: they run in process groups of their own, write to files rather than to its pipes, and a new
//! supervisor finds them again by process id and start time, or by the mark in their environment.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use gantry_common::{shutdown::Shutdown, task};
use nix::fcntl::{Flock, FlockArg};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Mutex,
};

use super::{layout::Layout, spec::Spec};

pub mod client;
mod log;
pub mod protocol;
mod unit;

use protocol::{Reply, Request};

/// In the environment of each service: the state folder of its cluster and its name.
pub const MARK: &str = "GANTRY_SERVICE";
/// How often log files are looked at.
const LOG_CHECK: Duration = Duration::from_secs(10);

struct Supervisor {
    layout: Layout,
    units: Mutex<BTreeMap<String, unit::Handle>>,
    shutdown: Shutdown,
}

/// Keeps the services of a cluster running until asked to stop. The services go on when it ends.
///
/// # Errors
/// When another supervisor runs for this cluster, or a file cannot be made.
pub async fn run(cluster: &str, layout: Layout, shutdown: Shutdown) -> anyhow::Result<()> {
    let _lock = lock(&layout)?;
    let socket = layout.supervisor_socket();
    // The lock is ours, so a socket that is there belongs to nobody.
    drop(fs::remove_file(&socket));
    let listener = UnixListener::bind(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
    let me = Arc::new(Supervisor { layout, units: Mutex::new(BTreeMap::new()), shutdown: shutdown.clone() });
    me.reload().await?;
    task::spawn("log-limit", limit_logs(me.layout.clone(), shutdown.clone()));
    tracing::info!(cluster, "supervising");
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("cannot accept on the supervisor's socket")?;
                let me = me.clone();
                task::spawn("request", async move {
                    if let Err(error) = me.serve(stream).await {
                        tracing::debug!(%error, "a client went away");
                    }
                });
            }
        }
    }
    drop(fs::remove_file(me.layout.supervisor_socket()));
    Ok(())
}

fn lock(layout: &Layout) -> anyhow::Result<Flock<fs::File>> {
    let path = layout.records().join("lock");
    let file = fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => bail!("another supervisor holds {}", path.display()),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

async fn limit_logs(layout: Layout, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(LOG_CHECK) => {}
        }
        if let Err(error) = log::limit_all(&layout.logs()) {
            tracing::warn!(%error, "cannot shorten a log file");
        }
    }
}

impl Supervisor {
    async fn serve(&self, stream: UnixStream) -> anyhow::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut line = String::new();
        // A request is a short line; more is nonsense.
        BufReader::new(tokio::io::AsyncReadExt::take(read, 64 * 1024)).read_line(&mut line).await?;
        let reply = match serde_json::from_str(&line) {
            Ok(request) => self.answer(request).await,
            Err(error) => Reply::error(format!("cannot read the request: {error}")),
        };
        write.write_all(&serde_json::to_vec(&reply)?).await?;
        write.shutdown().await?;
        Ok(())
    }

    async fn answer(&self, request: Request) -> Reply {
        let result = match request {
            Request::Status => Ok(()),
            Request::Reload => self.reload().await,
            Request::Start { name } => self.command(&name, unit::Command::Start).await,
            Request::Stop { name, kill } => self.command(&name, unit::Command::Stop { kill }).await,
            Request::Restart { name } => self.command(&name, unit::Command::Restart).await,
            Request::Quit => {
                self.shutdown.trigger();
                Ok(())
            }
        };
        match result {
            Ok(()) => Reply { error: None, services: self.status().await },
            Err(error) => Reply::error(format!("{error:#}")),
        }
    }

    async fn status(&self) -> Vec<protocol::Status> {
        self.units.lock().await.values().map(unit::Handle::status).collect()
    }

    /// Reads the service descriptions; new services are added (adopted if they run), changed ones are told.
    async fn reload(&self) -> anyhow::Result<()> {
        let specs = Spec::load_all(&self.layout)?;
        let mut units = self.units.lock().await;
        for spec in specs {
            match units.get(&spec.name) {
                Some(handle) => handle.send(unit::Command::Describe(Box::new(spec))).await?,
                None => {
                    let handle = unit::start(self.layout.clone(), spec)?;
                    units.insert(handle.status().name, handle);
                }
            }
        }
        Ok(())
    }

    async fn command(&self, name: &str, command: unit::Command) -> anyhow::Result<()> {
        let units = self.units.lock().await;
        let Some(unit) = units.get(name) else {
            bail!("there is no service {name:?}; there are: {}", units.keys().cloned().collect::<Vec<_>>().join(", "));
        };
        unit.send(command).await
    }
}
