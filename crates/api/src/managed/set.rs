//! Sets of field paths, and the `fieldsV1` JSON that stores them.
//!
//! In `fieldsV1` an empty object is a member without children; `.` marks a member that has children too.

use std::collections::BTreeMap;

use super::element::{self, Malformed};
use crate::{Object, Value};

/// The entry that says that a node with children is a member itself.
pub(super) const SELF: &str = ".";

/// A set of paths as a tree; path elements are in `fieldsV1` notation (`f:name`, `k:{…}`, `v:…`).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Set {
    /// Whether the path that ends here is in the set.
    pub(super) member: bool,
    pub(super) children: BTreeMap<String, Set>,
}

/// What a pattern has in place of any element.
const ANY: &str = "f:*";

impl Set {
    /// The one path that ends here.
    pub(super) fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    /// The path of the fields `a.b.c` and nothing else.
    pub(super) fn path(dotted: &str) -> Self {
        dotted.rsplit('.').fold(Self::leaf(), |below, name| {
            let mut set = Self::default();
            set.push(element::field(name), below);
            set
        })
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

    /// Reads stored `fieldsV1`. Elements that cannot be read stand for nothing.
    pub(super) fn of(fields: &Object) -> Self {
        Self::read(fields, &|key| Ok(element::canonical(key).unwrap_or_default())).unwrap_or_default()
    }

    /// Reads the `fieldsV1` of a client.
    pub(super) fn parse(fields: &Object) -> Result<Self, Malformed> {
        Self::read(fields, &element::canonical)
    }

    fn read(fields: &Object, element: &dyn Fn(&str) -> Result<Option<String>, Malformed>) -> Result<Self, Malformed> {
        let mut set = Self::default();
        for (key, value) in fields.iter().filter(|(k, _)| *k != SELF) {
            let Some(element_text) = element(key)? else { continue };
            let below = match value.as_object() {
                Some(map) => Self { member: map.is_empty() || map.contains_key(SELF), ..Self::read(map, element)? },
                None => Self::leaf(),
            };
            set.push(element_text, below);
        }
        Ok(set)
    }

    /// The `fieldsV1` of this set.
    pub(super) fn into_fields(self) -> Object {
        let below = |(element, set): (String, Self)| {
            let member = set.member && !set.children.is_empty();
            let mut fields = set.into_fields();
            if member {
                fields.insert(SELF.to_owned(), Value::Object(Object::new()));
            }
            (element, Value::Object(fields))
        };
        self.children.into_iter().map(below).collect()
    }

    /// Adds the paths of `other`.
    pub(super) fn unite(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, below) in &other.children {
            match self.children.get_mut(element) {
                Some(own) => own.unite(below),
                None => drop(self.children.insert(element.clone(), below.clone())),
            }
        }
    }

    /// Takes out the paths of `other`, but not what is below them.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        // An object can have thousands of owners of few paths, and a write can change thousands of paths.
        if self.children.len() < other.children.len() {
            self.children.retain(|element, own| {
                let Some(gone) = other.children.get(element) else { return true };
                own.subtract(gone);
                !own.is_empty()
            });
            return;
        }
        for (element, gone) in &other.children {
            if let Some(own) = self.children.get_mut(element) {
                own.subtract(gone);
                if own.is_empty() {
                    self.children.remove(element);
                }
            }
        }
    }

    /// Takes out the paths of `other` with all that is below them.
    pub(super) fn cut(&mut self, other: &Self) {
        if other.member {
            *self = Self::default();
            return;
        }
        for (element, gone) in &other.children {
            if let Some(own) = self.children.get_mut(element) {
                own.cut(gone);
                if own.is_empty() {
                    self.children.remove(element);
                }
            }
        }
    }

    /// Keeps what is on the way to the paths of `patterns`, and all that is below them. The field `*` of a pattern is any element.
    pub(super) fn confine(&mut self, patterns: &Self) {
        if patterns.member {
            return;
        }
        let any = patterns.children.get(ANY);
        self.children.retain(|element, below| {
            let Some(pattern) = patterns.children.get(element).or(any) else { return false };
            below.confine(pattern);
            !below.is_empty()
        });
    }

    /// The paths that are in both.
    pub(super) fn common(&self, other: &Self) -> Self {
        let mut set = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (element, below) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                set.push(element.clone(), below.common(theirs));
            }
        }
        set
    }

    /// How many paths there are.
    pub(super) fn count(&self) -> usize {
        usize::from(self.member) + self.children.values().map(Self::count).sum::<usize>()
    }

    /// Visits every path, in upstream's order (members of a level before what is below it), until `visit` returns `false`.
    pub(super) fn each_path(&self, visit: &mut dyn FnMut(&[&str]) -> bool) -> bool {
        self.each_below(&mut Vec::new(), visit)
    }

    fn each_below<'s>(&'s self, at: &mut Vec<&'s str>, visit: &mut dyn FnMut(&[&str]) -> bool) -> bool {
        let mut children: Vec<(&String, &Self)> = self.children.iter().collect();
        children.sort_by(|(a, _), (b, _)| element::order(a, b));
        for (element, _) in children.iter().filter(|(_, below)| below.member) {
            at.push(element);
            let goes_on = visit(at);
            at.pop();
            if !goes_on {
                return false;
            }
        }
        children.into_iter().all(|(element, below)| {
            at.push(element);
            let goes_on = below.each_below(at, visit);
            at.pop();
            goes_on
        })
    }

    /// Takes out what the server itself writes; nobody manages that.
    pub(super) fn remove_system_fields(&mut self) {
        self.member = false;
        for field in OF_OBJECTS {
            self.children.remove(field);
        }
        if let Some(metadata) = self.children.get_mut(METADATA) {
            metadata.member = false;
            for field in OF_METADATA {
                metadata.children.remove(field);
            }
            if metadata.is_empty() {
                self.children.remove(METADATA);
            }
        }
    }
}

