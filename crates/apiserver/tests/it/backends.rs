//! A node that dials out, and what runs on it: backends that are HTTP servers or speak whatever a test wants.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use gantry_client::{Client, ResourceId, WriteParams};
use gantry_common::task;
use gantry_proto::v1::control_command::Command;
use gantry_proto::v1::control_report::Report;
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::{ControlReport, DialRequest, NodeHello, OpenFailed, OpenSession, SessionEnd, SessionFrame};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::Cluster;

pub(crate) fn frame(frame: Frame) -> SessionFrame {
    SessionFrame { frame: Some(frame) }
}

const SUCCESS: &[u8] = br#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":200}"#;

/// What a node does with sessions.
#[derive(Default, Clone)]
pub(crate) struct Behaviour {
    /// Where every dialled connection goes; none: refused.
    pub(crate) backend: Option<SocketAddr>,
    /// Where the kubelet's own API is.
    pub(crate) kubelet: Option<SocketAddr>,
    /// What it says of its use.
    pub(crate) stats: Option<String>,
}

/// A node with its control stream; it serves until the test ends.
pub(crate) struct Node {
    dialled: Arc<Mutex<Vec<DialRequest>>>,
}

impl Node {
    pub(crate) async fn start(cluster: &Cluster, name: &str, behaviour: Behaviour) -> Self {
        let client = cluster.client(&format!("system:node:{name}"), &["system:nodes"]);
        let (reports, receiver) = mpsc::channel(8);
        let hello = ControlReport { report: Some(Report::Hello(NodeHello { node: name.to_owned() })) };
        reports.send(hello).await.expect("room");
        let (_, mut nodes) = client.nodes().into_iter().next().expect("a server");
        let mut commands = nodes.control(ReceiverStream::new(receiver)).await.expect("opens").into_inner();
        let dialled: Arc<Mutex<Vec<DialRequest>>> = Arc::default();
        let seen = dialled.clone();
        drop(task::spawn("node", async move {
            while let Ok(Some(command)) = commands.message().await {
                let Some(Command::Open(OpenSession { session, kind: Some(kind), .. })) = command.command else {
                    continue;
                };
                if let Kind::Dial(request) = &kind {
                    seen.lock().push(request.clone());
                }
                drop(task::spawn(
                    "node-session",
                    serve(client.clone(), reports.clone(), behaviour.clone(), session, kind),
                ));
            }
        }));
        Self { dialled }
    }

    /// The connections that the node was asked to make.
    pub(crate) fn dialled(&self) -> Vec<DialRequest> {
        self.dialled.lock().clone()
    }
}

async fn serve(
    client: Client,
    reports: mpsc::Sender<ControlReport>,
    behaviour: Behaviour,
    session: String,
    kind: Kind,
) {
    let target = match &kind {
        Kind::Dial(_) => behaviour.backend,
        Kind::Kubelet(_) => behaviour.kubelet,
        Kind::Stats(_) => {
            if let Some(stats) = behaviour.stats {
                let (frames, _back) = answer(&client, &session).await;
                frames.send(frame(Frame::Data(Bytes::from(stats)))).await.expect("room");
                frames.send(frame(Frame::Status(Bytes::from_static(SUCCESS)))).await.expect("room");
                frames.closed().await;
                return;
            }
            None
        }
        _ => None,
    };
    let stream = match target {
        Some(address) => TcpStream::connect(address).await.ok(),
        None => None,
    };
    match stream {
        Some(stream) => {
            let (frames, back) = answer(&client, &session).await;
            relay(stream, frames, back).await;
        }
        None => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "reason": "ServiceUnavailable", "message": "connect: connection refused", "code": 503});
            let failed = OpenFailed { session, status: Bytes::from(status.to_string()) };
            drop(reports.send(ControlReport { report: Some(Report::OpenFailed(failed)) }).await);
        }
    }
}

async fn answer(client: &Client, session: &str) -> (mpsc::Sender<SessionFrame>, tonic::Streaming<SessionFrame>) {
    let (frames, receiver) = mpsc::channel(8);
    frames.send(frame(Frame::Hello(session.to_owned()))).await.expect("room");
    let (_, mut nodes) = client.nodes().into_iter().next().expect("a server");
    let back = nodes.session(ReceiverStream::new(receiver)).await.expect("opens").into_inner();
    (frames, back)
}

