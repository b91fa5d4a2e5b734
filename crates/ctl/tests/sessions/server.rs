//! Plays the API server and the node behind it: objects from a table, sessions that do what their command says.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    sync::Arc,
};

use bytes::Bytes;
use futures::Stream;
use gantry_api::{
    selector::LabelSelector,
    status::{Cause, Details, Status},
};
use gantry_common::task;
use gantry_proto::v1::{
    self, BatchReply, BatchRequest, CreateRequest, DeleteCollectionRequest, DeleteRequest, EventType, ExecRequest,
    GetRequest, ListChunk, ListRequest, LogChunk, LogRequest, ObjectReply, OpenSession, PatchRequest, SessionEnd,
    SessionFrame, UpdateRequest, WatchBatch, WatchEvent, WatchRequest,
    cluster_server::{Cluster, ClusterServer},
    objects_server::{Objects, ObjectsServer},
    open_session::Kind,
    session_frame::Frame,
    sessions_server::{Sessions, SessionsServer},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Streaming, transport::Server};

type Answer<T> = Result<Response<T>, tonic::Status>;
type Out<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;
type Frames = mpsc::Sender<Result<SessionFrame, tonic::Status>>;

/// What the server knows and saw.
#[derive(Default)]
pub(crate) struct State {
    /// By resource and name.
    objects: Mutex<BTreeMap<(String, String), Value>>,
    /// Sessions that were asked for.
    pub(crate) opened: Mutex<Vec<Kind>>,
    /// Writes that were asked for.
    pub(crate) writes: Mutex<Vec<String>>,
    /// Logs by pod and container, in chunks.
    logs: Mutex<BTreeMap<(String, String), Vec<String>>>,
    /// The files of every container.
    files: Option<PathBuf>,
    /// How port-forwards end.
    pub(crate) forwards: watch::Sender<Option<Status>>,
}

/// A server.
pub(crate) struct Fake {
    pub(crate) state: Arc<State>,
    pub(crate) address: SocketAddr,
    /// Its port stays taken while it is stopped: callers wait for an answer.
    listener: std::net::TcpListener,
    running: Option<tokio::runtime::Runtime>,
}

impl State {
    pub(crate) fn add(&self, resource: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        self.objects.lock().insert((resource.to_owned(), name), object);
    }

    pub(crate) fn add_log(&self, pod: &str, container: &str, chunks: &[&str]) {
        let chunks = chunks.iter().map(|c| (*c).to_owned()).collect();
        self.logs.lock().insert((pod.to_owned(), container.to_owned()), chunks);
    }

    fn selected(&self, resource: &str, labels: &str, fields: &str) -> Vec<Value> {
        let selector = LabelSelector::parse(labels).expect("a selector");
        let name = fields.strip_prefix("metadata.name=");
        let fits = |object: &Value| {
            let empty = serde_json::Map::new();
            let labels = object["metadata"]["labels"].as_object().unwrap_or(&empty);
            selector.matches(labels) && name.is_none_or(|n| object["metadata"]["name"] == n)
        };
        let objects = self.objects.lock();
        objects.iter().filter(|((r, _), o)| r == resource && fits(o)).map(|(_, o)| o.clone()).collect()
    }

    /// What a kubelet would report: every container of the pod runs.
    fn run_containers(&self, name: &str) -> Option<Value> {
        let mut objects = self.objects.lock();
        let pod = objects.get_mut(&("pods".to_owned(), name.to_owned()))?;
        pod["status"]["phase"] = json!("Running");
        for (spec, status) in
            [("containers", "containerStatuses"), ("ephemeralContainers", "ephemeralContainerStatuses")]
        {
            let names = pod["spec"][spec].as_array().cloned().unwrap_or_default();
            let running = |c: &Value| json!({"name": c["name"], "state": {"running": {}}});
            pod["status"][status] = names.iter().map(running).collect();
        }
        Some(pod.clone())
    }
}

impl Fake {
    /// Starts it; `files` is what the containers' `tar` and `test` see as their working folder.
    pub(crate) fn start(files: &Path) -> Self {
        let state = Arc::new(State { files: Some(files.to_owned()), ..State::default() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let mut fake = Self { state, address, listener, running: None };
        fake.start_again();
        fake
    }

    /// Ends it with all its connections, as a process that is killed.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.running.take() {
            runtime.shutdown_background();
        }
    }

