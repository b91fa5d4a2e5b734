//! Defaults of structural schemas, filled into objects.

use super::schema::{Additional, Schema};
use crate::Value;

/// Bytes of JSON, about, that defaults may add to one object: more than a request may have, and more than etcd stores. A list of
/// empty items costs its sender three bytes for each, and its definition may add a megabyte to each.
pub const ADDED_BYTES_MAX: usize = 3 << 20;

/// Defaults would add more than [`ADDED_BYTES_MAX`] to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overgrown;

/// Fills in what the schema has defaults for, also in what a default has just added. A null that may not be is as nothing.
///
/// # Errors
/// [`Overgrown`]: those that come first have been filled in, up to the bound.
pub fn apply(value: &mut Value, schema: &Schema) -> Result<(), Overgrown> {
    Filling { left_bytes: ADDED_BYTES_MAX }.apply(value, schema)
}

/// An object into which defaults are filled.
struct Filling {
    left_bytes: usize,
}

impl Filling {
    fn apply(&mut self, value: &mut Value, schema: &Schema) -> Result<(), Overgrown> {
        match value {
            Value::Object(map) => {
                for (name, property) in &schema.properties {
                    let Some(default) = &property.default else { continue };
                    if map.get(name).is_none_or(|held| held.is_null() && property.refuses_null()) {
                        self.take(name.len() + default_bytes(default))?;
                        map.insert(name.clone(), default.clone());
                    }
                }
                for (name, held) in map.iter_mut() {
                    if let Some(property) = schema.properties.get(name) {
                        self.apply(held, property)?;
                    } else if let Some(Additional::Schema(additional)) = &schema.additional {
                        self.fill(held, additional)?;
                        self.apply(held, additional)?;
                    }
                }
            }
            Value::Array(list) => {
                let Some(items) = &schema.items else { return Ok(()) };
                for held in list {
                    self.fill(held, items)?;
                    self.apply(held, items)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Replaces a null that may not be.
    fn fill(&mut self, held: &mut Value, schema: &Schema) -> Result<(), Overgrown> {
        if let Some(default) = &schema.default
            && held.is_null()
            && schema.refuses_null()
        {
            self.take(default_bytes(default))?;
            *held = default.clone();
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), Overgrown> {
        self.left_bytes = self.left_bytes.checked_sub(bytes).ok_or(Overgrown)?;
        Ok(())
    }
}

/// About what a value takes as JSON; a small one takes more than that in memory, so it counts for more.
fn default_bytes(value: &Value) -> usize {
    const LEAST: usize = 8;
    match value {
        Value::String(text) => LEAST + text.len(),
        Value::Array(list) => LEAST + list.iter().map(default_bytes).sum::<usize>(),
        Value::Object(map) => LEAST + map.iter().map(|(name, held)| name.len() + default_bytes(held)).sum::<usize>(),
        _ => LEAST,
    }
}

/// Takes out nulls that may not be and have no default.
pub fn prune_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            map.retain(|name, held| {
                let Some(below) = schema.property(name) else { return true };
                if held.is_null() && below.refuses_null() {
                    return false;
                }
                prune_nulls(held, below);
                true
            });
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            list.iter_mut().for_each(|held| prune_nulls(held, items));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whether so many empty items are filled in with defaults of so many bytes each.
    fn check(items: usize, bytes: usize, expected: Result<(), Overgrown>) {
        let inner = json!({"type": "object", "properties": {"x": {"type": "string", "default": "x".repeat(bytes)}}});
        let list = json!({"type": "object", "properties": {"list": {"type": "array", "items": inner}}});
        let mut object = json!({"list": vec![json!({}); items]});
        assert_eq!(apply(&mut object, &Schema::parse(&list)), expected, "{items} of {bytes}");
        let filled =
            object["list"].as_array().map_or(0, |list| list.iter().filter(|one| one.get("x").is_some()).count());
        assert_eq!(filled == items, expected.is_ok(), "{filled} of {items}");
        assert!(filled * bytes <= ADDED_BYTES_MAX);
    }

    #[test]
    fn defaults_do_not_multiply_without_end() {
        check(1000, 1000, Ok(()));
        check(1, 1_000_000, Ok(()));
        check(100_000, 1_000_000, Err(Overgrown));
        check(1_000_000, 1, Err(Overgrown));
    }
}
