//! The three-way strategic merge patch of client-side apply: what changed from `original` (applied last) to `modified`
//! (applied now), and what `current` lacks of `modified`.
//!
//! Fields that only the live object has (defaults, other writers) stay. Lists merge by the keys of the type table.

use gantry_api::table::{Field, FieldType, TypeTable};
use gantry_api::value::{Object, Value};
use serde_json::json;

static NULL: Value = Value::Null;

/// The patch; an empty object when nothing is to be done.
#[must_use]
pub(crate) fn strategic(original: &Value, modified: &Value, current: &Value, type_name: &str) -> Value {
    let table = TypeTable::builtin();
    let ty = table.id(type_name).map(FieldType::Struct);
    Value::Object(maps(original, modified, current, ty.as_ref()))
}

/// The type of the field `name` of what `ty` holds.
fn field<'t>(ty: Option<&'t FieldType>, name: &str) -> (Option<&'t FieldType>, Option<&'t Field>) {
    match ty {
        Some(FieldType::Map(inner)) => (Some(inner), None),
        Some(t @ FieldType::Struct(_)) => {
            let found = TypeTable::builtin().fields_of(t).and_then(|t| t.fields.get(name));
            (found.map(|f| &f.ty), found)
        }
        _ => (None, None),
    }
}

fn maps(original: &Value, modified: &Value, current: &Value, ty: Option<&FieldType>) -> Object {
    let empty = Object::new();
    let null: &Value = &NULL;
    let (o, m, c) = (
        original.as_object().unwrap_or(&empty),
        modified.as_object().unwrap_or(&empty),
        current.as_object().unwrap_or(&empty),
    );
    let mut patch = Object::new();
    for (key, wanted) in m {
        let (inner, info) = field(ty, key);
        let (before, live) = (o.get(key).unwrap_or(null), c.get(key).unwrap_or(null));
        if wanted.is_null() {
            if !live.is_null() {
                patch.insert(key.clone(), Value::Null);
            }
            continue;
        }
        if let Some(change) = change(before, wanted, live, inner, info) {
            insert(&mut patch, key, change);
        }
    }
    for key in o.keys().filter(|k| !m.contains_key(*k) && c.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

/// What becomes of one field.
enum Change {
    Set(Value),
    /// Items to merge, scalars to delete, and the order of the whole list.
    List {
        items: Vec<Value>,
        delete: Vec<Value>,
        order: Vec<Value>,
    },
}

fn insert(patch: &mut Object, key: &str, change: Change) {
    match change {
        Change::Set(value) => drop(patch.insert(key.to_owned(), value)),
        Change::List { items, delete, order } => {
            if !items.is_empty() {
                patch.insert(key.to_owned(), Value::Array(items));
            }
            if !delete.is_empty() {
                patch.insert(format!("$deleteFromPrimitiveList/{key}"), Value::Array(delete));
            }
            if !order.is_empty() {
                patch.insert(format!("$setElementOrder/{key}"), Value::Array(order));
            }
        }
    }
}

fn change(
    original: &Value,
    wanted: &Value,
    live: &Value,
    ty: Option<&FieldType>,
    info: Option<&Field>,
) -> Option<Change> {
    if wanted == live {
        return None;
    }
    match (wanted, live) {
        (Value::Object(_), Value::Object(_)) if !info.is_some_and(|f| f.patch_strategy.replace) => {
            let inner = maps(original, wanted, live, ty);
            (!inner.is_empty()).then_some(Change::Set(Value::Object(inner)))
        }
        (Value::Array(w), Value::Array(l)) if info.is_some_and(|f| f.patch_strategy.merge) => {
            let item = if let Some(FieldType::List(item)) = ty { Some(item.as_ref()) } else { None };
            let before = original.as_array().map_or(&[][..], Vec::as_slice);
            match info.and_then(|f| f.patch_merge_key) {
                Some(key) => keyed_list(before, w, l, key, item),
                None => primitive_list(before, w, l),
            }
        }
        _ => (!same_meaning(wanted, live, ty)).then(|| Change::Set(wanted.clone())),
    }
}

/// Quantities may be written in several ways; the server keeps one.
fn same_meaning(wanted: &Value, live: &Value, ty: Option<&FieldType>) -> bool {
    let text = |v: &Value| match v {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    };
    if !matches!(ty, Some(FieldType::Quantity)) {
        return false;
    }
    let parsed = |v: &Value| text(v).and_then(|t| gantry_api::quantity::Quantity::parse(&t).ok());
    parsed(wanted).zip(parsed(live)).is_some_and(|(a, b)| a == b)
}

fn keyed_list(
    original: &[Value],
    wanted: &[Value],
    live: &[Value],
    key: &str,
    item: Option<&FieldType>,
) -> Option<Change> {
    let find = |list: &[Value], id: &Value| list.iter().find(|i| i.get(key) == Some(id)).cloned();
    let mut items = Vec::new();
    for want in wanted {
        let Some(id) = want.get(key) else {
            // Without a key nothing can be merged: the server takes the list as a whole.
            return Some(Change::Set(Value::Array(wanted.to_vec())));
        };
        match find(live, id) {
            None => items.push(want.clone()),
            Some(now) => {
                let before = find(original, id).unwrap_or(Value::Null);
                let mut inner = maps(&before, want, &now, item);
                if !inner.is_empty() {
                    inner.insert(key.to_owned(), id.clone());
                    items.push(Value::Object(inner));
                }
            }
        }
    }
    for gone in original {
        let Some(id) = gone.get(key) else { continue };
        if find(wanted, id).is_none() && find(live, id).is_some() {
            items.push(json!({"$patch": "delete", key: id}));
        }
    }
    let order: Vec<Value> = wanted.iter().filter_map(|w| w.get(key)).map(|id| json!({key: id})).collect();
    (!items.is_empty()).then_some(Change::List { items, delete: Vec::new(), order })
}

fn primitive_list(original: &[Value], wanted: &[Value], live: &[Value]) -> Option<Change> {
    let items: Vec<Value> = wanted.iter().filter(|w| !live.contains(w)).cloned().collect();
    let delete: Vec<Value> = original.iter().filter(|o| !wanted.contains(o) && live.contains(o)).cloned().collect();
    let changed = !items.is_empty() || !delete.is_empty();
    changed.then(|| Change::List { items, delete, order: wanted.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(original: Value, modified: Value, current: Value, expected: Value) {
        let patch = strategic(&original, &modified, &current, "apps/v1.Deployment");
        assert_eq!(patch, expected);
        if let Ok(result) = gantry_api::patch::strategic(&current, &patch, "apps/v1.Deployment") {
            let again = strategic(&modified, &modified, &result, "apps/v1.Deployment");
            assert_eq!(again, json!({}), "a second apply must find nothing to do; after the first: {result}");
        }
    }

    fn with_containers(list: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": list}}}})
    }

    #[test]
    fn what_others_set_stays_and_what_was_taken_out_goes() {
        check(
            json!({"spec": {"replicas": 3, "paused": true}}),
            json!({"spec": {"replicas": 5}}),
            json!({"spec": {"replicas": 3, "paused": true, "progressDeadlineSeconds": 600}}),
            json!({"spec": {"replicas": 5, "paused": null}}),
        );
    }

    #[test]
    fn containers_merge_by_name() {
        check(
            with_containers(json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}])),
            with_containers(json!([{"name": "a", "image": "a:2"}])),
            with_containers(json!([{"name": "a", "image": "a:1", "imagePullPolicy": "Always"},
                {"name": "b", "image": "b:1"}, {"name": "injected", "image": "x"}])),
            with_containers(json!([{"name": "a", "image": "a:2"}, {"$patch": "delete", "name": "b"}]))
                .as_object()
                .map(|_| {
                    let mut v =
                        with_containers(json!([{"name": "a", "image": "a:2"}, {"$patch": "delete", "name": "b"}]));
                    v["spec"]["template"]["spec"]["$setElementOrder/containers"] = json!([{"name": "a"}]);
                    v
                })
                .expect("an object"),
        );
    }

    #[test]
    fn equal_quantities_are_no_change() {
        let limits = |q: &str| with_containers(json!([{"name": "a", "resources": {"limits": {"cpu": q}}}]));
        check(limits("0.5"), limits("0.5"), limits("500m"), json!({}));
    }

    #[test]
    fn nothing_to_do_is_an_empty_patch() {
        check(
            json!({}),
            json!({"spec": {"replicas": 3}}),
            json!({"spec": {"replicas": 3, "paused": false}}),
            json!({}),
        );
    }
}
