//! kubectl against the server in process: what people type.

use std::fs::File;
use std::io::Write;

use serde_json::json;
use tokio::process::Command;

use crate::backends::{Backend, Behaviour, Node, node_object, running_pod};
use crate::support::Cluster;

/// Whether kubectl is there; says so when it is not: `cargo xtask test` prints what is in the file named by `GANTRY_SKIPS`.
async fn present(test: &str) -> bool {
    let version = Command::new("kubectl").args(["version", "--client"]).output().await;
    let found = version.is_ok_and(|o| o.status.success());
    if !found {
        eprintln!("skipped: {test}: kubectl is not installed");
        if let Some(path) = std::env::var_os("GANTRY_SKIPS") {
            let mut file = File::options().append(true).open(path).expect("the file of skips is there");
            writeln!(file, "{test}: kubectl is not installed").expect("it can be written");
        }
    }
    found
}

async fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let cache = tempfile::tempdir().expect("a folder");
    let output = Command::new("kubectl")
        .arg(format!("--kubeconfig={}", cluster.server.kubeconfig("admin", &["system:masters"]).display()))
        .arg(format!("--cache-dir={}", cache.path().display()))
        .args(arguments)
        .output()
        .await
        .expect("kubectl runs");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{error}");
    // Columns are as wide as their content.
    out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[tokio::test]
async fn kubectl_shows_what_is_used_and_reaches_pods() {
    if !present("kubectl_shows_what_is_used_and_reaches_pods").await {
        return;
    }
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    node_object(&cluster, "n1", "192.0.2.11").await;
    let capacity =
        json!({"status": {"capacity": {"cpu": "2", "memory": "4Gi"}, "allocatable": {"cpu": "2", "memory": "4Gi"}}});
    let merge = ("content-type", "application/merge-patch+json");
    cluster.rest("PATCH", "/api/v1/nodes/n1/status", &[merge], &capacity.to_string()).await;
    let pod = running_pod(&cluster, "p", "10.244.1.7").await;
    let reading = |name: &str, cpu: u64, memory: u64| {
        json!({"name": name, "time": "2026-01-01T00:00:00Z", "window_seconds": 15.0, "cpu_nano_cores": cpu,
            "cpu_usage_core_nanoseconds": 9, "memory_usage_bytes": memory, "memory_working_set_bytes": memory})
    };
    let stats = json!({"node": reading("n1", 500_000_000, 1 << 30), "pods": [{"namespace": "default", "name": "p",
        "uid": pod["metadata"]["uid"], "containers": [reading("c", 7_000_000, 12 << 20)]}]});
    let backend = Backend::saying("from the pod").await;
    let behaviour =
        Behaviour { backend: Some(backend.address), stats: Some(stats.to_string()), ..Behaviour::default() };
    let _node = Node::start(&cluster, "n1", behaviour).await;
    let nodes = kubectl(&cluster, &["top", "nodes"]).await;
    assert_eq!(nodes, "NAME CPU(cores) CPU(%) MEMORY(bytes) MEMORY(%)\nn1 500m 25% 1024Mi 25%\n");
    let pods = kubectl(&cluster, &["top", "pods", "--containers"]).await;
    assert_eq!(pods, "POD NAME CPU(cores) MEMORY(bytes)\np c 7m 12Mi\n");
    let table = kubectl(&cluster, &["get", "pods.metrics.k8s.io"]).await;
    assert_eq!(table, "NAME CPU MEMORY WINDOW\np 7m 12Mi 15s\n");
    let reached = kubectl(&cluster, &["get", "--raw", "/api/v1/namespaces/default/pods/p/proxy/x"]).await;
    assert_eq!(reached, "from the pod\n");
    kubectl(&cluster, &["debug", "p", "--image=busybox", "--target=c", "--container=dbg"]).await;
    let guest = kubectl(&cluster, &["get", "pod", "p", "-o", "jsonpath={.spec.ephemeralContainers[*].name}"]).await;
    assert_eq!(guest, "dbg\n");
}
