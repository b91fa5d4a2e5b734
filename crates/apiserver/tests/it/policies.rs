//! Admission policies: rules and changes that users write as expressions.

use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};

use crate::support::{Answer, Cluster, configmap};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    cluster.rest("POST", path, &[("user-agent", "tester/1")], &body.to_string()).await
}

/// Creates an object of the group; the server knows it afterwards.
async fn make(cluster: &Cluster, resource: &str, name: &str, spec: Value) {
    let path = format!("{GROUP}/{resource}");
    let body = json!({"metadata": {"name": name}, "spec": spec});
    let made = post(cluster, &path, &body).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(cluster.rest("GET", &path, &[], "").await.code, 200);
}

/// A policy about config maps and deployments with `change` on top, bound with these actions.
async fn validating(cluster: &Cluster, name: &str, change: Value, binding: Value) {
    let mut spec = json!({"matchConstraints": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "resourceRules": [
            {"operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]},
            {"operations": ["CREATE", "UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]}});
    for (key, value) in change.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    make(cluster, "validatingadmissionpolicies", name, spec).await;
    let mut bound = json!({"policyName": name});
    for (key, value) in binding.as_object().into_iter().flatten() {
        bound[key] = value.clone();
    }
    make(cluster, "validatingadmissionpolicybindings", name, bound).await;
}

async fn mutating(cluster: &Cluster, name: &str, change: Value) {
    let mut spec = json!({"reinvocationPolicy": "Never", "matchConstraints": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "resourceRules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"],
            "resources": ["deployments"]}]}});
    for (key, value) in change.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    make(cluster, "mutatingadmissionpolicies", name, spec).await;
    make(cluster, "mutatingadmissionpolicybindings", name, json!({"policyName": name})).await;
}

fn deployment(name: &str, replicas: u32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}})
}

