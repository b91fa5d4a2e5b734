//! Watches: many clients of one collection; what a delivered event costs, and how late it comes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use gantry_common::task;
use hyper::Method;
use memchr::memchr;
use memchr::memmem::Finder;
use tokio::time::Instant;

use super::{Bench, tls_fan};
use crate::http::Connection;
use crate::load::quantile_ms;
use crate::report::Report;

/// How long to wait for the last event.
const PATIENCE: Duration = Duration::from_secs(60);

/// When each object's creation was begun.
type Begun = Arc<Vec<OnceLock<Instant>>>;

/// One watching client.
struct Watcher {
    connection: Connection,
    /// What stands before an object's number in its events. The reader shares the processors with what it measures: it looks
    /// for nothing else and moves no bytes that it need not.
    mark: Finder<'static>,
    begun: Begun,
}

impl Watcher {
    async fn start(
        mut connection: Connection,
        (path, from): (&str, &str),
        mark: &str,
        begun: Begun,
    ) -> anyhow::Result<Self> {
        let path = format!("{path}?watch=true&resourceVersion={from}");
        let status = connection.send(Method::GET, &path, Bytes::new()).await?;
        anyhow::ensure!(status.is_success(), "watch: {status}");
        Ok(Self { connection, mark: Finder::new(mark.as_bytes()).into_owned(), begun })
    }

    /// Reads until all objects have come; how late each did, and the bytes of all.
    async fn run(mut self) -> anyhow::Result<(Vec<Duration>, usize)> {
        let mut lags = Vec::with_capacity(self.begun.len());
        let mut buffer: Vec<u8> = Vec::new();
        let mut bytes = 0;
        while lags.len() < self.begun.len() {
            let Ok(piece) = tokio::time::timeout(PATIENCE, self.connection.piece()).await else {
                bail!("{} of {} events came", lags.len(), self.begun.len());
            };
            let now = Instant::now();
            buffer.extend_from_slice(piece?.context("the watch ended")?);
            let mut read = 0;
            while let Some(line) = memchr(b'\n', &buffer[read..]) {
                let number = self.number(&buffer[read..read + line]).context("an event of somebody else")?;
                let begun = self.begun.get(number).and_then(OnceLock::get).context("an event before its object")?;
                lags.push(now.duration_since(*begun));
                read += line + 1;
            }
            buffer.drain(..read);
            bytes += read;
        }
        Ok((lags, bytes))
    }

    fn number(&self, line: &[u8]) -> Option<usize> {
        let at = self.mark.find(line)? + self.mark.needle().len();
        std::str::from_utf8(line.get(at..at + 6)?).ok()?.parse().ok()
    }
}

impl Bench<'_> {
    pub(super) async fn watches(&self, report: &mut Report) -> anyhow::Result<()> {
        let (kind, pace) = (self.args.watched, Duration::from_millis(self.args.pace));
        let path = format!("/api/v1/namespaces/watched/{}", kind.resource());
        for run in 0..self.runs {
            let mark = format!("\"name\":\"w{run}-");
            let begun: Begun = Arc::new((0..self.args.events).map(|_| OnceLock::new()).collect());
            let mut creator = self.server.target.connect().await?;
            let list: serde_json::Value = serde_json::from_slice(&creator.get(&format!("{path}?limit=1")).await?)?;
            let from = list["metadata"]["resourceVersion"].as_str().context("a list without resourceVersion")?;
            let mut watching = Vec::new();
            for connection in self.server.target.connections(self.args.watchers).await? {
                let watcher = Watcher::start(connection, (&path, from), &mark, begun.clone()).await?;
                watching.push(task::spawn("watcher", watcher.run()));
            }
            let cpu = self.server.apiserver_cpu()?;
            for (number, begun) in begun.iter().enumerate() {
                let next = Instant::now() + pace;
                begun.get_or_init(Instant::now);
                creator.call(Method::POST, &path, kind.object(&format!("w{run}-{number:06}"))).await?;
                tokio::time::sleep_until(next).await;
            }
            let mut lags = Vec::new();
            let mut bytes = 0;
            for watcher in watching {
                let (late, read) = watcher.await??;
                lags.extend(late);
                bytes += read;
            }
            let cpu = self.server.apiserver_cpu()? - cpu;
            let size = bytes / lags.len().max(1);
            lags.sort_unstable();
            let name = format!("{} watchers", self.args.watchers);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let each = 1e6 / lags.len() as f64;
            report.add(format!("{name}: API server CPU"), "us an event", cpu * each);
            let bare = tls_fan::run(self.args.watchers, size, self.args.events, pace).await?;
            report.add(format!("{name}: {size} B written to each over bare TLS: CPU"), "us each", bare * 1e6);
            report.add(format!("{name}: API server CPU beside bare TLS"), "x", cpu * each / (bare * 1e6));
            report.add(format!("{name}: create to event, p50"), "ms", quantile_ms(&lags, 0.5));
            report.add(format!("{name}: create to event, p99"), "ms", quantile_ms(&lags, 0.99));
        }
        Ok(())
    }
}
