//! Writes of every kind: updates, dry runs, patches, server-side apply, deletion, scale.

use serde_json::{Value, json};

use crate::client::Client;
use crate::subject::{Subject, stored, world};

const APPLY: (&str, &str) = ("content-type", "application/apply-patch+yaml");

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("a version")
}

async fn updates(subject: &Subject<'_>) {
    let says = subject.says();
    let path = format!("/{}", subject.name(0));
    let made = subject.create(0).await;
    let same = subject.expect(200, "PUT", &path, &made).await;
    assert_eq!(same, made, "{says}: nothing changed, nothing is written");
    let mut changed = made.clone();
    changed["metadata"]["annotations"]["example.com/x"] = "1".into();
    let dry = subject.expect(200, "PUT", &format!("{path}?dryRun=All"), &changed).await;
    assert_eq!(dry["metadata"]["annotations"]["example.com/x"], "1", "{says}");
    assert_eq!(subject.expect(200, "GET", &path, &Value::Null).await, made, "{says}: a dry run is not stored");
    let new = subject.expect(200, "PUT", &path, &changed).await;
    assert_ne!(version(&new), version(&made), "{says}");
    assert_eq!(new["metadata"]["uid"], made["metadata"]["uid"], "{says}");
    let stale = subject.expect(409, "PUT", &path, &changed).await;
    assert_eq!(stale["reason"], "Conflict", "{says}");
    let mut other = new.clone();
    other["metadata"]["uid"] = "4d0c3a2e-1111-4222-8333-444455556666".into();
    let foreign = subject.expect(409, "PUT", &path, &other).await;
    assert!(
        foreign["message"].as_str().is_some_and(|m| m.contains("Precondition failed: UID in precondition: 4d0c3a2e")),
        "{says}: {foreign}"
    );
    other["metadata"]["name"] = "another".into();
    subject.expect(400, "PUT", &path, &other).await;
}

async fn patches(subject: &Subject<'_>) {
    let says = subject.says();
    let path = format!("/{}", subject.name(0));
    let patch = async |form: &str, body: Value| {
        let content = format!("application/{form}");
        subject.ask("PATCH", &path, &[("content-type", &content)], body.to_string()).await
    };
    let annotation = |value: &str| json!({"metadata": {"annotations": {"example.com/x": value}}});
    for (form, body) in [
        ("merge-patch+json", annotation("2")),
        ("strategic-merge-patch+json", annotation("3")),
        ("json-patch+json", json!([{"op": "replace", "path": "/metadata/annotations/example.com~1x", "value": "4"}])),
    ] {
        let first = patch(form, body.clone()).await;
        assert_eq!(first.code, 200, "{says} {form}: {}", first.text);
        let again = patch(form, body).await;
        assert_eq!(
            version(&again.json()),
            version(&first.json()),
            "{says} {form}: nothing changed, nothing is written"
        );
    }
    let test = json!([{"op": "test", "path": "/metadata/annotations/example.com~1x", "value": "other"}]);
    let refused = patch("json-patch+json", test).await;
    assert_eq!(refused.code, 422, "{says}: {}", refused.text);
    let unknown = patch("jsonpatch", json!({})).await;
    assert_eq!(unknown.code, 415, "{says}: {}", unknown.text);
}

async fn apply(subject: &Subject<'_>, manager: &str, query: &str, body: &Value) -> crate::support::Answer {
    let rest = format!("/{}?fieldManager={manager}{query}", subject.name(1));
    subject.ask("PATCH", &rest, &[APPLY], body.to_string()).await
}

