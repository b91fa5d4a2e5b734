//! Tolerations that namespaces give and allow, and those that come with a node's special resources.

use std::collections::HashMap;

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use serde_json::json;

use super::settings::Tolerations;
use super::{Operation, Plugin, Request};
use crate::registry::pod::qos;

/// A namespace's tolerations are its pods', and those that it lists are all that they may have.
pub(super) struct PodTolerationRestriction(pub(super) Tolerations);
/// Who asks for a special resource tolerates the taint that keeps others off its nodes.
pub(super) struct ExtendedResourceToleration;

const DEFAULTS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const ALLOWED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";
const PRESSURE: &str = "node.kubernetes.io/memory-pressure";

fn writes_pod(request: &Request<'_>) -> bool {
    request.target.kind.is("", "Pod")
        && request.target.subresource.is_empty()
        && matches!(request.operation, Operation::Create | Operation::Update)
}

fn text<'a>(toleration: &'a Value, key: &str) -> &'a str {
    value::str_at(toleration, key).unwrap_or_default()
}

fn seconds(toleration: &Value) -> Option<i64> {
    value::i64_at(toleration, "tolerationSeconds")
}

fn equal(a: &Value, b: &Value) -> bool {
    ["key", "operator", "value", "effect"].iter().all(|key| text(a, key) == text(b, key)) && seconds(a) == seconds(b)
}

/// Whether `wide` tolerates all that `narrow` does.
fn covers(wide: &Value, narrow: &Value) -> bool {
    if equal(wide, narrow) {
        return true;
    }
    let exists = text(wide, "operator") == "Exists";
    let keys = text(wide, "key") == text(narrow, "key") || (text(wide, "key").is_empty() && exists);
    let effects = text(wide, "effect") == text(narrow, "effect") || text(wide, "effect").is_empty();
    let shorter = match seconds(wide).filter(|_| text(wide, "effect") == "NoExecute") {
        Some(granted) => seconds(narrow).is_some_and(|wanted| wanted <= granted),
        None => true,
    };
    keys && effects
        && shorter
        && match text(wide, "operator") {
            "Exists" => true,
            "Equal" | "" => text(narrow, "operator") == "Equal" && text(narrow, "value") == text(wide, "value"),
            _ => false,
        }
}

/// Tolerations of a pod that are merged or checked: each is compared with all others.
const TOLERATIONS_MAX: usize = 1_000;

/// Refuses a pod with more than [`TOLERATIONS_MAX`].
fn bounded(request: &Request<'_>, pod: &Value) -> Result<(), Status> {
    let count = value::list_at(pod, "spec.tolerations").len();
    if count > TOLERATIONS_MAX {
        let why =
            format!("a pod has at most {TOLERATIONS_MAX} tolerations where they are restricted, and this has {count}");
        return Err(request.forbidden(&why));
    }
    Ok(())
}

/// Both lists, without what another one covers.
fn merged(first: &[Value], second: &[Value]) -> Vec<Value> {
    let all: Vec<&Value> = first.iter().chain(second).collect();
    let mut out: Vec<Value> = Vec::new();
    for (index, toleration) in all.iter().enumerate() {
        let before = out.iter().any(|known| covers(known, toleration));
        let after = all[index + 1..].iter().any(|later| !equal(later, toleration) && covers(later, toleration));
        if !before && !after {
            out.push((*toleration).clone());
        }
    }
    out
}

/// The tolerations in an annotation of the namespace; `None` where it has none.
fn stated(namespace: &Value, key: &str) -> Result<Option<Vec<Value>>, Status> {
    let annotations = value::map_at(namespace, "metadata.annotations");
    let text = annotations.and_then(|a| a.get(key)).and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|error| Status::failure(500, "", error.to_string()))
}

impl PodTolerationRestriction {
    fn complete(&self, pod: &Value, namespace: &Value, created: bool) -> Result<Vec<Value>, Status> {
        let mut all = value::list_at(pod, "spec.tolerations").to_vec();
        if created {
            let given = stated(namespace, DEFAULTS)?.unwrap_or_else(|| self.0.default.clone());
            all = if all.is_empty() { given } else { merged(&given, &all) };
        }
        if qos::class(pod) != "BestEffort" {
            let pressure = json!({"key": PRESSURE, "operator": "Exists", "effect": "NoSchedule"});
            all = merged(&all, &[pressure]);
        }
        Ok(all)
    }

    fn check(&self, pod: &Value, namespace: &Value) -> Result<(), Status> {
        let (allowed, scope) = match stated(namespace, ALLOWED)? {
            Some(allowed) => (allowed, "namespace"),
            None => (self.0.whitelist.clone(), "cluster"),
        };
        let covered = |toleration: &Value| allowed.iter().any(|wide| covers(wide, toleration));
        if allowed.is_empty() || value::list_at(pod, "spec.tolerations").iter().all(covered) {
            return Ok(());
        }
        let why = format!(
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its {scope} whitelist"
        );
        Err(Status::failure(500, "", why))
    }
}

