//! Sessions with containers and nodes, through every client: exec, attach, port-forward, cp, logs, proxy, debug, top.

mod bench;
mod clients;
mod copy;
mod counts;
mod deaths;
mod exec;
mod forward;
mod gauges;
mod kills;
mod logs;
mod observe;
pub(crate) mod proxy;
mod stuck;
mod upgrades;

use gantry_tests::cluster::{Cluster, SOON};

/// The namespace of the fixture.
const NS: &str = "e2e-sessions";
/// TCP: what was sent comes back once the sender has closed its half. HTTP and WebSocket on port 8000.
const SERVER: &str = include_str!("sessions/server.py");

fn pod(name: &str, node: &str, container: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container] },
    })
}

/// The pods that sessions are opened with, made once: `shell-1` and `shell-2` on a node each, `server` and `reader`.
fn fixture(c: &Cluster) {
    if !c.line(&format!("kubectl get namespace {NS}")).ok {
        c.namespace(NS.trim_start_matches("e2e-"));
    }
    let shell = |n: u8| {
        let script = format!("echo first line of shell-{n}; echo second line >&2; exec sleep 36000");
        serde_json::json!({"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]})
    };
    let server = serde_json::json!({
        "name": "c", "image": "gantry-demo-web", "imagePullPolicy": "IfNotPresent", "command": ["python3", "-u", "-c", SERVER],
        "ports": [{"name": "http", "containerPort": 8000}, {"name": "echo", "containerPort": 7000}],
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
    });
    let reader = serde_json::json!({
        "name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "stdin": true,
        "command": ["sh", "-c", "while read line; do echo \"got $line\"; done; sleep 36000"],
    });
    let service = serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [
            {"name": "web", "port": 80, "targetPort": "http"}, {"name": "echo", "port": 7, "targetPort": "echo"},
        ]},
    });
    let mut items = vec![
        pod("shell-1", "node-1", &shell(1)),
        pod("shell-2", "node-2", &shell(2)),
        pod("server", "node-2", &server),
        pod("reader", "node-1", &reader),
    ];
    items.iter_mut().for_each(|pod| pod["metadata"]["labels"]["set"] = "fixture".into());
    items.push(service);
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items});
    // What is there already may have been changed by nobody: pods cannot be.
    let made = c.line_with(&format!("kubectl create -n {NS} -f -"), list.to_string());
    assert!(made.ok || made.stderr.lines().all(|l| l.contains("already exists")), "{}", made.stderr);
    c.wait_ready(NS, "set=fixture", 4, SOON);
}
