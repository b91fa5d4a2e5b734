//! Quantities.

use std::sync::Arc;

use gantry_api::quantity::{Format, Quantity};

use super::opaque::Opaque;
use super::{NO_OVERLOAD, Result, fail};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::Value;

const COMPARE: &[&str] = &["kubernetes.Quantity.(kubernetes.Quantity) bool"];
const COMBINE: &[&str] =
    &["kubernetes.Quantity.(kubernetes.Quantity) kubernetes.Quantity", "kubernetes.Quantity.(int) kubernetes.Quantity"];

pub(super) const ENTRIES: &[Entry] = &[
    entry("quantity", parse, &["(string) kubernetes.Quantity"]),
    entry("isQuantity", is_quantity, &["(string) bool"]),
    entry("isInteger", |_, a| of(a, |q| Ok(Value::Bool(whole(q).is_some()))), &["kubernetes.Quantity.() bool"]),
    entry("asInteger", |_, a| of(a, as_integer), &["kubernetes.Quantity.() int"]),
    entry("asApproximateFloat", |_, a| of(a, |q| Ok(Value::Double(float(q)))), &["kubernetes.Quantity.() double"]),
    entry("sign", |_, a| of(a, |q| Ok(Value::Int(i64::from(q.signum())))), &["kubernetes.Quantity.() int"]),
    entry("isGreaterThan", |_, a| two(a, |a, b| Ok(Value::Bool(a.cmp(&b).is_gt()))), COMPARE),
    entry("isLessThan", |_, a| two(a, |a, b| Ok(Value::Bool(a.cmp(&b).is_lt()))), COMPARE),
    entry(
        "compareTo",
        |_, a| two(a, |a, b| Ok(Value::Int(a.cmp(&b) as i64))),
        &["kubernetes.Quantity.(kubernetes.Quantity) int"],
    ),
    entry("add", |_, a| two(a, |a, b| Ok(made(a.plus(b)))), COMBINE),
    entry("sub", |_, a| two(a, |a, b| Ok(made(a.minus(b)))), COMBINE),
];

fn made<'a>(quantity: Quantity) -> Value<'a> {
    Value::Opaque(Arc::new(Opaque::Quantity(quantity)))
}

fn parse<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    Quantity::parse(text).map(made).or_else(|error| fail(error.to_string()))
}

fn is_quantity<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    Ok(Value::Bool(Quantity::parse(text).is_ok()))
}

fn quantity(value: &Value<'_>) -> Option<Quantity> {
    match value {
        Value::Opaque(opaque) => match **opaque {
            Opaque::Quantity(quantity) => Some(quantity),
            _ => None,
        },
        Value::Int(n) => Some(Quantity::from_value(*n, Format::DecimalExponent)),
        _ => None,
    }
}

fn of<'a>(args: &[Value<'a>], code: fn(Quantity) -> Result<Value<'a>>) -> Result<Value<'a>> {
    match args {
        [value @ Value::Opaque(_)] => code(quantity(value).ok_or(NO_OVERLOAD)?),
        _ => Err(NO_OVERLOAD),
    }
}

fn two<'a>(args: &[Value<'a>], code: fn(Quantity, Quantity) -> Result<Value<'a>>) -> Result<Value<'a>> {
    match args {
        [a @ Value::Opaque(_), b] => code(quantity(a).ok_or(NO_OVERLOAD)?, quantity(b).ok_or(NO_OVERLOAD)?),
        _ => Err(NO_OVERLOAD),
    }
}

/// The amount, if it is whole and 64 bits hold it.
fn whole(quantity: Quantity) -> Option<i64> {
    let value = quantity.value();
    Quantity::from_value(value, quantity.format()).cmp(&quantity).is_eq().then_some(value)
}

fn as_integer<'a>(quantity: Quantity) -> Result<Value<'a>> {
    whole(quantity).map_or_else(|| fail("cannot convert value to integer"), |n| Ok(Value::Int(n)))
}

fn float(quantity: Quantity) -> f64 {
    quantity.as_f64()
}
