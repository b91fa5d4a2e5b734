//! The columns of a Table that a definition asks for.

use crate::Value;
use crate::kinds;
use crate::value::{i64_at, str_at};

use super::JsonPath;

/// One column of a Table, as [`crate::kinds::Column`].
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The header.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// `name` for the name column, else mostly empty.
    pub format: String,
    /// For people.
    pub description: String,
    /// 0: always shown.
    pub priority: i32,
    /// Where its values are; `None` for nowhere.
    pub path: Option<JsonPath>,
}

/// The columns of `additionalPrinterColumns` behind that of the name, up to one whose path cannot be read; the age where there are
/// none.
pub(super) fn of(version: &Value) -> Vec<Column> {
    let given = version.get("additionalPrinterColumns").and_then(Value::as_array).filter(|list| !list.is_empty());
    let name = Column {
        name: "Name".to_owned(),
        kind: "string".to_owned(),
        format: "name".to_owned(),
        description: kinds::Column::NAME_TEXT.to_owned(),
        priority: 0,
        path: JsonPath::parse(".metadata.name").ok(),
    };
    let age = || Column {
        name: "Age".to_owned(),
        kind: "date".to_owned(),
        format: String::new(),
        description: kinds::Column::CREATED_TEXT.to_owned(),
        priority: 0,
        path: JsonPath::parse(".metadata.creationTimestamp").ok(),
    };
    let others = given.map_or_else(|| vec![age()], |list| list.iter().map_while(column).collect());
    std::iter::once(name).chain(others).collect()
}

fn column(column: &Value) -> Option<Column> {
    let path = JsonPath::parse(str_at(column, "jsonPath")?).ok()?;
    let text = |path: &str| str_at(column, path).unwrap_or_default().to_owned();
    let said = text("description");
    let description = if said.is_empty() {
        format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath"))
    } else {
        said
    };
    Some(Column {
        name: text("name"),
        kind: text("type"),
        format: text("format"),
        description,
        priority: i64_at(column, "priority").and_then(|p| i32::try_from(p).ok()).unwrap_or(0),
        path: Some(path),
    })
}
