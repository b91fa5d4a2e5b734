//! What schemas do to fields: pruning, defaults, nulls, validation.

use super::*;

#[tokio::test]
async fn unknown_fields_are_pruned_and_named() {
    let cluster = Cluster::start().await;
    let spec = json!({"type": "object", "properties": {
        "known": {"type": "string"},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"closed": {"type": "object"}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        "port": {"x-kubernetes-int-or-string": true},
    }});
    define(&cluster, &definition("crontabs", "CronTab", spec)).await;
    let template = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "odd": 1}, "spec": {"x": 1}});
    let spec = json!({"known": "k", "nope": 1, "open": {"any": {"thing": 1}, "closed": {"gone": 1}},
        "map": {"k": {"a": 1, "b": 2}}, "template": template, "port": "http"});
    let strict = post(&cluster, &format!("{CRONTABS}?fieldValidation=Strict"), &crontab("a", spec.clone())).await;
    assert_eq!(strict.code, 400, "{}", strict.text);
    for field in ["spec.nope", "spec.open.closed.gone", "spec.map.k.b", "spec.template.metadata.odd"] {
        assert!(strict.text.contains(&format!("unknown field \\\"{field}\\\"")), "{field}: {}", strict.text);
    }
    let warned = post(&cluster, CRONTABS, &crontab("a", spec)).await;
    assert_eq!(warned.code, 201, "{}", warned.text);
    let warnings: Vec<&str> = warned.headers.get_all("warning").iter().filter_map(|w| w.to_str().ok()).collect();
    assert!(warnings.iter().any(|w| w.contains("unknown field \\\"spec.nope\\\"")), "{warnings:?}");
    let template = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"x": 1}});
    let kept = json!({"known": "k", "open": {"any": {"thing": 1}, "closed": {}}, "map": {"k": {"a": 1}}, "template": template, "port": "http"});
    assert_eq!(warned.json()["spec"], kept);
}

#[tokio::test]
async fn what_a_schema_says_is_kept_to() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    let refused = async |spec: Value, expected: &str| {
        let answer = post(&cluster, CRONTABS, &crontab("a", spec)).await;
        assert_eq!(answer.code, 422, "{}", answer.text);
        let message = answer.json()["message"].as_str().expect("a message").to_owned();
        assert_eq!(message, format!("CronTab.stable.example.com \"a\" is invalid: {expected}"));
    };
    refused(
        json!({"replicas": "many"}),
        "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
    )
    .await;
    refused(
        json!({"replicas": 11}),
        "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
    )
    .await;
    let made = post(&cluster, CRONTABS, &crontab("a", json!({"replicas": 5}))).await;
    assert_eq!(made.code, 201, "{}", made.text);
    // A schema that became narrower does not stand in the way of other changes.
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let narrow = r#"[{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/replicas/maximum", "value": 3}]"#;
    let narrowed = cluster.rest("PATCH", &path, &[("content-type", "application/json-patch+json")], narrow).await;
    assert_eq!(narrowed.code, 200, "{}", narrowed.text);
    let set = async |spec: Value| patch(&cluster, &format!("{CRONTABS}/a"), &json!({"spec": spec})).await;
    let mut too_many = set(json!({"replicas": 4})).await;
    while too_many.code == 200 {
        // The server takes the new schema in a moment.
        set(json!({"replicas": 5})).await;
        too_many = set(json!({"replicas": 4})).await;
    }
    assert!(too_many.text.contains("should be less than or equal to 3"), "{}", too_many.text);
    let other = set(json!({"image": "new"})).await;
    assert_eq!(other.code, 200, "{}", other.text);
}

