//! Bounds of single values: numbers, lengths, patterns, formats, choices.

use std::collections::HashSet;

use super::{At, Walk, formats, number};
use crate::Value;
use crate::custom::schema::{Bounds, Schema};
use crate::field::Error;

pub(super) fn check(walk: &mut Walk, at: &At<'_>, schema: &Schema, value: &Value) {
    let bounds = &schema.bounds;
    if !bounds.choices.allow(value) {
        choices(walk, at, bounds, value);
    }
    match value {
        Value::Number(number) => {
            if !formats::number_fits(schema.ty, &bounds.format, number) {
                walk.out_of_range(at, schema.ty.name(), &bounds.format);
            }
            numbers(walk, at, bounds, value);
        }
        Value::String(text) => texts(walk, at, bounds, text),
        Value::Array(list) => items(walk, at, bounds, list),
        Value::Object(map) => properties(walk, at, bounds, map.len()),
        _ => {}
    }
}

/// In the order in which the schema lists them, as upstream.
fn choices(walk: &mut Walk, at: &At<'_>, bounds: &Bounds, value: &Value) {
    let shown = |choice: &Value| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned);
    walk.push(|| {
        let names: Vec<String> = bounds.choices.listed.iter().map(shown).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Error::not_listed_as(&at.path(), &value.to_string(), &names)
    });
}

fn numbers(walk: &mut Walk, at: &At<'_>, bounds: &Bounds, value: &Value) {
    let Some(n) = value.as_f64() else { return };
    if let Some(factor) = bounds.multiple_of.filter(|factor| *factor > 0.0)
        && ((n / factor).round() * factor - n).abs() > f64::EPSILON * n.abs().max(1.0)
    {
        walk.invalid(at, value.clone(), &format!("should be a multiple of {}", number::shown(factor)));
    }
    if let Some((min, excluded)) = bounds.minimum
        && (n < min || (excluded && n <= min))
    {
        let than = if excluded { "greater than" } else { "greater than or equal to" };
        walk.invalid(at, value.clone(), &format!("should be {than} {}", number::shown(min)));
    }
    if let Some((max, excluded)) = bounds.maximum
        && (n > max || (excluded && n >= max))
    {
        let than = if excluded { "less than" } else { "less than or equal to" };
        walk.invalid(at, value.clone(), &format!("should be {than} {}", number::shown(max)));
    }
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

/// Of length and pattern, upstream tells the first that is wrong.
fn texts(walk: &mut Walk, at: &At<'_>, bounds: &Bounds, text: &str) {
    if let Some(max) = bounds.max_length.filter(|max| count(text) > *max) {
        walk.push(|| Error::too_long(&at.path(), usize::try_from(max).unwrap_or(0)));
    } else if let Some(min) = bounds.min_length.filter(|min| count(text) < *min) {
        walk.invalid(at, text, &format!("should be at least {min} chars long"));
    } else if let Some(pattern) = &bounds.pattern
        && !pattern.regex().is_ok_and(|regex| regex.is_match(text))
    {
        walk.invalid(at, text, &format!("should match '{}'", pattern.source));
    }
    if !formats::fits(&bounds.format, text) {
        walk.push(|| {
            let why = format!("{} must be of type {}: {text:?}", at.subject(), bounds.format);
            Error::type_invalid(&at.path(), text, &why)
        });
    }
}

fn items(walk: &mut Walk, at: &At<'_>, bounds: &Bounds, list: &[Value]) {
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    if let Some(max) = bounds.max_items.filter(|max| length > *max) {
        walk.push(|| Error::too_many(&at.path(), list.len(), usize::try_from(max).unwrap_or(0)));
    }
    if let Some(min) = bounds.min_items.filter(|min| length < *min) {
        walk.invalid(at, length, &format!("should have at least {min} items"));
    }
    let mut seen = HashSet::new();
    if bounds.unique_items && !list.iter().all(|item| seen.insert(item)) {
        walk.invalid(at, "", "shouldn't contain duplicates");
    }
}

fn properties(walk: &mut Walk, at: &At<'_>, bounds: &Bounds, length: usize) {
    let counted = i64::try_from(length).unwrap_or(i64::MAX);
    if let Some(max) = bounds.max_properties.filter(|max| counted > *max) {
        walk.push(|| Error::too_many(&at.path(), length, usize::try_from(max).unwrap_or(0)));
    }
    if let Some(min) = bounds.min_properties.filter(|min| counted < *min) {
        walk.invalid(at, min, &format!("should have at least {min} properties"));
    }
}
