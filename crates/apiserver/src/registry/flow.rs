//! Flow schemas and priority levels.

use gantry_api::{Value, value};

use super::columns::{AGE, NAME, age, cells, column, name, number, text, text_or};
use super::{Column, Row, Strategy};

/// The strategy of flow schemas.
pub(super) struct FlowSchema;
/// The strategy of priority levels.
pub(super) struct PriorityLevelConfiguration;

impl Strategy for FlowSchema {
    fn fixes_metadata(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("PriorityLevel", "string", "The level of its requests"),
                column("MatchingPrecedence", "integer", "Lower ones are looked at first"),
                column("DistinguisherMethod", "string", "How its flows are told apart"),
                AGE,
                column("MissingPL", "string", "Whether its level does not exist"),
            ]
        }
    }

    fn row(&self, schema: &Value, now: jiff::Timestamp) -> Row {
        let dangling = value::list_at(schema, "status.conditions").iter().find(|c| text(c, "type") == "Dangling");
        cells(vec![
            name(schema),
            text(schema, "spec.priorityLevelConfiguration.name").into(),
            number(schema, "spec.matchingPrecedence").into(),
            text_or(schema, "spec.distinguisherMethod.type", "<none>").into(),
            age(schema, now),
            dangling.map_or("?", |c| text(c, "status")).into(),
        ])
    }
}

impl Strategy for PriorityLevelConfiguration {
    fn fixes_metadata(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Type", "string", "Exempt or Limited"),
                column("NominalConcurrencyShares", "string", "Its share of the server"),
                column("Queues", "string", "How many queues it has"),
                column("HandSize", "string", "Queues that one flow may use"),
                column("QueueLengthLimit", "string", "Requests that may wait in a queue"),
                AGE,
            ]
        }
    }

    fn row(&self, level: &Value, now: jiff::Timestamp) -> Row {
        let count =
            |path: &str| value::get(level, path).filter(|v| !v.is_null()).cloned().unwrap_or_else(|| "<none>".into());
        let queuing = |key: &str| count(&format!("spec.limited.limitResponse.queuing.{key}"));
        cells(vec![
            name(level),
            text(level, "spec.type").into(),
            count("spec.limited.nominalConcurrencyShares"),
            queuing("queues"),
            queuing("handSize"),
            queuing("queueLengthLimit"),
            age(level, now),
        ])
    }
}
