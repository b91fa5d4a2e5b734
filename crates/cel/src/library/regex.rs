//! Regular expressions.

use std::borrow::Cow;

use gantry_api::regexp;

use super::{NO_OVERLOAD, Result};
use crate::error::EvalError;
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::Value;

pub(super) const ENTRIES: &[Entry] = &[
    entry("matches", matches, &["string.(string) bool", "(string, string) bool"]),
    entry("find", find, &["string.(string) string"]),
    entry("findAll", find_all, &["string.(string) list<string>", "string.(string, int) list<string>"]),
];

/// The expression of this call: compiled ahead, or now.
fn compiled<'a>(context: &Context<'_, 'a>, pattern: &str) -> Result<Cow<'a, regex::Regex>> {
    match context.regex {
        Some(regex) => Ok(Cow::Borrowed(regex)),
        None => regexp::compile(pattern).map(Cow::Owned).map_err(EvalError::new),
    }
}

fn matches<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text), Value::String(pattern)] = args else { return Err(NO_OVERLOAD) };
    Ok(Value::Bool(compiled(context, pattern)?.is_match(text)))
}

fn find<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text), Value::String(pattern)] = args else { return Err(NO_OVERLOAD) };
    let found = compiled(context, pattern)?.find(text).map_or("", |m| m.as_str()).to_owned();
    super::strings::made(context, found)
}

fn find_all<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (text, pattern, limit) = match args {
        [Value::String(text), Value::String(pattern)] => (text, pattern, -1),
        [Value::String(text), Value::String(pattern), Value::Int(limit)] => (text, pattern, *limit),
        _ => return Err(NO_OVERLOAD),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let regex = compiled(context, pattern)?;
    let mut found = Vec::new();
    for part in regex.find_iter(text).take(limit) {
        context.budget.allocate((part.len() + size_of::<Value<'_>>()) as u64)?;
        found.push(Value::text(part.as_str()));
    }
    Ok(Value::list(found))
}
