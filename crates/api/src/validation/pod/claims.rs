//! Resource claims of a pod, and which of them a container uses.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

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

/// The names of a pod's resource claims. They are asked for by each container, and shown by each use of a claim that is not there.
pub(super) struct Known<'a> {
    names: BTreeSet<&'a str>,
    shown: OnceCell<String>,
}

impl<'a> Known<'a> {
    /// Of a pod with this spec.
    pub(super) fn of(spec: &'a Value) -> Self {
        let names = list(spec, "resourceClaims").iter().map(|claim| text(claim, "name"));
        Self { names: names.filter(|name| !name.is_empty()).collect(), shown: OnceCell::new() }
    }

    /// As the end of a sentence that speaks of them.
    fn shown(&self) -> &str {
        self.shown.get_or_init(|| match self.names.len() {
            0 => " which is empty".to_owned(),
            _ => format!(": {}", self.names.iter().copied().collect::<Vec<_>>().join(", ")),
        })
    }
}

/// `resources.claims` of a container in a pod that has those that are `known`.
pub(super) fn used(out: &mut Out, at: At<'_>, claims: &[Value], known: &Known<'_>) {
    // Which were used, and as the how manyth.
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, claim) in claims.iter().enumerate() {
        if out.is_full() {
            return;
        }
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
        let used = |name: &str| seen.get_key_value(name).map(|(name, place)| (*place, name.clone()));
        if let Some((_, repeated)) = used(name).into_iter().chain(used(&part)).min() {
            out.duplicate(at, repeated);
        } else {
            seen.insert(part, index);
        }
        if !known.names.contains(name) {
            out.add(|| {
                let why = format!("must be one of the names in pod.spec.resourceClaims{}", known.shown());
                Error::not_found_because(&at.path(), name, &why)
            });
        }
    }
}
