//! Values that may be absent.

use std::sync::Arc;

use super::{NO_OVERLOAD, Result, fail};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::Value;

pub(super) const ENTRIES: &[Entry] = &[
    entry("optional.of", of, &["(A) optional<A>"]),
    entry("optional.ofNonZeroValue", of_non_zero, &["(A) optional<A>"]),
    entry("optional.none", |_, _| Ok(Value::Optional(None)), &["() optional<A>"]),
    entry("optional.unwrap", unwrap, &["(list<optional<A>>) list<A>"]),
    entry("unwrapOpt", unwrap, &["list<optional<A>>.() list<A>"]),
    entry("hasValue", has_value, &["optional<A>.() bool"]),
    entry("value", value, &["optional<A>.() A"]),
    entry("or", or, &["optional<A>.(optional<A>) optional<A>"]),
    entry("orValue", or_value, &["optional<A>.(A) A"]),
    entry("first", |_, a| end(a, false), &["list<A>.() optional<A>"]),
    entry("last", |_, a| end(a, true), &["list<A>.() optional<A>"]),
];

fn of<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [value] => Ok(Value::Optional(Some(Arc::new(value.clone())))),
        _ => Err(NO_OVERLOAD),
    }
}

fn of_non_zero<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [value] if value.is_zero() => Ok(Value::Optional(None)),
        _ => of(context, args),
    }
}

fn unwrap<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::List(list)] = args else { return Err(NO_OVERLOAD) };
    context.budget.allocate((list.len() * size_of::<Value<'_>>()) as u64)?;
    let mut values = Vec::new();
    for element in list.iter() {
        match element? {
            Value::Optional(held) => values.extend(held.map(Arc::unwrap_or_clone)),
            _ => return Err(NO_OVERLOAD),
        }
    }
    Ok(Value::list(values))
}

fn has_value<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Optional(held)] => Ok(Value::Bool(held.is_some())),
        _ => Err(NO_OVERLOAD),
    }
}

fn value<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Optional(Some(held))] => Ok((**held).clone()),
        [Value::Optional(None)] => fail("optional.none() dereference"),
        _ => Err(NO_OVERLOAD),
    }
}

fn or<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [first @ Value::Optional(Some(_)), Value::Optional(_)] => Ok(first.clone()),
        [Value::Optional(None), second @ Value::Optional(_)] => Ok(second.clone()),
        _ => Err(NO_OVERLOAD),
    }
}

fn or_value<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Optional(Some(held)), _] => Ok((**held).clone()),
        [Value::Optional(None), other] => Ok(other.clone()),
        _ => Err(NO_OVERLOAD),
    }
}

fn end<'a>(args: &[Value<'a>], last: bool) -> Result<Value<'a>> {
    let [Value::List(list)] = args else { return Err(NO_OVERLOAD) };
    let at = if last { list.len().checked_sub(1) } else { Some(0) };
    Ok(Value::Optional(at.and_then(|at| list.get(at)).transpose()?.map(Arc::new)))
}
