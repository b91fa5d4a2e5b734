//! Connections over in-memory byte streams: this crate against itself, and against a peer that sends whatever a test wants.

mod both_ends;
mod bounds;
mod golden;
mod raw;
mod rules;

use bytes::Bytes;
use gantry_common::task;
use gantry_spdy::{Connection, Error, Headers, Stream};
use tokio::{io::DuplexStream, task::JoinHandle};

type Run = JoinHandle<Result<(), Error>>;

/// A client and a server that talk through a pipe which takes `pipe` bytes at a time, with their drivers.
fn pair(pipe: usize) -> ((Connection, Run), (Connection, Run)) {
    let (near, far) = tokio::io::duplex(pipe);
    let (client, client_driver) = gantry_spdy::client(near);
    let (server, server_driver) = gantry_spdy::server(far);
    ((client, task::spawn("client", client_driver.run())), (server, task::spawn("server", server_driver.run())))
}

/// A server whose peer is the other end of the pipe.
fn server(pipe: usize) -> (DuplexStream, Connection, Run) {
    let (near, far) = tokio::io::duplex(pipe);
    let (server, driver) = gantry_spdy::server(far);
    (near, server, task::spawn("server", driver.run()))
}

/// The future's result. A test that would wait for ever fails instead.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(std::time::Duration::from_secs(20), future).await.expect("it happens")
}

fn kind(value: &str) -> Headers {
    [("streamtype", value)].into_iter().collect()
}

/// One stream, open on both sides.
async fn open(client: &Connection, server: &mut Connection) -> (Stream, Stream) {
    let (near, far) = tokio::join!(client.open(kind("data"), false), async {
        server.accept().await.expect("the client opens a stream").reply(Headers::new()).await
    });
    (near.expect("the server replied"), far.expect("the stream is open"))
}

async fn read_all(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = stream.read().await {
        all.extend_from_slice(&piece);
    }
    all
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
