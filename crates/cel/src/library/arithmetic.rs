//! Operators on numbers, text, times; equality and order.

use std::cmp::Ordering;

use super::{NO_OVERLOAD, Result, fail};
use crate::error::EvalError;
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::{Moment, Text, Value};

const ORDERED: &[&str] = &[
    "(bool, bool) bool",
    "(int, int) bool",
    "(int, uint) bool",
    "(int, double) bool",
    "(uint, uint) bool",
    "(uint, int) bool",
    "(uint, double) bool",
    "(double, double) bool",
    "(double, int) bool",
    "(double, uint) bool",
    "(string, string) bool",
    "(bytes, bytes) bool",
    "(timestamp, timestamp) bool",
    "(duration, duration) bool",
];
const NUMBERS: &[&str] = &["(int, int) int", "(uint, uint) uint", "(double, double) double"];
const ADDED: &[&str] = &[
    "(int, int) int",
    "(uint, uint) uint",
    "(double, double) double",
    "(string, string) string",
    "(bytes, bytes) bytes",
    "(list<A>, list<A>) list<A>",
    "(timestamp, duration) timestamp",
    "(duration, timestamp) timestamp",
    "(duration, duration) duration",
];
const SUBTRACTED: &[&str] = &[
    "(int, int) int",
    "(uint, uint) uint",
    "(double, double) double",
    "(timestamp, timestamp) duration",
    "(timestamp, duration) timestamp",
    "(duration, duration) duration",
];

pub(super) const ENTRIES: &[Entry] = &[
    entry("_==_", |c, a| Ok(Value::Bool(equal(c, a)?)), &["(A, A) bool"]),
    entry("_!=_", |c, a| Ok(Value::Bool(!equal(c, a)?)), &["(A, A) bool"]),
    entry("_<_", |_, a| order(a, Ordering::is_lt), ORDERED),
    entry("_<=_", |_, a| order(a, Ordering::is_le), ORDERED),
    entry("_>_", |_, a| order(a, Ordering::is_gt), ORDERED),
    entry("_>=_", |_, a| order(a, Ordering::is_ge), ORDERED),
    entry("_+_", add, ADDED),
    entry("_-_", subtract, SUBTRACTED),
    entry("_*_", multiply, NUMBERS),
    entry("_/_", divide, NUMBERS),
    entry("_%_", modulo, &["(int, int) int", "(uint, uint) uint"]),
    entry("-_", negate, &["(int) int", "(double) double"]),
    entry("!_", not, &["(bool) bool"]),
    // These have nodes of their own; the entries are for the checker.
    entry("_&&_", |_, _| Err(NO_OVERLOAD), &["(bool, bool) bool"]),
    entry("_||_", |_, _| Err(NO_OVERLOAD), &["(bool, bool) bool"]),
    entry("_?_:_", |_, _| Err(NO_OVERLOAD), &["(bool, A, A) A"]),
    entry("@not_strictly_false", |_, _| Err(NO_OVERLOAD), &["(bool) bool"]),
];

fn equal<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<bool> {
    match args {
        [a, b] => a.equals(b, context.budget),
        _ => Err(NO_OVERLOAD),
    }
}

fn order<'a>(args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Result<Value<'a>> {
    match args {
        [a, b] => Ok(Value::Bool(a.order(b)?.is_some_and(holds))),
        _ => Err(NO_OVERLOAD),
    }
}

fn int<'a>(result: Option<i64>) -> Result<Value<'a>> {
    result.map(Value::Int).ok_or_else(|| EvalError::new("integer overflow"))
}

fn uint<'a>(result: Option<u64>) -> Result<Value<'a>> {
    result.map(Value::Uint).ok_or_else(|| EvalError::new("unsigned integer overflow"))
}

fn duration<'a>(result: Option<i64>) -> Result<Value<'a>> {
    result.map(Value::Duration).ok_or_else(|| EvalError::new("duration overflow"))
}

fn timestamp<'a>(result: Option<Moment>) -> Result<Value<'a>> {
    result.map(Value::Timestamp).ok_or_else(|| EvalError::new("timestamp overflow"))
}

fn add<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [a, b] = args else { return Err(NO_OVERLOAD) };
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            context.budget.allocate((a.len() + b.len()) as u64)?;
            Ok(Value::String(Text::from([&**a, &**b].concat())))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            context.budget.allocate((a.len() + b.len()) as u64)?;
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        (Value::List(a), Value::List(b)) => super::containers::join(context, a, b),
        (Value::Timestamp(t), Value::Duration(d)) | (Value::Duration(d), Value::Timestamp(t)) => {
            timestamp(t.shifted(*d))
        }
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_add(*b)),
        _ => Err(NO_OVERLOAD),
    }
}

fn subtract<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [a, b] = args else { return Err(NO_OVERLOAD) };
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_sub(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_sub(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => duration(i64::try_from(a.nanoseconds() - b.nanoseconds()).ok()),
        (Value::Timestamp(t), Value::Duration(d)) => timestamp(d.checked_neg().and_then(|d| t.shifted(d))),
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_sub(*b)),
        _ => Err(NO_OVERLOAD),
    }
}

fn multiply<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_mul(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_mul(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => Err(NO_OVERLOAD),
    }
}

fn divide<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => fail("division by zero"),
        [Value::Int(a), Value::Int(b)] => int(a.checked_div(*b)),
        [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(a / b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => Err(NO_OVERLOAD),
    }
}

fn modulo<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => fail("modulus by zero"),
        [Value::Int(a), Value::Int(b)] => int(a.checked_rem(*b)),
        [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(a % b)),
        _ => Err(NO_OVERLOAD),
    }
}

fn negate<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Int(a)] => int(a.checked_neg()),
        [Value::Double(a)] => Ok(Value::Double(-a)),
        _ => Err(NO_OVERLOAD),
    }
}

fn not<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Bool(b)] => Ok(Value::Bool(!b)),
        _ => Err(NO_OVERLOAD),
    }
}
