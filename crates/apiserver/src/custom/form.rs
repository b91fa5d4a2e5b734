//! The forms of custom objects: stored in one version, asked for in another.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gantry_api::custom::Definition;
use gantry_api::kinds::{KindInfo, Kinds};
use gantry_api::{Value, decode, defaults, value};
use gantry_store::encoded::Encoded;

/// The definitions by which stored objects are read. They are replaced before the views that they make are filled, and the kinds
/// are served after that.
#[derive(Default)]
pub(crate) struct Forms {
    kinds: ArcSwap<Kinds>,
    webhooks: ArcSwap<Webhooks>,
}

/// The webhooks that convert custom objects (`spec.conversion.webhook`), by the storage prefixes of these.
pub(crate) type Webhooks = BTreeMap<String, Arc<Value>>;

impl Forms {
    pub(crate) fn replace(&self, definitions: Vec<Arc<Definition>>) {
        self.kinds.store(Arc::new(Kinds::with(definitions)));
    }

    /// The definition of the object under an etcd key.
    pub(crate) fn of(&self, key: &str) -> Option<Arc<Definition>> {
        self.kinds.load().definition_of(key).cloned()
    }

    /// Replaces the webhooks, which come and go without a change of the kinds.
    pub(crate) fn replace_webhooks(&self, webhooks: Webhooks) {
        self.webhooks.store(Arc::new(webhooks));
    }

    /// The webhook that converts the objects of a definition.
    pub(crate) fn webhook(&self, definition: &Definition) -> Option<Arc<Value>> {
        self.webhooks.load().get(&definition.storage_prefix).cloned()
    }
}

/// The object as the schema of its version has it: unknown fields gone, defaults filled in. What does not fit otherwise stays: it
/// was valid when it was written. Where a definition has come to add more than it may, the rest is not filled in: the object can be
/// seen and deleted, and a write of it says why it is refused.
fn settle(kind: &KindInfo, object: &mut Value) {
    prune(kind, object);
    drop(defaults::apply(kind, object));
}

/// The object as its version has it after a conversion: unknown fields gone. Defaults are those of the version in which it is stored and,
/// of what clients write, of the version in which they write it.
pub(crate) fn prune(kind: &KindInfo, object: &mut Value) {
    // A stored object whose metadata does not decode is served as it is.
    drop(decode::conform(object, kind));
}

/// The served form of a stored object, in the version in which it is stored.
pub(crate) fn settle_stored(definition: &Definition, object: &mut Value) {
    let api_version = value::str_at(object, "apiVersion").unwrap_or_default();
    let version = api_version.rsplit('/').next().unwrap_or_default();
    if let Some(kind) = definition.version(version) {
        settle(kind, object);
    }
}

/// Whether the object has to be converted to be seen as this kind.
pub(crate) fn differs(kind: &KindInfo, object: &Encoded) -> bool {
    let versions = kind.custom.as_ref().is_some_and(|custom| custom.definition().has_versions());
    versions && object.scalar_at(&["apiVersion"]).as_deref() != Some(kind.api_version.as_str())
}

/// Whether the object is in the version of `kind`.
pub(crate) fn is(kind: &KindInfo, object: &Value) -> bool {
    value::str_at(object, "apiVersion") == Some(kind.api_version.as_str())
}

/// Brings an object to the version of `kind`, where only `apiVersion` tells versions apart.
pub(crate) fn relabel(kind: &KindInfo, object: &mut Value) {
    if !is(kind, object) {
        value::set(object, "apiVersion", kind.api_version.as_str());
        prune(kind, object);
    }
}
