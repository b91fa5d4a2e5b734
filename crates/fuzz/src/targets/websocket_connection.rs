//! Bytes from a client into the API server's end of a WebSocket, as an exec and as a tunnel: pieces keep to their limits,
//! the end comes, and what the server sends is a WebSocket.

use bytes::Bytes;
use futures::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    runtime::{Builder, Runtime},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, error::ProtocolError, protocol::Role},
};

use crate::{
    sessions::{
        FRAME_BYTES_MAX,
        channel::{Gone, Input, Output, Sink, Source},
    },
    stream::{Streams, channel::REMOTE_COMMAND, tunnel::Tunnel, websocket::channels},
};

thread_local! {
    /// Time is paused: it jumps to the next timer when nothing else can happen, so limits of time cost none.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
}

pub(crate) fn run(data: &[u8]) {
    let Some((manner, bytes)) = data.split_first() else { return };
    let pipe = [16, 256, 4096, 65_536][usize::from(manner & 3)];
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (near, far) = tokio::io::duplex(pipe);
            let serve = async { if manner & 4 == 0 { exec(far, manner >> 3).await } else { tunnel(far).await } };
            let ((), sent) = tokio::join!(serve, talk(near, bytes));
            is_websocket(&sent).await;
        });
    });
}

/// Sends the bytes and the end of them, and takes whatever comes back.
async fn talk(io: DuplexStream, bytes: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(io);
    let mut back = Vec::new();
    let send = async {
        // The server may have ended before the bytes do.
        let _ = write.write_all(bytes).await;
        let _ = write.shutdown().await;
    };
    let ((), received) = tokio::join!(send, read.read_to_end(&mut back));
    received.expect("a pipe can be read");
    back
}

/// Echoes standard input until the client has gone.
async fn exec(io: DuplexStream, manner: u8) {
    let protocol = REMOTE_COMMAND[usize::from(manner & 7) % REMOTE_COMMAND.len()];
    let Some((mut source, mut sink)) = channels(io, protocol, Streams { stdin: manner & 8 == 0 }).await else { return };
    let mut ended = manner & 8 != 0;
    let status = loop {
        match source.next().await {
            Ok(Input::Data(bytes)) => {
                assert!(!ended && !bytes.is_empty() && bytes.len() <= FRAME_BYTES_MAX, "{} bytes", bytes.len());
                if sink.send(Output::Data(bytes)).await.is_err() || sink.flush().await.is_err() {
                    return;
                }
            }
            Ok(Input::End) => {
                assert!(!ended, "a second end");
                ended = true;
            }
            Ok(Input::Resize { width, height }) => assert!(width > 0 && height > 0),
            Err(Gone::Refused(status)) => break status,
            Err(Gone::Left) => return,
        }
    };
    sink.finish(&status).await;
    source.leave().await;
}

/// Sends back what comes, until it ends.
async fn tunnel(io: DuplexStream) {
    let (mut read, mut write) = tokio::io::split(Tunnel::new(io).await);
    let mut buffer = [0; 1000];
    while let Ok(length @ 1..) = read.read(&mut buffer).await {
        if write.write_all(&buffer[..length]).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
    let _ = write.shutdown().await;
}

/// Whatever the client did, the server's own messages are in order, up to where it stopped.
async fn is_websocket(sent: &[u8]) {
    let (mut near, far) = tokio::io::duplex(sent.len().max(1));
    near.write_all(&Bytes::copy_from_slice(sent)).await.expect("there is room");
    near.shutdown().await.expect("it can be ended");
    let mut messages = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    while let Some(message) = messages.next().await {
        match message {
            Ok(_) => {}
            // The client may have gone first; then the server says no goodbye, and its answer to one is not read.
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::ConnectionClosed) => return,
            Err(Error::Io(_)) => return,
            Err(error) => panic!("the server sent what is no WebSocket: {error}"),
        }
    }
}
