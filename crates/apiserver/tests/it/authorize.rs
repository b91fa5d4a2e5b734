//! Who decides: a webhook, the lines of a file, everybody and nobody, in the order that the operator wants.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gantry_apiserver::testing::{Builder, Pki};
use gantry_apiserver::{Authorization, Config};
use serde_json::{Value, json};

use crate::hooks::{Hook, Raw, kubeconfig};
use crate::support::{Answer, Cluster, request};

const PODS: &str = "/api/v1/namespaces/default/pods";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

fn folder(config: &Config) -> &Path {
    config.client_ca_file.as_deref().and_then(Path::parent).expect("a folder")
}

fn modes(modes: &[&str]) -> Vec<String> {
    modes.iter().map(|mode| (*mode).to_owned()).collect()
}

/// A cluster that asks a webhook: the review's spec is judged, for the status. `told` makes flags of the kubeconfig's path.
async fn judged(
    told: impl FnOnce(&Path) -> Authorization + Send + 'static,
    judge: impl Fn(&Value) -> Value + Clone + Send + 'static,
) -> (Cluster, Hook) {
    let pki = Arc::new(Pki::new());
    let respond = move |review: &Value| -> Raw {
        match judge(&review["spec"]) {
            Value::Null => (400, "no".to_owned()),
            status => {
                let answer = json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "status": status});
                (200, answer.to_string())
            }
        }
    };
    let hook = Hook::of(pki.serving_for("judge", &["127.0.0.1"]), &pki.ca_pem(), respond).await;
    let (own, server) = (pki.clone(), format!("https://{}/authorize", hook.address));
    let builder = Builder::default().pki(pki).configure(move |config| {
        let kubeconfig = kubeconfig(folder(config), &own, &server);
        config.authorization = told(&kubeconfig);
    });
    (Cluster::with(builder).await, hook)
}

async fn get(cluster: &Cluster, user: &str, path: &str) -> Answer {
    request(&cluster.server, Some(&cluster.identity(user, &[])), "GET", path, &[], "").await
}

/// What a review says of a user who wants to list pods.
async fn reviewed(cluster: &Cluster, user: &str) -> Value {
    let spec =
        json!({"user": user, "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}});
    cluster.rest("POST", REVIEWS, &[], &json!({"spec": spec}).to_string()).await.json()["status"].clone()
}

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_webhook_allows_denies_or_leaves_it_to_roles() {
    let told = |kubeconfig: &Path| Authorization {
        mode: modes(&["Webhook", "RBAC"]),
        webhook_config_file: Some(kubeconfig.to_owned()),
        webhook_version: Some("v1".to_owned()),
        ..Authorization::default()
    };
    let (cluster, hook) = judged(told, |spec| match spec["user"].as_str().unwrap_or_default() {
        "friend" => json!({"allowed": true, "reason": "a friend"}),
        "foe" => json!({"allowed": false, "denied": true, "reason": "a foe"}),
        "broken" => Value::Null,
        _ => json!({"allowed": false, "reason": "do not know"}),
    })
    .await;
    assert_eq!(cluster.rest("GET", PODS, &[], "").await.code, 200);
    assert!(hook.asked().iter().all(|asked| asked.review["spec"]["user"] != "admin"), "the mighty need no judge");
    assert_eq!(
        get(&cluster, "friend", &format!("{PODS}?fieldSelector=spec.nodeName=n&labelSelector=a%3Db")).await.code,
        200
    );
    let mut asked = hook.asked().pop().expect("asked");
    // The certificate's own name, which differs from run to run.
    let shown = asked.review["spec"].as_object_mut().and_then(|spec| spec.remove("extra")).expect("shown");
    assert!(shown["authentication.kubernetes.io/credential-id"].is_array(), "{shown}");
    assert!(asked.peer.contains("caller") && asked.uri.starts_with("/authorize"), "{asked:?}");
    let required =
        |key: &str, value: &str| json!({"requirements": [{"key": key, "operator": "In", "values": [value]}]});
    let attributes = json!({
        "verb": "list", "version": "v1", "resource": "pods", "namespace": "default",
        "fieldSelector": required("spec.nodeName", "n"), "labelSelector": required("a", "b"),
    });
    let spec = json!({"user": "friend", "groups": ["system:authenticated"], "resourceAttributes": attributes});
    assert_eq!(
        asked.review,
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec,
            "status": {"allowed": false}})
    );
    let before = hook.asked().len();
    let identity = cluster.identity("foe", &[]);
    let foe = request(&cluster.server, Some(&identity), "GET", PODS, &[], "").await;
    assert_eq!(foe.code, 403, "{}", foe.text);
    assert!(message(&foe).ends_with("in the namespace \"default\": a foe"), "{}", foe.text);
    assert_eq!(request(&cluster.server, Some(&identity), "GET", PODS, &[], "").await.code, 403);
    assert_eq!(hook.asked().len(), before + 1, "what was answered is not asked again");
    assert!(message(&get(&cluster, "other", PODS).await).ends_with("do not know"));
    assert_eq!(get(&cluster, "other", "/version").await.code, 200, "by a role");
    let broken = get(&cluster, "broken", PODS).await;
    assert_eq!(broken.code, 500, "{}", broken.text);
    assert_eq!(get(&cluster, "broken", "/version").await.code, 200, "others decide where the webhook cannot");
    assert_eq!(reviewed(&cluster, "friend").await, json!({"allowed": true, "reason": "a friend"}));
    assert_eq!(reviewed(&cluster, "foe").await, json!({"allowed": false, "denied": true, "reason": "a foe"}));
    assert_eq!(reviewed(&cluster, "other").await, json!({"allowed": false, "reason": "do not know"}));
    let broken = reviewed(&cluster, "broken").await;
    assert!(broken["evaluationError"].as_str().is_some_and(|why| why.contains("rejected our request")), "{broken}");
    let rules = cluster.rest(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        &[],
        r#"{"spec":{"namespace":"a"}}"#,
    );
    let status = rules.await.json()["status"].clone();
    assert_eq!(status["incomplete"], true);
    assert_eq!(status["evaluationError"], "webhook authorizer does not support user rule resolution");
    let metrics = cluster.rest("GET", "/metrics", &[], "").await.text;
    let decided = |decision: &str| {
        format!("apiserver_authorization_decisions_total{{decision=\"{decision}\",name=\"default\",type=\"Webhook\"}}")
    };
    assert!(["allowed", "denied"].iter().all(|decision| metrics.contains(&decided(decision))), "{metrics}");
}

