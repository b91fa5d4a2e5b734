//! This crate's client against its server.

use std::time::Duration;

use bytes::Bytes;
use gantry_common::task;
use gantry_spdy::{End, Error, Headers, Status};
use tokio::time::timeout;

use crate::{kind, open, pair, read_all, soon, text};

#[tokio::test]
async fn streams_carry_bytes_both_ways_however_the_bytes_are_cut() {
    for pipe in [1, 2, 3, 7, 8, 9, 64, 1_000, 65_536] {
        let ((client, _), (mut server, _)) = pair(pipe);
        let (mut near, mut far) = open(&client, &mut server).await;
        assert_eq!((near.id(), far.id()), (1, 1));
        let question = Bytes::from(vec![b'q'; 40_000]);
        let answer = Bytes::from(vec![b'a'; 70_000]);
        let ask = async {
            near.write(question.clone()).await.unwrap();
            near.finish().await.unwrap();
            read_all(&mut near).await
        };
        let reply = async {
            far.write(answer.clone()).await.unwrap();
            far.finish().await.unwrap();
            read_all(&mut far).await
        };
        let (got_answer, got_question) = tokio::join!(ask, reply);
        assert!(got_answer == answer && got_question == question, "with {pipe} bytes at a time");
        assert_eq!((near.end(), far.end()), (Some(End::Finished), Some(End::Finished)));
    }
}

#[tokio::test]
async fn headers_arrive_and_replies_come_in_any_order() {
    let ((client, _), (mut server, _)) = pair(64);
    let first: Headers = [("streamType", "error"), ("port", "80"), ("requestID", "7")].into_iter().collect();
    let opened = async { tokio::join!(client.open(first, true), client.open(kind("data"), false)) };
    let accepted = async {
        let (one, two) = (server.accept().await.unwrap(), server.accept().await.unwrap());
        assert_eq!(one.headers().get("streamtype"), Some("error"));
        assert_eq!(one.headers().get("requestId"), Some("7"));
        assert_eq!((one.id(), two.id()), (1, 3));
        let two = two.reply(Headers::new()).await.unwrap();
        let mut one = one.reply(Headers::new()).await.unwrap();
        assert_eq!(one.read().await, None);
        assert_eq!(one.end(), Some(End::Finished));
        (one, two)
    };
    let ((one, two), _accepted) = tokio::join!(opened, accepted);
    assert!(matches!(one.unwrap().write(text("x")).await, Err(Error::Finished(1))));
    two.unwrap().write(text("x")).await.unwrap();
}

#[tokio::test]
async fn the_server_opens_streams_too() {
    let ((mut client, _), (server, _)) = pair(64);
    let (near, far) = open(&server, &mut client).await;
    assert_eq!((near.id(), far.id()), (2, 2));
}

#[tokio::test]
async fn each_side_closes_its_half_alone() {
    let ((client, _), (mut server, _)) = pair(64);
    let (mut near, mut far) = open(&client, &mut server).await;
    near.finish().await.unwrap();
    assert_eq!(far.read().await, None);
    assert!(matches!(near.write(text("late")).await, Err(Error::Finished(1))));
    assert!(matches!(near.finish().await, Err(Error::Finished(1))));
    for word in ["still", "open"] {
        far.write(text(word)).await.unwrap();
        assert_eq!(near.read().await, Some(text(word)));
    }
    far.finish().await.unwrap();
    assert_eq!(near.read().await, None);
    assert!(!near.was_reset() && !far.was_reset());
    for stream in [near, far] {
        soon(stream.split().1.closed()).await;
    }
}

#[tokio::test]
async fn a_reset_ends_both_halves_after_what_came_before_it() {
    let ((client, _), (mut server, _)) = pair(64);
    let (near, mut far) = open(&client, &mut server).await;
    near.write(text("before")).await.unwrap();
    near.reset(Status::INTERNAL_ERROR).await.unwrap();
    assert_eq!(read_all(&mut far).await, b"before");
    assert!(far.was_reset());
    for outcome in [far.write(text("x")).await, far.finish().await, far.reset(Status::CANCEL).await] {
        assert!(matches!(outcome, Err(Error::Reset { stream: 1, status: Status::INTERNAL_ERROR })), "{outcome:?}");
    }
    assert!(matches!(near.write(text("x")).await, Err(Error::Reset { .. })));
}

#[tokio::test]
async fn a_writer_that_waits_for_room_learns_of_a_reset() {
    let ((client, _), (mut server, _)) = pair(64);
    let (near, far) = open(&client, &mut server).await;
    let writing = near.write(Bytes::from(vec![0; 10 << 20]));
    let resetting = async {
        tokio::task::yield_now().await;
        drop(far);
    };
    let (outcome, ()) = tokio::join!(writing, resetting);
    assert!(matches!(outcome, Err(Error::Reset { status: Status::CANCEL, .. })), "{outcome:?}");
}

