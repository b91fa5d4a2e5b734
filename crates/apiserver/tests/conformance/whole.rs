//! Every field of every kind: what is sent is what is stored, in every encoding.

use std::collections::BTreeSet;

use gantry_api::Value;
use serde_json::json;

use crate::client::Client;
use crate::manifest;
use crate::patches::Change;
use crate::subject::{Subject, stored, world};

/// Creates a kind's manifests and writes their status; says what went wrong.
async fn create(subject: &Subject<'_>) -> Vec<String> {
    let kind = subject.kind;
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for turn in 0..manifest::count(kind) {
        let sent = subject.manifest(turn);
        let answer = subject.ask("POST", "?fieldValidation=Strict", &[], sent.to_string()).await;
        if answer.code != 201 {
            wrong.push(format!("{turn}: {}", answer.json()["message"]));
            continue;
        }
        wrong.extend(manifest::compare(kind, &sent, &answer.json(), &mut seen));
        if !kind.has_status {
            continue;
        }
        let mut written = subject.settled(turn, answer.json()).await;
        written["status"] = manifest::manifest(kind, turn)["status"].take();
        let path = format!("/{}/status?fieldValidation=Strict", subject.name(turn));
        let answer = subject.ask("PUT", &path, &[], written.to_string()).await;
        if answer.code != 200 {
            wrong.push(format!("{turn} status: {}", answer.json()["message"]));
            continue;
        }
        let only = |mut object: Value| json!({"status": object["status"].take()});
        wrong.extend(manifest::compare(kind, &only(written), &only(answer.json()), &mut seen));
    }
    wrong.extend(manifest::fields(kind).difference(&seen).map(|f| format!("{f} was never there")));
    wrong.sort();
    wrong.dedup();
    wrong
}

#[tokio::test]
async fn every_field_of_every_kind_is_kept() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let mut all = Vec::new();
    for kind in stored() {
        let subject = Subject::new(kind, &client);
        let wrong = create(&subject).await;
        if !wrong.is_empty() {
            all.push(format!("{}\n  {}", subject.says(), wrong.join("\n  ")));
        }
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

/// What differs between two creations of one object.
pub(crate) fn timeless(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for name in ["uid", "creationTimestamp", "managedFields", "resourceVersion"] {
            metadata.remove(name);
        }
    }
    if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
        conditions.iter_mut().filter_map(Value::as_object_mut).for_each(|c| drop(c.remove("lastTransitionTime")));
    }
    // The volume of a pod's token has a random name.
    let is_token = |v: &Value| v["name"].as_str().is_some_and(|n| n.starts_with("kube-api-access-"));
    if let Some(volumes) = object["spec"]["volumes"].as_array_mut() {
        volumes.retain(|v| !is_token(v));
    }
    for key in ["containers", "initContainers"] {
        for container in object["spec"][key].as_array_mut().into_iter().flatten() {
            container["volumeMounts"].as_array_mut().into_iter().for_each(|mounts| mounts.retain(|m| !is_token(m)));
        }
    }
    object
}

#[tokio::test]
async fn yaml_means_what_json_means() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    for kind in stored() {
        let subject = Subject::new(kind, &client);
        let sent = subject.manifest(0);
        let json = subject.expect(201, "POST", "?dryRun=All", &sent).await;
        let body = serde_saphyr::to_string(&sent).expect("YAML");
        let yaml = [("content-type", "application/yaml"), ("accept", "application/yaml")];
        let answer = subject.ask("POST", "?dryRun=All", &yaml, body).await;
        assert_eq!(answer.code, 201, "{}: {}", subject.says(), answer.text);
        let back: Value = serde_saphyr::from_str(&answer.text).expect("YAML");
        assert_eq!(timeless(back), timeless(json), "{}", subject.says());
    }
}

/// The places of an object that can be left out, as JSON pointers: the whole before its parts.
fn parts(value: &Value, at: &str, all: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        all.push(at.clone());
        parts(value, &at, all);
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        parts(value, &format!("{at}/{index}"), all);
    }
}

/// The smallest manifest of each kind is taken, and with any less it is not.
#[tokio::test]
async fn the_least_of_every_kind_is_taken_and_no_less() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let mut wrong = Vec::new();
    for kind in stored() {
        let subject = Subject::new(kind, &client);
        let sent = subject.minimal(0);
        let answer = subject.ask("POST", "?fieldValidation=Strict", &[], sent.to_string()).await;
        if answer.code != 201 {
            wrong.push(format!("{}: {}", subject.says(), answer.text));
            continue;
        }
        let mut all = Vec::new();
        parts(&sent, "", &mut all);
        for at in all.iter().filter(|at| !["/apiVersion", "/kind", "/metadata"].contains(&at.as_str())) {
            let change = Change { op: "remove", at: at.clone(), value: Value::Null };
            let less = subject.ask("POST", "?dryRun=All", &[], change.of(&sent).to_string()).await;
            // The server gives a LimitRange a name.
            if less.code == 201 && (kind.kind, at.as_str()) != ("LimitRange", "/metadata/name") {
                wrong.push(format!("{}: nobody needs {at}", subject.says()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
