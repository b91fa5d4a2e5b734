//! Says on each node how many seconds its kubelet may keep Secrets and config maps without asking again; the more nodes, the longer.
//!
//! Steps and annotation: k8s.io/kubernetes pkg/controller/ttl.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{Key, Patch};
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use serde_json::json;

use crate::context::Context;

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";
/// Nodes are worked on at once.
const WORKERS: usize = 5;
/// From how many nodes to how many a step holds, and its seconds. They overlap: a cluster at an edge does not go to and fro.
const STEPS: [(usize, usize, u32); 5] =
    [(0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, usize::MAX, 300)];

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let runner = Runner::new("ttl", WORKERS, context.stop.clone()).watch_keys(&context.readers.nodes);
    runner.run(Arc::new(Controller { context, step: Mutex::new(0) })).await;
}

struct Controller {
    context: Context,
    step: Mutex<usize>,
}

/// The step for so many nodes after `step`.
fn next(mut step: usize, nodes: usize) -> usize {
    while nodes > STEPS[step].1 {
        step += 1;
    }
    while nodes < STEPS[step].0 {
        step -= 1;
    }
    step
}

/// What the node says; nothing where it is no number.
fn said(node: &Node) -> Option<u32> {
    node.metadata.annotations.as_ref()?.get(ANNOTATION)?.parse().ok()
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let nodes = &self.context.readers.nodes;
        let Some(node) = nodes.get(key) else { return Ok(Outcome::Done) };
        let seconds = {
            let mut step = self.step.lock();
            *step = next(*step, nodes.len());
            STEPS[*step].2
        };
        if said(&node) == Some(seconds) {
            return Ok(Outcome::Done);
        }
        let patch = Patch::Strategic(json!({"metadata": {"annotations": {ANNOTATION: seconds.to_string()}}}));
        match self.context.client.api::<Node>().patch(&key.name, &patch, None).await {
            Err(error) if !error.is_not_found() => Err(error).doing(|| format!("annotate node {}", key.name)),
            _ => Ok(Outcome::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_nodes_ask_less_often() {
        let check = |step, nodes, seconds| assert_eq!(STEPS[next(step, nodes)].2, seconds, "{nodes} after {step}");
        check(0, 1, 0);
        check(0, 100, 0);
        check(0, 101, 15);
        check(1, 95, 15);
        check(1, 89, 0);
        check(0, 3000, 300);
        check(4, 1800, 300);
        check(4, 1799, 60);
        check(4, 0, 0);
    }
}
