//! Merging a configuration into an object, and taking paths out of one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::element;
use super::rule::{Items, Rule, array, is_empty, object};
use super::set::Set;
use crate::table::Type;
use crate::{Object, Value};

/// The object with everything that the configuration says.
pub(super) fn merge(object: &Value, config: &Value, ty: &Type) -> Value {
    merged(object, config, Rule::Struct(ty)).unwrap_or_else(|| Value::Object(Object::new()))
}

fn merged(old: &Value, new: &Value, rule: Rule<'_>) -> Option<Value> {
    if is_empty(Some(old)) && is_empty(Some(new)) {
        return Some(new.clone());
    }
    let rule = rule.settle([old, new]);
    match rule {
        Rule::Struct(_) | Rule::Map(_) if is_map(old) && is_map(new) => {
            let entries = entries(object(Some(old)), object(Some(new)), rule);
            (!entries.is_empty()).then_some(Value::Object(entries))
        }
        Rule::Set | Rule::Keyed(..) if is_list(old) && is_list(new) => {
            match (rule.items(array(Some(old))), rule.items(array(Some(new)))) {
                (Some(old), Some(new)) => {
                    let items = Zip::new(&old, &new, rule.item()).run();
                    (!items.is_empty()).then_some(Value::Array(items))
                }
                _ => Some(new.clone()),
            }
        }
        _ => Some(new.clone()),
    }
}

fn is_map(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Null)
}

fn is_list(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Null)
}

fn entries(old: Option<&Object>, new: Option<&Object>, rule: Rule<'_>) -> Object {
    let mut out = old.cloned().unwrap_or_default();
    for (name, value) in new.into_iter().flatten() {
        let merged = match out.get(name) {
            Some(before) => merged(before, value, rule.entry(name)),
            None => Some(value.clone()),
        };
        match merged {
            Some(value) => drop(out.insert(name.clone(), value)),
            None => drop(out.remove(name)),
        }
    }
    out
}

/// Two lists becoming one: the configuration's items in its order, the others where they stood among those.
struct Zip<'a, 't> {
    old: &'a [(String, &'a Value)],
    new: &'a [(String, &'a Value)],
    rule: Rule<'t>,
    /// `None` where the old list has duplicates of it; those are not merged, but replaced.
    old_items: BTreeMap<&'a str, Option<&'a Value>>,
    new_items: BTreeMap<&'a str, &'a Value>,
    /// What both lists have and is not placed yet, in the new order.
    shared: VecDeque<&'a str>,
    placed: BTreeSet<&'a str>,
    out: Vec<Value>,
}

impl<'a, 't> Zip<'a, 't> {
    fn new(old: &'a Items<'a>, new: &'a Items<'a>, rule: Rule<'t>) -> Self {
        let mut old_items: BTreeMap<&str, Option<&Value>> = BTreeMap::new();
        for (element, item) in old {
            old_items.entry(element).and_modify(|twice| *twice = None).or_insert(Some(item));
        }
        let shared = new.iter().map(|(e, _)| e.as_str()).filter(|e| old_items.contains_key(e)).collect();
        let new_items = new.iter().map(|(e, item)| (e.as_str(), *item)).collect();
        Self { old, new, rule, old_items, new_items, shared, placed: BTreeSet::new(), out: Vec::new() }
    }

    fn run(mut self) -> Vec<Value> {
        while !self.old.is_empty() || !self.new.is_empty() {
            self.step();
        }
        self.out
    }

    fn step(&mut self) {
        if let (Some((next_old, _)), Some((next_new, _))) = (self.old.first(), self.new.first()) {
            let elsewhere = self.shared.front().is_some_and(|next| next != next_old);
            if next_old != next_new && self.new_items.contains_key(next_old.as_str()) && elsewhere {
                // It has another place in the new order.
                self.old = &self.old[1..];
                return;
            }
        }
        if let Some((element, item)) = self.old.first() {
            if !self.new_items.contains_key(element.as_str()) {
                self.out.push((*item).clone());
                self.old = &self.old[1..];
                return;
            }
            if self.placed.contains(element.as_str()) || self.new.first().is_some_and(|(next, _)| next == element) {
                self.old = &self.old[1..];
            }
        }
        if let Some((element, item)) = self.new.first() {
            self.place(element, item);
            self.new = &self.new[1..];
        }
    }

    fn place(&mut self, element: &'a str, item: &Value) {
        self.placed.insert(element);
        if self.shared.front() == Some(&element) {
            self.shared.pop_front();
        }
        match self.old_items.get(element) {
            Some(Some(before)) => self.out.extend(merged(before, item, self.rule)),
            _ => self.out.push(item.clone()),
        }
    }
}

/// Takes the paths out of the object, with all that is below them.
///
/// A value of which nothing is left becomes null, but for the paths in `kept`: whoever owns those wants the empty value.
pub(super) fn remove(object: &mut Value, gone: &Set, kept: &Set, ty: &Type) {
    take(object, gone, Some(kept), Rule::Struct(ty));
}

fn take(value: &mut Value, gone: &Set, kept: Option<&Set>, rule: Rule<'_>) {
    let rule = rule.settle([&*value]);
    let kept_below = |element: &str| kept.and_then(|set| set.children.get(element));
    match (rule, &mut *value) {
        (Rule::Struct(_) | Rule::Map(_), Value::Object(map)) => {
            for (element, below) in &gone.children {
                let Some(name) = element::field_name(element) else { continue };
                if below.member {
                    map.remove(name);
                } else if let Some(held) = map.get_mut(name) {
                    take(held, below, kept_below(element), rule.entry(name));
                }
            }
        }
        (Rule::Set | Rule::Keyed(..), Value::Array(list)) => {
            list.retain_mut(|item| {
                let Ok(element) = rule.element(item) else { return true };
                let Some(below) = gone.children.get(&element) else { return true };
                if !below.member {
                    take(item, &rule.sparing_keys(below), kept_below(&element), rule.item());
                }
                !below.member
            });
        }
        // What is below an atomic value goes with it.
        (Rule::Leaf, Value::Object(_) | Value::Array(_)) if !gone.children.is_empty() => {
            *value = Value::Null;
            return;
        }
        _ => return,
    }
    if is_empty(Some(value)) && !kept.is_some_and(|set| set.member) {
        *value = Value::Null;
    }
}
