//! Lists whose items are told apart: each may stand there once, and an update finds the item that was there before.

use std::collections::{BTreeSet, HashMap};

use super::MAX_ERRORS;
use crate::custom::schema::{ListKind, Schema};
use crate::field::{Error, Errors, Path};
use crate::{Object, Value};

/// What tells an item apart from the others; `None` where it has nothing of that.
fn identity(schema: &Schema, item: &Value) -> Option<Value> {
    match schema.list {
        ListKind::Set => Some(item.clone()),
        ListKind::Map => {
            let map = item.as_object()?;
            let keys = schema.list_keys.iter().filter_map(|key| Some((key.clone(), map.get(key)?.clone())));
            Some(Value::Object(keys.collect::<Object>()))
        }
        ListKind::Atomic => None,
    }
}

/// The items of an old list, found by their keys.
pub struct Counterparts<'o, 's> {
    schema: &'s Schema,
    /// The first item of each identity.
    items: HashMap<Value, &'o Value>,
}

impl<'o, 's> Counterparts<'o, 's> {
    /// Of the old list under this schema; there are none where items are not told apart by keys.
    #[must_use]
    pub fn new(schema: &'s Schema, old: Option<&'o Value>) -> Self {
        let old = old.filter(|_| schema.list == ListKind::Map).and_then(Value::as_array);
        let mut items = HashMap::new();
        for item in old.into_iter().flatten() {
            if let Some(identity) = identity(schema, item) {
                items.entry(identity).or_insert(item);
            }
        }
        Self { schema, items }
    }

    /// The item of the old list that an item of the new one follows.
    #[must_use]
    pub fn of(&self, item: &Value) -> Option<&'o Value> {
        if self.items.is_empty() {
            return None;
        }
        self.items.get(&identity(self.schema, item)?).copied()
    }
}

/// Items that stand twice in a list that holds each once.
pub(super) fn check(object: &Value, schema: &Schema) -> Errors {
    let mut errors = Errors::new();
    walk(&mut errors, &Path::default(), object, schema);
    errors
}

fn walk(errors: &mut Errors, at: &Path, value: &Value, schema: &Schema) {
    if errors.len() >= MAX_ERRORS {
        return;
    }
    match value {
        Value::Array(list) => {
            let mut seen = BTreeSet::new();
            for (index, item) in list.iter().enumerate() {
                if errors.len() >= MAX_ERRORS {
                    return;
                }
                let at = at.index(index);
                if let Some(identity) = identity(schema, item)
                    && !seen.insert(identity.to_string())
                {
                    errors.push(Error::duplicate(&at, identity));
                }
                if let Some(items) = &schema.items {
                    walk(errors, &at, item, items);
                }
            }
        }
        Value::Object(map) => {
            for (at, held, below) in super::entries(at, map, schema) {
                walk(errors, &at, held, below);
            }
        }
        _ => {}
    }
}
