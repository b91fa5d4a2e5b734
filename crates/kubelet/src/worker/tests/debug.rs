//! What `kubectl debug` makes, on a real Docker: ephemeral containers, and pods that look into their node.

use std::{path::Path, sync::Arc, time::Duration};

use gantry_proto::v1::{AttachRequest, LogRequest, open_session::Kind};
use serde_json::{Value, json};

use super::{
    machine::{self, IMAGE, Machine, Running},
    sessions::client::{Served, shell},
};
use crate::worker::Input;

fn target() -> Value {
    json!({"terminationGracePeriodSeconds": 0, "containers": [{
        "name": "app", "image": IMAGE, "imagePullPolicy": "Never", "command": ["/bin/busybox", "sleep", "81818"],
    }]})
}

/// Adds an ephemeral container, as the API server does.
fn add(pod: &Running, container: Value) {
    let container = serde_json::from_value(container).unwrap();
    let changed = pod.api.change(|pod| {
        pod.spec.as_mut().unwrap().ephemeral_containers.get_or_insert_default().push(container);
    });
    if let Some(handle) = &*pod.handle.lock() {
        handle.send(Input::Present(Arc::new(changed)));
    }
}

/// The state of the ephemeral container of that name, as JSON.
fn state(pod: &Running, name: &str) -> Value {
    let all = pod.api.pod().status.and_then(|s| s.ephemeral_container_statuses).unwrap_or_default();
    all.into_iter().find(|c| c.name == name).map(|c| serde_json::to_value(c).unwrap()).unwrap_or_default()
}

