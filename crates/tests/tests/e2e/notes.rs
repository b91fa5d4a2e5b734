//! The notes' own lines, verbatim, with kubectl and with gantryctl.

use gantry_tests::{
    cluster::{Cluster, SOON, cluster},
    wait::{ensure, eventually},
};

const TOOLS: [&str; 2] = ["kubectl", "gantryctl"];

fn clean(c: &Cluster) {
    for what in ["deployment/nginx", "service/nginx", "pod/nginx", "replicaset/new-replica-set"] {
        c.ok(&format!("kubectl delete {what} --ignore-not-found --timeout=60s"));
    }
    eventually("nothing is left of nginx", SOON, || {
        let pods = c.get("pods")?;
        let names: Vec<String> =
            pods["items"].as_array().ok_or("no items")?.iter().map(|p| p["metadata"]["name"].to_string()).collect();
        ensure(!names.iter().any(|n| n.contains("nginx") || n.contains("new-replica-set")), || format!("{names:?}"))
    });
}

#[test]
fn e2e_create_deployment_scale_and_expose() {
    let Some(c) = cluster() else { return };
    for tool in TOOLS {
        clean(&c);
        let created = c.ok(&format!("{tool} create deployment --image=nginx nginx"));
        assert_eq!(created.trim(), "deployment.apps/nginx created");
        c.wait_ready("default", "app=nginx", 1, SOON);
        let scaled = c.ok(&format!("{tool} scale deployment nginx --replicas=4"));
        assert_eq!(scaled.trim(), "deployment.apps/nginx scaled");
        c.wait_ready("default", "app=nginx", 4, SOON);
        let exposed = c.ok(&format!("{tool} expose deployment nginx --port=80 --type=NodePort"));
        assert_eq!(exposed.trim(), "service/nginx exposed", "{tool}");
        let port = c.ok("kubectl get service nginx --output=jsonpath={.spec.ports[0].nodePort}");
        let mut at = c.demo_at(1);
        at.set_port(port.parse().expect("a node port"));
        eventually("nginx answers on its node port", SOON, || {
            let (status, body) = gantry_tests::machine::http_get(at, "/")?;
            ensure(status == 200 && body.contains("nginx"), || format!("{status}: {body}"))
        });
    }
    clean(&c);
}

#[test]
fn e2e_dry_run_prints_a_manifest_that_can_be_applied() {
    let Some(c) = cluster() else { return };
    for tool in TOOLS {
        clean(&c);
        let manifest = c.ok(&format!("{tool} create deployment --image=nginx nginx --dry-run=client -o yaml"));
        for line in ["apiVersion: apps/v1", "kind: Deployment", "  name: nginx", "      - image: nginx"] {
            assert!(manifest.lines().any(|l| l == line), "{tool}: no {line:?} in:\n{manifest}");
        }
        assert!(!c.line("kubectl get deployment nginx").ok, "a dry run makes nothing");
        c.line_with(&format!("{tool} apply -f -"), &manifest).expect_ok(&format!("{tool} apply")).clear();
        c.wait_ready("default", "app=nginx", 1, SOON);
    }
    clean(&c);
}

#[test]
fn e2e_run_makes_a_pod() {
    let Some(c) = cluster() else { return };
    for tool in TOOLS {
        clean(&c);
        let made = c.ok(&format!("{tool} run nginx --image=nginx"));
        assert_eq!(made.trim(), "pod/nginx created");
        c.wait_ready("default", "run=nginx", 1, SOON);
        let pulled = c.ok("kubectl describe pod nginx");
        assert!(pulled.contains("Pulled"), "{pulled}");
    }
    clean(&c);
}

const REPLICA_SET: &str = "apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: new-replica-set
spec:
  replicas: 4
  selector:
    matchLabels:
      name: busybox-pod
  template:
    metadata:
      labels:
        name: busybox-pod
    spec:
      containers:
      - name: busybox-container
        image: busybox
        command:
        - sh
        - -c
        - echo Hello Kubernetes! && exec sleep 3600
";

#[test]
fn e2e_applying_twice_changes_nothing() {
    let Some(c) = cluster() else { return };
    for tool in TOOLS {
        clean(&c);
        for verb in ["created", "unchanged"] {
            let applied = c.line_with(&format!("{tool} apply -f -"), REPLICA_SET).expect_ok(tool);
            assert_eq!(applied.trim(), format!("replicaset.apps/new-replica-set {verb}"), "{tool}");
        }
        let changed = REPLICA_SET.replace("replicas: 4", "replicas: 1");
        let applied = c.line_with(&format!("{tool} apply -f -"), &changed).expect_ok(tool);
        assert_eq!(applied.trim(), "replicaset.apps/new-replica-set configured", "{tool}");
        c.wait_ready("default", "name=busybox-pod", 1, SOON);
    }
    clean(&c);
}

#[test]
fn e2e_scale_a_replica_set() {
    let Some(c) = cluster() else { return };
    for tool in TOOLS {
        clean(&c);
        c.line_with(&format!("{tool} create -f -"), REPLICA_SET).expect_ok("create").clear();
        c.wait_ready("default", "name=busybox-pod", 4, SOON);
        let scaled = c.ok(&format!("{tool} scale --replicas=6 replicaset new-replica-set"));
        assert_eq!(scaled.trim(), "replicaset.apps/new-replica-set scaled");
        let pods = c.wait_ready("default", "name=busybox-pod", 6, SOON);
        let logs = c.ok(&format!("{tool} logs {}", pods[0]));
        assert_eq!(logs.trim(), "Hello Kubernetes!");
    }
    clean(&c);
}
