//! Strategic merge of every kind that kubectl knows, with random objects made from the type table: the oracle has the same
//! merge keys and strategies for every field, or the results differ.

use gantry_api::kinds::{self, KindInfo};
use gantry_api::table::{Field, FieldType, Type, TypeTable};
use gantry_api::{Value, decode, patch};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::present;
use crate::strategic::kubectl;

/// Documents and patches of each kind.
const DOCUMENTS: usize = 5;
const PATCHES: usize = 2;
/// Below this nothing is set.
const DEPTH: usize = 9;

/// Makes random objects.
struct Random {
    random: StdRng,
    depth: usize,
}

impl Random {
    fn text(&mut self) -> Value {
        ["a", "b", "c"][self.random.random_range(0..3)].into()
    }

    fn object(&mut self, ty: &Type, key: Option<&str>) -> Value {
        let mut object = json!({});
        if self.depth == DEPTH {
            return object;
        }
        self.depth += 1;
        for (name, field) in &ty.fields {
            let chance = if self.depth < 4 { 0.6 } else { 0.3 };
            // Nobody sends the first; upstream's merge refuses maps of lists.
            if *name == "managedFields"
                || matches!(&field.ty, FieldType::Map(item) if matches!(**item, FieldType::List(_)))
            {
                continue;
            }
            if key == Some(*name) || self.random.random_bool(chance) {
                object[*name] = self.field(field);
            }
        }
        self.depth -= 1;
        object
    }

    fn field(&mut self, field: &Field) -> Value {
        match (&field.ty, field.patch_merge_key) {
            (FieldType::List(item), Some(key)) => {
                let mut items: Vec<Value> = Vec::new();
                for _ in 0..self.random.random_range(1..4) {
                    let item = TypeTable::builtin().fields_of(item).map(|ty| self.object(ty, Some(key)));
                    // Items of such lists are told apart by their key.
                    items.extend(
                        item.filter(|item| item.get(key).is_some() && items.iter().all(|i| i[key] != item[key])),
                    );
                }
                Value::Array(items)
            }
            (ty, _) => self.value(ty),
        }
    }

    fn value(&mut self, ty: &FieldType) -> Value {
        match ty {
            FieldType::String => self.text(),
            FieldType::Bytes => "AQI=".into(),
            FieldType::Bool => true.into(),
            FieldType::Int32 | FieldType::Int64 => self.random.random_range(1..4).into(),
            FieldType::Double => 1.5.into(),
            FieldType::Time => "2026-01-02T03:04:05Z".into(),
            FieldType::MicroTime => "2026-01-02T03:04:05.000006Z".into(),
            FieldType::Quantity => ["1", "2Gi", "3m"][self.random.random_range(0..3)].into(),
            FieldType::IntOrString if self.random.random_bool(0.5) => 5.into(),
            FieldType::IntOrString => "5%".into(),
            FieldType::Raw | FieldType::Any | FieldType::Open => json!({"a": {"b": self.text()}}),
            FieldType::Struct(id) => self.object(TypeTable::builtin().get(id), None),
            FieldType::List(item) => (0..self.random.random_range(1..3)).map(|_| self.value(item)).collect(),
            FieldType::Map(item) => {
                let mut map = json!({});
                for _ in 0..2 {
                    let key = self.text();
                    map[key.as_str().unwrap_or_default()] = self.value(item);
                }
                map
            }
        }
    }

    /// An object of a kind, as a client would write it.
    fn whole(&mut self, kind: &KindInfo, name: &str) -> Value {
        let mut object = self.object(TypeTable::builtin().ty(&kind.type_name).expect("known"), None);
        object["apiVersion"] = kind.api_version.as_str().into();
        object["kind"] = kind.kind.into();
        object["metadata"]["name"] = name.into();
        object
    }

    /// Puts nulls and deletions into what is patched; below lists it stays as it is, because items that are new to a list
    /// are taken over with their directives.
    fn directives(&mut self, ty: &Type, patch: &mut Value) {
        for (name, item) in patch.as_object_mut().into_iter().flatten() {
            let Some(field) = ty.fields.get(name.as_str()).filter(|_| self.depth > 0 || name == "spec") else {
                continue;
            };
            if self.depth > 0 && self.random.random_bool(0.1) {
                *item = Value::Null;
                continue;
            }
            self.depth += 1;
            match (&field.ty, field.patch_merge_key, &mut *item) {
                (FieldType::Struct(id), _, item) => self.directives(TypeTable::builtin().get(id), item),
                (FieldType::List(_), Some(key), Value::Array(items)) if self.random.random_bool(0.5) => {
                    if let Some(first) = items.first_mut() {
                        *first = json!({key: first[key], "$patch": "delete"});
                    }
                }
                _ => {}
            }
            self.depth -= 1;
        }
    }
}

fn conformed(kind: &KindInfo, mut value: Value) -> Value {
    decode::conform(&mut value, kind).expect("of its type");
    value
}

/// Takes a field out wherever it stands.
fn forget(value: &mut Value, name: &str) {
    match value {
        Value::Object(map) => {
            map.remove(name);
            map.values_mut().for_each(|item| forget(item, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| forget(item, name)),
        _ => {}
    }
}

/// What kubectl makes of it. A field that it does not know, because it is older, is taken out of everything; where it does
/// not know the kind, it merges nothing strategically.
fn theirs(documents: &mut [Value], patch: &mut Value) -> Option<Vec<Value>> {
    loop {
        let why = match kubectl(documents, patch) {
            Ok(theirs) => return Some(theirs),
            Err(why) => why,
        };
        let unknown = why.split("for the json field \"").nth(1).and_then(|rest| rest.split('"').next());
        match unknown {
            Some(name) => documents.iter_mut().chain([&mut *patch]).for_each(|value| forget(value, name)),
            None => {
                let kind = why.contains("no kind") || why.contains("is not supported");
                assert!(kind, "kubectl refuses {patch}: {why}");
                return None;
            }
        }
    }
}

fn check(kind: &KindInfo) {
    let mut random = Random { random: StdRng::seed_from_u64(7), depth: 0 };
    let mut documents: Vec<Value> = (0..DOCUMENTS).map(|n| random.whole(kind, &format!("n{n}"))).collect();
    for _ in 0..PATCHES {
        let mut patch = random.whole(kind, "");
        patch["metadata"].as_object_mut().map(|m| m.remove("name"));
        random.directives(TypeTable::builtin().ty(&kind.type_name).expect("known"), &mut patch);
        let Some(theirs) = theirs(&mut documents, &mut patch) else { return };
        for (document, theirs) in documents.iter().zip(theirs) {
            let ours = patch::strategic(document, &patch, &kind.type_name).expect("a patch");
            let (ours, theirs) = (conformed(kind, ours), conformed(kind, theirs));
            assert_eq!(ours, theirs, "\n{}\ndocument {document}\npatch {patch}", kind.type_name);
        }
    }
}

#[test]
fn random_patches_of_every_kind_agree_with_kubectl() {
    if present() {
        kinds::all().iter().filter(|k| k.stored()).for_each(check);
    }
}
