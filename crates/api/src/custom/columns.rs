//! The columns of a Table that a definition asks for.

use crate::Value;
use crate::kinds::Column;
use crate::value::{i64_at, str_at};

use super::JsonPath;
use super::definition::leak;

const NAME: Column =
    Column { name: "Name", kind: "string", format: "name", description: Column::NAME_TEXT, priority: 0 };

/// What is shown where a definition names no columns.
const AGE: Column = Column { name: "Age", kind: "date", format: "", description: Column::CREATED_TEXT, priority: 0 };

/// The columns of `additionalPrinterColumns` behind that of the name, and where their values are: `None` for what cannot be
/// read, which stays empty.
pub(super) fn of(version: &Value) -> (&'static [Column], Vec<Option<JsonPath>>) {
    let given = version.get("additionalPrinterColumns").and_then(Value::as_array).filter(|list| !list.is_empty());
    let mut columns = vec![NAME];
    let mut paths = vec![JsonPath::parse(".metadata.name").ok()];
    match given {
        None => {
            columns.push(AGE);
            paths.push(JsonPath::parse(".metadata.creationTimestamp").ok());
        }
        Some(list) => {
            for column in list {
                columns.push(header(column));
                paths.push(str_at(column, "jsonPath").and_then(|path| JsonPath::parse(path).ok()));
            }
        }
    }
    (Box::leak(columns.into_boxed_slice()), paths)
}

fn header(column: &Value) -> Column {
    let text = |path: &str| str_at(column, path).unwrap_or_default();
    let said = text("description");
    let description = if said.is_empty() {
        format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath"))
    } else {
        said.to_owned()
    };
    Column {
        name: leak(text("name")),
        kind: leak(text("type")),
        format: leak(text("format")),
        description: leak(&description),
        priority: i64_at(column, "priority").and_then(|p| i32::try_from(p).ok()).unwrap_or(0),
    }
}
