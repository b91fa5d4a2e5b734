//! Bulk through a connection, in a process of its own, so that its memory can be watched.

use std::fs;

use bytes::Bytes;
use gantry_common::task;
use gantry_spdy::Headers;
use sha2::{Digest, Sha256};

const CHUNK: usize = 256 * 1024;
const CHUNKS: usize = 400;

/// The most memory that this process has had, in kilobytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the peak is there");
    line.split_whitespace().nth(1).expect("a number follows").parse().expect("it is one")
}

/// A piece of the bulk; every piece is different.
fn chunk(number: usize) -> Bytes {
    let mut state = number as u64 + 1;
    let words = (0..CHUNK / 8).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    });
    words.collect()
}

#[tokio::test]
async fn a_hundred_megabytes_arrive_whole_in_bounded_memory() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (client, driver) = gantry_spdy::client(near);
    let client_run = task::spawn("client", driver.run());
    let (mut server, driver) = gantry_spdy::server(far);
    let server_run = task::spawn("server", driver.run());
    let send = async {
        let stream = client.open(Headers::new(), false).await.unwrap();
        let mut hash = Sha256::new();
        for number in 0..CHUNKS {
            let chunk = chunk(number);
            hash.update(&chunk);
            stream.write(chunk).await.unwrap();
        }
        stream.finish().await.unwrap();
        (stream, hash.finalize())
    };
    let receive = async {
        let mut stream = server.accept().await.unwrap().reply(Headers::new()).await.unwrap();
        let (mut hash, mut length) = (Sha256::new(), 0);
        while let Some(piece) = stream.read().await {
            hash.update(&piece);
            length += piece.len();
        }
        assert_eq!(length, CHUNK * CHUNKS);
        hash.finalize()
    };
    let before = peak();
    let ((stream, sent), received) = tokio::join!(send, receive);
    assert_eq!(sent, received);
    let grown = peak() - before;
    assert!(grown < 8 * 1024, "{grown} KiB were taken for {} KiB", CHUNK * CHUNKS / 1024);
    drop((stream, client, server));
    client_run.await.unwrap().unwrap();
    server_run.await.unwrap().unwrap();
}
