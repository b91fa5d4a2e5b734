//! A pod that has its node cannot grow beyond what the node has.

use async_trait::async_trait;
use gantry_api::quantity::Quantity;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, quota, value};

use super::{Plugin, Request};
use crate::pipeline::current;
use crate::request::Target;

pub(super) struct PodResizeValidator;

#[async_trait]
impl Plugin for PodResizeValidator {
    fn name(&self) -> &'static str {
        "PodResizeValidator"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let name = value::str_at(object, "spec.nodeName").unwrap_or_default();
        let generation = |pod: &Value| value::i64_at(pod, "metadata.generation");
        if !request.resizes() || name.is_empty() || request.old.map(generation) == Some(generation(object)) {
            return Ok(());
        }
        let nodes = kinds::by_resource("", "v1", "nodes").ok_or_else(Status::no_such_resource)?;
        let node = current::load(request.app, &Target::new(nodes, "", name)).await?;
        let node = node.ok_or_else(|| request.forbidden(&format!("node {name:?} not found")))?;
        check(object, &node.value).map_err(|Never { why, cause }| request.forbidden(&why).with_cause(cause, "", ""))
    }
}

/// Why a node can never give a pod what it asks for; `cause` is for those who resize pods and have to know.
#[derive(Debug, PartialEq, Eq)]
struct Never {
    why: String,
    cause: &'static str,
}

fn check(pod: &Value, node: &Value) -> Result<(), Never> {
    let labels = value::map_at(node, "metadata.labels");
    let system = labels.and_then(|labels| labels.get("kubernetes.io/os")).and_then(Value::as_str);
    if let Some(system) = system.filter(|system| *system != "linux") {
        let name = value::str_at(node, "metadata.name").unwrap_or_default();
        let why = format!("pod resize is only supported on linux nodes, node {name:?} is {system:?}");
        return Err(Never { why, cause: "UnsupportedPlatform" });
    }
    let requested = quota::pod_total(pod, "requests");
    let allocatable = quota::amounts(value::map_at(node, "status.allocatable"));
    let cpu = |of: &quota::Usage| of.get("cpu").map_or(0, Quantity::milli);
    let memory = |of: &quota::Usage| of.get("memory").map_or(0, Quantity::value);
    let amounts = [("cpu", cpu(&requested), cpu(&allocatable)), ("memory", memory(&requested), memory(&allocatable))];
    let mut beyond = Vec::new();
    for (name, requested, allocatable) in amounts {
        if requested > allocatable {
            beyond.push(format!("{name}, requested: {requested}, allocatable: {allocatable}"));
        }
    }
    if beyond.is_empty() {
        return Ok(());
    }
    let why = format!("node didn't have enough allocatable resources: {}", beyond.join("; "));
    Err(Never { why, cause: "NodeCapacity" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_bounds_what_its_pods_may_ask_for() {
        let node = |system: &str| {
            json!({"metadata": {"name": "n", "labels": {"kubernetes.io/os": system}},
                "status": {"allocatable": {"cpu": "1", "memory": "1Gi"}}})
        };
        let pod = |cpu: &str, memory: &str| json!({"spec": {"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}]}});
        let never = |why: &str, cause| Err(Never { why: why.to_owned(), cause });
        assert_eq!(check(&pod("1", "1Gi"), &node("linux")), Ok(()));
        let beyond = "node didn't have enough allocatable resources: cpu, requested: 1500, allocatable: 1000; memory, \
                      requested: 2147483648, allocatable: 1073741824";
        assert_eq!(check(&pod("1500m", "2Gi"), &node("linux")), never(beyond, "NodeCapacity"));
        let other = "pod resize is only supported on linux nodes, node \"n\" is \"windows\"";
        assert_eq!(check(&pod("9", "9Gi"), &node("windows")), never(other, "UnsupportedPlatform"));
        let mut unnamed = node("linux");
        value::remove(&mut unnamed, "metadata.labels");
        assert_eq!(check(&pod("1", "1Gi"), &unnamed), Ok(()), "who says nothing runs Linux");
    }
}
