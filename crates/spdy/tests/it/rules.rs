//! What a peer may not do, and what it hears when it does.

use std::time::Duration;

use bytes::Bytes;
use gantry_spdy::{
    End, Error, Headers, Status,
    frame::{Frame, GOAWAY_OK, GOAWAY_PROTOCOL_ERROR},
};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    kind,
    raw::{Raw, data},
    server, soon,
};

fn reset(stream: u32, status: Status) -> Frame {
    Frame::RstStream { stream, status }
}

/// Sends frames to a server that replies to every stream, and gives back what it answers to a last ping's answer.
async fn answers(frames: impl FnOnce(&mut Raw) -> Vec<Frame>) -> Vec<Frame> {
    let (near, mut server, _run) = server(1 << 20);
    let mut raw = Raw::new(near);
    let frames = frames(&mut raw);
    let serve = async {
        let mut streams = Vec::new();
        while let Some(incoming) = server.accept().await {
            streams.extend(incoming.reply(Headers::new()).await.ok());
        }
    };
    let talk = async {
        for frame in frames {
            raw.send(&[frame]).await;
            tokio::task::yield_now().await;
        }
        raw.send(&[Frame::Ping(99)]).await;
        let mut answers = Vec::new();
        loop {
            match raw.next().await.expect("the connection lives") {
                Frame::Ping(99) => return answers,
                Frame::SynReply { .. } => {}
                frame => answers.push(frame),
            }
        }
    };
    tokio::select! {
        () = serve => unreachable!("the connection lives"),
        answers = talk => answers,
    }
}

#[tokio::test]
async fn mistakes_in_a_stream_end_that_stream_alone() {
    // An id that does not rise: of a stream that is open, and of one that never was.
    let again = answers(|raw| vec![raw.syn(5, false), raw.syn(5, false)]).await;
    assert_eq!(again, [reset(5, Status::PROTOCOL_ERROR)]);
    let falling = answers(|raw| vec![raw.syn(5, false), raw.syn(3, false), raw.syn(7, false)]).await;
    assert_eq!(falling, [reset(3, Status::PROTOCOL_ERROR)]);

    let never_opened = answers(|_| vec![data(1, b"x", false)]).await;
    assert_eq!(never_opened, [reset(1, Status::INVALID_STREAM)]);
    let after_fin = answers(|raw| vec![raw.syn(1, true), data(1, b"x", false)]).await;
    assert_eq!(after_fin, [reset(1, Status::STREAM_ALREADY_CLOSED)]);
    let reply_to_own = answers(|raw| vec![raw.syn(1, false), raw.reply(1)]).await;
    assert_eq!(reply_to_own, [reset(1, Status::STREAM_IN_USE)]);
}

#[tokio::test]
async fn what_means_nothing_here_is_passed_over() {
    let nothing = answers(|raw| {
        vec![
            raw.reply(9),
            reset(9, Status::CANCEL),
            Frame::WindowUpdate { stream: 0, delta: 1 },
            Frame::Settings { clear: false, entries: Vec::new() },
            Frame::Unknown(10),
            // A ping of this side's numbers is an answer.
            Frame::Ping(2),
            raw.syn(1, false),
            Frame::Headers { stream: 1, fin: false, headers: raw.pack(&kind("more")) },
            // Data of a stream that was reset is still under way.
            reset(1, Status::CANCEL),
            data(1, b"late", true),
        ]
    })
    .await;
    assert_eq!(nothing, []);
}

#[tokio::test]
async fn streams_of_this_side_need_a_reply_first() {
    let (near, server, _run) = server(1 << 16);
    let mut raw = Raw::new(near);
    let talk = async {
        assert!(matches!(raw.next().await, Some(Frame::SynStream { stream: 2, .. })));
        raw.send(&[data(2, b"early", false)]).await;
        assert_eq!(raw.next().await, Some(reset(2, Status::PROTOCOL_ERROR)));
    };
    let (outcome, ()) = tokio::join!(server.open(kind("data"), false), talk);
    assert!(matches!(outcome, Err(Error::Reset { stream: 2, status: Status::PROTOCOL_ERROR })), "{outcome:?}");

    let talk = async {
        assert!(matches!(raw.next().await, Some(Frame::SynStream { stream: 4, .. })));
        let reply = raw.reply(4);
        raw.send(&[reply, data(4, b"in time", true)]).await;
    };
    let (outcome, ()) = tokio::join!(server.open(kind("data"), false), talk);
    let mut stream = outcome.unwrap();
    assert_eq!(stream.read().await, Some(Bytes::from_static(b"in time")));
    let again = raw.reply(4);
    raw.send(&[again]).await;
    assert_eq!(raw.next().await, Some(reset(4, Status::STREAM_IN_USE)));
}

