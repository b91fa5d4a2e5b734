//! What a call costs when it is made.

use super::{AUTHORISATION, LIST_BASE, REGEX, REQUIREMENT, TRAVERSAL, times};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::library::SORT_BY_KEYS;
use crate::library::opaque::Opaque;
use crate::value::{Map, Value};

/// How the cost of a function depends on its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    One,
    Authorisation,
    Selector,
    /// All of the first argument, with what is in it.
    Deep,
    /// The characters of the first argument so many times.
    Text(u8),
    /// As `Text(1)`, but one where there is neither text nor bytes.
    TextOrOne,
    /// The characters of the result, twice.
    Joined,
    Regex,
    Contains,
    In,
    /// The shorter of both; one for what only functions look into.
    Equal,
    /// The shorter of both.
    Compare,
    /// As `Compare`, but one for other than text and bytes.
    Order,
    Concatenate,
    /// A new list: each of its elements.
    Listed,
    /// A new list: each element of the first argument, for each level of depth.
    Flattened,
    /// A new list: each element of this argument with each.
    Sorted(usize),
    /// Each of one with each of the other, so many times.
    Pairs(u8),
    ContainsIp,
    ContainsCidr,
    Validate,
}

impl Rule {
    pub(crate) fn of(function: &str) -> Self {
        match function {
            "check" => Self::Authorisation,
            "fieldSelector" | "labelSelector" => Self::Selector,
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => Self::Deep,
            "url"
            | "isURL"
            | "lowerAscii"
            | "upperAscii"
            | "substring"
            | "trim"
            | "cidr"
            | "isIP"
            | "isCIDR"
            | "quantity"
            | "isQuantity"
            | "semver"
            | "isSemver"
            | "image"
            | "isImage"
            | "startsWith"
            | "endsWith"
            | "format"
            | "strings.quote"
            | "jsonpatch.escapeKey" => Self::Text(1),
            "replace" | "split" | "ip.isCanonical" => Self::Text(2),
            "string" | "bytes" | "ip" => Self::TextOrOne,
            "join" => Self::Joined,
            "matches" | "find" | "findAll" => Self::Regex,
            "contains" => Self::Contains,
            "@in" => Self::In,
            "_==_" => Self::Equal,
            "_!=_" => Self::Compare,
            "_<_" | "_<=_" | "_>_" | "_>=_" => Self::Order,
            "_+_" => Self::Concatenate,
            "slice" | "lists.range" | "reverse" => Self::Listed,
            "flatten" => Self::Flattened,
            "sort" | "distinct" => Self::Sorted(0),
            SORT_BY_KEYS => Self::Sorted(1),
            "sets.contains" | "sets.intersects" => Self::Pairs(1),
            "sets.equivalent" => Self::Pairs(2),
            "containsIP" => Self::ContainsIp,
            "containsCIDR" => Self::ContainsCidr,
            "validate" => Self::Validate,
            _ => Self::One,
        }
    }
}

fn is_text(value: &Value<'_>) -> bool {
    matches!(value, Value::String(_) | Value::Bytes(_))
}

