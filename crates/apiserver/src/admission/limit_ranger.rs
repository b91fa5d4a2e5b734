//! Limit ranges: what a namespace's containers get where they say nothing, and what pods and claims may ask for.

use std::collections::HashSet;

use async_trait::async_trait;
use gantry_api::quantity::Quantity;
use gantry_api::quota::{self, Usage};
use gantry_api::status::Status;
use gantry_api::{Value, value};

use super::first_look::FirstLook;
use super::{Operation, Plugin, Request};

const NOTE: &str = "kubernetes.io/limit-ranger";
/// Amounts that the containers of a pod get from one range: each container gets all of them, and no pod of so many is stored.
const FILLED_MAX: usize = 100_000;

#[derive(Default)]
pub(super) struct LimitRanger {
    first: FirstLook,
}

impl LimitRanger {
    /// The limit ranges of the request's namespace.
    async fn ranges(&self, request: &Request<'_>) -> Result<Vec<Value>, Status> {
        let found = request.in_namespace("", "limitranges")?;
        if found.is_empty() && self.first.settle(request).await? {
            return request.in_namespace("", "limitranges");
        }
        Ok(found)
    }
}

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if request.creates("Pod") || request.resizes() {
            for range in self.ranges(request).await? {
                if !complete(object, &range) {
                    let why = format!("its containers would get more than {FILLED_MAX} defaults of limit ranges");
                    return Err(request.forbidden(&why));
                }
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let claim = request.target.kind.is("", "PersistentVolumeClaim")
            && request.operation != Operation::Delete
            && request.target.subresource.is_empty();
        if !request.creates("Pod") && !request.resizes() && !claim {
            return Ok(());
        }
        for range in self.ranges(request).await? {
            let found = if claim { claim_errors(object, &range) } else { pod_errors(object, &range) };
            if !found.is_empty() {
                return Err(request.forbidden(&joined(found)));
            }
        }
        Ok(())
    }
}

/// One text, or several in brackets, each once.
fn joined(mut texts: Vec<String>) -> String {
    let mut seen = HashSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    if let [only] = texts.as_slice() { only.clone() } else { format!("[{}]", texts.join(", ")) }
}

fn items<'a>(range: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    value::list_at(range, "spec.limits").iter().filter(move |item| value::str_at(item, "type") == Some(kind))
}

fn amounts(item: &Value, path: &str) -> Usage {
    quota::amounts(value::map_at(item, path))
}

/// Fills in what the containers do not say, and notes it in an annotation. Says whether that was no more than [`FILLED_MAX`].
#[must_use]
fn complete(pod: &mut Value, range: &Value) -> bool {
    let (mut notes, mut amounts) = (Vec::new(), 0);
    for item in items(range, "Container") {
        for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
            let Some(Value::Array(containers)) = value::get_mut(pod, &format!("spec.{list}")) else { continue };
            for container in containers {
                for (part, default) in [("requests", "defaultRequest"), ("limits", "default")] {
                    let filled = fill(container, part, item.get(default));
                    amounts += filled.len();
                    if amounts > FILLED_MAX {
                        return false;
                    }
                    if !filled.is_empty() {
                        let name = value::str_at(container, "name").unwrap_or_default();
                        let part = part.trim_end_matches('s');
                        notes.push(format!("{} {part} for {what} {name}", filled.join(", ")));
                    }
                }
            }
        }
    }
    if let Some(annotations) = value::object_mut(pod, "metadata.annotations").filter(|_| !notes.is_empty()) {
        annotations.insert(NOTE.to_owned(), format!("LimitRanger plugin set: {}", notes.join("; ")).into());
    }
    true
}

/// Adds the amounts that the container does not have; returns their names.
fn fill(container: &mut Value, part: &str, defaults: Option<&Value>) -> Vec<String> {
    let Some(defaults) = defaults.and_then(Value::as_object).filter(|d| !d.is_empty()) else { return Vec::new() };
    let Some(own) = value::object_mut(container, &format!("resources.{part}")) else { return Vec::new() };
    let missing: Vec<String> = defaults.keys().filter(|name| !own.contains_key(*name)).cloned().collect();
    for name in &missing {
        own.insert(name.clone(), defaults[name].clone());
    }
    missing
}

/// What is asked for, and where it is bounded.
struct Asked<'a> {
    kind: &'a str,
    requests: Usage,
    limits: Usage,
}

impl Asked<'_> {
    fn min(&self, name: &str, bound: &Quantity) -> Option<String> {
        let head = format!("minimum {name} usage per {} is {bound}", self.kind);
        let Some(request) = self.requests.get(name) else { return Some(format!("{head}.  No request is specified")) };
        if request < bound {
            return Some(format!("{head}, but request is {request}"));
        }
        let limit = self.limits.get(name).filter(|limit| *limit < bound);
        limit.map(|limit| format!("{head}, but limit is {limit}"))
    }

    fn max(&self, name: &str, bound: &Quantity) -> Option<String> {
        let head = format!("maximum {name} usage per {} is {bound}", self.kind);
        let Some(limit) = self.limits.get(name) else { return Some(format!("{head}.  No limit is specified")) };
        if limit > bound {
            return Some(format!("{head}, but limit is {limit}"));
        }
        let request = self.requests.get(name).filter(|request| *request > bound);
        request.map(|request| format!("{head}, but request is {request}"))
    }

    fn ratio(&self, name: &str, bound: &Quantity) -> Option<String> {
        let head = format!("{name} max limit to request ratio per {} is {bound}", self.kind);
        let some = |usage: &Usage| usage.get(name).copied().filter(|amount| amount.signum() > 0);
        let Some(request) = some(&self.requests) else {
            return Some(format!("{head}, but no request is specified or request is 0"));
        };
        let Some(limit) = some(&self.limits) else {
            return Some(format!("{head}, but no limit is specified or limit is 0"));
        };
        #[expect(clippy::cast_precision_loss, reason = "upstream compares floating-point numbers, and prints one")]
        let (ratio, most) = (limit.milli() as f64 / request.milli() as f64, bound.milli() as f64 / 1000.0);
        (ratio > most).then(|| format!("{head}, but provided ratio is {ratio:.6}"))
    }

    fn errors(&self, item: &Value) -> Vec<String> {
        let mut out = Vec::new();
        out.extend(amounts(item, "min").iter().filter_map(|(name, bound)| self.min(name, bound)));
        out.extend(amounts(item, "max").iter().filter_map(|(name, bound)| self.max(name, bound)));
        out.extend(amounts(item, "maxLimitRequestRatio").iter().filter_map(|(name, bound)| self.ratio(name, bound)));
        out
    }
}

