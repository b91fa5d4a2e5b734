//! Lists, maps and messages written out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{EvalError, Evaluator, Outcome};
use crate::cost::{LIST_BASE, MAP_BASE, STRUCT_BASE};
use crate::plan::Node;
use crate::types::ObjectType;
use crate::value::{Object, Struct, Value};

impl<'a> Evaluator<'_, 'a> {
    /// The value of an element; `None` for an optional one that is absent.
    fn element(&mut self, node: &'a Node, optional: bool) -> Result<Option<Value<'a>>, EvalError> {
        let value = self.eval(node)?;
        if !optional {
            return Ok(Some(value));
        }
        match value {
            Value::Optional(held) => Ok(held.map(Arc::unwrap_or_clone)),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn room(&mut self, elements: usize) -> Result<(), EvalError> {
        self.context.budget.allocate((elements * size_of::<Value<'a>>()) as u64)
    }

    #[inline(never)]
    pub(super) fn list(&mut self, items: &'a [(Node, bool)]) -> Outcome<'a> {
        self.room(items.len())?;
        let mut list = Vec::with_capacity(items.len());
        for (node, optional) in items {
            list.extend(self.element(node, *optional)?);
        }
        self.context.budget.spend(LIST_BASE)?;
        Ok(Value::list(list))
    }

    #[inline(never)]
    pub(super) fn map(&mut self, entries: &'a [(Node, Node, bool)]) -> Outcome<'a> {
        self.room(2 * entries.len())?;
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = Self::key(&self.eval(key)?)?;
            let Some(value) = self.element(value, *optional)? else { continue };
            map.insert(key, value);
        }
        self.context.budget.spend(MAP_BASE)?;
        Ok(Value::Map(map.into()))
    }

    #[inline(never)]
    pub(super) fn message(&mut self, ty: &Arc<ObjectType>, fields: &'a [(Arc<str>, Node, bool)]) -> Outcome<'a> {
        self.room(2 * fields.len())?;
        let mut set = BTreeMap::new();
        for (name, value, optional) in fields {
            let Some(value) = self.element(value, *optional)? else { continue };
            let json = match ty.fields.get(&**name) {
                Some(field) => field.json.clone(),
                None => crate::escape::unescape(name).unwrap_or_else(|| name.to_string()),
            };
            set.insert(json, value);
        }
        self.context.budget.spend(STRUCT_BASE)?;
        Ok(Value::Object(Object::Owned(Arc::new(Struct { ty: Arc::clone(ty), fields: set }))))
    }
}
