//! The strategy of custom kinds: what their definition says.

use std::borrow::Cow;
use std::collections::BTreeSet;

use gantry_api::custom::{Column, Custom, Scale};
use gantry_api::field::{Errors, go_escaped};
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::value::{get, i64_at, list_at, remove, set, str_at};
use gantry_api::{Value, go, validation};
use jiff::Timestamp;
use serde_json::json;

use super::rules;
use crate::registry::columns::{cells, since};
use crate::registry::{Ctx, Row, Strategy, metadata_field};

impl Strategy for Custom {
    fn prepare_status_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        // Metadata is not written through `/status`, but who owns what of it is noted.
        let managed = get(new, "metadata.managedFields").cloned();
        set(new, "metadata", get(old, "metadata").cloned().unwrap_or_else(|| json!({})));
        match managed {
            Some(managed) => set(new, "metadata.managedFields", managed),
            None => drop(remove(new, "metadata.managedFields")),
        }
    }

    fn fixes_metadata(&self) -> bool {
        true
    }

    fn validate_create(&self, kind: &KindInfo, object: &Value) -> Errors {
        with_rules(kind, object, None, validation::create(kind, object), &mut Vec::new())
    }

    fn validate_change(
        &self,
        kind: &KindInfo,
        (new, old): (&Value, &Value),
        is_status: bool,
        warnings: &mut Vec<String>,
    ) -> Errors {
        let errors =
            if is_status { validation::status_update(kind, new, old) } else { validation::update(kind, new, old) };
        with_rules(kind, new, Some(old), errors, warnings)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let names = |object: &Value| -> BTreeSet<String> {
            let list = list_at(object, "metadata.finalizers").iter();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let known = old.map(names).unwrap_or_default();
        let vague = |name: &&String| !name.contains('/') && !["orphan", "foregroundDeletion"].contains(&name.as_str());
        let text = |name: &String| {
            format!(
                "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name including a path (/) to avoid \
                 accidental conflicts with other finalizer writers"
            )
        };
        names(object).difference(&known).filter(vague).map(text).collect()
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn field_value<'a>(&self, object: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        let Some((_, own)) = self.selectable.iter().find(|(name, _)| name == path) else {
            return metadata_field(object, path);
        };
        Some(match own.first(object) {
            None | Some(Value::Null) => Cow::Borrowed(""),
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(other) => Cow::Owned(other.to_string()),
        })
    }

    fn headers(&self) -> Vec<Value> {
        let header = |column: &Column| {
            let Column { name, kind, format, description, priority, .. } = column;
            json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority})
        };
        self.columns.iter().map(header).collect()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Row {
        let value = |column: &Column| {
            let found = column.path.as_ref().and_then(|path| path.first(object));
            cell(&column.kind, found, now)
        };
        cells(self.columns.iter().map(value).collect())
    }
}

/// The errors of the schema, and those of the rules.
fn with_rules(
    kind: &KindInfo,
    object: &Value,
    old: Option<&Value>,
    mut errors: Errors,
    warnings: &mut Vec<String>,
) -> Errors {
    if let Some(custom) = &kind.custom {
        rules::check(custom, (object, old), &mut errors, warnings);
    }
    errors
}

/// A value as its column shows it.
fn cell(kind: &str, value: Option<&Value>, now: Timestamp) -> Value {
    match (kind, value) {
        (_, None) => Value::Null,
        ("string", Some(Value::Null)) => Value::from("<no value>"),
        ("string", Some(other @ (Value::Array(_) | Value::Object(_)))) => Value::from(go_escaped(other.to_string())),
        ("string", Some(other)) => Value::from(go::shown(other)),
        ("date", Some(Value::String(text))) if text.is_empty() || text == "null" => Value::from("<unknown>"),
        ("date", Some(Value::String(text))) => match text.parse::<Timestamp>() {
            Ok(_) => Value::from(since(text, now)),
            Err(_) => Value::from("<invalid>"),
        },
        ("integer", Some(Value::Number(n))) => {
            n.as_i64().or_else(|| whole(n.as_f64())).map_or(Value::Null, Value::from)
        }
        ("number", Some(Value::Number(n))) => Value::Number(n.clone()),
        ("boolean", Some(Value::Bool(b))) => Value::Bool(*b),
        _ => Value::Null,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "cells show whole numbers, as upstream cuts them")]
fn whole(n: Option<f64>) -> Option<i64> {
    n.map(|n| n as i64)
}

/// The replicas of a Scale that is to be written and whose object has none: who writes it must say how many there are to be.
pub(crate) const NO_REPLICAS: i64 = i32::MIN as i64;

/// The Scale of a custom object.
pub(crate) fn scale(paths: &Scale, object: &Value) -> Value {
    let replicas = i64_at(object, &paths.replicas).unwrap_or(0);
    let mut metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(found) = get(object, "metadata").and_then(|m| m.get(key)) {
            metadata[key] = found.clone();
        }
    }
    let mut status = json!({"replicas": i64_at(object, &paths.status_replicas).unwrap_or(0)});
    if let Some(selector) = paths.selector.as_ref().and_then(|path| str_at(object, path)).filter(|s| !s.is_empty()) {
        status["selector"] = selector.into();
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {"replicas": replicas}, "status": status,
    })
}

/// Writes the replicas that a Scale asks for into a custom object, which is validated afterwards.
///
/// # Errors
/// 400 where neither says how many.
pub(crate) fn rescale(paths: &Scale, object: &mut Value, scale: &Value) -> Result<(), Status> {
    let replicas = i64_at(scale, "spec.replicas").unwrap_or(0);
    if replicas == NO_REPLICAS {
        let why = format!("the spec replicas field \".{}\" cannot be empty", paths.replicas);
        return Err(Status::bad_request(why));
    }
    set(object, &paths.replicas, replicas);
    Ok(())
}
