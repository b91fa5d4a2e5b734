//! What a write changed, as sets of paths.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::LazyLock;

use super::Write;
use super::element;
use super::rule::{Items, Rule, array, is_empty, object};
use super::set::Set;
use crate::table::{Field, FieldType, Type};
use crate::{Object, Value};

/// The difference between two objects.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Paths that were added or modified.
    pub(super) set: Set,
    /// Paths that are gone.
    pub(super) removed: Set,
}

impl Changes {
    fn leaf_added() -> Self {
        Self { set: Set::leaf(), removed: Set::default() }
    }

    fn leaf_removed() -> Self {
        Self { set: Set::default(), removed: Set::leaf() }
    }

    fn push(&mut self, element: impl Fn() -> String, below: Self) {
        if !below.set.is_empty() {
            self.set.push(element(), below.set);
        }
        if !below.removed.is_empty() {
            self.removed.push(element(), below.removed);
        }
    }

    /// Leaves out what the write cannot set.
    pub(super) fn limit(&mut self, write: &Write<'_>) {
        write.limit(&mut self.set);
        write.limit(&mut self.removed);
    }
}

pub(super) fn changes(old: &Value, new: &Value, ty: &Type) -> Changes {
    fields(old.as_object(), new.as_object(), ty)
}

/// Structs that Go holds by value: they are there even where JSON does not show them, so adding one is no change of its own.
const BY_VALUE: [&str; 16] = [
    "metadata",
    "spec",
    "status",
    "template",
    "strategy",
    "updateStrategy",
    "resources",
    "state",
    "lastState",
    "source",
    "involvedObject",
    "loadBalancer",
    "nodeInfo",
    "daemonEndpoints",
    "podSelector",
    "jobTemplate",
];

fn fields(old: Option<&Object>, new: Option<&Object>, ty: &Type) -> Changes {
    let mut found = Changes::default();
    if ty.is_open() {
        let unlisted = |map: Option<&Object>| -> Object {
            let entries = map.into_iter().flatten().filter(|(name, _)| !ty.fields.contains_key(name.as_str()));
            entries.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        found = entries(Some(&unlisted(old)), Some(&unlisted(new)), Rule::Deduced);
    }
    let (mut before, mut after) = (sorted(old), sorted(new));
    for (name, field) in &ty.fields {
        let (mut a, mut b) = (next(&mut before, name), next(&mut after, name));
        if a == b {
            continue;
        }
        if let Some(empty) = implied(field).filter(|_| !ty.is_custom() || *name == "metadata") {
            a = a.or_else(|| old.map(|_| empty));
            b = b.or_else(|| new.map(|_| empty));
        }
        found.push(|| element::field(name), value(a, b, Rule::of(field)));
    }
    found
}

/// The entries by their names, as a type's fields are sorted, too: both are gone through once, side by side.
fn sorted(map: Option<&Object>) -> Peekable<impl Iterator<Item = (&String, &Value)>> {
    map.into_iter().flatten().peekable()
}

/// The entry `name`, where it is there; what is before it is passed over.
fn next<'v>(entries: &mut Peekable<impl Iterator<Item = (&'v String, &'v Value)>>, name: &str) -> Option<&'v Value> {
    while entries.next_if(|(key, _)| key.as_str() < name).is_some() {}
    entries.next_if(|(key, _)| *key == name).map(|(_, value)| value)
}

/// What Go holds for an absent field that is present with its parent, so that only what is in it can be added or removed.
pub(super) fn implied(field: &Field) -> Option<&Value> {
    static STRUCT: LazyLock<Value> = LazyLock::new(|| Value::Object(Object::new()));
    static LIST: Value = Value::Array(Vec::new());
    match field.ty {
        _ if field.printed.is_some() => field.printed.as_ref(),
        FieldType::Struct(_) if BY_VALUE.contains(&field.name) => Some(&STRUCT),
        FieldType::List(_) if field.required => Some(&LIST),
        _ => None,
    }
}

fn value(old: Option<&Value>, new: Option<&Value>, rule: Rule<'_>) -> Changes {
    let leaf = || match (old, new) {
        (_, Some(_)) => Changes::leaf_added(),
        (Some(_), None) => Changes::leaf_removed(),
        (None, None) => Changes::default(),
    };
    if old == new {
        return Changes::default();
    }
    if is_empty(old) && is_empty(new) {
        return leaf();
    }
    let mut found = match rule.settle(old.into_iter().chain(new)) {
        Rule::Leaf | Rule::Deduced => return leaf(),
        Rule::Struct(ty) => fields(object(old), object(new), ty),
        Rule::Map(_) => entries(object(old), object(new), rule),
        Rule::Set | Rule::Keyed(..) => match (rule.items(array(old)), rule.items(array(new))) {
            (Some(old), Some(new)) => items(&old, &new, rule.item()),
            _ => return leaf(),
        },
    };
    found.set.member |= old.is_none();
    found.removed.member |= new.is_none();
    found
}

fn entries(old: Option<&Object>, new: Option<&Object>, rule: Rule<'_>) -> Changes {
    let mut found = Changes::default();
    let of = |map: Option<&Object>| map.into_iter().flat_map(Object::keys).cloned().collect::<Vec<_>>();
    let mut keys = of(old);
    keys.extend(of(new));
    keys.sort();
    keys.dedup();
    for key in keys {
        let (a, b) = (old.and_then(|o| o.get(&key)), new.and_then(|n| n.get(&key)));
        found.push(|| element::field(&key), value(a, b, rule.entry(&key)));
    }
    found
}

/// Items by their element, in both lists; more than one where a list has duplicates.
fn items(old: &Items<'_>, new: &Items<'_>, rule: Rule<'_>) -> Changes {
    let mut by_element: BTreeMap<&str, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for (element, item) in old {
        by_element.entry(element).or_default().0.push(item);
    }
    for (element, item) in new {
        by_element.entry(element).or_default().1.push(item);
    }
    let mut found = Changes::default();
    for (element, (old, new)) in by_element {
        found.push(|| element.to_owned(), item(&old, &new, rule));
    }
    found
}

/// Items of one element. Duplicates are taken as one value: they cannot be told apart.
fn item(old: &[&Value], new: &[&Value], rule: Rule<'_>) -> Changes {
    match (old, new) {
        ([] | [_], [] | [_]) => value(old.first().copied(), new.first().copied(), rule),
        ([_, _, ..], [_, _, ..]) if old == new => Changes::default(),
        ([_, _, ..], [_, _, ..]) => Changes::leaf_added(),
        ([_, _, ..], _) => {
            let mut changes = value(None, new.first().copied(), rule);
            changes.removed.member = true;
            changes
        }
        (_, [_, _, ..]) => {
            let mut changes = value(old.first().copied(), None, rule);
            changes.set.member = true;
            changes
        }
    }
}
