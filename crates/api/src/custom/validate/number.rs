//! Numbers as JSON has them: a whole number may be written as a fraction.

use crate::Value;

/// Whether the value is a whole number.
pub(super) fn is_whole(value: &Value) -> bool {
    match value {
        Value::Number(n) => n.is_i64() || n.is_u64() || n.as_f64().is_some_and(|f| f.fract() == 0.0),
        _ => false,
    }
}

/// As Go prints a float: `10`, `0.5`.
pub(super) fn shown(number: f64) -> String {
    number.to_string()
}
