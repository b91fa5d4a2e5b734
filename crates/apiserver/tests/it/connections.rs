//! Bounds of connections.

use std::time::Duration;

use bytes::Bytes;
use gantry_apiserver::testing::Builder;
use http_body_util::Empty;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::node::PATIENCE;
use crate::support::{Cluster, answer, connect, http, send_on, shake_hands_on};

/// How long a connection may be idle, or nobody's: long enough for a client on a busy machine to say who it is.
const MOMENT: Duration = Duration::from_secs(3);

/// A server that gives an idle connection no more than a moment.
fn hasty(max: usize, max_per_address: usize) -> Builder {
    Builder::default().configure(move |config| {
        config.connections.max = max;
        config.connections.max_per_address = max_per_address;
        config.connections.unknown = MOMENT;
        config.connections.idle = MOMENT;
        config.connections.last = MOMENT;
    })
}

async fn ends(what: &str, end: impl Future<Output = ()>) {
    tokio::time::timeout(PATIENCE, end).await.unwrap_or_else(|_| panic!("{what} stays open"));
}

#[tokio::test]
async fn attack_idle_connections_of_nobody_leave_room_for_others() {
    let cluster = Cluster::with(hasty(3, 3)).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        idle.push(cluster.http2_as::<Empty<Bytes>>(None).await);
    }
    // One asks for what everybody may know, and never takes the answer.
    let asked = http::Request::get("https://localhost/version").body(Empty::new()).expect("a request");
    drop(idle[0].send_request(asked).await.expect("an answer"));
    let mut plain = connect(&cluster.server, None).await;
    let answer = async { assert_eq!(cluster.rest("GET", "/api/v1/namespaces", &[], "").await.code, 200) };
    ends("somebody is kept out, and what nobody uses", answer).await;
    for sender in idle {
        ends("a connection of HTTP/2", async {
            while !sender.is_closed() {
                tokio::task::yield_now().await
            }
        })
        .await;
    }
    ends("a connection of HTTP/1.1", async { drop(plain.read(&mut [0]).await) }).await;
}

#[tokio::test]
async fn a_connection_that_somebody_uses_stays_until_it_has_been_idle() {
    let cluster = Cluster::with(hasty(16, 16)).await;
    let mut sender = cluster.http2::<Empty<Bytes>>().await;
    let watch = "https://localhost/api/v1/namespaces?watch=true";
    let watch = http::Request::get(watch).body(Empty::new()).expect("a request");
    let watch = sender.send_request(watch).await.expect("an answer");
    let nobody = cluster.http2_as::<Empty<Bytes>>(None).await;
    ends("a connection of nobody", async {
        while !nobody.is_closed() {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert!(!sender.is_closed(), "it is older and has a watch");
    drop(watch);
    ends("an idle connection", async {
        while !sender.is_closed() {
            tokio::task::yield_now().await
        }
    })
    .await;
}

#[tokio::test]
async fn attack_an_address_has_its_share_of_connections_and_no_more() {
    let cluster = Cluster::with(hasty(8, 2)).await;
    let address = cluster.server.url().trim_start_matches("https://").to_owned();
    let one = TcpStream::connect(&address).await.expect("connects");
    let two = TcpStream::connect(&address).await.expect("connects");
    let mut three = TcpStream::connect(&address).await.expect("connects");
    ends("a third connection", async { drop(three.read(&mut [0]).await) }).await;
    let other = TcpSocket::new_v4().expect("a socket");
    other.bind("127.0.0.2:0".parse().expect("an address")).expect("loopback has many addresses");
    let other = other.connect(address.parse().expect("an address")).await.expect("connects");
    let mut other = http(shake_hands_on(other, &cluster.server, None, b"http/1.1").await).await;
    assert_eq!(send_on(&mut other, "GET", "/livez", &[], "").await.status(), 200, "others find room");
    drop((one, two));
}

#[tokio::test]
async fn attack_connections_of_nobody_make_room_for_others_at_once() {
    let patient = |config: &mut gantry_apiserver::Config| {
        (config.connections.max, config.connections.max_per_address) = (8, 8);
        config.connections.unknown = Duration::from_secs(3600);
    };
    let cluster = Cluster::with(Builder::default().configure(patient)).await;
    let mut known = cluster.connection().await;
    let listed = send_on(&mut known, "GET", "/api/v1/namespaces", &[], "").await;
    assert_eq!(answer(listed).await.code, 200);
    let address = cluster.server.url().trim_start_matches("https://").to_owned();
    let (mut silent, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        silent.push(TcpStream::connect(&address).await.expect("connects"));
        idle.push(connect(&cluster.server, None).await);
    }
    let asked = async { assert_eq!(cluster.rest("GET", "/api/v1/namespaces", &[], "").await.code, 200) };
    ends("somebody is kept out, and what nobody uses", asked).await;
    ends("the oldest connection", async { drop(silent[0].read(&mut [0]).await) }).await;
    assert_eq!(
        send_on(&mut known, "GET", "/api/v1/namespaces", &[], "").await.status(),
        200,
        "it is older, and somebody's"
    );
}

#[tokio::test]
async fn plain_http_is_answered_in_plain_http() {
    let cluster = Cluster::start().await;
    let address = cluster.server.url().trim_start_matches("https://").to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("connects");
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut said = String::new();
    ends("a connection without TLS", async { drop(stream.read_to_string(&mut said).await) }).await;
    assert_eq!(said, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
}
