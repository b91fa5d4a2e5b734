//! Whatever is killed, the application answers again; and what a daemon does stops while it is dead.

use std::time::Duration;

use gantry_tests::{
    cluster::{Cluster, SOON, cluster},
    machine::sh,
    wait::{ensure, eventually, stays},
};

/// Long enough for a daemon that is alive to have acted.
const A_WHILE: Duration = Duration::from_secs(3);

/// A pod that only sleeps, on a node of choice or any.
fn sleeper(name: &str, node: &str) -> String {
    let on = if node.is_empty() { String::new() } else { format!("  nodeName: {node}\n") };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {{app: sleeper}}\nspec:\n{on}  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: busybox\n    \
         imagePullPolicy: IfNotPresent\n    command: [sleep, \"3600\"]\n"
    )
}

/// Kills a service and leaves it dead while `meanwhile` looks; then starts it again. Containers and the page must not mind.
fn while_dead(c: &Cluster, services: &[&str], meanwhile: impl FnOnce(&Cluster)) {
    c.demo();
    let containers = c.container_ids();
    for service in services {
        c.local(&["service", "stop", "--kill", service]).expect_ok("service stop").clear();
    }
    meanwhile(c);
    for service in services {
        c.local(&["service", "start", service]).expect_ok("service start").clear();
    }
    let missing: Vec<_> = containers.difference(&c.container_ids()).cloned().collect();
    assert!(missing.is_empty(), "containers are gone after {services:?} died: {missing:?}");
    eventually("the demo answers", SOON, || c.page(1).map(drop));
}

#[test]
fn e2e_killed_container_is_restarted() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("container");
    c.line_with(&format!("kubectl apply -n {ns} -f -"), sleeper("victim", "node-1")).expect_ok("apply").clear();
    c.wait_ready(&ns, "app=sleeper", 1, SOON);
    let id = c.ok(&format!("kubectl get pod victim -n {ns} -o jsonpath={{.status.containerStatuses[0].containerID}}"));
    let id = id.trim_start_matches("docker://").to_owned();
    c.docker(1, &["kill", &id]).expect_ok("docker kill").clear();
    eventually("the container runs again", SOON, || {
        let pod = c.get(&format!("pod victim -n {ns}"))?;
        let status = &pod["status"]["containerStatuses"][0];
        ensure(status["restartCount"] == 1 && status["ready"] == true, || status.to_string())
    });
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

#[test]
fn e2e_deleted_pod_is_replaced() {
    let Some(c) = cluster() else { return };
    c.demo();
    let before = c.ready_pods("default", "app=web").expect("pods are listed");
    c.ok(&format!("kubectl delete pod {} --timeout=60s", before[0]));
    let after = c.wait_ready("default", "app=web", 3, SOON);
    assert!(!after.contains(&before[0]));
    eventually("the demo answers", SOON, || c.page(1).map(drop));
}

#[test]
fn e2e_dead_apiserver_answers_nobody() {
    let Some(c) = cluster() else { return };
    while_dead(&c, &["apiserver"], |c| {
        assert!(c.get("pods").is_err(), "a dead API server must not answer");
        stays("the page is there", A_WHILE, || c.page(1).map(drop));
    });
    eventually("the API answers", SOON, || c.get("pods").map(drop));
}

#[test]
fn e2e_dead_scheduler_binds_no_pod() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("scheduler");
    while_dead(&c, &["scheduler"], |c| {
        c.line_with(&format!("kubectl apply -n {ns} -f -"), sleeper("waits", "")).expect_ok("apply").clear();
        stays("the pod has no node", A_WHILE, || {
            let pod = c.get(&format!("pod waits -n {ns}"))?;
            ensure(pod["spec"]["nodeName"].is_null(), || pod["spec"]["nodeName"].to_string())
        });
    });
    c.wait_ready(&ns, "app=sleeper", 1, SOON);
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

#[test]
fn e2e_dead_controller_manager_makes_no_pods() {
    let Some(c) = cluster() else { return };
    while_dead(&c, &["controller-manager"], |c| {
        c.ok("kubectl scale deployment web --replicas=4");
        stays("there are three pods", A_WHILE, || {
            let pods = c.get("pods --selector=app=web")?;
            ensure(pods["items"].as_array().is_some_and(|p| p.len() == 3), || pods.to_string())
        });
    });
    c.wait_ready("default", "app=web", 4, SOON);
    c.ok("kubectl scale deployment web --replicas=3");
    c.wait_ready("default", "app=web", 3, SOON);
}

#[test]
fn e2e_dead_kubelet_starts_no_pod() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("kubelet");
    while_dead(&c, &["kubelet-node-1"], |c| {
        c.line_with(&format!("kubectl apply -n {ns} -f -"), sleeper("waits", "node-1")).expect_ok("apply").clear();
        stays("the pod is pending", A_WHILE, || {
            let pod = c.get(&format!("pod waits -n {ns}"))?;
            ensure(pod["status"]["phase"] == "Pending", || pod["status"].to_string())
        });
    });
    c.wait_ready(&ns, "app=sleeper", 1, SOON);
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

