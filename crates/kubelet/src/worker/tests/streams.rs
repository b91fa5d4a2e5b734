//! Sessions over the network: an API server in process, the kubelet's control stream and its sessions' streams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gantry_apiserver::testing::TestServer;
use gantry_client::{Client, Config, session::Event};
use gantry_common::{
    shutdown::Shutdown,
    task::{self, Group},
};
use gantry_proto::v1::{AttachRequest, LogRequest, PortForwardRequest, open_session::Kind, session_frame::Frame};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{rig::Rig, sessions::client::Served};
use crate::session::Control;

struct Cluster {
    server: TestServer,
    rig: Rig,
    served: Served,
    shutdown: Shutdown,
    _folder: tempfile::TempDir,
}

fn client(server: &TestServer, user: &str, group: &str) -> Client {
    let identity = server.identity(user, &[group]);
    let identity = gantry_common::tls::Identity {
        cert_pem: identity.cert_pem.into_bytes(),
        key_pem: identity.key_pem.into_bytes(),
    };
    Client::new(&Config {
        servers: vec![server.url()],
        ca_pem: server.ca_pem().into_bytes(),
        tls_server_name: None,
        identity: Some(identity),
        token: None,
        user_agent: "test".to_owned(),
    })
    .unwrap()
}

impl Cluster {
    /// A pod that runs on this node.
    async fn start() -> Self {
        Self::start_with(json!({})).await
    }

    /// Its spec has these fields besides.
    async fn start_with(fields: serde_json::Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = TestServer::start(folder.path()).await.unwrap();
        let admin = client(&server, "admin", "system:masters");
        let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
        admin.namespaced::<ServiceAccount>("default").create(&account).await.unwrap();
        let containers = json!([{"name": "app", "image": "web:1"}]);
        let mut spec = json!({"nodeName": "n1", "automountServiceAccountToken": false, "containers": containers});
        spec.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap_or_default());
        let pod = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let pod = admin.namespaced::<Pod>("default").create(&pod).await.unwrap();

        let rig = Rig::with(pod);
        rig.fake.publish("web:1", "");
        rig.fake.set_endless_logs(true);
        rig.start().await;
        rig.until("Ready", 0).await;
        let served = Served::of_rig(&rig, 512);
        let shutdown = Shutdown::new();
        let node = client(&server, "system:node:n1", "system:nodes");
        Control::new(node, "n1".to_owned(), Arc::clone(&served.sessions)).start(&Group::new(shutdown.clone()));
        Self { server, rig, served, shutdown, _folder: folder }
    }

    fn reader(&self) -> Client {
        client(&self.server, "admin", "system:masters")
    }
}

type Log = tonic::Streaming<gantry_proto::v1::LogChunk>;

