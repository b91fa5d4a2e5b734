//! Rights over every kind: nobody may anything, until a role says so, and then that alone.

use gantry_api::kinds::{self, KindInfo};
use serde_json::{Value, json};

use crate::client::{Client, collection};
use crate::subject::world;

/// The verbs of requests to a collection and to an object: method, what follows the path, and what the request is called.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("GET", "", "list"),
    ("GET", "?watch=true&timeoutSeconds=1", "watch"),
    ("GET", "/x", "get"),
    ("POST", "", "create"),
    ("PUT", "/x", "update"),
    ("PATCH", "/x", "patch"),
    ("DELETE", "/x", "delete"),
    ("DELETE", "", "deletecollection"),
];

/// What upstream says to a user without a right.
fn refusal(kind: &KindInfo, verb: &str, name: &str, subresource: &str) -> String {
    let resource =
        if subresource.is_empty() { kind.resource.to_owned() } else { format!("{}/{subresource}", kind.resource) };
    let object = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
    let place = match kind.kind {
        // A Namespace is in itself.
        "Namespace" if !name.is_empty() => format!("in the namespace \"{name}\""),
        _ if kind.namespaced => "in the namespace \"default\"".to_owned(),
        _ => "at the cluster scope".to_owned(),
    };
    let qualified = kind.qualified_resource();
    format!(
        "{qualified}{object} is forbidden: User \"eve\" cannot {verb} resource \"{resource}\" in API group \"{}\" {place}",
        kind.group
    )
}

async fn refused(eve: &Client, kind: &KindInfo, only: Option<&str>) {
    let path = collection(kind, "default");
    for (method, rest, verb) in REQUESTS.iter().filter(|(_, _, verb)| kind.supports(verb)) {
        let answer =
            eve.ask(method, &format!("{path}{rest}"), &[("content-type", "application/merge-patch+json")], "{}").await;
        if only == Some(*verb) {
            assert_ne!(answer.code, 403, "{} {verb}: {}", kind.kind, answer.text);
            continue;
        }
        let name = if rest.starts_with('/') { "x" } else { "" };
        let status = answer.json();
        assert_eq!(
            (answer.code, status["message"].as_str()),
            (403, Some(&*refusal(kind, verb, name, ""))),
            "{} {verb}",
            kind.kind
        );
        assert_eq!(status["details"]["kind"], kind.resource, "{}: {status}", kind.kind);
    }
    for sub in kind.subresources.iter().filter(|s| s.verbs.contains(&"update")) {
        let answer = eve.ask("PUT", &format!("{path}/x/{}", sub.name), &[], "{}").await;
        assert_eq!(answer.json()["message"], refusal(kind, "update", "x", sub.name), "{}", kind.kind);
    }
}

#[tokio::test]
async fn nobody_may_anything_with_any_kind_until_a_role_says_so() {
    let cluster = world().await;
    let admin = Client::admin(&cluster).await;
    let eve = Client::of(&cluster, "eve", &[]).await;
    // Reviews of oneself are everyone's right.
    let kinds = || kinds::all().iter().filter(|k| !k.create_only());
    for kind in kinds() {
        refused(&eve, kind, None).await;
    }
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules: Vec<Value> =
        kinds().map(|k| json!({"apiGroups": [k.group], "resources": [k.resource], "verbs": ["list"]})).collect();
    let role = json!({"metadata": {"name": "lists"}, "rules": rules});
    let binding = json!({
        "metadata": {"name": "lists"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "eve"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lists"},
    });
    for (resource, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let answer = admin.ask("POST", &format!("{rbac}/{resource}"), &[], object.to_string()).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
    }
    for kind in kinds() {
        refused(&eve, kind, Some("list")).await;
    }
}
