//! Strategic merge patch, driven by the type table's patch strategies and merge keys.
//!
//! The rules are upstream's (apimachinery `strategicpatch`); `tests/kubectl` holds them against kubectl's own merge.

use std::collections::{HashMap, HashSet};

use crate::go;
use crate::status::Status;
use crate::table::{Field, FieldType, Type, TypeTable};
use crate::{Object, Value, value};

/// What one patch may merge: many times what there is in any object.
const MAX_ITEMS: usize = 2_000_000;
const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_LIST: &str = "$deleteFromPrimitiveList";
const ORDER: &str = "$setElementOrder";
/// Go's names of the types.
const LIST: &str = "[]interface {}";
const MAP: &str = "map[string]interface {}";

/// Applies a strategic merge patch to an object of type `type_name`.
///
/// # Errors
/// 400 for a malformed directive; 500, as upstream answers, for any other: a list item without its merge key, a directive that does
/// not exist, lists of several types, and what upstream cannot look up in its Go types, such as maps of structs.
pub fn strategic(doc: &Value, patch: &Value, type_name: &str) -> Result<Value, Status> {
    let (Some(doc), Some(patch)) = (doc.as_object(), patch.as_object()) else {
        return Err(Status::bad_request("error decoding patch: a strategic merge patch is a JSON object"));
    };
    let ty = TypeTable::builtin().ty(type_name).ok_or_else(|| Status::internal(format!("no type {type_name}")))?;
    merge_map(doc.clone(), patch.clone(), Of::Struct(ty), &mut Work::default()).map(Value::Object)
}

fn bad_format(what: &str) -> Status {
    Status::bad_request(format!("invalid patch format of {what}"))
}

/// Upstream's errors here are no Statuses, so clients get 500 without a reason.
fn refused(message: String) -> Status {
    Status::failure(500, "", message)
}

fn unknown_directive(directive: &Value, map: &Value) -> Status {
    let text = match directive {
        Value::String(text) => text.clone(),
        // Go's verb for strings.
        Value::Null => "%!s(<nil>)".to_owned(),
        other => format!("%!s({}={})", value::go_type(other), go::shown(other)),
    };
    refused(format!("unknown patch type: {text} in map: {}", go::shown(map)))
}

fn bad_type(wanted: &str, found: &Value) -> Status {
    let found = if found.is_null() { "%!s(<nil>)" } else { value::go_type(found) };
    refused(format!("expected a {wanted}, but received a {found}"))
}

/// What a map of the document is in Go, where the strategies are written.
#[derive(Clone, Copy)]
enum Of {
    Struct(&'static Type),
    Map,
    /// A struct that reads its JSON by itself, by Go's name of it.
    Opaque(&'static str),
}

impl Of {
    fn what(ty: &'static FieldType, declared: &'static str) -> Self {
        match ty {
            FieldType::Struct(id) => Self::Struct(TypeTable::builtin().get(id)),
            FieldType::Map(_) => Self::Map,
            FieldType::List(item) => Self::what(item, declared),
            _ => Self::Opaque(declared.rsplit(['.', '/']).next().unwrap_or(declared)),
        }
    }

    /// The field `key`.
    ///
    /// # Errors
    /// In the words of upstream, whose Go types have none.
    fn field(self, key: &str) -> Result<&'static Field, Status> {
        let unknown =
            |name| format!("unable to find api field in struct {name} for the json field {}", go::quoted(key));
        let why = match self {
            Self::Struct(ty) => match ty.fields.get(key) {
                Some(field) => return Ok(field),
                None => unknown(ty.short_name()),
            },
            Self::Map => "merging an object in json but data type is not struct, instead is: map".to_owned(),
            Self::Opaque(name) => unknown(name),
        };
        Err(refused(why))
    }

    /// How the value under `key` merges.
    fn rule(self, key: &str) -> Result<Rule, Status> {
        let field = self.field(key)?;
        let Field { patch_strategy, patch_merge_key, .. } = field;
        Ok(Rule {
            merge: patch_strategy.merge,
            replace: patch_strategy.replace,
            key: *patch_merge_key,
            of: Self::what(&field.ty, field.declared),
        })
    }

    /// The same of a list.
    fn rule_of_list(self, key: &str) -> Result<Rule, Status> {
        match self.field(key)?.ty {
            FieldType::List(_) => self.rule(key),
            _ => Err(refused("expected slice or array type, but got: struct".to_owned())),
        }
    }
}

/// What the table says about the list or struct under a key.
#[derive(Clone, Copy)]
struct Rule {
    merge: bool,
    replace: bool,
    key: Option<&'static str>,
    /// The struct, or the list's items.
    of: Of,
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

fn merge_map(mut original: Object, mut patch: Object, of: Of, work: &mut Work) -> Result<Object, Status> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Object::new()),
            _ => {
                patch.insert(DIRECTIVE.to_owned(), directive.clone());
                Err(unknown_directive(&directive, &Value::Object(patch)))
            }
        };
    }
    retain_keys(&mut original, &mut patch)?;
    set_orders(&mut original, &mut patch, of, work)?;
    for (key, value) in patch {
        // The list to delete from is patched like any field, but that scalars are taken out of it.
        let deletes = key.starts_with(DELETE_LIST);
        let key = match key.strip_prefix(DELETE_LIST).map(|rest| rest.strip_prefix('/')) {
            Some(None) => return Err(bad_format("primitive list")),
            Some(Some(list)) => list.to_owned(),
            None => key,
        };
        if value.is_null() {
            original.remove(&key);
            continue;
        }
        merge_field(&mut original, key, value, deletes, of, work)?;
    }
    Ok(original)
}