    /// Starts it at the same address.
    pub(crate) fn start_again(&mut self) {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let served = Service(Arc::clone(&self.state));
        let listener = self.listener.try_clone().expect("a socket");
        let serving = async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            let server = Server::builder()
                .add_service(ObjectsServer::new(served.clone()))
                .add_service(ClusterServer::new(served.clone()))
                .add_service(SessionsServer::new(served));
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
        };
        let _inside = runtime.enter();
        drop(task::spawn("server", serving));
        self.running = Some(runtime);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Clone)]
struct Service(Arc<State>);

fn refuse(status: &Status) -> tonic::Status {
    let details = serde_json::to_vec(status).expect("it serialises");
    tonic::Status::with_details(Code::Unknown, &status.message, details.into())
}

fn not_found(resource: &str, name: &str) -> tonic::Status {
    let mut status = Status::failure(404, "NotFound", format!("{resource} {name:?} not found"));
    status.details = Some(Details { name: name.to_owned(), ..Details::default() });
    refuse(&status)
}

fn bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

fn resource(r: &Option<v1::Resource>) -> String {
    let r = r.clone().expect("a resource");
    if r.group == "metrics.k8s.io" { format!("{}.metrics", r.resource) } else { r.resource }
}

#[tonic::async_trait]
impl Objects for Service {
    type ListStream = Out<ListChunk>;
    type WatchStream = Out<WatchBatch>;
    type DeleteCollectionStream = Out<ListChunk>;
    type BatchStream = Out<BatchReply>;

