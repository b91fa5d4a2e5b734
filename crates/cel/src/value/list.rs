//! Lists: an array of a document, or values.

use std::sync::Arc;

use serde_json::Value as Json;

use super::Value;
use crate::error::EvalError;
use crate::types::{ListKind, Type};

/// A list.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// An array in a document.
    Json {
        /// Its elements.
        items: &'a [Json],
        /// Their type.
        element: &'a Type,
        /// How it is compared and joined.
        kind: &'a ListKind,
    },
    /// Values.
    Owned(Arc<Vec<Value<'a>>>),
}

impl<'a> From<Vec<Value<'a>>> for List<'a> {
    fn from(items: Vec<Value<'a>>) -> Self {
        Self::Owned(Arc::new(items))
    }
}

impl<'a> List<'a> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json { items, .. } => items.len(),
            Self::Owned(items) => items.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at a place, if there is one.
    ///
    /// # Errors
    /// When the document holds there what its type does not allow.
    pub fn get(&self, at: usize) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Json { items, element, .. } => items.get(at).map(|item| Value::from_json(item, element)),
            Self::Owned(items) => items.get(at).cloned().map(Ok),
        }
    }

    /// All elements, read as they are asked for.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    pub(crate) fn kind(&self) -> &ListKind {
        match self {
            Self::Json { kind, .. } => kind,
            Self::Owned(_) => &ListKind::Atomic,
        }
    }
}
