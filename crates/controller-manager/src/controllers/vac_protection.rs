//! Lets classes of volume attributes go that are to be deleted, once no volume and no claim names them.
//!
//! Only the informers are asked, as upstream: a claim that is made in the same moment may find the class gone.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{Change, Client, Key, Object};
use gantry_controller::{Error, Outcome, Reconciler, Runner};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;

use crate::{
    context::Context,
    protection::{self, Need},
    readers::{self, Readers},
    volumes::{classes_of_claim, classes_of_volume},
};

const FINALIZER: &str = "kubernetes.io/vac-protection";

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    let runner = Runner::new("vac-protection", 1, context.stop.clone())
        .watch(&readers.attributes_classes, for_class)
        .watch(&readers.claims, |change| freed(change, classes_of_claim))
        .watch(&readers.volumes, |change| freed(change, classes_of_volume));
    runner.run(Arc::new(Controller { client: context.client.clone(), readers })).await;
}

fn for_class(change: &Change<VolumeAttributesClass>) -> Vec<Key> {
    protection::asking(change, |class| protection::need(&class.metadata, FINALIZER))
}

/// The classes that the object named before and does not name now.
fn freed<K: Object>(change: &Change<K>, classes: fn(&K) -> Vec<String>) -> Vec<Key> {
    let now = change.new.as_deref().map(classes).unwrap_or_default();
    let before = change.old.as_deref().map(classes).unwrap_or_default();
    before.into_iter().filter(|name| !now.contains(name)).map(Key::cluster).collect()
}

struct Controller {
    client: Client,
    readers: Arc<Readers>,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(class) = self.readers.attributes_classes.get(key) else { return Ok(Outcome::Done) };
        let settle = match protection::need(&class.metadata, FINALIZER) {
            Need::Nothing => false,
            Need::Hold => true,
            Need::Release => !self.is_used(&key.name),
        };
        if settle {
            protection::settle(&self.client, &*class, FINALIZER).await?;
        }
        Ok(Outcome::Done)
    }
}

impl Controller {
    fn is_used(&self, class: &str) -> bool {
        let readers = &self.readers;
        !readers.volumes.by_index(readers::ATTRIBUTES_CLASS, class).is_empty()
            || !readers.claims.by_index(readers::ATTRIBUTES_CLASS, class).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PersistentVolumeClaim;
    use serde_json::{Value, json};

    use super::*;

    fn claim(spec: &str, status: &Value) -> Arc<PersistentVolumeClaim> {
        let object = json!({"metadata": {"name": "c"}, "spec": {"volumeAttributesClassName": spec}, "status": status});
        Arc::new(serde_json::from_value(object).expect("a claim"))
    }

    #[test]
    fn vac_protection_looks_at_a_class_that_is_named_no_more() {
        let check = |old: &Arc<PersistentVolumeClaim>, new: Option<&Arc<PersistentVolumeClaim>>, expected: &[&str]| {
            let change = Change { key: Key::new("ns", "c"), old: Some(Arc::clone(old)), new: new.cloned() };
            let names: Vec<String> = freed(&change, classes_of_claim).into_iter().map(|k| k.name).collect();
            assert_eq!(names, expected);
        };
        let gold = claim("gold", &json!({}));
        let turning = claim("silver", &json!({"currentVolumeAttributesClassName": "gold"}));
        let target = json!({"modifyVolumeStatus": {"status": "Pending", "targetVolumeAttributesClassName": "gold"}});
        let targeted = claim("", &target);
        let silver = claim("silver", &json!({"currentVolumeAttributesClassName": "silver"}));
        check(&gold, Some(&turning), &[]);
        check(&turning, Some(&silver), &["gold"]);
        check(&targeted, Some(&silver), &["gold"]);
        check(&turning, None, &["gold", "silver"]);
    }
}
