//! `debug` and `top`.

use gantry_tests::cluster::{SOON, cluster};
use gantry_tests::wait::{ensure, eventually};

use super::{NS, fixture};

#[test]
fn e2e_session_debug_adds_a_container_that_sees_the_others_processes() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let container = serde_json::json!({"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "36123"]});
    c.line(&format!("kubectl delete pod -n {NS} patient --ignore-not-found --timeout=60s")).expect_ok("clean").clear();
    c.line_with(&format!("kubectl apply -n {NS} -f -"), super::pod("patient", "node-1", &container).to_string())
        .expect_ok("apply")
        .clear();
    c.wait_ready(NS, "app=patient", 1, SOON);
    c.ok(&format!("kubectl debug -n {NS} patient --image=busybox --target=c --container=doctor -- sleep 36000"));
    eventually("the ephemeral container runs", SOON, || {
        let pod = c.get(&format!("pod -n {NS} patient"))?;
        let status = &pod["status"]["ephemeralContainerStatuses"][0];
        ensure(status["name"] == "doctor" && status["state"]["running"].is_object(), || status.to_string())
    });
    let seen = c.ok(&format!("kubectl exec -n {NS} patient -c doctor -- ps"));
    assert!(seen.contains("sleep 36123"), "{seen}");
    let restarts =
        c.ok(&format!("kubectl get pod -n {NS} patient -o jsonpath={{.status.containerStatuses[0].restartCount}}"));
    assert_eq!(restarts, "0");
    c.ok(&format!("kubectl delete pod -n {NS} patient --wait=false"));
}

#[test]
fn e2e_session_debug_a_node() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for tool in c.kubectls() {
        let made = c.ok(&format!("{tool} debug -n {NS} node/node-1 --image=busybox -- ls /host/etc/debian_version"));
        let pod = made.split_whitespace().find(|w| w.starts_with("node-debugger-")).expect("its name").to_owned();
        eventually("the debugging pod has looked", SOON, || {
            let logs = c.line(&format!("{tool} logs -n {NS} {pod}"));
            ensure(logs.stdout.trim() == "/host/etc/debian_version", || format!("{}{}", logs.stdout, logs.stderr))
        });
        c.ok(&format!("kubectl delete pod -n {NS} {pod} --wait=false"));
    }
}

/// Version 1.20 adds ephemeral containers by a form that Kubernetes 1.22 dropped; its copies and nodes are those of today.
#[test]
fn e2e_session_debug_by_an_old_kubectl_copies_a_pod() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let [_, old] = c.kubectls();
    c.ok(&format!("kubectl delete pod -n {NS} copied --ignore-not-found --timeout=60s"));
    let line =
        format!("{old} debug -n {NS} shell-1 --image=busybox --copy-to=copied --container=doctor -- sleep 36124");
    c.ok(&line);
    eventually("the copy runs", SOON, || {
        let pod = c.get(&format!("pod -n {NS} copied"))?;
        let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        ensure(statuses.len() == 2 && statuses.iter().all(|s| s["state"]["running"].is_object()), || {
            pod["status"].to_string()
        })
    });
    let seen = c.ok(&format!("{old} exec -n {NS} copied -c doctor -- ps"));
    assert!(seen.contains("sleep 36124"), "{seen}");
    c.ok(&format!("kubectl delete pod -n {NS} copied --wait=false"));

    let before = c.get(&format!("pod -n {NS} shell-2")).expect("the pod");
    let said = c
        .line(&format!("{old} debug -n {NS} shell-2 --image=busybox --container=doctor"))
        .expect_failure("the old form");
    assert!(!said.trim().is_empty(), "it says why");
    let after = c.get(&format!("pod -n {NS} shell-2")).expect("the pod");
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"], "{said}");
}

#[test]
fn e2e_session_top_shows_nodes_and_pods() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        let nodes = c.ok(&format!("{tool} top node"));
        let rows: Vec<&str> = nodes.lines().collect();
        assert!(rows[0].starts_with("NAME") && rows.len() == 3, "{tool}: {nodes}");
        assert!(rows[1].starts_with("node-1") && rows[1].contains("Mi"), "{tool}: {nodes}");
        let pods = c.ok(&format!("{tool} top pod -n {NS}"));
        let server = pods.lines().find(|l| l.starts_with("server ")).unwrap_or_else(|| panic!("{tool}: {pods}"));
        let memory: u64 =
            server.split_whitespace().nth(2).and_then(|m| m.trim_end_matches("Mi").parse().ok()).expect("MiB");
        assert!((4..200).contains(&memory), "{tool}: a Python server takes {memory} MiB");
        let containers = c.ok(&format!("{tool} top pod -n {NS} server --containers"));
        assert!(containers.lines().any(|l| l.starts_with("server") && l.contains(" c ")), "{tool}: {containers}");
    }
}

#[test]
fn e2e_session_top_sees_work() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let mut busy = c.command("kubectl", &["exec", "-n", NS, "shell-2", "--", "sh", "-c", "while :; do :; done"]);
    let mut busy =
        busy.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
    eventually("top shows a pod that works", SOON, || {
        let pods = c.line(&format!("kubectl top pod -n {NS} shell-2 --no-headers")).stdout;
        let milli = pods.split_whitespace().nth(1).and_then(|m| m.trim_end_matches('m').parse::<u64>().ok());
        ensure(milli.is_some_and(|m| m > 100), || pods.clone())
    });
    busy.kill().expect("it can be killed");
    busy.wait().expect("it ends");
}
