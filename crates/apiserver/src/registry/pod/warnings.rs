//! What upstream warns pod authors of: legal, but hardly meant.

mod containers;
mod volumes;

use std::collections::HashSet;

use gantry_api::{Object, Value, names, value};

use crate::registry::written;

/// Node labels that should not be used any more, and why.
const OLD_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// Why a label of nodes should not be used any more.
pub(crate) fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, text)| *text)
}

/// Annotations that mean nothing any more.
const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];
/// What is said of seccomp profiles in annotations.
/// Warnings of one kind that are looked for: a response has room for fewer.
const WARNINGS_MAX: usize = 200;

const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";

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
    all(&mut out, "", pod);
    out
}

/// The warnings about the pod template of a workload.
pub(crate) fn template(workload: &Value) -> Vec<String> {
    template_at("spec.template", workload)
}

/// As [`template`], where the template is at `path`.
pub(crate) fn template_at(path: &str, object: &Value) -> Vec<String> {
    let mut out = Vec::new();
    all(&mut out, path, value::get(object, path).unwrap_or(&Value::Null));
    out
}

/// What is warned of a quantity of bytes that is none.
pub(crate) fn fraction(at: impl Fn() -> String, quantity: Option<&Value>) -> Option<String> {
    let text = quantity?.as_str()?;
    // In canonical form only fractions have such an end.
    text.ends_with(['m', 'u', 'n'])
        .then(|| format!("{}: fractional byte value {text:?} is invalid, must be an integer", at()))
}