fn message(answer: &Answer) -> (u16, String) {
    (answer.code, answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

fn warnings(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("warning").iter().map(|w| w.to_str().expect("text")).collect()
}

#[tokio::test]
async fn a_policy_refuses_with_its_message_and_reason() {
    let cluster = Cluster::start().await;
    let rules = json!({
        "matchConditions": [{"name": "deployments", "expression": "request.resource.resource == 'deployments'"}],
        "variables": [{"name": "most", "expression": "namespaceObject.metadata.name == 'default' ? 3 : 5"}],
        "validations": [
            {"expression": "object.spec.replicas <= variables.most", "reason": "Forbidden",
                "messageExpression": "'at most ' + string(variables.most) + ' replicas, not ' + string(object.spec.replicas)"},
            {"expression": "object.metadata.name != 'bad'", "message": " no bad names "},
            {"expression": "oldObject == null || oldObject.spec.replicas >= object.spec.replicas"}],
    });
    validating(&cluster, "replicas", rules, json!({"validationActions": ["Deny"]})).await;
    assert_eq!(post(&cluster, MAPS, &configmap("bad", "x")).await.code, 201, "a condition leaves config maps out");
    assert_eq!(post(&cluster, DEPLOYMENTS, &deployment("ok", 2)).await.code, 201);
    let denied = |name: &str, why: &str| {
        format!(
            "deployments.apps \"{name}\" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'replicas' denied request: {why}"
        )
    };
    let refused = post(&cluster, DEPLOYMENTS, &deployment("big", 4)).await;
    assert_eq!(message(&refused), (403, denied("big", "at most 3 replicas, not 4")));
    let refused = post(&cluster, DEPLOYMENTS, &deployment("bad", 1)).await;
    assert_eq!(message(&refused), (422, denied("bad", "no bad names")));
    let body = refused.json();
    assert_eq!((body["reason"].as_str(), body["details"]["kind"].as_str()), (Some("Invalid"), Some("deployments")));
    let grow = cluster.rest("PATCH", &format!("{DEPLOYMENTS}/ok"), &[MERGE], r#"{"spec":{"replicas":3}}"#).await;
    let rule = "oldObject == null || oldObject.spec.replicas >= object.spec.replicas";
    assert_eq!(message(&grow), (422, denied("ok", &format!("failed expression: {rule}"))));
    let metrics = cluster.rest("GET", "/metrics", &[], "").await.text;
    let expected = "apiserver_validating_admission_policy_check_total{enforcement_action=\"deny\",error_type=\"no_error\",policy=\"replicas\",policy_binding=\"replicas\"} 3";
    assert!(metrics.lines().any(|line| line == expected), "{metrics}");
}

#[tokio::test]
async fn violations_can_be_warned_of_and_audited() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("audit.log");
    let path = log.clone();
    let cluster = Cluster::with(Builder::default().configure(move |config| config.audit_log_path = Some(path))).await;
    let rules = json!({
        "validations": [{"expression": "false", "message": "never"}],
        "auditAnnotations": [{"key": "who", "valueExpression": "'by ' + request.userInfo.username"},
            {"key": "none", "valueExpression": "null"}],
    });
    validating(&cluster, "w", rules, json!({"validationActions": ["Warn", "Audit"]})).await;
    let made = post(&cluster, MAPS, &configmap("m", "x")).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(
        warnings(&made),
        ["299 - \"Validation failed for ValidatingAdmissionPolicy 'w' with binding 'w': never\""]
    );
    let text = std::fs::read_to_string(&log).expect("written");
    let event: Value = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .find(|event| event["objectRef"]["resource"] == "configmaps")
        .expect("noted");
    assert_eq!(event["annotations"]["w/who"], "by admin");
    assert_eq!(event["requestURI"], MAPS);
    let noted = event["annotations"]["validation.policy.admission.k8s.io/validation_failure"].as_str().expect("noted");
    let expected =
        r#"[{"message":"never","policy":"w","binding":"w","expressionIndex":0,"validationActions":["Warn","Audit"]}]"#;
    assert_eq!(noted, expected);
}

#[tokio::test]
async fn errors_count_as_the_failure_policy_says() {
    let cluster = Cluster::start().await;
    let broken = |policy: &str| {
        json!({"failurePolicy": policy, "validations": [{"expression": "object.data.missing == 'x'"}],
            "matchConditions": [{"name": "mine", "expression": format!("object.metadata.name == '{}'", policy.to_lowercase())}]})
    };
    for policy in ["Fail", "Ignore"] {
        validating(&cluster, &policy.to_lowercase(), broken(policy), json!({"validationActions": ["Deny"]})).await;
    }
    assert_eq!(post(&cluster, MAPS, &configmap("ignore", "x")).await.code, 201);
    assert_eq!(post(&cluster, MAPS, &configmap("other", "x")).await.code, 201);
    let (code, text) = message(&post(&cluster, MAPS, &configmap("fail", "x")).await);
    let expected = "denied request: expression 'object.data.missing == 'x'' resulted in error: no such key: missing";
    assert!(code == 422 && text.ends_with(expected), "{text}");
    let refused = cluster.rest("DELETE", &format!("{MAPS}/ignore"), &[], "").await;
    let (code, text) = message(&refused);
    assert!(code == 422 && text.contains("expression 'object.metadata.name == 'fail'' resulted in error"), "{text}");
}

#[tokio::test]
async fn parameters_come_from_objects() {
    let cluster = Cluster::start().await;
    let limits = |name: &str, most: &str| json!({"metadata": {"name": name, "labels": {"limits": "yes"}}, "data": {"most": most}});
    assert_eq!(post(&cluster, MAPS, &limits("one", "2")).await.code, 201);
    let rules = || {
        let rule = json!({"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]});
        json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "object.spec.replicas <= int(params.data.most)",
                "messageExpression": "'most is ' + params.data.most"}]})
    };
    let by_name = json!({"name": "one", "parameterNotFoundAction": "Deny"});
    validating(&cluster, "named", rules(), json!({"validationActions": ["Deny"], "paramRef": by_name})).await;
    assert_eq!(post(&cluster, DEPLOYMENTS, &deployment("a", 2)).await.code, 201);
    let (code, text) = message(&post(&cluster, DEPLOYMENTS, &deployment("b", 3)).await);
    assert!(code == 422 && text.ends_with("denied request: most is 2"), "{text}");
    let missing = json!({"name": "none", "namespace": "default", "parameterNotFoundAction": "Allow"});
    validating(&cluster, "absent", rules(), json!({"validationActions": ["Deny"], "paramRef": missing})).await;
    assert_eq!(post(&cluster, DEPLOYMENTS, &deployment("c", 2)).await.code, 201);
    let selected = json!({"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Deny"});
    validating(&cluster, "selected", rules(), json!({"validationActions": ["Deny"], "paramRef": selected})).await;
    assert_eq!(post(&cluster, MAPS, &limits("two", "1")).await.code, 201);
    assert_eq!(cluster.rest("GET", MAPS, &[], "").await.code, 200);
    let (code, text) = message(&post(&cluster, DEPLOYMENTS, &deployment("d", 2)).await);
    assert!(code == 422 && text.ends_with("'selected' denied request: most is 1"), "{text}");
    for name in ["one", "two"] {
        assert_eq!(cluster.rest("DELETE", &format!("{MAPS}/{name}"), &[], "").await.code, 200);
    }
    assert_eq!(cluster.rest("GET", MAPS, &[], "").await.code, 200);
    let (_, text) = message(&post(&cluster, DEPLOYMENTS, &deployment("e", 1)).await);
    let why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert!(text.ends_with(why), "{text}");
}

