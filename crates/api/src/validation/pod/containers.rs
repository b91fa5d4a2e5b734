//! Containers of all three sorts.

use std::collections::HashSet;

use super::super::at::{At, Out};
use super::super::formats;
use super::super::read::{Seen, list, number, repeats, some, text, truth};
use super::{Pod, claims, env, ephemeral, handlers, mounts, resources, security};
use crate::Value;
use crate::names;

/// Protocols of ports.
pub(crate) const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];

const RESTART_POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const RESTART_ACTIONS: &[&str] = &["Restart", "RestartAllContainers"];
/// The most rules of a container, and codes of a rule.
const RESTART_RULES: usize = 20;
const RESTART_CODES: usize = 255;

/// Init, regular and ephemeral containers; names are unique over all.
pub(super) fn all(out: &mut Out, at: At<'_>, pod: &Pod<'_>) {
    let regular = list(pod.spec, "containers");
    if regular.is_empty() {
        out.required(at.child("containers"), "");
    }
    let mut names = Seen::new();
    for (index, container) in regular.iter().enumerate() {
        if out.is_full() {
            return;
        }
        let list = at.child("containers");
        let at = list.index(index);
        name(out, at, container, &mut names);
        common(out, at, container, pod);
        probes(out, at, container, pod);
        restart(out, at, container);
    }
    for (index, container) in list(pod.spec, "initContainers").iter().enumerate() {
        init(out, at.child("initContainers"), index, container, pod, &mut names);
    }
    ephemeral::all(out, at.child("ephemeralContainers"), pod, &mut names);
    host_ports(out, at.child("containers"), regular);
    host_network(out, at.child("containers"), pod.spec, regular);
}

fn init<'a>(out: &mut Out, list: At<'_>, index: usize, container: &'a Value, pod: &Pod<'_>, names: &mut Seen<'a>) {
    if out.is_full() {
        return;
    }
    let at = list.index(index);
    name(out, at, container, names);
    common(out, at, container, pod);
    restart(out, at, container);
    // They run one after the other, so each is looked at alone; upstream calls each the first one.
    host_ports(out, list, std::slice::from_ref(container));
    match text(container, "restartPolicy") {
        // A sidecar runs beside the regular containers, so it may have what they have.
        "Always" => probes(out, at, container, pod),
        _ => {
            for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if some(container, key).is_some() {
                    out.forbidden(at.child(key), "may not be set for init containers without restartPolicy=Always");
                }
            }
        }
    }
}

/// When a container restarts, other than its pod's others do.
fn restart(out: &mut Out, at: At<'_>, container: &Value) {
    let (policy, rules) = (text(container, "restartPolicy"), list(container, "restartPolicyRules"));
    if policy.is_empty() && !rules.is_empty() {
        out.required(at.child("restartPolicy"), "must specify restartPolicy when restart rules are used");
    }
    if !policy.is_empty() && !RESTART_POLICIES.contains(&policy) {
        out.not_supported(at.child("restartPolicy"), policy, RESTART_POLICIES);
    }
    let rules_at = at.child("restartPolicyRules");
    if rules.len() > RESTART_RULES {
        out.too_many(rules_at, rules.len(), RESTART_RULES);
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = rules_at.index(index);
        let action = text(rule, "action");
        if !RESTART_ACTIONS.contains(&action) {
            out.not_supported(at.child("action"), action, RESTART_ACTIONS);
        }
        let at = at.child("exitCodes");
        let Some(codes) = some(rule, "exitCodes") else {
            out.required(at, "must be specified");
            continue;
        };
        let operator = text(codes, "operator");
        if !["In", "NotIn"].contains(&operator) {
            out.not_supported(at.child("operator"), operator, &["In", "NotIn"]);
        }
        let values = list(codes, "values").len();
        if values > RESTART_CODES {
            out.too_many(at.child("values"), values, RESTART_CODES);
        }
    }
}

pub(super) fn name<'a>(out: &mut Out, at: At<'_>, container: &'a Value, names: &mut Seen<'a>) {
    let name = text(container, "name");
    if name.is_empty() {
        out.required(at.child("name"), "");
        return;
    }
    out.invalid_each(at.child("name"), name, names::dns_label(name));
    if repeats(names, name) {
        out.duplicate(at.child("name"), name);
    }
}