/// The warnings about a pod or a template at `at`, in upstream's order.
fn all(out: &mut Vec<String>, at: &str, pod: &Value) {
    let below = |part: &str| if at.is_empty() { part.to_owned() } else { format!("{at}.{part}") };
    let spec = value::get(pod, "spec").unwrap_or(&Value::Null);
    let (spec_at, notes_at) = (below("spec"), below("metadata.annotations"));
    let annotations = value::map_at(pod, "metadata.annotations");
    placement(out, &spec_at, spec);
    for (key, why) in OLD_ANNOTATIONS {
        out.extend(annotated(annotations, &notes_at, key, why));
    }
    volumes::all(out, &spec_at, spec);
    lists(out, &spec_at, spec);
    if value::get(spec, "securityContext.seccompProfile").is_none() {
        out.extend(annotated(annotations, &notes_at, "seccomp.security.alpha.kubernetes.io/pod", SECCOMP));
    }
    containers::all(out, &spec_at, spec, |out, container| {
        containers::profiles(out, annotations, (&notes_at, !at.is_empty()), spec, container);
    });
    containers::ports(out, &spec_at, spec);
    if value::i64_at(spec, "terminationGracePeriodSeconds").is_some_and(|s| s < 0) {
        out.push(format!(
            "{spec_at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    affinities(out, &spec_at, spec);
    addresses(out, &spec_at, spec);
}

/// The warning about an annotation, if it is there.
fn annotated(annotations: Option<&Object>, at: &str, key: &str, why: &str) -> Option<String> {
    annotations?.contains_key(key).then(|| format!("{at}[{key}]: {why}"))
}

/// Labels of nodes that were renamed, and selectors that select nothing.
fn placement(out: &mut Vec<String>, at: &str, spec: &Value) {
    if let Some(selector) = spec.get("nodeSelector") {
        for (old, text) in OLD_LABELS.iter().filter(|(old, _)| selector.get(old).is_some()) {
            out.push(format!("{at}.nodeSelector[{old}]: {text}"));
        }
    }
    if let Some(node) = value::get(spec, "affinity.nodeAffinity") {
        let at = format!("{at}.affinity.nodeAffinity");
        let required = "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
        for (index, term) in value::list_at(node, required).iter().enumerate() {
            node_term(out, &format!("{at}.{required}[{index}]"), term, false);
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (index, term) in value::list_at(node, preferred).iter().enumerate() {
            let term = term.get("preference").unwrap_or(&Value::Null);
            node_term(out, &format!("{at}.{preferred}[{index}].preference"), term, true);
        }
    }
    for (index, constraint) in value::list_at(spec, "topologySpreadConstraints").iter().enumerate() {
        let at = format!("{at}.topologySpreadConstraints[{index}]");
        let key = value::str_at(constraint, "topologyKey").unwrap_or_default();
        out.extend(old_label(key).map(|why| format!("{at}.topologyKey: {key} is {why}")));
        out.extend(unselective(&at, constraint));
    }
}

/// What is warned of a term that selects nodes; `values`: whether its values may be none of labels, as they only prefer nodes.
pub(crate) fn node_term(out: &mut Vec<String>, at: &str, term: &Value, values: bool) {
    for (index, expression) in value::list_at(term, "matchExpressions").iter().enumerate() {
        let at = format!("{at}.matchExpressions[{index}]");
        let key = value::str_at(expression, "key").unwrap_or_default();
        out.extend(old_label(key).map(|why| format!("{at}.key: {key} is {why}")));
        for (index, value) in value::list_at(expression, "values").iter().enumerate().filter(|_| values) {
            let value = value.as_str().unwrap_or_default();
            let wrong = names::label_value(value).into_iter();
            out.extend(wrong.map(|why| format!("{at}.values[{index}]: {value} is invalid, {why}")));
        }
    }
}

fn unselective(at: &str, term: &Value) -> Option<String> {
    let selector = term.get("labelSelector").filter(|selector| !selector.is_null());
    selector.is_none().then(|| format!("{at}.labelSelector: a null labelSelector results in matching no pod"))
}

fn affinities(out: &mut Vec<String>, at: &str, spec: &Value) {
    if spec.get("affinity").is_none() {
        return;
    }
    for of in ["podAffinity", "podAntiAffinity"] {
        for (kind, inner) in [("required", ""), ("preferred", ".podAffinityTerm")] {
            let path = format!("affinity.{of}.{kind}DuringSchedulingIgnoredDuringExecution");
            for (index, term) in value::list_at(spec, &path).iter().enumerate() {
                let term = if inner.is_empty() { Some(term) } else { term.get("podAffinityTerm") };
                out.extend(unselective(&format!("{at}.{path}[{index}]{inner}"), term.unwrap_or(&Value::Null)));
            }
        }
    }
}

/// Entries of lists that stand twice or name nothing, and fractions of bytes.
fn lists(out: &mut Vec<String>, at: &str, spec: &Value) {
    for (list, key) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen = HashSet::new();
        for (index, item) in value::list_at(spec, list).iter().enumerate() {
            let text = value::str_at(item, key).unwrap_or_default();
            if !seen.insert(text) {
                out.push(format!("{at}.{list}[{index}].{key}: duplicate {key} {text:?}"));
            }
        }
    }
    for (index, secret) in value::list_at(spec, "imagePullSecrets").iter().enumerate() {
        if value::str_at(secret, "name").is_none_or(str::is_empty) {
            out.push(format!("{at}.imagePullSecrets[{index}].name: invalid empty name \"\""));
        }
    }
    for resource in ["memory", "ephemeral-storage"] {
        let quantity = spec.get("overhead").and_then(|overhead| overhead.get(resource));
        out.extend(fraction(|| format!("{at}.overhead[{resource}]"), quantity));
    }
}

fn addresses(out: &mut Vec<String>, at: &str, spec: &Value) {
    for (index, server) in value::list_at(spec, "dnsConfig.nameservers").iter().enumerate() {
        let at = format!("{at}.dnsConfig.nameservers[{index}]");
        out.extend(written::ip(&at, server.as_str().unwrap_or_default()));
    }
    for (index, alias) in value::list_at(spec, "hostAliases").iter().enumerate() {
        let at = format!("{at}.hostAliases[{index}].ip");
        out.extend(written::ip(&at, value::str_at(alias, "ip").unwrap_or_default()));
    }
}
