//! What a client sees around the objects: options and their refusals, codes, headers, forms.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::exec::websocket;
use crate::node::PATIENCE;
use crate::support::{Cluster, configmap};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn refused(cluster: &Cluster, method: &str, path: &str, body: &str, expected: (u16, &str, &str)) -> Value {
    let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let answer = cluster.rest(method, path, &[("content-type", content)], body).await;
    let status = answer.json();
    let got =
        (answer.code, status["reason"].as_str().unwrap_or_default(), status["message"].as_str().unwrap_or_default());
    assert_eq!(got, expected, "{method} {path}");
    status
}

#[tokio::test]
async fn a_timeout_in_the_url_is_a_duration_within_the_servers() {
    let cluster = Cluster::start().await;
    let why = "invalid timeout specified in the request URL - time: invalid duration \"invalid\"";
    for path in ["/version?timeout=invalid", &format!("{MAPS}?timeout=invalid")] {
        refused(&cluster, "GET", path, "", (400, "BadRequest", why)).await;
    }
    for fine in ["3m", "0s", "32s"] {
        assert_eq!(cluster.rest("GET", &format!("/version?timeout={fine}"), &[], "").await.code, 200, "{fine}");
    }
    let watch = format!("{MAPS}?watch=true&timeout=1ns&timeoutSeconds=1");
    assert_eq!(cluster.rest("GET", &watch, &[], "").await.code, 200, "streams have no deadline");
}

#[tokio::test]
async fn options_are_refused_under_their_own_names() {
    let cluster = Cluster::start().await;
    let one = format!("{MAPS}/m");
    let body = configmap("m", "1").to_string();
    assert_eq!(cluster.rest("POST", MAPS, &[], &body).await.code, 201);
    let requests =
        [("POST", MAPS, "Create"), ("PUT", &one, "Update"), ("PATCH", &one, "Patch"), ("DELETE", &one, "Delete")];
    for (method, path, name) in requests {
        let body = if method == "DELETE" { "" } else { &body };
        let why = format!(
            "{name}Options.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\""
        );
        refused(&cluster, method, &format!("{path}?dryRun=Some"), body, (422, "Invalid", &why)).await;
        if method == "DELETE" {
            continue;
        }
        let why = format!(
            "{name}Options.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Much\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
        );
        refused(&cluster, method, &format!("{path}?fieldValidation=Much"), body, (422, "Invalid", &why)).await;
        let why = format!(
            "{name}Options.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\n\": invalid character U+000A (at position 1)"
        );
        refused(&cluster, method, &format!("{path}?fieldManager=a%0A"), body, (422, "Invalid", &why)).await;
    }
    let why = "strconv.ParseInt: parsing \"x\": invalid syntax";
    refused(&cluster, "GET", &format!("{MAPS}?limit=x"), "", (400, "BadRequest", why)).await;
}

#[tokio::test]
async fn a_delete_gives_back_what_went_where_upstream_does() {
    let cluster = Cluster::start().await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    assert_eq!(cluster.rest("POST", services, &[], &service.to_string()).await.code, 201);
    let gone = cluster.rest("DELETE", &format!("{services}/s"), &[], "").await.json();
    assert_eq!((gone["kind"].as_str(), gone["metadata"]["name"].as_str()), (Some("Service"), Some("s")));
    let number = |v: &Value| v["metadata"]["resourceVersion"].as_str().and_then(|n| n.parse::<u64>().ok());
    assert!(number(&gone) > Some(0), "the version of its end: {gone}");
    let document = cluster.rest("GET", "/openapi/v2", &[], "").await.json();
    let answer = |path: &str| document["paths"][path]["delete"]["responses"]["200"]["schema"]["$ref"].clone();
    assert_eq!(answer("/api/v1/namespaces/{namespace}/services/{name}"), "#/definitions/io.k8s.api.core.v1.Service");
    let status = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Status";
    assert_eq!(answer("/api/v1/namespaces/{namespace}/configmaps/{name}"), status);
}

#[tokio::test]
async fn an_object_is_read_whatever_watch_says() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", MAPS, &[], &configmap("m", "1").to_string()).await;
    let read = cluster.rest("GET", &format!("{MAPS}/m?watch=true&timeoutSeconds=1"), &[], "").await.json();
    assert_eq!((read["kind"].as_str(), read["metadata"]["name"].as_str()), (Some("ConfigMap"), Some("m")));
    let watched = cluster.rest("GET", "/api/v1/watch/namespaces/default/configmaps/m?timeoutSeconds=1", &[], "").await;
    let event: Value = serde_json::from_str(watched.text.lines().next().expect("an event")).expect("JSON");
    assert_eq!((event["type"].as_str(), event["object"]["metadata"]["name"].as_str()), (Some("ADDED"), Some("m")));
}

