//! A closed loop: a fixed number of clients, each with one request under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantry_common::task;
use tokio::time::Instant;

use crate::report::Report;

/// How a load went.
pub(crate) struct Outcome {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Sorted.
    times: Vec<Duration>,
}

impl Outcome {
    /// As [`quantile_ms`] of the times of the requests.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        quantile_ms(&self.times, share)
    }

    pub(crate) fn report(&self, report: &mut Report, name: &str) {
        report.add(name, "/s", self.rate);
        report.add(format!("{name}, p50"), "ms", self.quantile_ms(0.5));
        report.add(format!("{name}, p99"), "ms", self.quantile_ms(0.99));
    }
}

/// The time below which this share (0 to 1) of the sorted times lies, in ms.
pub(crate) fn quantile_ms(times: &[Duration], share: f64) -> f64 {
    let last = times.len().saturating_sub(1);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = (last as f64 * share).round() as usize;
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// One client. `request(n)` makes request number n; numbers are unique over all clients.
pub(crate) trait Client: Send + 'static {
    fn request(&mut self, number: usize) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Lets the clients make `total` requests together.
pub(crate) async fn run<C: Client>(clients: Vec<C>, total: usize) -> anyhow::Result<Outcome> {
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let tasks: Vec<_> =
        clients.into_iter().map(|client| task::spawn("client", work(client, next.clone(), total))).collect();
    let mut times = Vec::with_capacity(total);
    for task in tasks {
        times.extend(task.await??);
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    let rate = total as f64 / started.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(Outcome { rate, times })
}

async fn work<C: Client>(mut client: C, next: Arc<AtomicUsize>, total: usize) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= total {
            return Ok(times);
        }
        let started = Instant::now();
        client.request(number).await?;
        times.push(started.elapsed());
    }
}