#[tokio::test]
async fn the_authorizer_is_asked_for_the_requests_user() {
    let cluster = Cluster::start().await;
    let rules = json!({"validations": [
        {"expression": "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()"},
        {"expression": "authorizer.requestResource.check('delete').allowed()"}]});
    validating(&cluster, "rights", rules, json!({"validationActions": ["Deny"]})).await;
    assert_eq!(post(&cluster, MAPS, &configmap("m", "x")).await.code, 201, "an administrator may");
    let role =
        json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    assert_eq!(post(&cluster, &format!("{rbac}/roles"), &role).await.code, 201);
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "alice"}]});
    assert_eq!(post(&cluster, &format!("{rbac}/rolebindings"), &binding).await.code, 201);
    let maps = cluster.client("alice", &[]).dynamic(gantry_client::ResourceId::new("", "v1", "configmaps"), "default");
    let refused = async || {
        let made = maps.create("", "", &configmap("n", "x"), &gantry_client::WriteParams::default()).await;
        made.expect_err("refused").to_string()
    };
    let mut text = refused().await;
    while text.contains("cannot create") {
        tokio::task::yield_now().await;
        text = refused().await;
    }
    assert!(text.contains("failed expression: authorizer.group('').resource('secrets')"), "{text}");
}

#[tokio::test]
async fn expressions_are_compiled_and_checked_against_types() {
    let cluster = Cluster::start().await;
    let path = format!("{GROUP}/validatingadmissionpolicies");
    let policy = |expression: &str| {
        let rule = json!({"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]});
        json!({"metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": expression}]}})
    };
    let refused = post(&cluster, &path, &policy("object.spec.replicas <")).await;
    let (code, text) = message(&refused);
    let expected = "spec.validations[0].expression: Invalid value: \"object.spec.replicas <\": compilation failed: ERROR: <input>:1:23: Syntax error";
    assert!(code == 422 && text.contains(expected), "{text}");
    let made = post(&cluster, &path, &policy("object.spec.replicsa > 1")).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let checked = loop {
        let now = cluster.rest("GET", &format!("{path}/p"), &[], "").await.json();
        if now["status"]["observedGeneration"] == 1 {
            break now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    let warning = &checked["status"]["typeChecking"]["expressionWarnings"][0];
    assert_eq!(warning["fieldRef"], "spec.validations[0].expression");
    let text = warning["warning"].as_str().expect("text");
    assert!(text.starts_with("apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replicsa'"), "{text}");
    let managers = checked["metadata"]["managedFields"].as_array().expect("a list");
    assert!(managers.iter().any(|m| m["manager"] == "validatingadmissionpolicy-status"), "{checked}");
}

#[tokio::test]
async fn whoever_names_parameters_must_be_able_to_read_them() {
    let cluster = Cluster::start().await;
    let role = json!({"metadata": {"name": "r"}, "rules": [
        {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]}]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    assert_eq!(post(&cluster, &format!("{rbac}/clusterroles"), &role).await.code, 201);
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "alice"}]});
    assert_eq!(post(&cluster, &format!("{rbac}/clusterrolebindings"), &binding).await.code, 201);
    let id = gantry_client::ResourceId::new("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies");
    let policies = cluster.client("alice", &[]).dynamic(id, "");
    let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    let policy = json!({"metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": [rule]},
        "paramKind": {"apiVersion": "v1", "kind": "Secret"}, "validations": [{"expression": "true"}]}});
    let refused = async || {
        let made = policies.create("", "", &policy, &gantry_client::WriteParams::default()).await;
        made.expect_err("refused").to_string()
    };
    let mut text = refused().await;
    while text.contains("cannot create") {
        tokio::task::yield_now().await;
        text = refused().await;
    }
    let why = "must have \"get\" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)";
    assert!(
        text.contains("spec.paramKind: Forbidden: user &{alice  [system:authenticated] map[") && text.contains(why),
        "{text}"
    );
}

