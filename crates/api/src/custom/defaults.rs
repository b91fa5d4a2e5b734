//! Defaults of structural schemas, filled into objects.

use super::schema::{Additional, Schema};
use crate::Value;

/// Fills in what the schema has defaults for, also in what a default has just added. A null that may not be is as nothing.
pub fn apply(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                if map.get(name).is_none_or(|held| held.is_null() && property.refuses_null()) {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, held) in map.iter_mut() {
                if let Some(property) = schema.properties.get(name) {
                    apply(held, property);
                } else if let Some(Additional::Schema(additional)) = &schema.additional {
                    fill(held, additional);
                    apply(held, additional);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for held in list {
                fill(held, items);
                apply(held, items);
            }
        }
        _ => {}
    }
}

fn fill(held: &mut Value, schema: &Schema) {
    if let Some(default) = &schema.default
        && held.is_null()
        && schema.refuses_null()
    {
        *held = default.clone();
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
