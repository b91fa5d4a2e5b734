//! Workers on a real Docker, in a network namespace of their own: the runtime, the network, volumes and adoption.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::json;

use super::machine::{self, IMAGE, Machine, Running};
use crate::worker::Input;

fn web() -> serde_json::Value {
    json!({
        "terminationGracePeriodSeconds": 2,
        "volumes": [
            {"name": "www", "downwardAPI": {"items": [{"path": "index.html", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"name": "scratch", "emptyDir": {}},
        ],
        "containers": [{
            "name": "app", "image": IMAGE, "imagePullPolicy": "Never",
            "command": ["/bin/busybox", "sh", "-c"],
            "args": ["echo started as $(NAME); /bin/busybox httpd -f -p 8080 -h /www & trap 'exit 7' TERM; while :; do /bin/busybox sleep 1; done"],
            "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
            "volumeMounts": [{"name": "www", "mountPath": "/www"}, {"name": "scratch", "mountPath": "/s", "subPath": "deep/er"}],
            "readinessProbe": {"httpGet": {"port": 8080, "path": "/index.html"}, "periodSeconds": 1},
        }],
    })
}

/// Init container, user, working directory, limits, a path of the node, and probes that the startup probe holds back.
fn full(shared: &Path) -> serde_json::Value {
    let go = json!({"exec": {"command": ["/bin/busybox", "test", "-f", "/s/go"]}, "periodSeconds": 1});
    let mounts =
        json!([{"name": "scratch", "mountPath": "/s"}, {"name": "shared", "mountPath": "/host", "readOnly": true}]);
    let with = |threshold: i32| {
        let mut probe = go.clone();
        probe["failureThreshold"] = threshold.into();
        probe
    };
    json!({
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsUser": 1234, "runAsGroup": 1235},
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "shared", "hostPath": {"path": shared, "type": "Directory"}}],
        "initContainers": [{
            "name": "first", "image": IMAGE, "imagePullPolicy": "Never", "volumeMounts": mounts,
            "command": ["/bin/busybox", "sh", "-c", "echo prepared > /s/init"],
        }],
        "containers": [{
            "name": "app", "image": IMAGE, "imagePullPolicy": "Never", "volumeMounts": mounts, "workingDir": "/s",
            "command": ["/bin/busybox", "sleep", "3600"],
            "resources": {"limits": {"memory": "48Mi", "cpu": "250m"}},
            "startupProbe": with(100), "livenessProbe": with(1),
        }],
    })
}

/// What the kernel grants the container.
async fn limits(full: &Running) -> String {
    full.exec(
        "cd /sys/fs/cgroup; /bin/busybox cat memory/memory.limit_in_bytes || /bin/busybox cat memory.max; \
         /bin/busybox cat cpu/cpu.cfs_quota_us || /bin/busybox cat cpu.max",
    )
    .await
}

/// Resources change while the container runs.
async fn resized(full: &Running) {
    let id = full.container();
    let wanted = json!({"limits": {"memory": "96Mi", "cpu": "750m"}});
    let changed = full.api.change(|pod| {
        pod.spec.as_mut().unwrap().containers[0].resources = serde_json::from_value(wanted.clone()).unwrap();
    });
    if let Some(handle) = &*full.handle.lock() {
        handle.send(Input::Present(Arc::new(changed)));
    }
    let reported = || {
        let status = full.api.pod().status.unwrap().container_statuses.unwrap().remove(0);
        serde_json::to_value(status.resources).unwrap()
    };
    for _ in 0..100 {
        if reported() == wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((reported(), full.container(), full.api.shown()), (wanted, id, ("Ready".to_owned(), 0)));
    let limits = limits(full).await;
    assert!(limits.contains(&(96 << 20).to_string()) && limits.contains("75000"), "{limits}");
}

async fn inside_full(full: &Running) {
    let seen =
        full.exec("/bin/busybox pwd; /bin/busybox id -u; /bin/busybox id -g; /bin/busybox cat init /host/file").await;
    assert_eq!(seen, "/s\n1234\n1235\nprepared\nof the node\n");
    let limits = limits(full).await;
    assert!(limits.contains(&(48 << 20).to_string()) && limits.contains("25000"), "{limits}");
    // Long enough for the liveness probe to have failed, if it ran already.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(full.api.shown(), ("Running".to_owned(), 0), "the startup probe holds the others back");
    full.exec("echo > /s/go").await;
    full.until("Ready", 0).await;
}

fn client() -> serde_json::Value {
    json!({"terminationGracePeriodSeconds": 0, "containers": [{
        "name": "app", "image": IMAGE, "imagePullPolicy": "Never",
        "command": ["/bin/busybox", "sleep", "3600"],
    }]})
}

async fn scenario(machine: &mut Machine) {
    let node = machine::node(machine).await;

    let mut first = node.run("aaaaaaaa-0000-0000-0000-000000000001", web(), None);
    first.until("Ready", 0).await;
    inside(&first).await;
    let shared = machine.path("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("file"), "of the node\n").unwrap();
    let third = node.run("aaaaaaaa-0000-0000-0000-000000000003", full(&shared), None);
    third.until("Running", 0).await;
    inside_full(&third).await;
    resized(&third).await;
    let second = node.run("aaaaaaaa-0000-0000-0000-000000000002", client(), None);
    second.until("Ready", 0).await;
    let ip = first.api.pod().status.unwrap().pod_ip.unwrap();
    let answer =
        second.exec(&format!("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | /bin/busybox nc {ip} 8080")).await;
    assert!(answer.ends_with("web"), "pod to pod: {answer}");

    // The kubelet dies and comes back: the same container, never unready.
    let id = first.container();
    drop(first.handle.lock().take());
    first = node.run("aaaaaaaa-0000-0000-0000-000000000001", web(), Some(first.api.clone()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((first.container(), first.api.shown()), (id.clone(), ("Ready".to_owned(), 0)));

    // Docker dies and comes back.
    machine.stop_dockerd("-KILL");
    machine.start_dockerd();
    let mut health = first.deps.observed.health();
    health.wait_for(|h| matches!(h, crate::observe::Health::Down(_))).await.unwrap();
    health.wait_for(|h| *h == crate::observe::Health::Up).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((first.container(), first.api.shown()), (id.clone(), ("Ready".to_owned(), 0)));

    first.deps.runtime.signal(&id, Some("KILL")).await.unwrap();
    first.until("Ready", 1).await;
    assert_ne!(first.container(), id);
    end(&mut first, &node.root).await;
    drop((second, third));
}

/// What the container sees.
async fn inside(first: &Running) {
    let ip = first.api.pod().status.unwrap().pod_ip.unwrap();
    assert!(first.log().await.contains("started as web"), "{}", first.log().await);
    let hosts = first.exec("/bin/busybox cat /etc/hosts").await;
    assert!(hosts.contains(&format!("{ip}\tweb")), "{hosts}");
    assert_eq!(first.exec("/bin/busybox hostname").await.trim(), "web");
    assert_eq!(first.exec("echo x > /s/file && /bin/busybox cat /s/file").await.trim(), "x");
    let readonly = first.exec("echo x > /www/file; true").await;
    assert!(readonly.contains("Read-only"), "{readonly}");
    let route = first.exec("/bin/busybox ip route; /bin/busybox ip link show eth0").await;
    assert!(route.contains("default via 169.254.1.1") && route.contains("mtu 1400"), "{route}");
    let group = first.exec("/bin/busybox cat /proc/self/cgroup").await;
    assert!(group.is_empty() || group.contains("kubepods") || group.contains('/'), "{group}");
}

async fn end(first: &mut Running, root: &Path) {
    let uid = first.api.pod().metadata.uid.unwrap();
    let deleting = Arc::new(first.api.mark_deleted(2));
    if let Some(handle) = &*first.handle.lock() {
        handle.send(Input::Present(deleting));
    }
    for _ in 0..200 {
        if *first.api.deleted.lock() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(*first.api.deleted.lock(), "the deletion was not confirmed");
    let last = first.api.last.lock().clone().unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(last.state.unwrap().terminated.unwrap().exit_code, 7, "the container was asked first");
    assert!(!root.join("pods").join(&uid).exists(), "volumes are left");
    assert!(!first.deps.network.holders().contains(&uid), "the address is left");
    assert!(first.deps.observed.of(&uid).is_empty(), "containers are left");
    if let Some(handle) = &*first.handle.lock() {
        handle.send(Input::Gone);
    }
    assert!(first.ended.recv().await.is_some());
}

#[test]
fn pods_on_a_real_docker() {
    machine::on_a_machine(scenario);
}
