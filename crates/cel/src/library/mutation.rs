//! What mutations use beside their types: keys in the paths of JSON patches (RFC 6901).

use super::strings::made;
use super::{NO_OVERLOAD, Result};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::{List, Map, Object, Value};

pub(super) const ENTRIES: &[Entry] = &[entry("jsonpatch.escapeKey", escape_key, &["(string) string"])];

fn escape_key<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    made(context, text.replace('~', "~0").replace('/', "~1"))
}

impl Value<'_> {
    /// Why a mutation cannot be made of an object, or of a list of patches: what stands in a field has a type of another name than
    /// the path from the outermost object to it.
    #[must_use]
    pub fn type_mismatch(&self) -> Option<String> {
        let mut found = Vec::new();
        match self {
            Self::List(patches) => {
                for patch in patches.iter().flatten() {
                    let Self::Object(Object::Owned(patch)) = patch else { continue };
                    if let Some(object @ Self::Object(Object::Owned(_))) = patch.fields.get("value") {
                        misnamed(object, object.type_name(), &mut found);
                    }
                }
            }
            object => misnamed(object, object.type_name(), &mut found),
        }
        (!found.is_empty()).then(|| format!("type mismatch: {}", found.join("\n")))
    }
}

fn misnamed(value: &Value<'_>, expected: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(Object::Owned(object)) => {
            let name = &object.ty.name;
            if name != expected {
                found.push(format!(
                    "unexpected type name {name:?}, expected {expected:?}, which matches field name path from root Object type"
                ));
            }
            for (field, value) in &object.fields {
                let field = crate::escape::escape(field).unwrap_or_else(|| field.clone());
                misnamed(value, &format!("{expected}.{field}"), found);
            }
        }
        // What is in a document has no types that an expression names.
        Value::List(list) if !matches!(list, List::Json { .. }) => {
            list.iter().flatten().for_each(|value| misnamed(&value, expected, found));
        }
        Value::Map(Map::Owned(entries)) => entries.values().for_each(|value| misnamed(value, expected, found)),
        _ => {}
    }
}
