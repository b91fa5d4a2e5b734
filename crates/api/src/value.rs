//! Value trees and dotted-path access.
//!
//! Objects are `serde_json::Value`; its maps are ordered by key, and that order is Gantry's canonical key order.

/// A JSON value.
pub type Value = serde_json::Value;
/// A JSON object, keys in byte order.
pub type Object = serde_json::Map<String, Value>;

/// Levels of maps and lists to which an object may nest, managed fields included. Below what the readers of JSON take (127 levels) by
/// what may be put around an object (a list, a watch's event, a review).
pub const MAX_LEVELS: usize = 120;

/// Whether `value` has more than `levels` maps and lists in one another. Looks no deeper than that.
#[must_use]
pub fn is_deeper_than(value: &Value, levels: usize) -> bool {
    let inner = levels.checked_sub(1);
    let is_deep = |value: &Value| inner.is_some_and(|levels| is_deeper_than(value, levels));
    match value {
        Value::Array(list) => inner.is_none() || list.iter().any(is_deep),
        Value::Object(map) => inner.is_none() || map.values().any(is_deep),
        _ => false,
    }
}

/// The JSON type of a value, as Go's decoder names it.
#[must_use]
pub fn go_json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What Go's decoder makes of a JSON value, by Go's name of the type.
#[must_use]
pub fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// The keys of a path. They are few and short: to look at each byte takes less than a search that is made for long texts.
fn keys(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let (key, behind) = first_key(rest?);
        rest = behind;
        Some(key)
    })
}

/// The first key of a path, and what is behind it.
pub(crate) fn first_key(path: &str) -> (&str, Option<&str>) {
    match path.bytes().position(|byte| byte == b'.') {
        Some(dot) => (&path[..dot], Some(&path[dot + 1..])),
        None => (path, None),
    }
}

/// A path without its last key, and that key.
fn last_key(path: &str) -> (Option<&str>, &str) {
    match path.bytes().rposition(|byte| byte == b'.') {
        Some(dot) => (Some(&path[..dot]), &path[dot + 1..]),
        None => (None, path),
    }
}

/// Looks up `path` (keys separated by dots, no list indexes): `get(pod, "spec.nodeName")`.
#[must_use]
pub fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    keys(path).try_fold(value, |v, key| v.as_object()?.get(key))
}

/// As [`get`], for a string.
#[must_use]
pub fn str_at<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    get(value, path)?.as_str()
}

/// As [`get`], for an integer.
#[must_use]
pub fn i64_at(value: &Value, path: &str) -> Option<i64> {
    get(value, path)?.as_i64()
}

/// As [`get`], for a boolean; absent is `false`.
#[must_use]
pub fn bool_at(value: &Value, path: &str) -> bool {
    get(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// As [`get`], for a list; absent is empty.
#[must_use]
pub fn list_at<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    get(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// As [`get`], for a map.
#[must_use]
pub fn map_at<'a>(value: &'a Value, path: &str) -> Option<&'a Object> {
    get(value, path)?.as_object()
}

/// The object at `path`, made (with its parents) where it is absent or null.
///
/// Returns `None` when something other than an object stands in the way.
pub fn object_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Object> {
    let mut at = value;
    for key in keys(path).filter(|k| !k.is_empty()) {
        let map = at.as_object_mut()?;
        if !map.contains_key(key) {
            map.insert(key.to_owned(), Value::Null);
        }
        let slot = map.get_mut(key)?;
        if slot.is_null() {
            *slot = Value::Object(Object::new());
        }
        at = slot;
    }
    at.as_object_mut()
}

/// Mutable access to what is at `path`, if it is there.
pub fn get_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    keys(path).try_fold(value, |v, key| v.as_object_mut()?.get_mut(key))
}

/// Sets `path` to `new`, making parents; does nothing where a parent is not an object.
pub fn set(value: &mut Value, path: &str, new: impl Into<Value>) {
    let (parent, key) = last_key(path);
    let Some(map) = object_mut(value, parent.unwrap_or_default()) else { return };
    match map.get_mut(key) {
        Some(slot) => *slot = new.into(),
        None => drop(map.insert(key.to_owned(), new.into())),
    }
}

/// Sets `path` only where it is absent or null.
pub fn set_default(value: &mut Value, path: &str, new: impl Into<Value>) {
    if get(value, path).is_none_or(Value::is_null) {
        set(value, path, new);
    }
}

/// Removes `path` and returns what was there.
pub fn remove(value: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = last_key(path);
    let holder = match parent {
        Some(parent) => get_mut(value, parent)?,
        None => value,
    };
    holder.as_object_mut()?.remove(key)
}

/// Calls `change` with all that stands at `path`, in which `*` is each item of a list and each entry of a map.
pub fn each_mut(value: &mut Value, path: &str, change: &mut dyn FnMut(&mut Value)) {
    let (key, rest) = first_key(path);
    let mut found = |v: &mut Value| match rest {
        Some(rest) => each_mut(v, rest, change),
        None => change(v),
    };
    match (key, value) {
        ("*", Value::Array(items)) => items.iter_mut().for_each(found),
        ("*", Value::Object(map)) => map.values_mut().for_each(found),
        (_, Value::Object(map)) => {
            if let Some(below) = map.get_mut(key) {
                found(below);
            }
        }
        _ => {}
    }
}
