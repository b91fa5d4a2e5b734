//! `'%s has %d'.format([a, b])`.

use super::convert::{show, show_double};
use super::strings::made;
use super::{NO_OVERLOAD, Result, fail};
use crate::error::EvalError;
use crate::eval::Context;
use crate::limits::MAX_PRECISION;
use crate::registry::{Entry, entry};
use crate::value::{Key, List, Map, Value};

pub(super) const ENTRIES: &[Entry] = &[entry("format", format, &["string.(list<dyn>) string"])];

/// Nested lists and maps are shown to this depth.
const MAX_NESTING: u8 = 64;

fn format<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(pattern), Value::List(values)] = args else { return Err(NO_OVERLOAD) };
    let mut out = String::new();
    let mut next = 0;
    let mut rest: &str = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (precision, after) = precision(rest)?;
        let Some(clause) = after.chars().next() else { return fail("unexpected end of string") };
        rest = &after[clause.len_utf8()..];
        let value = argument(values, next)?;
        next += 1;
        let piece = piece(context, clause, precision, &value)?;
        context.budget.allocate(piece.len() as u64)?;
        out.push_str(&piece);
    }
    out.push_str(rest);
    made(context, out)
}

fn argument<'a>(values: &List<'a>, at: usize) -> Result<Value<'a>> {
    values.get(at).unwrap_or_else(|| fail(format!("index {at} out of range")))
}

/// `.3` before a clause.
fn precision(text: &str) -> Result<(Option<usize>, &str)> {
    let Some(after) = text.strip_prefix('.') else { return Ok((None, text)) };
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    if end == after.len() {
        return fail("could not find end of precision specifier");
    }
    let digits = &after[..end];
    match digits.parse::<usize>() {
        Ok(n) if n <= MAX_PRECISION => Ok((Some(n), &after[end..])),
        _ => fail(format!("error while converting precision to integer: {digits}")),
    }
}

fn piece<'a>(
    context: &mut Context<'_, 'a>,
    clause: char,
    precision: Option<usize>,
    value: &Value<'a>,
) -> Result<String> {
    let places = precision.unwrap_or(6);
    match clause {
        's' => text(context, value, MAX_NESTING),
        'd' => match value {
            Value::Int(_) | Value::Uint(_) => Ok(show(value)),
            other => wrong("integers", "decimal clause", other),
        },
        'f' | 'e' => match double(value) {
            Some(n) if n.is_finite() => Ok(if clause == 'f' { format!("{n:.places$}") } else { scientific(n, places) }),
            Some(n) if n.is_nan() => Ok("NaN".to_owned()),
            Some(n) => Ok(if n > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }),
            None if clause == 'f' => wrong("doubles", "fixed-point clause", value),
            None => wrong("doubles", "scientific clause", value),
        },
        'b' => match value {
            Value::Int(n) => Ok(signed(*n, |n| format!("{n:b}"))),
            Value::Uint(n) => Ok(format!("{n:b}")),
            Value::Bool(b) => Ok(u8::from(*b).to_string()),
            other => wrong("integers and bools", "binary clause", other),
        },
        'o' => match value {
            Value::Int(n) => Ok(signed(*n, |n| format!("{n:o}"))),
            Value::Uint(n) => Ok(format!("{n:o}")),
            other => wrong("integers", "octal clause", other),
        },
        'x' | 'X' => hexadecimal(context, value).map(|t| if clause == 'X' { t.to_ascii_uppercase() } else { t }),
        other => fail(format!("could not parse formatting clause: unrecognized formatting clause \"{other}\"")),
    }
}

fn wrong<T>(what: &str, clause: &str, value: &Value<'_>) -> Result<T> {
    fail(format!("error during formatting: {clause} can only be used on {what}, was given {}", value.type_name()))
}

fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(n) => Some(*n),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// An exponent has a sign and at least two digits.
fn scientific(n: f64, places: usize) -> String {
    let text = format!("{n:.places$e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

fn signed(n: i64, show: fn(u64) -> String) -> String {
    let digits = show(n.unsigned_abs());
    if n < 0 { format!("-{digits}") } else { digits }
}

fn hexadecimal<'a>(context: &mut Context<'_, 'a>, value: &Value<'a>) -> Result<String> {
    let mut bytes = |bytes: &[u8]| {
        context.budget.allocate(2 * bytes.len() as u64)?;
        Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
    };
    match value {
        Value::Int(n) => Ok(signed(*n, |n| format!("{n:x}"))),
        Value::Uint(n) => Ok(format!("{n:x}")),
        Value::String(text) => bytes(text.as_bytes()),
        Value::Bytes(content) => bytes(content),
        other => wrong("integers, byte buffers, and strings", "hex clause", other),
    }
}

fn text<'a>(context: &mut Context<'_, 'a>, value: &Value<'a>, left: u8) -> Result<String> {
    Ok(match value {
        Value::List(list) => list_text(context, list, left)?,
        Value::Map(map) => map_text(context, map, left)?,
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return fail("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Value::Double(n) if n.is_infinite() => if *n > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        Value::Double(n) => show_double(*n),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::String(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_) => show(value),
        other => {
            return wrong(
                "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
                "string clause",
                other,
            );
        }
    })
}

/// A value within a list or map, as its literal.
fn literal<'a>(context: &mut Context<'_, 'a>, value: &Value<'a>, left: u8) -> Result<String> {
    let left = left.checked_sub(1).ok_or_else(|| EvalError::new("the value is nested too deeply to be formatted"))?;
    let plain = text(context, value, left)?;
    Ok(match value {
        Value::String(_) => format!("{plain:?}"),
        Value::Bytes(_) => format!("b{plain:?}"),
        Value::Timestamp(_) => format!("timestamp(\"{plain}\")"),
        Value::Duration(_) => format!("duration(\"{plain}\")"),
        Value::Double(n) if !n.is_finite() => format!("\"{plain}\""),
        Value::Double(n) => format!("{n:.6}"),
        _ => plain,
    })
}

fn list_text<'a>(context: &mut Context<'_, 'a>, list: &List<'a>, left: u8) -> Result<String> {
    let mut parts = Vec::new();
    for value in list.iter() {
        let part = literal(context, &value?, left)?;
        context.budget.allocate(part.len() as u64 + 2)?;
        parts.push(part);
    }
    Ok(format!("[{}]", parts.join(", ")))
}

fn map_text<'a>(context: &mut Context<'_, 'a>, map: &Map<'a>, left: u8) -> Result<String> {
    let mut parts = Vec::new();
    for key in map.keys() {
        let value = Key::of(&key).and_then(|k| map.get(&k)).unwrap_or(Err(NO_OVERLOAD))?;
        let part = format!("{}:{}", literal(context, &key, left)?, literal(context, &value, left)?);
        context.budget.allocate(part.len() as u64 + 2)?;
        parts.push(part);
    }
    parts.sort();
    Ok(format!("{{{}}}", parts.join(", ")))
}
