//! How much a peer, or a slow reader, can make a connection hold.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use gantry_common::task;
use gantry_spdy::{End, Error, Headers, Status, Stream, frame::Frame};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    Run, kind, open, pair,
    raw::{Raw, data},
    read_all, server, soon, text,
};

/// What a stream and the connection may hold, with what is in between.
const ROOM: usize = 256 * 1024 + 256 * 1024 + 256 * 1024;

/// Writes until nothing more is taken; how much was.
async fn fill(stream: &Stream) -> usize {
    let mut taken = 0;
    let chunk = Bytes::from(vec![7; 8 * 1024]);
    while taken < ROOM && within_a_moment(stream.write(chunk.clone())).await.is_some() {
        taken += chunk.len();
    }
    taken
}

/// The future's result, unless it is still waiting when everything else has come to rest.
async fn within_a_moment<F: Future>(future: F) -> Option<F::Output> {
    tokio::time::timeout(std::time::Duration::from_secs(1), future).await.ok()
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_stops_the_writer_and_loses_nothing() {
    let ((client, _), (mut server, _)) = pair(4096);
    let (near, mut far) = open(&client, &mut server).await;
    let taken = fill(&near).await;
    assert!((256 * 1024..ROOM).contains(&taken), "{taken} bytes were taken without a reader");
    let reading = read_all(&mut far);
    let (all, finished) = tokio::join!(reading, near.finish());
    finished.unwrap();
    assert!(all.len() >= taken && all.iter().all(|byte| *byte == 7), "{} of {taken} bytes arrived", all.len());
}

#[tokio::test(start_paused = true)]
async fn many_small_pieces_are_bounded_too() {
    let (near, mut server, _run) = server(4096);
    let mut raw = Raw::new(near);
    let syn = raw.syn(1, false);
    raw.send(&[syn]).await;
    let _stream = server.accept().await.unwrap().reply(Headers::new()).await.unwrap();
    let mut taken = 0;
    while taken < 12_000 && within_a_moment(raw.send(&[data(1, b"x", false)])).await.is_some() {
        taken += 1;
    }
    assert!(taken < 12_000, "{taken} pieces wait for the reader");
}

#[tokio::test]
async fn a_thousand_streams_talk_at_once() {
    let ((client, _), (mut server, _)) = pair(16 * 1024);
    let serve = task::spawn("echo", async move {
        while let Some(incoming) = server.accept().await {
            let mut stream = incoming.reply(Headers::new()).await.unwrap();
            task::spawn("echo stream", async move {
                while let Some(piece) = stream.read().await {
                    stream.write(piece).await.unwrap();
                }
                stream.finish().await.unwrap();
            });
        }
    });
    let talk = |n: u32| {
        let client = &client;
        async move {
            let mut stream = client.open(kind("data"), false).await.unwrap();
            let said = Bytes::from(format!("stream {n} ").repeat(200));
            stream.write(said.clone()).await.unwrap();
            stream.finish().await.unwrap();
            assert_eq!(read_all(&mut stream).await, said);
        }
    };
    futures::future::join_all((0..1000).map(talk)).await;
    client.close();
    serve.await.unwrap();
}

#[tokio::test]
async fn the_stream_past_the_limit_is_refused_until_one_ends() {
    let ((client, _), (mut server, _)) = pair(64 * 1024);
    let mut streams = Vec::new();
    for _ in 0..2048 {
        streams.push(open(&client, &mut server).await);
    }
    assert!(matches!(client.open(kind("data"), false).await, Err(Error::TooManyStreams(2048))));
    let ended = streams.pop().unwrap();
    ended.0.finish().await.unwrap();
    ended.1.finish().await.unwrap();
    let (mut near, mut far) = ended;
    assert_eq!((near.read().await, far.read().await), (None, None));
    open(&client, &mut server).await;
}

#[tokio::test]
async fn a_peer_that_opens_too_many_streams_is_refused() {
    // Both when nobody accepts them and when somebody accepts them all.
    for accepting in [false, true] {
        let (near, mut server, _run) = server(1 << 20);
        let mut raw = Raw::new(near);
        let mut streams = Vec::new();
        for at in 0..2048 {
            let syn = raw.syn(2 * at + 1, false);
            raw.send(&[syn]).await;
            if accepting {
                streams.push(soon(server.accept()).await.unwrap().reply(Headers::new()).await.unwrap());
                assert!(matches!(raw.next().await, Some(Frame::SynReply { .. })));
            }
        }
        let syn = raw.syn(4097, false);
        raw.send(&[syn]).await;
        assert_eq!(raw.next().await, Some(Frame::RstStream { stream: 4097, status: Status::REFUSED_STREAM }));
        if !accepting {
            server.accept().await.unwrap().refuse().await;
            assert_eq!(raw.next().await, Some(Frame::RstStream { stream: 1, status: Status::REFUSED_STREAM }));
        }
        drop(streams.pop());
        let syn = raw.syn(5001, false);
        raw.send(&[syn, Frame::Ping(1)]).await;
        let refused = Frame::RstStream { stream: 5001, status: Status::REFUSED_STREAM };
        loop {
            match raw.next().await.unwrap() {
                Frame::Ping(1) => break,
                frame => assert_ne!(frame, refused),
            }
        }
    }
}

#[tokio::test]
async fn streams_that_are_reset_at_once_do_not_pile_up() {
    let (near, mut server, _run) = server(1 << 20);
    let mut raw = Raw::new(near);
    for at in 0..10_000 {
        let syn = raw.syn(2 * at + 1, false);
        raw.send(&[syn, Frame::RstStream { stream: 2 * at + 1, status: Status::CANCEL }]).await;
    }
    raw.send(&[Frame::Ping(1)]).await;
    while raw.next().await != Some(Frame::Ping(1)) {}
    let mut waiting = 0;
    while let Ok(Some(incoming)) = tokio::time::timeout(std::time::Duration::ZERO, server.accept()).await {
        waiting += 1;
        let outcome = incoming.reply(Headers::new()).await;
        assert!(matches!(outcome, Err(Error::Reset { .. })), "{outcome:?}");
    }
    assert_eq!(waiting, 2048);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_and_does_not_listen_has_to_wait() {
    let (near, _server, _run) = server(4096);
    let mut raw = Raw::new(near);
    let mut taken = 0;
    while taken < 20_000 && within_a_moment(raw.send(&[Frame::Ping(1)])).await.is_some() {
        taken += 1;
    }
    // The answers that wait, the batch that is being written, and one buffer of questions.
    assert!((4096..20_000).contains(&taken), "{taken} pings were taken");
}

#[tokio::test]
async fn a_stream_with_little_to_say_is_heard_beside_one_with_much() {
    let ((client, _), (mut server, _)) = pair(4096);
    let (loud, mut loud_far) = open(&client, &mut server).await;
    let (quiet, mut quiet_far) = open(&client, &mut server).await;
    let shout = task::spawn("shout", async move {
        let chunk = Bytes::from(vec![0; 1 << 20]);
        while loud.write(chunk.clone()).await.is_ok() {}
    });
    let mut heard = 0;
    while heard < 1 << 20 {
        heard += loud_far.read().await.unwrap().len();
    }
    let speak = async { quiet.write(text("a word")).await };
    let listen = async {
        let mut before = 0;
        loop {
            tokio::select! {
                word = quiet_far.read() => break (word, before),
                piece = loud_far.read() => before += piece.unwrap().len(),
            }
        }
    };
    let (said, (word, before)) = tokio::join!(speak, listen);
    said.unwrap();
    assert_eq!(word, Some(text("a word")));
    assert!(before < 2 * ROOM, "{before} bytes of another stream came first");
    drop((loud_far, server, client));
    shout.await.unwrap();
}

#[tokio::test]
async fn a_stream_that_nobody_reads_any_more_holds_up_no_other() {
    let (near, mut server, _run) = server(4096);
    let mut raw = Raw::new(near);
    let (one, two) = (raw.syn(1, false), raw.syn(3, false));
    raw.send(&[one, two]).await;
    let first = server.accept().await.unwrap().reply(Headers::new()).await.unwrap();
    let mut second = server.accept().await.unwrap().reply(Headers::new()).await.unwrap();
    let write = async {
        let long = Bytes::from(vec![0; 4 << 20]);
        raw.send(&[Frame::Data { stream: 1, data: long, last: true, fin: false }, data(3, b"heard", false)]).await;
    };
    let read = async {
        // Until the first stream is full and holds up the connection.
        tokio::select! {
            _ = second.read() => unreachable!("it is behind the first"),
            () = pending() => {}
            () = async { for _ in 0..10_000 { tokio::task::yield_now().await } } => {}
        }
        drop(first);
        second.read().await
    };
    let ((), heard) = soon(async { tokio::join!(write, read) }).await;
    assert_eq!(heard, Some(text("heard")));
    raw.io.shutdown().await.unwrap();
}

/// How long a peer is silent before it is pinged.
const PING_AFTER: Duration = Duration::from_secs(30);

/// A server that pings, with a stream that its peer has opened.
async fn pinging(pipe: usize) -> (Raw, gantry_spdy::Connection, Stream, Run) {
    let (near, far) = tokio::io::duplex(pipe);
    let (mut server, driver) = gantry_spdy::server(far);
    let run = task::spawn("server", driver.ping_after(PING_AFTER).run());
    let mut raw = Raw::new(near);
    let syn = raw.syn(1, false);
    raw.send(&[syn]).await;
    let stream = server.accept().await.expect("the peer opens a stream").reply(Headers::new()).await;
    (raw, server, stream.expect("the stream is open"), run)
}

/// More than a stream takes, in frames, with its end.
fn too_much() -> Vec<Frame> {
    let piece = Bytes::from(vec![7; 8 * 1024]);
    (1..=64).map(|at| Frame::Data { stream: 1, data: piece.clone(), last: true, fin: at == 64 }).collect()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_while_a_stream_is_full_is_noticed() {
    let (mut raw, _server, stream, run) = pinging(4096).await;
    assert!(within_a_moment(raw.send(&too_much())).await.is_none(), "the stream took everything");
    drop(raw);
    let (_reader, writer) = stream.split();
    timeout(PING_AFTER * 2, writer.closed()).await.expect("the stream ends, though nobody reads it");
    let ended = run.await.expect("no panic");
    assert!(matches!(ended, Err(Error::Io { doing: "write to", .. })), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_waits_while_a_stream_is_full_is_left_alone() {
    // The pings of ten minutes fit into the one pipe; the other is full of them soon.
    for (pipe, pings) in [(4096, 19..=21), (64, 2..=6)] {
        let (mut raw, server, mut stream, mut run) = pinging(pipe).await;
        let read = async {
            let ended = timeout(PING_AFTER * 20, &mut run).await;
            assert!(ended.is_err(), "it ended: {ended:?}");
            let all = read_all(&mut stream).await;
            server.close();
            all
        };
        let frames = too_much();
        let ((), all) = tokio::join!(raw.send(&frames), read);
        assert_eq!((all.len(), stream.end()), (64 * 8 * 1024, Some(End::Finished)));
        let sent = raw.rest().await.iter().filter(|frame| matches!(frame, Frame::Ping(_))).count();
        assert!(pings.contains(&sent), "{sent} pings to a peer behind {pipe} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_from_this_side_while_a_stream_is_full() {
    for close in [true, false] {
        let (mut raw, server, stream, run) = pinging(4096).await;
        assert!(within_a_moment(raw.send(&too_much())).await.is_none(), "the stream took everything");
        if close {
            server.close();
            stream.split().1.closed().await;
        } else {
            drop((server, stream));
        }
        timeout(PING_AFTER / 2, run).await.expect("it ends").expect("no panic").expect("without an error");
    }
}
