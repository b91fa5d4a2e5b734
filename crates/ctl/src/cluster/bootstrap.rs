//! What a cluster needs inside: objects applied once the API server answers, and waiting until nodes are ready.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use gantry_client::{Client, Patch, ResourceId, View, WriteParams};
use k8s_openapi::api::core::v1::Node;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::progress::Step;

/// The manifests in `deploy/bootstrap`, in the order in which they are applied.
const MANIFESTS: &[(&str, &str)] = &[("kube-dns.yaml", include_str!("../../../../deploy/bootstrap/kube-dns.yaml"))];

/// How often an unanswered question is asked again.
const RETRY: Duration = Duration::from_millis(200);

/// A client with the administrator's credentials.
///
/// # Errors
/// When the kubeconfig cannot be used.
pub fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    Client::from_kubeconfig(kubeconfig, &gantry_common::version::user_agent("gantryctl"))
        .with_context(|| format!("cannot use {}", kubeconfig.display()))
}

/// Applies the bootstrap manifests.
///
/// # Errors
/// When an object is refused, or the API server is not reachable within `limit`.
pub async fn apply(client: &Client, limit: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    for (file, text) in MANIFESTS {
        let objects: Vec<Value> = serde_saphyr::from_multiple(text).with_context(|| format!("{file} is no YAML"))?;
        for object in objects {
            loop {
                match upsert(client, &object).await {
                    Ok(()) => break,
                    // The namespace and the bootstrap roles appear a moment after the server answers.
                    Err(error) if Instant::now() < deadline && !is_final(&error) => sleep(RETRY).await,
                    Err(error) => return Err(error).with_context(|| format!("cannot apply {file}")),
                }
            }
        }
    }
    Ok(())
}

fn is_final(error: &gantry_client::Error) -> bool {
    error.status().is_some_and(|s| matches!(s.code, 400 | 422))
}

async fn upsert(client: &Client, object: &Value) -> Result<(), gantry_client::Error> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or_else(|| ("", text("/apiVersion")));
    let resource = gantry_api::kinds::by_kind(group, version, text("/kind"))
        .map(|kind| ResourceId::new(group, version, kind.resource))
        .expect("bootstrap manifests hold known kinds only (checked by a test)");
    let api = client.dynamic(resource, text("/metadata/namespace"));
    // Looking first: creating a Service that exists fails on its address, which is taken by itself.
    match api.get(text("/metadata/name"), "", View::Full).await {
        Ok(_) => {
            let patch = Patch::Merge(object.clone());
            api.patch(text("/metadata/name"), "", &patch, &WriteParams::default()).await.map(drop)
        }
        Err(error) if error.is_not_found() => api.create("", "", object, &WriteParams::default()).await.map(drop),
        Err(error) => Err(error),
    }
}

/// Waits until every node in `names` is ready.
///
/// # Errors
/// When one is not within `limit`: with what its condition says.
pub async fn wait_for_nodes(client: &Client, names: &[String], limit: Duration, step: &Step) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let mut missing = None;
        for name in names {
            match client.api::<Node>().get_opt(name).await {
                Ok(node) => {
                    if let Some(why) = unready(node.as_ref()) {
                        missing.get_or_insert_with(|| format!("{name}: {why}"));
                    }
                }
                Err(error) => {
                    missing.get_or_insert_with(|| format!("{name}: {}", gantry_common::error_chain(&error)));
                }
            }
        }
        let Some(missing) = missing else { return Ok(()) };
        step.waiting(&missing);
        if Instant::now() > deadline {
            bail!("after {} s not every node is ready: {missing}", limit.as_secs());
        }
        sleep(RETRY).await;
    }
}

/// Why a node cannot be given pods.
fn unready(node: Option<&Node>) -> Option<String> {
    let Some(node) = node else { return Some("not registered yet".to_owned()) };
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    match conditions.iter().find(|c| c.type_ == "Ready") {
        Some(ready) if ready.status == "True" => {
            let tainted = node
                .spec
                .as_ref()
                .and_then(|s| s.taints.as_ref())
                .is_some_and(|taints| taints.iter().any(|t| t.key == "node.kubernetes.io/not-ready"));
            tainted.then(|| "ready, its not-ready taint is being removed".to_owned())
        }
        Some(ready) => Some(ready.message.clone().unwrap_or_else(|| "not ready".to_owned())),
        None => Some("no condition reported yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_manifests_hold_known_kinds() {
        for (file, text) in MANIFESTS {
            let objects: Vec<Value> = serde_saphyr::from_multiple(text).expect("it is YAML");
            assert!(!objects.is_empty(), "{file}");
            for object in objects {
                let api_version = object["apiVersion"].as_str().expect("an apiVersion");
                let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                let kind = object["kind"].as_str().expect("a kind");
                assert!(gantry_api::kinds::by_kind(group, version, kind).is_some(), "{file}: {kind}");
            }
        }
    }

    #[test]
    fn a_node_is_ready_when_it_says_so_and_has_no_taint() {
        let node = |json: Value| serde_json::from_value::<Node>(json).expect("a node");
        assert_eq!(unready(None).as_deref(), Some("not registered yet"));
        let ready = serde_json::json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert_eq!(unready(Some(&node(ready.clone()))), None);
        let mut tainted = ready;
        tainted["spec"] =
            serde_json::json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]});
        assert!(unready(Some(&node(tainted))).is_some());
        let says = serde_json::json!({"status": {"conditions": [{"type": "Ready", "status": "False", "message": "no docker"}]}});
        assert_eq!(unready(Some(&node(says))).as_deref(), Some("no docker"));
    }
}
