//! A pod that extends the API server: its webhooks, its conversions and its API are reached over the sessions of its node.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_ctl::cluster::pki::{CLUSTER_CA, Pki, Request};
use gantry_tests::cluster::{Cluster, SOON, cluster, text};
use gantry_tests::wait::{ensure, eventually};
use serde_json::{Value, json};

const NS: &str = "e2e-backends";
const SERVER: &str = include_str!("backends/server.py");
/// What the APIService is called.
const API: &str = "v1.farm.example.com";
/// What names of things without a namespace begin with.
const NAME: &str = "e2e-backends";

/// What is to be called: the Service, with the cluster's CA.
fn place(c: &Cluster, path: &str) -> Value {
    let ca = std::fs::read(Pki::new(c.state().join("pki")).cert(CLUSTER_CA)).expect("the cluster has a CA");
    json!({"caBundle": STANDARD.encode(ca), "service": {"namespace": NS, "name": "backend", "path": path}})
}

fn apply(c: &Cluster, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    c.line_with("kubectl apply --validate=false -f -", list).expect_ok("kubectl apply").clear();
}

/// A serving certificate of the cluster's CA, in a Secret.
fn secret(c: &Cluster) -> Value {
    let request = Request {
        file: "backend".to_owned(),
        ca: CLUSTER_CA,
        common_name: "backend".to_owned(),
        organizations: Vec::new(),
        dns: vec![format!("backend.{NS}.svc")],
        addresses: Vec::new(),
        client: false,
    };
    let signed = Pki::new(c.state().join("pki")).sign(&request, jiff::Timestamp::now(), 5);
    let (cert, key) = signed.expect("the CA signs");
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "backend", "namespace": NS},
        "stringData": {"tls.crt": cert, "tls.key": key},
    })
}

/// The pod, its Service, and its right to know whom to believe.
fn backend(c: &Cluster) -> Vec<Value> {
    let labels = json!({"app": "backend"});
    let container = json!({
        "name": "c", "image": "gantry-demo-web", "imagePullPolicy": "IfNotPresent", "command": ["python3", "-u", "-c", SERVER],
        "ports": [{"name": "https", "containerPort": 8443}],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": true}],
    });
    let volumes = json!([{"name": "tls", "secret": {"secretName": "backend"}}]);
    let pod = json!({"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes});
    vec![
        secret(c),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": NAME, "namespace": "kube-system"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "extension-apiserver-authentication-reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": NS}],
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "backend", "namespace": NS},
            "spec": {"selector": labels, "ports": [{"name": "https", "port": 443, "targetPort": "https"}]},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "backend", "namespace": NS},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod}},
        }),
    ]
}

fn webhooks(c: &Cluster, policy: &str) -> Vec<Value> {
    let configuration = |kind: &str, name: &str| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": NAME},
            "webhooks": [{
                "name": format!("{name}.example.com"), "clientConfig": place(c, &format!("/{name}")), "timeoutSeconds": 5,
                "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NS}},
                // The cluster's own objects are none of its business.
                "matchConditions": [{"name": "own", "expression": "request.name != 'kube-root-ca.crt'"}],
                "failurePolicy": policy, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            }],
        })
    };
    vec![
        configuration("MutatingWebhookConfiguration", "mutate"),
        configuration("ValidatingWebhookConfiguration", "validate"),
    ]
}

fn definition(c: &Cluster) -> Value {
    let version = |name: &str, is_stored: bool, fields: Value| {
        json!({"name": name, "served": true, "storage": is_stored, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "description": "Where it is.", "properties": fields}},
        }}})
    };
    let string = json!({"type": "string", "description": "Its name in DNS."});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.shop.example.com"},
        "spec": {
            "group": "shop.example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"]},
            "versions": [
                version("v1", true, json!({"host": string, "port": {"type": "integer"}})),
                version("v2", false, json!({"where": {"type": "string"}})),
            ],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": place(c, "/convert"), "conversionReviewVersions": ["v1"],
            }},
        },
    })
}

fn api_service(c: &Cluster) -> Value {
    let mut service = place(c, "");
    service["service"].as_object_mut().expect("a map").remove("path");
    let mut spec =
        json!({"group": "farm.example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15});
    spec["caBundle"] = service["caBundle"].take();
    spec["service"] = service["service"].take();
    json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API}, "spec": spec})
}

/// Waits until the API is said to be there, and requests for it are passed on.
fn served(c: &Cluster) {
    assert_eq!(available(c, "True", "Passed"), "all checks passed");
    let ask = || c.line("kubectl get --raw /apis/farm.example.com/v1");
    eventually("the API is served", SOON, || ensure(ask().ok, || ask().stderr));
}

/// Waits until the APIService's condition has this status and reason; gives its message.
fn available(c: &Cluster, status: &str, reason: &str) -> String {
    eventually(&format!("{API} is {status} because of {reason}"), SOON, || {
        let condition = c.get(&format!("apiservice {API}"))?["status"]["conditions"][0].take();
        let is_it = condition["type"] == "Available" && condition["status"] == status && condition["reason"] == reason;
        ensure(is_it, || condition.to_string()).map(|()| text(&condition["message"]))
    })
}

