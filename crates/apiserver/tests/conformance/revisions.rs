//! What a revision in a request means, and the other promises about answers that no kind changes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_apiserver::testing::Builder;
use gantry_store::{MemoryStore, Store};
use serde_json::{Value, json};

use crate::client::Client;
use crate::support::{Answer, Cluster, configmap};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server with three objects, and the revision after each.
async fn three() -> (Cluster, Client, Vec<u64>) {
    three_in(Arc::new(MemoryStore::new())).await
}

async fn three_in(store: Arc<dyn Store>) -> (Cluster, Client, Vec<u64>) {
    let cluster = Cluster::with(Builder::default().store(store)).await;
    let client = Client::admin(&cluster).await;
    let mut revisions = Vec::new();
    for name in ["a", "b", "c"] {
        let made = client.ask("POST", MAPS, &[], configmap(name, &"x".repeat(70_000)).to_string()).await;
        assert_eq!(made.code, 201, "{}", made.text);
        revisions.push(revision(&made.json()));
    }
    (cluster, client, revisions)
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).expect("a revision")
}

fn names(answer: &Answer) -> Vec<String> {
    let list = answer.json();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|i| i["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_read_is_of_the_revision_that_it_names() {
    let (_cluster, client, revisions) = three().await;
    let check = async |query: &str, expected: &[&str]| {
        let answer = client.get(&format!("{MAPS}?{query}")).await;
        assert_eq!((answer.code, names(&answer)), (200, expected.iter().map(|n| (*n).to_owned()).collect()), "{query}");
        answer.json()
    };
    for (at, revision_then) in revisions.iter().enumerate() {
        let then =
            check(&format!("resourceVersion={revision_then}&resourceVersionMatch=Exact"), &["a", "b", "c"][..=at])
                .await;
        assert_eq!(revision(&then), *revision_then, "as it was then");
        let now =
            check(&format!("resourceVersion={revision_then}&resourceVersionMatch=NotOlderThan"), &["a", "b", "c"])
                .await;
        assert!(revision(&now) >= revisions[2]);
        check(&format!("resourceVersion={revision_then}"), &["a", "b", "c"]).await;
    }
    check("resourceVersion=0", &["a", "b", "c"]).await;
    check("resourceVersion=0&limit=1", &["a", "b", "c"]).await;
    // A page of a version is one of that very version, unless another match is asked for.
    let page = check(&format!("resourceVersion={}&limit=2", revisions[0]), &["a"]).await;
    assert_eq!(revision(&page), revisions[0]);
    check(&format!("resourceVersion={}&resourceVersionMatch=NotOlderThan&limit=2", revisions[0]), &["a", "b"]).await;
    let exact = format!("resourceVersion={}&resourceVersionMatch=Exact&limit=1", revisions[1]);
    let page = check(&exact, &["a"]).await;
    assert_eq!(page["metadata"]["remainingItemCount"], 1);
    let selected = check("limit=1&labelSelector=!none", &["a"]).await;
    assert_eq!(selected["metadata"].get("remainingItemCount"), None, "nobody counts what a selection leaves");
    assert!(selected["metadata"]["continue"].is_string());
}

#[tokio::test]
async fn a_revision_that_makes_no_sense_is_refused_in_upstreams_words() {
    let (_cluster, client, revisions) = three().await;
    let check = async |query: &str, code: u16, message: &str| {
        let answer = client.get(&format!("{MAPS}{query}")).await;
        let status = answer.json();
        assert_eq!(answer.code, code, "{query}: {status}");
        assert!(status["message"].as_str().is_some_and(|m| m.contains(message)), "{query}: {status}");
        status
    };
    let match_ = "resourceVersionMatch";
    check("?resourceVersion=x", 400, "parsing \"x\": invalid syntax").await;
    check("/a?resourceVersion=-1", 400, "invalid syntax").await;
    check(&format!("?{match_}=Exact"), 422, "resourceVersionMatch is forbidden unless resourceVersion is provided")
        .await;
    check(&format!("?{match_}=Exact&resourceVersion=0"), 422, "is forbidden for resourceVersion \"0\"").await;
    check(&format!("?{match_}=Never&resourceVersion=1"), 422, "Unsupported value: \"Never\"").await;
    let unnamed = "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided, \
                   resourceVersionMatch: Unsupported value: \"Never\"";
    check(&format!("?{match_}=Never"), 422, unnamed).await;
    let continued = "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided, \
                     resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"]";
    check(&format!("?{match_}=Exact&resourceVersion=0&continue=x"), 422, continued).await;
    check("?continue=x&resourceVersion=1", 400, "invalid continue token: continue key is not valid").await;
    check("?limit=x", 400, "").await;
    let future = revisions[2] + 1_000_000;
    for path in [format!("?resourceVersion={future}"), format!("/a?resourceVersion={future}")] {
        let status = check(&path, 504, &format!("Timeout: Too large resource version: {future}, current: ")).await;
        assert_eq!(status["reason"], "Timeout");
        assert_eq!(status["details"]["retryAfterSeconds"], 1);
        assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
        assert_eq!(status["details"]["causes"][0]["message"], "Too large resource version");
    }
}

