//! What a kubelet, or whoever may, writes into a pod's status.

use super::super::at::{At, Out, same};
use super::super::formats;
use super::super::read::{list, number, some, text};
use crate::Value;
use crate::names;

/// An update of a pod's status.
pub(crate) fn status_update(out: &mut Out, new: &Value, old: &Value) {
    let node = |pod| some(pod, "spec").map_or("", |s| text(s, "nodeName"));
    let at = At::Root("status");
    if node(new) != node(old) {
        out.forbidden(at.child("nodeName"), "may not be changed directly");
    }
    let (Some(status), before) = (some(new, "status"), some(old, "status").unwrap_or(&Value::Null)) else { return };
    let nominated = text(status, "nominatedNodeName");
    if !nominated.is_empty() {
        out.invalid_each(at.child("nominatedNodeName"), nominated, names::dns_subdomain(nominated));
    }
    let policy = some(new, "spec").map_or("", |s| text(s, "restartPolicy"));
    for key in ["containerStatuses", "initContainerStatuses"] {
        transitions(out, at.child(key), list(status, key), list(before, key), policy);
    }
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
        let first = list(status, key).first().map(|ip| text(ip, "ip"));
        let single = text(status, one);
        if first.is_some_and(|first| !single.is_empty() && single != first) {
            let detail = format!("must be equal to `{one}`");
            out.invalid(list_at.index(0).child("ip"), first.unwrap_or_default(), &detail);
        }
    }
}

/// A container that ended for good stays ended.
fn transitions(out: &mut Out, at: At<'_>, new: &[Value], old: &[Value], policy: &str) {
    if policy == "Always" {
        return;
    }
    for before in old {
        let Some(end) = some(before, "state").and_then(|s| some(s, "terminated")) else { continue };
        if policy == "OnFailure" && number(end, "exitCode").unwrap_or(0) != 0 {
            continue;
        }
        let again = |s: &&Value| {
            text(s, "name") == text(before, "name")
                && some(s, "state").is_none_or(|state| some(state, "terminated").is_none())
        };
        if let Some(index) = new.iter().position(|s| again(&s)) {
            out.forbidden(at.index(index).child("state"), "may not be transitioned to non-terminated state");
        }
    }
}
