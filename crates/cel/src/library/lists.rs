//! What Kubernetes adds to lists.

use std::cmp::Ordering;

use super::{NO_OVERLOAD, Result, fail};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::Value;

const SORTED: &[&str] = &[
    "list<int>.() bool",
    "list<uint>.() bool",
    "list<double>.() bool",
    "list<bool>.() bool",
    "list<duration>.() bool",
    "list<timestamp>.() bool",
    "list<string>.() bool",
    "list<bytes>.() bool",
];
const EXTREME: &[&str] = &[
    "list<int>.() int",
    "list<uint>.() uint",
    "list<double>.() double",
    "list<bool>.() bool",
    "list<duration>.() duration",
    "list<timestamp>.() timestamp",
    "list<string>.() string",
    "list<bytes>.() bytes",
];
const SUM: &[&str] =
    &["list<int>.() int", "list<uint>.() uint", "list<double>.() double", "list<duration>.() duration"];

pub(super) const ENTRIES: &[Entry] = &[
    entry("isSorted", is_sorted, SORTED),
    entry("sum", sum, SUM),
    entry("min", |c, a| extreme(c, a, "min", Ordering::Less), EXTREME),
    entry("max", |c, a| extreme(c, a, "max", Ordering::Greater), EXTREME),
    entry("indexOf", |c, a| position(c, a, false), &["list<A>.(A) int"]),
    entry("lastIndexOf", |c, a| position(c, a, true), &["list<A>.(A) int"]),
];

fn is_sorted<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::List(list)] = args else { return Err(NO_OVERLOAD) };
    context.budget.visit(list.len() as u64)?;
    let mut former: Option<Value<'a>> = None;
    for element in list.iter() {
        let element = element?;
        if let Some(former) = &former
            && former.order(&element)? == Some(Ordering::Greater)
        {
            return Ok(Value::Bool(false));
        }
        former = Some(element);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::List(list)] = args else { return Err(NO_OVERLOAD) };
    context.budget.visit(list.len() as u64)?;
    let mut total: Option<Value<'a>> = None;
    for element in list.iter() {
        let element = element?;
        total = Some(match (total, element) {
            (None, element @ (Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_))) => element,
            (Some(Value::Int(a)), Value::Int(b)) => match a.checked_add(b) {
                Some(n) => Value::Int(n),
                None => return fail("integer overflow"),
            },
            (Some(Value::Uint(a)), Value::Uint(b)) => match a.checked_add(b) {
                Some(n) => Value::Uint(n),
                None => return fail("unsigned integer overflow"),
            },
            (Some(Value::Double(a)), Value::Double(b)) => Value::Double(a + b),
            (Some(Value::Duration(a)), Value::Duration(b)) => match a.checked_add(b) {
                Some(n) => Value::Duration(n),
                None => return fail("duration overflow"),
            },
            _ => return Err(NO_OVERLOAD),
        });
    }
    Ok(total.unwrap_or(Value::Int(0)))
}

fn extreme<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>], name: &str, wanted: Ordering) -> Result<Value<'a>> {
    let [Value::List(list)] = args else { return Err(NO_OVERLOAD) };
    context.budget.visit(list.len() as u64)?;
    let mut best: Option<Value<'a>> = None;
    for element in list.iter() {
        let element = element?;
        let better = match &best {
            None => true,
            Some(best) => element.order(best)? == Some(wanted),
        };
        if better {
            best = Some(element);
        }
    }
    best.map_or_else(|| fail(format!("{name} called on empty list")), Ok)
}

fn position<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>], last: bool) -> Result<Value<'a>> {
    let [Value::List(list), sought] = args else { return Err(NO_OVERLOAD) };
    let count = list.len();
    for step in 0..count {
        let at = if last { count - 1 - step } else { step };
        let Some(element) = list.get(at) else { break };
        if element?.equals(sought, context.budget)? {
            return Ok(Value::Int(at as i64));
        }
    }
    Ok(Value::Int(-1))
}