#[tokio::test]
async fn paths_that_nobody_serves_answer_in_text_or_as_a_status() {
    let cluster = Cluster::start().await;
    for path in ["/apis/apps/v9/deployments", "/apis/none.example/v1/things", "/nothing"] {
        let answer = cluster.rest("GET", path, &[], "").await;
        assert_eq!((answer.code, answer.text.as_str()), (404, "404 page not found\n"), "{path}");
    }
    let missing = "the server could not find the requested resource";
    for path in ["/apis/apps/v1/things", "/apis/apps/v1/namespaces/default/deployments/d/nothing"] {
        refused(&cluster, "GET", path, "", (404, "NotFound", missing)).await;
    }
}

#[tokio::test]
async fn discovery_comes_in_the_forms_that_there_are() {
    let cluster = Cluster::start().await;
    let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    for path in ["/api", "/apis", "/apis/apps", "/apis/apps/v1"] {
        for accept in ["text/html", beta, "application/json;as=Table;v=v1;g=meta.k8s.io"] {
            let answer = cluster.rest("GET", path, &[("accept", accept)], "").await;
            assert_eq!(
                (answer.code, answer.json()["reason"].as_str()),
                (406, Some("NotAcceptable")),
                "{path} {accept}"
            );
        }
        let both = format!("{beta},application/json");
        assert_eq!(cluster.rest("GET", path, &[("accept", &both)], "").await.code, 200, "{path}");
    }
    let yaml = "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let answer = cluster.rest("GET", "/apis", &[("accept", yaml)], "").await;
    assert_eq!((answer.code, answer.headers["content-type"].to_str().ok()), (200, Some(yaml)));
    let (read, _) = gantry_api::decode::yaml(answer.text.as_bytes()).expect("YAML");
    assert_eq!(read["kind"], "APIGroupDiscoveryList");
    let protobuf = "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let answer = cluster.rest("GET", "/apis", &[("accept", protobuf)], "").await;
    assert_eq!((answer.code, answer.headers["content-type"].to_str().ok()), (200, Some(protobuf)));
    let decoded = gantry_api::decode::protobuf(&answer.bytes).expect("protobuf");
    assert_eq!(decoded["items"][0]["versions"], read["items"][0]["versions"]);
}

#[tokio::test]
async fn a_head_of_discovery_is_answered_where_upstreams_router_does() {
    let cluster = Cluster::start().await;
    for (path, code) in [("/api", 405), ("/apis", 200), ("/api/v1", 405), ("/apis/apps", 200), ("/apis/apps/v1", 405)] {
        assert_eq!(cluster.rest("HEAD", path, &[], "").await.code, code, "{path}");
    }
}

#[tokio::test]
async fn metadata_is_shown_of_what_was_asked_for_alone() {
    let cluster = Cluster::start().await;
    let form = |kind: &str| format!("application/json;as={kind};g=meta.k8s.io;v=v1");
    let ask = async |path: &str, kind: &str| cluster.rest("GET", path, &[("accept", &form(kind))], "").await;
    let check = async |path: &str, kind: &str, why: &str| {
        let status = ask(path, kind).await.json();
        assert_eq!((&status["code"], &status["reason"]), (&json!(406), &json!("NotAcceptable")), "{status}");
        assert_eq!(status["message"], format!("you requested {kind}, but the requested object is {why}"));
    };
    check("/api/v1/services", "PartialObjectMetadata", "a list (*core.ServiceList)").await;
    check("/api/v1/namespaces/default", "PartialObjectMetadataList", "not a list (*core.Namespace)").await;
    assert_eq!(ask("/api/v1/namespaces/none", "PartialObjectMetadataList").await.code, 404);
    assert_eq!(ask("/api/v1/namespaces/default", "PartialObjectMetadata").await.code, 200);
    assert_eq!(ask("/api/v1/services", "PartialObjectMetadataList").await.code, 200);
}

#[tokio::test]
async fn keys_and_version_come_as_upstream_sends_them() {
    let cluster = Cluster::start().await;
    let keys = cluster.rest("GET", "/openid/v1/jwks", &[], "").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert_eq!(keys.headers["cache-control"], "public, max-age=3600");
    let document = cluster.rest("GET", "/.well-known/openid-configuration", &[], "").await;
    assert_eq!(document.headers["content-type"], "application/json");
    assert_eq!(document.headers["cache-control"], "public, max-age=3600");
    let version = cluster.rest("GET", "/version", &[], "").await;
    assert!(version.text.starts_with("{\n  \""), "{}", version.text);
}

