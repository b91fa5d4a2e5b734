//! A pod's runtime class adds what its pods cost and where they can run.

use std::collections::HashSet;

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, quota, value};

use super::{Plugin, Request};
use crate::pipeline::current;
use crate::request::Target;

pub(super) struct RuntimeClass;

async fn class(request: &Request<'_>, pod: &Value) -> Result<Option<Value>, Status> {
    let name = value::str_at(pod, "spec.runtimeClassName").unwrap_or_default();
    if name.is_empty() {
        return Ok(None);
    }
    let kind = kinds::by_resource("node.k8s.io", "v1", "runtimeclasses").ok_or_else(Status::no_such_resource)?;
    let found = current::load(request.app, &Target::new(kind, "", name)).await?;
    let missing = || request.forbidden(&format!("pod rejected: RuntimeClass {name:?} not found"));
    found.map(|c| Some(c.value)).ok_or_else(missing)
}

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if request.creates("Pod")
            && let Some(class) = class(request, object).await?
        {
            apply(object, &class).map_err(|why| request.forbidden(&why))?;
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if !request.creates("Pod") || value::map_at(object, "spec.overhead").is_none_or(|o| o.is_empty()) {
            return Ok(());
        }
        let class = class(request, object).await?;
        check_overhead(object, class.as_ref()).map_err(|why| request.forbidden(&why))
    }
}

fn overhead(object: &Value, path: &str) -> Option<quota::Usage> {
    value::map_at(object, path).filter(|o| !o.is_empty()).map(|o| quota::amounts(Some(o)))
}

fn check_overhead(pod: &Value, class: Option<&Value>) -> Result<(), String> {
    match class.and_then(|c| overhead(c, "overhead.podFixed")) {
        None => Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".to_owned()),
        fixed if fixed == overhead(pod, "spec.overhead") => Ok(()),
        Some(_) => Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned()),
    }
}

/// Adds the class's overhead, node selector and tolerations.
fn apply(pod: &mut Value, class: &Value) -> Result<(), String> {
    if let Some(fixed) = value::get(class, "overhead.podFixed").filter(|o| !o.is_null()) {
        if overhead(pod, "spec.overhead").is_some() {
            check_overhead(pod, Some(class))?;
        }
        value::set(pod, "spec.overhead", fixed.clone());
    }
    for (key, wanted) in value::map_at(class, "scheduling.nodeSelector").into_iter().flatten() {
        let Some(selector) = value::object_mut(pod, "spec.nodeSelector") else { continue };
        match selector.get(key) {
            Some(own) if own != wanted => {
                let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    text(wanted),
                    text(own)
                ));
            }
            _ => drop(selector.insert(key.clone(), wanted.clone())),
        }
    }
    let own = value::list_at(pod, "spec.tolerations").to_vec();
    let known: HashSet<&Value> = own.iter().collect();
    let added = value::list_at(class, "scheduling.tolerations").iter().filter(|t| !known.contains(t)).cloned();
    let all: Vec<Value> = own.iter().cloned().chain(added).collect();
    if all.len() > own.len() {
        value::set(pod, "spec.tolerations", all);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_adds_cost_and_place() {
        let class = json!({"overhead": {"podFixed": {"cpu": "250m"}},
            "scheduling": {"nodeSelector": {"kvm": "yes"}, "tolerations": [{"key": "kvm"}]}});
        let mut pod = json!({"spec": {"tolerations": [{"key": "a"}]}});
        apply(&mut pod, &class).expect("no conflict");
        apply(&mut pod, &class).expect("the same again");
        assert_eq!(
            pod["spec"],
            json!({"overhead": {"cpu": "250m"}, "nodeSelector": {"kvm": "yes"},
            "tolerations": [{"key": "a"}, {"key": "kvm"}]})
        );
        assert_eq!(check_overhead(&pod, Some(&class)), Ok(()));
        assert!(check_overhead(&pod, None).is_err_and(|e| e.contains("without corresponding RuntimeClass")));
        let refused = |spec: Value| apply(&mut json!({"spec": spec}), &class).expect_err("refused");
        assert!(refused(json!({"overhead": {"cpu": "1"}})).contains("doesn't match"));
        assert!(
            refused(json!({"nodeSelector": {"kvm": "no"}}))
                .starts_with("conflict: runtimeClass.scheduling.nodeSelector[kvm] = yes")
        );
    }
}
