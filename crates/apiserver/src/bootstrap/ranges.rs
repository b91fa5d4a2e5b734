//! The `ServiceCIDR` object of the range that the server was started with.

use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use serde_json::json;

use crate::app::App;
use crate::pipeline::change::{Change, Made, Part};
use crate::pipeline::current::Current;
use crate::pipeline::metadata::time;
use crate::request::{Caller, Target, WriteOptions};

/// Its name upstream.
const NAME: &str = "kubernetes";

/// Makes the object, and says that addresses are taken from it.
pub(super) async fn ensure(app: &App) -> Result<(), Status> {
    let range = app.config.service_cluster_ip_range.to_string();
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": NAME},
        "spec": {"cidrs": [range]},
    });
    super::ensure(app, object).await?;
    let kind = kinds::by_resource("networking.k8s.io", "v1", "servicecidrs").ok_or_else(Status::no_such_resource)?;
    let target = Target { subresource: "status", ..Target::new(kind, "", NAME) };
    let now = time(app.clock.now());
    let make = |state: &Current| Ok(Made { object: ready(&state.value, &range, &now), warnings: Vec::new() });
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

/// The object as ready, unless it says something already or is about another range.
fn ready(object: &Value, range: &str, now: &str) -> Value {
    let mut object = object.clone();
    let own = value::list_at(&object, "spec.cidrs").iter().any(|c| c == range);
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
        let made = ready(&object("10.96.0.0/16"), "10.96.0.0/16", "t");
        assert_eq!(made["status"]["conditions"][0]["status"], "True");
        assert_eq!(ready(&made, "10.96.0.0/16", "later"), made);
        assert_eq!(ready(&object("10.97.0.0/16"), "10.96.0.0/16", "t"), object("10.97.0.0/16"));
    }
}
