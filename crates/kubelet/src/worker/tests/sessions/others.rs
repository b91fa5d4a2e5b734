//! Port-forward, dial, the kubelet's own API, logs and attach.

use gantry_proto::v1::{
    AttachRequest, DialRequest, KubeletRequest, LogRequest, PortForwardRequest, StatsRequest, open_session::Kind,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{
    super::machine::{IMAGE, Node, Running},
    client::{Said, Served},
    serving, until,
};

fn forward(port: u32) -> Kind {
    Kind::PortForward(PortForwardRequest { namespace: "default".into(), pod: "web".into(), port, ..Default::default() })
}

pub(super) async fn forwards(served: &Served) {
    // A server that listens on the pod's own loopback address alone.
    let client = served.open(forward(8080)).await.unwrap();
    client.data("GET /index.html HTTP/1.0\r\n\r\n").await;
    let said = client.rest_after_end().await;
    assert!(said.text().starts_with("HTTP/1.") && said.text().ends_with("hello\n"), "{said:?}");
    assert!(said.ended);
    assert_eq!(said.status, json!({"metadata": {}, "status": "Success"}));

    // Its answer comes after the end of what it is sent.
    let client = served.open(forward(9000)).await.unwrap();
    for _ in 0..100 {
        client.data(vec![b'x'; 50_000]).await;
    }
    let said = client.rest_after_end().await;
    assert_eq!(said.text().trim(), "5000000");

    let status = served.open(forward(81)).await.err().expect("nobody listens");
    let uid = served.pod_uid();
    assert!(status.message.starts_with(&format!("error forwarding port 81 to pod web, uid {uid}: ")), "{status}");
    assert!(status.message.ends_with("dial tcp4 127.0.0.1:81: connect: connection refused"), "{status}");
    assert_eq!(served.open(forward(0)).await.err().unwrap().code, 400);
    assert_eq!(served.open(forward(70_000)).await.err().unwrap().code, 400);
}

pub(super) async fn dials(served: &Served, pod: &Running) {
    let ip = pod.api.pod().status.unwrap().pod_ip.unwrap();
    let dial = |address: &str, port: u16, pod: &str| {
        let request = DialRequest {
            namespace: "default".into(),
            pod: pod.into(),
            address: address.into(),
            port: port.into(),
            ..DialRequest::default()
        };
        served.open(Kind::Dial(request))
    };
    let client = dial(&ip, 9000, "web").await.unwrap();
    client.data("12345").await;
    let said = client.rest_after_end().await;
    assert_eq!(said.text().trim(), "5");

    let listener = tokio::net::TcpListener::bind("10.250.0.11:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = dial("10.250.0.11", port, "").await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"node").await.unwrap();
    drop(stream);
    assert_eq!(client.rest_after_end().await.text(), "node");

    for (address, pod, expected) in [
        ("10.250.0.11", "web", 403),
        ("127.0.0.1", "web", 403),
        ("127.0.0.1", "", 403),
        (ip.as_str(), "", 403),
        ("169.254.1.1", "", 403),
        ("::ffff:127.0.0.1", "", 403),
        ("localhost", "", 400),
        (ip.as_str(), "other", 404),
    ] {
        let status = dial(address, port, pod).await.err().expect("it is refused");
        assert_eq!(status.code, expected, "{address} of {pod:?}: {status}");
    }
    let status = dial(&ip, 81, "web").await.err().expect("nobody listens");
    assert_eq!((status.code, status.message), (503, format!("dial tcp {ip}:81: connect: connection refused")));
}

async fn get(served: &Served, path: &str) -> (u16, String) {
    let client = served.open(Kind::Kubelet(KubeletRequest { node: "n1".into() })).await.unwrap();
    client.data(format!("GET {path} HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n")).await;
    let said = client.rest().await;
    let text = said.text();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{said:?}"));
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, if head.contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() })
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        text.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    text
}

