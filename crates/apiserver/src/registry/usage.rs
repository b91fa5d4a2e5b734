//! Use of CPU and memory as rows, and how components are.

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

/// The strategy of how components are.
pub(super) struct ComponentStatus;

impl Strategy for ComponentStatus {
    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Status", "string", "Status of the component conditions"),
                column("Message", "string", "Message of the component conditions"),
                column("Error", "string", "Error of the component conditions"),
            ]
        }
    }

    fn row(&self, object: &Value, _now: jiff::Timestamp) -> Row {
        let healthy = value::list_at(object, "conditions").iter().find(|c| text(c, "type") == "Healthy");
        let status = healthy.map_or("Unknown", |c| match text(c, "status") {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        });
        let said = |key| healthy.map_or("", |c| text(c, key));
        cells(vec![name(object), status.into(), said("message").into(), said("error").into()])
    }
}