async fn log(client: &Client, limit_bytes: Option<i64>) -> Log {
    let request = LogRequest {
        namespace: "default".into(),
        pod: "web".into(),
        container: "app".into(),
        limit_bytes,
        ..LogRequest::default()
    };
    loop {
        match client.sessions().log(request.clone()).await {
            Ok(stream) => return stream.into_inner(),
            // The control stream is still on its way.
            Err(status) => assert_eq!(status.code(), tonic::Code::Unavailable, "{status}"),
        }
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read_hold_up_nobody() {
    const READERS: usize = 60;
    let cluster = Cluster::start().await;
    let mut idle = Vec::new();
    for _ in 0..READERS {
        // A connection of its own: what is meant is that of the node, which they share.
        let reader = cluster.reader();
        let mut stream = log(&reader, None).await;
        assert!(stream.message().await.unwrap().is_some());
        idle.push((reader, stream));
    }
    let busy = cluster.reader();
    for _ in 0..20 {
        let mut stream = log(&busy, Some(100_000)).await;
        let mut length = 0;
        while let Some(chunk) = stream.message().await.unwrap() {
            length += chunk.data.len();
        }
        assert_eq!(length, 100_000);
    }
    // What was taken of the endless logs fits into windows and queues.
    let taken = cluster.rig.fake.log_bytes();
    assert!(taken < READERS * (8 << 20), "{taken} bytes");
    until("only those that do not read are left", || cluster.served.sessions.current() == READERS).await;
    drop(idle);
    until("the node has seen that they left", || cluster.served.idle()).await;
    cluster.shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_with_the_api_server() {
    let cluster = Cluster::start().await;
    let reader = cluster.reader();
    let mut stream = log(&reader, None).await;
    assert!(stream.message().await.unwrap().is_some());
    assert_eq!(cluster.served.sessions.current(), 1);
    let Cluster { server, served, shutdown, .. } = cluster;
    server.stop().await;
    until("the session has ended", || served.idle()).await;
    shutdown.trigger();
}

/// A server whose connections send without an end; what they have sent.
async fn endless() -> (u32, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    task::spawn("endless", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Ok(length) = stream.write(&[b'x'; 64 << 10]).await {
                count.fetch_add(length, Ordering::Relaxed);
            }
        }
    });
    (port.into(), sent)
}

/// Its stream is full from one end to the other: the node cannot say on it that the session has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_reads_ends_with_its_pod() {
    let cluster = Cluster::start_with(json!({"hostNetwork": true})).await;
    let (port, sent) = endless().await;
    let reader = cluster.reader();
    let request =
        PortForwardRequest { namespace: "default".into(), pod: "web".into(), port, ..PortForwardRequest::default() };
    let (_input, mut output) = loop {
        match reader.open_session(Kind::PortForward(request.clone())).await {
            Ok(opened) => break opened,
            // The control stream is still on its way.
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    };
    let last = AtomicUsize::new(0);
    until("nothing fits any more", || {
        let now = sent.load(Ordering::Relaxed);
        now > 0 && last.swap(now, Ordering::Relaxed) == now
    })
    .await;
    assert_eq!(cluster.served.sessions.current(), 1);
    cluster.served.set(None);
    until("the session has ended", || cluster.served.idle()).await;
    let status = loop {
        match output.next().await.unwrap() {
            Event::Done(status) => break status,
            Event::Data(_) | Event::Stderr(_) | Event::End => {}
        }
    };
    assert_eq!(status.message, "the session has ended because pod \"web\" is gone: it was deleted");
    cluster.shutdown.trigger();
}

/// The other direction: a pod that does not read, and a client that leaves. Its end is behind what nobody takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_a_pod_that_does_not_read_ends_the_session() {
    let cluster = Cluster::start_with(json!({"hostNetwork": true})).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().into();
    // As good as a process: its connections end with it.
    let process = tokio::runtime::Runtime::new().unwrap();
    let reader = {
        let _inside = process.enter();
        cluster.reader()
    };
    let request =
        PortForwardRequest { namespace: "default".into(), pod: "web".into(), port, ..PortForwardRequest::default() };
    let flooding = process.spawn(async move {
        let (input, output) = loop {
            match reader.open_session(Kind::PortForward(request.clone())).await {
                Ok(opened) => break opened,
                // The control stream is still on its way.
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        };
        let stuck = Duration::from_secs(1);
        while tokio::time::timeout(stuck, input.data(vec![b'x'; 64 << 10].into())).await.is_ok() {}
        (input, output)
    });
    let (_held, _) = listener.accept().await.unwrap();
    let kept = flooding.await.unwrap();
    assert_eq!(cluster.served.sessions.current(), 1);
    process.shutdown_background();
    until("the session has ended", || cluster.served.idle()).await;
    drop(kept);
    cluster.shutdown.trigger();
}

/// What a pod said can be read for a moment after it has gone, and no longer.
#[tokio::test(start_paused = true)]
async fn a_log_that_nobody_reads_ends_soon_after_its_pod() {
    let rig = Rig::new(json!({"containers": [{"name": "app", "image": "web:1"}]}));
    rig.fake.publish("web:1", "");
    rig.fake.set_endless_logs(true);
    rig.start().await;
    rig.until("Ready", 0).await;
    let served = Served::of_rig(&rig, 1);
    let request =
        LogRequest { namespace: "default".into(), pod: "web".into(), container: "app".into(), ..LogRequest::default() };
    let mut client = served.open(Kind::Log(request)).await.unwrap();
    served.set(None);
    tokio::time::sleep(Duration::from_secs(25)).await;
    for _ in 0..100 {
        assert!(matches!(client.next().await, Some(Frame::Data(_))), "who reads still gets what there is");
    }
    assert!(!served.idle());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(served.idle());
}

/// A session that Docker does not open in time is refused, and keeps no place: the API server has given it up by then.
#[tokio::test(start_paused = true)]
async fn a_session_that_docker_does_not_open_keeps_no_place() {
    let rig = Rig::new(json!({"containers": [{"name": "app", "image": "web:1"}]}));
    rig.fake.publish("web:1", "");
    rig.start().await;
    rig.until("Ready", 0).await;
    let served = Served::of_rig(&rig, 1);
    let request = || {
        let (namespace, pod) = ("default".into(), "web".into());
        Kind::Attach(AttachRequest { namespace, pod, stdout: true, ..AttachRequest::default() })
    };
    rig.fake.set_hangs(true);
    let status = served.open(request()).await.err().expect("it is refused");
    assert_eq!((status.code, status.message.as_str()), (503, "the node did not open the session within 10s"));
    assert!(served.idle());
    rig.fake.set_hangs(false);
    assert!(served.open(request()).await.is_ok());
}
