//! Use of CPU and memory as rows.

use gantry_api::quantity::Quantity;
use gantry_api::{Value, value};

use super::columns::{NAME, cells, column, name, text};
use super::{Column, Row, Strategy};

const COLUMNS: &[Column] = &[
    NAME,
    Column { format: "quantity", ..column("cpu", "string", "Cores, as the rate over the window") },
    Column { format: "quantity", ..column("memory", "string", "Memory that cannot be given up at once") },
    Column { format: "duration", ..column("Window", "string", "The time that the rate was measured over") },
];

/// The sum of one resource over `usages`.
fn sum<'a>(usages: impl Iterator<Item = &'a Value>, resource: &str) -> Value {
    let amounts = usages.filter_map(|usage| usage.get(resource)?.as_str()?.parse::<Quantity>().ok());
    amounts.fold(Quantity::ZERO, Quantity::plus).to_string().into()
}

fn row<'a>(object: &Value, usages: impl Iterator<Item = &'a Value> + Clone) -> Row {
    cells(vec![name(object), sum(usages.clone(), "cpu"), sum(usages, "memory"), text(object, "window").into()])
}

/// The strategy of what nodes use.
pub(super) struct NodeMetrics;

impl Strategy for NodeMetrics {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, object: &Value, _now: jiff::Timestamp) -> Row {
        row(object, object.get("usage").into_iter())
    }
}

/// The strategy of what pods use.
pub(super) struct PodMetrics;

impl Strategy for PodMetrics {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, object: &Value, _now: jiff::Timestamp) -> Row {
        row(object, value::list_at(object, "containers").iter().filter_map(|c| c.get("usage")))
    }
}