pub(super) async fn kubelet_api(served: &Served, pod: &Running) {
    assert_eq!(get(served, "/healthz").await, (200, "ok".to_owned()));
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let pods = json(&get(served, "/pods").await.1);
    assert_eq!((&pods["kind"], &pods["items"][0]["metadata"]["name"]), (&json!("PodList"), &json!("web")));
    let running = json(&get(served, "/runningpods/").await.1);
    assert_eq!(running["items"][0]["spec"]["containers"][0]["name"], "app");
    let summary = json(&get(served, "/stats/summary").await.1);
    assert_eq!(summary["node"]["nodeName"], "n1");
    let used = &summary["pods"][0]["containers"][0];
    assert!(used["memory"]["workingSetBytes"].as_u64().unwrap() > 10_000, "{summary}");
    assert!(used["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap() > 1_000_000, "{summary}");
    let (code, metrics) = get(served, "/metrics/resource").await;
    let line = "container_cpu_usage_seconds_total{container=\"app\",namespace=\"default\",pod=\"web\"} ";
    assert!(code == 200 && metrics.contains(line) && metrics.contains("\nnode_memory_working_set_bytes "), "{metrics}");
    assert!(get(served, "/metrics").await.1.contains("\nkubelet_running_containers{container_state=\"running\"} 1\n"));
    assert_eq!(json(&get(served, "/configz").await.1)["kubeletconfig"]["maxPods"], 110);
    assert_eq!(get(served, "/containerLogs/default/web/app?tailLines=1").await, (200, "ready\n".to_owned()));
    assert_eq!(get(served, "/logs/").await.0, 200);
    assert_eq!(get(served, "/logs/%2e%2e/%2e%2e/etc/passwd").await.0, 404);
    assert_eq!(get(served, "/exec/default/web/app").await.0, 404);

    let stats = served.open(Kind::Stats(StatsRequest { node: "n1".into() })).await.unwrap().rest().await;
    let stats: gantry_api::stats::NodeStats = serde_json::from_slice(&stats.out).unwrap();
    let container = &stats.pods[0].containers[0];
    assert_eq!(
        (stats.node.name.as_str(), stats.pods[0].uid.as_str()),
        ("n1", pod.api.pod().metadata.uid.unwrap().as_str())
    );
    assert!(container.window_seconds > 0.3 && container.memory_usage_bytes >= container.memory_working_set_bytes);
}

pub(super) async fn logs(served: &Served) {
    let log = async |request: LogRequest| {
        let request = LogRequest { namespace: "default".into(), pod: "web".into(), container: "app".into(), ..request };
        served.open(Kind::Log(request)).await.unwrap().rest().await.text()
    };
    assert_eq!(log(LogRequest::default()).await, "ready\n");
    assert_eq!(log(LogRequest { tail_lines: Some(0), ..Default::default() }).await, "");
    assert_eq!(log(LogRequest { limit_bytes: Some(3), ..Default::default() }).await, "rea");
    assert_eq!(log(LogRequest { stream: "Stderr".into(), ..Default::default() }).await, "");
    let stamped = log(LogRequest { timestamps: true, ..Default::default() }).await;
    let (time, line) = stamped.split_once(' ').unwrap();
    assert_eq!(line, "ready\n");
    // To the nanosecond: at its time the line is there, after it it is not.
    let time: jiff::Timestamp = time.parse().unwrap();
    let since = |nanoseconds: i64| LogRequest {
        since_time: (time + jiff::SignedDuration::from_nanos(nanoseconds)).to_string(),
        ..Default::default()
    };
    assert_eq!(log(since(0)).await, "ready\n");
    assert_eq!(log(since(1)).await, "");
}

/// A container that reads one line and ends.
fn reader() -> Value {
    json!({
        "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
        "containers": [{
            "name": "app", "image": IMAGE, "imagePullPolicy": "Never", "stdin": true, "stdinOnce": true,
            "command": ["/bin/busybox", "sh", "-c", "read x; echo got $x; echo bad >&2; read y || echo eof; exit 3"],
        }],
    })
}

/// A container that reads and answers for ever: a client that says no more hears what comes, and one that leaves leaves it
/// alone.
pub(super) async fn attaches_again_and_again(node: &Node) {
    let script = "while read x; do echo got $x; while [ $x = wait ] && [ ! -e /go ]; do :; done; done; echo eof";
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [{
        "name": "app", "image": IMAGE, "imagePullPolicy": "Never", "stdin": true,
        "command": ["/bin/busybox", "sh", "-c", script],
    }]});
    let (pod, served) = serving(node, "bbbbbbbb-0000-0000-0000-000000000003", spec).await;
    let attach = || {
        let (namespace, pod) = ("default".into(), "web".into());
        Kind::Attach(AttachRequest { namespace, pod, stdin: true, stdout: true, ..AttachRequest::default() })
    };
    for word in ["one", "two"] {
        let mut client = served.open(attach()).await.unwrap();
        client.data(format!("{word}\n")).await;
        assert_eq!(client.lines(1).await, format!("got {word}\n"));
    }
    let mut client = served.open(attach()).await.unwrap();
    client.data("wait\nafter\n").await;
    client.end().await;
    assert_eq!(client.lines(1).await, "got wait\n");
    served.shell("echo > /go").await.rest().await;
    assert_eq!(client.lines(1).await, "got after\n", "the end of the input is not the end of the output");
    drop(client);
    assert_eq!(pod.api.shown(), ("Ready".to_owned(), 0));
}

pub(super) async fn attaches(node: &Node) {
    let (pod, served) = serving(node, "bbbbbbbb-0000-0000-0000-000000000002", reader()).await;
    let attach = || {
        Kind::Attach(AttachRequest {
            namespace: "default".into(),
            pod: "web".into(),
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachRequest::default()
        })
    };
    // Who only looks leaves no trace.
    let looking = Kind::Attach(AttachRequest {
        stdin: false,
        ..match attach() {
            Kind::Attach(request) => request,
            _ => unreachable!(),
        }
    });
    drop(served.open(looking).await.unwrap());
    // Who leaves before the session has begun has not joined: the container's input would be closed.
    drop(served.open_deferred(attach()).await);
    until("no session", 10, async || served.idle()).await;
    let client = served.open_deferred(attach()).await;
    client.start().await;
    client.data("line\n").await;
    let said: Said = client.rest_after_end().await;
    assert_eq!((said.text().as_str(), said.error().as_str()), ("got line\neof\n", "bad\n"));
    assert_eq!(said.status, json!({"metadata": {}, "status": "Success"}));
    pod.until("Error", 0).await;
    let status = served.open(attach()).await.err().expect("it has ended");
    assert_eq!((status.code, status.message.as_str()), (500, "container not found (\"app\")"));
}