fn scale(c: &Cluster, replicas: usize) {
    c.ok(&format!("kubectl scale deployment backend --replicas={replicas} -n {NS}"));
    eventually(&format!("{replicas} pods"), SOON, || {
        let ready = c.ready_pods(NS, "app=backend")?.len();
        let slices = c.get(&format!("endpointslices -n {NS}"))?;
        let slice = |s: &Value| s["endpoints"].as_array().map_or(0, Vec::len);
        let endpoints: usize = slices["items"].as_array().ok_or("no items")?.iter().map(slice).sum();
        ensure((ready, endpoints) == (replicas, replicas), || format!("{ready} ready, {endpoints} endpoints"))
    });
}

#[test]
fn e2e_backends_in_pods_extend_the_api_server() {
    let Some(c) = cluster() else { return };
    remove(&c);
    c.namespace(NS.trim_start_matches("e2e-"));
    apply(&c, &backend(&c));
    c.wait_ready(NS, "app=backend", 1, SOON);
    apply(&c, &webhooks(&c, "Fail"));
    apply(&c, &[definition(&c), api_service(&c)]);
    check_admission(&c);
    check_conversion(&c);
    check_aggregation(&c);
    check_front_proxy(&c);
    scale(&c, 0);
    check_absence(&c);
    scale(&c, 1);
    check_return(&c);
    remove(&c);
}

/// Leaves nothing that asks a pod which is no more.
fn remove(c: &Cluster) {
    for what in [
        format!("apiservice {API}"),
        format!("mutatingwebhookconfiguration {NAME}"),
        format!("validatingwebhookconfiguration {NAME}"),
        "customresourcedefinition widgets.shop.example.com".to_owned(),
        format!("rolebinding {NAME} -n kube-system"),
    ] {
        c.ok(&format!("kubectl delete {what} --ignore-not-found --timeout=60s"));
    }
    c.ok(&format!("kubectl delete namespace {NS} --ignore-not-found --wait=false"));
}

fn check_admission(c: &Cluster) {
    let made = c.line(&format!("kubectl create configmap good --from-literal=a=b -n {NS}"));
    assert!(made.ok && made.stderr.contains("Warning: good is green"), "{}{}", made.stdout, made.stderr);
    let data = c.get(&format!("configmap good -n {NS}")).expect("it is there")["data"].take();
    assert_eq!(data, json!({"a": "b", "colour": "green"}));
    let line = format!("kubectl create configmap bad --from-literal=bad=yes -n {NS}");
    let said = c.line(&line).expect_failure(&line);
    let denied =
        format!("admission webhook \"validate.example.com\" denied the request: nothing bad in {NS}, kubernetes-admin");
    assert!(said.contains(&denied), "{said}");
    assert!(!c.line(&format!("kubectl get configmap bad -n {NS}")).ok, "what was refused is not there");
}

fn check_conversion(c: &Cluster) {
    c.ok("kubectl wait --for=condition=Established customresourcedefinition/widgets.shop.example.com --timeout=60s");
    let widget = |version: &str, name: &str, spec: Value| {
        json!({"apiVersion": format!("shop.example.com/{version}"), "kind": "Widget",
            "metadata": {"name": name, "namespace": NS}, "spec": spec})
    };
    apply(c, &[widget("v1", "one", json!({"host": "h", "port": 1})), widget("v2", "two", json!({"where": "g:2"}))]);
    let spec = |version: &str, name: &str| {
        c.get(&format!("widgets.{version}.shop.example.com {name} -n {NS}")).expect("it is there")["spec"].take()
    };
    assert_eq!((spec("v1", "one"), spec("v2", "one")), (json!({"host": "h", "port": 1}), json!({"where": "h:1"})));
    assert_eq!((spec("v1", "two"), spec("v2", "two")), (json!({"host": "g", "port": 2}), json!({"where": "g:2"})));
    let list = c.get(&format!("widgets.v2.shop.example.com -n {NS}")).expect("a list");
    let places: Vec<String> =
        list["items"].as_array().expect("items").iter().map(|w| text(&w["spec"]["where"])).collect();
    assert_eq!(places, ["h:1", "g:2"]);
    let explained = c.ok("kubectl explain wd.spec.host --api-version=shop.example.com/v1");
    assert!(explained.contains("Widget") && explained.contains("Its name in DNS."), "{explained}");
    let other = c.ok("kubectl explain widgets.spec");
    assert!(other.contains("where\t<string>") && !other.contains("host"), "{other}");
}

