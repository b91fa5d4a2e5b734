//! Which objects a LIST or WATCH is about: namespace, label selector, field selector.

use std::borrow::Cow;

use gantry_api::Value;
use gantry_api::kinds::{Kind, KindInfo};
use gantry_api::selector::{FieldSelector, LabelSelector, Labels};
use gantry_api::status::Status;
use gantry_store::Meta;
use gantry_store::cache::{Object, Scope};

use crate::custom::form;
use crate::rbac::rule::Required;
use crate::registry;

/// The index of pods by node, the first of their view.
pub(crate) const PODS_BY_NODE: usize = 0;
/// The index of persistent volumes by the claim that they are bound to, as `namespace/name`; the first of their view.
pub(crate) const VOLUMES_BY_CLAIM: usize = 0;

/// What a request line holds at most; messages could hold more, and every object of a list is compared with all of it.
const SELECTOR_BYTES_MAX: usize = 64 * 1024;

/// Requirements of a label selector. Any number of values of one label is one, and is searched; each requirement is looked up among
/// the labels of each object for each watcher, and 64 KiB would hold more than 20,000 (`!a,!b,..`): half a millisecond of every event.
const REQUIREMENTS_MAX: usize = 1000;

/// Fields whose text in the object is their value; for others the strategy is asked, which needs the decoded object.
const PLAIN: &[&str] = &[
    "spec.nodeName",
    "spec.schedulerName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.clusterIP",
    "spec.type",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
    "type",
    "reason",
];

/// What a right to some objects alone may depend on, as upstream reads it of a request before anything is refused for what the
/// request says: what cannot be read narrows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Narrowed {
    /// The one name that can match; "" = any.
    pub(crate) name: String,
    /// What fields must be.
    pub(crate) fields: Vec<Required>,
    /// What labels must be.
    pub(crate) labels: Vec<Required>,
}

impl Narrowed {
    /// What selectors say. `readable`: whether all other options can be read, or else upstream sees no name.
    pub(crate) fn of(labels: &str, fields: &str, readable: bool) -> Self {
        if labels.len() + fields.len() > SELECTOR_BYTES_MAX {
            return Self::default();
        }
        let labels = LabelSelector::parse(labels);
        let readable = readable && labels.is_ok();
        let labels = labels.map(|labels| Required::of_labels(&labels)).unwrap_or_default();
        let Ok(fields) = FieldSelector::parse(fields) else { return Self { labels, ..Self::default() } };
        let is_segment = |name: &&str| !matches!(*name, "." | "..") && !name.contains(['/', '%']);
        let name = fields.exact("metadata.name").filter(is_segment).filter(|_| readable);
        Self { name: name.unwrap_or_default().to_owned(), fields: Required::of_fields(&fields), labels }
    }

    /// As [`Narrowed::of`], for a deletion of many: upstream sees no name in it.
    pub(crate) fn of_deletion(labels: &str, fields: &str) -> Self {
        Self::of(labels, fields, false)
    }
}

struct MetaLabels<'a>(&'a Meta);

impl Labels for MetaLabels<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0.label(key)
    }
}