#[tokio::test]
async fn a_reset_after_the_end_of_data_still_says_so() {
    let (near, mut server, _run) = server(1 << 16);
    let mut raw = Raw::new(near);
    let syn = raw.syn(1, false);
    raw.send(&[syn, data(1, b"all", true)]).await;
    let mut stream = server.accept().await.unwrap().reply(Headers::new()).await.unwrap();
    assert_eq!(stream.read().await, Some(Bytes::from_static(b"all")));
    assert_eq!((stream.read().await, stream.was_reset()), (None, false));
    raw.send(&[reset(1, Status::CANCEL)]).await;
    let (reader, writer) = stream.split();
    soon(writer.closed()).await;
    assert_eq!(reader.end(), Some(End::Reset(Status::CANCEL)));
}

/// Sends bytes and gives back the error of the server and the last frame that it sends.
async fn ended_by(bytes: &[u8]) -> (Error, Option<Frame>) {
    let (near, _server, run) = server(1 << 20);
    let mut raw = Raw::new(near);
    raw.io.write_all(bytes).await.expect("the server reads");
    let last = raw.rest().await.pop();
    drop(raw);
    (run.await.expect("no panic").expect_err("the server ends with an error"), last)
}

#[tokio::test]
async fn mistakes_that_spoil_the_connection_end_it_with_a_goaway() {
    let goaway = |last_good| Some(Frame::GoAway { last_good, status: GOAWAY_PROTOCOL_ERROR });
    let (error, last) = ended_by(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]).await;
    assert!(matches!(error, Error::Frame(_)), "{error}");
    assert_eq!(last, goaway(0));

    let (near, _) = tokio::io::duplex(1);
    let mut raw = Raw::new(near);
    let mut even = bytes::BytesMut::new();
    raw.syn(1, false).encode(&mut even);
    raw.syn(2, false).encode(&mut even);
    let (error, last) = ended_by(&even).await;
    assert!(matches!(error, Error::StreamId { stream: 2, .. }), "{error}");
    assert_eq!(last, goaway(1));

    let mut bomb = bytes::BytesMut::new();
    let headers = gantry_spdy::headers::Packer::default().pack(&vec![0; 1 << 20]).unwrap();
    Frame::SynReply { stream: 1, fin: false, headers }.encode(&mut bomb);
    let (error, last) = ended_by(&bomb).await;
    assert!(matches!(error, Error::Headers { stream: 1, .. }), "{error}");
    assert_eq!(last, goaway(0));
}

#[tokio::test]
async fn a_peer_that_leaves_in_a_frame_is_told_from_one_that_leaves_between() {
    for (bytes, cut_off) in [(&[][..], false), (&[0x80, 3], true), (&[0, 0, 0, 1, 0, 0, 0, 2, 1], true)] {
        let (mut near, mut server, run) = server(64);
        near.write_all(bytes).await.unwrap();
        drop(near);
        assert!(server.accept().await.is_none());
        let outcome = run.await.unwrap();
        assert_eq!(matches!(outcome, Err(Error::CutOff)), cut_off, "{bytes:?}: {outcome:?}");
        assert_eq!(outcome.is_ok(), !cut_off, "{bytes:?}");
    }
}

#[tokio::test]
async fn after_the_peers_goaway_open_streams_go_on_and_new_ones_do_not() {
    let (near, mut server, run) = server(1 << 16);
    let mut raw = Raw::new(near);
    let (syn, late) = (raw.syn(1, false), raw.syn(3, false));
    raw.send(&[syn, Frame::GoAway { last_good: 0, status: GOAWAY_OK }, late]).await;
    let mut stream = server.accept().await.unwrap().reply(Headers::new()).await.unwrap();
    assert!(soon(server.accept()).await.is_none());
    assert!(matches!(server.open(kind("data"), false).await, Err(Error::GoingAway)));
    raw.send(&[data(1, b"bye", true)]).await;
    assert_eq!(stream.read().await, Some(Bytes::from_static(b"bye")));
    assert_eq!(stream.read().await, None);
    stream.finish().await.unwrap();
    let frames = raw.rest().await;
    assert!(frames.contains(&reset(3, Status::REFUSED_STREAM)), "{frames:?}");
    assert_eq!(frames.last(), Some(&Frame::GoAway { last_good: 3, status: GOAWAY_OK }));
    drop(raw);
    run.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_its_goaway_the_server_waits_a_moment_for_the_peer_to_close() {
    let moment = Duration::from_millis(900);
    for peer_closes in [true, false] {
        let (near, server, mut run) = server(1 << 16);
        let mut raw = Raw::new(near);
        server.close();
        assert_eq!(raw.rest().await, [Frame::GoAway { last_good: 0, status: GOAWAY_OK }]);
        raw.io.write_all(b"what was under way").await.expect("nothing the peer sent makes its reading fail");
        assert!(timeout(moment, &mut run).await.is_err(), "it closed on what was under way");
        if peer_closes {
            drop(raw);
        }
        timeout(moment, run).await.expect("it ends").unwrap().unwrap();
    }
}
