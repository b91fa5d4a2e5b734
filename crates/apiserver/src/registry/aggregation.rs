//! APIServices: which group versions are served, by this server or by another one.

use gantry_api::{Value, value};
use jiff::Timestamp;
use serde_json::json;

use super::columns::{AGE, NAME, age, cells, column, name, text};
use super::{Column, Ctx, Row, Strategy};

/// The strategy of APIServices.
pub(super) struct ApiService;

/// The condition of a group version that this server serves itself.
pub(crate) fn local_condition(now: Timestamp) -> Value {
    condition(now, "True", "Local", "Local APIServices are always available")
}

/// The condition `Available`.
pub(crate) fn condition(now: Timestamp, status: &str, reason: &str, message: &str) -> Value {
    let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"type": "Available", "status": status, "reason": reason, "message": message, "lastTransitionTime": at})
}

/// The condition `Available` of an APIService.
pub(crate) fn available(object: &Value) -> Option<&Value> {
    value::list_at(object, "status.conditions").iter().find(|c| text(c, "type") == "Available")
}

impl Strategy for ApiService {
    fn prepare_create(&self, ctx: &Ctx<'_>, object: &mut Value) {
        value::remove(object, "status");
        if value::map_at(object, "spec.service").is_none() {
            value::set(object, "status", json!({"conditions": [local_condition(ctx.now)]}));
        }
    }

    fn fixes_metadata(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Service", "string", "The reference to the service that hosts this API endpoint."),
                column("Available", "string", "Whether this service is available."),
                AGE,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Row {
        let service = match value::map_at(object, "spec.service") {
            Some(_) => format!("{}/{}", text(object, "spec.service.namespace"), text(object, "spec.service.name")),
            None => "Local".to_owned(),
        };
        let available = available(object).map_or_else(
            || "Unknown".to_owned(),
            |condition| match text(condition, "status") {
                "True" => "True".to_owned(),
                status => format!("{status} ({})", text(condition, "reason")),
            },
        );
        cells(vec![name(object), service.into(), available.into(), age(object, now)])
    }
}