fn merge_field(
    original: &mut Object,
    key: String,
    value: Value,
    deletes: bool,
    of: Of,
    work: &mut Work,
) -> Result<(), Status> {
    let merged = match (original.remove(&key), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            let rule = of.rule(&key)?;
            Some(Value::Object(if rule.replace { new } else { merge_map(old, new, rule.of, work)? }))
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let rule = of.rule_of_list(&key)?;
            let merges = rule.merge || deletes;
            Some(Value::Array(if merges { merge_list(old, new, rule, deletes, work)? } else { new }))
        }
        (old, new) if deletes && old.as_ref().is_none_or(|old| value::go_type(old) != value::go_type(&new)) => old,
        (_, new) => without_directives(new),
    };
    if let Some(merged) = merged {
        original.insert(key, merged);
    }
    Ok(())
}

/// A value taken as it is: nulls mean "delete", and what has a directive speaks to a merge, so neither may stay. Upstream leaves the
/// other directives for the field validation to find.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let own = map.into_iter().filter(|(_, v)| !v.is_null());
            Some(Value::Object(own.filter_map(|(k, v)| Some((k, without_directives(v)?))).collect()))
        }
        Value::Array(list) => Some(Value::Array(list.into_iter().filter_map(without_directives).collect())),
        scalar => Some(scalar),
    }
}

fn list_of(value: Value) -> Result<Vec<Value>, Status> {
    match value {
        Value::Array(list) => Ok(list),
        other => Err(bad_type(LIST, &other)),
    }
}

/// `$retainKeys`: what the original has beyond the listed keys goes.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Status> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(bad_format("retainKeys")) };
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

/// `$setElementOrder/x`: merges the list `x` and puts the items that the patch names in its order.
fn set_orders(original: &mut Object, patch: &mut Object, of: Of, work: &mut Work) -> Result<(), Status> {
    let orders: Vec<String> = patch.keys().filter(|k| k.starts_with(ORDER)).cloned().collect();
    for order_key in orders {
        let order = list_of(patch.remove(&order_key).unwrap_or_default())?;
        let key = order_key[ORDER.len()..].strip_prefix('/').ok_or_else(|| bad_format("setElementOrder list"))?;
        let old = original.get(key).cloned().map(list_of).transpose()?;
        let new = patch.remove(key).map(list_of).transpose()?;
        let rule = of.rule_of_list(key)?;
        if let Some(new) = &new {
            check_order(new, &order, rule.key)?;
        }
        let before = left_behind(old.as_deref().unwrap_or_default(), new.as_deref().unwrap_or_default(), rule);
        let merged = match (old, new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(old), Some(new)) if rule.merge => merge_list(old, new, rule, false, work)?,
            (Some(_), Some(new)) => new,
        };
        for (at, item) in order.iter().enumerate() {
            keyed(item, rule.key).map_err(|status| match item {
                Value::Object(_) => status,
                _ => refused(format!("value for key {at} is not a map")),
            })?;
        }
        work.look_at(before.len() + order.len())?;
        original.insert(key.to_owned(), Value::Array(ordered(merged, &order, &before, rule.key)));
    }
    Ok(())
}

