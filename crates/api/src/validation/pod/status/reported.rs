//! What a kubelet reports of containers: as whom they run, and how the devices are that they were given.

use super::super::super::at::{At, Out};
use super::super::super::read::{Seen, list, map, number, repeats, some, text};
use crate::Value;

const HEALTH: &[&str] = &["Healthy", "Unhealthy", "Unknown"];
/// Before the name of a claim, where a resource is one of a claim.
const CLAIM: &str = "claim:";
const NO_CLAIM: &str = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or \
    'claim:<claimName>' if request is empty";

/// The statuses of all containers, in the order in which upstream looks at them.
pub(super) fn check(out: &mut Out, at: At<'_>, status: &Value, spec: &Value) {
    let os = some(spec, "os").map_or("linux", |os| text(os, "name"));
    for key in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        let at = at.child(key);
        for (index, container) in list(status, key).iter().enumerate() {
            if let Some(user) = some(container, "user").and_then(|user| some(user, "linux")) {
                let at = at.index(index);
                account(out, at.child("linux"), user, os);
            }
        }
    }
    for (key, containers) in [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")] {
        let at = at.child(key);
        for (index, container) in list(status, key).iter().enumerate() {
            let at = at.index(index);
            let own = list(spec, containers).iter().find(|c| text(c, "name") == text(container, "name"));
            resources(out, at.child("allocatedResourcesStatus"), list(container, "allocatedResourcesStatus"), own);
        }
    }
    let key = "ephemeralContainerStatuses";
    let at = at.child(key);
    for (index, container) in list(status, key).iter().enumerate() {
        if !list(container, "allocatedResourcesStatus").is_empty() {
            let at = at.index(index);
            out.forbidden(at.child("allocatedResourcesStatus"), "must not be specified in container status");
        }
    }
}

/// As whom a container runs; there are no such accounts on Windows.
fn account(out: &mut Out, at: At<'_>, user: &Value, os: &str) {
    match os {
        "windows" => out.forbidden(at, "cannot be set for a windows pod"),
        "linux" => {
            for key in ["uid", "gid"] {
                id(out, at.child(key), number(user, key).unwrap_or(0));
            }
            let groups_at = at.child("supplementalGroups");
            for (index, group) in list(user, "supplementalGroups").iter().enumerate() {
                id(out, groups_at.index(index), group.as_i64().unwrap_or(0));
            }
        }
        _ => {}
    }
}

fn id(out: &mut Out, at: At<'_>, id: i64) {
    if !(0..=i64::from(i32::MAX)).contains(&id) {
        out.invalid(at, id, "must be between 0 and 2147483647, inclusive");
    }
}

/// The resources of a container: those that it asks for, if it is known at all, and the devices among them each once.
fn resources(out: &mut Out, list_at: At<'_>, reported: &[Value], container: Option<&Value>) {
    for (index, resource) in reported.iter().enumerate() {
        let (at, name) = (list_at.index(index), text(resource, "name"));
        if let Some(why) = container.and_then(|container| unasked(container, name)) {
            out.invalid(at.child("name"), name, why);
        }
        let devices_at = at.child("resources");
        let mut seen = Seen::new();
        for (index, device) in list(resource, "resources").iter().enumerate() {
            let (at, health, id) = (devices_at.index(index), text(device, "health"), text(device, "resourceID"));
            if !HEALTH.contains(&health) {
                out.not_supported(at.child("health"), health, HEALTH);
            }
            if repeats(&mut seen, id) {
                out.duplicate(at.child("resourceID"), id);
            }
        }
    }
}

/// Why a container has no such resource, if it has none.
fn unasked(container: &Value, name: &str) -> Option<&'static str> {
    let asked = some(container, "resources").unwrap_or(&Value::Null);
    let Some(claim) = name.strip_prefix(CLAIM) else {
        let is_asked = map(asked, "requests").is_some_and(|requests| requests.contains_key(name));
        return (!is_asked).then_some("must match one of the container's resource requests");
    };
    let is_meant = |own: &Value| match (text(own, "name"), text(own, "request")) {
        (name, "") => claim == name,
        (name, request) => claim.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')) == Some(request),
    };
    (!list(asked, "claims").iter().any(is_meant)).then_some(NO_CLAIM)
}
