//! `'%s has %d'.format([a, b])`.

use super::convert::{show, show_double};
use super::strings::made;
use super::{NO_OVERLOAD, Result, fail};
use crate::error::EvalError;
use crate::eval::Context;
use crate::limits::MAX_PRECISION;
use crate::registry::{Entry, entry};
use crate::value::{Key, List, Map, Value};
use gantry_api::go::quoted;

pub(super) const ENTRIES: &[Entry] = &[entry("format", format, &["string.(list<dyn>) string"])];

/// Nested lists and maps are shown to this depth.
const MAX_NESTING: u8 = 64;

/// Digits after the point where a pattern does not tell.
const PLACES: usize = 6;

/// What a pattern consists of.
pub(crate) enum Part<'p> {
    /// Stands for itself.
    Text(&'p str),
    /// Stands for an argument, by its place.
    Clause { letter: char, precision: Option<usize>, argument: usize },
}

/// The parts of a pattern with so many arguments, up to the first mistake.
pub(crate) fn parts(pattern: &str, arguments: usize) -> impl Iterator<Item = Result<Part<'_>>> {
    let mut rest = pattern;
    let mut next = 0;
    std::iter::from_fn(move || {
        let Some(text) = rest.strip_prefix('%') else {
            let (text, after) = rest.split_at(rest.find('%').unwrap_or(rest.len()));
            rest = after;
            return (!text.is_empty()).then_some(Ok(Part::Text(text)));
        };
        if let Some(after) = text.strip_prefix('%') {
            rest = after;
            return Some(Ok(Part::Text("%")));
        }
        let argument = next;
        next += 1;
        if argument >= arguments {
            return Some(fail(format!("index {argument} out of range")));
        }
        Some(clause(text).map(|(precision, letter, after)| {
            rest = after;
            Part::Clause { letter, precision, argument }
        }))
    })
}

fn format<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(pattern), Value::List(values)] = args else { return Err(NO_OVERLOAD) };
    let mut out = String::new();
    for part in parts(pattern, values.len()) {
        match part? {
            Part::Text(text) => out.push_str(text),
            Part::Clause { letter, precision, argument } => {
                let value = values.get(argument).unwrap_or(Err(NO_OVERLOAD))?;
                let piece = piece(context, letter, precision, &value)?;
                context.budget.allocate(piece.len() as u64)?;
                out.push_str(&piece);
            }
        }
    }
    made(context, out)
}

/// What follows a percent sign: perhaps a precision (`.3`), and a letter.
fn clause(text: &str) -> Result<(Option<usize>, char, &str)> {
    let Some(first) = text.chars().next() else { return fail("unexpected end of string") };
    let bad = |what: String| fail(format!("could not parse formatting clause: {what}"));
    let (precision, after) = match text.strip_prefix('.') {
        None => (None, text),
        Some(after) => {
            let Some(end) = after.find(|c: char| !c.is_ascii_digit()) else {
                return bad("error while parsing precision: could not find end of precision specifier".to_owned());
            };
            let digits = &after[..end];
            let problem = match digits.parse::<usize>() {
                Ok(n) if n <= MAX_PRECISION => None,
                Err(_) if digits.is_empty() => Some("invalid syntax"),
                _ => Some("value out of range"),
            };
            if let Some(problem) = problem {
                return bad(format!(
                    "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing {}: {problem}",
                    quoted(digits)
                ));
            }
            (digits.parse().ok(), &after[end..])
        }
    };
    let letter = after.chars().next().unwrap_or(first);
    if !"sdfeboxX".contains(letter) {
        return bad(format!("unrecognized formatting clause \"{letter}\""));
    }
    Ok((precision, letter, &after[letter.len_utf8()..]))
}

