//! What a request passes before anything of its body is read.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use gantry_apiserver::testing::Builder;
use gantry_common::clock::Manual;
use gantry_common::tls::Identity;
use gantry_proto::v1;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{Cluster, connect};

/// Longer than any answer takes, and shorter than a server waits for a body.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens a call, sends bytes on it, and no end; `None` when there is no answer meanwhile.
async fn call(
    cluster: &Cluster,
    identity: Option<&Identity>,
    method: &str,
    bytes: Vec<u8>,
) -> Option<Response<Incoming>> {
    let part = stream::once(async move { Ok::<_, Infallible>(Frame::data(Bytes::from(bytes))) });
    let body = StreamBody::new(Box::pin(part.chain(stream::pending())));
    let request = http::Request::post(format!("https://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("a request");
    let mut sender = cluster.http2_as(identity).await;
    tokio::time::timeout(PATIENCE, sender.send_request(request)).await.ok().map(|answer| answer.expect("answers"))
}

fn code(headers: Option<&HeaderMap>) -> Option<String> {
    Some(headers?.get("grpc-status")?.to_str().expect("text").to_owned())
}

/// The code of a call whose message is announced with 3 MiB and does not come.
async fn grpc_code(cluster: &Cluster, identity: Option<&Identity>, method: &str) -> Option<String> {
    let mut head = vec![0];
    head.extend_from_slice(&(3_u32 << 20).to_be_bytes());
    head.extend_from_slice(&[b'x'; 1000]);
    code(call(cluster, identity, method, head).await.as_ref().map(Response::headers))
}

#[tokio::test]
async fn attack_messages_of_nobody_are_not_read() {
    let cluster = Cluster::start().await;
    for method in ["Objects/Create", "Objects/Get", "Nodes/Control", "Cluster/Resources"] {
        let code = grpc_code(&cluster, None, &format!("/gantry.v1.{method}")).await;
        assert_eq!(code.as_deref(), Some("16"), "{method}");
    }
    for open in ["/grpc.health.v1.Health/Check", "/gantry.v1.Cluster/Version"] {
        let code = grpc_code(&cluster, None, open).await;
        assert_eq!(code.as_deref(), Some("11"), "{open}: a question without credentials is short");
    }
}

#[tokio::test]
async fn a_place_among_the_requests_in_flight_is_taken_before_a_body_is_read() {
    let none = |config: &mut gantry_apiserver::Config| config.max_mutating_requests_inflight = 0;
    let cluster = Cluster::with(Builder::default().configure(none)).await;
    let binding = serde_json::json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "u"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "u"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(cluster.rest("POST", bindings, &[], &binding.to_string()).await.code, 201, "masters need no place");
    let identity = cluster.identity("u", &[]);
    let code = grpc_code(&cluster, Some(&identity), "/gantry.v1.Objects/Create").await;
    assert_eq!(code.as_deref(), Some("8"));
    let maps = "/api/v1/namespaces/default/configmaps";
    for (method, path) in [("POST", maps.to_owned()), ("PUT", format!("{maps}/m")), ("DELETE", format!("{maps}/m"))] {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{{"
        );
        let mut stream = connect(&cluster.server, Some(&identity)).await;
        stream.write_all(head.as_bytes()).await.expect("taken");
        let mut line = [0; 12];
        let answer = tokio::time::timeout(PATIENCE, stream.read_exact(&mut line)).await;
        assert!(answer.is_ok(), "{method}: no answer until the body is there");
        assert_eq!(line, *b"HTTP/1.1 429", "{method}");
    }
}

#[tokio::test]
async fn a_credential_that_expires_ends_streams_of_calls() {
    let clock = Manual::new(jiff::Timestamp::now());
    let builder = Builder::default()
        .clock(clock.clone())
        .configure(|config| config.session_check_period = Duration::from_millis(100));
    let cluster = Cluster::with(builder).await;
    let (admin, node) =
        (cluster.identity("admin", &["system:masters"]), cluster.identity("system:node:n", &["system:nodes"]));
    // One item that asks for nothing, and a report that says nothing.
    let item = vec![0, 0, 0, 0, 2, 8, 7];
    let batch = call(&cluster, Some(&admin), "/gantry.v1.Objects/Batch", item).await.expect("opens");
    let control = call(&cluster, Some(&node), "/gantry.v1.Nodes/Control", vec![0; 5]).await.expect("opens");
    let mut batch = batch.into_body();
    assert!(batch.frame().await.expect("open").expect("good").is_data(), "the item is answered");
    // Test certificates end in the year 4096.
    clock.set("5000-01-01T00:00:00Z".parse().expect("a time"));
    for (name, body) in [("batch", batch), ("control", control.into_body())] {
        let rest = tokio::time::timeout(PATIENCE, body.collect()).await;
        let rest = rest.unwrap_or_else(|_| panic!("{name} goes on")).expect("a clean end");
        assert_eq!(code(rest.trailers()).as_deref(), Some("16"), "{name}");
    }
}

/// Lets the users do everything.
async fn empower(cluster: &Cluster, users: &[&str]) {
    let subject =
        |user: &&str| serde_json::json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user});
    let binding = serde_json::json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "all"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": users.iter().map(subject).collect::<Vec<_>>(),
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(cluster.rest("POST", bindings, &[], &binding.to_string()).await.code, 201);
}

/// An item of a batch as it is sent.
fn item(id: u64, object: &serde_json::Value) -> Bytes {
    let resource = v1::Resource { version: "v1".to_owned(), resource: "configmaps".to_owned(), ..Default::default() };
    let create = v1::CreateRequest {
        resource: Some(resource),
        namespace: "default".to_owned(),
        object: Bytes::from(object.to_string()),
        ..Default::default()
    };
    let message =
        v1::BatchRequest { id, operation: Some(v1::batch_request::Operation::Create(create)) }.encode_to_vec();
    let length = u32::try_from(message.len()).expect("small").to_be_bytes();
    [&[0], &length[..], &message[..]].concat().into()
}

/// Opens a batch, sends items on it, and no end.
async fn batch<B>(sender: &mut SendRequest<B>, body: B) -> Response<Incoming>
where
    B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let request = http::Request::post("https://localhost/gantry.v1.Objects/Batch")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("a request");
    sender.send_request(request).await.expect("answers")
}

