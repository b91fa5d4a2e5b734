//! Strategic merge patch, driven by the type table's patch strategies and merge keys.
//!
//! The rules are upstream's (apimachinery `strategicpatch`); `tests/strategic_kubectl.rs` holds them against kubectl's own merge.

use std::collections::{HashMap, HashSet};

use crate::go;
use crate::status::Status;
use crate::table::{Field, FieldType, Type, TypeTable};
use crate::{Object, Value};

/// What one patch may merge: many times what there is in any object.
const MAX_ITEMS: usize = 2_000_000;
const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_LIST: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// Applies a strategic merge patch to an object of type `type_name`.
///
/// # Errors
/// 400 for a malformed directive; 500, as upstream answers, where a list item lacks its merge key or a directive is unknown.
pub fn strategic(doc: &Value, patch: &Value, type_name: &str) -> Result<Value, Status> {
    let (Some(doc), Some(patch)) = (doc.as_object(), patch.as_object()) else {
        return Err(Status::bad_request("error decoding patch: a strategic merge patch is a JSON object"));
    };
    let ty = TypeTable::builtin().ty(type_name);
    merge_map(doc.clone(), patch.clone(), ty, &mut Work::default()).map(Value::Object)
}

fn bad_format(what: &str) -> Status {
    Status::bad_request(format!("invalid patch format of {what}"))
}

/// Upstream's errors here are no Statuses, so clients get 500 without a reason.
fn refused(message: String) -> Status {
    Status::failure(500, "", message)
}

fn unknown_directive(directive: &str, map: &Value) -> Status {
    refused(format!("unknown patch type: {directive} in map: {}", go::shown(map)))
}

/// What the table says about the list or struct under a key.
#[derive(Clone, Copy, Default)]
struct Rule {
    merge: bool,
    replace: bool,
    key: Option<&'static str>,
    /// The type of the struct, or of the list's items.
    ty: Option<&'static Type>,
}

fn rule(ty: Option<&'static Type>, key: &str) -> Rule {
    let Some(field) = ty.and_then(|t| t.fields.get(key)) else { return Rule::default() };
    let Field { patch_strategy, patch_merge_key, .. } = field;
    let held = match &field.ty {
        FieldType::List(item) | FieldType::Map(item) => item,
        own => own,
    };
    Rule {
        merge: patch_strategy.merge,
        replace: patch_strategy.replace,
        key: *patch_merge_key,
        ty: TypeTable::builtin().fields_of(held).filter(|_| !matches!(field.ty, FieldType::Map(_))),
    }
}

/// Items of lists that one patch has looked at. A patch may name the same item very often, and each time a whole list in it is
/// merged.
#[derive(Default)]
struct Work {
    items: usize,
}

impl Work {
    /// Counts so many items more.
    fn look_at(&mut self, items: usize) -> Result<(), Status> {
        self.items += items;
        if self.items > MAX_ITEMS {
            let why = format!("the strategic merge patch merges lists of more than {MAX_ITEMS} items together");
            return Err(Status::failure(422, "Invalid", why));
        }
        Ok(())
    }
}

fn merge_map(
    mut original: Object,
    mut patch: Object,
    ty: Option<&'static Type>,
    work: &mut Work,
) -> Result<Object, Status> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Object::new()),
            _ => {
                patch.insert(DIRECTIVE.to_owned(), directive.clone());
                Err(unknown_directive(&go::shown(&directive), &Value::Object(patch)))
            }
        };
    }
    retain_keys(&mut original, &mut patch)?;
    set_orders(&mut original, &mut patch, ty, work)?;
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_LIST) {
            delete_primitives(&mut original, list, value, work)?;
            continue;
        }
        if value.is_null() {
            original.remove(&key);
            continue;
        }
        merge_field(&mut original, key, value, ty, work)?;
    }
    Ok(original)
}

