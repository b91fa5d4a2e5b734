//! How the object of a request is shown to webhooks and policies: in the version that they ask for, as the client would see it.

use gantry_api::kinds::{Kind, KindInfo};
use gantry_api::managed::{self, Stamp};
use gantry_api::status::Status;
use gantry_api::table::TypeRef;
use gantry_api::{Value, convert, decode, defaults, value};

use super::review::Objects;
use super::{Operation, Request};
use crate::custom::{convert as versions, strategy};
use crate::registry::workload;

/// Group, version and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gvk {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
}

/// What the server alone decides on, and a webhook cannot change.
const SYSTEM: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
];
/// Who owns what.
const MANAGED: &str = "metadata.managedFields";
/// What a new object gets only when it is stored.
const NOT_YET: &[&str] = &["uid", "creationTimestamp", "generation"];

impl Request<'_> {
    /// The kind of the request's object where the resource is of `kind`.
    pub(super) fn gvk(&self, kind: &KindInfo) -> Gvk {
        match kind.subresource(self.target.subresource) {
            Some(sub) => Gvk { group: sub.group, version: sub.version, kind: sub.kind },
            None => Gvk { group: kind.group, version: kind.version, kind: kind.kind },
        }
    }

    /// The namespace, as upstream's admission has it: a namespace is in itself.
    pub(crate) fn namespace(&self) -> &str {
        if self.is_about_namespaces() { &self.target.name } else { &self.target.namespace }
    }

    /// Whether the resource is `namespaces`.
    pub(super) fn is_about_namespaces(&self) -> bool {
        (self.target.kind.group, self.target.kind.resource) == ("", "namespaces")
    }

    /// The other forms of the same resource: they are stored in one place.
    pub(super) fn equivalents(&self) -> Vec<Kind> {
        let (own, sub) = (&self.target.kind, self.target.subresource);
        let is_other = |kind: &&KindInfo| *own != **kind && (sub.is_empty() || kind.subresource(sub).is_some());
        if let Some(definition) = own.definition() {
            return definition.served().filter(is_other).map(KindInfo::held).collect();
        }
        let same = |kind: &&KindInfo| kind.stored() && kind.storage_prefix == own.storage_prefix && is_other(kind);
        self.app.kinds.kinds().all().filter(same).map(KindInfo::held).collect()
    }

    /// The type of the request's object where the resource is of `kind`.
    pub(super) fn with_type<T>(&self, kind: &KindInfo, then: impl FnOnce(TypeRef<'_>) -> T) -> T {
        match kind.subresource(self.target.subresource).filter(|sub| sub.foreign) {
            Some(sub) => then(TypeRef::from(&sub.type_name(kind))),
            None => then(TypeRef::from(kind)),
        }
    }

    /// Whether the object is what is stored, and not something else that is only asked for.
    fn is_stored_form(&self) -> bool {
        self.operation != Operation::Connect
            && self.target.kind.stored()
            && !matches!(self.target.subresource, "scale" | "binding" | "eviction" | "token")
    }

    /// The object and the old one, as `kind` shows them. `early`: the object is not stored yet, and a new one has no identity.
    ///
    /// # Errors
    /// When the webhook that converts between versions of a custom kind does not.
    pub(super) async fn shown(&self, kind: &KindInfo, object: Option<&Value>, early: bool) -> Result<Objects, Status> {
        let mut shown =
            Objects { object: object.map(|o| self.stamped(kind, o)), old: self.old.map(|o| self.form(kind, o)) };
        if self.is_stored_form() {
            let mut both: Vec<&mut Value> = shown.object.iter_mut().chain(&mut shown.old).collect();
            versions::convert(self.app, kind, &mut both).await?;
        }
        if let Some(object) = shown.object.as_mut().filter(|_| early) {
            self.forget_identity(object);
        }
        Ok(shown)
    }

    /// As `kind` shows the object that is written.
    fn stamped(&self, kind: &KindInfo, object: &Value) -> Value {
        let mut shown = self.form(kind, object);
        if let Some(managed) = self.managed(object) {
            value::set(&mut shown, MANAGED, managed);
        }
        shown
    }

    /// The managed fields of the object that is written. In the tree of a new one are those that a webhook or policy made.
    fn managed(&self, object: &Value) -> Option<Value> {
        value::get(object, MANAGED).cloned().or_else(|| self.stamp.map(Stamp::value))
    }

    /// Takes over what a webhook or policy has made of the managed fields, where they still are some; else the client is told.
    fn take_over_managed(&self, shown: &mut Value, object: &Value) {
        let before = self.managed(object);
        let given = value::list_at(shown, MANAGED).to_vec();
        if before.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice) != given {
            match managed::check(&given) {
                // An empty list says that there are to be none; nothing would say that nobody has changed them.
                Ok(()) => return value::set(shown, MANAGED, given),
                Err(why) => self.caller.notes.warn(&format!(
                    ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated \
                     mutating admission controller; please fix your requests: {why}"
                )),
            }
        }
        match value::get(object, MANAGED) {
            Some(kept) => value::set(shown, MANAGED, kept.clone()),
            None => drop(value::remove(shown, MANAGED)),
        }
    }

    /// As `kind` shows an object, but for versions of custom kinds.
    fn form(&self, kind: &KindInfo, object: &Value) -> Value {
        if self.target.subresource == "scale" {
            // The paths are those of the version in which the object is.
            return match self.target.kind.custom.as_ref().and_then(|custom| custom.scale.as_ref()) {
                Some(paths) => strategy::scale(paths, object),
                None => workload::scale(object),
            };
        }
        let mut shown = object.clone();
        if self.is_stored_form() {
            convert::from_hub(kind, &mut shown);
            if self.revision > 0 {
                value::set(&mut shown, "metadata.resourceVersion", self.revision.to_string());
            }
        }
        shown
    }

    fn forget_identity(&self, shown: &mut Value) {
        if self.operation == Operation::Create && self.is_stored_form() {
            for field in NOT_YET {
                value::remove(shown, &format!("metadata.{field}"));
            }
            if self.nameless {
                value::remove(shown, "metadata.name");
            }
        }
    }

    /// Takes over a shown object that was changed.
    ///
    /// # Errors
    /// 500 when it is none any more, or is not converted back.
    pub(super) async fn take_over(&self, kind: &KindInfo, mut shown: Value, object: &mut Value) -> Result<(), Status> {
        if self.target.subresource == "scale" {
            decode::conform(&mut shown, "autoscaling/v1.Scale").map_err(|s| Status::internal(s.message))?;
            return match self.target.kind.custom.as_ref().and_then(|custom| custom.scale.as_ref()) {
                Some(paths) => strategy::rescale(paths, object, &shown),
                None => workload::rescale(object, &shown)
                    .map_err(|errors| Status::invalid("autoscaling", "Scale", &self.target.name, &errors)),
            };
        }
        self.with_type(kind, |ty| decode::conform(&mut shown, ty)).map_err(|s| Status::internal(s.message))?;
        if self.is_stored_form() {
            for field in SYSTEM {
                let path = format!("metadata.{field}");
                match value::get(object, &path) {
                    Some(kept) => value::set(&mut shown, &path, kept.clone()),
                    None => drop(value::remove(&mut shown, &path)),
                }
            }
            self.take_over_managed(&mut shown, object);
            versions::convert(self.app, &self.target.kind, &mut [&mut shown]).await?;
            convert::to_hub(kind, &mut shown);
            defaults::apply(self.target.kind.hub(), &mut shown)?;
        }
        *object = shown;
        Ok(())
    }

    /// What labels the request is known by: those of the object and of the old one, where there are any.
    pub(super) fn labelled<'v>(&'v self, object: Option<&'v Value>) -> impl Iterator<Item = &'v Value> {
        object.into_iter().chain(self.old).filter(|o| o.get("metadata").is_some_and(Value::is_object))
    }

    /// The object, which a deletion does not have.
    pub(super) fn present<'v>(&self, object: &'v Value) -> Option<&'v Value> {
        (self.operation != Operation::Delete).then_some(object)
    }
}
