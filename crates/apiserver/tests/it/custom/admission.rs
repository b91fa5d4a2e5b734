//! Webhooks and policies about custom kinds.

use super::conversion::{V2, converted, definition_with};
use super::*;
use crate::hooks::{self, Hook, MUTATING, VALIDATING, cluster, register};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn rules(version: &str) -> Value {
    json!([{"operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": ["stable.example.com"], "apiVersions": [version], "resources": ["crontabs"]}])
}

/// Creates an object of the group; the server knows it afterwards.
async fn make(cluster: &Cluster, resource: &str, name: &str, spec: Value) {
    let path = format!("{GROUP}/{resource}");
    let made = post(cluster, &path, &json!({"metadata": {"name": name}, "spec": spec})).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(get(cluster, &path).await.code, 200);
}

/// A policy and its binding.
async fn policy(cluster: &Cluster, sort: &str, name: &str, spec: Value, binding: Value) {
    make(cluster, &format!("{sort}admissionpolicies"), name, spec).await;
    let mut bound = json!({"policyName": name});
    if sort == "validating" {
        bound["validationActions"] = json!(["Deny"]);
    }
    for (key, value) in binding.as_object().into_iter().flatten() {
        bound[key] = value.clone();
    }
    make(cluster, &format!("{sort}admissionpolicybindings"), name, bound).await;
}

