//! Custom kinds: how definitions come, change and go, and what their objects go through.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Cluster};

mod admission;
mod columns;
mod conversion;
mod counted;
mod definitions;
mod documents;
mod fields;
mod kubectl;
mod objects;
mod scale;
mod versions;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const CRONTABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const APPLY: (&str, &str) = ("content-type", "application/apply-patch+yaml");
/// How often is asked again for what comes by itself.
const AGAIN: Duration = Duration::from_millis(20);

/// The definition of a kind in group `stable.example.com`, with one version of this schema for its spec.
fn definition(plural: &str, kind: &str, spec: Value) -> Value {
    let properties = json!({"spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.stable.example.com")},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}}],
        },
    })
}

/// Cron tabs, as upstream's documentation has them.
fn crontabs() -> Value {
    let spec = json!({"type": "object", "properties": {
        "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$", "default": "5 0 * * *"},
        "image": {"type": "string"},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10},
    }});
    definition("crontabs", "CronTab", spec)
}

fn crontab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec})
}

async fn get(cluster: &Cluster, path: &str) -> Answer {
    cluster.rest("GET", path, &[], "").await
}

async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    cluster.rest("POST", path, &[], &body.to_string()).await
}

async fn patch(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    cluster.rest("PATCH", path, &[MERGE], &body.to_string()).await
}

/// Waits until an answer to GET is as it should be.
async fn until(cluster: &Cluster, path: &str, fine: impl Fn(&Answer) -> bool) -> Answer {
    let ask = async {
        loop {
            let answer = get(cluster, path).await;
            if fine(&answer) {
                return answer;
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(20), ask).await {
        Ok(answer) => answer,
        Err(_) => panic!("{path} stays {}", get(cluster, path).await.text),
    }
}

fn condition(definition: &Value, name: &str) -> String {
    let all = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|c| c["type"] == name).unwrap_or_default();
    format!("{} {}", found["status"].as_str().unwrap_or("-"), found["reason"].as_str().unwrap_or("-"))
}

/// Creates a definition and waits until its kind is established.
async fn define(cluster: &Cluster, definition: &Value) -> Value {
    let made = post(cluster, DEFINITIONS, definition).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let path = format!("{DEFINITIONS}/{}", definition["metadata"]["name"].as_str().expect("a name"));
    until(cluster, &path, |a| condition(&a.json(), "Established").starts_with("True")).await.json()
}
