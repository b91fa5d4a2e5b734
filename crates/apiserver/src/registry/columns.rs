//! Table cells: the helpers that the printers of several kinds share, and the default columns.
//!
//! Cells are those of upstream's printers (k8s.io/kubernetes/pkg/printers/internalversion), as kubectl expects them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use gantry_api::kinds::{self, Text};
use gantry_api::{Value, duration, openapi, value};
use jiff::Timestamp;
use serde_json::json;

use super::{Column, Row};

/// A column that is always shown.
pub(crate) const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", description: Text::Plain(description), priority: 0 }
}

/// A column that says what the API says of a field.
pub(crate) const fn of_field(name: &'static str, kind: &'static str, ty: &'static str, field: &'static str) -> Column {
    Column { name, kind, format: "", description: Text::Field(ty, field), priority: 0 }
}

/// A column that only `-o wide` shows.
pub(crate) const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    column(name, kind, description).wide()
}

/// What columns say that say what the API says of a field. The rest of a megabyte of text is not kept.
fn texts() -> &'static BTreeMap<(&'static str, &'static str), String> {
    static TEXTS: OnceLock<BTreeMap<(&str, &str), String>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let columns = kinds::all().iter().flat_map(|kind| super::strategy(kind).columns());
        let fields = columns.filter_map(|column| match column.description {
            Text::Plain(_) => None,
            Text::Field(ty, field) => Some((ty, field)),
        });
        openapi::described(&fields.collect::<Vec<_>>())
    })
}

/// A column as a `TableColumnDefinition`.
pub(crate) fn header(column: &Column) -> Value {
    let description = match column.description {
        Text::Plain(text) => text,
        Text::Field(ty, field) => texts().get(&(ty, field)).map_or("", String::as_str),
    };
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": description,
        "priority": column.priority,
    })
}

/// The name column.
pub(crate) const NAME: Column = Column { format: "name", ..column("Name", "string", Column::NAME_TEXT) };

/// The age column.
pub(crate) const AGE: Column = column("Age", "string", Column::CREATED_TEXT);
/// Names of the containers of a workload.
pub(crate) const CONTAINERS: Column = wide("Containers", "string", "Names of each container in the template.");
/// Images of the containers of a workload.
pub(crate) const IMAGES: Column = wide("Images", "string", "Images referenced by each container in the template.");
/// Label selector of a workload or service, whose spec is of this type.
pub(crate) const fn selector_of(spec: &'static str) -> Column {
    of_field("Selector", "string", spec, "selector").wide()
}

/// The columns of kinds without a printer of their own.
pub const DEFAULT: &[Column] = &[NAME, column("Created At", "date", Column::CREATED_TEXT)];

/// The row for [`DEFAULT`].
pub fn default_row(object: &Value) -> Row {
    cells(vec![text(object, "metadata.name").into(), text(object, "metadata.creationTimestamp").into()])
}

/// A row without conditions.
pub(crate) fn cells(cells: Vec<Value>) -> Row {
    Row { cells, conditions: Vec::new() }
}

/// The string at `path`, or `""`.
pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    value::str_at(object, path).unwrap_or_default()
}

/// The string at `path`, or `missing` where it is absent or empty.
pub(crate) fn text_or<'a>(object: &'a Value, path: &str, missing: &'a str) -> &'a str {
    match text(object, path) {
        "" => missing,
        found => found,
    }
}

/// The number at `path`, or 0.
pub(crate) fn number(object: &Value, path: &str) -> i64 {
    value::i64_at(object, path).unwrap_or(0)
}

/// The object's name as a cell.
pub(crate) fn name(object: &Value) -> Value {
    text(object, "metadata.name").into()
}

/// The object's age as a cell.
pub(crate) fn age(object: &Value, now: Timestamp) -> Value {
    since(text(object, "metadata.creationTimestamp"), now).into()
}

/// How long ago an RFC 3339 time was, in upstream's short form; `<unknown>` without a time.
pub(crate) fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => duration::human(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// The container names and images of a pod spec, each joined by commas.
pub(crate) fn containers(object: &Value, path: &str) -> (String, String) {
    let list = value::list_at(object, path);
    let join = |key: &str| {
        let parts: Vec<&str> = list.iter().map(|c| c.get(key).and_then(Value::as_str).unwrap_or_default()).collect();
        parts.join(",")
    };
    (join("name"), join("image"))
}

/// `a=b,c=d`, or `<none>` for an absent or empty map.
pub(crate) fn labels(object: &Value, path: &str) -> String {
    let Some(map) = value::map_at(object, path).filter(|m| !m.is_empty()) else { return "<none>".to_owned() };
    let parts: Vec<String> = map.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    parts.join(",")
}

/// A LabelSelector as one string, requirements sorted by key: `a=b,c in (d,e),!f`; empty for a selector of everything.
pub(crate) fn selector(object: &Value, path: &str) -> String {
    let Some(selector) = value::get(object, path) else { return String::new() };
    let mut parts: Vec<(&str, String)> = Vec::new();
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        parts.push((key, format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for requirement in value::list_at(selector, "matchExpressions") {
        let key = text(requirement, "key");
        let mut values: Vec<&str> = value::list_at(requirement, "values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        parts.push((
            key,
            match text(requirement, "operator") {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "DoesNotExist" => format!("!{key}"),
                _ => key.to_owned(),
            },
        ));
    }
    parts.sort_by(|a, b| a.0.cmp(b.0));
    let parts: Vec<String> = parts.into_iter().map(|p| p.1).collect();
    parts.join(",")
}

/// As [`selector`], with `<none>` for a selector without requirements.
pub(crate) fn selector_or_none(object: &Value, path: &str) -> String {
    match selector(object, path) {
        empty if empty.is_empty() => "<none>".to_owned(),
        found => found,
    }
}

/// The first three of `items` and how many more there are; `<unset>` for none.
pub(crate) fn first_three(items: &[String]) -> String {
    const SHOWN: usize = 3;
    match items {
        [] => "<unset>".to_owned(),
        few if few.len() <= SHOWN => few.join(","),
        many => format!("{} + {} more...", many[..SHOWN].join(","), many.len() - SHOWN),
    }
}