#[tokio::test]
async fn defaults_and_nulls() {
    let cluster = Cluster::start().await;
    let spec = json!({"type": "object", "default": {}, "properties": {
        "size": {"type": "integer", "default": 3},
        "list": {"type": "array", "items": {"type": "object", "properties": {"mode": {"type": "string", "default": "rw"}}}},
        "maybe": {"type": "string", "nullable": true, "default": "d"},
        "plain": {"type": "string"},
    }});
    define(&cluster, &definition("crontabs", "CronTab", spec)).await;
    let bare = json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "a"}});
    let made = post(&cluster, CRONTABS, &bare).await.json();
    assert_eq!(made["spec"], json!({"size": 3, "maybe": "d"}));
    let given = json!({"size": null, "list": [{}, {"mode": "ro"}], "maybe": null, "plain": null});
    let made = post(&cluster, CRONTABS, &crontab("b", given)).await.json();
    assert_eq!(made["spec"], json!({"size": 3, "list": [{"mode": "rw"}, {"mode": "ro"}], "maybe": null}));
    // A default that comes later is seen in objects that were stored before.
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let add = r#"[{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/late", "value": {"type": "string", "default": "x"}}]"#;
    let added = cluster.rest("PATCH", &path, &[("content-type", "application/json-patch+json")], add).await;
    assert_eq!(added.code, 200, "{}", added.text);
    until(&cluster, &format!("{CRONTABS}/a"), |a| a.json()["spec"]["late"] == "x").await;
}

#[tokio::test]
async fn objects_must_say_what_they_are() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    let check = async |body: &str, query: &str, expected: (u16, &str)| {
        let got = cluster.rest("POST", &format!("{CRONTABS}{query}"), &[], body).await;
        let text = got.json()["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!((got.code, text.as_str()), expected, "{body}");
    };
    let bare = r#"{"apiVersion": "stable.example.com/v1", "metadata": {"name": "a"}}"#;
    let missing = format!("Object 'Kind' is missing in '{bare}'");
    let head = "the object provided is unrecognized (must be of type CronTab): ";
    check(bare, "", (400, &format!("{head}{missing} ({} ...)", &bare[..30]))).await;
    let ignored = format!("CronTab in version \"v1\" cannot be handled as a CronTab: {missing}");
    check(bare, "?fieldValidation=Ignore", (400, &ignored)).await;
    let expected = "does not match the expected API version (stable.example.com/v1)";
    let without = format!("the API version in the data () {expected}");
    check(r#"{"kind": "CronTab", "metadata": {"name": "a"}}"#, "", (400, &without)).await;
    let other = format!("the API version in the data (stable.example.com/v2) {expected}");
    check(r#"{"kind": "CronTab", "apiVersion": "stable.example.com/v2", "metadata": {}}"#, "", (400, &other)).await;
    let else_ = "Else.stable.example.com \"a\" is invalid: kind: Invalid value: \"Else\": must be CronTab";
    let body = r#"{"kind": "Else", "apiVersion": "stable.example.com/v1", "metadata": {"name": "a"}}"#;
    check(body, "", (422, else_)).await;
    let made = cluster.rest("POST", CRONTABS, &[], &crontab("a", json!({"replicas": 1})).to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let mut again = made.json();
    again.as_object_mut().expect("an object").remove("kind");
    let put = cluster.rest("PUT", &format!("{CRONTABS}/a"), &[], &again.to_string()).await;
    assert!(put.code == 400 && put.text.contains("Object 'Kind' is missing in"), "{}", put.text);
    let merge = ("content-type", "application/merge-patch+json");
    let patched = cluster.rest("PATCH", &format!("{CRONTABS}/a"), &[merge], r#"{"kind":null}"#).await;
    assert!(patched.code == 422 && patched.text.contains("Object 'Kind' is missing in"), "{}", patched.text);
    let apply = ("content-type", "application/apply-patch+yaml");
    let path = format!("{CRONTABS}/b?fieldManager=m");
    let applied = cluster.rest("PATCH", &path, &[apply], r#"{"apiVersion":"stable.example.com/v1"}"#).await;
    assert!(applied.code == 400 && applied.text.contains("invalid object type: "), "{}", applied.text);
    // The kinds that the server brings are known by their path.
    let map = r#"{"metadata":{"name":"m"}}"#;
    assert_eq!(cluster.rest("POST", "/api/v1/namespaces/default/configmaps", &[], map).await.code, 201);
}
