//! Equality and order. Numbers are compared by value whatever their type; values of different kinds are unequal and have no order.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::{List, Map, Value};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::types::ListKind;

/// Equality of the language. Values too large to be compared within the bounds of one expression are unequal.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other, &mut Budget::one_call()).unwrap_or(false)
    }
}

impl<'a> Value<'a> {
    /// Whether both are equal. Each pair of elements counts against the budget.
    pub(crate) fn equals(&self, other: &Self, budget: &mut Budget) -> Result<bool, EvalError> {
        budget.visit(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) | (Self::Optional(None), Self::Optional(None)) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => **a == **b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Opaque(a), Self::Opaque(b)) => a == b,
            (Self::Optional(Some(a)), Self::Optional(Some(b))) => a.equals(b, budget)?,
            (Self::List(a), Self::List(b)) => lists(a, b, budget)?,
            (Self::Map(a), Self::Map(b)) => maps(a, b, budget)?,
            (Self::Object(_), Self::Object(_)) | (Self::Object(_), Self::Map(_)) | (Self::Map(_), Self::Object(_)) => {
                objects(self, other, budget)?
            }
            (a, b) => a.number_order(b) == Some(Ordering::Equal),
        })
    }

    /// The order of two numbers, whatever their types; `None` for other values and for NaN.
    pub(crate) fn number_order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Double(a), b) => double_order(*a, b.whole()?),
            (a, Self::Double(b)) => double_order(*b, a.whole()?).map(Ordering::reverse),
            (a, b) => Some(a.whole()?.cmp(&b.whole()?)),
        }
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Self::Int(n) => Some(i128::from(*n)),
            Self::Uint(n) => Some(i128::from(*n)),
            _ => None,
        }
    }

    /// The order of two values of one kind.
    ///
    /// # Errors
    /// [`EvalError::NoSuchOverload`] for kinds without order.
    pub(crate) fn order(&self, other: &Self) -> Result<Option<Ordering>, EvalError> {
        Ok(match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::String(a), Self::String(b)) => Some((**a).cmp(&**b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Int(_) | Self::Uint(_) | Self::Double(_), Self::Int(_) | Self::Uint(_) | Self::Double(_)) => {
                self.number_order(other)
            }
            _ => return Err(EvalError::NoSuchOverload),
        })
    }
}

fn double_order(double: f64, whole: i128) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Beyond what 64 bits hold the double decides; within, its whole part is exact.
    if double >= 2f64.powi(64) {
        return Some(Ordering::Greater);
    }
    if double < -(2f64.powi(63)) {
        return Some(Ordering::Less);
    }
    let floor = double.floor();
    let order = (floor as i128).cmp(&whole);
    Some(if order == Ordering::Equal && double > floor { Ordering::Greater } else { order })
}

fn lists<'a>(a: &List<'a>, b: &List<'a>, budget: &mut Budget) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a.kind() {
        ListKind::Atomic => {
            for (x, y) in a.iter().zip(b.iter()) {
                if !x?.equals(&y?, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        ListKind::Set => same_elements(a, b, budget),
        ListKind::Map(keys) => same_entries(a, b, keys, budget),
    }
}

/// Whether each element of one is in the other, in any order.
fn same_elements<'a>(a: &List<'a>, b: &List<'a>, budget: &mut Budget) -> Result<bool, EvalError> {
    let others: Vec<Value<'a>> = b.iter().collect::<Result<_, _>>()?;
    let mut used = vec![false; others.len()];
    'elements: for x in a.iter() {
        let x = x?;
        for (y, used) in others.iter().zip(used.iter_mut()).filter(|(_, used)| !**used) {
            if x.equals(y, budget)? {
                *used = true;
                continue 'elements;
            }
        }
        return Ok(false);
    }
    Ok(true)
}

fn same_entries<'a>(a: &List<'a>, b: &List<'a>, keys: &[String], budget: &mut Budget) -> Result<bool, EvalError> {
    let (List::Json { items: left, element, .. }, List::Json { items: right, .. }) = (a, b) else {
        return same_elements(a, b, budget);
    };
    'entries: for x in *left {
        for y in right.iter() {
            budget.visit(1)?;
            if same_keys(x, y, keys) {
                if Value::from_json(x, element)?.equals(&Value::from_json(y, element)?, budget)? {
                    continue 'entries;
                }
                return Ok(false);
            }
        }
        return Ok(false);
    }
    Ok(true)
}

/// Whether two entries of a list of kind `map` are the same entry.
pub(crate) fn same_keys(a: &Json, b: &Json, keys: &[String]) -> bool {
    keys.iter().all(|key| a.get(key) == b.get(key))
}

fn maps<'a>(a: &Map<'a>, b: &Map<'a>, budget: &mut Budget) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for key in a.keys() {
        let Some(key) = super::Key::of(&key) else { return Ok(false) };
        let (Some(x), Some(y)) = (a.get(&key), b.get(&key)) else { return Ok(false) };
        if !x?.equals(&y?, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Objects, and objects that one side knows only as a map.
fn objects<'a>(a: &Value<'a>, b: &Value<'a>, budget: &mut Budget) -> Result<bool, EvalError> {
    let (left, right) = (entries(a)?, entries(b)?);
    if left.len() != right.len() {
        return Ok(false);
    }
    for (name, x) in left {
        let Some((_, y)) = right.iter().find(|(other, _)| *other == name) else { return Ok(false) };
        budget.visit(right.len() as u64)?;
        if !x.equals(y, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn entries<'a>(value: &Value<'a>) -> Result<Vec<(String, Value<'a>)>, EvalError> {
    match value {
        Value::Object(object) => object.entries().into_iter().map(|(n, v)| Ok((n, v?))).collect(),
        Value::Map(map) => {
            let mut out = Vec::new();
            for key in map.keys() {
                let Some(name) = key.as_str() else { continue };
                if let Some(value) = map.get_text(name) {
                    out.push((name.to_owned(), value?));
                }
            }
            Ok(out)
        }
        _ => Ok(Vec::new()),
    }
}
