//! Costs, as cel-go and Kubernetes count them: what an evaluation uses, and what one is going to use at most.

pub(crate) mod actual;
pub(crate) mod estimate;
mod paths;

/// Making a list.
pub(crate) const LIST_BASE: u64 = 10;
/// Making a map.
pub(crate) const MAP_BASE: u64 = 30;
/// Making a message.
pub(crate) const STRUCT_BASE: u64 = 40;
/// Of each character or byte that is looked at.
const TRAVERSAL: f64 = 0.1;
/// Of each character of a regular expression.
const REGEX: f64 = 0.25;
/// Asking the authoriser: two questions for one expression.
const AUTHORISATION: u64 = 350_000;

/// Of each requirement that a selector may have: a message and a list of values.
const REQUIREMENT: f64 = (LIST_BASE + STRUCT_BASE) as f64;

/// `x * factor`, rounded up, at most what 64 bits hold.
fn times(x: u64, factor: f64) -> u64 {
    let product = (x as f64 * factor).ceil();
    if product >= 2f64.powi(64) { u64::MAX } else { product as u64 }
}
