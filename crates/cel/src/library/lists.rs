//! What Kubernetes adds to lists, and cel-go's own library for them (version 3).

use std::cmp::Ordering;

use super::{NO_OVERLOAD, Result, fail};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::{List, Value};

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

const SORT: &[&str] = &[
    "list<int>.() list<int>",
    "list<uint>.() list<uint>",
    "list<double>.() list<double>",
    "list<bool>.() list<bool>",
    "list<duration>.() list<duration>",
    "list<timestamp>.() list<timestamp>",
    "list<string>.() list<string>",
    "list<bytes>.() list<bytes>",
];
const SORT_BY: &[&str] = &[
    "list<T>.(list<int>) list<T>",
    "list<T>.(list<uint>) list<T>",
    "list<T>.(list<double>) list<T>",
    "list<T>.(list<bool>) list<T>",
    "list<T>.(list<duration>) list<T>",
    "list<T>.(list<timestamp>) list<T>",
    "list<T>.(list<string>) list<T>",
    "list<T>.(list<bytes>) list<T>",
];

/// What `sortBy` is written out to: a list, and the keys of its elements.
pub(crate) const SORT_BY_KEYS: &str = "@sortByAssociatedKeys";

pub(super) const ENTRIES: &[Entry] = &[
    entry("isSorted", is_sorted, SORTED),
    entry("sum", sum, SUM),
    entry("min", |c, a| extreme(c, a, "min", Ordering::Less), EXTREME),
    entry("max", |c, a| extreme(c, a, "max", Ordering::Greater), EXTREME),
    entry("indexOf", |c, a| position(c, a, false), &["list<A>.(A) int"]),
    entry("lastIndexOf", |c, a| position(c, a, true), &["list<A>.(A) int"]),
    entry("lists.range", range, &["(int) list<int>"]),
    entry("slice", slice, &["list<T>.(int, int) list<T>"]),
    entry("flatten", flatten, &["list<list<T>>.() list<T>", "list<dyn>.(int) list<dyn>"]),
    entry("reverse", reverse, &["list<T>.() list<T>"]),
    entry("distinct", distinct, &["list<T>.() list<T>"]),
    entry("sort", sort, SORT),
    entry(SORT_BY_KEYS, sort, SORT_BY),
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

/// Asks for the memory of a list, and gives an empty one.
fn room<'a>(context: &mut Context<'_, 'a>, count: usize) -> Result<Vec<Value<'a>>> {
    context.budget.allocate((count as u64).saturating_mul(size_of::<Value<'_>>() as u64))?;
    Ok(Vec::with_capacity(count))
}

fn range<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::Int(count)] = args else { return Err(NO_OVERLOAD) };
    let Ok(size) = usize::try_from(*count) else {
        return fail(format!("lists.range: size must be non-negative, got {count}"));
    };
    let mut list = room(context, size)?;
    list.extend((0..*count).map(Value::Int));
    Ok(Value::list(list))
}

fn slice<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::List(list), Value::Int(from), Value::Int(to)] = args else { return Err(NO_OVERLOAD) };
    let (Ok(start), Ok(end)) = (usize::try_from(*from), usize::try_from(*to)) else {
        return fail(format!("cannot slice({from}, {to}), negative indexes not supported"));
    };
    if start > end {
        return fail(format!("cannot slice({from}, {to}), start index must be less than or equal to end index"));
    }
    if list.len() < end {
        return fail(format!("cannot slice({from}, {to}), list is length {}", list.len()));
    }
    let mut part = room(context, end - start)?;
    for element in (start..end).filter_map(|at| list.get(at)) {
        part.push(element?);
    }
    Ok(Value::list(part))
}

fn flatten<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (list, depth) = match args {
        [Value::List(list)] => (list, 1),
        [Value::List(list), Value::Int(depth)] => (list, *depth),
        _ => return Err(NO_OVERLOAD),
    };
    if depth < 0 {
        return fail("level must be non-negative");
    }
    let mut flat = Vec::new();
    // The lists that are being read, each with the place up to which it was read.
    let mut open: Vec<(List<'a>, usize)> = vec![(list.clone(), 0)];
    while let Some((list, at)) = open.last_mut() {
        let element = list.get(*at);
        *at += 1;
        match element.transpose()? {
            None => drop(open.pop()),
            Some(Value::List(inner)) if (open.len() as u64) <= depth.unsigned_abs() => open.push((inner, 0)),
            Some(element) => {
                context.budget.allocate(size_of::<Value<'_>>() as u64)?;
                flat.push(element);
            }
        }
    }
    Ok(Value::list(flat))
}

fn reverse<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::List(list)] = args else { return Err(NO_OVERLOAD) };
    let mut turned = room(context, list.len())?;
    for element in list.iter() {
        turned.push(element?);
    }
    turned.reverse();
    Ok(Value::list(turned))
}

fn distinct<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::List(list)] = args else { return Err(NO_OVERLOAD) };
    let mut found: Vec<Value<'a>> = room(context, list.len())?;
    'elements: for element in list.iter() {
        let element = element?;
        for known in &found {
            if element.equals(known, context.budget)? {
                continue 'elements;
            }
        }
        found.push(element);
    }
    Ok(Value::list(found))
}

/// A list in the order of its elements, or of the keys that go with them.
fn sort<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (list, keys) = match args {
        [Value::List(list)] => (list, list),
        [Value::List(list), Value::List(keys)] => (list, keys),
        _ => return Err(NO_OVERLOAD),
    };
    let mut pairs = Vec::with_capacity(list.len());
    let mut sorted = room(context, list.len().saturating_mul(2))?;
    for (key, element) in keys.iter().zip(list.iter()) {
        pairs.push((key?, element?));
    }
    if let Some((first, _)) = pairs.first() {
        if first.order(first).is_err() {
            return fail("list elements must be comparable");
        }
        let of_one_type = |(key, _): &(Value<'a>, Value<'a>)| key.type_name() == first.type_name();
        if !pairs.iter().all(of_one_type) {
            return fail("list elements must have the same type");
        }
    }
    // NaN has no order; it stays where it is.
    pairs.sort_by(|(a, _), (b, _)| a.order(b).ok().flatten().unwrap_or(Ordering::Equal));
    sorted.extend(pairs.into_iter().map(|(_, element)| element));
    Ok(Value::list(sorted))
}