fn merge_field(
    original: &mut Object,
    key: String,
    value: Value,
    ty: Option<&'static Type>,
    work: &mut Work,
) -> Result<(), Status> {
    let merged = match (original.remove(&key), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            let rule = rule(ty, &key);
            if rule.replace {
                Some(Value::Object(new))
            } else {
                Some(Value::Object(merge_map(old, new, rule.ty, work)?))
            }
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let rule = rule(ty, &key);
            Some(Value::Array(if rule.merge { merge_list(old, new, rule, work)? } else { new }))
        }
        (_, new) => without_directives(new),
    };
    if let Some(merged) = merged {
        original.insert(key, merged);
    }
    Ok(())
}

/// A value taken as it is: nulls mean "delete" and directives speak to a merge, so neither may stay.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let own = |(k, v): &(String, Value)| {
                !v.is_null() && k != RETAIN_KEYS && !k.starts_with(DELETE_LIST) && !k.starts_with(ORDER)
            };
            Some(Value::Object(
                map.into_iter().filter(own).filter_map(|(k, v)| Some((k, without_directives(v)?))).collect(),
            ))
        }
        Value::Array(list) => Some(Value::Array(list.into_iter().filter_map(without_directives).collect())),
        scalar => Some(scalar),
    }
}

fn list_of(value: Value, what: &str) -> Result<Vec<Value>, Status> {
    match value {
        Value::Array(list) => Ok(list),
        _ => Err(bad_format(what)),
    }
}

/// `$retainKeys`: what the original has beyond the listed keys goes.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Status> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let keys = list_of(keys, "retainKeys")?;
    let keys: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let listed = |key: &str| keys.contains(key);
    let stray = |(key, value): (&String, &Value)| {
        !value.is_null() && !key.starts_with(DELETE_LIST) && !key.starts_with(ORDER) && !listed(key)
    };
    if patch.iter().any(stray) {
        return Err(bad_format("retainKeys"));
    }
    original.retain(|key, _| listed(key));
    Ok(())
}

/// `$deleteFromPrimitiveList/x`: removes scalars from the list `x`.
fn delete_primitives(original: &mut Object, key: &str, value: Value, work: &mut Work) -> Result<(), Status> {
    let gone = Places::of(&list_of(value, "primitive list")?, None);
    if let Some(Value::Array(list)) = original.get_mut(key) {
        work.look_at(list.len())?;
        list.retain(|item| gone.of_item(item).is_none());
    }
    Ok(())
}

/// `$setElementOrder/x`: merges the list `x` and puts the items that the patch names in its order.
fn set_orders(
    original: &mut Object,
    patch: &mut Object,
    ty: Option<&'static Type>,
    work: &mut Work,
) -> Result<(), Status> {
    let orders: Vec<String> = patch.keys().filter(|k| k.starts_with(ORDER)).cloned().collect();
    for order_key in orders {
        let order = list_of(patch.remove(&order_key).unwrap_or_default(), "setElementOrder list")?;
        let key = &order_key[ORDER.len()..];
        let rule = rule(ty, key);
        let old = original.get(key).cloned().map(|v| list_of(v, "setElementOrder list")).transpose()?;
        let new = match patch.remove(key) {
            None | Some(Value::Null) => None,
            Some(v) => Some(list_of(v, "setElementOrder list")?),
        };
        if let Some(new) = &new {
            check_order(new, &order, rule.key)?;
        }
        let merged = match (old.clone(), new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(old), Some(new)) if rule.merge => merge_list(old, new, rule, work)?,
            (Some(_), Some(new)) => new,
        };
        let old = old.unwrap_or_default();
        work.look_at(old.len() + order.len())?;
        original.insert(key.to_owned(), Value::Array(ordered(merged, &order, &old, rule.key)));
    }
    Ok(())
}

/// The items of the patch list must stand in the order list, in the same order.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Status> {
    let mut rest = order.iter();
    let kept = patch.iter().filter(|item| item.get(DIRECTIVE).is_none());
    for item in kept {
        let wanted = identity(item, key);
        if !order.is_empty() && !rest.any(|o| wanted.is_some() && identity(o, key) == wanted) {
            let shown = |list: &[Value]| go::shown(&Value::Array(list.to_vec()));
            return Err(refused(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                shown(patch),
                shown(order)
            )));
        }
    }
    Ok(())
}

