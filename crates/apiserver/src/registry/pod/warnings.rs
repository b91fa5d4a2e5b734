//! What upstream warns pod authors of: legal, but hardly meant.

use std::collections::{HashMap, HashSet};

use gantry_api::{Value, names, value};

/// Node labels that were renamed: old, new.
const OLD_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
];

/// Why a label of nodes should not be used any more.
pub(crate) fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, text)| *text)
}

/// The warnings about a pod.
pub(super) fn pod(pod: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let name = value::str_at(pod, "metadata.name").unwrap_or_default();
    let found = names::dns_label(name);
    if !name.is_empty() && !found.is_empty() {
        out.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; \
             a DNS label is recommended: [{}]",
            found.join(" ")
        ));
    }
    spec(&mut out, "spec", value::get(pod, "spec").unwrap_or(&Value::Null));
    out
}

/// The warnings about the pod template of a workload.
pub(crate) fn template(workload: &Value) -> Vec<String> {
    template_at("spec.template.spec", workload)
}

/// As [`template`], where the pod spec is at `path`.
pub(crate) fn template_at(path: &str, object: &Value) -> Vec<String> {
    let mut out = Vec::new();
    spec(&mut out, path, value::get(object, path).unwrap_or(&Value::Null));
    out
}

fn spec(out: &mut Vec<String>, at: &str, spec: &Value) {
    for (old, text) in OLD_LABELS {
        if spec.get("nodeSelector").is_some_and(|s| s.get(old).is_some()) {
            out.push(format!("{at}.nodeSelector[{old}]: {text}"));
        }
    }
    if value::i64_at(spec, "terminationGracePeriodSeconds").is_some_and(|s| s < 0) {
        out.push(format!(
            "{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    for (index, volume) in value::list_at(spec, "volumes").iter().enumerate() {
        let source = |key: &str| volume.get(key).is_some_and(|v| !v.is_null());
        if source("gitRepo") {
            out.push(format!("{at}.volumes[{index}].gitRepo: deprecated in v1.11"));
        }
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in value::list_at(spec, list).iter().enumerate() {
            self::container(out, &format!("{at}.{list}[{index}]"), container);
        }
    }
}

fn container(out: &mut Vec<String>, at: &str, container: &Value) {
    let mut names = HashSet::new();
    for (index, variable) in value::list_at(container, "env").iter().enumerate() {
        let name = variable.get("name").and_then(Value::as_str).unwrap_or_default();
        if !names.insert(name) {
            out.push(format!(
                "{at}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
    let mut firsts = HashMap::new();
    for (index, port) in value::list_at(container, "ports").iter().enumerate() {
        let key = (value::i64_at(port, "containerPort"), value::str_at(port, "protocol").unwrap_or("TCP"));
        let first = *firsts.entry(key).or_insert(index);
        if first != index {
            out.push(format!("{at}.ports[{index}]: duplicate port definition with {at}.ports[{first}]"));
        }
    }
    for list in ["limits", "requests"] {
        let memory = value::str_at(container, &format!("resources.{list}.memory")).unwrap_or_default();
        if memory.ends_with('m') {
            out.push(format!(
                "{at}.resources.{list}[memory]: fractional byte value {memory:?} is invalid, must be an integer"
            ));
        }
    }
}
