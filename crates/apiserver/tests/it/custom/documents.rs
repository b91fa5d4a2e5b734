//! OpenAPI of custom kinds.

use super::*;

#[tokio::test]
async fn custom_kinds_are_described() {
    let cluster = Cluster::start().await;
    let missing = get(&cluster, "/openapi/v3/apis/stable.example.com/v1").await;
    assert_eq!(missing.code, 404);
    define(&cluster, &crontabs()).await;
    let index = get(&cluster, "/openapi/v3").await.json();
    let link = index["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"].as_str().expect("a link").to_owned();
    let document = get(&cluster, &link).await.json();
    let schemas = &document["components"]["schemas"];
    let kind = &schemas["com.example.stable.v1.CronTab"];
    assert_eq!(
        kind["x-kubernetes-group-version-kind"],
        json!([{"group": "stable.example.com", "version": "v1", "kind": "CronTab"}])
    );
    assert_eq!(kind["properties"]["spec"]["properties"]["replicas"]["maximum"], json!(10));
    assert_eq!(
        kind["properties"]["metadata"]["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    assert_eq!(
        schemas["com.example.stable.v1.CronTabList"]["properties"]["items"]["items"]["$ref"],
        "#/components/schemas/com.example.stable.v1.CronTab"
    );
    let operation = &document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]["patch"];
    let takes: Vec<&String> = operation["requestBody"]["content"].as_object().expect("media types").keys().collect();
    assert!(!takes.iter().any(|t| t.contains("strategic")), "{takes:?}");
    let second = get(&cluster, "/openapi/v2").await.json();
    let kind = &second["definitions"]["com.example.stable.v1.CronTab"];
    assert_eq!(kind["properties"]["spec"]["properties"]["image"]["type"], "string");
    assert_eq!(kind["properties"]["metadata"]["$ref"], "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
}

#[tokio::test]
async fn a_schema_that_keeps_everything_describes_nothing() {
    let cluster = Cluster::start().await;
    let mut open = crontabs();
    open["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-preserve-unknown-fields"] = true.into();
    define(&cluster, &open).await;
    let second = get(&cluster, "/openapi/v2").await.json();
    let kind = &second["definitions"]["com.example.stable.v1.CronTab"];
    assert_eq!((kind.get("properties"), &kind["type"]), (None, &json!("object")), "{kind}");
    let third = get(&cluster, "/openapi/v3/apis/stable.example.com/v1").await.json();
    let kind = &third["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert!(kind["properties"]["spec"].is_object(), "{kind}");
}