#[async_trait]
impl Plugin for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if writes_pod(request) {
            bounded(request, object)?;
            let namespace = request.load_namespace().await?;
            let all = self.complete(object, &namespace, request.operation == Operation::Create)?;
            if !all.is_empty() {
                value::set(object, "spec.tolerations", all);
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if !writes_pod(request) {
            return Ok(());
        }
        bounded(request, object)?;
        self.check(object, &request.load_namespace().await?)
    }
}

/// Whether a resource is none of Kubernetes' own.
fn is_extended(name: &str) -> bool {
    let own = |domain: &str| domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    name.split_once('/').is_some_and(|(domain, _)| !own(domain)) && !name.starts_with("requests.")
}

fn tolerate_resources(pod: &mut Value) {
    let lists = ["spec.containers", "spec.initContainers"].iter().flat_map(|list| value::list_at(pod, list));
    let names = lists.filter_map(|container| value::map_at(container, "resources.requests")).flat_map(|r| r.keys());
    let names: std::collections::BTreeSet<String> = names.filter(|name| is_extended(name)).cloned().collect();
    if names.is_empty() {
        return;
    }
    let mut all = value::list_at(pod, "spec.tolerations").to_vec();
    let identity = |t: &Value| ["key", "operator", "value", "effect"].map(|key| text(t, key).to_owned());
    let mut places = HashMap::new();
    for (place, known) in all.iter().enumerate() {
        places.entry(identity(known)).or_insert(place);
    }
    for name in names {
        let wanted = json!({"key": name, "operator": "Exists", "effect": "NoSchedule"});
        match places.get(&identity(&wanted)) {
            Some(place) => all[*place] = wanted,
            None => all.push(wanted),
        }
    }
    value::set(pod, "spec.tolerations", all);
}

#[async_trait]
impl Plugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if writes_pod(request) {
            tolerate_resources(object);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_gives_and_bounds_tolerations() {
        let dedicated = || json!({"key": "dedicated", "operator": "Equal", "value": "a", "effect": "NoSchedule"});
        let plugin = PodTolerationRestriction(Tolerations { default: vec![dedicated()], whitelist: Vec::new() });
        let plain = json!({"metadata": {}});
        let pod = json!({"spec": {"tolerations": [{"key": "x", "operator": "Exists"}], "containers": [{}]}});
        let all = plugin.complete(&pod, &plain, true).expect("read");
        assert_eq!(all, [dedicated(), json!({"key": "x", "operator": "Exists"})]);
        let given = json!({"metadata": {"annotations": {DEFAULTS: "[]", ALLOWED: "[{\"key\": \"x\", \"operator\": \"Exists\"}]"}}});
        assert_eq!(plugin.complete(&pod, &given, true).expect("read").len(), 1, "the namespace says: none");
        assert_eq!(plugin.check(&pod, &given), Ok(()));
        let other = json!({"spec": {"tolerations": [dedicated()]}});
        let refused = plugin.check(&other, &given).expect_err("refused").message;
        assert!(refused.ends_with("conflict with its namespace whitelist"), "{refused}");
        let asking = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        assert_eq!(plugin.complete(&asking, &given, false).expect("read")[0]["key"], PRESSURE);
    }

    #[test]
    fn wider_tolerations_stand_for_narrower_ones() {
        let check = |wide: Value, narrow: Value, expected: bool| {
            assert_eq!(covers(&wide, &narrow), expected, "{wide} {narrow}");
        };
        let any = || json!({"operator": "Exists"});
        check(any(), json!({"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}), true);
        check(json!({"key": "a", "operator": "Exists"}), json!({"key": "b", "operator": "Exists"}), false);
        let long = |n: i64| json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": n});
        check(long(10), long(5), true);
        check(long(5), long(10), false);
        check(json!({"key": "a", "value": "b"}), json!({"key": "a", "operator": "Equal", "value": "b"}), true);
        check(json!({"key": "a", "value": "b"}), json!({"key": "a", "operator": "Equal", "value": "c"}), false);
        assert_eq!(merged(&[long(5)], &[any()]), [any()]);
    }

    #[test]
    fn special_resources_are_tolerated() {
        let mut pod = json!({"spec": {"containers": [{"resources": {"requests": {"example.com/gpu": "1", "cpu": "1"}}}],
            "initContainers": [{"resources": {"requests": {"example.com/fpga": "1", "a.kubernetes.io/x": "1"}}}]}});
        tolerate_resources(&mut pod);
        let tolerate = |name: &str| json!({"key": name, "operator": "Exists", "effect": "NoSchedule"});
        let expected = json!([tolerate("example.com/fpga"), tolerate("example.com/gpu")]);
        assert_eq!(pod["spec"]["tolerations"], expected);
        tolerate_resources(&mut pod);
        assert_eq!(pod["spec"]["tolerations"], expected, "once");
    }
}