#[tokio::test]
async fn a_policy_changes_objects_by_apply_and_by_patch() {
    let cluster = Cluster::start().await;
    let apply = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{metadata: Object.metadata{labels: {'team': 'x'}}, spec: Object.spec{replicas: object.spec.replicas + 1}}"}});
    let patch = json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
        "[JSONPatch{op: 'test', path: '/spec/replicas', value: 2}, JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a.b/c'), value: string(object.spec.replicas)}]"}});
    mutating(&cluster, "m", json!({"mutations": [apply, patch]})).await;
    let made = post(&cluster, DEPLOYMENTS, &deployment("a", 1)).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let made = made.json();
    assert_eq!(
        (made["spec"]["replicas"].clone(), made["metadata"]["labels"].clone()),
        (json!(2), json!({"team": "x", "a.b/c": "2"}))
    );
    let owned = &made["metadata"]["managedFields"][0]["fieldsV1"];
    assert!(owned["f:metadata"].get("f:labels").is_none(), "{owned}");
    let other = post(&cluster, DEPLOYMENTS, &deployment("b", 5)).await.json();
    assert_eq!(other["metadata"]["labels"], json!({"team": "x"}), "a test that fails leaves the object alone");
}

#[tokio::test]
async fn policies_are_asked_again_after_a_later_change() {
    let cluster = Cluster::start().await;
    let label = |key: &str, value: &str| {
        json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
            format!("Object{{metadata: Object.metadata{{labels: {{'{key}': {value}}}}}}}")}}])
    };
    let seen = "string(has(object.metadata.labels) && 'late' in object.metadata.labels)";
    mutating(&cluster, "a-again", json!({"reinvocationPolicy": "IfNeeded", "mutations": label("again", seen)})).await;
    mutating(&cluster, "b-once", json!({"mutations": label("once", seen)})).await;
    mutating(&cluster, "c-late", json!({"mutations": label("late", "'yes'")})).await;
    let made = post(&cluster, DEPLOYMENTS, &deployment("a", 1)).await;
    assert_eq!(
        made.json()["metadata"]["labels"],
        json!({"again": "true", "once": "false", "late": "yes"}),
        "{}",
        made.text
    );
}

#[tokio::test]
async fn a_change_that_fails_refuses_the_request() {
    let cluster = Cluster::start().await;
    let replace = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'c', args: ['x']}]}}}}"}});
    mutating(&cluster, "m", json!({"mutations": [replace]})).await;
    let (code, text) = message(&post(&cluster, DEPLOYMENTS, &deployment("a", 1)).await);
    let expected = "policy 'm' with binding 'm' denied request: error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.template.spec.containers[0].args";
    assert_eq!((code, text.as_str()), (403, expected));
}

#[tokio::test]
async fn plugins_of_upstream_can_be_named() {
    let with = async |enable: &str, disable: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let (enable, disable) = (enable.to_owned(), disable.to_owned());
        let builder = Builder::default().configure(move |config| {
            config.enable_admission_plugins = vec![enable];
            config.disable_admission_plugins = vec![disable];
        });
        builder.start(folder.path()).await.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(with("NamespaceExists", "MutatingAdmissionWebhook").await, Ok(()));
    assert_eq!(with("ValidatingAdmissionPolicy", "AlwaysPullImages").await, Ok(()));
    let silent = with("ImagePolicyWebhook", "AlwaysDeny").await;
    assert!(silent.is_err_and(|e| e.contains("plugin ImagePolicyWebhook: no config specified")));
    let absent = with("NodeDeclaredFeatureValidator", "AlwaysDeny").await;
    assert!(absent.is_err_and(|e| e.contains("does not have the plugin")), "what it should guard, nobody would");
    assert!(with("Nonsense", "AlwaysAdmit").await.is_err_and(|e| e.contains("plugin \"Nonsense\" is unknown")));
}

/// Nothing of what is deleted can be changed, so that not even a policy that cannot be used holds up a deletion.
#[tokio::test]
async fn deletions_are_no_matter_of_mutating_policies() {
    let cluster = Cluster::start().await;
    assert_eq!(post(&cluster, DEPLOYMENTS, &deployment("d", 1)).await.code, 201);
    let rule = json!({"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]});
    let replace =
        json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/x'}]"}});
    let spec = json!({"reinvocationPolicy": "Never", "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [rule]}, "mutations": [replace]});
    make(&cluster, "mutatingadmissionpolicies", "m", spec).await;
    let missing = json!({"name": "none", "namespace": "default", "parameterNotFoundAction": "Deny"});
    make(&cluster, "mutatingadmissionpolicybindings", "m", json!({"policyName": "m", "paramRef": missing})).await;
    let refused = post(&cluster, DEPLOYMENTS, &deployment("e", 1)).await;
    let why = "policy 'm' with binding 'm' denied request: failed to configure binding: no params found";
    assert!(message(&refused).1.contains(why), "{}", refused.text);
    assert_eq!(cluster.rest("DELETE", &format!("{DEPLOYMENTS}/d"), &[], "").await.code, 200);
}
