//! The API server under test.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use gantry_store::testing::Etcd;
use hyper::Method;
use tokio::time::Instant;

use crate::http::Target;
use crate::pki::Pki;
use crate::process::{self, Daemon};
use crate::store::By;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// A running API server and its etcd.
pub(super) struct Server {
    // Dropped in this order: the API server before its etcd.
    daemon: Option<Daemon>,
    etcd: Etcd,
    etcd_by: By,
    pki: Pki,
    port: u16,
    pub(super) target: Target,
    /// From the start of the process to the first 200 of /readyz.
    pub(super) start_ms: f64,
}

impl Server {
    pub(super) async fn start(binary: &Path, pki: Pki, etcd: Etcd, etcd_by: By) -> anyhow::Result<Self> {
        let port = gantry_store::testing::free_port()?;
        let url = format!("https://127.0.0.1:{port}");
        let target = Target::new(&url, None, pki.ca_pem(), Some(pki.admin()), None)?;
        let mut server = Self { daemon: None, etcd, etcd_by, pki, port, target, start_ms: 0.0 };
        server.restart(binary).await?;
        Ok(server)
    }

    /// Stops it, if it runs, and starts it again.
    pub(super) async fn restart(&mut self, binary: &Path) -> anyhow::Result<()> {
        drop(self.daemon.take());
        let log = self.pki.folder().join("apiserver.log");
        let started = Instant::now();
        let mut daemon = Daemon::start(&mut self.command(binary), &log)?;
        while !self.is_ready().await {
            let ended = daemon.ended()?;
            if ended.is_some() || started.elapsed() > START_TIMEOUT {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(10).collect();
                bail!(
                    "the API server is not ready after {:?} ({ended:?}); its last lines: {last:#?}",
                    started.elapsed()
                );
            }
            tokio::time::sleep(POLL).await;
        }
        self.start_ms = started.elapsed().as_secs_f64() * 1e3;
        self.daemon = Some(daemon);
        Ok(())
    }

    fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.args(["--bind-address", "127.0.0.1", "--secure-port", &self.port.to_string(), "--etcd-servers"]);
        match self.etcd_by {
            By::Socket => command.arg(self.etcd.socket_url()),
            By::Tls => command.arg(self.etcd.url()),
        };
        for (flag, name) in [
            ("--etcd-cafile", "ca.crt"),
            ("--etcd-certfile", "etcd-client.crt"),
            ("--etcd-keyfile", "etcd-client.key"),
            ("--tls-cert-file", "server.crt"),
            ("--tls-private-key-file", "server.key"),
            ("--client-ca-file", "ca.crt"),
            ("--service-account-key-file", "sa.key"),
            ("--service-account-signing-key-file", "sa.key"),
        ] {
            command.arg(flag).arg(self.pki.file(name));
        }
        command
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut connection) = self.target.connect().await else { return false };
        let answer = connection.answer(Method::GET, "/readyz", Bytes::new()).await;
        answer.is_ok_and(|(status, _)| status.is_success())
    }

    /// The stored size of an object, from etcd itself.
    pub(super) async fn stored_size(&self, key: &str) -> anyhow::Result<usize> {
        let store = crate::store::connect(&self.etcd, &self.pki, self.etcd_by).await?;
        let kv = store.get(key).await?.with_context(|| format!("{key} is not in etcd"))?;
        Ok(kv.value.len())
    }

    pub(super) fn apiserver_pid(&self) -> u32 {
        self.daemon.as_ref().map_or(0, Daemon::pid)
    }

    pub(super) fn etcd_pid(&self) -> u32 {
        self.etcd.pid()
    }

    pub(super) fn apiserver_cpu(&self) -> anyhow::Result<f64> {
        process::cpu_seconds(self.apiserver_pid())
    }

    pub(super) fn etcd_cpu(&self) -> anyhow::Result<f64> {
        process::cpu_seconds(self.etcd_pid())
    }
}
