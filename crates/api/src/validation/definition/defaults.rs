//! Defaults must be complete and valid themselves; formats should be known.

use super::schema::{FORMATS, full};
use super::text;
use super::walk::{all, inner, properties, schemas};
use crate::Value;
use crate::custom::schema::Schema;
use crate::custom::{Unknown, validate_value};
use crate::validation::at::{At, Out};

/// Checks the defaults in a schema, but for those below `additionalProperties`, which upstream does not look at.
/// `pruned`: they may not have fields that are pruned.
pub(super) fn check(out: &mut Out, at: At<'_>, schema: &Value, pruned: bool, is_root: bool) {
    if full(out) {
        return;
    }
    if let Some(default) = schema.get("default").filter(|d| !d.is_null()) {
        let mut parsed = Schema::parse(schema);
        parsed.embedded |= is_root;
        if pruned && Unknown::any(default, &parsed) {
            out.invalid(at.child("default"), default.clone(), "must not have unknown fields");
        }
        for error in validate_value(&parsed, default, None) {
            let below = error.path.to_string();
            let path = at.child("default").path().to_string();
            let path = if below == "<nil>" { path } else { format!("{path}.{below}") };
            out.add(|| crate::field::Error { path: crate::field::Path::new(&path), ..error });
        }
    }
    if let Some(items) = inner(schema, "items") {
        check(out, at.child("items"), items, pruned, false);
    }
    for (name, property) in properties(schema) {
        check(out, at.child("properties").key(name), property, pruned, false);
    }
}

/// Whether a schema has a default with fields that are pruned.
pub(super) fn is_unpruned(schema: &Value) -> bool {
    schema.get("default").is_some_and(|d| !d.is_null() && Unknown::any(d, &Schema::parse(schema)))
}

/// Formats that nobody checks, each once.
pub(super) fn unknown_formats(definition: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    for schema in schemas(definition).flat_map(all) {
        let format = text(schema, "format");
        if !is_known(text(schema, "type"), format) && !found.contains(&format) {
            found.push(format);
        }
    }
    found
}

fn is_known(kind: &str, format: &str) -> bool {
    match kind {
        _ if format.is_empty() => true,
        "" | "string" => FORMATS.contains(&format.replace('-', "").as_str()),
        "integer" => ["int32", "int64"].contains(&format),
        "number" => ["float", "double"].contains(&format),
        _ => false,
    }
}
