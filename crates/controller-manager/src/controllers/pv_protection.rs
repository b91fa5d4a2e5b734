//! Lets volumes go that are to be deleted, once no claim is bound to them.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{Change, Client, Key};
use gantry_controller::{Error, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::PersistentVolume;

use crate::{
    context::Context,
    protection::{self, Need},
    readers::Readers,
};

const FINALIZER: &str = "kubernetes.io/pv-protection";

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    let runner = Runner::new("pv-protection", 1, context.stop.clone()).watch(&readers.volumes, for_volume);
    runner.run(Arc::new(Controller { client: context.client.clone(), readers })).await;
}

fn for_volume(change: &Change<PersistentVolume>) -> Vec<Key> {
    protection::asking(change, wants)
}

/// What is to be done with the volume's finalizer now.
fn wants(volume: &PersistentVolume) -> Need {
    let bound = volume.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Bound"));
    match protection::need(&volume.metadata, FINALIZER) {
        Need::Release if bound => Need::Nothing,
        need => need,
    }
}

struct Controller {
    client: Client,
    readers: Arc<Readers>,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        if let Some(volume) = self.readers.volumes.get(key).filter(|v| wants(v) != Need::Nothing) {
            protection::settle(&self.client, &*volume, FINALIZER).await?;
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn pv_protection_holds_what_is_bound() {
        let check = |deleting: Value, finalizers: &[&str], phase: &str, expected| {
            let volume = json!({
                "metadata": {"name": "v", "deletionTimestamp": deleting, "finalizers": finalizers},
                "status": {"phase": phase},
            });
            assert_eq!(wants(&serde_json::from_value(volume.clone()).expect("a volume")), expected, "{volume}");
        };
        let now = json!("2026-01-01T00:00:00Z");
        check(now.clone(), &[FINALIZER], "Bound", Need::Nothing);
        check(now.clone(), &[FINALIZER], "Released", Need::Release);
        check(now, &["x/y"], "Released", Need::Nothing);
        check(Value::Null, &[FINALIZER], "Available", Need::Nothing);
        check(Value::Null, &[], "Bound", Need::Hold);
    }
}