/// A parsed selection.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    kind: Kind,
    /// `None`: all namespaces.
    namespace: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// Reads the selectors.
    ///
    /// # Errors
    /// 400 in upstream's words, and for more than [`SELECTOR_BYTES_MAX`] or [`REQUIREMENTS_MAX`].
    pub(crate) fn parse(kind: &KindInfo, namespace: &str, labels: &str, fields: &str) -> Result<Self, Status> {
        if labels.len() + fields.len() > SELECTOR_BYTES_MAX {
            let why = format!(
                "the label and field selectors have more than {SELECTOR_BYTES_MAX} bytes: ask for fewer values"
            );
            return Err(Status::bad_request(why));
        }
        let labels = LabelSelector::parse(labels).map_err(Status::bad_request)?;
        let requirements = labels.requirements().len();
        if requirements > REQUIREMENTS_MAX {
            let why = format!("the label selector has {requirements} requirements, and may have {REQUIREMENTS_MAX}");
            return Err(Status::bad_request(why));
        }
        let mut fields = FieldSelector::parse(fields).map_err(Status::bad_request)?;
        fields.check(kind).map_err(Status::bad_request)?;
        let namespace = (kind.namespaced && !namespace.is_empty()).then(|| namespace.to_owned());
        Ok(Self { kind: kind.held(), namespace, labels, fields })
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The one name that the selection can match, if it says so.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// Whether objects of the namespace have to be looked at one by one.
    pub(crate) fn is_selective(&self) -> bool {
        !self.labels.is_everything() || !self.fields.is_everything()
    }

    /// The narrowest part of the cache that holds all matches.
    pub(crate) fn scope(&self) -> Scope {
        if let Some(name) = self.fields.exact("metadata.name") {
            return Scope::Name { namespace: self.namespace.as_deref().map(Box::from), name: name.into() };
        }
        if self.kind.is("", "Pod")
            && let Some(node) = self.fields.exact("spec.nodeName").filter(|n| !n.is_empty())
        {
            return Scope::Index { index: PODS_BY_NODE, value: node.into() };
        }
        match self.namespace.as_deref() {
            Some(namespace) => Scope::Namespace(namespace.into()),
            None => Scope::All,
        }
    }

    /// Whether the object may be selected, by what is the same in all versions of it.
    pub(crate) fn may_match(&self, object: &Object) -> bool {
        let meta = object.meta();
        self.namespace.as_deref().is_none_or(|namespace| *meta.namespace == *namespace)
            && self.name().is_none_or(|name| *meta.name == *name)
    }

    /// Whether the object is selected. One of a custom kind that only a webhook converts must have been converted.
    pub(crate) fn matches(&self, object: &Object) -> bool {
        let meta = object.meta();
        self.namespace.as_deref().is_none_or(|namespace| *meta.namespace == *namespace)
            && self.labels.matches(&MetaLabels(meta))
            && (self.fields.is_everything() || self.fields_match(object))
    }

    fn fields_match(&self, object: &Object) -> bool {
        let mut decoded: Option<Value> = None;
        // The terms of one field stand together, and there may be thousands: it is read once.
        let mut read: Option<(&str, Option<Cow<'_, str>>)> = None;
        self.fields.terms().iter().all(|term| {
            let found = match read.take() {
                Some((path, found)) if path == term.path => found,
                _ => self.field(object, &mut decoded, &term.path),
            };
            let equal = found.as_deref() == Some(term.value.as_str());
            read = Some((&term.path, found));
            equal != term.negated
        })
    }

    /// The value of a field; `decoded` is the object, once something had to be looked for in it.
    fn field<'o>(&self, object: &'o Object, decoded: &mut Option<Value>, path: &str) -> Option<Cow<'o, str>> {
        match path {
            "metadata.name" => Some(Cow::Borrowed(&*object.meta().name)),
            "metadata.namespace" => Some(Cow::Borrowed(&*object.meta().namespace)),
            path if self.kind.custom.is_none() && (PLAIN.contains(&path) || path.starts_with("involvedObject.")) => {
                let steps: Vec<&str> = path.split('.').collect();
                Some(object.scalar_at(&steps).unwrap_or_default())
            }
            path => {
                let value = decoded.get_or_insert_with(|| self.decoded(object));
                registry::strategy(&self.kind).field_value(value, path).map(|value| Cow::Owned(value.into_owned()))
            }
        }
    }

    /// The object in the version that is asked for.
    fn decoded(&self, object: &Object) -> Value {
        let mut value = serde_json::from_slice(object.json()).unwrap_or_default();
        if form::differs(&self.kind, object.encoded()) {
            form::relabel(&self.kind, &mut value);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::kinds;

    use super::*;

    #[test]
    fn selectors_have_bounds() {
        let kind = kinds::by_resource("", "v1", "pods").expect("served");
        let check = |labels: String, expected: Option<&str>| {
            let refused = Selection::parse(kind, "", &labels, "").map(drop).map_err(|status| status.message);
            let said = refused.as_ref().err().map(String::as_str);
            assert!(said.is_some() == expected.is_some() && said.unwrap_or_default().contains(expected.unwrap_or("")));
        };
        let absent = |count: usize| (0..count).map(|number| format!("!l{number}")).collect::<Vec<_>>().join(",");
        check(absent(REQUIREMENTS_MAX), None);
        check(absent(REQUIREMENTS_MAX + 1), Some("has 1001 requirements"));
        check(absent(SELECTOR_BYTES_MAX / 4), Some("more than 65536 bytes"));
        let values: Vec<String> = (0..10 * REQUIREMENTS_MAX).map(|number| number.to_string()).collect();
        check(format!("a in ({})", values.join(",")), None);
    }
}
