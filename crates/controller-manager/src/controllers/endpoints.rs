//! Publishes which addresses stand behind a service as one object, for clients that read no slices.

mod plan;
#[cfg(test)]
mod tests;
mod trigger;

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{
    Change, Client, DeleteParams, Key, Object,
    events::{EventType, Recorder, reference},
};
use gantry_controller::{Doing, Error, Outcome, Pending, Reconciler, Runner};
use k8s_openapi::api::core::v1::Endpoints;

pub(super) use self::plan::is_lease;
use self::trigger::Triggers;
use super::endpointslice::{for_pod, selected_by};
use crate::context::Context;

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    let runner = Runner::new("endpoints", context.options.concurrent_endpoint_syncs, context.stop.clone());
    let for_pods = Arc::clone(&readers);
    let runner = runner
        .watch_keys(&readers.services)
        .watch(&readers.endpoints, for_endpoints)
        .watch(&readers.pods, move |change| for_pod(&for_pods, change));
    let controller = Controller {
        client: context.client.clone(),
        recorder: context.recorder("endpoint-controller"),
        context,
        pending: Pending::new(),
        triggers: Triggers::default(),
    };
    runner.run(Arc::new(controller)).await;
}

/// Endpoints that go may have to come back, and those that are ours and that nobody has looked at may be left of a service that is no
/// more. What users do to them they keep until something else changes, as upstream has it.
fn for_endpoints(change: &Change<Endpoints>) -> Vec<Key> {
    let is_left = |e: &Arc<Endpoints>| change.old.is_none() && plan::is_ours(e);
    change.new.as_ref().is_none_or(is_left).then(|| change.key.clone()).into_iter().collect()
}

struct Controller {
    context: Context,
    client: Client,
    recorder: Recorder,
    pending: Pending,
    triggers: Triggers,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        if !self.pending.settled(key, &readers.endpoints) {
            return Ok(Outcome::After(Pending::LOOK_AGAIN));
        }
        let present = readers.endpoints.get(key);
        let Some(service) = readers.services.get(key) else {
            self.pending.forget(key);
            self.triggers.forget(key);
            return self.delete(key, present).await.map(|()| Outcome::Done);
        };
        let Some(pods) = selected_by(readers, &service) else { return Ok(Outcome::Done) };
        let changed = self.triggers.changed(key, &service, &pods);
        match plan::plan(&service, &pods, present.as_deref(), changed) {
            Some(endpoints) => self.write(key, &endpoints).await.map(|()| Outcome::Done),
            None => Ok(Outcome::Done),
        }
    }
}

impl Controller {
    /// They go with their service, whoever made them.
    async fn delete(&self, key: &Key, present: Option<Arc<Endpoints>>) -> Result<(), Error> {
        let Some(present) = present.filter(|e| !plan::is_lease(e)) else { return Ok(()) };
        let api = self.client.namespaced::<Endpoints>(&key.namespace);
        match api.delete(&key.name, &DeleteParams::default().uid(present.uid())).await {
            Err(error) if !error.is_not_found() => Err(error).doing(|| format!("delete endpoints {key}")),
            _ => Ok(()),
        }
    }

    async fn write(&self, key: &Key, endpoints: &Endpoints) -> Result<(), Error> {
        let api = self.client.namespaced::<Endpoints>(&key.namespace);
        let is_new = endpoints.metadata.resource_version.is_none();
        let written = if is_new { api.create(endpoints).await } else { api.update(endpoints).await };
        match written {
            Ok(written) => {
                self.pending.wrote(key, &written);
                Ok(())
            }
            // Nothing can be made there any more.
            Err(error) if error.is_namespace_terminating() => Ok(()),
            Err(error) => {
                let why = gantry_common::error_chain(&error);
                let (reason, message) = match is_new {
                    true => ("FailedToCreateEndpoint", format!("Failed to create endpoint for service {key}: {why}")),
                    false => ("FailedToUpdateEndpoint", format!("Failed to update endpoint {key}: {why}")),
                };
                self.recorder.event(&reference(endpoints), EventType::Warning, reason, message);
                Err(error).doing(|| format!("write endpoints {key}"))
            }
        }
    }
}
