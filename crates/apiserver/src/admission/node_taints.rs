//! A new node takes no pods until the node controller has seen that it is ready.

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use serde_json::json;

use super::{Plugin, Request};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if request.creates("Node") {
            taint(object);
        }
        Ok(())
    }
}

fn taint(node: &mut Value) {
    let has = value::list_at(node, "spec.taints").iter().any(|t| t["key"] == NOT_READY && t["effect"] == "NoSchedule");
    if has {
        return;
    }
    let Some(spec) = value::object_mut(node, "spec") else { return };
    let taints = spec.entry("taints").or_insert_with(|| json!([]));
    if taints.is_null() {
        *taints = json!([]);
    }
    if let Some(list) = taints.as_array_mut() {
        list.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_taint_is_added_once() {
        let mut node = json!({"metadata": {"name": "n"}});
        taint(&mut node);
        taint(&mut node);
        assert_eq!(node["spec"]["taints"], json!([{"key": NOT_READY, "effect": "NoSchedule"}]));
    }
}
