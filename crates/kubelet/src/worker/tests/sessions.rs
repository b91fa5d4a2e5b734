//! Sessions with containers on a real Docker: what clients see, and what is left when they have gone.

pub(super) mod client;
mod ends;
mod exec;
mod others;

use std::{future::Future, time::Duration};

use serde_json::json;

use self::client::Served;
use super::machine::{self, IMAGE, Machine, Node, Running};

/// A web server on 8080, one that counts what it is sent on 9000, and a terminal-less shell.
fn web() -> serde_json::Value {
    json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "app", "image": IMAGE, "imagePullPolicy": "Never",
            "command": ["/bin/busybox", "sh", "-c"],
            "args": ["mkdir -p /www; echo hello > /www/index.html; /bin/busybox httpd -p 127.0.0.1:8080 -h /www; \
                      /bin/busybox nc -ll -p 9000 -e /bin/busybox wc -c & echo ready; while :; do /bin/busybox sleep 1; done"],
        }],
    })
}

async fn until<F: Future<Output = bool>>(what: &str, seconds: u64, mut holds: impl FnMut() -> F) {
    for _ in 0..seconds * 20 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {what}");
}

async fn serving(node: &Node, uid: &str, spec: serde_json::Value) -> (Running, Served) {
    let running = node.run(uid, spec, None);
    running.until("Ready", 0).await;
    let served = Served::of(&running, 512);
    (running, served)
}

async fn scenario(machine: &mut Machine) {
    let node = machine::node(machine).await;
    let (pod, served) = serving(&node, "bbbbbbbb-0000-0000-0000-000000000001", web()).await;
    exec::commands(&served).await;
    exec::terminals(&served).await;
    exec::terminals_stay_open(&served).await;
    exec::hundred_megabytes(&served).await;
    others::forwards(&served).await;
    others::dials(&served, &pod).await;
    others::kubelet_api(&served, &pod).await;
    others::logs(&served).await;
    others::attaches(&node).await;
    others::attaches_again_and_again(&node).await;
    ends::broken_off(&served, &pod).await;
    ends::two_hundred(&served, &pod).await;
    ends::never_started(machine, &served, &pod).await;
    ends::left_behind(&node, &pod).await;
    ends::bounds(&pod).await;
    ends::made_and_not_started(machine, &node, &pod).await;
    ends::docker_dies(machine, &node, &served, &pod).await;
    ends::pod_dies(&served, &pod).await;
}

#[test]
fn sessions_on_a_real_docker() {
    machine::on_a_machine(scenario);
}