fn pod_errors(pod: &Value, range: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for item in value::list_at(range, "spec.limits") {
        match value::str_at(item, "type") {
            Some("Container") => {
                for container in ["spec.containers", "spec.initContainers"].iter().flat_map(|p| value::list_at(pod, p))
                {
                    let part = |part: &str| amounts(container, &format!("resources.{part}"));
                    let asked = Asked { kind: "Container", requests: part("requests"), limits: part("limits") };
                    out.extend(asked.errors(item));
                }
            }
            Some("Pod") => {
                let part = |part: &str| quota::pod_total(pod, part);
                let asked = Asked { kind: "Pod", requests: part("requests"), limits: part("limits") };
                out.extend(asked.errors(item));
            }
            _ => {}
        }
    }
    out
}

fn claim_errors(claim: &Value, range: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let kind = "PersistentVolumeClaim";
    let requests = amounts(claim, "spec.resources.requests");
    let asked = Asked { kind, requests: requests.clone(), limits: Usage::new() };
    for item in items(range, kind) {
        out.extend(amounts(item, "min").iter().filter_map(|(name, bound)| asked.min(name, bound)));
        for (name, bound) in amounts(item, "max") {
            let head = format!("maximum {name} usage per {kind} is {bound}");
            match requests.get(&name) {
                None => out.push(format!("{head}.  No request is specified")),
                Some(request) if *request > bound => out.push(format!("{head}, but request is {request}")),
                Some(_) => {}
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn range(item: Value) -> Value {
        json!({"spec": {"limits": [item]}})
    }

    fn pod(resources: Value) -> Value {
        json!({"spec": {"containers": [{"name": "a", "resources": resources}]}})
    }

    #[test]
    fn containers_get_what_they_leave_out() {
        let mut object = pod(json!({"requests": {"cpu": "2"}}));
        let of_range = range(
            json!({"type": "Container", "default": {"cpu": "4", "memory": "1Gi"}, "defaultRequest": {"cpu": "1", "memory": "512Mi"}}),
        );
        assert!(complete(&mut object, &of_range));
        let resources = &object["spec"]["containers"][0]["resources"];
        assert_eq!(
            *resources,
            json!({"requests": {"cpu": "2", "memory": "512Mi"}, "limits": {"cpu": "4", "memory": "1Gi"}})
        );
        assert_eq!(
            object["metadata"]["annotations"][NOTE],
            "LimitRanger plugin set: memory request for container a; cpu, memory limit for container a"
        );
        let mut full = object.clone();
        assert!(complete(&mut full, &range(json!({"type": "Container", "default": {"cpu": "9"}}))));
        assert_eq!(full, object, "what is said stays");
    }

    #[test]
    fn attack_defaults_are_not_given_to_very_many() {
        let defaults: gantry_api::Object = (0..10_000).map(|n| (format!("r{n}"), "1".into())).collect();
        let range = range(json!({"type": "Container", "default": defaults}));
        let pod = |count: usize| json!({"spec": {"containers": vec![json!({}); count]}});
        assert!(complete(&mut pod(10), &range));
        assert!(!complete(&mut pod(100_000), &range));
    }

    #[test]
    fn bounds_are_kept_in_upstreams_words() {
        let check = |resources: Value, item: Value, expected: &[&str]| {
            assert_eq!(pod_errors(&pod(resources), &range(item)), expected);
        };
        let container = |key: &str, amount: &str| json!({"type": "Container", key: {"cpu": amount}});
        check(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}), container("min", "1"), &[]);
        check(json!({}), container("min", "1"), &["minimum cpu usage per Container is 1.  No request is specified"]);
        check(
            json!({"requests": {"cpu": "500m"}}),
            container("min", "1"),
            &["minimum cpu usage per Container is 1, but request is 500m"],
        );
        check(json!({}), container("max", "1"), &["maximum cpu usage per Container is 1.  No limit is specified"]);
        check(
            json!({"limits": {"cpu": "2"}}),
            container("max", "1"),
            &["maximum cpu usage per Container is 1, but limit is 2"],
        );
        check(
            json!({"requests": {"cpu": "1"}, "limits": {"cpu": "4"}}),
            container("maxLimitRequestRatio", "2"),
            &["cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000"],
        );
        check(
            json!({"limits": {"memory": "2Gi"}}),
            json!({"type": "Pod", "max": {"memory": "1Gi"}}),
            &["maximum memory usage per Pod is 1Gi, but limit is 2Gi"],
        );
        let claim = json!({"spec": {"resources": {"requests": {"storage": "5Gi"}}}});
        assert_eq!(
            claim_errors(&claim, &range(json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}))),
            ["maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 5Gi"]
        );
        assert_eq!(joined(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]), "[a, b]");
    }
}
