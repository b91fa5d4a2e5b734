//! The replicas of custom objects that can be scaled.

use crate::Value;
use crate::custom::Custom;
use crate::field::{Error, Errors, Path};
use crate::value::get;

/// Checks that they are a number that a Scale can hold.
pub(super) fn check(custom: &Custom, object: &Value) -> Errors {
    let Some(scale) = &custom.scale else { return Errors::new() };
    let mut errors = Errors::new();
    replicas(&mut errors, object, &scale.replicas);
    replicas(&mut errors, object, &scale.status_replicas);
    errors
}

/// The same, for the status alone.
pub(super) fn check_status(custom: &Custom, object: &Value) -> Errors {
    let mut errors = Errors::new();
    if let Some(scale) = &custom.scale {
        replicas(&mut errors, object, &scale.status_replicas);
    }
    errors
}

fn replicas(errors: &mut Errors, object: &Value, path: &str) {
    let Some(found) = get(object, path).filter(|found| found.is_number()) else { return };
    let (at, number) = (Path::new(&format!(".{path}")), found.as_i64());
    if number.is_none_or(|n| n < 0) {
        errors.push(Error::invalid(&at, found.clone(), "should be a non-negative integer"));
    } else if number.is_some_and(|n| n > i64::from(i32::MAX)) {
        let why = format!("should be less than or equal to {}", i32::MAX);
        errors.push(Error::invalid(&at, found.clone(), &why));
    }
}