#[tokio::test]
async fn health_names_what_upstream_names() {
    let cluster = Cluster::start().await;
    let required = [
        "ping",
        "log",
        "etcd",
        "poststarthook/start-apiserver-admission-initializer",
        "poststarthook/generic-apiserver-start-informers",
        "poststarthook/start-apiextensions-informers",
        "poststarthook/start-apiextensions-controllers",
        "poststarthook/crd-informer-synced",
        "poststarthook/start-system-namespaces-controller",
        "poststarthook/bootstrap-controller",
        "poststarthook/rbac/bootstrap-roles",
        "poststarthook/scheduling/bootstrap-system-priority-classes",
        "poststarthook/start-cluster-authentication-info-controller",
        "poststarthook/start-kube-aggregator-informers",
        "poststarthook/apiservice-registration-controller",
        "poststarthook/apiservice-status-local-available-controller",
        "poststarthook/apiservice-status-remote-available-controller",
        "poststarthook/kube-apiserver-autoregistration",
        "autoregister-completion",
        "poststarthook/apiservice-openapi-controller",
    ];
    for probe in ["healthz", "livez", "readyz"] {
        let all = cluster.rest("GET", &format!("/{probe}?verbose=1"), &[], "").await.text;
        for name in required {
            assert!(all.contains(&format!("[+]{name} ok\n")), "{probe} {name}: {all}");
        }
        let one = cluster.rest("GET", &format!("/{probe}/poststarthook/rbac/bootstrap-roles"), &[], "").await;
        assert_eq!((one.code, one.text.as_str()), (200, "ok"));
    }
    let some = cluster.rest("GET", "/readyz?verbose&exclude=etcd&exclude=none", &[], "").await.text;
    assert!(some.contains("[+]etcd excluded: ok\n"), "{some}");
    let warning = "warn: some health checks cannot be excluded: no matches for \"none\"\nreadyz check passed\n";
    assert!(some.ends_with(warning), "{some}");
}

#[tokio::test]
async fn an_access_review_names_the_binding_that_allows() {
    let cluster = Cluster::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role =
        json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    let subjects = [
        json!({"kind": "User", "name": "bob"}),
        json!({"kind": "ServiceAccount", "name": "bot", "namespace": "default"}),
    ];
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"});
    let binding = json!({"metadata": {"name": "b"}, "roleRef": role_ref, "subjects": subjects});
    assert_eq!(cluster.rest("POST", &format!("{rbac}/roles"), &[], &role.to_string()).await.code, 201);
    assert_eq!(cluster.rest("POST", &format!("{rbac}/rolebindings"), &[], &binding.to_string()).await.code, 201);
    let review = async |user: &str, groups: &[&str], path: &str| {
        let mut spec = json!({"user": user, "groups": groups});
        if path.is_empty() {
            spec["resourceAttributes"] = json!({"verb": "get", "resource": "pods", "namespace": "default"});
        } else {
            spec["nonResourceAttributes"] = json!({"verb": "get", "path": path});
        }
        let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        cluster.rest("POST", reviews, &[], &json!({"spec": spec}).to_string()).await.json()["status"].clone()
    };
    let allowed = |why: &str| json!({"allowed": true, "reason": format!("RBAC: allowed by {why}")});
    let by = "RoleBinding \"b/default\" of Role \"r\" to";
    let counts = async { while review("bob", &[], "").await["allowed"] != true {} };
    tokio::time::timeout(PATIENCE, counts).await.expect("the binding is taken up");
    assert_eq!(review("bob", &[], "").await, allowed(&format!("{by} User \"bob\"")));
    let bot = "system:serviceaccount:default:bot";
    assert_eq!(review(bot, &[], "").await, allowed(&format!("{by} ServiceAccount \"bot/default\"")));
    let discovery =
        "ClusterRoleBinding \"system:discovery\" of ClusterRole \"system:discovery\" to Group \"system:authenticated\"";
    assert_eq!(review("eve", &["system:authenticated"], "/api").await, allowed(discovery));
    assert_eq!(review("root", &["system:masters"], "").await, json!({"allowed": true}));
    assert_eq!(review("eve", &[], "").await, json!({"allowed": false}));
}

#[tokio::test]
async fn requests_are_told_their_flow_and_schemas_whether_their_level_exists() {
    let cluster = Cluster::start().await;
    let group = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let (schemas, levels) = (format!("{group}/flowschemas"), format!("{group}/prioritylevelconfigurations"));
    let create = async |path: &str, object: &Value| cluster.rest("POST", path, &[], &object.to_string()).await.json();
    let rules = json!([{
        "subjects": [{"kind": "User", "user": {"name": "flora"}}],
        "resourceRules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"], "namespaces": ["*"]}],
    }]);
    let spec = json!({"matchingPrecedence": 1234, "priorityLevelConfiguration": {"name": "late"}, "rules": rules});
    let schema = create(&schemas, &json!({"metadata": {"name": "early"}, "spec": spec})).await;
    let dangling = async |wanted: &str| {
        let told = async {
            loop {
                let now = cluster.rest("GET", &format!("{schemas}/early"), &[], "").await.json();
                let condition = now["status"]["conditions"][0].clone();
                if (condition["type"].as_str(), condition["status"].as_str()) == (Some("Dangling"), Some(wanted)) {
                    return condition;
                }
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("the condition comes")
    };
    assert_eq!(dangling("True").await["reason"], "NotFound");
    let flora = cluster.identity("flora", &[]);
    let flow = async || {
        let answer = crate::support::request_as(&cluster, &flora, "GET", MAPS, &[], "").await;
        let told = |name: &str| answer.headers.get(name).map(|v| v.to_str().expect("text").to_owned());
        (answer.code, told("x-kubernetes-pf-flowschema-uid"), told("x-kubernetes-pf-prioritylevel-uid"))
    };
    let (code, before, _) = flow().await;
    assert_eq!(code, 403, "refusals have a flow too");
    let uid = |object: &Value| object["metadata"]["uid"].as_str().map(str::to_owned);
    assert!(before.is_some() && before != uid(&schema), "a schema without a level takes nothing");
    let limited =
        json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}});
    let level = create(&levels, &json!({"metadata": {"name": "late"}, "spec": limited})).await;
    dangling("False").await;
    assert_eq!(flow().await, (403, uid(&schema), uid(&level)));
}

