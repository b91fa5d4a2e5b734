//! What a write changed, as sets of paths.

use std::sync::LazyLock;

use super::set::Set;
use crate::table::{Field, FieldType, ListType, Type, TypeTable};
use crate::{Object, Value};

/// The difference between two objects.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Paths that were added or modified.
    pub(super) set: Set,
    /// Paths that are gone.
    pub(super) removed: Set,
}

impl Changes {
    fn leaf_added() -> Self {
        Self { set: Set::leaf(), removed: Set::default() }
    }

    fn leaf_removed() -> Self {
        Self { set: Set::default(), removed: Set::leaf() }
    }

    fn push(&mut self, element: impl Fn() -> String, below: Self) {
        if !below.set.is_empty() {
            self.set.push(element(), below.set);
        }
        if !below.removed.is_empty() {
            self.removed.push(element(), below.removed);
        }
    }
}

pub(super) fn changes(old: &Value, new: &Value, ty: &Type) -> Changes {
    fields(old.as_object(), new.as_object(), ty)
}

/// Structs that Go holds by value: they are there even where JSON does not show them, so adding one is no change of its own.
const BY_VALUE: [&str; 16] = [
    "metadata",
    "spec",
    "status",
    "template",
    "strategy",
    "updateStrategy",
    "resources",
    "state",
    "lastState",
    "source",
    "involvedObject",
    "loadBalancer",
    "nodeInfo",
    "daemonEndpoints",
    "podSelector",
    "jobTemplate",
];

fn fields(old: Option<&Object>, new: Option<&Object>, ty: &Type) -> Changes {
    let mut found = Changes::default();
    for (name, field) in &ty.fields {
        let (mut a, mut b) = (old.and_then(|o| o.get(*name)), new.and_then(|n| n.get(*name)));
        if a == b {
            continue;
        }
        if let Some(empty) = implied(field) {
            a = a.or_else(|| old.map(|_| empty));
            b = b.or_else(|| new.map(|_| empty));
        }
        found.push(|| format!("f:{name}"), value(a, b, Rule::of(field)));
    }
    found
}

/// What Go holds for an absent field that is present with its parent, so that only what is in it can be added or removed.
fn implied(field: &Field) -> Option<&'static Value> {
    static STRUCT: LazyLock<Value> = LazyLock::new(|| Value::Object(Object::new()));
    static LIST: Value = Value::Array(Vec::new());
    match field.ty {
        FieldType::Struct(_) if BY_VALUE.contains(&field.name) => Some(&STRUCT),
        FieldType::List(_) if field.required => Some(&LIST),
        _ => None,
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        _ => true,
    }
}

/// How a place merges.
#[derive(Clone, Copy)]
enum Rule<'t> {
    Leaf,
    Struct(&'t Type),
    Map(&'t FieldType),
    Set,
    Keyed(&'t Field, &'t Type),
}

impl<'t> Rule<'t> {
    fn of(field: &'t Field) -> Self {
        match &field.ty {
            FieldType::List(item) => match (field.list_type, &**item) {
                (ListType::Set, _) => Self::Set,
                (ListType::Map, FieldType::Struct(id)) => Self::Keyed(field, TypeTable::builtin().get(*id)),
                _ => Self::Leaf,
            },
            _ if field.atomic => Self::Leaf,
            own => Self::plain(own),
        }
    }

    /// Of a value that no field describes: an item of a map or list.
    fn plain(ty: &'t FieldType) -> Self {
        match ty {
            FieldType::Struct(id) => {
                let ty = TypeTable::builtin().get(*id);
                if ty.atomic { Self::Leaf } else { Self::Struct(ty) }
            }
            FieldType::Map(item) => Self::Map(item),
            _ => Self::Leaf,
        }
    }
}

fn value(old: Option<&Value>, new: Option<&Value>, rule: Rule<'_>) -> Changes {
    let leaf = || match (old, new) {
        (_, Some(_)) => Changes::leaf_added(),
        (Some(_), None) => Changes::leaf_removed(),
        (None, None) => Changes::default(),
    };
    if old == new {
        return Changes::default();
    }
    if is_empty(old) && is_empty(new) {
        return leaf();
    }
    let mut found = match rule {
        Rule::Leaf => return leaf(),
        Rule::Struct(ty) => fields(object(old), object(new), ty),
        Rule::Map(item) => entries(object(old), object(new), item),
        Rule::Set => match (scalars(old), scalars(new)) {
            (Some(old), Some(new)) => members(&old, &new),
            _ => return leaf(),
        },
        Rule::Keyed(field, ty) => match (keyed(old, field, ty), keyed(new, field, ty)) {
            (Some(old), Some(new)) => items(&old, &new, ty),
            _ => return leaf(),
        },
    };
    found.set.member |= old.is_none();
    found.removed.member |= new.is_none();
    found
}

fn object(value: Option<&Value>) -> Option<&Object> {
    value.and_then(Value::as_object)
}

fn entries(old: Option<&Object>, new: Option<&Object>, item: &FieldType) -> Changes {
    let mut found = Changes::default();
    let of = |map: Option<&Object>| map.into_iter().flat_map(Object::keys).cloned().collect::<Vec<_>>();
    let mut keys = of(old);
    keys.extend(of(new));
    keys.sort();
    keys.dedup();
    for key in keys {
        let (a, b) = (old.and_then(|o| o.get(&key)), new.and_then(|n| n.get(&key)));
        found.push(|| format!("f:{key}"), value(a, b, Rule::plain(item)));
    }
    found
}

/// The items of a set as path elements; `None` when one stands twice.
fn scalars(list: Option<&Value>) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for item in list.and_then(Value::as_array).into_iter().flatten() {
        let element = format!("v:{item}");
        if found.contains(&element) {
            return None;
        }
        found.push(element);
    }
    Some(found)
}

fn members(old: &[String], new: &[String]) -> Changes {
    let mut found = Changes::default();
    for element in new.iter().filter(|e| !old.contains(e)) {
        found.set.push(element.clone(), Set::leaf());
    }
    for element in old.iter().filter(|e| !new.contains(e)) {
        found.removed.push(element.clone(), Set::leaf());
    }
    found
}

/// The items of a keyed list with their path elements; `None` when two have the same key or one has none.
fn keyed<'v>(list: Option<&'v Value>, field: &Field, ty: &Type) -> Option<Vec<(String, &'v Value)>> {
    let mut found: Vec<(String, &Value)> = Vec::new();
    for item in list.and_then(Value::as_array).into_iter().flatten() {
        let mut keys = Object::new();
        for name in &field.map_keys {
            let default = || ty.fields.get(name).and_then(|f| f.default.as_ref());
            if let Some(v) = item.get(*name).or_else(default) {
                keys.insert((*name).to_owned(), v.clone());
            }
        }
        let element = format!("k:{}", Value::Object(keys.clone()));
        if keys.is_empty() || found.iter().any(|(e, _)| *e == element) {
            return None;
        }
        found.push((element, item));
    }
    Some(found)
}

fn items(old: &[(String, &Value)], new: &[(String, &Value)], ty: &Type) -> Changes {
    let rule = if ty.atomic { Rule::Leaf } else { Rule::Struct(ty) };
    let find = |list: &[(String, &Value)], element: &str| list.iter().position(|(e, _)| e == element);
    let mut found = Changes::default();
    for (element, item) in new {
        let before = find(old, element).map(|at| old[at].1);
        found.push(|| element.clone(), value(before, Some(item), rule));
    }
    for (element, item) in old.iter().filter(|(e, _)| find(new, e).is_none()) {
        found.push(|| element.clone(), value(Some(item), None, rule));
    }
    found
}