#[tokio::test]
async fn attack_who_does_not_take_answers_holds_no_places() {
    let few = |config: &mut gantry_apiserver::Config| config.max_mutating_requests_inflight = 2;
    let cluster = Cluster::with(Builder::default().configure(few)).await;
    empower(&cluster, &["deaf", "other"]).await;
    let text = "x".repeat(200_000);
    let items = (0..200).map(move |id| item(id, &crate::support::configmap(&format!("m{id}"), &text)));
    let frames = stream::iter(items).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut sender = cluster.http2_as(Some(&cluster.identity("deaf", &[]))).await;
    let unread = batch(&mut sender, StreamBody::new(Box::pin(frames.chain(stream::pending())))).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    // As many as are worked on while nobody listens. They are counted, not fetched: all of them are many megabytes.
    let one = format!("{maps}?limit=1");
    let stored = async || {
        let list = cluster.rest("GET", &one, &[], "").await.json();
        let more = list["metadata"]["remainingItemCount"].as_u64().and_then(|n| usize::try_from(n).ok());
        list["items"].as_array().map_or(0, Vec::len) + more.unwrap_or(0)
    };
    let mut worked_on = 0;
    while worked_on < 128 {
        let more = async {
            loop {
                let now = stored().await;
                if now > worked_on {
                    return now;
                }
            }
        };
        worked_on = tokio::time::timeout(PATIENCE, more).await.expect("what has been read is worked on");
    }
    let (other, map) = (cluster.identity("other", &[]), crate::support::configmap("theirs", "1").to_string());
    let written = crate::support::request(&cluster.server, Some(&other), "POST", maps, &[], &map).await;
    assert_eq!(written.code, 201, "{}", written.text);
    assert!(stored().await < 200, "more is read than has room");
    drop(unread);
}

#[tokio::test]
async fn attack_a_user_has_so_many_batches() {
    let cluster = Cluster::start().await;
    let mut sender = cluster.http2_as(Some(&cluster.identity("u", &[]))).await;
    let mut open = Vec::new();
    for opened in 0..=64 {
        let (end, body) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        let answer = batch(&mut sender, StreamBody::new(ReceiverStream::new(body))).await;
        let refused = (opened == 64).then_some("8");
        assert_eq!(code(Some(answer.headers())).as_deref(), refused, "{opened}");
        open.push((end, answer));
    }
    // One that ends makes room.
    drop(open.remove(0));
    let opens = async {
        loop {
            let (_end, body) = tokio::sync::mpsc::channel(1);
            let answer = batch(&mut sender, StreamBody::new(ReceiverStream::new(body))).await;
            if code(Some(answer.headers())).is_none() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, opens).await.expect("there is room");
}
