//! The replicas and the selector of custom objects that can be scaled.

use crate::Value;
use crate::custom::Custom;
use crate::field::{Error, Errors, Path};
use crate::go::shown;
use crate::value::go_type;

/// Checks that they are what a Scale can hold, whatever the schema says of them.
pub(super) fn check(custom: &Custom, object: &Value) -> Errors {
    let Some(scale) = &custom.scale else { return Errors::new() };
    let mut errors = Errors::new();
    replicas(&mut errors, object, &scale.replicas);
    errors.extend(check_status(custom, object));
    errors
}

/// The same, for the status alone.
pub(super) fn check_status(custom: &Custom, object: &Value) -> Errors {
    let Some(scale) = &custom.scale else { return Errors::new() };
    let mut errors = Errors::new();
    replicas(&mut errors, object, &scale.status_replicas);
    if let Some(path) = &scale.selector
        && let Err(why) = found(object, path, "string", Value::is_string)
    {
        errors.push(Error::invalid(&at(path), "", &why));
    }
    errors
}

fn at(path: &str) -> Path {
    Path::new(&format!(".{path}"))
}

fn replicas(errors: &mut Errors, object: &Value, path: &str) {
    let number = match found(object, path, "int64", Value::is_i64) {
        Ok(found) => found.and_then(Value::as_i64).unwrap_or(0),
        Err(why) => return errors.push(Error::invalid(&at(path), 0, &why)),
    };
    if number < 0 {
        errors.push(Error::invalid(&at(path), number, "should be a non-negative integer"));
    } else if number > i64::from(i32::MAX) {
        let why = format!("should be less than or equal to {}", i32::MAX);
        errors.push(Error::invalid(&at(path), number, &why));
    }
}

/// What is at the path, if it fits.
///
/// # Errors
/// What does not, in the words of upstream's accessors.
fn found<'v>(
    object: &'v Value,
    path: &str,
    wanted: &str,
    fits: impl Fn(&Value) -> bool,
) -> Result<Option<&'v Value>, String> {
    let wrong = |to: &str, found: &Value, wanted: &str| {
        format!(".{to} accessor error: {} is of the type {}, expected {wanted}", shown(found), go_type(found))
    };
    let (mut value, mut end) = (object, 0);
    for name in path.split('.') {
        end += name.len();
        let below = match value {
            Value::Null => return Ok(None),
            Value::Object(map) => map.get(name),
            other => return Err(wrong(&path[..end], other, "map[string]interface{}")),
        };
        let Some(below) = below else { return Ok(None) };
        value = below;
        end += 1;
    }
    if fits(value) { Ok(Some(value)) } else { Err(wrong(path, value, wanted)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_number_is_told_as_upstream_tells_it() {
        let check = |object: Value, expected: Result<Option<Value>, &str>| {
            let got = found(&object, "spec.size.n", "int64", Value::is_i64).map(|found| found.cloned());
            assert_eq!(got, expected.map_err(str::to_owned), "{object}");
        };
        check(json!({}), Ok(None));
        check(json!({"spec": {"size": null}}), Ok(None));
        check(json!({"spec": {"size": {"n": 3}}}), Ok(Some(json!(3))));
        check(
            json!({"spec": {"size": {"n": "x"}}}),
            Err(".spec.size.n accessor error: x is of the type string, expected int64"),
        );
        check(
            json!({"spec": {"size": {"n": 1.5}}}),
            Err(".spec.size.n accessor error: 1.5 is of the type float64, expected int64"),
        );
        check(
            json!({"spec": {"size": {"n": null}}}),
            Err(".spec.size.n accessor error: <nil> is of the type <nil>, expected int64"),
        );
        check(
            json!({"spec": {"size": [1]}}),
            Err(".spec.size.n accessor error: [1] is of the type []interface {}, expected map[string]interface{}"),
        );
    }
}