#[tokio::test]
async fn a_file_names_webhooks_their_conditions_and_what_their_failure_means() {
    let told = |kubeconfig: &Path| {
        let path = kubeconfig.with_file_name("authorization.yaml");
        let text = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
            "authorizers": [
                {"type": "Webhook", "name": "judge.example.com", "webhook": {
                    "timeout": "3s", "subjectAccessReviewVersion": "v1beta1", "failurePolicy": "Deny",
                    "matchConditionSubjectAccessReviewVersion": "v1",
                    "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": kubeconfig},
                    "matchConditions": [
                        {"expression": "has(request.resourceAttributes)"},
                        {"expression": "request.resourceAttributes.resource == 'pods' && !('dev' in request.groups)"},
                    ],
                }},
                {"type": "AlwaysAllow", "name": "rest"},
            ],
        });
        std::fs::write(&path, text.to_string()).expect("written");
        Authorization { config_file: Some(path), ..Authorization::default() }
    };
    let (cluster, hook) = judged(told, |spec| match spec["user"].as_str().unwrap_or_default() {
        "broken" => Value::Null,
        _ => json!({"allowed": false}),
    })
    .await;
    assert_eq!(get(&cluster, "alice", "/api/v1/namespaces/default/configmaps").await.code, 200);
    assert_eq!(get(&cluster, "alice", "/metrics").await.code, 200);
    assert_eq!(hook.asked().len(), 0, "the conditions do not hold");
    assert_eq!(get(&cluster, "alice", PODS).await.code, 200, "no opinion");
    let asked = hook.asked().pop().expect("asked");
    assert_eq!(asked.review["apiVersion"], "authorization.k8s.io/v1beta1");
    assert_eq!(asked.review["spec"]["group"], json!(["system:authenticated"]));
    assert_eq!(get(&cluster, "broken", PODS).await.code, 500, "a failure denies");
    assert_eq!(reviewed(&cluster, "broken").await["denied"], true);
    // Nobody stays nameless where everything is allowed.
    assert_eq!(cluster.bare("GET", "/version", &[], "").await.code, 401);
}

/// Waits until the metrics have a line.
async fn counted(cluster: &Cluster, line: &str) {
    let ask = async {
        while !cluster.rest("GET", "/metrics", &[], "").await.text.contains(line) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ask).await.unwrap_or_else(|_| panic!("no {line}"));
}

