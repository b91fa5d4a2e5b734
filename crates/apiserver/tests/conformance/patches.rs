//! What is to change, as each kind of patch says it.

use std::collections::BTreeSet;

use gantry_api::table::{Field, FieldType, Type, TypeTable};
use serde_json::{Map, Value, json};

/// One place of an object, and what becomes of it.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// `add`, `replace` or `remove`, as in a JSON patch.
    pub(crate) op: &'static str,
    /// A JSON pointer.
    pub(crate) at: String,
    /// What is there then.
    pub(crate) value: Value,
}

impl Change {
    /// The object as it is then.
    pub(crate) fn of(&self, object: &Value) -> Value {
        let mut new = object.clone();
        let (parent, name) = self.at.rsplit_once('/').expect("a pointer below the root");
        match (new.pointer_mut(parent), self.op) {
            (Some(Value::Object(map)), "remove") => drop(map.remove(name)),
            (Some(Value::Object(map)), _) => drop(map.insert(name.to_owned(), self.value.clone())),
            (Some(Value::Array(items)), op) => {
                let index: usize = name.parse().expect("an index");
                match op {
                    "remove" => drop(items.remove(index)),
                    "add" => items.insert(index, self.value.clone()),
                    _ => items[index] = self.value.clone(),
                }
            }
            (other, _) => panic!("{}: {other:?} holds nothing", self.at),
        }
        new
    }

    /// As a JSON patch.
    pub(crate) fn json(&self) -> Value {
        match self.op {
            "remove" => json!([{"op": "remove", "path": self.at}]),
            op => json!([{"op": op, "path": self.at, "value": self.value}]),
        }
    }
}

/// The merge patch (RFC 7386) that makes the one of the other.
pub(crate) fn merge(old: &Value, new: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (old, new) else { return new.clone() };
    let mut patch: Map<String, Value> =
        before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in after.iter().filter(|(key, value)| before.get(*key) != Some(value)) {
        patch.insert(key.clone(), merge(before.get(key).unwrap_or(&Value::Null), value));
    }
    patch.into()
}

/// The strategic merge patch, with what `kubectl apply` uses: items by their keys, orders, deletions, kept keys.
pub(crate) fn strategic(ty: &'static Type, old: &Value, new: &Value) -> Value {
    let mut patch = json!({});
    let keys = |value: &Value| value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    let (before, after): (BTreeSet<String>, BTreeSet<String>) = (keys(old), keys(new));
    for name in before.difference(&after) {
        patch[name] = Value::Null;
    }
    for name in after.iter().filter(|name| old.get(*name) != new.get(*name)) {
        let field = &ty.fields[name.as_str()];
        patch[name] = match (&field.ty, old.get(name), &new[name]) {
            (_, None, after) => after.clone(),
            (_, _, after) if field.patch_strategy.replace => after.clone(),
            (FieldType::Struct(id), Some(before), after) => entry(TypeTable::builtin().get(id), field, before, after),
            (FieldType::Map(_), Some(before), after) => merge(before, after),
            // Of what is in there upstream knows no types to merge by.
            (FieldType::Raw, Some(_), Value::Object(after)) => {
                let directive = ("$patch".to_owned(), Value::from("replace"));
                Value::Object(std::iter::once(directive).chain(after.clone()).collect())
            }
            (FieldType::List(item), Some(Value::Array(before)), Value::Array(after)) if field.patch_strategy.merge => {
                list(item, field, before, after, &mut patch)
            }
            (_, _, after) => after.clone(),
        };
    }
    patch
}

/// An object within: where only what is named stays, that is named.
fn entry(ty: &'static Type, field: &Field, old: &Value, new: &Value) -> Value {
    let mut patch = strategic(ty, old, new);
    if field.patch_strategy.retain_keys {
        patch.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        patch["$retainKeys"] = new.as_object().expect("an object").keys().cloned().collect();
    }
    patch
}

/// A list whose items are merged, and beside it in `patch` their order, and what goes of values.
fn list(item: &'static FieldType, field: &Field, old: &[Value], new: &[Value], patch: &mut Value) -> Value {
    let order = format!("$setElementOrder/{}", field.name);
    let (FieldType::Struct(id), Some(key)) = (item, field.patch_merge_key) else {
        let gone: Vec<&Value> = old.iter().filter(|value| !new.contains(value)).collect();
        patch[format!("$deleteFromPrimitiveList/{}", field.name)] = json!(gone);
        patch[order] = json!(new);
        return new.iter().filter(|value| !old.contains(value)).cloned().collect();
    };
    let named = |items: &[Value]| items.iter().map(|item| item[key].to_string()).collect::<BTreeSet<_>>().len();
    if named(old) < old.len() || named(new) < new.len() {
        // The key does not tell them apart.
        return [json!({"$patch": "replace"})].into_iter().chain(new.iter().cloned()).collect();
    }
    let of = |items: &[Value], wanted: &Value| items.iter().find(|item| item[key] == wanted[key]).cloned();
    let gone = old.iter().filter(|item| of(new, item).is_none());
    let mut items: Vec<Value> = gone.map(|item| json!({"$patch": "delete", key: item[key]})).collect();
    for after in new {
        match of(old, after) {
            Some(before) if before == *after => {}
            Some(before) => {
                let mut changed = entry(TypeTable::builtin().get(id), field, &before, after);
                changed[key] = after[key].clone();
                items.push(changed);
            }
            None => items.push(after.clone()),
        }
    }
    patch[order] = new.iter().map(|item| json!({key: item[key]})).collect();
    items.into()
}

/// Other values of the same form.
pub(crate) fn varied(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Bool(is) => vec![(!is).into()],
        Value::Number(number) => match number.as_i64() {
            Some(whole) => vec![(whole + 1).into(), (whole - 1).into()],
            None => vec![json!(2.5)],
        },
        Value::String(text) => vec![other(text).into()],
        Value::Array(items) => {
            let Some((last, rest)) = items.split_last() else { return Vec::new() };
            let with = |more: Vec<Value>| rest.iter().cloned().chain(more).collect();
            let mut all: Vec<Value> = varied(last).into_iter().take(3).map(|other| with(vec![other])).collect();
            all.extend(varied(last).into_iter().take(1).map(|other| with(vec![last.clone(), other])));
            all.push(rest.into());
            all
        }
        Value::Object(map) => {
            let changed = |(key, value): (&String, &Value)| {
                let other = varied(value).into_iter().next()?;
                let mut map = map.clone();
                map.insert(key.clone(), other);
                Some(map.into())
            };
            map.iter().filter_map(changed).collect()
        }
    }
}

/// Another text of the same form: a number, time, amount or address, base64, or a name.
fn other(text: &str) -> String {
    match text.chars().next() {
        Some(first @ '1'..='8') => format!("{}{}", u32::from(first) - u32::from('0') + 1, &text[1..]),
        _ if text.ends_with('=') => "AgM=".to_owned(),
        _ => format!("{text}x"),
    }
}