    async fn get(&self, request: Request<GetRequest>) -> Answer<ObjectReply> {
        let request = request.into_inner();
        let key = (resource(&request.resource), request.name.clone());
        let found = self.0.objects.lock().get(&key).cloned();
        let object = found.ok_or_else(|| not_found(&key.0, &key.1))?;
        Ok(Response::new(ObjectReply { object: bytes(&object), ..ObjectReply::default() }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Answer<Self::ListStream> {
        let request = request.into_inner();
        let items = self.0.selected(&resource(&request.resource), &request.label_selector, &request.field_selector);
        let chunk = ListChunk {
            list: bytes(&json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}})),
            items: items.iter().map(bytes).collect(),
        };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(chunk)))))
    }

    /// A watch of a pod sees its containers start, then nothing more.
    async fn watch(&self, request: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        let request = request.into_inner();
        let name = request.field_selector.strip_prefix("metadata.name=").unwrap_or_default().to_owned();
        let (sender, receiver) = mpsc::channel(2);
        if let Some(pod) = self.0.run_containers(&name) {
            let event = WatchEvent {
                r#type: EventType::Modified.into(),
                object: bytes(&pod),
                revision: 2,
                ..WatchEvent::default()
            };
            sender.try_send(Ok(WatchBatch { events: vec![event] })).expect("there is room");
        }
        task::spawn("watch", async move { sender.closed().await });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn create(&self, request: Request<CreateRequest>) -> Answer<ObjectReply> {
        let request = request.into_inner();
        let mut object: Value = serde_json::from_slice(&request.object).expect("an object");
        object["metadata"]["uid"] = json!("uid-1");
        self.0.writes.lock().push(format!("create {}", object["metadata"]["name"]));
        self.0.add(&resource(&request.resource), object.clone());
        Ok(Response::new(ObjectReply { object: bytes(&object), created: true, ..ObjectReply::default() }))
    }

    async fn update(&self, _: Request<UpdateRequest>) -> Answer<ObjectReply> {
        Err(tonic::Status::unimplemented("no test updates"))
    }

    async fn patch(&self, request: Request<PatchRequest>) -> Answer<ObjectReply> {
        let request = request.into_inner();
        let patch: Value = serde_json::from_slice(&request.patch).expect("a patch");
        self.0.writes.lock().push(format!("patch {}/{} {patch}", request.name, request.subresource));
        let mut objects = self.0.objects.lock();
        let key = (resource(&request.resource), request.name.clone());
        let object = objects.get_mut(&key).ok_or_else(|| not_found(&key.0, &key.1))?;
        object["spec"]["ephemeralContainers"] = patch["spec"]["ephemeralContainers"].clone();
        Ok(Response::new(ObjectReply { object: bytes(object), ..ObjectReply::default() }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Answer<ObjectReply> {
        let request = request.into_inner();
        let options = String::from_utf8_lossy(&request.delete_options).into_owned();
        self.0.writes.lock().push(format!("delete {} {options}", request.name));
        let removed = self.0.objects.lock().remove(&(resource(&request.resource), request.name.clone()));
        let object = removed.ok_or_else(|| not_found("pods", &request.name))?;
        Ok(Response::new(ObjectReply { object: bytes(&object), ..ObjectReply::default() }))
    }

    async fn delete_collection(&self, _: Request<DeleteCollectionRequest>) -> Answer<Self::DeleteCollectionStream> {
        Err(tonic::Status::unimplemented("no test deletes collections"))
    }

    async fn batch(&self, _: Request<Streaming<BatchRequest>>) -> Answer<Self::BatchStream> {
        Err(tonic::Status::unimplemented("no test sends batches"))
    }
}

#[tonic::async_trait]
impl Cluster for Service {
    async fn version(&self, _: Request<v1::VersionRequest>) -> Answer<v1::VersionReply> {
        Ok(Response::new(v1::VersionReply { version: bytes(&json!({"gitVersion": "v1.36.0"})) }))
    }

    async fn resources(&self, _: Request<v1::ResourcesRequest>) -> Answer<v1::ResourcesReply> {
        let namespaced = |plural: &str, kind: &str, short: &str| {
            json!({"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced", "shortNames": [short],
                "singularResource": kind.to_ascii_lowercase()})
        };
        let nodes = json!({"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster",
            "singularResource": "node"});
        let core = [
            namespaced("pods", "Pod", "po"),
            namespaced("services", "Service", "svc"),
            namespaced("events", "Event", "ev"),
            namespaced("configmaps", "ConfigMap", "cm"),
            nodes,
        ];
        let groups = json!({"items": [
            {"metadata": {}, "versions": [{"version": "v1", "resources": core}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1",
                "resources": [namespaced("deployments", "Deployment", "deploy")]}]}]});
        Ok(Response::new(v1::ResourcesReply { groups: bytes(&groups) }))
    }
}

#[tonic::async_trait]
impl Sessions for Service {
    type LogStream = Out<LogChunk>;
    type OpenStream = Out<SessionFrame>;

    async fn log(&self, request: Request<LogRequest>) -> Answer<Self::LogStream> {
        let request = request.into_inner();
        let key = (request.pod.clone(), request.container.clone());
        let chunks = self.0.logs.lock().get(&key).cloned();
        let Some(chunks) = chunks else {
            let message = format!("container {:?} in pod {:?} is waiting to start", key.1, key.0);
            return Err(refuse(&Status::failure(400, "BadRequest", message)));
        };
        let (sender, receiver) = mpsc::channel(1);
        task::spawn("log", async move {
            for chunk in chunks {
                // So that the chunks of several logs come in turn.
                tokio::task::yield_now().await;
                if sender.send(Ok(LogChunk { data: chunk.into() })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn open(&self, request: Request<Streaming<SessionFrame>>) -> Answer<Self::OpenStream> {
        let mut from = request.into_inner();
        let first = from.message().await?.and_then(|f| f.frame);
        let Some(Frame::Open(OpenSession { kind: Some(kind), .. })) = first else { panic!("{first:?}") };
        self.0.opened.lock().push(kind.clone());
        let (to, receiver) = mpsc::channel(8);
        let state = Arc::clone(&self.0);
        match &kind {
            Kind::Exec(exec) if exec.command == ["refused"] => {
                let message = "pods \"web\" is forbidden: User \"dev\" cannot create resource \"pods/exec\"";
                return Err(refuse(&Status::failure(403, "Forbidden", message)));
            }
            Kind::PortForward(forward) if forward.port == 9 => {
                return Err(refuse(&Status::failure(503, "ServiceUnavailable", "node \"n1\" cannot be reached")));
            }
            _ => {}
        }
        task::spawn("session", async move {
            send(&to, Frame::Hello("session".to_owned())).await;
            let result = match kind {
                Kind::Exec(exec) => run(exec, &mut from, &to, &state).await,
                Kind::Attach(_) => attach(&mut from, &to).await,
                Kind::PortForward(forward) if forward.port == 0 => hold(&mut from, &state).await,
                Kind::PortForward(forward) => reverse(forward.port, &mut from, &to).await,
                other => panic!("no test opens {other:?}"),
            };
            let json = serde_json::to_vec(&result).expect("it serialises");
            send(&to, Frame::Status(json.into())).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn send(to: &Frames, frame: Frame) {
    // The client may have gone.
    drop(to.send(Ok(SessionFrame { frame: Some(frame) })).await);
}

fn success() -> Status {
    serde_json::from_value(json!({"metadata": {}, "status": "Success"})).expect("a Status")
}

fn exited(code: i32) -> Status {
    if code == 0 {
        return success();
    }
    let cause = Cause { reason: "ExitCode".to_owned(), message: code.to_string(), field: String::new() };
    Status {
        details: Some(Details { causes: vec![cause], ..Details::default() }),
        ..Status::failure(500, "NonZeroExitCode", format!("command terminated with exit code {code}"))
    }
}

async fn next(from: &mut Streaming<SessionFrame>) -> Option<Frame> {
    from.message().await.ok().flatten().and_then(|f| f.frame)
}

/// `echo`, `cat`, `exit N`, `size` (tells each size until `q` is typed), `tar` and `test` for real.
async fn run(exec: ExecRequest, from: &mut Streaming<SessionFrame>, to: &Frames, state: &State) -> Status {
    let words: Vec<&str> = exec.command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["echo", rest @ ..] => {
            send(to, Frame::Data(format!("{}\n", rest.join(" ")).into())).await;
            success()
        }
        ["exit", code] => {
            send(to, Frame::Data("out\n".into())).await;
            send(to, Frame::Stderr("bye\n".into())).await;
            exited(code.parse().expect("a number"))
        }
        ["cat"] => {
            while let Some(Frame::Data(data)) = next(from).await {
                send(to, Frame::Data(data)).await;
            }
            success()
        }
        ["size"] => loop {
            match next(from).await {
                Some(Frame::Resize(size)) => {
                    send(to, Frame::Data(format!("{}x{}\r\n", size.width, size.height).into())).await;
                }
                Some(Frame::Data(data)) if data.as_ref() == b"q" => return exited(3),
                Some(Frame::Data(data)) => send(to, Frame::Data(format!("{data:?}\r\n").into())).await,
                other => panic!("{other:?}"),
            }
        },
        ["tar" | "test", ..] => program(&exec, from, to, state).await,
        other => {
            Status::failure(500, "InternalError", format!("exec: {:?}: executable file not found in $PATH", other[0]))
        }
    }
}

/// Runs a program of this machine in the folder that stands for the container's.
async fn program(exec: &ExecRequest, from: &mut Streaming<SessionFrame>, to: &Frames, state: &State) -> Status {
    let mut child = tokio::process::Command::new(&exec.command[0])
        .args(&exec.command[1..])
        .current_dir(state.files.as_ref().expect("a folder"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it is installed");
    let mut stdin = child.stdin.take();
    let mut stdout = child.stdout.take().expect("piped");
    let mut stderr = child.stderr.take().expect("piped");
    let input = async {
        while let Some(Frame::Data(data)) = if exec.stdin { next(from).await } else { None } {
            // A program that does not read on says why with its exit code.
            if stdin.as_mut().expect("open").write_all(&data).await.is_err() {
                break;
            }
        }
        stdin.take();
    };
    let output = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = stdout.read(&mut buffer).await {
            send(to, Frame::Data(Bytes::copy_from_slice(&buffer[..length]))).await;
        }
    };
    let errors = async {
        let mut said = Vec::new();
        stderr.read_to_end(&mut said).await.expect("it ends");
        if !said.is_empty() {
            send(to, Frame::Stderr(said.into())).await;
        }
    };
    let rest = async { tokio::join!(output, errors) };
    // Where the program ends first, its input is of no use any more.
    tokio::select! {
        ((), _) = async { tokio::join!(input, rest) } => {}
        _ = to.closed() => {}
    }
    let status = child.wait().await.expect("it ran");
    exited(status.code().unwrap_or(1))
}

async fn attach(from: &mut Streaming<SessionFrame>, to: &Frames) -> Status {
    send(to, Frame::Data("attached\n".into())).await;
    while let Some(Frame::Data(data)) = next(from).await {
        send(to, Frame::Data(data)).await;
    }
    success()
}

/// A port-forward without a connection.
async fn hold(from: &mut Streaming<SessionFrame>, state: &State) -> Status {
    let mut told = state.forwards.subscribe();
    let told = async { told.wait_for(Option::is_some).await.ok().and_then(|status| status.clone()) };
    tokio::select! {
        status = told => status.expect("it was waited for"),
        _ = next(from) => success(),
    }
}

/// A server in a pod that answers with everything in reverse once the client sends no more; port 1 refuses.
async fn reverse(port: u32, from: &mut Streaming<SessionFrame>, to: &Frames) -> Status {
    if port == 1 {
        return Status::failure(500, "InternalError", "dial tcp4 127.0.0.1:1: connect: connection refused");
    }
    let mut all = Vec::new();
    loop {
        match next(from).await {
            Some(Frame::Data(data)) => all.extend_from_slice(&data),
            Some(Frame::End(_)) => break,
            _ => return success(),
        }
    }
    all.reverse();
    for piece in all.chunks(64 << 10) {
        send(to, Frame::Data(Bytes::copy_from_slice(piece))).await;
    }
    send(to, Frame::End(SessionEnd {})).await;
    success()
}
