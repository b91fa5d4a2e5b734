//! Lists as sets.

use super::{NO_OVERLOAD, Result};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::{List, Value};

const PAIR: &[&str] = &["(list<A>, list<A>) bool"];

pub(super) const ENTRIES: &[Entry] = &[
    entry("sets.contains", |c, a| relation(c, a, contains), PAIR),
    entry("sets.intersects", |c, a| relation(c, a, intersects), PAIR),
    entry("sets.equivalent", |c, a| relation(c, a, |c, a, b| Ok(contains(c, a, b)? && contains(c, b, a)?)), PAIR),
];

type Relation = for<'a> fn(&mut Context<'_, 'a>, &List<'a>, &List<'a>) -> Result<bool>;

fn relation<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>], holds: Relation) -> Result<Value<'a>> {
    match args {
        [Value::List(a), Value::List(b)] => Ok(Value::Bool(holds(context, a, b)?)),
        _ => Err(NO_OVERLOAD),
    }
}

fn has<'a>(context: &mut Context<'_, 'a>, list: &List<'a>, sought: &Value<'a>) -> Result<bool> {
    for element in list.iter() {
        if element?.equals(sought, context.budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether all of `b` is in `a`.
fn contains<'a>(context: &mut Context<'_, 'a>, a: &List<'a>, b: &List<'a>) -> Result<bool> {
    for element in b.iter() {
        if !has(context, a, &element?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(context: &mut Context<'_, 'a>, a: &List<'a>, b: &List<'a>) -> Result<bool> {
    for element in b.iter() {
        if has(context, a, &element?)? {
            return Ok(true);
        }
    }
    Ok(false)
}
