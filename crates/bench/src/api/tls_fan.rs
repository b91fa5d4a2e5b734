//! The same bytes to many TLS connections on loopback, by a thread that does nothing else: what delivering an event costs
//! at least.

use std::time::Duration;

use anyhow::Context;
use gantry_common::task;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use crate::tls_pair::Pair;

/// Writes `bytes` to each of `connections`, `rounds` times, one round in `pace`; returns the CPU seconds of one write.
pub(super) async fn run(connections: usize, bytes: usize, rounds: usize, pace: Duration) -> anyhow::Result<f64> {
    let pair = Pair::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut ends = Vec::with_capacity(connections);
    let mut readers = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (client, server) = tokio::try_join!(TcpStream::connect(address), listener.accept())?;
        let (mut reader, end) = tokio::try_join!(pair.connect(client), pair.accept(server.0))?;
        ends.push(end);
        readers.push(task::spawn("tls-fan-reader", async move {
            let mut buffer = vec![0; 16 << 10];
            while reader.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
        }));
    }
    let handle = Handle::current();
    let writing = move || handle.block_on(write(ends, &vec![b'x'; bytes], rounds, pace));
    let seconds = tokio::task::spawn_blocking(writing).await??;
    for reader in readers {
        reader.await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let writes = (connections * rounds) as f64;
    Ok(seconds / writes)
}

/// CPU seconds of the thread meanwhile, on which nothing else runs.
async fn write(
    mut ends: Vec<TlsStream<TcpStream>>,
    event: &[u8],
    rounds: usize,
    pace: Duration,
) -> anyhow::Result<f64> {
    let before = thread_cpu_seconds()?;
    for _ in 0..rounds {
        let next = Instant::now() + pace;
        for end in &mut ends {
            end.write_all(event).await?;
            end.flush().await?;
        }
        tokio::time::sleep_until(next).await;
    }
    let after = thread_cpu_seconds()?;
    for end in &mut ends {
        end.shutdown().await?;
    }
    Ok(after - before)
}

/// CPU time of the calling thread so far (proc(5), `schedstat`).
fn thread_cpu_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("the kernel keeps no schedstat")?;
    let nanoseconds: u64 = text.split(' ').next().context("an odd schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds).as_secs_f64())
}
