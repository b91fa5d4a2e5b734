//! Webhooks that judge and change objects: what they are asked, and what their answers do.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::backends::{Behaviour, Node, endpoint, running_pod};
use crate::hooks::{Hook, MUTATING, VALIDATING, answer, cluster, patch, register};
use crate::support::{Answer, Cluster, configmap, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    cluster.rest("POST", path, &[("user-agent", "tester/1")], &body.to_string()).await
}

fn message(answer: &Answer) -> (u16, String) {
    (answer.code, answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

fn warnings(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("warning").iter().map(|w| w.to_str().expect("text")).collect()
}

#[tokio::test]
async fn a_validating_webhook_refuses_and_warns() {
    let cluster = cluster().await;
    let hook = Hook::start(&cluster, |request| match request["object"]["data"]["a"].as_str() {
        Some("bad") => json!({"allowed": false, "warnings": ["look"], "status": {"code": 418, "message": "no tea"}}),
        Some("worse") => json!({"allowed": false}),
        _ => json!({"allowed": true, "warnings": ["fine", "fine"]}),
    })
    .await;
    register(&cluster, VALIDATING, "v", &[hook.config(&cluster, "judge", json!({}))]).await;
    let made = post(&cluster, MAPS, &configmap("good", "x")).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(warnings(&made), ["299 - \"fine\""]);
    let refused = post(&cluster, MAPS, &configmap("bad", "bad")).await;
    let denied = "admission webhook \"judge.example.com\" denied the request";
    assert_eq!(message(&refused), (418, format!("{denied}: no tea")));
    assert_eq!(warnings(&refused), ["299 - \"look\""]);
    let refused = post(&cluster, MAPS, &configmap("worse", "worse")).await;
    assert_eq!(message(&refused), (400, format!("{denied} without explanation")));
    let asked = &hook.asked()[0];
    assert_eq!((asked.uri.as_str(), asked.agent.as_str()), ("/judge?timeout=10s", "kube-apiserver-admission"));
    let mut request = asked.request().clone();
    assert!(request["object"]["metadata"]["uid"].is_string(), "what is validated is what is stored: {request}");
    assert_eq!(request["object"]["kind"], "ConfigMap");
    for gone in ["uid", "object"] {
        request.as_object_mut().expect("an object").remove(gone);
    }
    let extra = request["userInfo"].as_object_mut().and_then(|user| user.remove("extra")).expect("which certificate");
    assert!(extra["authentication.kubernetes.io/credential-id"][0].is_string(), "{extra}");
    assert_eq!(
        request,
        json!({
            "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
            "name": "good", "namespace": "default", "operation": "CREATE",
            "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
            "oldObject": null, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        })
    );
    assert_eq!(hook.connections(), 1, "connections are kept");
    let metrics = cluster.rest("GET", "/metrics", &[], "").await.text;
    let expected = "apiserver_admission_webhook_rejection_count{error_type=\"no_error\",name=\"judge.example.com\",operation=\"CREATE\",rejection_code=\"418\",type=\"validating\"} 1";
    assert!(metrics.lines().any(|line| line == expected), "{metrics}");
}

#[tokio::test]
async fn mutating_webhooks_take_turns_and_what_they_add_is_nobodys() {
    let cluster = cluster().await;
    let hook = Hook::start(&cluster, |request| {
        let data = request["object"]["data"].as_object().map_or(0, serde_json::Map::len);
        let key = format!("/data/by{data}");
        patch(json!([{"op": "add", "path": key, "value": request["operation"]}]))
    })
    .await;
    let (one, two) = (hook.config(&cluster, "one", json!({})), hook.config(&cluster, "two", json!({})));
    register(&cluster, MUTATING, "b", &[two]).await;
    register(&cluster, MUTATING, "a", &[one]).await;
    let made = post(&cluster, MAPS, &configmap("m", "x")).await.json();
    assert_eq!(made["data"], json!({"a": "x", "by1": "CREATE", "by2": "CREATE"}));
    let uris: Vec<String> = hook.asked().into_iter().map(|asked| asked.uri).collect();
    assert_eq!(uris, ["/one?timeout=10s", "/two?timeout=10s"], "configurations by name");
    let early = hook.asked()[0].request()["object"].clone();
    assert!(early["metadata"]["uid"].is_null() && early["metadata"]["creationTimestamp"].is_null(), "{early}");
    let owned = |object: &Value| object["metadata"]["managedFields"][0]["fieldsV1"]["f:data"].clone();
    assert_eq!(owned(&made), json!({".": {}, "f:a": {}}));
    assert_eq!(early["metadata"]["managedFields"], made["metadata"]["managedFields"], "shown to webhooks, too");
    let patched = cluster
        .rest("PATCH", &format!("{MAPS}/m"), &[MERGE, ("user-agent", "tester/1")], r#"{"data":{"b":"y"}}"#)
        .await
        .json();
    assert_eq!(patched["data"]["by4"], "UPDATE", "{patched}");
    assert_eq!(owned(&patched), json!({".": {}, "f:a": {}, "f:b": {}}));
    let request = hook.last();
    assert_eq!(request["oldObject"]["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    assert_eq!(request["options"], json!({"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"}));
    let generated = json!({"metadata": {"generateName": "g-"}, "data": {"z": "1"}});
    let made = post(&cluster, MAPS, &generated).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let request = hook.last();
    assert!(request.get("name").is_none() && request["object"]["metadata"].get("name").is_none(), "{request}");
}

#[tokio::test]
async fn webhooks_may_change_managed_fields_but_not_break_them() {
    let cluster = cluster().await;
    let hook = Hook::start(&cluster, |request| {
        patch(match request["name"].as_str() {
            Some("broken") => json!([
                {"op": "remove", "path": "/metadata/managedFields/0/apiVersion"},
                {"op": "remove", "path": "/metadata/managedFields/0/fieldsV1"},
                {"op": "remove", "path": "/metadata/managedFields/0/fieldsType"},
            ]),
            Some("renamed") => json!([{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "hook"}]),
            _ if request["object"]["metadata"]["managedFields"].is_null() => json!([]),
            _ => json!([{"op": "remove", "path": "/metadata/managedFields"}]),
        })
    })
    .await;
    register(&cluster, MUTATING, "m", &[hook.config(&cluster, "m", json!({}))]).await;
    let managers = |answer: &Answer| {
        let object = answer.json();
        assert!(answer.code < 300, "{}", answer.text);
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let names = entries.iter().map(|entry| entry["manager"].as_str().unwrap_or_default().to_owned());
        // Entries of one second stand by name.
        (names.collect::<BTreeSet<_>>(), entries.iter().all(|entry| entry["fieldsV1"].is_object()))
    };
    let told = "299 - \".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: apiVersion must not be empty\"";
    for (name, manager, warned) in
        [("broken", &["tester"][..], &[told][..]), ("renamed", &["hook"], &[]), ("cleared", &[], &[])]
    {
        let made = post(&cluster, MAPS, &configmap(name, "x")).await;
        assert_eq!(
            (managers(&made), warnings(&made)),
            ((manager.iter().map(ToString::to_string).collect(), true), warned.to_vec())
        );
    }
    let change = r#"{"data":{"b":"y"}}"#;
    let patched = cluster.rest("PATCH", &format!("{MAPS}/broken"), &[MERGE, ("user-agent", "other/1")], change).await;
    let both = BTreeSet::from(["tester".to_owned(), "other".to_owned()]);
    assert_eq!((managers(&patched), warnings(&patched)), ((both.clone(), true), vec![told]));
    assert_eq!(
        hook.last()["object"]["metadata"]["managedFields"].as_array().map(Vec::len),
        Some(2),
        "shown to webhooks"
    );
    let patched = cluster.rest("PATCH", &format!("{MAPS}/renamed"), &[MERGE, ("user-agent", "other/1")], change).await;
    assert_eq!(managers(&patched), (BTreeSet::from(["hook".to_owned(), "other".to_owned()]), true));
    let patched = cluster.rest("PATCH", &format!("{MAPS}/cleared"), &[MERGE, ("user-agent", "other/1")], change).await;
    assert_eq!(managers(&patched), (BTreeSet::new(), true));
}

#[tokio::test]
async fn a_webhook_that_wants_to_is_asked_again_after_a_later_change() {
    let cluster = cluster().await;
    let hook = Hook::start(&cluster, |request| {
        if request["object"]["data"]["late"].is_string() {
            return json!({"allowed": true});
        }
        patch(json!([{"op": "add", "path": "/data/early", "value": "1"}]))
    })
    .await;
    let late = Hook::start(&cluster, |_| patch(json!([{"op": "add", "path": "/data/late", "value": "1"}]))).await;
    let first = hook.config(&cluster, "first", json!({"reinvocationPolicy": "IfNeeded"}));
    let never = hook.config(&cluster, "never", json!({}));
    register(&cluster, MUTATING, "m", &[first, never, late.config(&cluster, "late", json!({}))]).await;
    let made = post(&cluster, MAPS, &configmap("m", "x")).await;
    assert_eq!(made.json()["data"], json!({"a": "x", "early": "1", "late": "1"}), "{}", made.text);
    let uris: Vec<String> = hook.asked().into_iter().map(|asked| asked.uri).collect();
    assert_eq!(uris, ["/first?timeout=10s", "/never?timeout=10s", "/first?timeout=10s"]);
}

#[tokio::test]
async fn a_webhook_that_fails_is_ignored_or_not_as_its_policy_says() {
    let cluster = cluster().await;
    let hook = Hook::raw(&cluster, &["127.0.0.1"], |_| (500, "oops".to_owned())).await;
    let at = |policy: &str, label: &str| {
        let selector = json!({"matchLabels": {"hook": label}});
        hook.config(&cluster, label, json!({"failurePolicy": policy, "objectSelector": selector}))
    };
    register(&cluster, VALIDATING, "v", &[at("Fail", "closed"), at("Ignore", "open")]).await;
    let mut wrong = at("Fail", "unknown");
    wrong["clientConfig"]["caBundle"] = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(gantry_apiserver::testing::Pki::new().ca_pem()).into()
    };
    let mut nobody = at("Fail", "nobody");
    nobody["clientConfig"]["url"] = "https://127.0.0.1:1/x".into();
    register(&cluster, MUTATING, "m", &[wrong, nobody]).await;
    let labelled = |label: &str| {
        let mut map = configmap(label, "x");
        map["metadata"]["labels"] = json!({"hook": label});
        map
    };
    let check = async |label: &str, expected: Result<(), &str>| {
        let got = post(&cluster, MAPS, &labelled(label)).await;
        match expected {
            Ok(()) => assert_eq!(got.code, 201, "{label}: {}", got.text),
            Err(why) => {
                let (code, text) = message(&got);
                let head = format!("Internal error occurred: failed calling webhook \"{label}.example.com\": ");
                assert_eq!(code, 500, "{text}");
                assert!(text.starts_with(&head) && text.contains(why), "{text}");
            }
        }
    };
    check("open", Ok(())).await;
    check("other", Ok(())).await;
    let oops = "failed to call webhook: an error on the server (\"oops\") has prevented the request from succeeding";
    check("closed", Err(oops)).await;
    check("unknown", Err("tls: failed to verify certificate: x509: certificate signed by unknown authority")).await;
    check("nobody", Err("failed to call webhook: Post \"https://127.0.0.1:1/x?timeout=10s\": ")).await;
}

#[tokio::test]
async fn a_webhook_on_a_forbidden_address_is_not_called() {
    let cluster = Cluster::start().await;
    let hook = Hook::start(&cluster, |_| json!({"allowed": true})).await;
    register(&cluster, VALIDATING, "v", &[hook.config(&cluster, "local", json!({}))]).await;
    let (code, text) = message(&post(&cluster, MAPS, &configmap("m", "x")).await);
    assert_eq!(code, 500);
    assert!(text.contains("127.0.0.1 is a loopback address"), "{text}");
    assert_eq!((hook.asked().len(), hook.connections()), (0, 0));
}

#[tokio::test]
async fn a_slow_webhook_is_given_its_time_and_no_more() {
    let cluster = cluster().await;
    let address = crate::backends::raw(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let hook = Hook::start(&cluster, |_| json!({"allowed": true})).await;
    let mut slow = hook.config(&cluster, "slow", json!({"timeoutSeconds": 1}));
    slow["clientConfig"]["url"] = format!("https://{address}/").into();
    register(&cluster, VALIDATING, "v", &[slow]).await;
    let (code, text) = message(&post(&cluster, MAPS, &configmap("m", "x")).await);
    assert_eq!((code, text.ends_with("timeout=1s\": context deadline exceeded")), (500, true), "{text}");
}

#[tokio::test]
async fn deletions_are_judged_each_on_its_own() {
    let cluster = cluster().await;
    let hook = Hook::start(
        &cluster,
        |request| json!({"allowed": request["oldObject"]["data"]["a"] != "kept", "status": {"message": "kept"}}),
    )
    .await;
    for (name, text) in [("a", "x"), ("b", "kept"), ("c", "x")] {
        assert_eq!(post(&cluster, MAPS, &configmap(name, text)).await.code, 201);
    }
    let rules =
        json!([{"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    register(&cluster, VALIDATING, "v", &[hook.config(&cluster, "d", json!({"rules": rules}))]).await;
    let refused = cluster.rest("DELETE", &format!("{MAPS}/b"), &[], "").await;
    assert_eq!(message(&refused), (400, "admission webhook \"d.example.com\" denied the request: kept".to_owned()));
    let request = hook.last();
    assert_eq!((request["object"].clone(), request["name"].as_str()), (Value::Null, Some("b")));
    assert_eq!(request["options"], json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}));
    let all = cluster.rest("DELETE", MAPS, &[], "").await;
    assert_eq!(all.code, 400, "{}", all.text);
    assert!(hook.last().get("name").is_none(), "a deletion of a list names none");
    assert_eq!(cluster.rest("GET", &format!("{MAPS}/b"), &[], "").await.code, 200);
}

#[tokio::test]
async fn a_dry_run_spares_webhooks_with_side_effects() {
    let cluster = cluster().await;
    let hook = Hook::start(&cluster, |_| json!({"allowed": true})).await;
    register(&cluster, VALIDATING, "v", &[hook.config(&cluster, "s", json!({"sideEffects": "NoneOnDryRun"}))]).await;
    let dry = format!("{MAPS}?dryRun=All");
    assert_eq!(post(&cluster, &dry, &configmap("m", "x")).await.code, 201);
    assert_eq!(
        (hook.last()["dryRun"].clone(), hook.last()["options"]["dryRun"].clone()),
        (json!(true), json!(["All"]))
    );
}

#[tokio::test]
async fn other_versions_and_subresources_are_shown_as_they_are_asked_for() {
    let cluster = cluster().await;
    let hook = Hook::start(&cluster, |request| match request["subResource"].as_str() {
        Some("scale") => patch(json!([{"op": "replace", "path": "/spec/replicas", "value": 7}])),
        _ => json!({"allowed": true}),
    })
    .await;
    let rule = |group: &str, version: &str, resources: Value| json!([{"operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": resources}]);
    let scaled = rule("autoscaling", "v1", json!(["horizontalpodautoscalers"]));
    let sub = rule("apps", "v1", json!(["deployments/scale", "deployments/status"]));
    let hooks = [
        hook.config(&cluster, "old", json!({"rules": scaled})),
        hook.config(&cluster, "exact", json!({"rules": scaled, "matchPolicy": "Exact"})),
        hook.config(&cluster, "sub", json!({"rules": sub})),
    ];
    register(&cluster, MUTATING, "m", &hooks).await;
    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    let scaler = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}});
    let made = post(&cluster, "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", &scaler).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let request = hook.last();
    assert_eq!(hook.asked().len(), 1, "the exact one is about another version");
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(
        (request["resource"]["version"].as_str(), request["requestResource"]["version"].as_str()),
        (Some("v1"), Some("v2"))
    );
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(post(&cluster, deployments, &deployment).await.code, 201);
    assert_eq!(hook.asked().len(), 1);
    let scale = cluster.rest("PATCH", &format!("{deployments}/d/scale"), &[MERGE], r#"{"spec":{"replicas":2}}"#).await;
    assert_eq!(scale.json()["spec"]["replicas"], 7, "{}", scale.text);
    let request = hook.last();
    assert_eq!(request["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!(request["object"]["kind"], "Scale");
    let status =
        cluster.rest("PATCH", &format!("{deployments}/d/status"), &[MERGE], r#"{"status":{"replicas":7}}"#).await;
    assert_eq!((status.code, hook.last()["subResource"].as_str()), (200, Some("status")), "{}", status.text);
}

#[tokio::test]
async fn bindings_evictions_tokens_and_connections_are_judged_too() {
    let cluster = cluster().await;
    cluster.default_account().await;
    let running = running_pod(&cluster, "p", "10.244.1.7").await;
    let hook = Hook::start(&cluster, |_| json!({"allowed": false, "status": {"message": "never"}})).await;
    let rules = json!([{"operations": ["CREATE", "CONNECT"], "apiGroups": [""], "apiVersions": ["v1"],
        "resources": ["pods/binding", "pods/eviction", "serviceaccounts/token", "pods/exec", "pods/proxy"]}]);
    register(&cluster, VALIDATING, "v", &[hook.config(&cluster, "x", json!({"rules": rules}))]).await;
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(post(&cluster, pods, &pod("q")).await.code, 201);
    let check = async |method: &str, path: &str, body: Value, expected: (&str, &str)| {
        let got = cluster.rest(method, path, &[], &body.to_string()).await;
        let text = "admission webhook \"x.example.com\" denied the request: never".to_owned();
        assert_eq!(message(&got), (400, text), "{path}: {}", got.text);
        let request = hook.last();
        assert_eq!(
            (request["operation"].as_str(), request["kind"]["kind"].as_str()),
            (Some(expected.0), Some(expected.1))
        );
        assert_eq!(request["object"]["kind"], expected.1, "{request}");
        request
    };
    let binding = json!({"metadata": {"name": "q"}, "target": {"kind": "Node", "name": "n1"}});
    let request = check("POST", &format!("{pods}/q/binding"), binding, ("CREATE", "Binding")).await;
    assert_eq!(request["object"]["target"]["name"], "n1");
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    check("POST", &format!("{pods}/p/eviction"), eviction, ("CREATE", "Eviction")).await;
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    check("POST", token, json!({"spec": {}}), ("CREATE", "TokenRequest")).await;
    let exec = format!("{pods}/p/exec?command=ls&command=-l&stdout=true&container=c");
    let request = check("POST", &exec, Value::Null, ("CONNECT", "PodExecOptions")).await;
    assert_eq!(
        request["object"],
        json!({"kind": "PodExecOptions", "apiVersion": "v1", "stdout": true, "container": "c", "command": ["ls", "-l"]})
    );
    assert_eq!((request["options"].clone(), request["name"].as_str()), (Value::Null, Some("p")));
    check("GET", &format!("{pods}/p/proxy/a/b"), Value::Null, ("CONNECT", "PodProxyOptions")).await;
    assert_eq!(hook.last()["object"]["path"], "/a/b");
    assert_eq!(running["metadata"]["name"], "p");
}

#[tokio::test]
async fn webhooks_cannot_keep_their_own_configurations_from_being_repaired() {
    let cluster = cluster().await;
    let hook = Hook::start(&cluster, |_| json!({"allowed": false})).await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    let all = hook.config(&cluster, "all", json!({"rules": rules, "namespaceSelector": {}}));
    register(&cluster, VALIDATING, "v", &[all]).await;
    assert_eq!(post(&cluster, MAPS, &configmap("m", "x")).await.code, 400);
    assert_eq!(cluster.rest("DELETE", &format!("{VALIDATING}/v"), &[], "").await.code, 200);
    assert_eq!(cluster.rest("GET", VALIDATING, &[], "").await.code, 200);
    assert_eq!(post(&cluster, MAPS, &configmap("m", "x")).await.code, 201);
}

#[tokio::test]
async fn a_webhook_of_a_service_is_reached_through_the_node_of_its_pod() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let hook = Hook::raw(&cluster, &["hook.default.svc"], |review| answer(review, json!({"allowed": true}))).await;
    let pod = running_pod(&cluster, "p", "10.244.1.7").await;
    let node = Node::start(&cluster, "n1", Behaviour { backend: Some(hook.address), ..Behaviour::default() }).await;
    let ports = json!([{"name": "https", "port": 443, "targetPort": 8443}]);
    let service = json!({"metadata": {"name": "hook"}, "spec": {"ports": ports}});
    assert_eq!(post(&cluster, "/api/v1/namespaces/default/services", &service).await.code, 201);
    let slice = json!({
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
        "endpoints": [endpoint(&pod, "10.244.1.7")], "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}],
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    assert_eq!(post(&cluster, slices, &slice).await.code, 201);
    let mut webhook = hook.config(&cluster, "svc", json!({"timeoutSeconds": 5}));
    let ca = webhook["clientConfig"]["caBundle"].clone();
    webhook["clientConfig"] =
        json!({"service": {"namespace": "default", "name": "hook", "path": "/check"}, "caBundle": ca});
    register(&cluster, VALIDATING, "v", &[webhook.clone()]).await;
    for name in ["a", "b"] {
        let made = post(&cluster, MAPS, &configmap(name, "x")).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    assert_eq!(hook.asked()[0].uri, "/check?timeout=5s");
    let dialled = node.dialled();
    assert_eq!(dialled.len(), 1, "the connection is kept");
    assert_eq!((dialled[0].address.as_str(), dialled[0].port, dialled[0].pod.as_str()), ("10.244.1.7", 8443, "p"));
    webhook["clientConfig"]["service"]["name"] = "none".into();
    register(&cluster, VALIDATING, "w", &[webhook]).await;
    let (code, text) = message(&post(&cluster, MAPS, &configmap("c", "x")).await);
    let expected =
        "failed to call webhook: Post \"https://none.default.svc:443/check?timeout=5s\": services \"none\" not found";
    assert!(code == 500 && text.ends_with(expected), "{text}");
}

#[tokio::test]
async fn conditions_decide_whether_a_webhook_is_asked() {
    let cluster = cluster().await;
    let hook = Hook::start(&cluster, |_| json!({"allowed": true})).await;
    let with = |name: &str, policy: &str, expression: &str| {
        let conditions = json!([{"name": "c", "expression": expression}]);
        hook.config(&cluster, name, json!({"failurePolicy": policy, "matchConditions": conditions}))
    };
    let hooks = [
        with("mine", "Fail", "object.data.a == 'x' && request.userInfo.username == 'admin'"),
        with("open", "Ignore", "object.data.nothing == 'x'"),
    ];
    register(&cluster, VALIDATING, "v", &hooks).await;
    assert_eq!(post(&cluster, MAPS, &configmap("a", "x")).await.code, 201);
    assert_eq!(post(&cluster, MAPS, &configmap("b", "y")).await.code, 201);
    let uris: Vec<String> = hook.asked().into_iter().map(|asked| asked.uri).collect();
    assert_eq!(uris, ["/mine?timeout=10s"]);
    register(&cluster, VALIDATING, "w", &[with("closed", "Fail", "object.data.nothing == 'x'")]).await;
    let (code, text) = message(&post(&cluster, MAPS, &configmap("c", "x")).await);
    let expected = "configmaps \"c\" is forbidden: expression 'object.data.nothing == 'x'' resulted in error: no such key: nothing";
    assert_eq!((code, text.as_str()), (403, expected));
}

#[tokio::test]
async fn a_question_that_was_sent_is_not_sent_twice() {
    let cluster = cluster().await;
    let hook = Hook::raw(&cluster, &["127.0.0.1"], |review| match review["request"]["object"]["data"]["a"].as_str() {
        Some("hang up") => (0, String::new()),
        _ => answer(review, json!({"allowed": true})),
    })
    .await;
    register(&cluster, VALIDATING, "v", &[hook.config(&cluster, "judge", json!({}))]).await;
    assert_eq!(post(&cluster, MAPS, &configmap("a", "x")).await.code, 201);
    let (code, why) = message(&post(&cluster, MAPS, &configmap("b", "hang up")).await);
    assert_eq!((code, hook.asked().len()), (500, 2), "{why}: a webhook may have acted before it hung up");
    assert_eq!(post(&cluster, MAPS, &configmap("c", "x")).await.code, 201, "the next one gets a new connection");
    assert_eq!(hook.connections(), 2);
}