/// Joins a session and a connection, each direction by itself; both end when the API server lets go.
async fn relay(stream: TcpStream, frames: mpsc::Sender<SessionFrame>, mut back: tonic::Streaming<SessionFrame>) {
    let (mut read, mut write) = stream.into_split();
    let inwards = async {
        while let Ok(Some(SessionFrame { frame: Some(frame) })) = back.message().await {
            let passed = match frame {
                Frame::Data(bytes) => write.write_all(&bytes).await,
                Frame::End(_) => write.shutdown().await,
                _ => Ok(()),
            };
            if passed.is_err() {
                return;
            }
        }
    };
    let outwards = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(bytes @ 1..) = read.read(&mut buffer).await {
            let data = Frame::Data(Bytes::copy_from_slice(&buffer[..bytes]));
            if frames.send(frame(data)).await.is_err() {
                return;
            }
        }
        drop(frames.send(frame(Frame::End(SessionEnd {}))).await);
        frames.closed().await;
    };
    tokio::select! {
        () = inwards => {}
        () = outwards => {}
    }
}

/// What a backend was asked.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().expect("text"))
    }
}

/// An HTTP backend that answers with what `respond` makes; it remembers every request.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Backend {
    pub(crate) async fn start(respond: impl Fn(&Seen) -> Response<Full<Bytes>> + Clone + Send + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let all = seen.clone();
        let address = raw(move |stream| {
            let (respond, all) = (respond.clone(), all.clone());
            async move {
                let service = service_fn(move |request| answered(request, respond.clone(), all.clone()));
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            }
        })
        .await;
        Self { address, seen }
    }

    /// A backend that says `text` to everybody.
    pub(crate) async fn saying(text: &'static str) -> Self {
        Self::start(move |_| Response::new(Full::new(Bytes::from(text)))).await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

async fn answered(
    request: Request<Incoming>,
    respond: impl Fn(&Seen) -> Response<Full<Bytes>>,
    all: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let seen = Seen {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let response = respond(&seen);
    all.lock().push(seen);
    Ok(response)
}

/// A backend that is given each connection as it is.
pub(crate) async fn raw<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(task::spawn("backend", async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(task::spawn("backend-connection", serve(stream)));
        }
    }));
    address
}

/// A running pod of `default` on `n1`, with this address.
pub(crate) async fn running_pod(cluster: &Cluster, name: &str, ip: &str) -> Value {
    let pods = cluster.admin().dynamic(ResourceId::new("", "v1", "pods"), "default");
    let mut pod = crate::support::pod(name);
    pod["spec"]["nodeName"] = "n1".into();
    pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 8080, "name": "web"}]);
    pods.create("", "", &pod, &WriteParams::default()).await.expect("created");
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
    let path = format!("/api/v1/namespaces/default/pods/{name}/status");
    let merge = ("content-type", "application/merge-patch+json");
    let answer = cluster.rest("PATCH", &path, &[merge], &status.to_string()).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    answer.json()
}

/// A Service `web` of `default` whose slice holds `endpoints`.
pub(crate) async fn service(cluster: &Cluster, endpoints: Value) {
    let service =
        json!({"metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}});
    let services = cluster.admin().dynamic(ResourceId::new("", "v1", "services"), "default");
    services.create("", "", &service, &WriteParams::default()).await.expect("created");
    let slice = json!({
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    });
    let slices = cluster.admin().dynamic(ResourceId::new("discovery.k8s.io", "v1", "endpointslices"), "default");
    slices.create("", "", &slice, &WriteParams::default()).await.expect("created");
}

/// An endpoint that is a pod.
pub(crate) fn endpoint(pod: &Value, ip: &str) -> Value {
    json!({"addresses": [ip], "conditions": {"ready": true}, "nodeName": "n1",
        "targetRef": {"kind": "Pod", "namespace": "default", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}})
}

/// A node object with this InternalIP.
pub(crate) async fn node_object(cluster: &Cluster, name: &str, ip: &str) {
    let nodes = cluster.admin().dynamic(ResourceId::new("", "v1", "nodes"), "");
    let node = json!({"metadata": {"name": name, "labels": {"zone": name}}});
    nodes.create("", "", &node, &WriteParams::default()).await.expect("created");
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": ip}]}}).to_string();
    let merge = ("content-type", "application/merge-patch+json");
    let answer = cluster.rest("PATCH", &format!("/api/v1/nodes/{name}/status"), &[merge], &status).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
}

/// A cluster with the pod `p` at 10.244.1.7 on `n1`, whose connections go to `backend`.
pub(crate) async fn cluster_with_pod(backend: SocketAddr) -> (Cluster, Node, Value) {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let pod = running_pod(&cluster, "p", "10.244.1.7").await;
    let node = Node::start(&cluster, "n1", Behaviour { backend: Some(backend), ..Behaviour::default() }).await;
    (cluster, node, pod)
}
