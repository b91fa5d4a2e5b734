//! An API server of its own, on an etcd of its own, under load over REST; raw etcd beside it in the same run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gantry_store::Store;
use gantry_store::testing::Etcd;

use crate::objects::Kind;
use crate::pki::Pki;
use crate::report::Report;
use crate::{process, store};

mod reads;
mod server;
mod tls_fan;
mod watches;
mod writes;

use server::Server;

/// Flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The gantry-apiserver binary; default is the one beside this.
    #[arg(long)]
    apiserver: Option<PathBuf>,
    /// Clients at a time, each with its own connection.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    clients: Vec<usize>,
    /// Creates per run, kind and level; a quarter of it with one client.
    #[arg(long, default_value_t = 2_000)]
    count: usize,
    /// Pods in the LIST and memory measurements.
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Clients that watch one collection.
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// Events that each of them gets.
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// What they watch; peers are measured with pods.
    #[arg(long, value_enum, default_value = "pods")]
    watched: crate::objects::Kind,
    /// Milliseconds between two events: deliveries must not queue up behind each other, or their number is measured.
    #[arg(long, default_value_t = 20)]
    pace: u64,
    /// How the API server reaches etcd.
    #[arg(long, value_enum, default_value = "socket")]
    etcd_by: store::By,
    /// Seconds of rest before memory and idle CPU are read.
    #[arg(long, default_value_t = 20)]
    rest: u64,
}

/// What the parts share.
struct Bench<'a> {
    args: &'a Args,
    runs: usize,
    server: Server,
    raw: Raw,
}

/// The etcd to compare with; nobody else uses it.
struct Raw {
    _etcd: Etcd,
    tls: Arc<dyn Store>,
    socket: Arc<dyn Store>,
}

pub(crate) async fn run(args: &Args, runs: usize, disk: &Path, report: &mut Report) -> anyhow::Result<()> {
    let binary = process::binary(args.apiserver.as_deref(), "gantry-apiserver")?;
    let mut server = None;
    for _ in 0..runs {
        drop(server.take());
        let pki = Pki::new()?;
        let etcd = store::start_etcd(&pki, disk)?;
        let started = Server::start(&binary, pki, etcd, args.etcd_by).await?;
        report.add("cold start to /readyz, empty etcd", "ms", started.start_ms);
        server = Some(started);
    }
    let server = server.ok_or_else(|| anyhow::anyhow!("--runs must be at least 1"))?;
    let pki = Pki::new()?;
    let etcd = store::start_etcd(&pki, disk)?;
    let raw = Raw {
        tls: store::connect(&etcd, &pki, store::By::Tls).await?,
        socket: store::connect(&etcd, &pki, store::By::Socket).await?,
        _etcd: etcd,
    };
    let mut bench = Bench { args, runs, server, raw };
    bench.rest(report, "empty").await?;
    bench.prepare().await?;
    bench.fill(report).await?;
    bench.rest(report, &format!("{} pods", args.pods)).await?;
    bench.reads(report).await?;
    bench.watches(report).await?;
    for run in 0..runs {
        for kind in [Kind::ConfigMap, Kind::Pod] {
            bench.creates(run, kind, report).await?;
        }
    }
    for _ in 0..runs {
        bench.server.restart(&binary).await?;
        report.add("restart to /readyz, with what was created", "ms", bench.server.start_ms);
    }
    Ok(())
}

impl Bench<'_> {
    /// Memory, and CPU while nothing happens.
    async fn rest(&self, report: &mut Report, state: &str) -> anyhow::Result<()> {
        let before = (self.server.apiserver_cpu()?, self.server.etcd_cpu()?);
        tokio::time::sleep(Duration::from_secs(self.args.rest)).await;
        let per_minute = 60.0 / Duration::from_secs(self.args.rest).as_secs_f64();
        report.add(format!("API server, {state}: RSS"), "MiB", process::rss_mib(self.server.apiserver_pid())?);
        report.add(
            format!("API server, {state}: idle CPU"),
            "s a minute",
            (self.server.apiserver_cpu()? - before.0) * per_minute,
        );
        report.add(format!("etcd, {state}: RSS"), "MiB", process::rss_mib(self.server.etcd_pid())?);
        report.add(format!("etcd, {state}: idle CPU"), "s a minute", (self.server.etcd_cpu()? - before.1) * per_minute);
        Ok(())
    }
}
