//! Resource claims of a pod, and which of them a container uses.

use super::super::at::{At, Out};
use super::super::read::{Seen, list, repeats, some, text};
use crate::Value;
use crate::field::Error;
use crate::names;

/// `resourceClaims` of a pod.
pub(super) fn all(out: &mut Out, at: At<'_>, claims: &[Value]) {
    let mut seen = Seen::new();
    for (index, claim) in claims.iter().enumerate() {
        let at = at.index(index);
        match text(claim, "name") {
            "" => out.required(at.child("name"), ""),
            name if repeats(&mut seen, name) => out.duplicate(at.child("name"), name),
            name => out.invalid_each(at.child("name"), name, names::dns_label(name)),
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        match sources.iter().filter(|key| some(claim, key).is_some()).count() {
            0 => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                out.invalid_of(at, "core/v1.PodResourceClaim", claim, detail);
            }
            1 => {}
            _ => {
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                out.invalid_of(at, "core/v1.PodResourceClaim", claim, detail);
            }
        }
        for key in sources {
            if let Some(name) = some(claim, key).and_then(Value::as_str) {
                out.invalid_each(at.child(key), name, names::dns_subdomain(name));
            }
        }
    }
}

/// `resources.claims` of a container in a pod with this spec.
pub(super) fn used(out: &mut Out, at: At<'_>, claims: &[Value], spec: &Value) {
    let mut seen: Vec<String> = Vec::with_capacity(claims.len());
    let mut known: Vec<&str> = list(spec, "resourceClaims").iter().map(|claim| text(claim, "name")).collect();
    known.retain(|name| !name.is_empty());
    known.sort_unstable();
    known.dedup();
    for (index, claim) in claims.iter().enumerate() {
        let at = at.index(index);
        let (name, request) = (text(claim, "name"), text(claim, "request"));
        if name.is_empty() {
            out.required(at, "");
            continue;
        }
        let part = if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") };
        if !request.is_empty() {
            out.invalid_each(at.child("request"), request, names::dns_label(request));
        }
        // Who uses a whole claim uses every request of it.
        if let Some(repeated) = seen.iter().find(|s| *s == name || **s == part) {
            out.duplicate(at, repeated.as_str());
        } else {
            seen.push(part);
        }
        if !known.contains(&name) {
            let all = if known.is_empty() { " which is empty".to_owned() } else { format!(": {}", known.join(", ")) };
            let mut error = Error::not_found(&at.path(), name);
            error.body = format!("{}: must be one of the names in pod.spec.resourceClaims{all}", error.body);
            out.errors.push(error);
        }
    }
}
