//! How each place of an object merges, read from the type table: as a whole, field by field, or item by item.

use std::borrow::Cow;

use super::element;
use super::set::Set;
use crate::table::{Field, FieldType, ListType, Type, TypeTable};
use crate::{Object, Value};

/// How a place merges.
#[derive(Clone, Copy)]
pub(super) enum Rule<'t> {
    /// As a whole: scalars, atomic lists, maps and structs.
    Leaf,
    /// By what is there: maps entry by entry, everything else as a whole.
    Deduced,
    /// Field by field.
    Struct(&'t Type),
    /// Entry by entry.
    Map(&'t FieldType),
    /// As a set of scalars.
    Set,
    /// Item by item, told apart by the values of keys.
    Keyed(&'t Field, &'t Type),
}

/// Items of a list, each with its path element.
pub(super) type Items<'v> = Vec<(String, &'v Value)>;

impl<'t> Rule<'t> {
    /// Of a field.
    pub(super) fn of(field: &'t Field) -> Self {
        match &field.ty {
            FieldType::List(item) => match (field.list_type, &**item) {
                (ListType::Set, _) => Self::Set,
                (ListType::Map, FieldType::Struct(id)) => Self::Keyed(field, TypeTable::builtin().get(id)),
                _ => Self::Leaf,
            },
            _ if field.atomic => Self::Leaf,
            FieldType::Struct(id) if field.granular => Self::Struct(TypeTable::builtin().get(id)),
            own => Self::plain(own),
        }
    }

    /// Of a value that no field describes: an item of a map or list.
    pub(super) fn plain(ty: &'t FieldType) -> Self {
        match ty {
            FieldType::Struct(id) => Self::structure(TypeTable::builtin().get(id)),
            FieldType::Map(item) => Self::Map(item),
            FieldType::Merged(field) => Self::of(field),
            FieldType::Open => Self::Deduced,
            _ => Self::Leaf,
        }
    }

    fn structure(ty: &'t Type) -> Self {
        if ty.atomic { Self::Leaf } else { Self::Struct(ty) }
    }

    /// The rule for these values, where it depends on them. Null goes with whatever the others are.
    pub(super) fn settle<'v>(self, values: impl IntoIterator<Item = &'v Value>) -> Self {
        match self {
            Self::Deduced if values.into_iter().all(|v| v.is_object() || v.is_null()) => Self::Map(&FieldType::Open),
            Self::Deduced => Self::Leaf,
            settled => settled,
        }
    }

    /// Of the field or entry `name`. What the type does not have is a leaf.
    pub(super) fn entry(self, name: &str) -> Self {
        match self {
            Self::Struct(ty) => {
                let unlisted = if ty.is_open() { Self::Deduced } else { Self::Leaf };
                ty.fields.get(name).map_or(unlisted, Self::of)
            }
            Self::Deduced => Self::Deduced,
            Self::Map(item) => Self::plain(item),
            Self::Leaf | Self::Set | Self::Keyed(..) => Self::Leaf,
        }
    }

    /// Of the items of a list.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Keyed(_, ty) => Self::structure(ty),
            _ => Self::Leaf,
        }
    }

    /// Of what a path element leads to.
    pub(super) fn below(self, element: &str) -> Self {
        element::field_name(element).map_or_else(|| self.item(), |name| self.entry(name))
    }

    /// Whether the element is a field of a struct: such fields exist by their type, entries of maps by being there.
    pub(super) fn names(self, element: &str) -> bool {
        match (self, element::field_name(element)) {
            (Self::Struct(ty), Some(name)) => ty.fields.contains_key(name),
            _ => false,
        }
    }

    /// Whether the type has what the element leads to.
    pub(super) fn has(self, element: &str) -> bool {
        match self {
            Self::Struct(ty) => self.names(element) || ty.is_open(),
            Self::Deduced | Self::Map(_) | Self::Set | Self::Keyed(..) => true,
            Self::Leaf => false,
        }
    }

    /// The path element of a list item.
    ///
    /// # Errors
    /// Why it has none, in upstream's words.
    pub(super) fn element(self, item: &Value) -> Result<String, String> {
        match self {
            Self::Keyed(field, ty) => keys(field, ty, item).map(element::key),
            _ => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                scalar => Ok(element::item(scalar)),
            },
        }
    }

    /// What is below a list item, but for its keys: an item that stays keeps what tells it from the others, whoever owns that.
    pub(super) fn sparing_keys<'s>(self, below: &'s Set) -> Cow<'s, Set> {
        let mut spared = Cow::Borrowed(below);
        if let Self::Keyed(field, _) = self {
            for name in &field.map_keys {
                let key = element::field(name);
                if spared.children.contains_key(&key) {
                    spared.to_mut().children.remove(&key);
                }
            }
        }
        spared
    }

    /// The items of a list with their elements; `None` when one has none, so that the list can only be taken as a whole.
    pub(super) fn items<'v>(self, list: &'v [Value]) -> Option<Items<'v>> {
        list.iter().map(|item| Some((self.element(item).ok()?, item))).collect()
    }
}

/// The keys of a list item by name, defaults filled in.
fn keys<'v>(field: &'v Field, ty: &'v Type, item: &'v Value) -> Result<Vec<(&'v str, &'v Value)>, String> {
    let map = match item {
        Value::Object(map) => map,
        Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let mut keys = Vec::with_capacity(field.map_keys.len());
    for name in &field.map_keys {
        let default = || ty.fields.get(name).and_then(|f| f.default.as_ref());
        if let Some(value) = map.get(*name).or_else(default) {
            keys.push((*name, value));
        }
    }
    if keys.is_empty() {
        let names: Vec<String> = field.map_keys.iter().map(|k| format!("{k:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            names.join(" ")
        ));
    }
    keys.sort_unstable_by_key(|(name, _)| *name);
    Ok(keys)
}

/// The map, where the value is one.
pub(super) fn object(value: Option<&Value>) -> Option<&Object> {
    value.and_then(Value::as_object)
}

/// The list, where the value is one.
pub(super) fn array(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Absent, null, or without entries: such values are leaves, so that an empty value differs from none.
pub(super) fn is_empty(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Null) | None => true,
        Some(_) => false,
    }
}
