//! Bytes over one TLS connection on loopback: what sessions can at most reach here.

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::tls_pair::Pair;

const PIECE_BYTES: usize = 32 << 10;

/// Moves so many bytes; returns MiB/s.
pub(crate) async fn run(bytes: usize) -> anyhow::Result<f64> {
    let pair = Pair::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (client, server) = tokio::try_join!(TcpStream::connect(address), listener.accept())?;
    let (mut receiver, mut sender) = tokio::try_join!(pair.connect(client), pair.accept(server.0))?;
    let sending = gantry_common::task::spawn("tls-copy", async move {
        let piece = vec![0; PIECE_BYTES];
        for _ in 0..bytes / PIECE_BYTES {
            sender.write_all(&piece).await?;
        }
        sender.shutdown().await
    });
    let (mut piece, mut got) = (vec![0; PIECE_BYTES], 0);
    let started = Instant::now();
    while got < bytes {
        let n = receiver.read(&mut piece).await?;
        anyhow::ensure!(n > 0, "the copy ended after {got} bytes");
        got += n;
    }
    let rate = got as f64 / (1 << 20) as f64 / started.elapsed().as_secs_f64();
    sending.await.context("the sender")??;
    Ok(rate)
}
