//! Bytes over one TLS connection on loopback: what sessions can at most reach here.

use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const PIECE_BYTES: usize = 32 << 10;

/// Moves so many bytes; returns MiB/s.
pub(crate) async fn run(bytes: usize) -> anyhow::Result<f64> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = rustls::ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key.into())?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let sending = gantry_common::task::spawn("tls-copy", async move {
        let (stream, _) = listener.accept().await?;
        let mut stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await?;
        let piece = vec![0; PIECE_BYTES];
        for _ in 0..bytes / PIECE_BYTES {
            stream.write_all(&piece).await?;
        }
        stream.shutdown().await
    });
    let stream = TcpStream::connect(address).await?;
    let mut stream =
        TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost")?.to_owned(), stream).await?;
    let (mut piece, mut got) = (vec![0; PIECE_BYTES], 0);
    let started = Instant::now();
    while got < bytes {
        let n = stream.read(&mut piece).await?;
        anyhow::ensure!(n > 0, "the copy ended after {got} bytes");
        got += n;
    }
    let rate = got as f64 / (1 << 20) as f64 / started.elapsed().as_secs_f64();
    sending.await.context("the sender")??;
    Ok(rate)
}
