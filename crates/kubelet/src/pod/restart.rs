//! When a container that ended is started again: by its rules, its own policy, or that of its pod; pure.
//!
//! A rule may also start all of the pod's containers again. What was made before such an end is of the round before: it is
//! killed where it runs, and started anew in the usual order. Nothing has to be remembered for that: the runtime keeps the
//! container whose end it was.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, Pod};

use super::{Kind, RestartPolicy, containers, restart_policy, state::Snapshot};
use crate::runtime::Container;

const RESTART_ALL: &str = "RestartAllContainers";

/// The action of the first rule that an exit code meets.
fn rule(spec: &Spec, code: i32) -> Option<&str> {
    let rules = spec.restart_policy_rules.iter().flatten().filter(|_| spec.restart_policy.is_some());
    let met = |codes: &k8s_openapi::api::core::v1::ContainerRestartRuleOnExitCodes| {
        let listed = codes.values.iter().flatten().any(|value| *value == code);
        listed == (codes.operator == "In")
    };
    rules.into_iter().find(|rule| rule.exit_codes.as_ref().is_some_and(met)).map(|rule| rule.action.as_str())
}

fn policy(pod: &Pod, kind: Kind, spec: &Spec) -> RestartPolicy {
    match (kind, spec.restart_policy.as_deref()) {
        (Kind::Sidecar, _) => RestartPolicy::Always,
        (Kind::Ephemeral, _) => RestartPolicy::Never,
        (_, Some("Always")) => RestartPolicy::Always,
        (_, Some("OnFailure")) => RestartPolicy::OnFailure,
        (_, Some("Never")) => RestartPolicy::Never,
        _ => restart_policy(pod),
    }
}

/// Whether a container that ended with `code` is started again.
pub(crate) fn restarts(pod: &Pod, kind: Kind, spec: &Spec, code: i32) -> bool {
    match kind {
        Kind::Ephemeral => false,
        // An init container that succeeded is done, whatever is said of it.
        Kind::Init if code == 0 => false,
        _ => rule(spec, code).is_some() || policy(pod, kind, spec).restarts(code),
    }
}

/// When the last container ended whose end starts all of them again.
pub(crate) fn all_since(s: &Snapshot<'_>) -> Option<Timestamp> {
    let ends = containers(s.pod).flat_map(|(_, spec)| {
        let exits = s.history(&spec.name).into_iter().filter_map(Container::exit);
        exits.filter(|exit| rule(spec, exit.code) == Some(RESTART_ALL)).map(|exit| exit.finished)
    });
    ends.max()
}

/// Whether a container was made before the last such end.
pub(crate) fn is_over(s: &Snapshot<'_>, container: &Container) -> bool {
    all_since(s).is_some_and(|since| container.created < since)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::plan::tests::pod;
    use super::*;

    #[test]
    fn rules_go_before_policies() {
        let check = |container: serde_json::Value, code: i32, expected: bool| {
            let mut container = container;
            container["name"] = "app".into();
            let pod = pod(json!({"restartPolicy": "OnFailure", "containers": [container]}));
            let spec = &super::super::spec(&pod).containers[0];
            assert_eq!(restarts(&pod, Kind::App, spec, code), expected, "{spec:?} {code}");
        };
        check(json!({}), 1, true);
        check(json!({}), 0, false);
        check(json!({"restartPolicy": "Never"}), 1, false);
        check(json!({"restartPolicy": "Always"}), 0, true);
        let rule = |operator: &str| {
            let codes = json!({"operator": operator, "values": [3]});
            json!({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart", "exitCodes": codes}]})
        };
        check(rule("In"), 3, true);
        check(rule("In"), 4, false);
        check(rule("NotIn"), 3, false);
        check(rule("NotIn"), 4, true);
    }
}
