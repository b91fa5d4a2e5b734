//! What the scheduler writes: bindings, the `PodScheduled` condition, and the references its events need.

use gantry_client::{Patch, ResourceId, Write};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodCondition;
use serde_json::json;

use crate::pod::PodInfo;

const REASON: &str = "Unschedulable";

/// The write that assigns `pod` to `node`; the uid makes it fail for a later pod of the same name.
#[must_use]
pub fn binding(pod: &PodInfo, node: &str) -> Write {
    Write::Create {
        resource: ResourceId::new("", "v1", "pods"),
        key: pod.key.clone(),
        subresource: "binding".to_owned(),
        object: json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "namespace": pod.key.namespace, "name": pod.key.name, "uid": pod.uid },
            "target": { "kind": "Node", "name": node },
        }),
    }
}

/// The write that says why `pod` waits, or `None` when its condition says so already.
#[must_use]
pub fn condition(pod: &PodInfo, message: &str, now: Timestamp) -> Option<Write> {
    let known =
        pod.object.status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == "PodScheduled");
    let refused = |c: &&PodCondition| c.status == "False";
    if known
        .filter(refused)
        .is_some_and(|c| c.reason.as_deref() == Some(REASON) && c.message.as_deref() == Some(message))
    {
        return None;
    }
    let since = known.filter(refused).and_then(|c| c.last_transition_time.as_ref()).map_or(now, |t| t.0);
    let since = Timestamp::from_second(since.as_second()).unwrap_or(since);
    let condition = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": REASON,
        "message": message,
        "lastTransitionTime": since.to_string(),
        "observedGeneration": pod.object.metadata.generation,
    });
    Some(Write::Patch {
        resource: ResourceId::new("", "v1", "pods"),
        key: pod.key.clone(),
        subresource: "status".to_owned(),
        // The uid keeps the patch from landing on a later pod of the same name.
        patch: Patch::Strategic(json!({ "metadata": { "uid": pod.uid }, "status": { "conditions": [condition] } })),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture::pod;

    /// The last transition time that would be written, or `None` for no write.
    fn check(conditions: &Value, expected: Option<&str>) {
        let mut pod = (*pod("p", json!({}), json!({}))).clone();
        let mut object = (*pod.object).clone();
        object.status = Some(serde_json::from_value(json!({ "conditions": conditions })).expect("a status"));
        pod.object = std::sync::Arc::new(object);
        let now = "2026-02-02T00:00:00.5Z".parse().expect("a time");
        let written = condition(&pod, "why", now).map(|write| match write {
            Write::Patch { patch: Patch::Strategic(patch), .. } => {
                patch["status"]["conditions"][0]["lastTransitionTime"].as_str().map(str::to_owned)
            }
            other => panic!("not a patch: {other:?}"),
        });
        assert_eq!(written.flatten().as_deref(), expected);
    }

    #[test]
    fn the_condition_is_written_only_when_it_says_something_new() {
        let known = |message: &str| {
            json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
                     "lastTransitionTime": "2026-01-01T00:00:00Z" }])
        };
        check(&json!([]), Some("2026-02-02T00:00:00Z"));
        check(&known("why"), None);
        check(&known("other"), Some("2026-01-01T00:00:00Z"));
        check(&json!([{ "type": "PodScheduled", "status": "True" }]), Some("2026-02-02T00:00:00Z"));
    }
}
