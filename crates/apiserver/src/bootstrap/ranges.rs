//! The `ServiceCIDR` object of the ranges that the server was started with.

use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use serde_json::json;

use crate::app::App;
use crate::pipeline::change::{self, Change, Made, Part};
use crate::pipeline::current::{self, Current};
use crate::pipeline::metadata::time;
use crate::request::{Caller, Target, WriteOptions};

/// Its name upstream.
const NAME: &str = "kubernetes";

/// Makes the object, and says that addresses are taken from it.
pub(super) async fn ensure(app: &App) -> Result<(), Status> {
    let ranges: Vec<String> = app.config.service_cluster_ip_range.all().iter().map(ToString::to_string).collect();
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": NAME},
        "spec": {"cidrs": ranges},
    });
    super::ensure(app, object).await?;
    let kind = kinds::by_resource("networking.k8s.io", "v1", "servicecidrs").ok_or_else(Status::no_such_resource)?;
    if current::load(app, &Target::new(kind, "", NAME)).await?.is_some_and(|state| gains(&state.value, &ranges)) {
        let make = |state: &Current| {
            let mut object = state.value.clone();
            if gains(&object, &ranges) {
                value::set(&mut object, "spec.cidrs", json!(ranges));
            }
            Ok(Made { object, warnings: Vec::new() })
        };
        change::by_server(app, &Target::new(kind, "", NAME), Part::Main, &make).await?;
    }
    let target = Target { subresource: "status", ..Target::new(kind, "", NAME) };
    let now = time(app.clock.now());
    let make = |state: &Current| Ok(Made { object: ready(&state.value, &ranges, &now), warnings: Vec::new() });
    let (caller, options) = (Caller::apiserver(), WriteOptions::default());
    let change = Change {
        caller: &caller,
        target: &target,
        options: &options,
        part: Part::Status,
        version_required: false,
        make: &make,
    };
    change.run(app).await.map(drop)
}

/// Whether the server was started with a second range beside the object's only one. As upstream, that is all that changes it.
fn gains(object: &Value, ranges: &[String]) -> bool {
    matches!(value::list_at(object, "spec.cidrs"), [only] if ranges.len() == 2 && *only == ranges[0])
}

/// The object as ready, unless it says something already or is about another range.
fn ready(object: &Value, ranges: &[String], now: &str) -> Value {
    let mut object = object.clone();
    let own = value::list_at(&object, "spec.cidrs").first() == ranges.first().map(|range| json!(range)).as_ref();
    if own && value::list_at(&object, "status.conditions").is_empty() {
        let condition = json!({"type": "Ready", "status": "True", "reason": "InUse",
            "message": "Kubernetes default Service CIDR is ready", "lastTransitionTime": now});
        value::set(&mut object, "status.conditions", json!([condition]));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_range_in_use_is_ready() {
        let object = |range: &str| json!({"spec": {"cidrs": [range]}});
        let own = ["10.96.0.0/16".to_owned()];
        let made = ready(&object("10.96.0.0/16"), &own, "t");
        assert_eq!(made["status"]["conditions"][0]["status"], "True");
        assert_eq!(ready(&made, &own, "later"), made);
        assert_eq!(ready(&object("10.97.0.0/16"), &own, "t"), object("10.97.0.0/16"));
        let both = [own[0].clone(), "fd00::/112".to_owned()];
        assert!(gains(&made, &both) && !gains(&made, &own) && !gains(&object("10.97.0.0/16"), &both));
        assert!(!gains(&json!({"spec": {"cidrs": both}}), &both));
    }
}
