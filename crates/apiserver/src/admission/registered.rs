//! What users have registered (webhooks, policies, bindings), read once per version of each object.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::{Value, kinds};
use gantry_store::cache::View;
use parking_lot::Mutex;

use crate::app::App;

const GROUP: &str = "admissionregistration.k8s.io";

/// The resources that may change objects.
pub(super) const MUTATING: &[&str] = &["mutatingwebhookconfigurations", "mutatingadmissionpolicybindings"];

/// The cache's view of a resource of the group.
pub(super) fn view(app: &App, resource: &str) -> Option<View> {
    kinds::by_resource(GROUP, "v1", resource).map(|kind| app.view(kind))
}

/// Whether a kind is exempt: what admits objects must not be able to keep itself from being repaired.
pub(super) fn is_exempt(group: &str, kind: &str) -> bool {
    const KINDS: &[&str] = &[
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    ];
    group == GROUP && KINDS.contains(&kind)
}

/// What was read of the objects of one resource.
pub(super) struct Registered<T> {
    resource: &'static str,
    read: fn(&Value) -> T,
    known: Mutex<BTreeMap<String, (u64, Arc<T>)>>,
}

impl<T> Registered<T> {
    pub(super) fn new(resource: &'static str, read: fn(&Value) -> T) -> Self {
        Self { resource, read, known: Mutex::default() }
    }

    /// What there is now, by name.
    pub(super) fn now(&self, app: &App) -> Vec<Arc<T>> {
        let Some(view) = view(app, self.resource) else { return Vec::new() };
        if view.is_empty() {
            return Vec::new();
        }
        let snapshot = view.snapshot();
        let mut known = self.known.lock();
        let mut next = BTreeMap::new();
        let mut found = Vec::new();
        for object in snapshot.list(None, None) {
            let name = object.meta().name.to_string();
            let kept = known.remove(&name).filter(|(revision, _)| *revision == object.rv());
            let entry = kept.or_else(|| {
                let value = serde_json::from_slice(object.json()).ok()?;
                Some((object.rv(), Arc::new((self.read)(&value))))
            });
            if let Some((revision, read)) = entry {
                found.push(read.clone());
                next.insert(name, (revision, read));
            }
        }
        *known = next;
        found
    }
}
