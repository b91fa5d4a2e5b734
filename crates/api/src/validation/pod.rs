//! Pods and pod templates: the parts of a pod spec, in upstream's order.

mod affinity;
mod annotations;
mod claims;
mod containers;
mod env;
pub(super) mod ephemeral;
mod handlers;
mod mounts;
pub(super) mod resize;
mod resources;
mod scheduling;
mod security;
mod sources;
pub(super) mod status;
mod systems;
pub(super) mod update;
mod volumes;
mod windows;

use super::at::{At, Out};
use super::read::{list, map, number, some, text, truth};
use super::{formats, meta};
use crate::Value;
use crate::names;

pub(super) use handlers::port;
pub(super) use resources::{has_broken_huge_pages, overcommits, overhead};
pub(super) use scheduling::tolerations;
pub(super) use security::has_se_linux_policy;
pub(super) use volumes::{Of as VolumeOf, shown as volume_shown, source as volume_source};

/// A pod that is created.
pub(super) fn create(out: &mut Out, pod: &Value) {
    let at = At::Root("spec");
    let Some(spec) = some(pod, "spec") else {
        out.required(at.child("containers"), "");
        return;
    };
    annotations::check(out, At::Root("metadata.annotations"), pod, false);
    pod_spec(out, at, spec);
    only_in_pods(out, at, spec);
    if !list(spec, "ephemeralContainers").is_empty() {
        out.forbidden(at.child("ephemeralContainers"), "cannot be set on create");
    }
    if !text(spec, "nodeName").is_empty() && !list(spec, "schedulingGates").is_empty() {
        out.forbidden(at.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    annotations::agree(out, at, pod);
}

/// Pods (not templates, which tools fill with placeholders) need image names without blanks around them, the images of their
/// volumes, and an account where they have tokens of it.
fn only_in_pods(out: &mut Out, at: At<'_>, spec: &Value) {
    let volumes_at = at.child("volumes");
    let nobody = text(spec, "serviceAccountName").is_empty();
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        let sources = some(volume, "projected").map_or(&[][..], |projected| list(projected, "sources"));
        for (source, _) in
            sources.iter().enumerate().filter(|(_, s)| nobody && some(s, "serviceAccountToken").is_some())
        {
            let at = volumes_at.index(index);
            let at = at.child("projected.sources");
            let detail = "must not be specified when serviceAccountName is not set";
            out.forbidden(at.index(source).child("serviceAccountToken"), detail);
        }
        if some(volume, "image").is_some_and(|image| text(image, "reference").is_empty()) {
            out.required(volumes_at.index(index).child("image.reference"), "");
        }
    }
    for key in ["initContainers", "containers"] {
        let at = at.child(key);
        for (index, container) in list(spec, key).iter().enumerate() {
            let image = text(container, "image");
            if image.trim() != image {
                out.invalid(at.index(index).child("image"), image, "must not have leading or trailing whitespace");
            }
        }
    }
}

/// A pod template in a workload.
pub(super) fn template(out: &mut Out, at: At<'_>, template: &Value) {
    // Upstream's paths of these two leave `metadata` out.
    if let Some(metadata) = some(template, "metadata") {
        if let Some(labels) = map(metadata, "labels") {
            meta::labels(out, at.child("labels"), labels);
        }
        if let Some(annotations) = map(metadata, "annotations") {
            meta::annotations(out, at.child("annotations"), annotations);
        }
    }
    annotations::check(out, at.child("annotations"), template, false);
    let at = at.child("spec");
    let Some(spec) = some(template, "spec") else {
        out.required(at.child("containers"), "");
        return;
    };
    pod_spec(out, at, spec);
    annotations::agree(out, at, template);
    if !list(spec, "ephemeralContainers").is_empty() {
        out.forbidden(at.child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

/// What the parts of a pod spec need to know of the whole.
struct Pod<'a> {
    spec: &'a Value,
    /// The volumes that can be mounted.
    volumes: volumes::Mountable<'a>,
    claims: claims::Known<'a>,
    /// The pod's grace period in seconds.
    grace: i64,
}

fn pod_spec(out: &mut Out, at: At<'_>, spec: &Value) {
    let grace = number(spec, "terminationGracePeriodSeconds");
    if grace.is_none() {
        out.required(at.child("terminationGracePeriodSeconds"), "");
    }
    let volumes = volumes::volumes(out, at.child("volumes"), list(spec, "volumes"));
    let pod = Pod { spec, volumes, claims: claims::Known::of(spec), grace: grace.unwrap_or(0) };
    claims::all(out, at.child("resourceClaims"), list(spec, "resourceClaims"));
    containers::all(out, at, &pod);
    out.one_of(at.child("restartPolicy"), text(spec, "restartPolicy"), &["Always", "OnFailure", "Never"]);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    out.one_of(at.child("dnsPolicy"), text(spec, "dnsPolicy"), &policies);
    if let Some(selector) = map(spec, "nodeSelector") {
        meta::labels(out, at.child("nodeSelector"), selector);
    }
    security::pod(out, at, spec);
    if let Some(affinity) = some(spec, "affinity") {
        affinity::affinity(out, at.child("affinity"), affinity);
    }
    dns_config(out, at.child("dnsConfig"), spec);
    scheduling::all(out, at, spec);
    windows::host_processes(out, at, spec);
    security::host_users(out, at, spec);
    pod_names(out, at, spec);
    host_aliases(out, at.child("hostAliases"), list(spec, "hostAliases"));
    if let Some(seconds) = number(spec, "activeDeadlineSeconds")
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        out.invalid(at.child("activeDeadlineSeconds"), seconds, &formats::between(1, i64::from(i32::MAX)));
    }
    resources::of_whole_pod(out, at.child("resources"), spec);
    if let Some(amounts) = map(spec, "overhead") {
        overhead(out, at.child("overhead"), amounts);
    }
    systems::check(out, at, spec);
}

/// The fields that name something.
fn pod_names(out: &mut Out, at: At<'_>, spec: &Value) {
    type Check = fn(&str) -> Vec<String>;
    let checks: [(&str, Check); 6] = [
        ("serviceAccountName", names::dns_subdomain),
        ("nodeName", names::dns_subdomain),
        ("hostname", names::dns_label),
        ("subdomain", names::dns_label),
        ("priorityClassName", names::dns_subdomain),
        ("runtimeClassName", names::dns_subdomain),
    ];
    for (key, check) in checks {
        let name = text(spec, key);
        if !name.is_empty() {
            out.invalid_each(at.child(key), name, check(name));
        }
    }
    hostname_override(out, at.child("hostnameOverride"), spec);
    let policy = text(spec, "preemptionPolicy");
    if !policy.is_empty() && !["PreemptLowerPriority", "Never"].contains(&policy) {
        out.not_supported(at.child("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
}

/// The most bytes of the name that a kernel gives its host.
const HOSTNAME_BYTES: usize = 64;

/// A hostname that is not derived from the pod's name; there is none to give where the node's or the full name is used.
fn hostname_override(out: &mut Out, at: At<'_>, spec: &Value) {
    let Some(name) = some(spec, "hostnameOverride").and_then(Value::as_str) else { return };
    out.invalid_each(at, name, names::dns_subdomain(name));
    if name.len() > HOSTNAME_BYTES {
        out.invalid(at, name, "must be no more than 64 characters");
    }
    for key in ["hostNetwork", "setHostnameAsFQDN"] {
        if truth(spec, key) {
            out.forbidden(at, &format!("may not be set when {key} is true"));
        }
    }
}

fn host_aliases(out: &mut Out, at: At<'_>, aliases: &[Value]) {
    for (index, alias) in aliases.iter().enumerate() {
        let at = at.index(index);
        if let Some(detail) = formats::ip(text(alias, "ip")) {
            out.invalid(at.child("ip"), text(alias, "ip"), &detail);
        }
        let hosts = at.child("hostnames");
        for (index, host) in list(alias, "hostnames").iter().enumerate() {
            let host = host.as_str().unwrap_or_default();
            out.invalid_each(hosts.index(index), host, names::dns_subdomain(host));
        }
    }
}

/// The most name servers of a resolver.
const NAMESERVERS: usize = 3;
/// The most search domains.
const SEARCHES: usize = 32;
/// The most bytes of all search domains together.
const SEARCH_BYTES: usize = 2048;

fn dns_config(out: &mut Out, at: At<'_>, spec: &Value) {
    let alone = text(spec, "dnsPolicy") == "None";
    let Some(config) = some(spec, "dnsConfig") else {
        if alone {
            out.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let servers = list(config, "nameservers");
    if alone && servers.is_empty() {
        out.required(at.child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None");
        return;
    }
    if servers.len() > NAMESERVERS {
        out.invalid(at.child("nameservers"), servers.to_vec(), "must not have more than 3 nameservers");
    }
    for (index, server) in servers.iter().enumerate() {
        let server = server.as_str().unwrap_or_default();
        if let Some(detail) = formats::ip(server) {
            out.invalid(at.child("nameservers").index(index), server, &detail);
        }
    }
    let searches = list(config, "searches");
    if searches.len() > SEARCHES {
        out.invalid(at.child("searches"), searches.to_vec(), "must not have more than 32 search paths");
    }
    let bytes: usize = searches.iter().map(|s| s.as_str().unwrap_or_default().len() + 1).sum();
    if bytes > SEARCH_BYTES + 1 {
        let detail = "must not have more than 2048 characters (including spaces) in the search list";
        out.invalid(at.child("searches"), searches.to_vec(), detail);
    }
    for (index, search) in searches.iter().enumerate() {
        let search = search.as_str().unwrap_or_default();
        // A lone dot is the root; names may end in one.
        if search != "." {
            let name = search.strip_suffix('.').unwrap_or(search);
            out.invalid_each(at.child("searches").index(index), name, names::dns_subdomain_with_underscores(name));
        }
    }
    for (index, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            out.required(at.child("options").index(index), "must not be empty");
        }
    }
}