#[test]
fn e2e_dead_proxy_programs_no_service() {
    let Some(c) = cluster() else { return };
    let port_answers = |c: &Cluster, node: u8| {
        let mut at = c.demo_at(node);
        at.set_port(30099);
        gantry_tests::machine::http_get(at, "/healthz").map(drop)
    };
    while_dead(&c, &["proxy-node-1"], |c| {
        c.ok("kubectl expose deployment web --name=late --port=80 --target-port=8080 --type=NodePort --overrides={\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":8080,\"nodePort\":30099}]}}");
        eventually("node 2 has the new port", SOON, || port_answers(c, 2));
        stays("node 1 has not", A_WHILE, || ensure(port_answers(c, 1).is_err(), || "it answers".to_owned()));
        c.page(1).expect("the rules that were there go on");
    });
    eventually("node 1 has the new port", SOON, || port_answers(&c, 1));
    c.ok("kubectl delete service late");
}

#[test]
fn e2e_routes_outlive_the_daemons_and_are_repaired() {
    let Some(c) = cluster() else { return };
    let pid = c.service("dockerd-node-1").expect("it runs").to_string();
    let route = |args: &[&str]| {
        let args = [&["-t", &pid, "--net", "ip", "-4", "route"], args].concat();
        sh("nsenter", &args).expect_ok("ip route")
    };
    let others = || -> Vec<String> {
        let listed = route(&["list", "proto", "103"]);
        listed.lines().filter(|line| line.contains(" via ")).map(|line| line.trim().to_owned()).collect()
    };
    let before = others();
    assert_eq!(before.len(), 1, "one way to the one other node: {before:?}");
    let to = before[0].split(' ').next().expect("a range").to_owned();
    while_dead(&c, &["proxy-node-1", "kubelet-node-1"], |c| {
        c.page(1).expect("pods on both nodes are reached");
        assert_eq!(others(), before);
        route(&["del", &to, "proto", "103"]);
    });
    eventually("the route is there again", SOON, || ensure(others() == before, || format!("{:?}", others())));
}

#[test]
fn e2e_dead_dns_resolves_nothing() {
    let Some(c) = cluster() else { return };
    while_dead(&c, &["dns-node-1", "dns-node-2"], |c| {
        eventually("the page cannot find redis", SOON, || ensure(c.page(1).is_err(), || "it answers".to_owned()));
    });
    while_dead(&c, &["dns-node-1"], |c| {
        eventually("the other node's DNS is asked", SOON, || (0..12).try_for_each(|_| c.page(1).map(drop)));
    });
}

#[test]
fn e2e_every_killed_daemon_comes_back() {
    let Some(c) = cluster() else { return };
    c.demo();
    let containers = c.container_ids();
    for service in c.services() {
        let pid = c.service(&service).unwrap_or_else(|e| panic!("{service}: {e}"));
        sh("kill", &["-9", &pid.to_string()]).expect_ok("kill").clear();
        eventually(&format!("{service} runs again"), SOON, || {
            let now = c.service(&service)?;
            ensure(now != pid, || format!("still {now}"))
        });
    }
    eventually("the API answers", SOON, || c.get("pods").map(drop));
    let missing: Vec<_> = containers.difference(&c.container_ids()).cloned().collect();
    assert!(missing.is_empty(), "containers are gone: {missing:?}");
    c.wait_ready("default", "app=web", 3, SOON);
    for node in [1, 2] {
        eventually("the demo answers", SOON, || c.page(node).map(drop));
    }
}

#[test]
fn e2e_docker_and_etcd_restart_in_order() {
    let Some(c) = cluster() else { return };
    c.demo();
    let containers = c.container_ids();
    for service in ["dockerd-node-1", "containerd-node-1", "etcd"] {
        c.local(&["service", "restart", service]).expect_ok("service restart").clear();
    }
    eventually("the API answers", SOON, || c.get("pods").map(drop));
    let missing: Vec<_> = containers.difference(&c.container_ids()).cloned().collect();
    assert!(missing.is_empty(), "containers are gone: {missing:?}");
    c.ok("kubectl scale deployment web --replicas=4");
    c.wait_ready("default", "app=web", 4, SOON);
    c.ok("kubectl scale deployment web --replicas=3");
    eventually("the demo answers", SOON, || c.page(1).map(drop));
}

#[test]
fn e2e_killed_supervisor_is_replaced_and_adopts() {
    let Some(c) = cluster() else { return };
    c.demo();
    let pids = |c: &Cluster| -> Vec<(String, Result<i64, String>)> {
        c.services().into_iter().map(|s| (s.clone(), c.service(&s))).collect()
    };
    let before = pids(&c);
    let supervisor = sh("pgrep", &["-f", "gantryctl supervise --name e2e "]).expect_ok("pgrep");
    sh("kill", &["-9", supervisor.trim()]).expect_ok("kill").clear();
    c.page(1).expect("the services go on");
    let up = c.up_again();
    assert!(up.ok, "{}", up.stderr);
    assert_eq!(pids(&c), before, "nothing was started anew");
}
