//! One-key reads; validation walks trees level by level, so it needs no dotted paths.

use std::collections::HashSet;

use crate::{Object, Value};

/// The string under `key`, or `""`.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The integer under `key`.
pub(crate) fn number(value: &Value, key: &str) -> Option<i64> {
    value.get(key).and_then(Value::as_i64)
}

/// Whether `key` is `true`.
pub(crate) fn truth(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// The list under `key`; absent is empty.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The map under `key`.
pub(crate) fn map<'a>(value: &'a Value, key: &str) -> Option<&'a Object> {
    value.get(key).and_then(Value::as_object)
}

/// What is under `key`, unless it is null.
pub(crate) fn some<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|v| !v.is_null())
}

/// Names that were seen; a list may hold very many.
pub(crate) type Seen<'a> = HashSet<&'a str>;

/// Whether `name` stands twice: true from its second time on.
pub(crate) fn repeats<'a>(seen: &mut Seen<'a>, name: &'a str) -> bool {
    !seen.insert(name)
}
