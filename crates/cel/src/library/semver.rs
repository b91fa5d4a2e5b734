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
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => Ok(strict(text)),
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
    strict(&parts.join("."))
}

/// Reads what semver.org allows.
fn strict(text: &str) -> std::result::Result<Version, String> {
    Version::parse(text).map_err(|_| fault(text))
}

/// What is wrong with a version, in the words of the library that upstream reads them with.
fn fault(text: &str) -> String {
    if text.is_empty() {
        return "Version string empty".to_owned();
    }
    let mut parts = text.splitn(3, '.');
    let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return "No Major.Minor.Patch elements found".to_owned();
    };
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (patch, pre) = rest.split_once('-').map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
    let numbers = [("Major", major), ("Minor", minor), ("Patch", patch)];
    let number = numbers.into_iter().find_map(|(name, text)| number_fault(name, text));
    let identifiers =
        |list: Option<&str>, code: fn(&str) -> Option<String>| list.and_then(|list| list.split('.').find_map(code));
    number.or_else(|| identifiers(pre, pre_fault)).or_else(|| identifiers(build, build_fault)).unwrap_or_default()
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn has_zeros(number: &str) -> bool {
    number.len() > 1 && number.starts_with('0')
}

fn is_identifier(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Why Go's `strconv.ParseUint` does not read these digits.
fn no_number(text: &str) -> Option<String> {
    let why = if text.is_empty() { "invalid syntax" } else { "value out of range" };
    text.parse::<u64>().is_err().then(|| format!("strconv.ParseUint: parsing {text:?}: {why}"))
}

fn number_fault(name: &str, text: &str) -> Option<String> {
    if !is_number(text) {
        return Some(format!("Invalid character(s) found in {} number {text:?}", name.to_lowercase()));
    }
    if has_zeros(text) {
        return Some(format!("{name} number must not contain leading zeroes {text:?}"));
    }
    no_number(text)
}

fn pre_fault(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("Prerelease is empty".to_owned());
    }
    if is_number(text) {
        let zeros = || format!("Numeric PreRelease version must not contain leading zeroes {text:?}");
        return if has_zeros(text) { Some(zeros()) } else { no_number(text) };
    }
    (!is_identifier(text)).then(|| format!("Invalid character(s) found in prerelease {text:?}"))
}

fn build_fault(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("Build meta data is empty".to_owned());
    }
    (!is_identifier(text)).then(|| format!("Invalid character(s) found in build meta data {text:?}"))
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
