//! Events (core/v1): their cells, and the fields that `kubectl describe` selects by.

use std::borrow::Cow;

use gantry_api::{Value, value};
use jiff::Timestamp;

use super::columns::{cells, name, number, of_field, since, text};
use super::{Column, Ctx, Row, Strategy, metadata_field};

/// The strategy of events.
pub(super) struct Event;

const COLUMNS: &[Column] = &[
    of_field("Last Seen", "string", "core/v1.Event", "lastTimestamp"),
    of_field("Type", "string", "core/v1.Event", "type"),
    of_field("Reason", "string", "core/v1.Event", "reason"),
    of_field("Object", "string", "core/v1.Event", "involvedObject"),
    of_field("Subobject", "string", "core/v1.ObjectReference", "fieldPath").wide(),
    of_field("Source", "string", "core/v1.Event", "source").wide(),
    of_field("Message", "string", "core/v1.Event", "message"),
    of_field("First Seen", "string", "core/v1.Event", "firstTimestamp").wide(),
    of_field("Count", "string", "core/v1.Event", "count").wide(),
    super::Column { priority: 1, ..super::columns::NAME },
];

impl Strategy for Event {
    fn prepare_create(&self, _ctx: &Ctx<'_>, event: &mut Value) {
        // Printed even when nobody is named.
        value::set_default(event, "source", gantry_api::Object::new());
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn garbage_collected(&self) -> bool {
        false
    }

    fn field_value<'a>(&self, event: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "involvedObject.kind"
            | "involvedObject.namespace"
            | "involvedObject.name"
            | "involvedObject.uid"
            | "involvedObject.apiVersion"
            | "involvedObject.resourceVersion"
            | "involvedObject.fieldPath"
            | "reason"
            | "type" => Some(text(event, path).into()),
            "reportingComponent" => Some(text(event, path).into()),
            "source" => {
                Some(first_non_empty(text(event, "source.component"), text(event, "reportingComponent")).into())
            }
            _ => metadata_field(event, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, event: &Value, now: Timestamp) -> Row {
        let first = since(first_non_empty(text(event, "firstTimestamp"), text(event, "eventTime")), now);
        let mut last = match text(event, "lastTimestamp") {
            "" => first.clone(),
            time => since(time, now),
        };
        let mut count = number(event, "count");
        if value::get(event, "series").is_some_and(|s| !s.is_null()) {
            last = since(text(event, "series.lastObservedTime"), now);
            count = number(event, "series.count");
        } else if count == 0 {
            // Events of the newer API that were seen once have no count.
            count = 1;
        }
        cells(vec![
            last.into(),
            text(event, "type").into(),
            text(event, "reason").into(),
            target(event).into(),
            text(event, "involvedObject.fieldPath").into(),
            source(event).into(),
            text(event, "message").trim().into(),
            first.into(),
            count.into(),
            name(event),
        ])
    }
}

fn first_non_empty<'a>(a: &'a str, b: &'a str) -> &'a str {
    if a.is_empty() { b } else { a }
}

fn target(event: &Value) -> String {
    let kind = text(event, "involvedObject.kind").to_lowercase();
    match text(event, "involvedObject.name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn source(event: &Value) -> String {
    let component = first_non_empty(text(event, "source.component"), text(event, "reportingComponent"));
    match first_non_empty(text(event, "source.host"), text(event, "reportingInstance")) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}
