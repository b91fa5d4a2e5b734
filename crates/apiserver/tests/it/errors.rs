//! Every error text of the contract, section 1.7.

use gantry_client::ListParams;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::support::{Cluster, configmap, pod};

struct Case<'a> {
    method: &'a str,
    path: &'a str,
    body: Value,
    code: u16,
    reason: &'a str,
    message: &'a str,
}

async fn check(cluster: &Cluster, case: Case<'_>) -> Value {
    let content = if case.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if case.body.is_null() { String::new() } else { case.body.to_string() };
    let answer = cluster.rest(case.method, case.path, &[("content-type", content)], &body).await;
    let status = answer.json();
    let got =
        (answer.code, status["reason"].as_str().unwrap_or_default(), status["message"].as_str().unwrap_or_default());
    assert_eq!(got, (case.code, case.reason, case.message), "{} {}", case.method, case.path);
    assert_eq!((status["kind"].as_str(), status["status"].as_str()), (Some("Status"), Some("Failure")));
    status
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn reads() {
    let cluster = Cluster::start().await;
    let get = |path, code, reason, message| Case { method: "GET", path, body: Value::Null, code, reason, message };
    let status =
        check(&cluster, get("/api/v1/namespaces/default/pods/x", 404, "NotFound", "pods \"x\" not found")).await;
    assert_eq!(status["details"], json!({"name": "x", "kind": "pods"}));
    let missing = "the server could not find the requested resource";
    check(&cluster, get("/apis/apps/v1/namespaces/default/pods", 404, "NotFound", missing)).await;
    check(
        &cluster,
        get("/api/v1/pods?fieldSelector=spec.foo%3Dx", 400, "BadRequest", "field label not supported: spec.foo"),
    )
    .await;
    let broken = "invalid continue token: continue key is not valid: illegal base64 data at input byte 0";
    check(&cluster, get("/api/v1/pods?limit=1&continue=x", 400, "BadRequest", broken)).await;
    let message = "strconv.ParseInt: parsing \"x\": invalid syntax";
    check(&cluster, get("/api/v1/pods?timeoutSeconds=x", 400, "BadRequest", message)).await;
    let unknown = cluster.rest("GET", "/apis/none.example/v1/things", &[], "").await;
    assert_eq!((unknown.code, unknown.text.as_str()), (404, "404 page not found\n"));
    let bad = cluster.rest("GET", "/api/v1/namespaces/..%2f..%2fsecrets/pods", &[], "").await;
    assert_eq!(bad.code, 400);
    let html = cluster.rest("GET", MAPS, &[("accept", "text/html")], "").await;
    assert_eq!((html.code, html.json()["reason"].as_str()), (406, Some("NotAcceptable")));
}

#[tokio::test]
async fn creates() {
    let cluster = Cluster::start().await;
    let post = |path, body, code, reason, message| Case { method: "POST", path, body, code, reason, message };
    cluster.rest("POST", MAPS, &[], &configmap("t1", "1").to_string()).await;
    check(&cluster, post(MAPS, configmap("t1", "1"), 409, "AlreadyExists", "configmaps \"t1\" already exists")).await;
    let mut versioned = configmap("t2", "1");
    versioned["metadata"]["resourceVersion"] = "7".into();
    check(&cluster, post(MAPS, versioned, 500, "", "resourceVersion should not be set on objects to be created")).await;
    check(
        &cluster,
        post(
            "/api/v1/namespaces/none/configmaps",
            configmap("t", "1"),
            404,
            "NotFound",
            "namespaces \"none\" not found",
        ),
    )
    .await;
    let mut elsewhere = configmap("t", "1");
    elsewhere["metadata"]["namespace"] = "other".into();
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    check(&cluster, post(MAPS, elsewhere, 400, "BadRequest", message)).await;
    let status = check(
        &cluster,
        post(
            MAPS,
            json!({"metadata": {}}),
            422,
            "Invalid",
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
    )
    .await;
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueRequired");
    let strict = format!("{MAPS}?fieldValidation=Strict");
    let mut unknown = configmap("t", "1");
    unknown["foo"] = 1.into();
    let answer = cluster.rest("POST", &strict, &[], &unknown.to_string()).await.json();
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with(
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"foo\""
        ),
        "{message}"
    );
    let warned = cluster.rest("POST", MAPS, &[], &unknown.to_string()).await;
    assert_eq!(warned.code, 201);
    let warning = warned.headers["warning"].to_str().expect("text");
    assert!(warning.starts_with("299 - \"unknown field \\\"foo\\\""), "{warning}");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    let answer = cluster.rest("POST", MAPS, &[], &secret.to_string()).await.json();
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("Secret in version \"v1\" cannot be handled as a ConfigMap: "), "{message}");
}