#[tokio::test]
async fn an_expired_token_comes_back_with_one_that_goes_on() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (first, _, revisions) = three_in(store.clone()).await;
    let (first, _folder) = first.into_parts();
    first.stop().await;
    store.compact(revisions[2]).await.expect("compacted");
    // This one has seen nothing of what was before.
    let cluster = Cluster::with(Builder::default().store(store)).await;
    let client = Client::admin(&cluster).await;
    let old = json!({"v": "meta.k8s.io/v1", "rv": 1, "start": "default/a\u{0}"}).to_string();
    let gone = client.get(&format!("{MAPS}?limit=1&continue={}", URL_SAFE_NO_PAD.encode(old))).await;
    let status = gone.json();
    assert_eq!((gone.code, status["reason"].as_str()), (410, Some("Expired")), "{status}");
    assert!(status["message"].as_str().is_some_and(|m| m.starts_with("The provided continue parameter is too old")));
    let fresh = status["metadata"]["continue"].as_str().expect("a token");
    let rest = client.get(&format!("{MAPS}?limit=5&continue={fresh}")).await;
    assert_eq!(names(&rest), ["b", "c"], "what is left, as it is now");
    assert!(revision(&rest.json()) >= revisions[2]);
    let exact = client.get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact")).await;
    assert_eq!((exact.code, exact.json()["reason"].as_str()), (410, Some("Expired")), "{}", exact.text);
    let watch = client.get(&format!("{MAPS}?watch=true&resourceVersion=1&timeoutSeconds=1")).await;
    let event: Value = serde_json::from_str(watch.text.lines().next().unwrap_or_default()).expect("an event");
    assert_eq!((event["type"].as_str(), event["object"]["code"].as_i64()), (Some("ERROR"), Some(410)), "{event}");
}

#[tokio::test]
async fn large_answers_are_packed_for_who_says_so_and_all_are_pretty_for_people() {
    let (_cluster, client, _) = three().await;
    let gzip = ("accept-encoding", "gzip");
    for (path, packed) in [(MAPS.to_owned(), true), (format!("{MAPS}/a"), false)] {
        let plain = client.get(&path).await;
        assert!(plain.headers.get("content-encoding").is_none(), "{path}");
        let answer = client.ask("GET", &path, &[gzip], "").await;
        let is_packed = answer.headers.get("content-encoding").is_some_and(|v| v == "gzip");
        assert_eq!(is_packed, packed, "{path}: only above 128 KiB");
        let mut text = answer.text.clone();
        if packed {
            text.clear();
            let mut decoder = flate2::read::GzDecoder::new(answer.bytes.as_ref());
            std::io::Read::read_to_string(&mut decoder, &mut text).expect("gzip");
        }
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), plain.json(), "{path}");
    }
    let lines = async |query: &str, agent: &str| {
        client.ask("GET", &format!("{MAPS}/a{query}"), &[("user-agent", agent)], "").await.text.lines().count()
    };
    assert_eq!(lines("", "a-program/1").await, 1);
    assert!(lines("?pretty=true", "a-program/1").await > 5);
    assert!(lines("", "curl/8").await > 5);
    assert_eq!(lines("?pretty=false", "curl/8").await, 1);
}