fn check_aggregation(c: &Cluster) {
    served(c);
    let served: Value = serde_json::from_str(&c.ok("kubectl get --raw /apis/farm.example.com/v1")).expect("JSON");
    assert_eq!((&served["kind"], &served["resources"][0]["name"]), (&json!("APIResourceList"), &json!("animals")));
    let listed = c.ok("kubectl api-resources --api-group=farm.example.com --no-headers");
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["animals", "farm.example.com/v1", "true", "Animal"]);
    let cow = json!({"apiVersion": "farm.example.com/v1", "kind": "Animal", "metadata": {"name": "cow"}}).to_string();
    let made = c.line_with(&format!("kubectl create --validate=false -n {NS} -f -"), cow).expect_ok("kubectl create");
    assert_eq!(made.trim(), "animal.farm.example.com/cow created");
    let table = c.ok(&format!("kubectl get animals -n {NS}"));
    assert!(table.starts_with("NAME") && table.contains("\ncow"), "{table}");
    let animal = c.get(&format!("animal cow -n {NS}")).expect("it is there");
    assert_eq!(animal["metadata"]["annotations"]["made-by"], "kubernetes-admin");
    c.ok(&format!("kubectl delete animal cow -n {NS} --wait=false"));
    let gone = c.line(&format!("kubectl get animal cow -n {NS}")).expect_failure("a cow that is gone");
    assert_eq!(gone.trim(), "Error from server (NotFound): animals.farm.example.com \"cow\" not found");
}

/// Users are who the front proxy says, and only the front proxy says so.
fn check_front_proxy(c: &Cluster) {
    let path = "/apis/farm.example.com/v1/whoami";
    let who = |flags: &str| -> Value {
        serde_json::from_str(&c.ok(&format!("kubectl get --raw {path} {flags}"))).expect("JSON")
    };
    assert_eq!(who("")["user"], "kubernetes-admin");
    let bob = who("--as=bob --as-group=system:masters");
    assert_eq!(bob, json!({"user": "bob", "groups": ["system:masters", "system:authenticated"]}));
    let refused = c.line(&format!("kubectl get animals -n {NS} --as=nobody-special")).expect_failure("no right");
    let forbidden = "User \"nobody-special\" cannot list resource \"animals\" in API group \"farm.example.com\"";
    assert!(refused.contains(forbidden), "{refused}");
    // Through the proxy to a Service the pod is asked by whoever may use that, not by the front proxy.
    let around = format!("/api/v1/namespaces/{NS}/services/https:backend:443/proxy{path}");
    let said = super::sessions::proxy::ask_for(c, &["-H", "X-Remote-User: root"], &around, 20).expect_ok("curl");
    assert!(said.starts_with("HTTP/1.1 401") && said.contains("the front proxy's certificate is missing"), "{said}");
}

/// Nobody is there: what must be asked fails, what may be left out is, and the API is said to be missing.
fn check_absence(c: &Cluster) {
    let nobody = "no endpoints available for service \"backend\"";
    let line = format!("kubectl create configmap third --from-literal=a=b -n {NS}");
    let said = c.line(&line).expect_failure(&line);
    let url = format!("https://backend.{NS}.svc:443/mutate?timeout=5s");
    let failed =
        format!("failed calling webhook \"mutate.example.com\": failed to call webhook: Post \"{url}\": {nobody}");
    assert!(said.contains("Internal error occurred") && said.contains(&failed), "{said}");
    apply(c, &webhooks(c, "Ignore"));
    c.ok(&format!("kubectl create configmap ignored --from-literal=bad=yes -n {NS}"));
    let data = c.get(&format!("configmap ignored -n {NS}")).expect("it is there")["data"].take();
    assert_eq!(data, json!({"bad": "yes"}));
    let said = c.line(&format!("kubectl get widgets.v2.shop.example.com one -n {NS}")).expect_failure("no conversion");
    let url = format!("https://backend.{NS}.svc:443/convert?timeout=30s");
    let failed = format!("conversion webhook for shop.example.com/v1, Kind=Widget failed: Post \"{url}\": {nobody}");
    assert!(said.contains(&failed), "{said}");
    c.get(&format!("widgets.v1.shop.example.com one -n {NS}")).expect("the stored version needs no conversion");
    let message = available(c, "False", "MissingEndpoints");
    let none = format!("endpoints for service/backend in \"{NS}\" have no addresses with port name \"https\"");
    assert_eq!(message, none);
    let said = c.line("kubectl get --raw /apis/farm.example.com/v1").expect_failure("nobody serves it");
    assert!(said.contains("the server is currently unable to handle the request"), "{said}");
    // One API that is missing takes nothing else away.
    c.ok(&format!("kubectl get pods -n {NS}"));
}

fn check_return(c: &Cluster) {
    served(c);
    c.ok(&format!("kubectl get animals -n {NS}"));
    apply(c, &webhooks(c, "Fail"));
    let line = format!("kubectl create configmap late --from-literal=bad=yes -n {NS}");
    let said = c.line(&line).expect_failure(&line);
    assert!(said.contains("admission webhook \"validate.example.com\" denied the request: nothing bad"), "{said}");
    let spec = c.get(&format!("widgets.v2.shop.example.com one -n {NS}")).expect("it is converted")["spec"].take();
    assert_eq!(spec, json!({"where": "h:1"}));
}
