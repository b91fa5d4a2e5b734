//! Structures that annotations hold as JSON: tolerations of pods, taints of nodes, pods that a node would rather not have.

use super::at::{At, Out};
use super::node;
use super::pod;
use super::read::{list, some, truth};
use crate::{Object, Value, decode};

const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const TAINTS: &str = "scheduler.alpha.kubernetes.io/taints";
const AVOIDED: &str = "scheduler.alpha.kubernetes.io/preferAvoidPods";

/// A structure: its name in Go, and its fields by their names in JSON and in Go, and their types.
struct Shape {
    name: &'static str,
    fields: &'static [(&'static str, &'static str, &'static str)],
}

const TOLERATION: Shape = Shape {
    name: "Toleration",
    fields: &[
        ("key", "Key", "string"),
        ("operator", "Operator", "core.TolerationOperator"),
        ("value", "Value", "string"),
        ("effect", "Effect", "core.TaintEffect"),
        ("tolerationSeconds", "TolerationSeconds", "int64"),
    ],
};

const TAINT: Shape = Shape {
    name: "Taint",
    fields: &[("key", "Key", "string"), ("value", "Value", "string"), ("effect", "Effect", "core.TaintEffect")],
};

/// The annotations of a pod or of a template, which stand at `at`.
pub(super) fn of_pod(out: &mut Out, at: At<'_>, annotations: &Object) {
    if let Some(tolerations) = structures(out, at, annotations, TOLERATIONS, &TOLERATION) {
        pod::tolerations(out, at.child(TOLERATIONS), &tolerations);
    }
}

/// The annotations of a node.
pub(super) fn of_node(out: &mut Out, object: &Value) {
    let Some(annotations) = some(object, "metadata").and_then(|m| m.get("annotations")?.as_object()) else { return };
    let at = At::Root("metadata.annotations");
    if let Some(taints) = structures(out, at, annotations, TAINTS, &TAINT) {
        node::taints(out, at.child(TAINTS), &taints);
    }
    avoided(out, at, annotations);
}

/// The text of an annotation that says anything.
fn said<'a>(annotations: &'a Object, key: &str) -> Option<&'a str> {
    annotations.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn structures(out: &mut Out, at: At<'_>, annotations: &Object, key: &str, shape: &Shape) -> Option<Vec<Value>> {
    match many(said(annotations, key)?, shape) {
        Ok(found) => Some(found),
        Err(why) => {
            out.invalid(at, key, &why);
            None
        }
    }
}

/// Reads a list of structures as Go reads it: whatever the case of their fields' names. Its words are the error.
fn many(text: &str, shape: &Shape) -> Result<Vec<Value>, String> {
    let found = match parsed(text)? {
        Value::Array(found) => found,
        Value::Null => Vec::new(),
        other => return Err(mismatch(&other, &format!("Go value of type []core.{}", shape.name))),
    };
    found.iter().map(|item| one(item, shape)).collect()
}

fn one(item: &Value, shape: &Shape) -> Result<Value, String> {
    let object = match item {
        Value::Object(object) => object,
        Value::Null => return Ok(Value::Object(Object::new())),
        other => return Err(mismatch(other, &format!("Go value of type core.{}", shape.name))),
    };
    let mut read = Object::new();
    for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        let Some((json, field, ty)) = shape.fields.iter().find(|(json, ..)| json.eq_ignore_ascii_case(key)) else {
            continue;
        };
        let fits = if *ty == "int64" { value.is_i64() } else { value.is_string() };
        if !fits {
            return Err(mismatch(value, &format!("Go struct field {}.{field} of type {ty}", shape.name)));
        }
        read.insert((*json).to_owned(), value.clone());
    }
    Ok(Value::Object(read))
}

/// Each of them is told by the controller that owns it.
fn avoided(out: &mut Out, at: At<'_>, annotations: &Object) {
    let Some(text) = said(annotations, AVOIDED) else { return };
    let found = match parsed(text) {
        Ok(found @ (Value::Object(_) | Value::Null)) => found,
        Ok(other) => {
            let why = mismatch(&other, "Go value of type v1.AvoidPods");
            return out.invalid(at.child("AvoidPods"), AVOIDED, &why);
        }
        Err(why) => return out.invalid(at.child("AvoidPods"), AVOIDED, &why),
    };
    let list_at = at.child(AVOIDED);
    for (index, entry) in list(&found, "preferAvoidPods").iter().enumerate() {
        let at = list_at.index(index);
        let at = at.child("PodSignature");
        match some(entry, "podSignature").and_then(|signature| some(signature, "podController")) {
            None => out.required(at, ""),
            Some(owner) if !truth(owner, "controller") => {
                out.invalid(at.child("PodController.Controller"), false, "must point to a controller");
            }
            Some(_) => {}
        }
    }
}

fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .map_err(|error| decode::syntax::error(text.as_bytes()).unwrap_or_else(|| error.to_string()))
}

fn mismatch(found: &Value, place: &str) -> String {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(n) if place.ends_with("int64") => format!("number {n}"),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    };
    format!("json: cannot unmarshal {found} into {place}")
}
