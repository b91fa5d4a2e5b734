//! Bytes from a peer into a SPDY server: whatever they are, the server ends, and what it sends keeps to the protocol.

use std::collections::HashMap;

use gantry_spdy::{
    Connection, Headers, Status, Stream,
    frame::{Decoder, Frame},
    headers::Unpacker,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    runtime::{Builder, Runtime},
    task::JoinSet,
};

pub(crate) fn run(data: &[u8]) {
    let Some((manner, bytes)) = data.split_first() else { return };
    serve(bytes, *manner);
}

thread_local! {
    /// Time is paused: it jumps to the next timer when nothing else can happen, so limits of time cost none.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
}

/// Has a server read the bytes; `manner` is how they are cut and what is done with the streams.
pub(crate) fn serve(bytes: &[u8], manner: u8) {
    let pipe = [13, 256, 4096, 65_536][usize::from(manner & 3)];
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (near, far) = tokio::io::duplex(pipe);
            let (connection, driver) = gantry_spdy::server(far);
            let (_, (), sent) = tokio::join!(driver.run(), accept(connection, manner >> 2), talk(near, bytes));
            check(&sent);
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

async fn accept(mut connection: Connection, manner: u8) {
    let mut streams = JoinSet::new();
    let mut count = 0_u8;
    while let Some(incoming) = connection.accept().await {
        count = count.wrapping_add(1);
        assert!(incoming.id() % 2 == 1, "a client opened stream {}", incoming.id());
        if manner & 1 == 1 && count % 3 == 0 {
            incoming.refuse().await;
            continue;
        }
        let Ok(stream) = incoming.reply(Headers::from_iter([("n", count.to_string())])).await else { continue };
        streams.spawn(handle(stream, (manner >> 1).wrapping_add(count)));
        if manner & 32 != 0 && count == 4 {
            connection.close();
        }
    }
    drop(connection);
    while let Some(ended) = streams.join_next().await {
        ended.expect("no stream panics");
    }
}

/// What an end of a stream may do, one of several things.
async fn handle(mut stream: Stream, manner: u8) {
    match manner % 5 {
        // Echo; the peer may be gone at any point.
        0 => {
            while let Some(piece) = stream.read().await {
                if stream.write(piece).await.is_err() {
                    return;
                }
            }
            let _ = stream.finish().await;
        }
        1 => {
            let (mut reader, writer) = stream.split();
            drop(writer);
            while reader.read().await.is_some() {}
            assert!(reader.end().is_some(), "the last piece came before any end");
        }
        2 => {
            let (reader, writer) = stream.split();
            drop(reader);
            let _ = writer.write(vec![b'x'; 33_000].into()).await;
            let _ = writer.finish().await;
            writer.closed().await;
        }
        3 => drop(stream.reset(Status::INTERNAL_ERROR).await),
        _ => drop(stream),
    }
}

/// What the server may still send on a stream.
#[derive(Debug, PartialEq)]
enum May {
    Send,
    ResetOnly,
    Nothing,
}

/// Whatever the peer did, the server's own frames are in order.
fn check(sent: &[u8]) {
    let (mut decoder, mut unpacker) = (Decoder::default(), Unpacker::default());
    decoder.push(sent);
    let mut streams: HashMap<u32, May> = HashMap::new();
    let mut goodbye = false;
    while let Some(frame) = decoder.next().expect("the server sends frames") {
        assert!(!goodbye, "{frame:?} came after GOAWAY");
        match &frame {
            Frame::SynReply { stream, headers, .. } => {
                unpacker.headers(headers).expect("its headers can be read");
                // A frame for a stream that is not open yet is answered by a reset, too.
                let before = streams.insert(*stream, May::Send);
                assert!(matches!(before, None | Some(May::Nothing)), "{frame:?} is no first reply");
            }
            Frame::Data { stream, fin, .. } => {
                assert_eq!(streams.get(stream), Some(&May::Send), "{frame:?}");
                if *fin {
                    streams.insert(*stream, May::ResetOnly);
                }
            }
            Frame::RstStream { stream, .. } => drop(streams.insert(*stream, May::Nothing)),
            Frame::Ping(id) => assert!(id % 2 == 1, "the server asks nothing"),
            Frame::GoAway { .. } => goodbye = true,
            other => panic!("the server has no reason to send {other:?}"),
        }
    }
}