#[tokio::test]
async fn what_is_dropped_is_cancelled_or_refused_and_halves_are_not() {
    let ((client, _), (mut server, _)) = pair(64);
    let refused = async { server.accept().await.unwrap().refuse().await };
    let (outcome, ()) = tokio::join!(client.open(kind("data"), false), refused);
    assert!(matches!(outcome, Err(Error::Reset { status: Status::REFUSED_STREAM, .. })), "{outcome:?}");

    let (mut near, far) = open(&client, &mut server).await;
    drop(far);
    assert_eq!(near.read().await, None);
    assert_eq!(near.end(), Some(End::Reset(Status::CANCEL)));

    // A half goes without a word: a stdin is only read, and its other half must not end it.
    let (near, far) = open(&client, &mut server).await;
    let (mut reader, writer) = far.split();
    drop(writer);
    near.write(text("stdin")).await.unwrap();
    assert_eq!(reader.read().await, Some(text("stdin")));
    assert!(near.end().is_none());

    let (mut near, far) = open(&client, &mut server).await;
    let (reader, writer) = far.split();
    drop(reader);
    soon(near.write(Bytes::from(vec![0; 1 << 20]))).await.unwrap();
    writer.write(text("stdout")).await.unwrap();
    assert_eq!(near.read().await, Some(text("stdout")));
}

#[tokio::test]
async fn an_opening_that_is_given_up_is_taken_back() {
    let ((client, _), (mut server, _)) = pair(64);
    let incoming = {
        let opening = client.open(kind("data"), false);
        tokio::pin!(opening);
        tokio::select! {
            _ = &mut opening => unreachable!("nobody has replied"),
            incoming = server.accept() => incoming.unwrap(),
        }
    };
    match incoming.reply(Headers::new()).await {
        Ok(mut stream) => {
            assert_eq!(stream.read().await, None);
            assert_eq!(stream.end(), Some(End::Reset(Status::CANCEL)));
        }
        Err(error) => assert!(matches!(error, Error::Reset { status: Status::CANCEL, .. }), "{error}"),
    }
    let (near, _far) = open(&client, &mut server).await;
    assert_eq!(near.id(), 3);
}

#[tokio::test]
async fn closing_sends_what_was_written_and_ends_every_handle() {
    let ((mut client, client_run), (mut server, server_run)) = pair(64);
    let (mut near, far) = open(&client, &mut server).await;
    far.write(Bytes::from(vec![b'x'; 100_000])).await.unwrap();
    server.close();
    assert_eq!(read_all(&mut near).await.len(), 100_000);
    server_run.await.unwrap().unwrap();
    assert!(client.accept().await.is_none());
    near.finish().await.ok();
    drop(near);
    client_run.await.unwrap().unwrap();
    assert!(matches!(far.write(text("x")).await, Err(Error::Gone)));
    assert!(server.accept().await.is_none());
    assert!(matches!(server.open(kind("data"), false).await, Err(Error::Gone)));
    assert!(matches!(client.open(kind("data"), false).await, Err(Error::Gone)));
}

#[tokio::test]
async fn a_connection_ends_when_its_last_handle_is_dropped() {
    let ((client, client_run), (mut server, server_run)) = pair(64);
    let (near, far) = open(&client, &mut server).await;
    drop(server);
    far.write(text("still open")).await.unwrap();
    let refused = client.open(kind("data"), false).await;
    assert!(matches!(refused, Err(Error::Reset { status: Status::REFUSED_STREAM, .. })), "{refused:?}");
    drop(far);
    server_run.await.unwrap().unwrap();
    drop(near);
    client_run.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_driver_that_is_dropped_ends_the_handles() {
    let (near, _far) = tokio::io::duplex(64);
    let (mut connection, driver) = gantry_spdy::server(near);
    drop(driver);
    assert!(connection.accept().await.is_none());
    assert!(matches!(connection.open(kind("data"), false).await, Err(Error::Gone)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_is_left_alone_and_a_silent_one_is_not() {
    let every = Duration::from_secs(30);
    let (near, far) = tokio::io::duplex(64);
    let (_client, driver) = gantry_spdy::client(near);
    let _peer = task::spawn("peer", driver.run());
    let (_server, driver) = gantry_spdy::server(far);
    let alive = timeout(every * 20, driver.ping_after(every).run()).await;
    assert!(alive.is_err(), "it ended: {alive:?}");

    let (_silent, far) = tokio::io::duplex(64);
    let (_server, driver) = gantry_spdy::server(far);
    let ended = timeout(every * 2 + every / 2, driver.ping_after(every).run()).await;
    assert!(matches!(ended, Ok(Err(Error::Silent(_)))), "{ended:?}");
}
