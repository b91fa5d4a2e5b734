//! The server on loopback: UDP, TCP, truncation, forwarding to a resolver that the test plays.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gantry_client::Key;
use gantry_common::shutdown::Shutdown;
use gantry_common::task;
use gantry_dns::records::{Member, Records};
use gantry_dns::server::{Server, serve_tcp, serve_udp};
use gantry_dns::upstream::Upstream;
use gantry_dns::zone::Zone;
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

struct Rig {
    address: SocketAddr,
    server: Arc<Server>,
    asked: Arc<AtomicUsize>,
    shutdown: Shutdown,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// A server with a zone, before which stands a resolver that answers every A question with 192.0.2.1.
async fn rig() -> Rig {
    let resolver = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let upstream = Upstream::new(vec![resolver.local_addr().expect("bound")]);
    let asked = Arc::new(AtomicUsize::new(0));
    task::spawn("resolver", play_resolver(resolver, Arc::clone(&asked)));
    let server = Server::new("cluster.local", upstream);
    let mut zone = Zone::new("cluster.local");
    let member =
        |last: u8| Member { label: format!("m-{last}"), address: IpAddr::from([10, 0, 0, last]), ports: vec![] };
    let members = |range: std::ops::RangeInclusive<u8>| Records::Headless { members: range.map(member).collect() };
    zone.set(&Key::new("ns", "few"), Some(members(1..=3)));
    zone.set(&Key::new("ns", "many"), Some(members(1..=200)));
    zone.set(&Key::new("ns", "out"), Some(Records::External { target: "example.org".to_owned() }));
    server.zone.store(Some(Arc::new(zone)));
    let (socket, listener) = bind_both().await;
    let address = socket.local_addr().expect("bound");
    let shutdown = Shutdown::new();
    task::spawn("udp", serve_udp(Arc::clone(&server), socket, shutdown.clone()));
    task::spawn("tcp", serve_tcp(Arc::clone(&server), listener, shutdown.clone()));
    Rig { address, server, asked, shutdown }
}

/// One port of the loopback over both protocols. The kernel knows only of UDP when it chooses the port, so that over
/// TCP another test's socket may have it: then another port.
async fn bind_both() -> (UdpSocket, TcpListener) {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        match TcpListener::bind(socket.local_addr().expect("bound")).await {
            Ok(listener) => return (socket, listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("the same port over TCP: {error}"),
        }
    }
}

async fn play_resolver(socket: UdpSocket, asked: Arc<AtomicUsize>) {
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        asked.fetch_add(1, Ordering::Relaxed);
        let mut answer = Message::from_vec(&buffer[..length]).expect("a question").into_response();
        let name = answer.queries[0].name().clone();
        answer.add_answer(Record::from_rdata(name, 300, RData::A(A::new(192, 0, 2, 1))));
        // First an answer to a question that nobody asked: it must not be taken.
        let mut forged = answer.clone();
        forged.metadata.id = forged.metadata.id.wrapping_add(1);
        forged.answers.clear();
        for message in [forged, answer] {
            socket.send_to(&message.to_vec().expect("encodes"), peer).await.expect("sent");
        }
    }
}

fn question(name: &str, udp_bytes: Option<u16>) -> Message {
    let mut request = Message::query();
    request.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    if let Some(bytes) = udp_bytes {
        request.set_edns(Edns::new().set_max_payload(bytes).clone());
    }
    request
}

async fn over_udp(rig: &Rig, bytes: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.send_to(bytes, rig.address).await.expect("sent");
    let mut buffer = vec![0; 65535];
    let (length, _) = socket.recv_from(&mut buffer).await.expect("an answer");
    Message::from_vec(&buffer[..length]).expect("a message")
}

async fn ask(rig: &Rig, request: &Message) -> Message {
    let answer = over_udp(rig, &request.to_vec().expect("encodes")).await;
    assert_eq!(answer.metadata.id, request.metadata.id);
    assert_eq!(answer.edns.is_some(), request.edns.is_some());
    answer
}

#[tokio::test]
async fn small_answers_over_udp_start_with_another_address_each_time() {
    let rig = rig().await;
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let answer = ask(&rig, &question("few.ns.svc.cluster.local.", None)).await;
        assert_eq!(answer.answers.len(), 3);
        firsts.insert(answer.answers[0].data.to_string());
    }
    assert_eq!(firsts.len(), 3);
}

#[tokio::test]
async fn large_answers_are_truncated_and_whole_over_tcp() {
    let rig = rig().await;
    for size in [None, Some(1232), Some(65535)] {
        let request = question("many.ns.svc.cluster.local.", size);
        let answer = ask(&rig, &request).await;
        assert!(answer.metadata.truncation, "{size:?}");
    }
    let request = question("many.ns.svc.cluster.local.", None).to_vec().expect("encodes");
    let mut stream = TcpStream::connect(rig.address).await.expect("connects");
    for _ in 0..2 {
        let length = u16::try_from(request.len()).expect("short").to_be_bytes();
        stream.write_all(&[&length[..], &request].concat()).await.expect("sent");
        let mut buffer = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
        stream.read_exact(&mut buffer).await.expect("a message");
        assert_eq!(Message::from_vec(&buffer).expect("decodes").answers.len(), 200);
    }
}

#[tokio::test]
async fn other_names_are_asked_upstream_once_and_remembered() {
    let rig = rig().await;
    for _ in 0..3 {
        let answer = ask(&rig, &question("Example.org.", Some(1232))).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert_eq!(answer.answers[0].data.to_string(), "192.0.2.1");
    }
    assert_eq!(rig.asked.load(Ordering::Relaxed), 1);
    let answer = ask(&rig, &question("out.ns.svc.cluster.local.", None)).await;
    let got: Vec<String> = answer.answers.iter().map(|r| r.data.to_string()).collect();
    assert_eq!(got, ["example.org.", "192.0.2.1"]);
    assert_eq!(rig.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn before_the_zone_is_known_its_names_fail() {
    let rig = rig().await;
    rig.server.zone.store(None);
    let answer = ask(&rig, &question("few.ns.svc.cluster.local.", None)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn noise_is_refused_or_ignored_and_the_server_goes_on() {
    let rig = rig().await;
    // A header that promises a question that is not there.
    let answer = over_udp(&rig, &[7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    assert_eq!((answer.metadata.id, answer.metadata.response_code), (0x0709, ResponseCode::FormErr));
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for noise in [&b""[..], &b"x"[..], &[0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]] {
        socket.send_to(noise, rig.address).await.expect("sent");
    }
    assert_eq!(ask(&rig, &question("few.ns.svc.cluster.local.", None)).await.answers.len(), 3);
}
