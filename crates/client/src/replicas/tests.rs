//! Against small servers that say who they are.

use std::net::SocketAddr;

use gantry_common::task;
use gantry_proto::v1::{
    self,
    cluster_client::ClusterClient,
    cluster_server::{Cluster, ClusterServer},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request as Call, Response as Answer, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint, Server},
};

use super::*;

/// Answers its name, and with an error where the name is one.
struct Named(&'static str);

#[tonic::async_trait]
impl Cluster for Named {
    async fn version(&self, _: Call<v1::VersionRequest>) -> Result<Answer<v1::VersionReply>, Status> {
        match self.0 {
            "refuses" => Err(Status::unavailable("refused on purpose")),
            name => Ok(Answer::new(v1::VersionReply { version: name.into() })),
        }
    }

    async fn resources(&self, _: Call<v1::ResourcesRequest>) -> Result<Answer<v1::ResourcesReply>, Status> {
        Err(Status::unimplemented("not part of this test"))
    }
}

/// A server with a runtime of its own: when that ends, so do its connections, as in a crash.
struct Running {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Running {
    fn start(name: &'static str, address: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = std::net::TcpListener::bind(address).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let _guard = runtime.enter();
        let listener = TcpListener::from_std(listener).expect("a socket");
        task::spawn("server", async move {
            let server = Server::builder().add_service(ClusterServer::new(Named(name)));
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
        });
        Self { address, runtime: Some(runtime) }
    }

    fn kill(mut self) -> SocketAddr {
        let runtime = self.runtime.take().expect("it runs");
        let ended = std::thread::spawn(move || drop(runtime));
        ended.join().expect("it ends");
        self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// A port where nothing listens.
async fn dead() -> SocketAddr {
    TcpListener::bind(any_port()).await.expect("a port").local_addr().expect("an address")
}

fn endpoint(address: &SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).expect("an address")
}

fn client(addresses: &[SocketAddr], first: usize) -> ClusterClient<Replicas> {
    ClusterClient::new(Replicas::new(addresses.iter().map(endpoint).collect(), first))
}

async fn ask(client: &mut ClusterClient<Replicas>) -> Result<String, Status> {
    let reply = client.version(v1::VersionRequest {}).await?.into_inner();
    Ok(String::from_utf8(reply.version.to_vec()).expect("a name"))
}

/// As a caller does for whom a call broke off: the connection's end may not have been noticed when it was made.
async fn ask_twice(client: &mut ClusterClient<Replicas>) -> Result<String, Status> {
    match ask(client).await {
        Ok(name) => Ok(name),
        Err(_) => ask(client).await,
    }
}

#[tokio::test]
async fn a_dead_server_is_skipped_and_calls_stay_with_the_living() {
    let alive = Running::start("alive", any_port());
    let addresses = [dead().await, dead().await, alive.address];
    for first in 0..3 {
        let mut client = client(&addresses, first);
        for _ in 0..5 {
            assert_eq!(ask(&mut client).await.expect("another server answers"), "alive");
        }
    }
}

#[tokio::test]
async fn calls_go_on_when_the_server_dies_and_when_it_is_the_others_turn() {
    let one = Running::start("one", any_port());
    let two = Running::start("two", any_port());
    let mut client = client(&[one.address, two.address], 0);
    assert_eq!(ask(&mut client).await.expect("one answers"), "one");
    let address = one.kill();
    assert_eq!(ask_twice(&mut client).await.expect("two answers"), "two");
    for _ in 0..5 {
        assert_eq!(ask(&mut client).await.expect("two answers"), "two");
    }
    let _one = Running::start("one again", address);
    two.kill();
    // It was avoided a moment ago, but it is the only one now.
    assert_eq!(ask_twice(&mut client).await.expect("one answers"), "one again");
}

#[tokio::test]
async fn where_nobody_answers_the_error_says_that_no_connection_was_made() {
    let mut client = client(&[dead().await, dead().await], 1);
    let error = ask(&mut client).await.expect_err("nobody is there");
    assert_eq!(error.code(), Code::Unavailable);
    let chain = gantry_common::error_chain(&error);
    assert!(chain.contains("refused"), "{chain}");
}

/// A server that answers is asked once: what it says is no reason to ask another.
#[tokio::test]
async fn an_answer_is_an_answer_also_when_it_is_an_error() {
    let refuses = Running::start("refuses", any_port());
    let other = Running::start("other", any_port());
    let mut client = client(&[refuses.address, other.address], 0);
    let error = ask(&mut client).await.expect_err("it refuses");
    assert_eq!(error.message(), "refused on purpose");
}

#[tokio::test]
async fn calls_that_wait_for_a_dead_server_move_on_together() {
    let alive = Running::start("alive", any_port());
    let client = client(&[dead().await, alive.address], 0);
    let calls = (0..50).map(|_| {
        let mut client = client.clone();
        async move { ask(&mut client).await }
    });
    for result in futures::future::join_all(calls).await {
        assert_eq!(result.expect("the other one answers"), "alive");
    }
}

/// The kernel accepts connections for a process that is stopped; TLS never gets an answer.
#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_skipped() {
    gantry_common::tls::install_provider();
    let silent = TcpListener::bind(any_port()).await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(crate::session::tests::any_ca()));
    let silent_end = Endpoint::from_shared(format!("https://{address}")).expect("an address");
    let silent_end = silent_end.tls_config(tls).expect("a CA");
    let alive = Running::start("alive", any_port());
    let limit = Duration::from_millis(300);
    let ends = vec![silent_end.clone(), endpoint(&alive.address)];
    let mut both = ClusterClient::new(Replicas::with_limit(ends, 0, limit));
    assert_eq!(ask(&mut both).await.expect("the other one answers"), "alive");
    let mut alone = ClusterClient::new(Replicas::with_limit(vec![silent_end], 0, limit));
    let error = ask(&mut alone).await.expect_err("nobody answers");
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "no connection within 0.3 s"));
}

#[tokio::test]
async fn a_body_that_was_begun_is_not_had_back() {
    let (body, slot) = Parcel::pack(Body::new(http_body_of(b"text")));
    assert!(slot.lock().is_some());
    let mut body = std::pin::pin!(body);
    let frame = poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)).await;
    assert!(frame.is_some_and(|f| f.is_ok()));
    assert!(slot.lock().is_none(), "its first bytes have left");
}

fn http_body_of(text: &'static [u8]) -> impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static {
    struct Once(Option<&'static [u8]>);
    impl http_body::Body for Once {
        type Data = Bytes;
        type Error = Status;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.take().map(|text| Ok(Frame::data(Bytes::from_static(text)))))
        }
    }
    Once(Some(text))
}
