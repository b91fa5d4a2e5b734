//! LIST: pages at one revision, selectors, versions, tables.

use serde_json::Value;

use crate::support::{Cluster, configmap};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn filled(count: usize) -> Cluster {
    let cluster = Cluster::start().await;
    for i in 0..count {
        let mut object = configmap(&format!("c{i}"), "1");
        object["metadata"]["labels"] = serde_json::json!({"odd": (i % 2).to_string()});
        assert_eq!(cluster.rest("POST", MAPS, &[], &object.to_string()).await.code, 201);
    }
    cluster
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().filter_map(|i| i["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn pages_show_one_state() {
    let cluster = filled(5).await;
    let first = cluster.rest("GET", &format!("{MAPS}?limit=2"), &[], "").await.json();
    assert_eq!(names(&first), ["c0", "c1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    cluster.rest("DELETE", &format!("{MAPS}/c3"), &[], "").await;
    let token = first["metadata"]["continue"].as_str().expect("more");
    let second = cluster.rest("GET", &format!("{MAPS}?limit=2&continue={token}"), &[], "").await.json();
    assert_eq!(names(&second), ["c2", "c3"], "c3 was there when the list began");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().expect("more");
    let third = cluster.rest("GET", &format!("{MAPS}?limit=2&continue={token}"), &[], "").await.json();
    assert_eq!(names(&third), ["c4"]);
    assert!(third["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn selectors_choose() {
    let cluster = filled(5).await;
    let check = async |query: &str, expected: &[&str]| {
        let list = cluster.rest("GET", &format!("{MAPS}?{query}"), &[], "").await.json();
        assert_eq!(names(&list), expected, "{query}");
    };
    check("labelSelector=odd%3D1", &["c1", "c3"]).await;
    check("labelSelector=odd+notin+(1)", &["c0", "c2", "c4"]).await;
    check("fieldSelector=metadata.name%3Dc2", &["c2"]).await;
    check("fieldSelector=metadata.name!%3Dc2&labelSelector=odd%3D0", &["c0", "c4"]).await;
    check("labelSelector=odd%3D0&limit=2", &["c0", "c2"]).await;
}

#[tokio::test]
async fn versions_are_honoured() {
    let cluster = filled(1).await;
    let now = cluster.rest("GET", MAPS, &[], "").await.json();
    let version: u64 = now["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).expect("a version");
    cluster.rest("POST", MAPS, &[], &configmap("later", "1").to_string()).await;
    let exact = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(names(&cluster.rest("GET", &exact, &[], "").await.json()), ["c0"]);
    let ahead = cluster.rest("GET", &format!("{MAPS}?resourceVersion={}", version + 1_000_000), &[], "").await;
    let status = ahead.json();
    assert_eq!((ahead.code, status["details"]["causes"][0]["reason"].as_str()), (504, Some("ResourceVersionTooLarge")));
    let bad = cluster.rest("GET", &format!("{MAPS}?resourceVersion=x"), &[], "").await;
    assert_eq!(bad.code, 400);
}

/// What is selected is read chunk by chunk, and a page ends where it is full.
#[tokio::test]
async fn pages_of_a_selection_show_one_state_too() {
    let cluster = filled(25).await;
    let now = cluster.rest("GET", MAPS, &[], "").await.json();
    let version = now["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    assert_eq!(cluster.rest("DELETE", &format!("{MAPS}/c3"), &[], "").await.code, 200);
    let all: Vec<&str> =
        names(&now).into_iter().filter(|name| name[1..].parse::<usize>().is_ok_and(|n| n % 2 == 1)).collect();
    for limit in [1, 5, 12, 100] {
        let selected = format!("{MAPS}?labelSelector=odd%3D1&limit={limit}");
        let exact = format!("{selected}&resourceVersion={version}&resourceVersionMatch=Exact");
        let mut page = cluster.rest("GET", &exact, &[], "").await.json();
        let mut found: Vec<String> = names(&page).into_iter().map(str::to_owned).collect();
        while let Some(token) = page["metadata"]["continue"].as_str() {
            assert_eq!(names(&page).len(), limit);
            page = cluster.rest("GET", &format!("{selected}&continue={token}"), &[], "").await.json();
            assert_eq!(page["metadata"]["resourceVersion"], version.as_str());
            found.extend(names(&page).into_iter().map(str::to_owned));
        }
        assert_eq!(found, all, "{limit}");
    }
}

#[tokio::test]
async fn tables_and_metadata() {
    let cluster = filled(2).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = cluster.rest("GET", MAPS, &[("accept", table)], "").await.json();
    assert_eq!(table["kind"], "Table");
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().expect("columns").iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    assert_eq!(table["rows"][0]["cells"][0], "c0");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let partial = cluster.rest("GET", MAPS, &[("accept", partial)], "").await.json();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert!(partial["items"][0].get("data").is_none());
    // What a deletion of many answers is a list too.
    let one = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let refused = cluster.rest("DELETE", &format!("{MAPS}?labelSelector=none"), &[("accept", one)], "").await;
    assert_eq!(refused.code, 406, "{}", refused.text);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let gone = cluster.rest("DELETE", MAPS, &[("accept", table)], "").await.json();
    assert_eq!((&gone["kind"], &gone["rows"][1]["cells"][0]), (&"Table".into(), &"c1".into()));
    assert_eq!(names(&cluster.rest("GET", MAPS, &[], "").await.json()), [""; 0]);
}

#[tokio::test]
async fn large_lists_come_in_pieces_and_packed_on_request() {
    let cluster = Cluster::start().await;
    for i in 0..40 {
        let object = configmap(&format!("c{i:02}"), &"x".repeat(8192));
        assert_eq!(cluster.rest("POST", MAPS, &[], &object.to_string()).await.code, 201);
    }
    let plain = cluster.rest("GET", MAPS, &[], "").await;
    assert!(plain.bytes.len() > 40 * 8192 && !plain.headers.contains_key("content-length"));
    let packed = cluster.rest("GET", MAPS, &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.bytes.len() < plain.bytes.len() / 4);
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(packed.bytes.as_ref());
    std::io::Read::read_to_string(&mut decoder, &mut text).expect("gzip");
    let unpacked: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(unpacked["items"], plain.json()["items"]);
    assert_eq!(names(&unpacked).len(), 40);
}
