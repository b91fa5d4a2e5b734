use super::*;

fn decoded(path: &str) -> Value {
    serde_json::from_slice(&v3(path).expect("served").bytes).expect("JSON")
}

#[test]
fn schemas_carry_what_clients_compute_with() {
    let apps = decoded("apis/apps/v1");
    let schemas = &apps["components"]["schemas"];
    let pod = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(
        pod["containers"],
        json!({"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}]},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name"})
    );
    assert_eq!(pod["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(schemas["io.k8s.api.apps.v1.DeploymentSpec"]["required"], json!(["selector", "template"]));
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    assert_eq!(
        schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"],
        json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
    );
}

#[test]
fn patch_operations_say_what_they_take() {
    let core = decoded("api/v1");
    let patch = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"], json!({"group": "", "version": "v1", "kind": "Pod"}));
    let names: Vec<&str> =
        patch["parameters"].as_array().expect("a list").iter().filter_map(|p| p["name"].as_str()).collect();
    assert!(["dryRun", "fieldManager", "fieldValidation"].iter().all(|n| names.contains(n)));
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
    assert!(core["paths"]["/api/v1/namespaces"].get("delete").is_none(), "namespaces have no deletecollection");
    assert_eq!(core["paths"]["/api/v1/pods"]["get"]["operationId"], "listCoreV1PodForAllNamespaces");
}

/// Every `$ref` in a document must lead somewhere.
fn check_references(at: &Value, prefix: &str, schemas: &Value) {
    match at {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                let name = target.strip_prefix(prefix).expect("a local reference");
                assert!(schemas.get(name).is_some(), "{target}");
            }
            map.values().for_each(|v| check_references(v, prefix, schemas));
        }
        Value::Array(list) => list.iter().for_each(|v| check_references(v, prefix, schemas)),
        _ => {}
    }
}

#[test]
fn references_resolve_and_hashes_differ() {
    let mut hashes = BTreeSet::new();
    for (path, entry) in index()["paths"].as_object().expect("a map") {
        let document = decoded(path);
        check_references(&document, "#/components/schemas/", &document["components"]["schemas"]);
        let hash = &v3(path).expect("served").hash;
        assert_eq!(entry["serverRelativeURL"], format!("/openapi/v3/{path}?hash={hash}"));
        assert!(hashes.insert(hash.clone()));
    }
    let document: Value = serde_json::from_slice(&v2().bytes).expect("JSON");
    check_references(&document, "#/definitions/", &document["definitions"]);
    assert!(v3("apis/nope/v1").is_none());
}

#[test]
fn proxies_are_connections() {
    let core = decoded("api/v1");
    let bare = &core["paths"]["/api/v1/namespaces/{namespace}/services/{name}/proxy"];
    assert_eq!(bare["get"]["operationId"], "connectCoreV1GetNamespacedServiceProxy");
    assert_eq!(bare["options"]["x-kubernetes-action"], "connect");
    let below = &core["paths"]["/api/v1/nodes/{name}/proxy/{path}"]["post"];
    assert_eq!(below["operationId"], "connectCoreV1PostNodeProxyWithPath");
    assert!(core["components"]["schemas"].get("io.k8s.api.core.v1.NodeProxyOptions").is_none());
    let metrics = decoded("apis/metrics.k8s.io/v1beta1");
    assert!(metrics["components"]["schemas"].get("io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics").is_some());
}
