//! GET and LIST.

use tokio::time::Instant;

use super::Bench;
use super::writes::LISTED;
use crate::http::Connection;
use crate::load::{self, Client};
use crate::process;
use crate::report::Report;

/// Enough for CPU time, which the kernel counts in steps of 10 ms.
const GETS: usize = 20_000;

/// A client that gets pods, one after the other.
struct Getter {
    connection: Connection,
    pods: usize,
}

impl Client for Getter {
    async fn request(&mut self, number: usize) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{LISTED}/pods/pod-{:06}", number % self.pods);
        self.connection.get_size(&path).await.map(drop)
    }
}

impl Bench<'_> {
    pub(super) async fn reads(&self, report: &mut Report) -> anyhow::Result<()> {
        for _ in 0..self.runs {
            for clients in [1, 16] {
                let connections = self.server.target.connections(clients).await?;
                let getter = |connection| Getter { connection, pods: self.args.pods };
                let cpu = self.server.apiserver_cpu()?;
                let outcome = load::run(connections.into_iter().map(getter).collect(), GETS).await?;
                let cpu = self.server.apiserver_cpu()? - cpu;
                let name = format!("GET a pod, {clients} clients");
                outcome.report(report, &name);
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                report.add(format!("{name}: API server CPU"), "us each", cpu * 1e6 / GETS as f64);
            }
            self.lists(report).await?;
        }
        Ok(())
    }

    async fn lists(&self, report: &mut Report) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{LISTED}/pods");
        let mut connection = self.server.target.connect().await?;
        for (name, query) in [("RV 0", "?resourceVersion=0"), ("consistent", "")] {
            let cpu = self.server.apiserver_cpu()?;
            let started = Instant::now();
            let size = connection.get_size(&format!("{path}{query}")).await?;
            let time = started.elapsed().as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let megabytes = size as f64 / 1e6;
            let name = format!("LIST {} pods, {name}", self.args.pods);
            report.add(&name, "ms", time * 1e3);
            report.add(format!("{name}: throughput"), "MB/s", megabytes / time);
            report.add(format!("{name}: API server CPU"), "ms", (self.server.apiserver_cpu()? - cpu) * 1e3);
        }
        let started = Instant::now();
        connection.get_size(&format!("{path}?limit=500")).await?;
        report.add("first page of 500", "ms", started.elapsed().as_secs_f64() * 1e3);
        let mut connections = self.server.target.connections(8).await?;
        let pid = self.server.apiserver_pid();
        let before = process::rss_mib(pid)?;
        process::forget_peak(pid)?;
        let started = Instant::now();
        let listed = connections.iter_mut().map(|connection| connection.get_size(&path));
        futures::future::try_join_all(listed).await?;
        report.add(
            format!("LIST {} pods, 8 at a time, all done", self.args.pods),
            "ms",
            started.elapsed().as_secs_f64() * 1e3,
        );
        report.add(
            format!("LIST {} pods, 8 at a time: RSS at its peak above before", self.args.pods),
            "MiB",
            process::peak_mib(pid)? - before,
        );
        Ok(())
    }
}
