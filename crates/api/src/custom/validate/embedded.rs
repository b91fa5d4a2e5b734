//! Whole objects within custom ones (`x-kubernetes-embedded-resource`): they say what they are.

use crate::custom::schema::Schema;
use crate::field::{Error, Errors, Path};
use crate::names;
use crate::{Object, Value};

/// The errors of all objects that are embedded in `value`.
pub(super) fn check(value: &Value, schema: &Schema) -> Errors {
    let mut errors = Errors::new();
    walk(&mut errors, &Path::default(), value, schema);
    errors.truncate(super::MAX_ERRORS);
    errors
}

fn walk(errors: &mut Errors, at: &Path, value: &Value, schema: &Schema) {
    if errors.len() >= super::MAX_ERRORS {
        return;
    }
    match value {
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (index, item) in list.iter().enumerate() {
                walk(errors, &at.index(index), item, items);
            }
        }
        Value::Object(map) => {
            if schema.embedded {
                embedded(errors, at, map);
                metadata(errors, at, value);
            }
            for (at, held, below) in super::entries(at, map, schema) {
                walk(errors, &at, held, below);
            }
        }
        _ => {}
    }
}

/// What an object cannot do without.
fn embedded(errors: &mut Errors, at: &Path, object: &Object) {
    for key in ["apiVersion", "kind"] {
        if !object.contains_key(key) {
            errors.push(Error::required(&at.child(key), ""));
        }
    }
    for key in ["apiVersion", "kind"] {
        let Some(given) = object.get(key) else { continue };
        let why = match given.as_str() {
            None => "must be a string".to_owned(),
            Some("") => {
                errors.push(Error::required(&at.child(key), ""));
                continue;
            }
            Some(text) if key == "apiVersion" => {
                if text.matches('/').count() < 2 {
                    continue;
                }
                format!("unexpected GroupVersion string: {text}")
            }
            Some(text) => {
                let found = names::dns_1035_label(&text.to_ascii_lowercase());
                if found.is_empty() {
                    continue;
                }
                format!("may have mixed case, but should otherwise match: {}", found.join(","))
            }
        };
        errors.push(Error::invalid(&at.child(key), given.clone(), &why));
    }
}

/// Its metadata, of which it needs nothing.
fn metadata(errors: &mut Errors, at: &Path, object: &Value) {
    for error in crate::validation::embedded_metadata(object) {
        errors.push(Error { path: at.child(error.path.as_str()), ..error });
    }
}