#[tokio::test]
async fn the_core_group_may_have_a_slash_before_its_version() {
    let cluster = Cluster::start().await;
    let given = json!({"apiVersion": "/v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"a": "1"}});
    let one = format!("{MAPS}/s");
    let ask = async |method: &str, path: &str, content: &str, body: &str| {
        let answer = cluster.rest(method, path, &[("content-type", content)], body).await;
        assert!(answer.code < 300, "{method} {content}: {}", answer.text);
        assert_eq!(answer.json()["apiVersion"], "v1", "{method} {content}");
    };
    ask("POST", MAPS, "application/json", &given.to_string()).await;
    ask("PUT", &one, "application/json", &given.to_string()).await;
    ask("PATCH", &one, "application/merge-patch+json", &given.to_string()).await;
    ask("PATCH", &format!("{one}?fieldManager=m&force=true"), "application/apply-patch+yaml", &given.to_string()).await;
    ask(
        "PATCH",
        &format!("{MAPS}/t?fieldManager=m"),
        "application/apply-patch+yaml",
        &given.to_string().replace("\"s\"", "\"t\""),
    )
    .await;
}

#[tokio::test]
async fn bodies_that_cannot_be_decoded() {
    let cluster = Cluster::start().await;
    let check = async |body: &str, expected: &str| {
        let answer = cluster.rest("POST", MAPS, &[], body).await;
        let status = answer.json();
        let message = status["message"].as_str().unwrap_or_default();
        assert_eq!((answer.code, status["reason"].as_str()), (400, Some("BadRequest")), "{body}");
        assert!(message.starts_with(expected), "{message}");
    };
    check(
        r#"{"data":{"a":1}}"#,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into",
    )
    .await;
    let unrecognized = "the object provided is unrecognized (must be of type ConfigMap): ";
    check(r#"{"apiVersion":"a/b/c"}"#, &format!("{unrecognized}unexpected GroupVersion string: a/b/c (")).await;
    let unrecognized = &format!("{unrecognized}couldn't get version/kind; ");
    check(r#"{"data""#, unrecognized).await;
    let answer = cluster.rest("POST", MAPS, &[], &format!("[{}", "1,".repeat(50))).await.json();
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(message.ends_with("(5b312c312c312c312c312c312c312c312c312c312c312c312c312c312c31 ...)"), "{message}");
    cluster.rest("POST", MAPS, &[], &configmap("t1", "1").to_string()).await;
    let merge = ("content-type", "application/merge-patch+json");
    let refused = cluster.rest("PATCH", &format!("{MAPS}/t1"), &[merge], r#"{"data":"x"}"#).await;
    assert_eq!((refused.code, &refused.json()["details"]["causes"][0]["field"]), (422, &json!("patch")));
    let forced = cluster.rest("PATCH", &format!("{MAPS}/t1?force=true"), &[merge], "{}").await;
    assert_eq!((forced.code, &forced.json()["details"]["causes"][0]["field"]), (422, &json!("force")));
}

#[tokio::test]
async fn bodies_that_are_no_objects() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", MAPS, &[], &configmap("t1", "1").to_string()).await;
    let one = format!("{MAPS}/t1");
    let check = async |method: &str, path: &str, content: &str, body: &str, code: u16, expected: &str| {
        let content = format!("application/{content}");
        let answer = cluster.rest(method, path, &[("content-type", &content)], body).await;
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!((answer.code, message.as_str()), (code, expected), "{method} {content} {body}");
    };
    // Null is an object of which nothing is known.
    let nameless = "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required";
    check("POST", MAPS, "json", "null", 422, nameless).await;
    let undeterminable = "the name of the object (t1 based on URL) was undeterminable: name must be provided";
    check("PUT", &one, "json", "null", 400, undeterminable).await;
    let list = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: \
        json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
        Kind string \"json:\\\"kind,omitempty\\\"\" } (5b5d)";
    check("POST", MAPS, "json", "[]", 400, list).await;
    check("PUT", &one, "json", "[]", 400, list).await;
    check("PATCH", &one, "strategic-merge-patch+json", "null", 200, "").await;
    check("PATCH", &one, "json-patch+json", "null", 200, "").await;
    check("PATCH", &one, "merge-patch+json", "null", 400, "Invalid JSON Patch").await;
    let no_map = "json: cannot unmarshal array into Go value of type map[string]interface {}";
    check("PATCH", &one, "strategic-merge-patch+json", "[]", 400, no_map).await;
    check("PATCH", &one, "merge-patch+json", "[]", 400, &format!("error decoding patch: {no_map}")).await;
}

#[tokio::test]
async fn a_head_is_authorised_as_a_get_and_not_served() {
    let cluster = Cluster::start().await;
    let one = format!("{MAPS}/t1");
    for path in [MAPS, one.as_str(), "/api/v1/namespaces/default/pods/p/log"] {
        assert_eq!(cluster.rest("HEAD", path, &[], "").await.code, 405, "{path}");
        let refused = cluster.rest("HEAD", path, &[("impersonate-user", "nobody")], "").await;
        assert_eq!(refused.code, 403, "{path}");
    }
}

/// Upstream authorises before any handler reads what is asked for.
#[tokio::test]
async fn what_cannot_be_read_is_said_to_those_who_may_ask() {
    let cluster = Cluster::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "t1"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["t1"], "verbs": ["list", "watch"]}]});
    let binding = json!({"metadata": {"name": "t1"}, "subjects": [{"kind": "User", "name": "eve"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "t1"}});
    for (resource, object) in [("roles", role), ("rolebindings", binding)] {
        let made = cluster.rest("POST", &format!("{rbac}/{resource}"), &[], &object.to_string()).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    let check = async |method: &str, query: &str, accept: &str, admins: u16, eves: u16| {
        let path = format!("{MAPS}?timeoutSeconds=1{query}");
        let accept = ("accept", accept);
        let codes = (
            cluster.rest(method, &path, &[accept], "").await.code,
            cluster.rest(method, &path, &[accept, ("impersonate-user", "eve")], "").await.code,
        );
        assert_eq!(codes, (admins, eves), "{method} {query} {}", accept.1);
    };
    let (json, one) = ("application/json", "&fieldSelector=metadata.name%3Dt1");
    check("GET", "&labelSelector=!!", json, 400, 403).await;
    check("GET", "&fieldSelector=a%3D%3D%3Db", json, 400, 403).await;
    check("GET", "&limit=x", json, 400, 403).await;
    check("GET", "&sendInitialEvents=true", json, 422, 403).await;
    check("GET", "", "text/html", 406, 403).await;
    check("GET", "&watch=true&labelSelector=!!", json, 400, 403).await;
    check("GET", "&watch=true", "application/yaml", 406, 403).await;
    check("DELETE", "&labelSelector=!!", json, 400, 403).await;
    // Who may see one object may select it, and is told of what cannot be read otherwise only where upstream sees the name.
    check("GET", one, json, 200, 200).await;
    check("GET", one, "text/html", 406, 406).await;
    check("GET", &format!("{one}&watch=true"), json, 200, 200).await;
    check("GET", &format!("{one},data%3Dx"), json, 400, 400).await;
    check("GET", &format!("{one}&limit=x"), json, 400, 403).await;
    check("GET", &format!("{one}&labelSelector=!!"), json, 400, 403).await;
    check("GET", &format!("{one}x"), json, 200, 403).await;
    let log = "/api/v1/namespaces/default/pods/p/log?tailLines=x";
    assert_eq!(cluster.rest("GET", log, &[], "").await.code, 400);
    assert_eq!(cluster.rest("GET", log, &[("impersonate-user", "eve")], "").await.code, 403);
    let unreadable = ListParams { label_selector: "!!".to_owned(), ..ListParams::default() };
    let maps = cluster.client("eve", &[]).namespaced::<ConfigMap>("default");
    assert!(maps.list(&unreadable).await.expect_err("unreadable").is_forbidden());
    assert!(maps.watch(&unreadable, false).await.err().is_some_and(|error| error.is_forbidden()));
}

#[tokio::test]
async fn updates() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", MAPS, &[], &configmap("t1", "1").to_string()).await;
    let one = "/api/v1/namespaces/default/configmaps/t1";
    let put = |body, code, reason, message| Case { method: "PUT", path: one, body, code, reason, message };
    let mut stale = configmap("t1", "2");
    stale["metadata"]["resourceVersion"] = "1".into();
    let message = "Operation cannot be fulfilled on configmaps \"t1\": the object has been modified; please apply your changes to the latest version and try again";
    check(&cluster, put(stale, 409, "Conflict", message)).await;
    let message = "the name of the object (t2) does not match the name on the URL (t1)";
    check(&cluster, put(configmap("t2", "1"), 400, "BadRequest", message)).await;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    cluster.rest("POST", lease, &[], &json!({"metadata": {"name": "l"}}).to_string()).await;
    let case = Case {
        method: "PUT",
        path: "/apis/coordination.k8s.io/v1/namespaces/default/leases/l",
        body: json!({"metadata": {"name": "l"}}),
        code: 422,
        reason: "Invalid",
        message: "Lease.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update",
    };
    check(&cluster, case).await;
    let case = Case {
        method: "POST",
        path: "/api/v1/namespaces/default/configmaps/t1",
        body: configmap("t1", "1"),
        code: 405,
        reason: "MethodNotAllowed",
        message: "the server does not allow this method on the requested resource",
    };
    check(&cluster, case).await;
    let test = cluster
        .rest(
            "PATCH",
            one,
            &[("content-type", "application/json-patch+json")],
            r#"[{"op":"test","path":"/data/a","value":"9"}]"#,
        )
        .await;
    assert_eq!((test.code, test.json()["reason"].as_str()), (422, Some("Invalid")));
    let unknown = cluster.rest("PATCH", one, &[("content-type", "text/plain")], "{}").await;
    assert_eq!((unknown.code, unknown.json()["reason"].as_str()), (415, Some("UnsupportedMediaType")));
    let large = format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(4 << 20));
    let large = cluster.rest("PATCH", one, &[("content-type", "application/merge-patch+json")], &large).await;
    assert_eq!((large.code, large.json()["reason"].as_str()), (413, Some("RequestEntityTooLarge")));
}