async fn applies(subject: &Subject<'_>) {
    let says = subject.says();
    let body = subject.free(1);
    let made = apply(subject, "one", "", &body).await;
    assert_eq!(made.code, 201, "{says}: {}", made.text);
    let made = subject.settled(1, made.json()).await;
    let owners = made["metadata"]["managedFields"].clone();
    assert_eq!((&owners[0]["manager"], &owners[0]["operation"]), (&json!("one"), &json!("Apply")), "{says}");
    let again = apply(subject, "one", "", &body).await;
    assert_eq!((again.code, again.json()), (200, made.clone()), "{says}: applied twice, written once");
    let mut other = json!({"apiVersion": body["apiVersion"], "kind": body["kind"]});
    other["metadata"] = json!({"name": subject.name(1), "labels": {"a": "other"}});
    let conflict = apply(subject, "two", "", &other).await;
    assert_eq!(conflict.code, 409, "{says}: {}", conflict.text);
    assert!(conflict.text.contains(r#"conflict with \"one\": .metadata.labels.a"#), "{says}: {}", conflict.text);
    let dry = apply(subject, "two", "&force=true&dryRun=All", &other).await;
    assert_eq!(dry.code, 200, "{says}: {}", dry.text);
    let path = format!("/{}", subject.name(1));
    assert_eq!(subject.expect(200, "GET", &path, &Value::Null).await, made, "{says}: a dry run is not stored");
    let mut more = body.clone();
    more["metadata"]["labels"]["example.com/more"] = "1".into();
    let with = apply(subject, "one", "", &more).await.json();
    assert_eq!(with["metadata"]["labels"]["example.com/more"], "1", "{says}");
    let without = apply(subject, "one", "", &body).await.json();
    assert_eq!(without["metadata"]["labels"].get("example.com/more"), None, "{says}: no longer applied, gone");
}

async fn deletions(subject: &Subject<'_>) {
    let says = subject.says();
    let path = format!("/{}", subject.name(0));
    let dry = subject.expect(200, "DELETE", &format!("{path}?dryRun=All"), &Value::Null).await;
    let object = subject.expect(200, "GET", &path, &Value::Null).await;
    assert!(object["metadata"].get("deletionTimestamp").is_none(), "{says}: {dry}");
    for wrong in [json!({"uid": "4d0c3a2e-1111-4222-8333-444455556666"}), json!({"resourceVersion": "1"})] {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": wrong});
        assert_eq!(subject.expect(409, "DELETE", &path, &options).await["reason"], "Conflict", "{says}: {wrong}");
    }
    subject.merge(0, "", &json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    let uid = object["metadata"]["uid"].clone();
    let options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
    subject.expect(200, "DELETE", &path, &options).await;
    let held = subject.expect(200, "GET", &path, &Value::Null).await;
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{says}: {held}");
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/other"]}});
    let content = ("content-type", "application/merge-patch+json");
    let late = subject.ask("PATCH", &path, &[content], more.to_string()).await;
    assert_eq!(late.code, 422, "{says}: no finalizer is added to what is going: {}", late.text);
    subject.merge(0, "", &json!({"metadata": {"finalizers": null}})).await;
    let code = subject.ask("GET", &path, &[], "").await.code;
    // A namespace is held by its content too.
    assert_eq!(code, if subject.kind.kind == "Namespace" { 200 } else { 404 }, "{says}");
}

async fn collections(subject: &Subject<'_>) {
    if !subject.kind.supports("deletecollection") {
        let refused = subject.ask("DELETE", "", &[], "").await;
        assert_eq!(refused.code, 405, "{}: {}", subject.says(), refused.text);
        return;
    }
    let mut last = subject.free(2);
    last["metadata"]["labels"]["example.com/mine"] = "yes".into();
    subject.expect(201, "POST", "", &last).await;
    let rest = "?labelSelector=example.com%2Fmine%3Dyes&gracePeriodSeconds=0";
    let gone = subject.expect(200, "DELETE", rest, &Value::Null).await;
    assert_eq!(gone["items"].as_array().map(Vec::len), Some(1), "{}: {gone}", subject.says());
    subject.gone(2).await;
    subject.expect(200, "GET", &format!("/{}", subject.name(1)), &Value::Null).await;
}

async fn scales(subject: &Subject<'_>) {
    if subject.kind.subresource("scale").is_none() {
        return;
    }
    let says = subject.says();
    let path = format!("/{}/scale", subject.name(1));
    let mut scale = subject.expect(200, "GET", &path, &Value::Null).await;
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")), "{says}");
    assert_eq!(scale["spec"]["replicas"], 7, "{says}");
    scale["spec"]["replicas"] = 3.into();
    let written = subject.expect(200, "PUT", &path, &scale).await;
    assert_eq!(written["spec"]["replicas"], 3, "{says}");
    let whole = subject.expect(200, "GET", &format!("/{}", subject.name(1)), &Value::Null).await;
    assert_eq!((&whole["spec"]["replicas"], version(&whole)), (&json!(3), version(&written)), "{says}");
    scale["spec"]["replicas"] = (-1).into();
    scale["metadata"].as_object_mut().map(|m| m.remove("resourceVersion"));
    let negative = subject.ask("PUT", &path, &[], scale.to_string()).await;
    assert_eq!(negative.code, 422, "{says}: {}", negative.text);
}

/// Writes of every kind; the second object of each is left there.
pub(crate) async fn write(client: &Client) {
    for kind in stored() {
        let subject = Subject::new(kind, client);
        updates(&subject).await;
        patches(&subject).await;
        applies(&subject).await;
        scales(&subject).await;
        deletions(&subject).await;
        collections(&subject).await;
    }
}

#[tokio::test]
async fn every_kind_is_written_alike() {
    let cluster = world().await;
    write(&Client::admin(&cluster).await).await;
}