fn piece<'a>(
    context: &mut Context<'_, 'a>,
    letter: char,
    precision: Option<usize>,
    value: &Value<'a>,
) -> Result<String> {
    Ok(match (letter, value) {
        ('s', _) => return text(context, value, MAX_NESTING),
        ('d', Value::Int(_) | Value::Uint(_)) => show(value),
        ('f', Value::Double(_) | Value::String(_)) => match double(value) {
            Some(n) => fixed(n, precision.unwrap_or(PLACES)),
            None => return wrong(letter, value),
        },
        ('e', Value::Double(_) | Value::String(_)) => match double(value) {
            Some(n) => format!("{:>1$}", scientific(n), precision.unwrap_or(PLACES)),
            None => return wrong(letter, value),
        },
        ('b', Value::Int(n)) => signed(*n, |n| format!("{n:b}")),
        ('b', Value::Uint(n)) => format!("{n:b}"),
        ('b', Value::Bool(b)) => u8::from(*b).to_string(),
        ('o', Value::Int(n)) => signed(*n, |n| format!("{n:o}")),
        ('o', Value::Uint(n)) => format!("{n:o}"),
        ('x', _) => return hexadecimal(context, letter, value),
        ('X', _) => return Ok(hexadecimal(context, letter, value)?.to_ascii_uppercase()),
        _ => return wrong(letter, value),
    })
}

fn wrong<T>(letter: char, value: &Value<'_>) -> Result<T> {
    fail(refusal(letter, value.type_name()))
}

/// What is said of an argument that a clause does not show.
pub(crate) fn refusal(letter: char, given: &str) -> String {
    let rule = match letter {
        'd' => "decimal clause can only be used on integers",
        'f' => "fixed-point clause can only be used on doubles",
        'e' => "scientific clause can only be used on doubles",
        'b' => "only integers and bools can be formatted as binary",
        'o' => "octal clause can only be used on integers",
        'x' | 'X' => "only integers, byte buffers, and strings can be formatted as hex",
        _ => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
        }
    };
    format!("error during formatting: {rule}, was given {given}")
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

/// What has no digits, as it is written in American English, of which upstream's library makes use.
fn special(n: f64) -> Option<String> {
    let name = if n.is_nan() { "NaN" } else { "\u{221e}" };
    (!n.is_finite()).then(|| format!("{}{name}", sign(n)))
}

fn sign(n: f64) -> &'static str {
    if n < 0.0 { "-" } else { "" }
}

/// `1,234.50`.
fn fixed(n: f64, places: usize) -> String {
    if let Some(special) = special(n) {
        return special;
    }
    let text = format!("{:.places$}", n.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = sign(n).to_owned();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

/// `1.234500 × 10⁰³`. Upstream takes the precision of a clause for the least width, and always shows six digits.
fn scientific(n: f64) -> String {
    if let Some(special) = special(n) {
        return special;
    }
    let text = format!("{:.PLACES$e}", n.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (minus, exponent) = exponent.strip_prefix('-').map_or(("", exponent), |e| ("\u{207b}", e));
    let raised: String = format!("{exponent:0>2}")
        .bytes()
        .map(|digit| ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][usize::from(digit - b'0')])
        .collect();
    format!("{}{digits}\u{202f}\u{d7}\u{202f}10{minus}{raised}", sign(n))
}

fn signed(n: i64, show: fn(u64) -> String) -> String {
    let digits = show(n.unsigned_abs());
    if n < 0 { format!("-{digits}") } else { digits }
}

fn hexadecimal<'a>(context: &mut Context<'_, 'a>, letter: char, value: &Value<'a>) -> Result<String> {
    let mut bytes = |bytes: &[u8]| {
        context.budget.allocate(2 * bytes.len() as u64)?;
        Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
    };
    match value {
        Value::Int(n) => Ok(signed(*n, |n| format!("{n:x}"))),
        Value::Uint(n) => Ok(format!("{n:x}")),
        Value::String(text) => bytes(text.as_bytes()),
        Value::Bytes(content) => bytes(content),
        other => wrong(letter, other),
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
        Value::Double(n) => show_double(*n),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::String(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_) => show(value),
        other => return wrong('s', other),
    })
}

/// A value within a list or map, as its literal.
fn literal<'a>(context: &mut Context<'_, 'a>, value: &Value<'a>, left: u8) -> Result<String> {
    let left = left.checked_sub(1).ok_or_else(|| EvalError::new("the value is nested too deeply to be formatted"))?;
    let plain = text(context, value, left)?;
    Ok(match value {
        Value::String(_) => quoted(&plain),
        Value::Bytes(_) => format!("b{}", quoted(&plain)),
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
