//! Tables, selectable fields, names in discovery.

use super::*;

const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");

#[tokio::test]
async fn tables_have_the_columns_of_the_definition() {
    let cluster = Cluster::start().await;
    let plain = definition("plains", "Plain", json!({"type": "object"}));
    define(&cluster, &plain).await;
    let table = cluster.rest("GET", "/apis/stable.example.com/v1/plains", &[TABLE], "").await.json();
    let names = |table: &Value| -> Vec<String> {
        let columns = table["columnDefinitions"].as_array().expect("columns");
        columns.iter().map(|c| c["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&table), ["Name", "Age"]);
    let mut with = crontabs();
    with["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec", "description": "When"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
        {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]);
    define(&cluster, &with).await;
    let mut object = crontab("a", json!({"replicas": 2}));
    object["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    post(&cluster, CRONTABS, &object).await;
    let table = cluster.rest("GET", CRONTABS, &[TABLE], "").await.json();
    assert_eq!(names(&table), ["Name", "Spec", "Replicas", "Ready", "Since"]);
    assert_eq!(
        (&table["columnDefinitions"][1]["description"], &table["columnDefinitions"][2]["priority"]),
        (&json!("When"), &json!(1))
    );
    let cells = table["rows"][0]["cells"].as_array().expect("cells");
    assert_eq!(cells[..4], [json!("a"), json!("5 0 * * *"), json!(2), json!("True")]);
    assert!(cells[4].as_str().is_some_and(|age| age.ends_with('s')), "{cells:?}");
}

#[tokio::test]
async fn fields_can_be_selected_by() {
    let cluster = Cluster::start().await;
    let mut with = crontabs();
    with["spec"]["versions"][0]["selectableFields"] =
        json!([{"jsonPath": ".spec.image"}, {"jsonPath": ".spec.replicas"}]);
    define(&cluster, &with).await;
    post(&cluster, CRONTABS, &crontab("a", json!({"image": "x", "replicas": 1}))).await;
    post(&cluster, CRONTABS, &crontab("b", json!({"image": "y", "replicas": 2}))).await;
    let names = async |selector: &str| {
        let answer = get(&cluster, &format!("{CRONTABS}?fieldSelector={selector}")).await;
        let items = answer.json()["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|i| i["metadata"]["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("spec.image%3Dx").await, ["a"]);
    assert_eq!(names("spec.replicas%3D2").await, ["b"]);
    assert_eq!(names("spec.image!%3Dx").await, ["b"]);
    let unknown = get(&cluster, &format!("{CRONTABS}?fieldSelector=spec.cronSpec%3Dx")).await;
    assert_eq!(unknown.code, 400, "{}", unknown.text);
    assert!(unknown.text.contains("field label not supported: spec.cronSpec"), "{}", unknown.text);
}

#[tokio::test]
async fn discovery_has_names_and_categories() {
    let cluster = Cluster::start().await;
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let before = cluster.rest("GET", "/apis", &accept, "").await;
    let mut with = crontabs();
    with["spec"]["names"]["shortNames"] = json!(["ct"]);
    with["spec"]["names"]["categories"] = json!(["all"]);
    with["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    define(&cluster, &with).await;
    let after = cluster.rest("GET", "/apis", &accept, "").await;
    assert_ne!(before.headers["etag"], after.headers["etag"]);
    let groups = after.json()["items"].as_array().expect("groups").clone();
    let group = groups.last().expect("the custom groups come last");
    assert_eq!(group["metadata"]["name"], "stable.example.com");
    let resource = &group["versions"][0]["resources"][0];
    assert_eq!((&resource["shortNames"], &resource["categories"]), (&json!(["ct"]), &json!(["all"])));
    assert_eq!(resource["subresources"][0]["subresource"], "status");
    assert_eq!(resource["responseKind"], json!({"group": "stable.example.com", "version": "v1", "kind": "CronTab"}));
    assert_eq!(resource["singularResource"], "crontab");
}
