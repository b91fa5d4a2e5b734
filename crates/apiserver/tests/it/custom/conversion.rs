//! Conversion by webhook.

use super::*;
use crate::hooks::{Hook, cluster};

pub(super) const V2: &str = "/apis/stable.example.com/v2/namespaces/default/crontabs";

/// Version 2 has `spec.where` as one text, version 1 has host and port.
pub(super) fn converted(review: &Value) -> Value {
    let wanted = review["request"]["desiredAPIVersion"].as_str().expect("a version");
    let mut objects = review["request"]["objects"].as_array().expect("objects").clone();
    for object in &mut objects {
        let spec = object["spec"].as_object_mut().expect("a spec");
        if wanted.ends_with("/v2") {
            let (host, port) = (spec.remove("host").expect("a host"), spec.remove("port").expect("a port"));
            let text = |v: &Value| v.as_str().expect("text").to_owned();
            spec.insert("where".to_owned(), format!("{}:{}", text(&host), text(&port)).into());
        } else {
            let place = spec.remove("where").expect("a place");
            let (host, port) = place.as_str().and_then(|p| p.split_once(':')).expect("host and port");
            spec.insert("host".to_owned(), host.into());
            spec.insert("port".to_owned(), port.into());
        }
        object["apiVersion"] = wanted.into();
        object["metadata"]["annotations"] = json!({"converted": "yes"});
    }
    let response =
        json!({"uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objects});
    json!({"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response})
}

pub(super) fn definition_with(hook: &Hook, cluster: &Cluster) -> Value {
    let text = json!({"type": "string"});
    let mut two =
        definition("crontabs", "CronTab", json!({"type": "object", "properties": {"host": text, "port": text}}));
    let mut second = two["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"] = json!({"where": text});
    two["spec"]["versions"].as_array_mut().expect("versions").push(second);
    two["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1", "v1beta1"], "clientConfig": hook.config(cluster, "convert", json!({}))["clientConfig"]}});
    two
}

#[tokio::test]
async fn a_webhook_converts_between_versions() {
    let cluster = cluster().await;
    let hook = Hook::raw(&cluster, &["127.0.0.1"], |review| (200, converted(review).to_string())).await;
    define(&cluster, &definition_with(&hook, &cluster)).await;
    let made = post(&cluster, CRONTABS, &crontab("a", json!({"host": "h", "port": "1"}))).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert!(hook.asked().is_empty(), "nothing is converted that need not be");
    let seen = get(&cluster, &format!("{V2}/a")).await.json();
    assert_eq!(
        (&seen["spec"], &seen["apiVersion"]),
        (&json!({"where": "h:1"}), &json!("stable.example.com/v2")),
        "{seen}"
    );
    assert_eq!(seen["metadata"]["annotations"]["converted"], "yes");
    assert_eq!(seen["metadata"]["uid"], made.json()["metadata"]["uid"]);
    let review = hook.asked()[0].review.clone();
    assert_eq!(
        (&review["apiVersion"], &review["kind"]),
        (&json!("apiextensions.k8s.io/v1"), &json!("ConversionReview"))
    );
    assert_eq!(review["request"]["desiredAPIVersion"], "stable.example.com/v2");
    let list = get(&cluster, V2).await.json();
    assert_eq!(list["items"][0]["spec"]["where"], "h:1");
    // A write in the other version is converted both ways.
    let changed = patch(&cluster, &format!("{V2}/a"), &json!({"spec": {"where": "g:2"}})).await;
    assert_eq!((changed.code, &changed.json()["spec"]["where"]), (200, &json!("g:2")), "{}", changed.text);
    assert_eq!(get(&cluster, &format!("{CRONTABS}/a")).await.json()["spec"], json!({"host": "g", "port": "2"}));
    let second = json!({"apiVersion": "stable.example.com/v2", "kind": "CronTab", "metadata": {"name": "b"}, "spec": {"where": "x:3"}});
    assert_eq!(post(&cluster, V2, &second).await.json()["spec"]["where"], "x:3");
    assert_eq!(get(&cluster, &format!("{CRONTABS}/b")).await.json()["spec"]["port"], "3");
    let events = get(&cluster, &format!("{V2}?watch=true&timeoutSeconds=1")).await.text;
    assert!(events.contains("\"where\":\"g:2\"") && events.contains("\"where\":\"x:3\""), "{events}");
}

/// As upstream's `conversion_test.go` has it of a kind with a webhook.
#[tokio::test]
async fn defaults_are_those_of_the_version_that_is_written_or_stored() {
    let cluster = cluster().await;
    let hook = Hook::raw(&cluster, &["127.0.0.1"], |review| (200, converted(review).to_string())).await;
    let mut two = definition_with(&hook, &cluster);
    for (at, name) in [(0, "v1"), (1, "v2")] {
        let properties = json!({"v1": {"type": "boolean"}, "v2": {"type": "boolean"}});
        let schema = &mut two["spec"]["versions"][at]["schema"]["openAPIV3Schema"]["properties"];
        schema["defaults"] = json!({"type": "object", "properties": properties});
        schema["defaults"]["properties"][name]["default"] = true.into();
    }
    define(&cluster, &two).await;
    let of = |version: &str, name: &str, spec: Value| {
        json!({"apiVersion": format!("stable.example.com/{version}"), "kind": "CronTab", "metadata": {"name": name},
            "spec": spec, "defaults": {}})
    };
    let first = post(&cluster, CRONTABS, &of("v1", "a", json!({"host": "h", "port": "1"}))).await;
    assert_eq!((first.code, &first.json()["defaults"]), (201, &json!({"v1": true})), "{}", first.text);
    assert_eq!(get(&cluster, &format!("{V2}/a")).await.json()["defaults"], json!({"v1": true}));
    let second = post(&cluster, V2, &of("v2", "b", json!({"where": "h:1"}))).await;
    let both = json!({"v1": true, "v2": true});
    assert_eq!((second.code, &second.json()["defaults"]), (201, &both), "{}", second.text);
    // Only the default of the version that was written is stored.
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let remove = r#"[{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/defaults/properties/v1/default"}]"#;
    let removed = cluster.rest("PATCH", &path, &[("content-type", "application/json-patch+json")], remove).await;
    assert_eq!(removed.code, 200, "{}", removed.text);
    until(&cluster, &format!("{CRONTABS}/b"), |a| a.json()["defaults"] == json!({"v2": true})).await;
    assert_eq!(get(&cluster, &format!("{CRONTABS}/a")).await.json()["defaults"], json!({"v1": true}));
}

#[tokio::test]
async fn what_a_webhook_does_wrong_is_said() {
    let cluster = cluster().await;
    let hook = Hook::raw(&cluster, &["127.0.0.1"], |review| {
        let mut answer = converted(review);
        match review["request"]["objects"][0]["metadata"]["name"].as_str() {
            Some("refused") => answer["response"]["result"] = json!({"status": "Failure", "message": "not today"}),
            Some("silent") => answer["response"]["result"] = json!({"status": "Failure"}),
            Some("empty") => answer = json!({"apiVersion": answer["apiVersion"], "kind": answer["kind"]}),
            Some("other") => answer["kind"] = "AdmissionReview".into(),
            Some("labelled") => {
                answer["response"]["convertedObjects"][0]["metadata"]["labels"] = json!({"a": "b c"});
            }
            Some("typed") => answer["response"]["convertedObjects"][0]["metadata"]["labels"] = json!({"a": 1}),
            Some("renamed") => answer["response"]["convertedObjects"][0]["metadata"]["name"] = "other".into(),
            Some("lost") => answer["response"]["convertedObjects"] = json!([]),
            _ => answer["response"]["convertedObjects"][0]["apiVersion"] = "stable.example.com/v3".into(),
        }
        (200, answer.to_string())
    })
    .await;
    define(&cluster, &definition_with(&hook, &cluster)).await;
    let check = async |name: &str, expected: &str| {
        post(&cluster, CRONTABS, &crontab(name, json!({"host": "h", "port": "1"}))).await;
        let failed = get(&cluster, &format!("{V2}/{name}")).await;
        assert_eq!(failed.code, 500, "{}", failed.text);
        assert!(failed.text.contains(expected), "{}", failed.text);
        // The stored version is not concerned.
        assert_eq!(get(&cluster, &format!("{CRONTABS}/{name}")).await.code, 200);
    };
    let head = "conversion webhook for stable.example.com/v1, Kind=CronTab";
    check("refused", &format!("{head} failed: not today")).await;
    check("silent", &format!("{head} failed: response.result.status was 'Failure', not 'Success'")).await;
    check("empty", &format!("{head} failed: no response provided")).await;
    let review = "apiextensions.k8s.io/v1, Kind=";
    let other =
        format!("{head} failed: expected webhook response of {review}ConversionReview, got {review}AdmissionReview");
    check("other", &other).await;
    check("labelled", "metadata.labels: Invalid value: \\\"b c\\\": ").await;
    check("typed", "metadata.labels[a] must be a string").await;
    check("renamed", "must have the same name: renamed != other").await;
    check("lost", &format!("{head} returned 0 objects, expected 1")).await;
    check("wrong", "invalid groupVersion (expected stable.example.com/v2, received stable.example.com/v3)").await;
}

#[tokio::test]
async fn a_webhook_is_asked_in_the_first_version_that_it_names() {
    let cluster = cluster().await;
    let hook = Hook::raw(&cluster, &["127.0.0.1"], |review| {
        // Old webhooks do not say whose answer it is.
        let mut answer = converted(review);
        answer["response"].as_object_mut().expect("a response").remove("uid");
        (200, answer.to_string())
    })
    .await;
    let mut old = definition_with(&hook, &cluster);
    old["spec"]["conversion"]["webhook"]["conversionReviewVersions"] = json!(["v2", "v1beta1", "v1"]);
    define(&cluster, &old).await;
    post(&cluster, CRONTABS, &crontab("a", json!({"host": "h", "port": "1"}))).await;
    let seen = get(&cluster, &format!("{V2}/a")).await;
    assert_eq!((seen.code, &seen.json()["spec"]["where"]), (200, &json!("h:1")), "{}", seen.text);
    assert_eq!(hook.asked()[0].review["apiVersion"], "apiextensions.k8s.io/v1beta1");
}

#[tokio::test]
async fn objects_are_selected_by_what_they_are_in_the_requested_version() {
    let cluster = cluster().await;
    let hook = Hook::raw(&cluster, &["127.0.0.1"], |review| (200, converted(review).to_string())).await;
    let mut two = definition_with(&hook, &cluster);
    two["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.host"}]);
    two["spec"]["versions"][1]["selectableFields"] = json!([{"jsonPath": ".spec.where"}]);
    define(&cluster, &two).await;
    for (name, host) in [("a", "h"), ("b", "g"), ("c", "h"), ("d", "h")] {
        let made = post(&cluster, CRONTABS, &crontab(name, json!({"host": host, "port": "1"}))).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|i| i["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
    };
    let select = async |path: &str| get(&cluster, path).await.json();
    assert_eq!(names(&select(&format!("{CRONTABS}?fieldSelector=spec.host%3Dg")).await), ["b"]);
    let found = select(&format!("{V2}?fieldSelector=spec.where%3Dg:1")).await;
    assert_eq!((names(&found), &found["items"][0]["spec"]["where"]), (vec!["b".to_owned()], &json!("g:1")), "{found}");
    assert_eq!(names(&select(&format!("{V2}?fieldSelector=spec.where!%3Dg:1")).await), ["a", "c", "d"]);
    // In parts, too.
    let first = select(&format!("{V2}?fieldSelector=spec.where%3Dh:1&limit=2")).await;
    assert_eq!(names(&first), ["a", "c"]);
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    let rest = select(&format!("{V2}?fieldSelector=spec.where%3Dh:1&limit=2&continue={token}")).await;
    assert_eq!((names(&rest), rest["metadata"].get("continue")), (vec!["d".to_owned()], None));
    // A watch tells what comes into the selection and what leaves it.
    let revision = select(V2).await["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned();
    assert_eq!(patch(&cluster, &format!("{CRONTABS}/a"), &json!({"spec": {"host": "g"}})).await.code, 200);
    assert_eq!(patch(&cluster, &format!("{CRONTABS}/b"), &json!({"spec": {"host": "h"}})).await.code, 200);
    let watch = format!("{V2}?watch=true&timeoutSeconds=1&fieldSelector=spec.where%3Dg:1");
    let events = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines
            .map(|e| {
                format!(
                    "{} {}",
                    e["type"].as_str().unwrap_or_default(),
                    e["object"]["metadata"]["name"].as_str().unwrap_or_default()
                )
            })
            .collect()
    };
    let told = get(&cluster, &format!("{watch}&resourceVersion={revision}")).await.text;
    assert_eq!(events(&told), ["ADDED a", "DELETED b"], "{told}");
    let told = get(&cluster, &watch).await.text;
    assert_eq!(events(&told), ["ADDED a"], "{told}");
    let first: Value = serde_json::from_str(told.lines().next().expect("an event")).expect("JSON");
    let now = get(&cluster, &format!("{V2}/a")).await.json();
    assert_eq!(first["object"]["metadata"]["resourceVersion"], now["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_list_of_many_megabytes_is_converted_in_pieces() {
    let cluster = cluster().await;
    let hook = Hook::raw(&cluster, &["127.0.0.1"], |review| (200, converted(review).to_string())).await;
    define(&cluster, &definition_with(&hook, &cluster)).await;
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let host = name.repeat(512 << 10);
        let made = post(&cluster, CRONTABS, &crontab(name, json!({"host": host, "port": "1"}))).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    let list = get(&cluster, V2).await;
    assert_eq!(list.code, 200, "{}", list.text);
    let list = list.json();
    let items = list["items"].as_array().expect("items");
    let seen: Vec<String> = items
        .iter()
        .map(|item| {
            let place = item["spec"]["where"].as_str().expect("text");
            format!("{} {} {}", item["metadata"]["name"].as_str().expect("a name"), &place[..1], place.len())
        })
        .collect();
    let expected: Vec<String> = "abcdefgh".chars().map(|name| format!("{name} {name} {}", (512 << 10) + 2)).collect();
    assert_eq!(seen, expected);
    let most = hook.asked().iter().map(|asked| asked.review.to_string().len()).max();
    assert!(hook.asked().len() > 3 && most < Some(3 << 20), "{} questions, {most:?}", hook.asked().len());
}

#[tokio::test]
async fn a_webhook_that_moves_is_asked_where_it_is() {
    let cluster = cluster().await;
    let here = Hook::raw(&cluster, &["127.0.0.1"], |review| (200, converted(review).to_string())).await;
    let there = Hook::raw(&cluster, &["127.0.0.1"], |review| (200, converted(review).to_string())).await;
    define(&cluster, &definition_with(&here, &cluster)).await;
    post(&cluster, CRONTABS, &crontab("a", json!({"host": "h", "port": "1"}))).await;
    assert_eq!(get(&cluster, &format!("{V2}/a")).await.code, 200);
    let moved = json!({"spec": {"conversion": definition_with(&there, &cluster)["spec"]["conversion"]}});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/crontabs.stable.example.com";
    assert_eq!(patch(&cluster, path, &moved).await.code, 200);
    while there.asked().is_empty() {
        assert_eq!(get(&cluster, &format!("{V2}/a")).await.json()["spec"]["where"], "h:1");
    }
}