#[tokio::test]
async fn a_changed_file_is_taken_up_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authorization.yaml");
    let write = {
        let path = path.clone();
        move |webhook: Option<Value>| {
            let webhook = webhook.map(|webhook| json!({"type": "Webhook", "name": "judge", "webhook": webhook}));
            let mut all: Vec<Value> = webhook.into_iter().collect();
            all.extend(["Node", "RBAC"].map(|kind| json!({"type": kind, "name": kind.to_lowercase()})));
            let (version, kind) = ("apiserver.config.k8s.io/v1", "AuthorizationConfiguration");
            let text = json!({"apiVersion": version, "kind": kind, "authorizers": all});
            std::fs::write(&path, text.to_string()).expect("written");
        }
    };
    write(None);
    let (kubeconfig, config_file) = (Arc::new(OnceLock::new()), Some(path.clone()));
    let found = kubeconfig.clone();
    let told = move |kubeconfig: &Path| {
        found.set(kubeconfig.to_owned()).expect("told once");
        Authorization { config_file, ..Authorization::default() }
    };
    let (cluster, hook) = judged(told, |spec| match spec["user"].as_str().unwrap_or_default() {
        "broken" => Value::Null,
        user => json!({"allowed": user == "alice"}),
    })
    .await;
    assert_eq!(get(&cluster, "alice", PODS).await.code, 403);
    write(Some(json!({
        "timeout": "3s", "subjectAccessReviewVersion": "v1", "failurePolicy": "NoOpinion",
        "unauthorizedTTL": "1ms", "matchConditionSubjectAccessReviewVersion": "v1",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": kubeconfig.get().expect("told")},
        "matchConditions": [{"expression": "request.user != 'bob'"}],
    })));
    let reloads = |status: &str| format!("status=\"{status}\"}} 1\n");
    counted(&cluster, &reloads("success")).await;
    assert_eq!(get(&cluster, "alice", PODS).await.code, 200, "{:?}", hook.asked());
    assert_eq!(get(&cluster, "bob", PODS).await.code, 403);
    let conditions = "apiserver_authorization_match_condition";
    for line in [
        "apiserver_authorization_webhook_evaluations_total{name=\"judge\",result=\"success\"} 1\n".to_owned(),
        format!("{conditions}_exclusions_total{{name=\"judge\",type=\"Webhook\"}} 1\n"),
        format!("{conditions}_evaluation_seconds_count{{name=\"judge\",type=\"Webhook\"}} 2\n"),
        "apiserver_authorization_config_controller_last_config_info{".to_owned(),
    ] {
        counted(&cluster, &line).await;
    }
    std::fs::write(&path, "authorizers: []").expect("written");
    counted(&cluster, &reloads("failure")).await;
    assert_eq!(get(&cluster, "alice", PODS).await.code, 200, "the old one stays");
    assert_eq!(get(&cluster, "broken", PODS).await.code, 500);
    let open = "apiserver_authorization_webhook_evaluations_fail_open_total{name=\"judge\",result=\"error\"} 1\n";
    counted(&cluster, open).await;
}

/// Where a policy asks what somebody may do, the webhook is asked too. Expressions cannot wait, so there must be threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_ask_a_webhook() {
    let told = |kubeconfig: &Path| Authorization {
        mode: modes(&["Webhook"]),
        webhook_config_file: Some(kubeconfig.to_owned()),
        webhook_version: Some("v1".to_owned()),
        ..Authorization::default()
    };
    let (cluster, _hook) = judged(told, |spec| {
        let is_special = spec["resourceAttributes"]["verb"] == "bless";
        json!({"allowed": !is_special || spec["user"] == "friend"})
    })
    .await;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    let policy = json!({"metadata": {"name": "blessed"}, "spec": {
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "authorizer.requestResource.check('bless').allowed()", "message": "not blessed"}],
    }});
    let binding =
        json!({"metadata": {"name": "blessed"}, "spec": {"policyName": "blessed", "validationActions": ["Deny"]}});
    for (resource, object) in [("validatingadmissionpolicies", policy), ("validatingadmissionpolicybindings", binding)]
    {
        let made = cluster.rest("POST", &format!("{admission}/{resource}"), &[], &object.to_string()).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    let make = async |user: &str| {
        let map = json!({"metadata": {"generateName": "m-"}}).to_string();
        let identity = cluster.identity(user, &[]);
        request(&cluster.server, Some(&identity), "POST", "/api/v1/namespaces/default/configmaps", &[], &map).await
    };
    // Policies are taken up by a watch.
    let refused = loop {
        let answer = make("other").await;
        if answer.code != 201 {
            break answer;
        }
    };
    assert!(refused.code == 422 && message(&refused).contains("not blessed"), "{}", refused.text);
    assert_eq!(make("friend").await.code, 201);
}

#[tokio::test]
async fn lines_of_a_file_allow() {
    let builder = Builder::default().configure(|config| {
        let path = folder(config).join("policy.jsonl");
        let line = json!({"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {
            "user": "alice", "namespace": "default", "resource": "pods", "readonly": true}});
        std::fs::write(&path, line.to_string()).expect("written");
        config.authorization =
            Authorization { mode: modes(&["AlwaysDeny", "ABAC"]), policy_file: Some(path), ..Authorization::default() };
    });
    let cluster = Cluster::with(builder).await;
    assert_eq!(get(&cluster, "alice", PODS).await.code, 200);
    let refused = get(&cluster, "alice", "/api/v1/namespaces/default/secrets").await;
    assert!(message(&refused).ends_with(": Everything is forbidden.\nNo policy matched."), "{}", refused.text);
    assert_eq!(refused.code, 403);
    let identity = cluster.identity("alice", &[]);
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let body = r#"{"spec":{"namespace":"default"}}"#;
    assert_eq!(request(&cluster.server, Some(&identity), "POST", rules, &[], body).await.code, 403);
    assert_eq!(reviewed(&cluster, "alice").await, json!({"allowed": true}));
}