pub(super) fn common(out: &mut Out, at: At<'_>, container: &Value, pod: &Pod<'_>) {
    if text(container, "image").is_empty() {
        out.required(at.child("image"), "");
    }
    let policies = ["File", "FallbackToLogsOnError"];
    out.one_of(at.child("terminationMessagePolicy"), text(container, "terminationMessagePolicy"), &policies);
    ports(out, at.child("ports"), list(container, "ports"));
    env::env(out, at.child("env"), list(container, "env"), list(pod.spec, "volumes"));
    env::env_from(out, at.child("envFrom"), list(container, "envFrom"));
    mounts::mounts(out, at, container, &pod.volumes);
    let policy = text(container, "imagePullPolicy");
    out.one_of(at.child("imagePullPolicy"), policy, &["Always", "Never", "IfNotPresent"]);
    if let Some(resources) = some(container, "resources") {
        resources::requirements(out, at.child("resources"), resources);
        claims::used(out, at.child("resources.claims"), list(resources, "claims"), &pod.claims);
    }
    let never = text(pod.spec, "restartPolicy") == "Never" && text(container, "restartPolicy").is_empty();
    let mut resized = Seen::new();
    for (index, policy) in list(container, "resizePolicy").iter().enumerate() {
        // Upstream says of repeated ones alone which they are.
        let at = at.child("resizePolicy");
        if repeats(&mut resized, text(policy, "resourceName")) {
            out.duplicate(at.index(index), text(policy, "resourceName"));
        }
        let restart = text(policy, "restartPolicy");
        out.one_of(at, text(policy, "resourceName"), &["cpu", "memory"]);
        out.one_of(at, restart, &["NotRequired", "RestartContainer"]);
        if never && restart != "NotRequired" {
            out.invalid(at, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'");
        }
    }
    if let Some(context) = some(container, "securityContext") {
        security::container(out, at.child("securityContext"), context, pod.spec);
    }
}

fn probes(out: &mut Out, at: At<'_>, container: &Value, pod: &Pod<'_>) {
    if let Some(lifecycle) = some(container, "lifecycle") {
        handlers::lifecycle(out, at.child("lifecycle"), lifecycle, pod.grace);
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = some(container, key) else { continue };
        let at = at.child(key);
        handlers::probe(out, at, probe, pod.grace);
        if key == "readinessProbe" {
            if let Some(seconds) = number(probe, "terminationGracePeriodSeconds") {
                out.invalid(at.child("terminationGracePeriodSeconds"), seconds, "must not be set for readinessProbes");
            }
        } else if let Some(times) = number(probe, "successThreshold").filter(|n| *n != 1) {
            out.invalid(at.child("successThreshold"), times, "must be 1");
        }
    }
}

fn ports(out: &mut Out, at: At<'_>, ports: &[Value]) {
    let mut seen = Seen::new();
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            let found = names::port_name(name);
            if found.is_empty() && repeats(&mut seen, name) {
                out.duplicate(at.child("name"), name);
            }
            out.invalid_each(at.child("name"), name, found);
        }
        match number(port, "containerPort").unwrap_or(0) {
            0 => out.required(at.child("containerPort"), ""),
            number => port_number(out, at.child("containerPort"), number),
        }
        if let Some(number) = number(port, "hostPort").filter(|n| *n != 0) {
            port_number(out, at.child("hostPort"), number);
        }
        out.one_of(at.child("protocol"), text(port, "protocol"), PROTOCOLS);
    }
}

fn port_number(out: &mut Out, at: At<'_>, number: i64) {
    if let Some(detail) = formats::port_number(number) {
        out.invalid(at, number, &detail);
    }
}

/// Two containers of a pod cannot listen on the same host port.
fn host_ports(out: &mut Out, at: At<'_>, containers: &[Value]) {
    let mut seen = HashSet::new();
    for (index, container) in containers.iter().enumerate() {
        let at = at.index(index);
        for (index, port) in list(container, "ports").iter().enumerate() {
            let Some(number) = number(port, "hostPort").filter(|n| *n != 0) else { continue };
            let key = (text(port, "protocol"), text(port, "hostIP"), number);
            if !seen.insert(key) {
                let text = format!("{}/{}/{}", key.0, key.1, key.2);
                out.duplicate(at.child("ports").index(index).child("hostPort"), text);
            }
        }
    }
}

fn host_network(out: &mut Out, at: At<'_>, spec: &Value, containers: &[Value]) {
    if !truth(spec, "hostNetwork") {
        return;
    }
    for (index, container) in containers.iter().enumerate() {
        let at = at.index(index);
        for (index, port) in list(container, "ports").iter().enumerate() {
            let (host, own) = (number(port, "hostPort").unwrap_or(0), number(port, "containerPort").unwrap_or(0));
            // Templates get their host ports when pods are made from them.
            if host != 0 && host != own {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                out.invalid(at.child("ports").index(index).child("hostPort"), host, detail);
            }
        }
    }
}
