//! Whatever dies in the middle of a session: the client gets a clear error, and nothing that the session started is left.

use std::process::{Child, Stdio};
use std::time::Duration;

use gantry_tests::cluster::{Cluster, SOON, cluster};
use gantry_tests::machine::processes;
use gantry_tests::wait::{ensure, eventually};

use super::forward::Forward;
use super::{NS, fixture};

/// A command that runs until it is ended; the number tells it from everybody else's.
fn sleeper(c: &Cluster, tool: &str, marker: u32) -> Child {
    let line = format!("exec -n {NS} shell-1 -- sh -c");
    let mut command = c.command(tool, &line.split(' ').collect::<Vec<_>>());
    // Two processes, neither of which reads or writes: nothing but a signal ends them.
    command.arg(format!("sleep {marker} & sleep {marker}; true"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    eventually("the command runs", SOON, || {
        let found = processes(&format!("sleep\0{marker}\0"));
        ensure(found.len() == 2, || format!("{found:?}"))
    });
    child
}

fn nothing_left(marker: u32) {
    eventually("the command's processes are ended", SOON, || {
        let found = processes(&format!("sleep\0{marker}\0"));
        ensure(found.is_empty(), || format!("{found:?}"))
    });
}

/// How a client ended, and what it said.
fn ending(mut child: Child) -> (bool, String) {
    let status = eventually("the client ends", Duration::from_secs(30), || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        other => Err(format!("{other:?}")),
    });
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        std::io::Read::read_to_string(&mut stderr, &mut said).expect("its words");
    }
    (status.success(), said)
}

#[test]
fn e2e_session_a_client_that_leaves_takes_its_processes_along() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for (marker, tool) in (70_001..).zip(c.kubectls().into_iter().chain(["gantryctl".to_owned()])) {
        let mut child = sleeper(&c, &tool, marker);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        nothing_left(marker);
    }
}

/// Opens a session, kills a service, and looks at what is left.
fn killed(c: &Cluster, service: &str, marker: u32) {
    fixture(c);
    let containers = c.container_ids();
    for (n, tool) in (0..).zip(c.kubectls().into_iter().chain(["gantryctl".to_owned()])) {
        let child = sleeper(c, &tool, marker + n);
        c.local(&["service", "stop", "--kill", service]).expect_ok("service stop").clear();
        c.local(&["service", "start", service]).expect_ok("service start").clear();
        let (ok, said) = ending(child);
        // kubectl 1.20 takes a connection that is gone for a command that has ended well.
        let deaf = tool.contains("1.20") && service == "apiserver";
        assert!(deaf || !ok && !said.trim().is_empty(), "{tool}, {service} killed: {said:?}");
        nothing_left(marker + n);
        eventually("sessions work again", SOON, || {
            let again = c.line(&format!("{tool} exec -n {NS} shell-1 -- echo again"));
            ensure(again.stdout == "again\n", || again.stderr.clone())
        });
    }
    let missing: Vec<_> = containers.difference(&c.container_ids()).cloned().collect();
    assert!(missing.is_empty(), "containers are gone after {service} was killed: {missing:?}");
}

#[test]
fn e2e_session_survives_no_killed_apiserver() {
    let Some(c) = cluster() else { return };
    killed(&c, "apiserver", 71_001);
}

/// Also kubectl 1.20, which does not notice a server that is killed.
#[test]
fn e2e_session_is_told_by_an_apiserver_that_stops() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for (marker, tool) in (71_101..).zip(c.kubectls().into_iter().chain(["gantryctl".to_owned()])) {
        let child = sleeper(&c, &tool, marker);
        c.local(&["service", "stop", "apiserver"]).expect_ok("service stop").clear();
        c.local(&["service", "start", "apiserver"]).expect_ok("service start").clear();
        let (ok, said) = ending(child);
        assert!(!ok && said.contains("shutting down"), "{tool}: {said:?}");
        nothing_left(marker);
    }
}

