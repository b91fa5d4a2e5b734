//! The paths that an object or a configuration holds: what its writer would own.

use std::collections::{BTreeMap, BTreeSet};

use super::element;
use super::rule::{Rule, is_empty};
use super::set::Set;
use crate::Value;
use crate::table::Type;

/// The paths of `object`: leaves, entries of maps, list items, and whatever is empty or null.
pub(super) fn of(object: &Value, ty: &Type) -> Set {
    let mut set = Set::default();
    collect(&mut set, object, Rule::Struct(ty));
    set
}

fn collect(set: &mut Set, value: &Value, rule: Rule<'_>) {
    let rule = rule.settle([value]);
    match (rule, value) {
        (Rule::Leaf | Rule::Deduced, _) => set.member = true,
        (Rule::Struct(_) | Rule::Map(_), Value::Object(map)) => {
            for (name, value) in map {
                let element = element::field(name);
                let mut below = Set::default();
                collect(&mut below, value, rule.entry(name));
                below.member |= !rule.names(&element) || (is_empty(Some(value)) && !value.is_array());
                set.push(element, below);
            }
        }
        (Rule::Set | Rule::Keyed(..), Value::Array(list)) => match rule.items(list) {
            Some(items) => collect_items(set, &items, rule.item()),
            None => set.member = true,
        },
        // Null, or a value of the wrong type: whoever holds it is the member.
        _ => {}
    }
}

fn collect_items(set: &mut Set, items: &[(String, &Value)], rule: Rule<'_>) {
    let mut twice = BTreeSet::new();
    for (element, item) in items {
        if set.children.contains_key(element) || twice.contains(element.as_str()) {
            // Duplicates are owned as one value.
            twice.insert(element.as_str());
            set.children.insert(element.clone(), Set::leaf());
            continue;
        }
        let mut below = Set::default();
        collect(&mut below, item, rule);
        below.member = true;
        set.push(element.clone(), below);
    }
}

/// The paths at which `object` says null.
pub(super) fn nulls(object: &Value, ty: &Type) -> Set {
    let mut set = Set::default();
    find_nulls(&mut set, object, Rule::Struct(ty));
    set
}

fn find_nulls(set: &mut Set, value: &Value, rule: Rule<'_>) {
    set.member = value.is_null();
    let rule = rule.settle([value]);
    let mut below = |element: String, value: &Value, rule: Rule<'_>| {
        let mut found = Set::default();
        find_nulls(&mut found, value, rule);
        set.push(element, found);
    };
    match (rule, value) {
        (Rule::Struct(_) | Rule::Map(_), Value::Object(map)) => {
            map.iter().for_each(|(name, value)| below(element::field(name), value, rule.entry(name)));
        }
        (Rule::Keyed(..), Value::Array(list)) => {
            let items = rule.items(list).unwrap_or_default();
            items.into_iter().for_each(|(element, item)| below(element, item, rule.item()));
        }
        _ => {}
    }
}

/// The set as the type has it now: what is owned below an atomic value is that value, which may have been otherwise when the set
/// was written.
pub(super) fn settled(set: &Set, ty: &Type) -> Set {
    settle(set, Rule::Struct(ty))
}

fn settle(set: &Set, rule: Rule<'_>) -> Set {
    let mut found = Set { member: set.member, children: BTreeMap::new() };
    for (element, below) in &set.children {
        let settled = match rule.below(element) {
            Rule::Leaf if rule.has(element) && !below.children.is_empty() => Set::leaf(),
            inner => settle(below, inner),
        };
        found.push(element.clone(), settled);
    }
    found
}

/// The set with the fields of structs on the way to its paths: those come and go with what is in them.
pub(super) fn named(set: &Set, ty: &Type) -> Set {
    with_names(set, Rule::Struct(ty))
}

fn with_names(set: &Set, rule: Rule<'_>) -> Set {
    let mut found = Set { member: set.member, children: BTreeMap::new() };
    for (element, below) in &set.children {
        let mut below = with_names(below, rule.below(element));
        below.member |= rule.names(element);
        found.push(element.clone(), below);
    }
    found
}