pub(super) const METADATA: &str = "f:metadata";
/// What the server itself writes.
pub(super) const OF_OBJECTS: [&str; 2] = ["f:apiVersion", "f:kind"];
/// The same in metadata.
pub(super) const OF_METADATA: [&str; 9] = [
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

/// Takes the paths of `set` out of stored fields. Returns whether any path is left.
pub(super) fn subtract(fields: &mut Object, set: &Set) -> bool {
    let was_member = fields.is_empty() || fields.contains_key(SELF);
    let member = was_member && !set.member;
    if fields.len() < set.children.len() {
        fields.retain(|element, own| match (own, set.children.get(element)) {
            (Value::Object(map), Some(below)) => subtract(map, below),
            _ => true,
        });
        return normalise(fields, member);
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(fields: &Value) -> Set {
        Set::of(fields.as_object().expect("a map"))
    }

    #[test]
    fn sets_combine() {
        let a = json!({"f:a": {".": {}, "f:b": {}, "f:c": {"f:d": {}}}, "f:e": {}});
        let b = json!({"f:a": {}, "f:e": {"f:g": {}}});
        let check = |combine: &dyn Fn(&mut Set, &Set), expected: Value| {
            let mut combined = set(&a);
            combine(&mut combined, &set(&b));
            assert_eq!(Value::Object(combined.clone().into_fields()), expected);
            assert_eq!(set(&expected), combined, "reading is the inverse of writing");
        };
        check(&Set::subtract, json!({"f:a": {"f:b": {}, "f:c": {"f:d": {}}}, "f:e": {}}));
        check(&Set::cut, json!({"f:e": {}}));
        check(&Set::unite, json!({"f:a": {".": {}, "f:b": {}, "f:c": {"f:d": {}}}, "f:e": {".": {}, "f:g": {}}}));
        check(&|a, b| *a = a.common(b), json!({"f:a": {}}));
    }

    #[test]
    fn sets_are_confined_to_patterns() {
        let mut patterns = Set::path("spec.containers.*.resources");
        patterns.unite(&Set::path("spec.guests"));
        let mut fields = set(&json!({
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {
                "f:containers": {
                    "k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:resources": {"f:limits": {"f:cpu": {}}}},
                    "k:{\"name\":\"d\"}": {"f:image": {}},
                },
                "f:guests": {".": {}, "k:{\"name\":\"g\"}": {".": {}, "f:name": {}}},
                "f:nodeName": {},
            },
        }));
        fields.confine(&patterns);
        let left = json!({"f:spec": {
            "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:resources": {"f:limits": {"f:cpu": {}}}}},
            "f:guests": {".": {}, "k:{\"name\":\"g\"}": {".": {}, "f:name": {}}},
        }});
        assert_eq!(Value::Object(fields.into_fields()), left);
    }

    #[test]
    fn paths_are_listed_in_upstreams_order() {
        let fields = json!({
            "f:spec": {
                "f:ports": {"k:{\"port\":443}": {".": {}, "f:name": {}}, "k:{\"port\":80}": {".": {}}},
                "f:type": {},
            },
            "f:data": {".": {}, "f:x": {}},
        });
        let mut shown = Vec::new();
        assert!(set(&fields).each_path(&mut |path| {
            shown.push(path.iter().map(|e| element::shown(e)).collect::<String>());
            true
        }));
        let expected = [
            ".data",
            ".data.x",
            ".spec.type",
            ".spec.ports[port=80]",
            ".spec.ports[port=443]",
            ".spec.ports[port=443].name",
        ];
        assert_eq!((shown.as_slice(), set(&fields).count()), (&expected.map(str::to_owned)[..], 6));
        let mut visited = 0;
        assert!(!set(&fields).each_path(&mut |_| {
            visited += 1;
            visited < 3
        }));
        assert_eq!(visited, 3);
    }

    #[test]
    fn what_cannot_be_read_is_refused_from_a_client_and_ignored_in_the_store() {
        let check = |fields: Value, parses: bool, left: Value| {
            assert_eq!(Set::parse(fields.as_object().expect("a map")).is_ok(), parses, "{fields}");
            assert_eq!(Value::Object(set(&fields).into_fields()), left);
        };
        check(json!({"f:a": {}, "k:x": {}}), false, json!({"f:a": {}}));
        check(json!({"f:a": {"x:later": {}, "f:b": {}}}), true, json!({"f:a": {"f:b": {}}}));
        check(json!({"f:a": {"nonsense": {}}}), false, json!({}));
        check(json!({"f:a": 1}), true, json!({"f:a": {}}));
    }
}