/// The cost that is known before the call.
pub(crate) fn ahead(rule: Rule, args: &[Value<'_>], budget: &mut Budget) -> Result<u64, EvalError> {
    let size = |at: usize| args.get(at).map_or(0, Value::size);
    let text = args.iter().any(is_text);
    Ok(match rule {
        Rule::One => 1,
        Rule::Authorisation => AUTHORISATION,
        Rule::Selector => selector(size(1)),
        Rule::Equal if matches!(args.first(), Some(Value::Opaque(_) | Value::Authorizer(_))) => 1,
        Rule::Deep => args.first().map_or(Ok(0), |first| deep(first, budget))?,
        Rule::Text(n) => times(size(0), f64::from(n) * TRAVERSAL),
        Rule::TextOrOne if text => times(size(0), TRAVERSAL),
        Rule::Joined | Rule::Listed => 0,
        Rule::Flattened => {
            let depth =
                args.get(1).map_or(1, |depth| if let Value::Int(n) = depth { (*n).max(0).unsigned_abs() } else { 1 });
            list_made(size(0).saturating_mul(depth))
        }
        Rule::Sorted(keys) => {
            let pairs = size(keys).saturating_mul(size(keys));
            let first = match args.get(keys) {
                Some(Value::List(list)) => list.get(0).transpose()?,
                _ => None,
            };
            let factor = if first.is_some_and(|first| is_text(&first)) { 2.0 + TRAVERSAL } else { 2.0 };
            list_made((pairs as f64 * factor) as u64)
        }
        Rule::Regex => times(size(0) + 1, TRAVERSAL).saturating_mul(times(size(1), REGEX)),
        Rule::Contains => times(size(0), TRAVERSAL).saturating_mul(times(size(1), TRAVERSAL)),
        Rule::In if matches!(args.get(1), Some(Value::List(_))) => size(1),
        Rule::Equal | Rule::Compare => times(size(0).min(size(1)), TRAVERSAL),
        Rule::Order if text => times(size(0).min(size(1)), TRAVERSAL),
        Rule::Concatenate if text => times(size(0) + size(1), TRAVERSAL),
        Rule::TextOrOne | Rule::In | Rule::Order | Rule::Concatenate => 1,
        Rule::Pairs(n) => size(0).saturating_mul(size(1)).saturating_mul(u64::from(n)).saturating_add(1),
        Rule::ContainsIp => times(2 * size(0), TRAVERSAL) + if text { times(size(1), TRAVERSAL) } else { 0 },
        Rule::ContainsCidr => {
            let other = if text { times(size(1), TRAVERSAL) } else { 0 };
            times(2 * size(0), TRAVERSAL) + times(size(0), TRAVERSAL) + 1 + other
        }
        Rule::Validate => times(size(1) + 1, TRAVERSAL).saturating_mul(times(regex_length(args), REGEX)),
    })
}

/// Reading a selector of so many characters; at worst every second one is a requirement.
pub(crate) fn selector(length: u64) -> u64 {
    let requirements = times(times(length, 0.5), REQUIREMENT);
    LIST_BASE.saturating_add(times(length, TRAVERSAL)).saturating_add(requirements)
}

/// The cost that is known by the result.
pub(crate) fn behind(rule: Rule, result: &Value<'_>) -> u64 {
    match rule {
        Rule::Joined => times(result.size(), 2.0 * TRAVERSAL),
        Rule::Listed => list_made(result.size()),
        _ => 0,
    }
}

/// A call that makes a list by so much work.
fn list_made(work: u64) -> u64 {
    work.saturating_add(1 + LIST_BASE)
}

fn regex_length(args: &[Value<'_>]) -> u64 {
    match args.first() {
        Some(Value::Opaque(opaque)) => match &**opaque {
            Opaque::Format(format) => format.regex,
            _ => 1,
        },
        _ => 1,
    }
}

/// Everything in a value: one for each scalar, the characters of texts. Each element also counts as visited, which bounds this walk itself.
fn deep(value: &Value<'_>, budget: &mut Budget) -> Result<u64, EvalError> {
    budget.visit(1)?;
    let mut sum: u64 = 0;
    match value {
        Value::String(text) => return Ok((text.len() as f64 * TRAVERSAL) as u64),
        Value::Bytes(bytes) => return Ok((bytes.len() as f64 * TRAVERSAL) as u64),
        Value::List(list) => {
            for element in list.iter() {
                sum = sum.saturating_add(deep(&element?, budget)?);
            }
        }
        Value::Map(map) => {
            for key in map.keys() {
                sum = sum.saturating_add(deep(&key, budget)?);
                sum = sum.saturating_add(entry(map, &key, budget)?);
            }
        }
        Value::Object(object) => {
            for (name, value) in object.entries() {
                sum = sum.saturating_add((name.len() as f64 * TRAVERSAL) as u64);
                sum = sum.saturating_add(deep(&value?, budget)?);
            }
        }
        _ => return Ok(1),
    }
    Ok(sum)
}

fn entry(map: &Map<'_>, key: &Value<'_>, budget: &mut Budget) -> Result<u64, EvalError> {
    match crate::value::Key::of(key).and_then(|key| map.get(&key)) {
        Some(value) => deep(&value?, budget),
        None => Ok(0),
    }
}
