//! What stands in `[?( )]`.

use super::{Astray, JsonPath};
use crate::Value;
use std::cmp::Ordering;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    Exists(Operand),
    Compare(Operand, Operator, Operand),
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Path(JsonPath),
    Literal(Value),
    /// A word that stands for nothing.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Unknown,
}

impl Operator {
    pub(super) fn of(sign: &str) -> Self {
        match sign {
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => Self::Unknown,
        }
    }
}

impl Operand {
    fn steps(&self) -> usize {
        if let Self::Path(path) = self { path.steps() } else { 0 }
    }

    fn values<'v>(&'v self, item: &'v Value, left: &mut usize) -> Result<Vec<&'v Value>, Astray> {
        match self {
            Self::Path(path) => path.follow(vec![item], left),
            Self::Literal(value) => Ok(vec![value]),
            Self::Unknown => Err(Astray),
        }
    }
}

impl Filter {
    pub(super) fn steps(&self) -> usize {
        match self {
            Self::Exists(operand) => operand.steps(),
            Self::Compare(one, _, other) => one.steps() + other.steps(),
        }
    }

    /// Whether the filter lets an item through.
    pub(super) fn matches(&self, item: &Value, left: &mut usize) -> Result<bool, Astray> {
        let (one, operator, other) = match self {
            // Upstream takes what a path has reached before it failed for what it leads to.
            Self::Exists(operand) => return Ok(operand.values(item, left).map_or(true, |found| !found.is_empty())),
            Self::Compare(one, operator, other) => (one, *operator, other),
        };
        let (one, other) = (one.values(item, left)?, other.values(item, left)?);
        match (one.as_slice(), other.as_slice()) {
            ([one], [other]) => compare(one, operator, other),
            ([], [] | [_]) | ([_], []) => Ok(false),
            _ => Err(Astray),
        }
    }
}

/// Only values of one type can be compared, and of whole and broken numbers not one with the other.
fn compare(one: &Value, operator: Operator, other: &Value) -> Result<bool, Astray> {
    let order = match (one, other) {
        (Value::Bool(a), Value::Bool(b)) => match operator {
            Operator::Equal | Operator::NotEqual => a.cmp(b),
            _ => return Err(Astray),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) if a.is_f64() == b.is_f64() => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().partial_cmp(&b.as_f64()).ok_or(Astray)?,
        },
        _ => return Err(Astray),
    };
    Ok(match operator {
        Operator::Equal => order == Ordering::Equal,
        Operator::NotEqual => order != Ordering::Equal,
        Operator::Less => order == Ordering::Less,
        Operator::LessOrEqual => order != Ordering::Greater,
        Operator::Greater => order == Ordering::Greater,
        Operator::GreaterOrEqual => order != Ordering::Less,
        Operator::Unknown => return Err(Astray),
    })
}
