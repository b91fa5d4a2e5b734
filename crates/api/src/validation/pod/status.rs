//! What a kubelet, or whoever may, writes into a pod's status.

mod reported;

use std::collections::{HashMap, HashSet};

use serde_json::json;

use super::super::at::{At, Out, same};
use super::super::formats;
use super::super::read::{Seen, list, number, repeats, some, text};
use super::annotations;
use crate::Value;
use crate::field::Error;
use crate::names;

/// An update of a pod's status.
pub(crate) fn status_update(out: &mut Out, new: &Value, old: &Value) {
    let node = |pod| some(pod, "spec").map_or("", |s| text(s, "nodeName"));
    let at = At::Root("status");
    annotations::changed(out, new, old);
    // Upstream's path is that of the metadata, and the field's name in Go.
    let conditions_at = At::Root("metadata.conditions");
    for (index, condition) in list(some(new, "status").unwrap_or(&Value::Null), "conditions").iter().enumerate() {
        let (at, kind) = (conditions_at.index(index), text(condition, "type"));
        out.invalid_each(at.child("Type"), kind, names::qualified_name(kind));
    }
    if node(new) != node(old) {
        out.forbidden(at.child("nodeName"), "may not be changed directly");
    }
    let (Some(status), before) = (some(new, "status"), some(old, "status").unwrap_or(&Value::Null)) else { return };
    let nominated = text(status, "nominatedNodeName");
    if !nominated.is_empty() {
        out.invalid_each(at.child("nominatedNodeName"), nominated, names::dns_subdomain(nominated));
    }
    let spec = some(new, "spec").unwrap_or(&Value::Null);
    for (key, containers) in [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")] {
        transitions(out, at.child(key), list(status, key), list(before, key), (spec, containers));
    }
    // Ephemeral containers are never started again.
    let never = json!({"restartPolicy": "Never"});
    let key = "ephemeralContainerStatuses";
    transitions(out, at.child(key), list(status, key), list(before, key), (&never, "ephemeralContainers"));
    claims(out, at.child("resourceClaimStatuses"), list(status, "resourceClaimStatuses"), spec);
    if !text(before, "qosClass").is_empty() && !same(status.get("qosClass"), before.get("qosClass")) {
        out.invalid(at.child("qosClass"), text(status, "qosClass"), "field is immutable");
    }
    for (key, one) in [("podIPs", "podIP"), ("hostIPs", "hostIP")] {
        let list_at = at.child(key);
        for (index, ip) in list(status, key).iter().enumerate() {
            if let Some(detail) = formats::ip(text(ip, "ip")) {
                out.invalid(list_at.index(index), text(ip, "ip"), &detail);
            }
        }
        let ty = if key == "podIPs" { "core/v1.PodIP" } else { "core/v1.HostIP" };
        families(out, list_at, ty, list(status, key));
        let first = list(status, key).first().map(|ip| text(ip, "ip"));
        let single = text(status, one);
        if first.is_some_and(|first| !single.is_empty() && single != first) {
            let detail = format!("must be equal to `{one}`");
            out.invalid(list_at.index(0).child("ip"), first.unwrap_or_default(), &detail);
        }
    }
    reported::check(out, at, status, spec);
}

/// The claims that were made for a pod are those that it asked for.
fn claims(out: &mut Out, at: At<'_>, statuses: &[Value], spec: &Value) {
    let asked: Seen<'_> = list(spec, "resourceClaims").iter().map(|claim| text(claim, "name")).collect();
    let mut seen = Seen::new();
    for (index, status) in statuses.iter().enumerate() {
        let at = at.index(index).path();
        let name = text(status, "name");
        let at_name = at.child("name");
        if !asked.contains(name) {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            out.add(|| Error::invalid(&at_name, name, detail));
        }
        if repeats(&mut seen, name) {
            out.add(|| Error::duplicate(&at_name, name));
        }
        if let Some(made) = some(status, "resourceClaimName").and_then(Value::as_str) {
            let found = names::dns_subdomain(made);
            out.extend(found.iter().map(|why| Error::invalid(&at_name, made, why)).collect());
        }
    }
}

/// One address of each family.
fn families(out: &mut Out, at: At<'_>, ty: &str, list: &[Value]) {
    let v6 = |item: &&Value| text(item, "ip").contains(':');
    if list.len() > 2 || (list.len() == 2 && list.iter().filter(v6).count() != 1) {
        let detail = "may specify no more than one IP for each IP family";
        out.invalid_of(at, &format!("[]{ty}"), &Value::from(list.to_vec()), detail);
    }
    let mut seen = HashSet::new();
    for (index, item) in list.iter().enumerate().filter(|(_, item)| !seen.insert(*item)) {
        out.duplicate_of(at.index(index), ty, item);
    }
}

/// A container that ended for good stays ended.
fn transitions(out: &mut Out, at: At<'_>, new: &[Value], old: &[Value], (spec, containers): (&Value, &str)) {
    if text(spec, "restartPolicy") == "Always" || restarts_all(spec) {
        return;
    }
    let mut by_name = HashMap::new();
    for container in list(spec, containers) {
        by_name.entry(text(container, "name")).or_insert(container);
    }
    let runs = |status: &&Value| some(status, "state").is_none_or(|state| some(state, "terminated").is_none());
    let again: Seen<'_> = new.iter().filter(runs).map(|status| text(status, "name")).collect();
    for (index, before) in old.iter().enumerate() {
        let Some(end) = some(before, "state").and_then(|s| some(s, "terminated")) else { continue };
        let container = by_name.get(text(before, "name")).copied();
        let code = number(end, "exitCode").unwrap_or(0);
        if restarts(text(spec, "restartPolicy"), container.unwrap_or(&Value::Null), code) {
            continue;
        }
        if again.contains(text(before, "name")) {
            // Upstream's path says where it stood before.
            out.forbidden(at.index(index).child("state"), "may not be transitioned to non-terminated state");
        }
    }
}

/// Whether the end of one container may start all of them again.
fn restarts_all(spec: &Value) -> bool {
    let all = ["containers", "initContainers"].into_iter().flat_map(|key| list(spec, key));
    let mut rules = all.flat_map(|container| list(container, "restartPolicyRules"));
    rules.any(|rule| text(rule, "action") == "RestartAllContainers")
}

/// Whether a container that ended with `code` is started again: by its rules, its own policy, or that of its pod.
fn restarts(pod_policy: &str, container: &Value, code: i64) -> bool {
    let matches = |rule: &Value| {
        let codes = some(rule, "exitCodes");
        let listed = codes.is_some_and(|c| list(c, "values").iter().any(|value| value.as_i64() == Some(code)));
        codes.is_some_and(|codes| listed == (text(codes, "operator") == "In"))
    };
    let own = text(container, "restartPolicy");
    if !own.is_empty() && list(container, "restartPolicyRules").iter().any(matches) {
        return true;
    }
    match if own.is_empty() { pod_policy } else { own } {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}