fn message(answer: &Answer) -> (u16, String) {
    (answer.code, answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn webhooks_see_and_change_custom_objects() {
    let cluster = cluster().await;
    define(&cluster, &crontabs()).await;
    let hook = Hook::start(&cluster, |request| {
        if request["operation"] == "DELETE" {
            return json!({"allowed": request["oldObject"]["spec"]["replicas"] != 4});
        }
        if request["object"]["spec"]["replicas"].is_null() {
            return hooks::patch(json!([{"op": "add", "path": "/spec/replicas", "value": 3}, {"op": "add", "path": "/spec/unknown", "value": 1}]));
        }
        json!({"allowed": request["object"]["spec"]["replicas"] != 9})
    })
    .await;
    register(&cluster, MUTATING, "m", &[hook.config(&cluster, "change", json!({"rules": rules("v1")}))]).await;
    register(&cluster, VALIDATING, "v", &[hook.config(&cluster, "judge", json!({"rules": rules("v1")}))]).await;
    let made = post(&cluster, CRONTABS, &crontab("a", json!({"image": "i"}))).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let spec = &made.json()["spec"];
    assert_eq!(spec, &json!({"cronSpec": "5 0 * * *", "image": "i", "replicas": 3}), "what nobody knows is pruned");
    let asked = hook.asked()[0].request().clone();
    assert_eq!(asked["kind"], json!({"group": "stable.example.com", "version": "v1", "kind": "CronTab"}));
    assert_eq!(asked["object"]["spec"]["cronSpec"], "5 0 * * *", "defaults come first");
    let refused = post(&cluster, CRONTABS, &crontab("b", json!({"replicas": 9}))).await;
    assert!(message(&refused).1.contains("admission webhook"), "{}", refused.text);
    assert_eq!(post(&cluster, CRONTABS, &crontab("four", json!({"replicas": 4}))).await.code, 201);
    let kept = cluster.rest("DELETE", &format!("{CRONTABS}/four"), &[], "").await;
    assert!(message(&kept).1.contains("denied the request"), "{}", kept.text);
    // What a webhook makes of an object has to keep to the schema, too.
    let wrong =
        Hook::start(&cluster, |_| hooks::patch(json!([{"op": "add", "path": "/spec/replicas", "value": 11}]))).await;
    register(&cluster, MUTATING, "w", &[wrong.config(&cluster, "wrong", json!({"rules": rules("v1")}))]).await;
    let (code, text) = message(&post(&cluster, CRONTABS, &crontab("c", json!({}))).await);
    assert!(code == 422 && text.contains("should be less than or equal to 10"), "{code} {text}");
}

#[tokio::test]
async fn versions_that_a_webhook_converts_are_equivalents() {
    let cluster = cluster().await;
    let conversion = Hook::raw(&cluster, &["127.0.0.1"], |review| {
        let mut answer = converted(review);
        if review["request"]["objects"][0]["metadata"]["name"] == "lost" {
            answer["response"]["result"] = json!({"status": "Failure", "message": "not today"});
        }
        (200, answer.to_string())
    })
    .await;
    define(&cluster, &definition_with(&conversion, &cluster)).await;
    let hook = Hook::start(&cluster, |request| match request["object"]["spec"]["where"].as_str() {
        Some("bad:1") => json!({"allowed": false}),
        Some("move:1") => hooks::patch(json!([{"op": "replace", "path": "/spec/where", "value": "moved:2"}])),
        Some(_) => json!({"allowed": true}),
        None => json!({"allowed": false, "status": {"message": "another version"}}),
    })
    .await;
    register(&cluster, MUTATING, "m", &[hook.config(&cluster, "change", json!({"rules": rules("v2")}))]).await;
    let place = |name: &str, host: &str| crontab(name, json!({"host": host, "port": "1"}));
    let made = post(&cluster, CRONTABS, &place("a", "move")).await;
    assert_eq!((made.code, &made.json()["spec"]), (201, &json!({"host": "moved", "port": "2"})), "{}", made.text);
    assert_eq!(made.json()["apiVersion"], "stable.example.com/v1");
    let asked = hook.asked()[0].request().clone();
    let versions = [&asked["kind"], &asked["requestKind"], &asked["resource"], &asked["requestResource"]];
    assert_eq!(versions.map(|v| v["version"].as_str()), [Some("v2"), Some("v1"), Some("v2"), Some("v1")]);
    assert_eq!(asked["object"]["apiVersion"], "stable.example.com/v2");
    let refused = post(&cluster, CRONTABS, &place("b", "bad")).await;
    assert!(message(&refused).1.contains("denied the request without explanation"), "{}", refused.text);
    let changed = patch(&cluster, &format!("{CRONTABS}/a"), &json!({"spec": {"port": "3"}})).await;
    assert_eq!(changed.code, 200, "{}", changed.text);
    assert_eq!(hook.last()["oldObject"]["spec"], json!({"where": "moved:2"}));
    let failed = post(&cluster, CRONTABS, &place("lost", "h")).await;
    assert_eq!(failed.code, 500, "{}", failed.text);
    assert!(failed.text.contains("conversion webhook for stable.example.com/v1, Kind=CronTab failed: not today"));
    // Who asks for what was requested and nothing else is not asked.
    let exact = json!({"rules": rules("v2"), "matchPolicy": "Exact"});
    let before = hook.asked().len();
    register(&cluster, VALIDATING, "v", &[hook.config(&cluster, "exact", exact)]).await;
    assert_eq!(post(&cluster, CRONTABS, &place("c", "h")).await.code, 201);
    assert!(hook.asked()[before..].iter().all(|asked| asked.uri.starts_with("/change")));
    // Policies see the same.
    let rule = json!({"matchConstraints": {"resourceRules": rules("v2")}, "validations": [
        {"expression": "object == null || object.spec.where != 'x:1'", "message": "not x"}]});
    policy(&cluster, "validating", "p", rule, json!({})).await;
    let (code, text) = message(&post(&cluster, CRONTABS, &place("d", "x")).await);
    assert!(code == 422 && text.ends_with("denied request: not x"), "{text}");
    let second = json!({"apiVersion": "stable.example.com/v2", "kind": "CronTab", "metadata": {"name": "e"}, "spec": {"where": "y:3"}});
    assert_eq!(post(&cluster, V2, &second).await.code, 201);
}

#[tokio::test]
async fn policies_know_the_types_of_custom_kinds() {
    let cluster = Cluster::start().await;
    let mut two = crontabs();
    // What is in one part of an object is not in another one.
    two["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"] =
        json!({"type": "object", "properties": {"state": {"type": "string"}}});
    define(&cluster, &two).await;
    let rule = |expression: &str| json!({"matchConstraints": {"resourceRules": rules("v1")}, "validations": [{"expression": expression}]});
    policy(
        &cluster,
        "validating",
        "right",
        rule("object == null || object.spec.replicas < 5 || (has(object.status) && object.status.state == 'x')"),
        json!({}),
    )
    .await;
    assert_eq!(post(&cluster, CRONTABS, &crontab("a", json!({"replicas": 2}))).await.code, 201);
    let (code, text) = message(&post(&cluster, CRONTABS, &crontab("b", json!({"replicas": 6}))).await);
    let denied = "crontabs.stable.example.com \"b\" is forbidden: ValidatingAdmissionPolicy 'right' with binding 'right' denied request: failed expression:";
    assert!(code == 422 && text.starts_with(denied), "{text}");
    for (name, expression, expected) in [
        ("field", "object.spec.replicsa > 1", "undefined field 'replicsa'"),
        ("other", "object.spec.state == 'x'", "undefined field 'state'"),
        ("operator", "object.spec.image > 1", "found no matching overload for '_>_' applied to '(string, int)'"),
    ] {
        make(&cluster, "validatingadmissionpolicies", name, rule(expression)).await;
        let path = format!("{GROUP}/validatingadmissionpolicies/{name}");
        let checked = until(&cluster, &path, |a| a.json()["status"]["observedGeneration"] == 1).await.json();
        let warning =
            checked["status"]["typeChecking"]["expressionWarnings"][0]["warning"].as_str().unwrap_or_default();
        assert!(warning.starts_with("stable.example.com/v1, Kind=CronTab: ERROR: <input>:1:"), "{checked}");
        assert!(warning.contains(expected), "{warning}");
    }
    let path = format!("{GROUP}/validatingadmissionpolicies/right");
    let right = until(&cluster, &path, |a| a.json()["status"]["observedGeneration"] == 1).await.json();
    assert_eq!(right["status"]["typeChecking"], json!({}), "{right}");
}

#[tokio::test]
async fn policies_change_custom_objects() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    let apply = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{metadata: Object.metadata{labels: {'team': 'x'}}, spec: Object.spec{replicas: object.spec.replicas + 1}}"}});
    let operations = json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
        "[JSONPatch{op: 'add', path: '/spec/image', value: 'i' + string(object.spec.replicas)}]"}});
    let mut written = rules("v1");
    written[0]["operations"] = json!(["CREATE", "UPDATE"]);
    let spec = json!({"reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": written},
        "matchConditions": [{"name": "replicas", "expression": "has(object.spec.replicas)"}],
        "mutations": [apply, operations]});
    policy(&cluster, "mutating", "m", spec, json!({})).await;
    let made = post(&cluster, CRONTABS, &crontab("a", json!({"replicas": 1}))).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let made = made.json();
    assert_eq!(made["spec"], json!({"cronSpec": "5 0 * * *", "replicas": 2, "image": "i2"}));
    assert_eq!(made["metadata"]["labels"], json!({"team": "x"}));
    let plain = post(&cluster, CRONTABS, &crontab("b", json!({"image": "x"}))).await.json();
    assert_eq!(plain["spec"]["image"], "x", "a condition leaves it out");
}