#[tokio::test]
async fn deletes() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    cluster.rest("POST", "/api/v1/namespaces/default/pods", &[], &pod("p").to_string()).await;
    let delete = |path, body, code, reason, message| Case { method: "DELETE", path, body, code, reason, message };
    let uid = json!({"preconditions": {"uid": "a"}});
    let answer = cluster.rest("GET", "/api/v1/namespaces/default/pods/p", &[], "").await.json();
    let stored = answer["metadata"]["uid"].as_str().expect("a uid");
    let message = format!(
        "Operation cannot be fulfilled on Pod \"p\": the UID in the precondition (a) does not match the UID in record ({stored}). The object might have been deleted and then recreated"
    );
    check(&cluster, delete("/api/v1/namespaces/default/pods/p", uid, 409, "Conflict", &message)).await;
    let message = "namespaces \"default\" is forbidden: this namespace may not be deleted";
    check(&cluster, delete("/api/v1/namespaces/default", Value::Null, 403, "Forbidden", message)).await;
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
    let refused = cluster.rest("DELETE", "/api/v1/namespaces/default/pods/p", &[], &both.to_string()).await;
    assert_eq!(refused.code, 422);
    let gone = cluster.rest("DELETE", "/api/v1/namespaces/default/pods/p", &[], "").await;
    let last = gone.json();
    assert_eq!((gone.code, last["kind"].as_str(), last["metadata"]["uid"].as_str()), (200, Some("Pod"), Some(stored)));
    assert_eq!(last["metadata"]["deletionGracePeriodSeconds"], 0, "{last}");
    let made = cluster.rest("POST", MAPS, &[], &configmap("t1", "1").to_string()).await.json();
    let gone = cluster.rest("DELETE", &format!("{MAPS}/t1"), &[], "").await;
    // No code is said in it.
    let details = json!({"name": "t1", "kind": "configmaps", "uid": made["metadata"]["uid"]});
    let success =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    assert_eq!((gone.code, gone.json()), (200, success));
    cluster.rest("POST", "/api/v1/namespaces", &[], &json!({"metadata": {"name": "n"}}).to_string()).await;
    let dying = cluster.rest("DELETE", "/api/v1/namespaces/n", &[], "").await.json();
    assert_eq!(dying["status"]["phase"], "Terminating");
    let answer = cluster.rest("POST", "/api/v1/namespaces/n/configmaps", &[], &configmap("c", "1").to_string()).await;
    let status = answer.json();
    assert_eq!((answer.code, status["details"]["causes"][0]["reason"].as_str()), (403, Some("NamespaceTerminating")));
    let finalize = json!({"metadata": {"name": "n"}, "spec": {"finalizers": []}});
    assert_eq!(cluster.rest("PUT", "/api/v1/namespaces/n/finalize", &[], &finalize.to_string()).await.code, 200);
    assert_eq!(cluster.rest("GET", "/api/v1/namespaces/n", &[], "").await.code, 404);
}

