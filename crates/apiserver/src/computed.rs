//! Kinds that are in no store: worked out for whoever asks. What nodes and pods use (`metrics.k8s.io`) is asked of the nodes.

mod components;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use gantry_api::Value;
use gantry_api::kinds::{self, KindInfo};
use gantry_api::stats::NodeStats;
use gantry_api::status::Status;
use gantry_store::cache::Object;
use gantry_store::encoded::Encoded;

use crate::app::App;
use crate::pipeline::read::{self, Listed};
use crate::pipeline::selection::Selection;
use crate::request::Target;

/// Nodes that are asked at once.
const PARALLEL: usize = 64;
/// Nodes that a warning names one by one.
const WARNINGS: usize = 5;

/// What each node answered.
type Answers = BTreeMap<String, Result<Arc<NodeStats>, Status>>;

/// One object.
///
/// # Errors
/// 404 for what is not there or has no figures, 503 when the node cannot be asked.
pub(crate) async fn get(app: &App, target: &Target) -> Result<Arc<Object>, Status> {
    let kind = &target.kind;
    let fields = format!("metadata.name={}", target.name);
    let selection = Selection::parse(kind, &target.namespace, "", &fields)?;
    let (items, answers) = compute(app, kind, &selection).await?;
    if let Some(found) = items.into_iter().next() {
        return Ok(found);
    }
    match answers.into_values().find_map(Result::err) {
        Some(status) => Err(status),
        None => {
            let resource = kind.kind.to_ascii_lowercase();
            let slash = if kind.namespaced { "/" } else { "" };
            Err(Status::not_found(kind.group, &resource, &format!("{}{slash}{}", target.namespace, target.name)))
        }
    }
}

/// All that the selection covers, in key order. Nodes that do not answer are left out, with a warning.
///
/// # Errors
/// What reads of the nodes and pods say.
pub(crate) async fn list(app: &App, kind: &KindInfo, selection: &Selection) -> Result<Listed, Status> {
    let (items, answers) = compute(app, kind, selection).await?;
    Ok(Listed { items, revision: 0, continue_token: String::new(), remaining: None, warnings: warnings(&answers) })
}

fn warnings(answers: &Answers) -> Vec<String> {
    let silent: Vec<(&String, &Status)> =
        answers.iter().filter_map(|(node, answer)| Some((node, answer.as_ref().err()?))).collect();
    let mut texts: Vec<String> = silent
        .iter()
        .take(WARNINGS)
        .map(|(node, why)| format!("the metrics of node {node:?} are left out: {}", why.message))
        .collect();
    if silent.len() > WARNINGS {
        texts.push(format!("the metrics of {} more nodes are left out", silent.len() - WARNINGS));
    }
    texts
}

/// The objects of a core resource that the selection covers.
async fn originals(app: &App, resource: &str, selection: &Selection) -> Result<Vec<Arc<Object>>, Status> {
    let kind = kinds::by_resource("", "v1", resource).ok_or_else(Status::no_such_resource)?;
    read::settle(app, None).await?;
    let snapshot = app.view(kind).snapshot();
    Ok(snapshot.list(selection.namespace(), None).filter(|o| selection.matches(o)).cloned().collect())
}

async fn compute(app: &App, kind: &KindInfo, selection: &Selection) -> Result<(Vec<Arc<Object>>, Answers), Status> {
    let now = app.clock.now();
    match (kind.group, kind.kind) {
        ("metrics.k8s.io", "NodeMetrics") => {
            let nodes = originals(app, "nodes", selection).await?;
            let answers = ask(app, nodes.iter().map(|n| n.meta().name.to_string())).await;
            let items = nodes.iter().filter_map(|n| {
                let stats = answers.get(&*n.meta().name)?.as_ref().ok()?;
                Some(usage::node(n.meta(), stats, now))
            });
            Ok((items.collect::<Result<_, _>>()?, answers))
        }
        ("metrics.k8s.io", "PodMetrics") => {
            let mut pods = originals(app, "pods", selection).await?;
            pods.retain(|pod| pod.scalar_at(&["status", "phase"]).is_some_and(|phase| phase == "Running"));
            let answers = ask(app, pods.iter().filter_map(|pod| node_of(pod))).await;
            let items = pods.iter().filter_map(|pod| {
                let stats = answers.get(&node_of(pod)?)?.as_ref().ok()?;
                let own = stats.pods.iter().find(|p| *p.uid == *pod.meta().uid)?;
                usage::pod(pod.meta(), own, now)
            });
            Ok((items.collect::<Result<_, _>>()?, answers))
        }
        ("", "ComponentStatus") => Ok((components::list(app, selection).await?, Answers::new())),
        _ => Err(Status::no_such_resource()),
    }
}

/// An object that is in no store.
fn encoded(object: &Value) -> Result<Arc<Object>, Status> {
    let encoded = Encoded::from_json(object.to_string().as_bytes(), 0)
        .map_err(|error| Status::internal(gantry_common::error_chain(&error)))?;
    Ok(Arc::new(Object::computed(encoded)))
}

fn node_of(pod: &Object) -> Option<String> {
    pod.scalar_at(&["spec", "nodeName"]).filter(|node| !node.is_empty()).map(std::borrow::Cow::into_owned)
}

/// Asks nodes, each once.
async fn ask(app: &App, nodes: impl Iterator<Item = String>) -> Answers {
    let nodes: BTreeSet<String> = nodes.collect();
    let known = kinds::by_resource("", "v1", "nodes").map(|kind| app.view(kind).snapshot());
    app.stats.retain(|node| known.as_ref().is_some_and(|k| k.get("", node).is_some()));
    let asked = nodes.into_iter().map(|node| async move {
        let answer = app.stats.of(&app.sessions, &node).await;
        (node, answer)
    });
    futures::stream::iter(asked).buffer_unordered(PARALLEL).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_nodes_are_named() {
        let answers: Answers = (0..8)
            .map(|n| (format!("n{n}"), if n == 0 { Ok(Arc::default()) } else { Err(Status::unavailable("gone")) }))
            .collect();
        let texts = warnings(&answers);
        assert_eq!(texts[0], "the metrics of node \"n1\" are left out: gone");
        assert_eq!(texts.last().map(String::as_str), Some("the metrics of 2 more nodes are left out"));
        assert!(warnings(&Answers::new()).is_empty());
    }
}
