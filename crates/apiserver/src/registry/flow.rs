//! Flow schemas and priority levels.

use gantry_api::{Value, value};

use super::columns::{AGE, NAME, age, cells, column, name, number, of_field, text, text_or};
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
                of_field("PriorityLevel", "string", "flowcontrol/v1.PriorityLevelConfigurationReference", "name"),
                of_field("MatchingPrecedence", "string", "flowcontrol/v1.FlowSchemaSpec", "matchingPrecedence"),
                of_field("DistinguisherMethod", "string", "flowcontrol/v1.FlowSchemaSpec", "distinguisherMethod"),
                AGE,
                column("MissingPL", "string", "references a broken or non-existent PriorityLevelConfiguration"),
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
                of_field("Type", "string", "flowcontrol/v1.PriorityLevelConfigurationSpec", "type"),
                of_field(
                    "NominalConcurrencyShares",
                    "string",
                    "flowcontrol/v1.LimitedPriorityLevelConfiguration",
                    "nominalConcurrencyShares",
                ),
                of_field("Queues", "string", "flowcontrol/v1.QueuingConfiguration", "queues"),
                of_field("HandSize", "string", "flowcontrol/v1.QueuingConfiguration", "handSize"),
                of_field("QueueLengthLimit", "string", "flowcontrol/v1.QueuingConfiguration", "queueLengthLimit"),
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
