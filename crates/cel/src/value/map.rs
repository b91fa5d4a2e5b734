//! Maps and objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use super::{Key, Text, Value};
use crate::error::EvalError;
use crate::types::{ObjectType, Type};

/// A map.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// An object in a document whose fields have one type.
    Json {
        /// Its entries.
        entries: &'a JsonMap<String, Json>,
        /// The type of the values.
        value: &'a Type,
    },
    /// Values.
    Owned(Arc<BTreeMap<Key, Value<'a>>>),
}

impl<'a> From<BTreeMap<Key, Value<'a>>> for Map<'a> {
    fn from(entries: BTreeMap<Key, Value<'a>>) -> Self {
        Self::Owned(Arc::new(entries))
    }
}

impl<'a> Map<'a> {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json { entries, .. } => entries.len(),
            Self::Owned(entries) => entries.len(),
        }
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the document holds there what its type does not allow.
    pub fn get(&self, key: &Key) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Json { entries, value } => match key {
                Key::String(name) => entries.get(&**name).map(|v| Value::from_json(v, value)),
                _ => None,
            },
            Self::Owned(entries) => entries.get(key).cloned().map(Ok),
        }
    }

    /// As [`Self::get`], by text.
    pub(crate) fn get_text(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Json { entries, value } => entries.get(name).map(|v| Value::from_json(v, value)),
            Self::Owned(_) => self.get(&Key::String(name.into())),
        }
    }

    /// Keys, in their order.
    pub fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Json { entries, .. } => {
                let entries: &'a JsonMap<String, Json> = entries;
                entries.keys().map(|k| Value::String(Text::Borrowed(k))).collect()
            }
            Self::Owned(entries) => entries.keys().map(Key::value).collect(),
        }
    }
}

/// An object.
#[derive(Debug, Clone)]
pub enum Object<'a> {
    /// In a document.
    Json {
        /// Its fields.
        fields: &'a JsonMap<String, Json>,
        /// Its type.
        ty: &'a ObjectType,
    },
    /// Made by an expression.
    Owned(Arc<Struct<'a>>),
}

/// An object that an expression made.
#[derive(Debug)]
pub struct Struct<'a> {
    /// Its type.
    pub ty: Arc<ObjectType>,
    /// The fields that were set, by their names in JSON.
    pub fields: BTreeMap<String, Value<'a>>,
}

impl<'a> Object<'a> {
    pub(crate) fn type_name(&self) -> &str {
        match self {
            Self::Json { ty, .. } => &ty.name,
            Self::Owned(made) => &made.ty.name,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Json { fields, .. } => fields.is_empty(),
            Self::Owned(made) => made.fields.is_empty(),
        }
    }

    /// The field of that name (as expressions write it), if it is set.
    pub(crate) fn get(&self, field: &str) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Json { fields, ty } => match ty.fields.get(field) {
                Some(declared) => fields.get(&declared.json).map(|v| Value::from_json(v, &declared.ty)),
                None if ty.open => fields.get(field).map(|v| Value::from_json(v, &Type::Dyn)),
                None => None,
            },
            Self::Owned(made) => {
                let json = made.ty.fields.get(field).map_or(field, |f| f.json.as_str());
                made.fields.get(json).cloned().map(Ok)
            }
        }
    }

    /// The fields that are set, by their names in JSON.
    pub(crate) fn entries(&self) -> Vec<(String, Result<Value<'a>, EvalError>)> {
        match self {
            Self::Json { fields, ty } => {
                let of = |name: &str| ty.fields.values().find(|f| f.json == name).map_or(&Type::Dyn, |f| &f.ty);
                fields.iter().map(|(name, v)| (name.clone(), Value::from_json(v, of(name)))).collect()
            }
            Self::Owned(made) => made.fields.iter().map(|(n, v)| (n.clone(), Ok(v.clone()))).collect(),
        }
    }
}