#[tokio::test]
async fn parameters_may_be_custom_objects() {
    let cluster = cluster().await;
    let conversion = Hook::raw(&cluster, &["127.0.0.1"], |review| (200, converted(review).to_string())).await;
    define(&cluster, &definition_with(&conversion, &cluster)).await;
    let mut place = crontab("limits", json!({"host": "only", "port": "1"}));
    place["metadata"]["labels"] = json!({"limits": "yes"});
    assert_eq!(post(&cluster, CRONTABS, &place).await.code, 201);
    let maps =
        json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    // They are seen in the version that the policy names, whatever they are stored in.
    let rule = || {
        json!({"paramKind": {"apiVersion": "stable.example.com/v2", "kind": "CronTab"},
            "matchConstraints": {"resourceRules": maps, "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
            "validations": [{"expression": "object.data.a == params.spec.where", "messageExpression": "'only ' + params.spec.where"}]})
    };
    let check = async |name: &str, param: Value| {
        policy(&cluster, "validating", name, rule(), json!({"paramRef": param})).await;
        let path = "/api/v1/namespaces/default/configmaps";
        let made = post(&cluster, path, &crate::support::configmap(name, "only:1")).await;
        assert_eq!(made.code, 201, "{name}: {}", made.text);
        let (code, text) = message(&post(&cluster, path, &crate::support::configmap("other", "x")).await);
        assert!(code == 422 && text.ends_with("denied request: only only:1"), "{name}: {text}");
    };
    check("named", json!({"name": "limits", "parameterNotFoundAction": "Deny"})).await;
    assert_eq!(
        cluster.rest("DELETE", &format!("{GROUP}/validatingadmissionpolicybindings/named"), &[], "").await.code,
        200
    );
    let selector = json!({"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Deny"});
    check("selected", selector).await;
}
