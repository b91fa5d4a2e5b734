//! Lists and maps: indices, membership, sizes, concatenation.

use std::sync::Arc;

use super::{NO_OVERLOAD, Result, fail};
use crate::error::EvalError;
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::types::ListKind;
use crate::value::{Key, List, Value, same_keys};

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "_[_]",
        index,
        &[
            "(list<A>, int) A",
            "(map<A, B>, A) B",
            "(optional<list<A>>, int) optional<A>",
            "(optional<map<A, B>>, A) optional<B>",
        ],
    ),
    entry(
        "_[?_]",
        optional_index,
        &[
            "(list<A>, int) optional<A>",
            "(map<A, B>, A) optional<B>",
            "(optional<list<A>>, int) optional<A>",
            "(optional<map<A, B>>, A) optional<B>",
        ],
    ),
    entry("@in", contains, &["(A, list<A>) bool", "(A, map<A, B>) bool"]),
    entry(
        "size",
        size,
        &[
            "(string) int",
            "(bytes) int",
            "(list<A>) int",
            "(map<A, B>) int",
            "string.() int",
            "bytes.() int",
            "list<A>.() int",
            "map<A, B>.() int",
        ],
    ),
    // Nodes of their own; for the checker.
    entry(
        "cel.@mapInsert",
        |_, _| Err(NO_OVERLOAD),
        &["(map<K, V>, K, V) map<K, V>", "(map<K, V>, map<K, V>) map<K, V>"],
    ),
];

fn size<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [value @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_))] => {
            Ok(Value::Int(value.size() as i64))
        }
        _ => Err(NO_OVERLOAD),
    }
}

/// The place that a number names in a list.
fn place(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(n) => Some(*n),
        Value::Uint(n) => i64::try_from(*n).ok(),
        Value::Double(n) if n.fract() == 0.0 && n.abs() < 9e18 => Some(*n as i64),
        _ => None,
    }
}

/// What stands at a place or key, if there is something (cel-go's qualifiers).
fn find<'a>(container: &Value<'a>, at: &Value<'a>) -> Result<Option<Value<'a>>> {
    match container {
        Value::List(list) => {
            let Some(place) = place(at) else { return no_place(at) };
            usize::try_from(place).ok().and_then(|n| list.get(n)).transpose()
        }
        Value::Map(map) => match at {
            Value::String(name) => map.get_text(name).transpose(),
            _ => Key::sought(at).and_then(|key| map.get(&key)).transpose(),
        },
        Value::Object(object) => match at {
            Value::String(name) => object.get(name).transpose(),
            _ => Err(NO_OVERLOAD),
        },
        // `null` and the like have nothing in them.
        _ => Ok(None),
    }
}

/// Why a value names no place in a list.
fn no_place<T>(at: &Value<'_>) -> Result<T> {
    match at {
        Value::Uint(_) | Value::Double(_) => {
            fail(format!("unsupported index value {} in list", super::convert::show(at)))
        }
        other => fail(format!("unsupported index type '{}' in list", other.type_name())),
    }
}

fn index<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [container, at] = args else { return Err(NO_OVERLOAD) };
    if let Value::Optional(held) = container {
        return optional_of(held.as_deref(), at);
    }
    match find(container, at)? {
        Some(value) => Ok(value),
        None if matches!(container, Value::List(_)) => fail(format!("index out of bounds: {}", place(at).unwrap_or(0))),
        None => fail(format!("no such key: {}", super::convert::show(at))),
    }
}

fn optional_of<'a>(container: Option<&Value<'a>>, at: &Value<'a>) -> Result<Value<'a>> {
    let found = container.map(|c| find(c, at)).transpose()?.flatten();
    Ok(Value::Optional(found.map(Arc::new)))
}

fn optional_index<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Optional(held), at] => optional_of(held.as_deref(), at),
        [container, at] => optional_of(Some(container), at),
        _ => Err(NO_OVERLOAD),
    }
}

fn contains<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [value, container] = args else { return Err(NO_OVERLOAD) };
    match container {
        Value::List(list) => {
            for element in list.iter() {
                if element?.equals(value, context.budget)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        Value::Map(_) => Ok(Value::Bool(find(container, value)?.is_some())),
        Value::Object(_) => Ok(Value::Bool(find(container, value)?.is_some())),
        _ => Err(NO_OVERLOAD),
    }
}

/// `a + b`. What kind of list the left one is decides how: sets leave out what they have, maps replace entries of the same keys.
pub(super) fn join<'a>(context: &mut Context<'_, 'a>, a: &List<'a>, b: &List<'a>) -> Result<Value<'a>> {
    context.budget.allocate(((a.len() + b.len()) * size_of::<Value<'_>>()) as u64)?;
    context.budget.visit((a.len() + b.len()) as u64)?;
    let mut joined: Vec<Value<'a>> = a.iter().collect::<std::result::Result<_, EvalError>>()?;
    match (a.kind(), a, b) {
        (ListKind::Set, ..) => {
            for value in b.iter() {
                let value = value?;
                let mut known = false;
                for other in &joined[..a.len()] {
                    known = known || value.equals(other, context.budget)?;
                }
                if !known {
                    joined.push(value);
                }
            }
        }
        (ListKind::Map(keys), List::Json { items: left, .. }, List::Json { items: right, .. }) => {
            for (at, entry) in right.iter().enumerate() {
                let Some(value) = b.get(at).transpose()? else { continue };
                context.budget.visit(left.len() as u64)?;
                match left.iter().position(|other| same_keys(entry, other, keys)) {
                    Some(place) => joined[place] = value,
                    None => joined.push(value),
                }
            }
        }
        _ => {
            for value in b.iter() {
                joined.push(value?);
            }
        }
    }
    Ok(Value::list(joined))
}