async fn until(pod: &Running, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..300 {
        let found = state(pod, name);
        if holds(&found) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("last {}; {:#?}", state(pod, name), pod.events.lock());
}

async fn runs_once(pod: &Running, served: &Served) {
    let found = until(pod, "debugger", |s| s["state"]["terminated"].is_object()).await;
    assert_eq!(found["state"]["terminated"]["exitCode"], 4);
    let request = LogRequest {
        container: "debugger".into(),
        namespace: "default".into(),
        pod: "web".into(),
        ..Default::default()
    };
    assert_eq!(served.open(Kind::Log(request)).await.unwrap().rest().await.text(), "looking\nread on\n");
}

/// One that cannot start says why, and holds up none that can.
async fn starts_beside_others(pod: &Running) {
    let plain = |name: &str| json!({"name": name, "image": IMAGE, "imagePullPolicy": "Never"});
    let mut lost = plain("lost");
    lost["targetContainerName"] = "nobody".into();
    add(pod, lost);
    let mut second = plain("second");
    second["command"] = json!(["/bin/busybox", "sleep", "81819"]);
    add(pod, second);
    until(pod, "second", |s| s["state"]["running"].is_object()).await;
    let found = until(pod, "lost", |s| s["state"]["waiting"]["message"].is_string()).await;
    assert_eq!(found["state"]["waiting"]["reason"], "CreateContainerConfigError");
    assert_eq!(found["state"]["waiting"]["message"], "unable to find target container nobody");
}

async fn ephemeral(machine: &Machine) {
    let node = machine::node(machine).await;
    let mut pod = node.run("cccccccc-0000-0000-0000-000000000001", target(), None);
    pod.until("Ready", 0).await;
    let app = pod.container();
    let script = "echo looking; read x; echo read $x; exit 4";
    add(
        &pod,
        json!({
            "name": "debugger", "image": IMAGE, "imagePullPolicy": "Never", "targetContainerName": "app",
            "command": ["/bin/busybox", "sh", "-c", script], "stdin": true,
        }),
    );
    let found = until(&pod, "debugger", |s| s["state"]["running"].is_object()).await;
    assert_eq!((&found["ready"], &found["restartCount"], found.get("started")), (&json!(false), &json!(0), None));
    let served = Served::of(&pod, 512);
    // It sees the processes of the container that it looks into.
    let request = gantry_proto::v1::ExecRequest { container: "debugger".into(), ..shell("/bin/busybox ps") };
    let said = served.open(Kind::Exec(request)).await.unwrap().rest().await;
    assert!(said.text().lines().any(|l| l.trim_start().starts_with("1 ") && l.contains("sleep 81818")), "{said:?}");
    let request = AttachRequest {
        namespace: "default".into(),
        pod: "web".into(),
        container: "debugger".into(),
        stdin: true,
        stdout: true,
        ..Default::default()
    };
    let client = served.open(Kind::Attach(request)).await.unwrap();
    client.data("on\n").await;
    assert_eq!(client.rest().await.text(), "read on\n");
    runs_once(&pod, &served).await;
    starts_beside_others(&pod).await;

    // A kubelet that starts again starts none of them again, and the pod's own container is untouched.
    drop(pod.handle.lock().take());
    pod = node.run("cccccccc-0000-0000-0000-000000000001", target(), Some(pod.api.clone()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((state(&pod, "debugger")["state"]["terminated"]["exitCode"].clone(), pod.container()), (json!(4), app));

    // They end with their pod.
    let deleting = Arc::new(pod.api.mark_deleted(0));
    if let Some(handle) = &*pod.handle.lock() {
        handle.send(Input::Present(deleting));
    }
    for _ in 0..200 {
        if *pod.api.deleted.lock() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(*pod.api.deleted.lock(), "the deletion was not confirmed");
    assert!(pod.deps.observed.of("cccccccc-0000-0000-0000-000000000001").is_empty());
    debugs_a_node(&node).await;
}

/// What `kubectl debug node/…` asks for.
async fn debugs_a_node(node: &machine::Node) {
    let spec = json!({
        "hostPID": true, "hostNetwork": true, "hostIPC": true, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "host-root", "hostPath": {"path": "/"}}],
        "containers": [{
            "name": "debugger", "image": IMAGE, "imagePullPolicy": "Never", "stdin": true,
            "command": ["/bin/busybox", "sleep", "81820"],
            "volumeMounts": [{"name": "host-root", "mountPath": "/host"}],
        }],
    });
    let pod = node.run("cccccccc-0000-0000-0000-000000000002", spec, None);
    pod.until("Ready", 0).await;
    let own = std::process::id();
    let seen = pod.exec(&format!("/bin/busybox cat /proc/{own}/comm; /bin/busybox ip -4 addr show dev up0")).await;
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    assert!(seen.starts_with(&name) && seen.contains("10.250.0.11/24"), "{seen}");
    assert_eq!(
        pod.exec("/bin/busybox cat /host/etc/hostname").await,
        std::fs::read_to_string("/etc/hostname").unwrap()
    );
    let path = node.root.join("from-the-pod");
    pod.exec(&format!("echo x > /host{}", path.display())).await;
    assert!(Path::new(&path).exists(), "the node's files can be changed");
    let link = |kind: &str| std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap();
    for kind in ["pid", "ipc"] {
        let inside = pod.exec(&format!("/bin/busybox readlink /proc/self/ns/{kind}")).await;
        assert_eq!(inside.trim(), link(kind).to_string_lossy(), "{kind}");
    }
    // A command in it that is broken off ends alone, though it sees all processes of the node.
    let served = Served::of(&pod, 8);
    let mut client = served.shell("echo started; /bin/busybox sleep 81821").await;
    client.lines(1).await;
    drop(client);
    pod.deps.commands.settle().await;
    let left = pod.exec("/bin/busybox ps | /bin/busybox grep 'sleep 8182[0-9]'").await;
    assert!(left.contains("sleep 81820") && !left.contains("sleep 81821"), "{left}");
}

async fn scenario(machine: &mut Machine) {
    ephemeral(machine).await;
}

#[test]
fn debugging_on_a_real_docker() {
    machine::on_a_machine(scenario);
}
