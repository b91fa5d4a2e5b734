//! What stays of definitions that changed or went: nothing.

use std::sync::{Arc, Weak};

use gantry_api::custom::Definition;

use super::*;
use crate::support::{answer, send_on};

/// Cron tabs whose fields may only have this value, and have it where nobody sets them.
fn only(value: &str) -> Value {
    let text = json!({"type": "string", "enum": [value], "default": value});
    let mut spec = json!({"type": "object", "default": {"a": value}, "properties": {"a": text, "b": text}});
    spec["x-kubernetes-validations"] = json!([{"rule": format!("self.a == '{value}'")}]);
    let mut only = definition("crontabs", "CronTab", spec);
    let version = &mut only["spec"]["versions"][0];
    version["additionalPrinterColumns"] = json!([{"name": value, "type": "string", "jsonPath": ".spec.a"}]);
    only
}

/// The one copy of what a server serves by this definition.
fn living(definition: &Value) -> Weak<Definition> {
    Arc::downgrade(&gantry_api::custom::definition(definition).expect("a whole definition"))
}

/// Creates an object that leaves everything to the schema; what it made of it.
async fn made(cluster: &Cluster, name: &str, query: &str) -> String {
    let made = post(cluster, &format!("{CRONTABS}{query}"), &crontab(name, json!({}))).await;
    assert_eq!(made.code, 201, "by one schema it is completed and valid: {}", made.text);
    let spec = &made.json()["spec"];
    assert_eq!(spec["a"], spec["b"]);
    spec["a"].as_str().expect("completed").to_owned()
}

async fn soon(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(AGAIN).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "{what}");
}

#[tokio::test]
async fn schemas_go_once_nobody_serves_or_uses_them() {
    let cluster = Cluster::start().await;
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let mut lives = vec![living(&define(&cluster, &only("v0")).await)];
    let mut watches = Vec::new();
    for round in 1..=8 {
        let value = format!("v{round}");
        let mut connection = cluster.connection().await;
        let watch = format!("{CRONTABS}?watch=true&timeoutSeconds=60");
        watches.push((send_on(&mut connection, "GET", &watch, &[], "").await, connection));
        let changed = json!({"spec": only(&value)["spec"]});
        let change = patch(&cluster, &path, &changed);
        let write = async {
            for name in ["p", "q", "r"] {
                made(&cluster, &format!("{name}{round}"), "").await;
            }
        };
        let (changed, ()) = tokio::join!(change, write);
        assert_eq!(changed.code, 200, "{}", changed.text);
        soon("the new schema is served", async || made(&cluster, "x", "?dryRun=All").await == value).await;
        get(&cluster, "/openapi/v3/apis/stable.example.com/v1").await;
        lives.push(living(&changed.json()));
    }
    // Each was told of what there was, and ended with the schema by which it began.
    for (watch, _connection) in watches {
        let told = answer(watch).await.text;
        assert!(told.is_empty() || told.contains("\"ADDED\""), "{told}");
    }
    let served = lives.pop().expect("the last one");
    soon("what was served before is let go of", async || lives.iter().all(|before| before.strong_count() == 0)).await;
    assert!(served.strong_count() > 0);
}

#[tokio::test]
async fn definitions_that_went_leave_nothing() {
    let cluster = Cluster::start().await;
    let mut lives = Vec::new();
    for round in 0..4 {
        let mut churn = definition("churns", "Churn", json!({"type": "object", "description": format!("{round}")}));
        churn["spec"]["group"] = "churn.example.com".into();
        churn["metadata"]["name"] = "churns.churn.example.com".into();
        lives.push(living(&define(&cluster, &churn).await));
        let objects = "/apis/churn.example.com/v1/namespaces/default/churns";
        let object = json!({"apiVersion": "churn.example.com/v1", "kind": "Churn", "metadata": {"name": "c"}});
        assert_eq!(post(&cluster, objects, &object).await.code, 201);
        assert!(get(&cluster, "/metrics").await.text.contains("churn.example.com"));
        let path = format!("{DEFINITIONS}/churns.churn.example.com");
        assert_eq!(cluster.rest("DELETE", &path, &[], "").await.code, 200);
        until(&cluster, &path, |a| a.code == 404).await;
        until(&cluster, objects, |a| a.code == 404).await;
    }
    soon("all are let go of", async || lives.iter().all(|before| before.strong_count() == 0)).await;
    for path in ["/metrics", "/apis", "/openapi/v2", "/openapi/v3"] {
        until(&cluster, path, |a| a.code == 200 && !a.text.contains("churn.example.com")).await;
    }
    let services = "/apis/apiregistration.k8s.io/v1/apiservices/v1.churn.example.com";
    until(&cluster, services, |a| a.code == 404).await;
}
