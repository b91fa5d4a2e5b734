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
async fn cells_show_what_upstream_prints() {
    let cluster = Cluster::start().await;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut with = definition("crontabs", "CronTab", open);
    let column = |kind: &str, path: &str| json!({"name": path, "type": kind, "jsonPath": path});
    with["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        column("string", r".metadata.labels['x\.io/name']"),
        column("string", ".spec.list"),
        column("string", ".spec.none"),
        column("string", ".spec.big"),
        column("integer", ".spec.text"),
        column("integer", ".spec.half"),
        column("date", ".spec.never"),
        column("date", ".spec.text"),
        column("string", ".spec.list[1:]"),
        column("string", ".spec.nope"),
        column("string", ".spec[x]"),
        column("string", ".spec.text"),
    ]);
    define(&cluster, &with).await;
    let spec = json!({"list": [{"b": "<&>", "a": 1}, "two"], "none": null, "big": 1_500_000.5, "text": "t", "half": 2.5, "never": ""});
    let mut object = crontab("a", spec);
    object["metadata"]["labels"] = json!({"x.io/name": "labelled"});
    let made = post(&cluster, CRONTABS, &object).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let table = cluster.rest("GET", CRONTABS, &[TABLE], "").await.json();
    let list = "[{\"a\":1,\"b\":\"\\u003c\\u0026\\u003e\"},\"two\"]";
    let cells =
        json!(["a", "labelled", list, "<no value>", "1.5000005e+06", null, 2, "<unknown>", "<invalid>", "two", null]);
    assert_eq!(table["rows"][0]["cells"], cells);
    let columns = table["columnDefinitions"].as_array().map(Vec::len);
    assert_eq!(columns, Some(11), "a path that cannot be read ends the columns");
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

/// What is made of every kind comes in protobuf too, and in the version that the client asks for.
#[tokio::test]
async fn metadata_and_scales_come_in_the_forms_that_clients_ask_for() {
    let cluster = Cluster::start().await;
    let mut with = crontabs();
    with["spec"]["versions"][0]["subresources"] =
        json!({"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}});
    define(&cluster, &with).await;
    post(&cluster, CRONTABS, &crontab("a", json!({"replicas": 2}))).await;
    let one = format!("{CRONTABS}/a");
    let ask = async |path: &str, accept: &str| cluster.rest("GET", path, &[("accept", accept)], "").await;

    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    assert_eq!(ask(&one, PROTOBUF).await.code, 406, "fields of custom kinds have no numbers");
    let watch = format!("{CRONTABS}?watch=true&timeoutSeconds=1");
    for (path, kind) in [
        (one.as_str(), "PartialObjectMetadata"),
        (CRONTABS, "PartialObjectMetadataList"),
        (&watch, "PartialObjectMetadata"),
    ] {
        for version in ["v1", "v1beta1"] {
            let answer = ask(path, &format!("{PROTOBUF};as={kind};g=meta.k8s.io;v={version}")).await;
            let says =
                format!("meta.k8s.io/{version}\u{12}{}{kind}", char::from(u8::try_from(kind.len()).expect("short")));
            assert!(
                answer.code == 200 && answer.bytes.windows(says.len()).any(|w| w == says.as_bytes()),
                "{path}: {}",
                answer.text
            );
        }
    }
    let scale = ask(&format!("{one}/scale"), PROTOBUF).await;
    assert_eq!((scale.code, scale.bytes.starts_with(b"k8s\0")), (200, true), "{}", scale.text);

    let beta = "application/json;as=Table;g=meta.k8s.io;v=v1beta1";
    let table = ask(CRONTABS, beta).await.json();
    assert_eq!(table["apiVersion"], "meta.k8s.io/v1beta1");
    assert_eq!(table["rows"][0]["object"]["apiVersion"], "meta.k8s.io/v1beta1");
    let table = ask(&format!("{one}/scale"), TABLE.1).await.json();
    assert_eq!((&table["kind"], &table["columnDefinitions"][1]["name"]), (&json!("Table"), &json!("Desired")));
    assert_eq!(
        table["rows"][0]["cells"].as_array().map(|cells| cells[..3].to_vec()),
        Some(vec!["a".into(), 2.into(), 0.into()])
    );
    let unknown = ask(&format!("{CRONTABS}?includeObject=unrecognized"), TABLE.1).await;
    let why = "Unable to convert to Table as requested: includeObject: Invalid value: \"unrecognized\": must be 'Metadata', 'Object', 'None', or empty";
    assert_eq!((unknown.code, unknown.json()["message"].as_str()), (400, Some(why)));
}
