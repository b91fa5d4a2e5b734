//! Sets of field paths, and the `fieldsV1` JSON that stores them.
//!
//! In `fieldsV1` an empty object is a member without children; `.` marks a member that has children too.

use std::collections::BTreeMap;

use crate::{Object, Value};

const SELF: &str = ".";

/// A set of paths as a tree; path elements are in `fieldsV1` notation (`f:name`, `k:{…}`, `v:…`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// Whether the path that ends here is in the set.
    pub(super) member: bool,
    pub(super) children: BTreeMap<String, Set>,
}

impl Set {
    /// The one path that ends here.
    pub(super) fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Adds what is below `element`, unless that is nothing.
    pub(super) fn push(&mut self, element: String, below: Self) {
        if !below.is_empty() {
            self.children.insert(element, below);
        }
    }

    /// Reads `fieldsV1`.
    pub(super) fn of(fields: &Object) -> Self {
        let child = |(key, v): (&String, &Value)| {
            let below = match v.as_object() {
                Some(map) => Self { member: map.is_empty() || map.contains_key(SELF), ..Self::of(map) },
                None => Self::leaf(),
            };
            (key.clone(), below)
        };
        let children = fields.iter().filter(|(k, _)| *k != SELF).map(child).collect();
        Self { member: false, children }
    }

    /// Takes out what the server itself writes; nobody manages that.
    pub(super) fn remove_system_fields(&mut self) {
        const OF_METADATA: [&str; 9] = [
            "f:name",
            "f:namespace",
            "f:creationTimestamp",
            "f:selfLink",
            "f:uid",
            "f:clusterName",
            "f:generation",
            "f:managedFields",
            "f:resourceVersion",
        ];
        self.member = false;
        self.children.remove("f:apiVersion");
        self.children.remove("f:kind");
        if let Some(metadata) = self.children.get_mut("f:metadata") {
            metadata.member = false;
            for field in OF_METADATA {
                metadata.children.remove(field);
            }
            if metadata.is_empty() {
                self.children.remove("f:metadata");
            }
        }
    }
}

/// Takes the paths of `set` out of stored fields. Returns whether any path is left.
pub(super) fn subtract(fields: &mut Object, set: &Set) -> bool {
    let was_member = fields.is_empty() || fields.contains_key(SELF);
    let member = was_member && !set.member;
    for (element, below) in &set.children {
        if let Some(Value::Object(map)) = fields.get_mut(element)
            && !subtract(map, below)
        {
            fields.remove(element);
        }
    }
    normalise(fields, member)
}

/// Adds the paths of `set` to stored fields.
pub(super) fn unite(fields: &mut Object, set: &Set) {
    for (element, below) in &set.children {
        match fields.get_mut(element) {
            Some(Value::Object(map)) => {
                let member = below.member || map.is_empty() || map.contains_key(SELF);
                unite(map, below);
                normalise(map, member);
            }
            _ => {
                let mut map = Object::new();
                unite(&mut map, below);
                normalise(&mut map, below.member);
                fields.insert(element.clone(), Value::Object(map));
            }
        }
    }
}

/// Writes down whether the node itself is a member. Returns whether it or a child is.
fn normalise(fields: &mut Object, member: bool) -> bool {
    fields.remove(SELF);
    if member && !fields.is_empty() {
        fields.insert(SELF.to_owned(), Value::Object(Object::new()));
    }
    member || !fields.is_empty()
}