#[tokio::test]
async fn whoever_takes_nothing_but_protobuf_gets_protobuf() {
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    let cluster = Cluster::start().await;
    let decode = |bytes: &[u8]| gantry_api::decode::protobuf(bytes).expect("protobuf");
    let made = cluster.rest("POST", MAPS, &[], &configmap("m", "1").to_string()).await.json();
    let get = async |path: &str, accept: &str| cluster.rest("GET", path, &[("accept", accept)], "").await;
    let one = get(&format!("{MAPS}/m"), PROTOBUF).await;
    assert_eq!(one.code, 200);
    assert_eq!(one.headers["content-type"], PROTOBUF);
    assert_eq!(decode(&one.bytes), made);
    let list = get(&format!("{MAPS}?labelSelector=a%21%3Db"), PROTOBUF).await;
    assert_eq!(decode(&list.bytes)["items"].as_array().map(Vec::len), Some(1));
    let metadata = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let list = decode(&get(MAPS, &metadata).await.bytes);
    assert_eq!(
        (&list["kind"], &list["items"][0]["metadata"]["uid"]),
        (&json!("PartialObjectMetadataList"), &made["metadata"]["uid"])
    );
    let missing = get(&format!("{MAPS}/none"), PROTOBUF).await;
    assert_eq!((missing.code, decode(&missing.bytes)["reason"].as_str()), (404, Some("NotFound")));
    let groups = decode(&get("/apis", PROTOBUF).await.bytes);
    assert!(groups["groups"].as_array().is_some_and(|g| g.iter().any(|g| g["name"] == "apps")), "{groups}");
    let events = get(&format!("{MAPS}?watch=true&timeoutSeconds=1"), PROTOBUF).await;
    assert_eq!(events.headers["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let length = u32::from_be_bytes(events.bytes[..4].try_into().expect("four bytes"));
    let frame = &events.bytes[4..4 + length as usize];
    let at = frame.windows(4).position(|w| w == b"k8s\0").expect("an envelope");
    assert!(frame.starts_with(b"\x0a\x05ADDED"));
    assert_eq!(decode(&frame[at..]), made);
    let table = format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1");
    assert_eq!(get(MAPS, &table).await.code, 406);
    let both = get(&format!("{MAPS}/m"), &format!("{PROTOBUF},application/json")).await;
    assert_eq!(both.json(), made, "who takes JSON too gets that");
}

#[tokio::test]
async fn metadata_alone_comes_in_protobuf_where_that_is_asked_for_first() {
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    let cluster = Cluster::start().await;
    let made = cluster.rest("POST", MAPS, &[], &configmap("m", "1").to_string()).await.json();
    // As the metadata client of client-go asks.
    let get = async |path: &str, kind: &str| {
        let how = format!("as={kind};g=meta.k8s.io;v=v1");
        let accept = format!("{PROTOBUF};{how},application/json;{how},application/json");
        cluster.rest("GET", path, &[("accept", &accept)], "").await
    };
    let decode = |bytes: &[u8]| gantry_api::decode::protobuf(bytes).expect("protobuf");
    let one = get(&format!("{MAPS}/m"), "PartialObjectMetadata").await;
    assert_eq!((one.code, &one.headers["content-type"]), (200, &PROTOBUF.try_into().expect("a value")));
    assert_eq!(decode(&one.bytes)["metadata"], made["metadata"]);
    let list = get(&format!("{MAPS}?labelSelector=a%21%3Db"), "PartialObjectMetadataList").await;
    assert_eq!((list.code, &list.headers["content-type"]), (200, &PROTOBUF.try_into().expect("a value")));
    let list = decode(&list.bytes);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert!(list["metadata"]["resourceVersion"].is_string(), "{list}");
    assert!(list["items"].as_array().is_some_and(|items| items.iter().any(|i| i["metadata"] == made["metadata"])));
    let events = get(&format!("{MAPS}?watch=true&timeoutSeconds=1"), "PartialObjectMetadata").await;
    assert_eq!(events.headers["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let empty = get("/api/v1/secrets", "PartialObjectMetadataList").await;
    assert_eq!((empty.code, &decode(&empty.bytes)["kind"]), (200, &json!("PartialObjectMetadataList")));
    let missing = get(&format!("{MAPS}/none"), "PartialObjectMetadata").await;
    assert_eq!((missing.code, decode(&missing.bytes)["reason"].as_str()), (404, Some("NotFound")));
}

#[tokio::test]
async fn strict_decoding_complains_in_the_order_of_the_body() {
    let cluster = Cluster::start().await;
    let body = r#"{"metadata": {"name": "m"}, "unknownField": 1, "data": {"a": "1", "a": "2"}, "other": 2}"#;
    let why = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"unknownField\", duplicate field \"data.a\", unknown field \"other\"";
    refused(&cluster, "POST", &format!("{MAPS}?fieldValidation=Strict"), body, (400, "BadRequest", why)).await;
    let yaml = "metadata:\n  name: yam\ndata:\n  a: one\n  a: two\nother: 1\n";
    let send = async |validation: &str| {
        let path = format!("{MAPS}?fieldValidation={validation}");
        cluster.rest("POST", &path, &[("content-type", "application/yaml")], yaml).await
    };
    let why = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  line 5: key \"a\" already set in map, unknown field \"other\"";
    let strict = send("Strict").await;
    assert_eq!((strict.code, strict.json()["message"].as_str()), (400, Some(why)));
    let warned = send("Warn").await;
    assert_eq!((warned.code, warned.json()["data"]["a"].as_str()), (201, Some("two")));
    assert_eq!(warned.headers.get_all("warning").iter().count(), 2);
    let twice = r#"{"data": {"a": "3", "a": "4"}}"#;
    let why = " \"\" is invalid: patch: Invalid value: \"{\\\"data\\\": {\\\"a\\\": \\\"3\\\", \\\"a\\\": \\\"4\\\"}}\": strict decoding error: duplicate field \"data.a\"";
    refused(&cluster, "PATCH", &format!("{MAPS}/yam?fieldValidation=Strict"), twice, (422, "Invalid", why)).await;
    let merge = ("content-type", "application/merge-patch+json");
    let patched = cluster.rest("PATCH", &format!("{MAPS}/yam"), &[merge], twice).await;
    assert_eq!(patched.headers["warning"], "299 - \"duplicate field \\\"data.a\\\"\"");
    let broken = "error decoding patch: unexpected end of JSON input";
    refused(&cluster, "PATCH", &format!("{MAPS}/yam"), "{", (400, "BadRequest", broken)).await;
    let nameless = "the name of the object (yam based on URL) was undeterminable: name must be provided";
    refused(&cluster, "PUT", &format!("{MAPS}/yam"), "{\"metadata\": {}}", (400, "BadRequest", nameless)).await;
}

#[tokio::test]
async fn new_objects_have_the_status_and_the_warnings_of_upstream() {
    let cluster = Cluster::start().await;
    let status = async |path: &str, object: Value| {
        let answer = cluster.rest("POST", path, &[], &object.to_string()).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
        answer.json()["status"].clone()
    };
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    assert_eq!(status("/api/v1/namespaces/default/services", service).await, json!({"loadBalancer": {}}));
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set =
        json!({"metadata": {"name": "s"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let apps = "/apis/apps/v1/namespaces/default";
    assert_eq!(status(&format!("{apps}/deployments"), set.clone()).await, json!({}));
    assert_eq!(status(&format!("{apps}/replicasets"), set.clone()).await, json!({"replicas": 0}));
    let daemons = status(&format!("{apps}/daemonsets"), set.clone()).await;
    assert_eq!((&daemons["desiredNumberScheduled"], &daemons["numberReady"]), (&json!(0), &json!(0)));
    let budget = json!({"metadata": {"name": "b"}, "spec": {"selector": {}}});
    let budget = status("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget).await;
    assert_eq!(budget["disruptionsAllowed"], 0);
    let node = status("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await;
    assert_eq!(node["nodeInfo"]["kubeletVersion"], "");
    let mut dotted = set.clone();
    dotted["metadata"]["name"] = "a.b".into();
    let warned = cluster.rest("POST", &format!("{apps}/deployments"), &[], &dotted.to_string()).await;
    let warning = warned.headers["warning"].to_str().expect("text");
    assert!(warning.starts_with("299 - \"metadata.name: this is used in Pod names and hostnames"), "{warning}");
    let volume = json!({
        "metadata": {"name": "v", "annotations": {"volume.beta.kubernetes.io/storage-class": "c"}},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
            "persistentVolumeReclaimPolicy": "Recycle"},
    });
    let warned = cluster.rest("POST", "/api/v1/persistentvolumes", &[], &volume.to_string()).await;
    assert_eq!(warned.headers.get_all("warning").iter().count(), 2, "{:?}", warned.headers);
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}});
    let event = cluster.rest("POST", "/api/v1/namespaces/default/events", &[], &event.to_string()).await.json();
    assert_eq!(event["source"], json!({}));
    cluster.rest("POST", "/api/v1/namespaces", &[], r#"{"metadata": {"name": "n"}}"#).await;
    let going = cluster.rest("DELETE", "/api/v1/namespaces/n", &[], "").await.json();
    assert_eq!(going["metadata"].get("deletionGracePeriodSeconds"), None, "{going}");
    let emptied = json!({"metadata": {"name": "s"}});
    let emptied = cluster.rest("PUT", &format!("{apps}/deployments/s/status"), &[], &emptied.to_string()).await;
    assert_eq!(emptied.json()["status"], json!({}), "{}", emptied.text);
}

#[tokio::test]
async fn nodes_keep_one_range_in_both_fields() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", "/api/v1/nodes", &[], r#"{"metadata": {"name": "n"}}"#).await;
    let merge = ("content-type", "application/merge-patch+json");
    let one = cluster.rest("PATCH", "/api/v1/nodes/n", &[merge], r#"{"spec": {"podCIDR": "10.1.0.0/24"}}"#).await;
    assert_eq!(one.json()["spec"]["podCIDRs"], json!(["10.1.0.0/24"]));
    let why = "Node \"n\" is invalid: spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid";
    refused(&cluster, "PATCH", "/api/v1/nodes/n", r#"{"spec": {"podCIDR": "10.2.0.0/24"}}"#, (422, "Invalid", why))
        .await;
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let cluster = Cluster::start().await;
    let authorization = "/apis/authorization.k8s.io/v1";
    let attributes = json!({"verb": "get", "resource": "pods"});
    let check = async |path: &str, body: Value, code: u16, message: &str| {
        let answer = cluster.rest("POST", &format!("{authorization}/{path}"), &[], &body.to_string()).await;
        let said = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(answer.code == code && said.contains(message), "{path} {body}: {}", answer.text);
    };
    let named = json!({"metadata": {"name": "x"}, "spec": {"user": "u", "resourceAttributes": attributes}});
    check("subjectaccessreviews", named, 422, "metadata: Invalid value: {\"name\":\"x\"}: must be empty").await;
    let labelled = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"resourceAttributes": attributes}});
    check(
        "selfsubjectaccessreviews",
        labelled.clone(),
        422,
        "metadata: Invalid value: {\"labels\":{\"a\":\"b\"}}: must be empty",
    )
    .await;
    let why = "metadata: Invalid value: {\"namespace\":\"default\",\"labels\":{\"a\":\"b\"}}: must be empty except for namespace";
    check("namespaces/default/localsubjectaccessreviews", labelled, 422, why).await;
    let mut selective = attributes.clone();
    selective["fieldSelector"] = json!({});
    let why = "spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required";
    check("selfsubjectaccessreviews", json!({"spec": {"resourceAttributes": selective}}), 422, why).await;
    let path = json!({"spec": {"user": "u", "nonResourceAttributes": {"verb": "get", "path": "/"}}});
    check("namespaces/default/localsubjectaccessreviews", path, 422, "disallowed on this kind of request").await;
    check("selfsubjectrulesreviews", json!({"spec": {}}), 400, "no namespace on request").await;
    cluster.default_account().await;
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let why = "TokenRequest.authentication.k8s.io \"default\" is invalid: metadata.name: Invalid value: \"other\": must match the service account name if specified";
    refused(&cluster, "POST", token, r#"{"metadata": {"name": "other"}, "spec": {}}"#, (422, "Invalid", why)).await;
    let why = "the namespace of the provided object does not match the namespace sent on the request";
    refused(&cluster, "POST", token, r#"{"metadata": {"namespace": "x"}, "spec": {}}"#, (400, "BadRequest", why)).await;
    let secret = r#"{"metadata": {"name": "s"}}"#;
    assert_eq!(cluster.rest("POST", "/api/v1/namespaces/default/secrets", &[], secret).await.code, 201);
    let bound =
        json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "other"}}});
    let why = "Operation cannot be fulfilled on Secret \"s\": the UID in the bound object reference (other) does not match the UID in record. The object might have been deleted and then recreated";
    refused(&cluster, "POST", token, &bound.to_string(), (409, "Conflict", why)).await;
    let account = cluster.rest("GET", token.trim_end_matches("/token"), &[], "").await.json();
    let uid = account["metadata"]["uid"].as_str().unwrap_or_default();
    let why = format!(
        "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"default\": the UID in the token request (other) does not match the UID of the service account ({uid})"
    );
    refused(&cluster, "POST", token, r#"{"metadata": {"uid": "other"}, "spec": {}}"#, (409, "Conflict", &why)).await;
    let own = serde_json::json!({"metadata": {"uid": uid}, "spec": {}}).to_string();
    let issued = cluster.rest("POST", token, &[], &own).await;
    assert_eq!((issued.code, issued.json()["metadata"]["uid"].as_str()), (201, Some(uid)), "{}", issued.text);
    let class = "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical";
    let why = "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class and cannot be deleted";
    refused(&cluster, "DELETE", class, "", (403, "Forbidden", why)).await;
}

#[tokio::test]
async fn custom_kinds_take_any_finalizer_and_have_no_router() {
    let cluster = Cluster::start().await;
    let definition = json!({
        "metadata": {"name": "noxus.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": {"plural": "noxus", "kind": "Noxu"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(cluster.rest("POST", definitions, &[], &definition.to_string()).await.code, 201);
    let noxus = "/apis/example.com/v1/noxus";
    let served = async { while cluster.rest("GET", noxus, &[], "").await.code != 200 {} };
    tokio::time::timeout(PATIENCE, served).await.expect("the kind is served");
    let body = json!({"apiVersion": "example.com/v1", "kind": "Noxu", "metadata": {"name": "n", "finalizers": ["test-finalizer"]}});
    let apply = ("content-type", "application/apply-patch+yaml");
    let path = format!("{noxus}/n?fieldManager=m&fieldValidation=Strict");
    let made = cluster.rest("PATCH", &path, &[apply], &body.to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let warning = "299 - \"metadata.finalizers: \\\"test-finalizer\\\": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers\"";
    assert_eq!(made.headers["warning"], warning);
    let why = "noxus.example.com \"n\" not found";
    refused(&cluster, "GET", &format!("{noxus}/n/status"), "", (404, "NotFound", why)).await;
    for path in ["/apis/example.com/v1/namespaces/default/noxus", "/apis/example.com/v1/others"] {
        assert_eq!(cluster.rest("GET", path, &[], "").await.text, "404 page not found\n", "{path}");
    }
    let protobuf = ("accept", "application/vnd.kubernetes.protobuf");
    assert_eq!(cluster.rest("GET", noxus, &[protobuf], "").await.code, 406);
}

#[tokio::test]
async fn all_that_is_wrong_with_options_is_told_at_once() {
    let cluster = Cluster::start().await;
    let body = configmap("m", "1").to_string();
    let many = "fieldManager=%07%0A&dryRun=Some&fieldValidation=Much";
    let told = |head: &str, name: &str| {
        format!(
            "{name}Options.meta.k8s.io \"\" is invalid: [{head}fieldManager: Invalid value: \"\\a\\n\": invalid character \
             U+0007 (at position 0), fieldManager: Invalid value: \"\\a\\n\": invalid character U+000A (at position 1), \
             dryRun: Unsupported value: [\"Some\"]: supported values: \"All\", fieldValidation: Unsupported value: \
             \"Much\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"]"
        )
    };
    refused(&cluster, "POST", &format!("{MAPS}?{many}"), &body, (422, "Invalid", &told("", "Create"))).await;
    let forced = told("force: Forbidden: may not be specified for non-apply patch, ", "Patch");
    let merge = ("content-type", "application/merge-patch+json");
    let answer = cluster.rest("PATCH", &format!("{MAPS}/m?{many}&force=true"), &[merge], "{}").await;
    assert_eq!((answer.code, answer.json()["message"].as_str()), (422, Some(forced.as_str())));
    let sideways = "DeleteOptions.meta.k8s.io \"\" is invalid: [propagationPolicy: Invalid value: \"Sideways\": \
        orphanDependents and deletionPropagation cannot be both set, propagationPolicy: Unsupported value: \"Sideways\": \
        supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\", dryRun: Unsupported value: [\"Some\"]: \
        supported values: \"All\"]";
    let path = format!("{MAPS}/m?propagationPolicy=Sideways&orphanDependents=true&dryRun=Some");
    refused(&cluster, "DELETE", &path, "", (422, "Invalid", sideways)).await;
    let listed = "ListOptions.meta.k8s.io \"\" is invalid: [resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden \
        unless resourceVersion is provided, resourceVersionMatch: Unsupported value: \"Never\": supported values: \
        \"Exact\", \"NotOlderThan\", \"\", sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list]";
    let path = format!("{MAPS}?resourceVersionMatch=Never&sendInitialEvents=true");
    refused(&cluster, "GET", &path, "", (422, "Invalid", listed)).await;
    let watched = "ListOptions.meta.k8s.io \"\" is invalid: [resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden \
        for watch unless sendInitialEvents is provided, resourceVersionMatch: Unsupported value: \"Exact\": supported \
        values: \"NotOlderThan\"]";
    refused(&cluster, "GET", &format!("{MAPS}?watch=1&resourceVersionMatch=Exact"), "", (422, "Invalid", watched))
        .await;
}

#[tokio::test]
async fn a_deletion_takes_its_options_from_the_body_or_the_url() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", MAPS, &[], &configmap("m", "1").to_string()).await;
    let dry = format!("{MAPS}/m?dryRun=All");
    assert_eq!(cluster.rest("DELETE", &dry, &[], "").await.code, 200);
    assert_eq!(cluster.rest("GET", &format!("{MAPS}/m"), &[], "").await.code, 200, "nothing was deleted");
    let both = format!("{MAPS}/m?propagationPolicy=Orphan&orphanDependents=true");
    let why = "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Orphan\": \
               orphanDependents and deletionPropagation cannot be both set";
    refused(&cluster, "DELETE", &both, "", (422, "Invalid", why)).await;
    let body = json!({"kind": "DeleteOptions", "apiVersion": "v1"}).to_string();
    let options = "dryRun=All&gracePeriodSeconds=x&propagationPolicy=Foreground";
    assert_eq!(cluster.rest("DELETE", &format!("{MAPS}/m?{options}"), &[], &body).await.code, 200);
    assert_eq!(cluster.rest("GET", &format!("{MAPS}/m"), &[], "").await.code, 404, "the body said nothing of this");
}

/// A megabyte, which is more than is held back for slow readers of sessions.
const MUCH: usize = 1 << 20;

#[tokio::test]
async fn a_watch_over_a_websocket_sends_an_event_in_each_message() {
    let cluster = Cluster::start().await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let base = "/api/v1/namespaces/watched/configmaps";
    let namespace = json!({"metadata": {"name": "watched"}}).to_string();
    assert_eq!(cluster.rest("POST", "/api/v1/namespaces", &[], &namespace).await.code, 201);
    for (name, text) in [("a", "1".to_owned()), ("b", "x".repeat(MUCH))] {
        assert_eq!(cluster.rest("POST", base, &[], &configmap(name, &text).to_string()).await.code, 201);
    }
    for protocols in ["", "base64.binary.k8s.io"] {
        let path = format!("{base}?watch=true&timeoutSeconds=1&resourceVersion=0");
        let mut socket = websocket(&cluster, Some(&admin), &path, protocols).await.expect("upgraded");
        let mut seen = Vec::new();
        loop {
            match socket.next().await.expect("a goodbye").expect("a message") {
                Message::Text(text) => {
                    let event: Value = serde_json::from_str(&text).expect("an event");
                    let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
                    seen.push(format!("{} {name}", event["type"].as_str().unwrap_or_default()));
                }
                Message::Close(_) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, ["ADDED a", "ADDED b"], "{protocols}");
    }
    let refused = websocket(&cluster, Some(&admin), &format!("{base}?watch=true&labelSelector=a%20b"), "").await;
    assert_eq!(refused.expect_err("no selector").0, 400);
}

#[tokio::test]
async fn certificates_and_keys_that_do_not_fit_are_warned_of() {
    let cluster = Cluster::start().await;
    let (a, b) = (cluster.identity("a", &[]), cluster.identity("b", &[]));
    let check = async |certificate: &[u8], key: &[u8], expected: Option<&str>| {
        let data = json!({"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key)});
        let secret = json!({"metadata": {"generateName": "s-"}, "type": "kubernetes.io/tls", "data": data});
        let made = cluster.rest("POST", "/api/v1/namespaces/default/secrets", &[], &secret.to_string()).await;
        let warning = made.headers.get("warning").map(|text| text.to_str().expect("text").to_owned());
        let expected = expected.map(|text| format!("299 - {}", Value::from(text)));
        assert_eq!((made.code, warning), (201, expected));
    };
    check(&a.cert_pem, &a.key_pem, None).await;
    check(&a.cert_pem, &b.key_pem, Some("tls: private key does not match public key")).await;
    check(b"x", &a.key_pem, Some("tls: failed to find any PEM data in certificate input")).await;
    check(&a.cert_pem, b"", Some("tls: failed to find any PEM data in key input")).await;
    let switched = "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs \
                    may have been switched";
    check(&a.key_pem, &a.cert_pem, Some(switched)).await;
    let certificate = "tls: found a certificate rather than a key in the PEM for the private key";
    check(&a.cert_pem, &a.cert_pem, Some(certificate)).await;
    let block = |sort: &str| format!("-----BEGIN {sort}-----\n{}\n-----END {sort}-----\n", STANDARD.encode("junk"));
    check(block("CERTIFICATE").as_bytes(), &a.key_pem, Some("x509: malformed certificate")).await;
    check(&a.cert_pem, block("PRIVATE KEY").as_bytes(), Some("tls: failed to parse private key")).await;
    let edwards = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key").serialize_pem();
    let kinds = "tls: private key type does not match public key type";
    check(&a.cert_pem, edwards.as_bytes(), Some(kinds)).await;
}
