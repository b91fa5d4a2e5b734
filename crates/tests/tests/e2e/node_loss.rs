//! A node whose kubelet is gone is given up, and taken back when it returns.

use gantry_tests::{
    cluster::{Cluster, LATER, SOON, cluster, text},
    wait::{ensure, eventually},
};

/// Four pods that leave a lost node after two seconds.
const APP: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
spec:
  replicas: 4
  selector:
    matchLabels: {app: app}
  template:
    metadata:
      labels: {app: app}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers:
      - name: c
        image: gantry-demo-web
        imagePullPolicy: IfNotPresent
        ports: [{containerPort: 8080}]
        readinessProbe:
          httpGet: {path: /healthz, port: 8080}
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata:
  name: app
spec:
  type: NodePort
  selector: {app: app}
  ports:
  - {port: 80, targetPort: 8080, nodePort: 30081}
";

fn answers(c: &Cluster) -> Result<(), String> {
    let mut at = c.demo_at(1);
    at.set_port(30081);
    let (status, body) = gantry_tests::machine::http_get(at, "/healthz")?;
    ensure(status == 200, || body)
}

fn nodes_of_ready_pods(c: &Cluster, ns: &str) -> Result<Vec<String>, String> {
    let ready = c.ready_pods(ns, "app=app")?;
    let pods = c.get(&format!("pods -n {ns} --selector=app=app"))?;
    let items = pods["items"].as_array().ok_or("no items")?;
    let is_ready = |p: &&serde_json::Value| ready.contains(&text(&p["metadata"]["name"]));
    Ok(items.iter().filter(is_ready).map(|p| text(&p["spec"]["nodeName"])).collect())
}

fn node_ready(c: &Cluster) -> Result<String, String> {
    let node = c.get("node node-2")?;
    let conditions = node["status"]["conditions"].as_array().ok_or("no conditions")?;
    let ready = conditions.iter().find(|c| c["type"] == "Ready").ok_or("no Ready condition")?;
    Ok(text(&ready["status"]))
}

#[test]
fn e2e_lost_node_is_given_up_and_taken_back() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("loss");
    c.line_with(&format!("kubectl apply -n {ns} -f -"), APP).expect_ok("apply").clear();
    c.wait_ready(&ns, "app=app", 4, SOON);
    let spread = nodes_of_ready_pods(&c, &ns).expect("pods are listed");
    assert!(spread.iter().any(|n| n == "node-2"), "the scheduler uses both nodes: {spread:?}");
    eventually("the app answers", SOON, || answers(&c));

    c.local(&["service", "stop", "--kill", "kubelet-node-2"]).expect_ok("service stop").clear();
    eventually("the node's state is unknown", LATER, || {
        let ready = node_ready(&c)?;
        ensure(ready == "Unknown", || format!("Ready is {ready}"))
    });
    eventually("all pods are ready on the other node", LATER, || {
        let nodes = nodes_of_ready_pods(&c, &ns)?;
        ensure(nodes == ["node-1"; 4], || format!("{nodes:?}"))
    });
    for _ in 0..20 {
        answers(&c).expect("only ready pods are asked");
    }

    c.local(&["service", "start", "kubelet-node-2"]).expect_ok("service start").clear();
    eventually("the node is ready", SOON, || {
        let ready = node_ready(&c)?;
        ensure(ready == "True", || format!("Ready is {ready}"))
    });
    eventually("the pods that were given up are gone", LATER, || {
        let pods = c.get(&format!("pods -n {ns}"))?;
        ensure(pods["items"].as_array().is_some_and(|p| p.len() == 4), || {
            pods["items"].as_array().map_or(0, Vec::len).to_string()
        })
    });
    c.ok(&format!("kubectl delete namespace {ns} --timeout=60s"));
}