#[test]
fn e2e_session_survives_no_killed_kubelet() {
    let Some(c) = cluster() else { return };
    killed(&c, "kubelet-node-1", 72_001);
}

#[test]
fn e2e_session_survives_no_killed_dockerd() {
    let Some(c) = cluster() else { return };
    killed(&c, "dockerd-node-1", 73_001);
}

#[test]
fn e2e_session_ends_with_its_pod() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let container = serde_json::json!({"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "36000"]});
    for tool in c.kubectls() {
        let pod = super::pod("brief", "node-1", &container);
        c.line_with(&format!("kubectl apply -n {NS} -f -"), pod.to_string()).expect_ok("apply").clear();
        c.wait_ready(NS, "app=brief", 1, SOON);
        let line = format!("exec -n {NS} brief -- sleep 74001");
        let mut command = c.command(&tool, &line.split(' ').collect::<Vec<_>>());
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        eventually("the command runs", SOON, || {
            ensure(processes("sleep\x0074001\0").len() > 1, || "not yet".to_owned())
        });
        c.ok(&format!("kubectl delete pod -n {NS} brief --timeout=60s"));
        let (ok, said) = ending(child);
        assert!(!ok, "{tool}: {said}");
    }
}

/// Also while nobody uses it: no node knows of it then.
#[test]
fn e2e_session_port_forward_ends_with_its_pod() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let container = serde_json::json!({"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "36000"]});
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        let pod = super::pod("brief", "node-1", &container);
        c.line_with(&format!("kubectl apply -n {NS} -f -"), pod.to_string()).expect_ok("apply").clear();
        c.wait_ready(NS, "app=brief", 1, SOON);
        let line = format!("port-forward -n {NS} pod/brief :7000");
        let mut command = c.command(&tool, &line.split(' ').collect::<Vec<_>>());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut forward = Forward::of(command.spawn().expect("it starts"), &tool);
        c.ok(&format!("kubectl delete pod -n {NS} brief --grace-period=1 --timeout=60s"));
        let status = eventually(&format!("{tool} ends"), SOON, || match forward.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        });
        let mut said = String::new();
        let stderr = forward.child.stderr.as_mut().expect("piped");
        std::io::Read::read_to_string(stderr, &mut said).expect("its words");
        assert!(said.contains("lost connection to pod"), "{tool}: {said:?}");
        // kubectl 1.20 says so and thinks that all is well.
        assert!(tool.contains("1.20") || status.code() == Some(1), "{tool}: {status:?}");
        eventually("the API server has forgotten it", SOON, || {
            let metrics = c.line("kubectl get --raw /metrics --request-timeout=10s").stdout;
            ensure(metrics.contains("gantry_node_sessions{kind=\"port_forward\"} 0\n"), || "it is counted".to_owned())
        });
    }
}

#[test]
fn e2e_session_ends_with_its_users_right() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let rule = |verb: &str| c.line(&format!("kubectl {verb} rolebinding -n {NS} sessions-of-ann --ignore-not-found"));
    rule("delete").expect_ok("no binding").clear();
    c.ok(&format!("kubectl create rolebinding -n {NS} sessions-of-ann --clusterrole=edit --user=ann"));
    let admin = c.line(&format!("kubectl auth can-i create pods/exec -n {NS} --as=ann")).stdout;
    assert_eq!(admin.trim(), "yes");
    let line = format!("exec -n {NS} shell-1 --as=ann -- sleep 75001");
    let mut command = c.command("kubectl", &line.split(' ').collect::<Vec<_>>());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    eventually("the command runs", SOON, || ensure(processes("sleep\x0075001\0").len() > 1, || "not yet".to_owned()));
    rule("delete").expect_ok("the binding goes").clear();
    let (ok, said) = ending(child);
    assert!(!ok && said.contains("forbidden"), "{said}");
    nothing_left(75_001);
}