/// What tells an item of a list apart: its key, or all of it.
fn identity(item: &Value, key: Option<&str>) -> Option<String> {
    match key {
        Some(key) => item.get(key).map(Value::to_string),
        None => Some(item.to_string()),
    }
}

/// Where the items of a list stand; found at once, however long the list is.
struct Places<'a> {
    key: Option<&'a str>,
    first: HashMap<String, usize>,
}

impl<'a> Places<'a> {
    fn of(list: &[Value], key: Option<&'a str>) -> Self {
        let mut places = Self { key, first: HashMap::with_capacity(list.len()) };
        list.iter().enumerate().for_each(|(at, item)| places.add(item, at));
        places
    }

    fn add(&mut self, item: &Value, at: usize) {
        if let Some(identity) = identity(item, self.key) {
            self.first.entry(identity).or_insert(at);
        }
    }

    fn of_item(&self, item: &Value) -> Option<usize> {
        self.first.get(&identity(item, self.key)?).copied()
    }
}

fn merge_list(original: Vec<Value>, patch: Vec<Value>, rule: Rule, work: &mut Work) -> Result<Vec<Value>, Status> {
    work.look_at(original.len() + patch.len())?;
    let maps = original.iter().chain(&patch).any(Value::is_object);
    if !maps {
        let mut seen = HashSet::new();
        let mut merged: Vec<Value> = original.iter().chain(&patch).cloned().collect();
        merged.retain(|item| seen.insert(item.to_string()));
        return Ok(ordered(merged, &patch, &original, None));
    }
    let key = rule.key.ok_or_else(|| refused("cannot merge lists without merge key".to_owned()))?;
    let (original, patch) = list_directives(original, patch, key)?;
    let mut places = Places::of(&original, Some(key));
    let mut merged = original.clone();
    for item in &patch {
        let Value::Object(map) = item else { return Err(bad_format("a list of maps")) };
        if !map.contains_key(key) {
            return Err(no_merge_key(item, key));
        }
        match places.of_item(item).and_then(|at| merged.get_mut(at)) {
            Some(Value::Object(old)) => *old = merge_map(std::mem::take(old), map.clone(), rule.ty, work)?,
            _ => {
                let Some(new) = without_directives(item.clone()) else { continue };
                places.add(&new, merged.len());
                merged.push(new);
            }
        }
    }
    Ok(ordered(merged, &patch, &original, Some(key)))
}

fn no_merge_key(item: &Value, key: &str) -> Status {
    refused(format!("map: {} does not contain declared merge key: {key}", go::shown(item)))
}

/// Carries out the `$patch` items of a list patch; what is left is to be merged into what is left.
fn list_directives(mut original: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>), Status> {
    let mut plain = Vec::new();
    let mut deleted = Vec::new();
    let mut replace = false;
    for item in patch {
        match item.get(DIRECTIVE).map(Value::as_str) {
            None => plain.push(item),
            Some(Some("delete")) => {
                if item.get(key).is_none() {
                    return Err(no_merge_key(&item, key));
                }
                deleted.push(item);
            }
            Some(Some("replace")) => replace = true,
            Some(Some("merge")) => {
                return Err(refused("merging lists cannot yet be specified in the patch".to_owned()));
            }
            Some(_) => return Err(unknown_directive(&go::shown(&item[DIRECTIVE]), &item)),
        }
    }
    let deleted = Places::of(&deleted, Some(key));
    original.retain(|item| deleted.of_item(item).is_none());
    Ok(if replace { (plain, Vec::new()) } else { (original, plain) })
}

/// Puts the items named in `order` in that order; the others keep their place relative to where they stood in `before`.
fn ordered(items: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let (order, before) = (Places::of(order, key), Places::of(before, key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = items.into_iter().partition(|i| order.of_item(i).is_some());
    named.sort_by_cached_key(|i| order.of_item(i));
    others.sort_by_cached_key(|i| before.of_item(i).unwrap_or(usize::MAX));
    let mut merged = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return merged,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(named)) => {
                matches!((before.of_item(other), before.of_item(named)), (Some(a), Some(b)) if a < b)
            }
        };
        merged.extend(if other_first { others.next() } else { named.next() });
    }
}
