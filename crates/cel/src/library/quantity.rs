//! Quantities.

use std::sync::Arc;

use gantry_api::quantity::{self, Format, Quantity};

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
    entry("isInteger", |_, a| of(a, |q| Ok(Value::Bool(q.integer().is_some()))), &["kubernetes.Quantity.() bool"]),
    entry("asInteger", |_, a| of(a, as_integer), &["kubernetes.Quantity.() int"]),
    entry(
        "asApproximateFloat",
        |_, a| of(a, |q| Ok(Value::Double(q.exact.as_f64()))),
        &["kubernetes.Quantity.() double"],
    ),
    // Not of the quantity, whatever upstream's documentation says.
    entry("sign", |_, a| of(a, |q| Ok(Value::Int(i64::from(q.exact.signum())))), &["(kubernetes.Quantity) int"]),
    entry("isGreaterThan", |_, a| two(a, |a, b| Ok(Value::Bool(a.exact.cmp(&b.exact).is_gt()))), COMPARE),
    entry("isLessThan", |_, a| two(a, |a, b| Ok(Value::Bool(a.exact.cmp(&b.exact).is_lt()))), COMPARE),
    entry(
        "compareTo",
        |_, a| two(a, |a, b| Ok(Value::Int(a.exact.cmp(&b.exact) as i64))),
        &["kubernetes.Quantity.(kubernetes.Quantity) int"],
    ),
    entry("add", |_, a| two(a, |a, b| Ok(made(a.plus(b)))), COMBINE),
    entry("sub", |_, a| two(a, |a, b| Ok(made(a.plus(b.negated())))), COMBINE),
];

/// A quantity.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    pub(super) exact: Quantity,
    /// Its digits and their power of ten, where upstream keeps it so ([`quantity::short`]).
    short: Option<(i64, i32)>,
}

impl Amount {
    fn parse(text: &str) -> std::result::Result<Self, quantity::Error> {
        Ok(Self { exact: Quantity::parse(text)?, short: quantity::short(text) })
    }

    fn negated(self) -> Self {
        let exact = Quantity::ZERO.minus(self.exact);
        Self { exact, short: self.short.and_then(|(value, scale)| Some((value.checked_neg()?, scale))) }
    }

    fn plus(self, other: Self) -> Self {
        let short = self.short.zip(other.short).and_then(|(a, b)| sum(a, b));
        Self { exact: self.exact.plus(other.exact), short }
    }

    /// The amount as upstream turns it into an integer: not where it was written with a fraction or does not surely fit.
    fn integer(self) -> Option<i64> {
        self.short.and_then(|(value, scale)| scaled(value, scale))
    }
}

/// `value` with so many zeros behind it.
fn scaled(value: i64, zeros: i32) -> Option<i64> {
    value.checked_mul(10i64.checked_pow(u32::try_from(zeros).ok()?)?)
}

fn sum(a: (i64, i32), b: (i64, i32)) -> Option<(i64, i32)> {
    match (a, b) {
        (a, (0, _)) => Some(a),
        ((0, _), b) => Some(b),
        ((a, scale), (b, more)) if more >= scale => Some((a.checked_add(scaled(b, more - scale)?)?, scale)),
        (more, less) => sum(less, more),
    }
}

fn made<'a>(amount: Amount) -> Value<'a> {
    Value::Opaque(Arc::new(Opaque::Quantity(amount)))
}

fn parse<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    Amount::parse(text).map(made).or_else(|error| fail(error.to_string()))
}

fn is_quantity<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    Ok(Value::Bool(Quantity::parse(text).is_ok()))
}

fn amount(value: &Value<'_>) -> Option<Amount> {
    match value {
        Value::Opaque(opaque) => match **opaque {
            Opaque::Quantity(amount) => Some(amount),
            _ => None,
        },
        Value::Int(n) => {
            Some(Amount { exact: Quantity::from_value(*n, Format::DecimalExponent), short: Some((*n, 0)) })
        }
        _ => None,
    }
}

fn of<'a>(args: &[Value<'a>], code: fn(Amount) -> Result<Value<'a>>) -> Result<Value<'a>> {
    match args {
        [value @ Value::Opaque(_)] => code(amount(value).ok_or(NO_OVERLOAD)?),
        _ => Err(NO_OVERLOAD),
    }
}

fn two<'a>(args: &[Value<'a>], code: fn(Amount, Amount) -> Result<Value<'a>>) -> Result<Value<'a>> {
    match args {
        [a @ Value::Opaque(_), b] => code(amount(a).ok_or(NO_OVERLOAD)?, amount(b).ok_or(NO_OVERLOAD)?),
        _ => Err(NO_OVERLOAD),
    }
}

fn as_integer<'a>(amount: Amount) -> Result<Value<'a>> {
    amount.integer().map_or_else(|| fail("cannot convert value to integer"), |n| Ok(Value::Int(n)))
}
