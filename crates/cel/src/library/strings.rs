//! Text. Positions are code points.

use super::{NO_OVERLOAD, Result, fail};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::{List, Text, Value};

pub(super) const ENTRIES: &[Entry] = &[
    entry("contains", |_, a| test(a, |s, t| s.contains(t)), &["string.(string) bool"]),
    entry("startsWith", |_, a| test(a, |s, t| s.starts_with(t)), &["string.(string) bool"]),
    entry("endsWith", |_, a| test(a, |s, t| s.ends_with(t)), &["string.(string) bool"]),
    entry("charAt", char_at, &["string.(int) string"]),
    entry("indexOf", index_of, &["string.(string) int", "string.(string, int) int"]),
    entry("lastIndexOf", last_index_of, &["string.(string) int", "string.(string, int) int"]),
    entry("lowerAscii", |c, a| map(c, a, str::to_ascii_lowercase), &["string.() string"]),
    entry("upperAscii", |c, a| map(c, a, str::to_ascii_uppercase), &["string.() string"]),
    entry("trim", |c, a| map(c, a, |s| s.trim().to_owned()), &["string.() string"]),
    entry("replace", replace, &["string.(string, string) string", "string.(string, string, int) string"]),
    entry("split", split, &["string.(string) list<string>", "string.(string, int) list<string>"]),
    entry("join", join, &["list<string>.() string", "list<string>.(string) string"]),
    entry("substring", substring, &["string.(int) string", "string.(int, int) string"]),
    entry("strings.quote", quote, &["(string) string"]),
];

/// Text of one's own, paid for.
pub(super) fn made<'a>(context: &mut Context<'_, 'a>, text: String) -> Result<Value<'a>> {
    context.budget.allocate(text.len() as u64)?;
    Ok(Value::String(Text::from(text)))
}

fn test<'a>(args: &[Value<'a>], holds: fn(&str, &str) -> bool) -> Result<Value<'a>> {
    match args {
        [Value::String(a), Value::String(b)] => Ok(Value::Bool(holds(a, b))),
        _ => Err(NO_OVERLOAD),
    }
}

fn map<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>], change: fn(&str) -> String) -> Result<Value<'a>> {
    match args {
        [Value::String(text)] => made(context, change(text)),
        _ => Err(NO_OVERLOAD),
    }
}

/// The byte offset of a code point; that of the end for the one behind the last.
fn offset(text: &str, at: i64) -> Option<usize> {
    let at = usize::try_from(at).ok()?;
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(at)
}

fn out_of_range<T>(at: i64) -> Result<T> {
    fail(format!("index out of range: {at}"))
}

fn char_at<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text), Value::Int(at)] = args else { return Err(NO_OVERLOAD) };
    match offset(text, *at) {
        Some(byte) => made(context, text[byte..].chars().take(1).collect()),
        None => out_of_range(*at),
    }
}

fn index_of<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (text, sought, from) = match args {
        [Value::String(text), Value::String(sought)] => (text, sought, 0),
        [Value::String(text), Value::String(sought), Value::Int(from)] => (text, sought, *from),
        _ => return Err(NO_OVERLOAD),
    };
    if sought.is_empty() {
        return Ok(Value::Int(from));
    }
    if from < 0 {
        return out_of_range(from);
    }
    let Some(start) = offset(text, from) else { return Ok(Value::Int(-1)) };
    let found = text[start..].find(&**sought).map(|byte| from + text[start..start + byte].chars().count() as i64);
    Ok(Value::Int(found.unwrap_or(-1)))
}

fn last_index_of<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (text, sought, from) = match args {
        [Value::String(text), Value::String(sought)] => (text, sought, None),
        [Value::String(text), Value::String(sought), Value::Int(from)] => (text, sought, Some(*from)),
        _ => return Err(NO_OVERLOAD),
    };
    if sought.is_empty() {
        return Ok(Value::Int(from.unwrap_or_else(|| text.chars().count() as i64)));
    }
    let end = match from {
        None => text.len(),
        Some(from) if from < 0 => return out_of_range(from),
        Some(from) => match offset(text, from).filter(|start| *start < text.len()) {
            Some(start) => (start + sought.len()).min(text.len()),
            None => return Ok(Value::Int(-1)),
        },
    };
    // The match may start at `from` at the latest; its end may fall within a code point.
    let end = (end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let mut found = text[..end].rfind(&**sought);
    if let (Some(from), Some(byte)) = (from, found)
        && text[..byte].chars().count() as i64 > from
    {
        found = text[..byte].rfind(&**sought);
    }
    Ok(Value::Int(found.map_or(-1, |byte| text[..byte].chars().count() as i64)))
}

fn replace<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (text, from, to, limit) = match args {
        [Value::String(text), Value::String(from), Value::String(to)] => (text, from, to, -1),
        [Value::String(text), Value::String(from), Value::String(to), Value::Int(limit)] => (text, from, to, *limit),
        _ => return Err(NO_OVERLOAD),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Asked for before it is made: replacing nothing by much grows without bound.
    let count = (if from.is_empty() { text.len() + 1 } else { text.len() / from.len() }).min(limit);
    context.budget.allocate((count as u64).saturating_mul(to.len() as u64) + text.len() as u64)?;
    Ok(Value::String(Text::from(text.replacen(&**from, to, limit))))
}

fn split<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (text, separator, limit) = match args {
        [Value::String(text), Value::String(separator)] => (text, separator, -1),
        [Value::String(text), Value::String(separator), Value::Int(limit)] => (text, separator, *limit),
        _ => return Err(NO_OVERLOAD),
    };
    if limit == 0 {
        return Ok(Value::list(Vec::new()));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let most = (if separator.is_empty() { text.len() } else { text.len() / separator.len() + 1 }).min(limit);
    context.budget.allocate((most * (size_of::<Value<'_>>() + 24) + text.len()) as u64)?;
    let parts: Vec<&str> =
        if separator.is_empty() { characters(text, limit) } else { text.splitn(limit, &**separator).collect() };
    Ok(Value::list(parts.into_iter().map(Value::text).collect()))
}

/// Single characters; the last part is all that is left.
fn characters(text: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if parts.len() + 1 == limit {
            parts.push(rest);
            break;
        }
        let (part, after) = rest.split_at(first.len_utf8());
        parts.push(part);
        rest = after;
    }
    parts
}

fn join<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (list, separator): (&List<'a>, &str) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(separator)] => (list, separator),
        _ => return Err(NO_OVERLOAD),
    };
    let mut text = String::new();
    for (at, part) in list.iter().enumerate() {
        let Value::String(part) = part? else { return Err(NO_OVERLOAD) };
        if at > 0 {
            text.push_str(separator);
        }
        context.budget.allocate((part.len() + separator.len()) as u64)?;
        text.push_str(&part);
    }
    Ok(Value::String(Text::from(text)))
}

fn substring<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (text, from, to) = match args {
        [Value::String(text), Value::Int(from)] => (text, *from, None),
        [Value::String(text), Value::Int(from), Value::Int(to)] => (text, *from, Some(*to)),
        _ => return Err(NO_OVERLOAD),
    };
    if let Some(to) = to.filter(|to| from > *to) {
        return fail(format!("invalid substring range. start: {from}, end: {to}"));
    }
    let Some(start) = offset(text, from) else { return out_of_range(from) };
    let end = match to {
        None => text.len(),
        Some(to) => match offset(text, to) {
            Some(end) => end,
            None => return out_of_range(to),
        },
    };
    made(context, text[start..end].to_owned())
}

fn quote<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out.push('"');
    made(context, out)
}
