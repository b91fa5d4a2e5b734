//! A tour of the API with the client crate: create, get, list, watch from a revision, patch, errors.
//!
//! `cargo run -p gantry-client --example tour -- KUBECONFIG`

use std::path::PathBuf;

use gantry_client::watch::EventKind;
use gantry_client::{Client, DeleteParams, ListParams, Patch, ResourceId, Result, View, WriteParams};
use serde_json::{Value, json};

const NAME: &str = "tour-rust";

/// Makes a ConfigMap, changes it, watches the change and removes it; returns what it saw.
pub(crate) async fn tour(client: &Client, namespace: &str) -> Result<Vec<String>> {
    let maps = client.dynamic(ResourceId::new("", "v1", "configmaps"), namespace);
    let mut seen = Vec::new();

    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "labels": {"example": "tour"}},
        "data": {"color": "green"},
    });
    let created = maps.create("", "", &object, &WriteParams::default()).await?.object;
    seen.push(format!("created {}", created["metadata"]["name"]));

    let read = maps.get(NAME, "", View::Full).await?;
    seen.push(format!("read {}", read["data"]));

    let list = maps.list(&ListParams { limit: 500, ..ListParams::labels("example=tour") }, View::Metadata).await?;
    seen.push(format!("listed {}", list.items.len()));

    // From the list's revision on nothing is missed, however long it takes to get here.
    let from = ListParams { resource_version: list.resource_version, ..ListParams::labels("example=tour") };
    let mut watch = maps.watch(&from, false, View::Full).await?;
    let patch = Patch::Merge(json!({"data": {"color": "blue"}}));
    maps.patch(NAME, "", &patch, &WriteParams::default()).await?;
    while let Some(event) = watch.next().await? {
        if event.kind == EventKind::Modified {
            let object: Value = serde_json::from_slice(&event.object).unwrap_or_default();
            seen.push(format!("watched {}", object["data"]));
            break;
        }
    }

    maps.delete(NAME, &DeleteParams::default()).await?;
    if let Err(error) = maps.get(NAME, "", View::Full).await {
        // The server's Status; without one the call did not reach it.
        let reason = error.status().map_or("no answer", |status| status.reason.as_str());
        seen.push(format!("failed {reason}: {error}"));
    }
    Ok(seen)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
#[allow(dead_code, reason = "tests call the tour itself")]
async fn main() -> Result<()> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).unwrap_or_default();
    let client = Client::from_kubeconfig(&path, "tour/1")?;
    for line in tour(&client, "default").await? {
        println!("{line}");
    }
    Ok(())
}
