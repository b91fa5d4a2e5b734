//! Conversions between types.

use super::{NO_OVERLOAD, Result, fail, time};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::{Moment, Value};

pub(super) const ENTRIES: &[Entry] = &[
    entry("bool", to_bool, &["(bool) bool", "(string) bool"]),
    entry(
        "int",
        to_int,
        &["(int) int", "(uint) int", "(double) int", "(string) int", "(timestamp) int", "(duration) int"],
    ),
    entry("uint", to_uint, &["(uint) uint", "(int) uint", "(double) uint", "(string) uint"]),
    entry("double", to_double, &["(double) double", "(int) double", "(uint) double", "(string) double"]),
    entry(
        "string",
        to_string,
        &[
            "(string) string",
            "(bool) string",
            "(int) string",
            "(uint) string",
            "(double) string",
            "(bytes) string",
            "(timestamp) string",
            "(duration) string",
        ],
    ),
    entry("bytes", to_bytes, &["(bytes) bytes", "(string) bytes"]),
    entry("timestamp", to_timestamp, &["(timestamp) timestamp", "(string) timestamp", "(int) timestamp"]),
    entry("duration", to_duration, &["(duration) duration", "(string) duration", "(int) duration"]),
    entry("dyn", |_, a| a.first().cloned().ok_or(NO_OVERLOAD), &["(A) dyn"]),
    entry("type", type_of, &["(A) type<A>"]),
];

fn mismatch<T>(from: &str, to: &str) -> Result<T> {
    fail(format!("type conversion error from '{from}' to '{to}'"))
}

fn to_bool<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Bool(b)] => Ok(Value::Bool(*b)),
        [Value::String(text)] => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => mismatch("string", "bool"),
        },
        _ => Err(NO_OVERLOAD),
    }
}

fn to_int<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let number = match args {
        [Value::Int(n)] => Some(*n),
        [Value::Uint(n)] => i64::try_from(*n).ok(),
        // The limits themselves are not exact as doubles.
        [Value::Double(n)] => (*n > -(2f64.powi(63)) && *n < 2f64.powi(63)).then_some(*n as i64),
        [Value::String(text)] => match text.parse() {
            Ok(n) => Some(n),
            Err(_) => return mismatch("string", "int"),
        },
        [Value::Timestamp(t)] => Some(t.seconds()),
        [Value::Duration(d)] => Some(*d),
        _ => return Err(NO_OVERLOAD),
    };
    number.map_or_else(|| fail("integer overflow"), |n| Ok(Value::Int(n)))
}

fn to_uint<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let number = match args {
        [Value::Uint(n)] => Some(*n),
        [Value::Int(n)] => u64::try_from(*n).ok(),
        [Value::Double(n)] => (*n >= 0.0 && *n < 2f64.powi(64)).then_some(*n as u64),
        [Value::String(text)] => match text.parse() {
            Ok(n) if !text.starts_with('+') => Some(n),
            _ => return mismatch("string", "uint"),
        },
        _ => return Err(NO_OVERLOAD),
    };
    number.map_or_else(|| fail("unsigned integer overflow"), |n| Ok(Value::Uint(n)))
}

fn to_double<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Double(n)] => Ok(Value::Double(*n)),
        [Value::Int(n)] => Ok(Value::Double(*n as f64)),
        [Value::Uint(n)] => Ok(Value::Double(*n as f64)),
        [Value::String(text)] => match text.parse::<f64>() {
            // What is too large to be held is an error, unless infinity was meant.
            Ok(n) if n.is_finite() || !text.contains(|c: char| c.is_ascii_digit()) => Ok(Value::Double(n)),
            _ => mismatch("string", "double"),
        },
        _ => Err(NO_OVERLOAD),
    }
}

fn to_string<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let text = match args {
        [Value::String(text)] => return Ok(Value::String(text.clone())),
        [Value::Bytes(bytes)] => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return fail("invalid UTF-8 in bytes, cannot convert to string"),
        },
        [scalar @ (Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_))]
        | [scalar @ (Value::Timestamp(_) | Value::Duration(_))] => show(scalar),
        _ => return Err(NO_OVERLOAD),
    };
    Ok(Value::String(text.into()))
}

/// A scalar as `string()` and messages show it.
pub(super) fn show(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(n) => show_double(*n),
        Value::String(text) => text.to_string(),
        Value::Timestamp(t) => time::show_timestamp(*t),
        Value::Duration(d) => time::show_duration(*d),
        Value::Type(name) => name.to_string(),
        Value::Opaque(opaque) => opaque.to_string(),
        other => other.type_name().to_owned(),
    }
}

/// A number as Go's `%g` shows it: the shortest digits, with an exponent below -4 and from 6 on.
pub(super) fn show_double(n: f64) -> String {
    if n.is_nan() {
        return "NaN".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let scientific = format!("{n:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{n}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn to_bytes<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Bytes(bytes)] => Ok(Value::Bytes(bytes.clone())),
        [Value::String(text)] => {
            context.budget.allocate(text.len() as u64)?;
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        _ => Err(NO_OVERLOAD),
    }
}

fn to_timestamp<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Timestamp(t)] => Ok(Value::Timestamp(*t)),
        [Value::String(text)] => match time::parse_timestamp(text) {
            Some(t) => Ok(Value::Timestamp(t)),
            None => mismatch("string", "google.protobuf.Timestamp"),
        },
        [Value::Int(seconds)] => match Moment::from_seconds(*seconds) {
            Some(t) => Ok(Value::Timestamp(t)),
            None => fail("timestamp overflow"),
        },
        _ => Err(NO_OVERLOAD),
    }
}

fn to_duration<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [Value::Duration(d) | Value::Int(d)] => Ok(Value::Duration(*d)),
        [Value::String(text)] => match time::parse_duration(text) {
            Some(d) => Ok(Value::Duration(d)),
            None => mismatch("string", "google.protobuf.Duration"),
        },
        _ => Err(NO_OVERLOAD),
    }
}

fn type_of<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match args {
        [value] => Ok(Value::Type(value.type_name().into())),
        _ => Err(NO_OVERLOAD),
    }
}
