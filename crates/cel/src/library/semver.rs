//! Semantic versions (semver.org 2.0).

use std::cmp::Ordering;
use std::sync::Arc;

use semver::Version;

use super::opaque::Opaque;
use super::{NO_OVERLOAD, Result, fail};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::Value;

const NUMBER: &[&str] = &["kubernetes.Semver.() int"];
const TEST: &[&str] = &["kubernetes.Semver.(kubernetes.Semver) bool"];

pub(super) const ENTRIES: &[Entry] = &[
    entry("semver", make, &["(string) kubernetes.Semver", "(string, bool) kubernetes.Semver"]),
    entry("isSemver", is_semver, &["(string) bool", "(string, bool) bool"]),
    entry("major", |_, a| number(a, |v| v.major), NUMBER),
    entry("minor", |_, a| number(a, |v| v.minor), NUMBER),
    entry("patch", |_, a| number(a, |v| v.patch), NUMBER),
    entry("isGreaterThan", |_, a| Ok(Value::Bool(compare(a)?.is_gt())), TEST),
    entry("isLessThan", |_, a| Ok(Value::Bool(compare(a)?.is_lt())), TEST),
    entry("compareTo", |_, a| Ok(Value::Int(compare(a)? as i64)), &["kubernetes.Semver.(kubernetes.Semver) int"]),
];

fn parse(args: &[Value<'_>]) -> Result<std::result::Result<Version, String>> {
    match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => {
            Ok(Version::parse(text).map_err(|e| e.to_string()))
        }
        [Value::String(text), Value::Bool(true)] => Ok(normalised(text)),
        _ => Err(NO_OVERLOAD),
    }
}

/// Reads also `v1.2`: without the `v`, with what is missing filled up by zeros and without leading zeros.
fn normalised(text: &str) -> std::result::Result<Version, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 && parts.last().is_some_and(|p| p.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".to_owned());
    }
    parts.resize(3, "0".to_owned());
    Version::parse(&parts.join(".")).map_err(|e| e.to_string())
}

fn without_zeros(part: &str) -> String {
    let rest = part.trim_start_matches('0');
    let digit = rest.starts_with(|c: char| c.is_ascii_digit());
    if part.len() <= 1 || digit { if part.len() <= 1 { part } else { rest }.to_owned() } else { format!("0{rest}") }
}

fn make<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    parse(args)?.map_or_else(fail, |version| Ok(Value::Opaque(Arc::new(Opaque::Semver(version)))))
}

fn is_semver<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::Bool(parse(args)?.is_ok()))
}

fn version<'v>(value: &'v Value<'_>) -> Result<&'v Version> {
    match value {
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Semver(version) => Ok(version),
            _ => Err(NO_OVERLOAD),
        },
        _ => Err(NO_OVERLOAD),
    }
}

fn number<'a>(args: &[Value<'a>], part: fn(&Version) -> u64) -> Result<Value<'a>> {
    match args {
        [value] => Ok(Value::Int(i64::try_from(part(version(value)?)).unwrap_or(i64::MAX))),
        _ => Err(NO_OVERLOAD),
    }
}

/// Build metadata does not count.
fn compare(args: &[Value<'_>]) -> Result<Ordering> {
    match args {
        [a, b] => Ok(version(a)?.cmp_precedence(version(b)?)),
        _ => Err(NO_OVERLOAD),
    }
}