const REFUSED: &str = "the server rejected our request due to an error in our request";

/// Kind, path, body, and code, reason and message of the answer; no message is one about the whole patched object.
type Misfit<'a> = (&'a str, &'a str, &'a str, u16, &'a str, String);

/// Patches of a config map and of a deployment.
fn misfits<'a>(map: &'a str, one: &'a str) -> Vec<Misfit<'a>> {
    let (json, merge, smp) = ("json-patch", "merge-patch", "strategic-merge-patch");
    let decoding = "error decoding patch: json: cannot unmarshal";
    vec![
        (json, map, r#"[{"op":"remove","path":"/data/x"}]"#, 422, "Invalid", REFUSED.to_owned()),
        (json, map, r#"[{"op":"jump","path":"/data/x"}]"#, 422, "Invalid", REFUSED.to_owned()),
        (
            json,
            map,
            r#"{"op":"remove"}"#,
            400,
            "BadRequest",
            format!("{decoding} object into Go value of type []handlers.jsonPatchOp"),
        ),
        (
            merge,
            map,
            "[]",
            400,
            "BadRequest",
            format!("{decoding} array into Go value of type map[string]interface {{}}"),
        ),
        (
            smp,
            map,
            "5",
            400,
            "BadRequest",
            "json: cannot unmarshal number into Go value of type map[string]interface {}".to_owned(),
        ),
        (
            smp,
            one,
            r#"{"spec":{"template":{"spec":{"containers":[{"image":"z"}]}}}}"#,
            500,
            "",
            "map: map[image:z] does not contain declared merge key: name".to_owned(),
        ),
        (
            smp,
            one,
            r#"{"spec":{"template":{"$patch":"mend"}}}"#,
            500,
            "",
            "unknown patch type: mend in map: map[$patch:mend]".to_owned(),
        ),
        (
            smp,
            one,
            r#"{"spec":{"replicas":"3"}}"#,
            422,
            "Invalid",
            " \"\" is invalid: patch: Invalid value: \"map[spec:map[replicas:3]]\": cannot convert string to int32"
                .to_owned(),
        ),
        (
            merge,
            "/apis/apps/v1/namespaces/default/deployments/d/scale",
            r#"{"spec":{"replicas":"0"}}"#,
            422,
            "Invalid",
            String::new(),
        ),
    ]
}

#[tokio::test]
async fn patches_that_do_not_fit() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", MAPS, &[], &configmap("t1", "1").to_string()).await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"metadata": {"name": "d"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let one = "/apis/apps/v1/namespaces/default/deployments/d";
    let made = cluster.rest("POST", one.trim_end_matches("/d"), &[], &deployment.to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let map = format!("{MAPS}/t1");
    for (kind, path, body, code, reason, message) in misfits(&map, one) {
        let content = format!("application/{kind}+json");
        let answer = cluster.rest("PATCH", path, &[("content-type", &content)], body).await;
        let status = answer.json();
        let got = (answer.code, status["reason"].as_str().unwrap_or_default());
        assert_eq!(got, (code, reason), "{body}: {status}");
        if message == REFUSED {
            assert_eq!(status["details"], json!({}), "{body}");
        }
        if message.is_empty() {
            let why = "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32";
            assert!(status["message"].as_str().is_some_and(|m| m.ends_with(why)), "{status}");
        } else {
            assert_eq!(status["message"], message, "{body}");
        }
    }
    assert_eq!(cluster.rest("GET", one, &[], "").await.json()["spec"]["replicas"], 3, "nothing was scaled");
}

#[tokio::test]
async fn bodies_of_another_kind() {
    let cluster = Cluster::start().await;
    let post = |path, body, message| Case { method: "POST", path, body, code: 400, reason: "BadRequest", message };
    let of =
        |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
    check(
        &cluster,
        post(
            MAPS,
            of("v1", "Secret"),
            "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion",
        ),
    )
    .await;
    check(
        &cluster,
        post(
            MAPS,
            of("v2", "ConfigMap"),
            "ConfigMap in version \"v2\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \"v2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
    )
    .await;
    let scalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    check(
        &cluster,
        post(
            scalers,
            of("autoscaling/v1", "HorizontalPodAutoscaler"),
            "the API version in the data (autoscaling/v1) does not match the expected API version (autoscaling/v2)",
        ),
    )
    .await;
}

#[tokio::test]
async fn a_patch_leaves_an_object_its_name_and_what_it_is() {
    let cluster = Cluster::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    assert_eq!(cluster.rest("POST", maps, &[], &configmap("m", "1").to_string()).await.code, 201);
    let ask = async |form: &str, body: Value| {
        let headers = [("content-type", form)];
        let answer = cluster.rest("PATCH", &format!("{maps}/m"), &headers, &body.to_string()).await;
        (answer.code, answer.json()["message"].as_str().unwrap_or_default().to_owned())
    };
    let (merge, strategic, json_patch) =
        ("application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json");
    let nameless = "the name of the object (m based on URL) was undeterminable: name must be provided";
    for (form, body) in [
        (merge, json!({"metadata": null})),
        (strategic, json!({"$patch": "delete"})),
        (json_patch, json!([{"op": "remove", "path": "/metadata/name"}])),
    ] {
        assert_eq!(ask(form, body).await, (400, nameless.to_owned()), "{form}");
    }
    let scheme = "in scheme \"pkg/api/legacyscheme/scheme.go:30\"";
    let cases = [
        (json!({"kind": "Secret"}), "converting (v1.Secret) to (core.ConfigMap): unknown conversion".to_owned()),
        (json!({"apiVersion": "v2"}), format!("no kind \"ConfigMap\" is registered for version \"v2\" {scheme}")),
    ];
    for (body, why) in cases {
        let (code, message) = ask(merge, body).await;
        assert!(
            code == 422 && message.starts_with(" \"\" is invalid: patch: ") && message.ends_with(&why),
            "{message}"
        );
    }
    assert_eq!(ask(strategic, json!({"kind": "Secret"})).await.0, 200, "no field of the object");
    assert_eq!(ask(merge, json!({"kind": null})).await.0, 200);
}

#[tokio::test]
async fn a_binding_names_the_pod_of_the_url() {
    let cluster = Cluster::start().await;
    for named in [json!({}), json!({"name": "other"})] {
        let binding = json!({"metadata": named, "target": {"kind": "Node", "name": "n"}}).to_string();
        let answer = cluster.rest("POST", "/api/v1/namespaces/default/pods/p/binding", &[], &binding).await;
        assert_eq!(
            (answer.code, answer.json()["message"].as_str()),
            (400, Some("name in URL does not match name in Binding object"))
        );
    }
}