/// The old list as upstream has it when it orders the items of the merged one: its merge works in the memory of the old list, where
/// what is new takes the places that what is deleted has left.
fn left_behind(old: &[Value], new: &[Value], rule: Rule) -> Vec<Value> {
    let Some(key) = rule.key.filter(|_| rule.merge) else { return old.to_vec() };
    let directive = |item: &&Value| item.get(DIRECTIVE).is_some();
    let deleted: Vec<Value> = new.iter().filter(directive).cloned().collect();
    let deleted = Places::of(&deleted, Some(key));
    let mut left: Vec<Value> = old.iter().filter(|item| deleted.of_item(item).is_none()).cloned().collect();
    if !new.iter().any(|item| item.get(DIRECTIVE).is_some_and(|directive| directive == "replace")) {
        let known = Places::of(&left, Some(key));
        left.extend(new.iter().filter(|item| !directive(item) && known.of_item(item).is_none()).cloned());
        left.truncate(old.len());
    }
    left
}

/// The items of the patch list must stand in the order list, in the same order.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Status> {
    if order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        keyed(item, key)?;
        let mut found = false;
        for other in rest.by_ref() {
            keyed(other, key)?;
            found = identity(other, key) == identity(item, key);
            if found {
                break;
            }
        }
        if !found {
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

/// Whether an item of a list with a key is a map that has it.
fn keyed(item: &Value, key: Option<&str>) -> Result<(), Status> {
    match (item, key) {
        (Value::Object(map), Some(key)) if !map.contains_key(key) => Err(no_merge_key(item, key)),
        (Value::Object(_), Some(_)) | (_, None) => Ok(()),
        (other, Some(_)) => Err(bad_type(MAP, other)),
    }
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

/// Go compares the types of items, which must all be of one.
fn check_types(original: &[Value], patch: &[Value]) -> Result<(), Status> {
    let mut types = original.iter().chain(patch).map(value::go_type);
    let first = types.next();
    if types.all(|ty| Some(ty) == first) {
        return Ok(());
    }
    let shown = [original, patch].map(|list| go::shown(&Value::Array(list.to_vec())));
    Err(refused(format!("list element types are not identical: [{}]", shown.join(" "))))
}

/// `deletes`: scalars of the patch are taken out of the list, instead of put into it.
fn merge_list(
    original: Vec<Value>,
    patch: Vec<Value>,
    rule: Rule,
    deletes: bool,
    work: &mut Work,
) -> Result<Vec<Value>, Status> {
    work.look_at(original.len() + patch.len())?;
    check_types(&original, &patch)?;
    let maps = original.iter().chain(&patch).any(Value::is_object);
    if !maps && deletes {
        let gone = Places::of(&patch, None);
        return Ok(original.into_iter().filter(|item| gone.of_item(item).is_none()).collect());
    }
    if !maps {
        let mut seen = HashSet::new();
        let mut merged: Vec<Value> = original.iter().chain(&patch).cloned().collect();
        merged.retain(|item| seen.insert(item.to_string()));
        return Ok(ordered(merged, &patch, &original, None));
    }
    let key = rule.key.ok_or_else(|| refused("cannot merge lists without merge key for struct".to_owned()))?;
    let (original, patch) = list_directives(original, patch, key)?;
    let mut places = Places::of(&original, Some(key));
    let mut merged = original.clone();
    for item in &patch {
        keyed(item, Some(key))?;
        match (places.of_item(item).and_then(|at| merged.get_mut(at)), item) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                *old = merge_map(std::mem::take(old), new.clone(), rule.of, work)?;
            }
            // Whatever directives are in it stay: the field validation finds them.
            _ => {
                places.add(item, merged.len());
                merged.push(item.clone());
            }
        }
    }
    merged.iter().try_for_each(|item| keyed(item, Some(key)))?;
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
            Some(_) => return Err(unknown_directive(&item[DIRECTIVE], &item)),
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
