//! What the writer of a new object owns: the `fieldsV1` of a create, made in one go.
//!
//! It is what [`super::compare`] finds between nothing and the object, without the sets in between: most writes are creates,
//! and a new object has a few dozen paths. A property in the tests holds the two together.

use super::compare::implied;
use super::element;
use super::rule::{Rule, array, is_empty};
use super::set::{SELF, Set, cut, remove_system_fields};
use crate::table::Type;
use crate::{Object, Value};

/// The paths that a writer of `new` owns, but for those in `reset`, what is below them, and what the server writes itself.
pub(super) fn fields(new: &Value, ty: &Type, reset: &Set) -> Object {
    let mut fields = new.as_object().map(|new| structure(new, ty, true)).unwrap_or_default();
    cut(&mut fields, reset);
    remove_system_fields(&mut fields);
    fields
}

/// `held`: the struct is there even where nothing is in it, and with it what Go holds by value.
fn structure(new: &Object, ty: &Type, held: bool) -> Object {
    let mut found = Object::new();
    for (name, value) in new {
        let (before, rule) = match ty.fields.get(name.as_str()) {
            Some(field) => {
                let implies = held && (!ty.is_custom() || name == "metadata");
                (implies.then(|| implied(field)).flatten(), Rule::of(field))
            }
            None if ty.is_open() => (None, Rule::Deduced),
            None => continue,
        };
        push(&mut found, element::field(name), owned(before, value, rule));
    }
    found
}

/// Paths at and below one place.
#[derive(Default)]
struct Owned {
    member: bool,
    below: Object,
}

impl Owned {
    fn leaf() -> Self {
        Self { member: true, below: Object::new() }
    }
}

fn push(fields: &mut Object, element: String, owned: Owned) {
    let Owned { member, mut below } = owned;
    if !member && below.is_empty() {
        return;
    }
    if member && !below.is_empty() {
        below.insert(SELF.to_owned(), Value::Object(Object::new()));
    }
    fields.insert(element, Value::Object(below));
}

fn owned(before: Option<&Value>, new: &Value, rule: Rule<'_>) -> Owned {
    if before == Some(new) {
        return Owned::default();
    }
    if is_empty(before) && is_empty(Some(new)) {
        return Owned::leaf();
    }
    let below = match (rule.settle(before.into_iter().chain([new])), new) {
        (Rule::Leaf | Rule::Deduced, _) => return Owned::leaf(),
        (Rule::Struct(ty), Value::Object(map)) => structure(map, ty, before.is_some()),
        (rule @ Rule::Map(_), Value::Object(map)) => {
            let mut found = Object::new();
            for (name, value) in map {
                push(&mut found, element::field(name), owned(None, value, rule.entry(name)));
            }
            found
        }
        (Rule::Struct(_) | Rule::Map(_), _) => Object::new(),
        (rule @ (Rule::Set | Rule::Keyed(..)), list) => match rule.items(array(Some(list))) {
            Some(items) => {
                let mut found = Object::new();
                for (element, item) in items {
                    // Items of one element cannot be told apart: they are taken as one value.
                    let owned =
                        if found.contains_key(&element) { Owned::leaf() } else { owned(None, item, rule.item()) };
                    push(&mut found, element, owned);
                }
                found
            }
            None => return Owned::leaf(),
        },
    };
    Owned { member: before.is_none(), below }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom as _;
    use rand::{Rng as _, SeedableRng};
    use serde_json::json;

    use super::super::compare;
    use super::*;
    use crate::table::{FieldType, TypeTable};

    /// A value of a type, or sometimes of another; often empty, with items that are there twice.
    fn made(ty: &FieldType, depth: usize, random: &mut StdRng) -> Value {
        if random.random_bool(0.05) {
            return [json!(null), json!({}), json!([]), json!("x"), json!({"name": "x"})]
                .choose(random)
                .unwrap()
                .clone();
        }
        match ty {
            FieldType::Struct(id) => made_struct(TypeTable::builtin().get(*id), depth, random),
            FieldType::List(item) => {
                let count = random.random_range(0..3);
                let mut list: Vec<Value> = (0..count).map(|_| made(item, depth, random)).collect();
                if random.random_bool(0.2) {
                    list.extend(list.first().cloned());
                }
                Value::Array(list)
            }
            FieldType::Map(item) => {
                let names = ["a", "b"].into_iter().filter(|_| random.random_bool(0.5)).collect::<Vec<_>>();
                names.into_iter().map(|name| (name.to_owned(), made(item, depth, random))).collect()
            }
            FieldType::Open => json!({"open": {"deep": 1}, "list": [1]}),
            _ => [json!("a"), json!(1), json!(true)].choose(random).unwrap().clone(),
        }
    }

    fn made_struct(ty: &Type, depth: usize, random: &mut StdRng) -> Value {
        let mut object = Object::new();
        for (name, field) in &ty.fields {
            let wanted = if field.map_keys.is_empty() && depth > 1 { 0.2 } else { 0.5 };
            if depth < 7 && random.random_bool(wanted) {
                object.insert((*name).to_owned(), made(&field.ty, depth + 1, random));
            }
        }
        if random.random_bool(0.1) {
            object.insert("unknown".to_owned(), json!({"a": 1}));
        }
        Value::Object(object)
    }

    proptest! {
        #[test]
        fn it_is_what_a_comparison_with_nothing_finds(seed in any::<u64>()) {
            const TYPES: [&str; 5] = [
                "core/v1.Pod", "core/v1.Service", "apps/v1.Deployment", "core/v1.ConfigMap",
                "apiextensions/v1.CustomResourceDefinition",
            ];
            let mut random = StdRng::seed_from_u64(seed);
            let ty = TypeTable::builtin().ty(TYPES.choose(&mut random).unwrap()).unwrap();
            let new = made_struct(ty, 0, &mut random);
            let mut reset = Set::default();
            for path in ["status", "metadata.labels", "spec.template.metadata"] {
                if random.random_bool(0.5) {
                    reset.unite(&Set::path(path));
                }
            }
            let mut compared = compare::changes(&json!({}), &new, ty).set;
            compared.cut(&reset);
            compared.remove_system_fields();
            prop_assert_eq!(Value::Object(fields(&new, ty, &reset)), Value::Object(compared.into_fields()), "{}", new);
        }
    }
}
