//! Pods stay on a node that is not ready or unreachable for a while (five minutes) unless they say otherwise.

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use serde_json::json;

use super::{Plugin, Request};

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub(super) struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if request.creates("Pod") {
            let config = &request.app.config;
            let (not_ready, unreachable) =
                (config.default_not_ready_toleration_seconds, config.default_unreachable_toleration_seconds);
            tolerate(object, [not_ready, unreachable]);
        }
        Ok(())
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let at = |key| value::str_at(toleration, key).unwrap_or_default();
    (at("key") == taint || at("key").is_empty()) && matches!(at("effect"), "NoExecute" | "")
}

fn tolerate(pod: &mut Value, seconds: [i64; 2]) {
    let present = value::list_at(pod, "spec.tolerations");
    let missing: Vec<Value> = TAINTS
        .iter()
        .zip(seconds)
        .filter(|(taint, _)| !present.iter().any(|t| tolerates(t, taint)))
        .map(|(taint, seconds)| {
            json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
        })
        .collect();
    if missing.is_empty() {
        return;
    }
    let all: Vec<Value> = present.iter().cloned().chain(missing).collect();
    value::set(pod, "spec.tolerations", all);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_are_added_where_none_is_set() {
        let check = |given: Value, added: usize| {
            let before = given.as_array().map_or(0, Vec::len);
            let mut pod = json!({"spec": {"tolerations": given}});
            tolerate(&mut pod, [300, 300]);
            assert_eq!(value::list_at(&pod, "spec.tolerations").len() - before, added, "{pod}");
        };
        check(json!([]), 2);
        check(json!([{"operator": "Exists"}]), 0);
        check(json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]), 1);
        check(json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}]), 2);
    }
}
