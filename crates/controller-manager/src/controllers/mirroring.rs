//! Makes slices of endpoints that users or other programs wrote for a service without a selector.

mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{
    Change, Client, Key,
    events::{EventType, Recorder, reference},
};
use gantry_controller::{Error, Outcome, Pending, Reconciler, Runner};
use k8s_openapi::api::core::v1::Endpoints;

use self::plan::Mirrored;
use super::endpointslice;
use crate::context::Context;

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    let workers = context.options.mirroring_concurrent_service_endpoint_syncs;
    let runner = Runner::new("endpointslice-mirroring", workers, context.stop.clone())
        .watch(&readers.endpoints, for_endpoints)
        .watch(&readers.endpoint_slices, |change| endpointslice::for_slice(change, plan::MANAGER))
        .watch_keys(&readers.services);
    let controller = Controller {
        client: context.client.clone(),
        recorder: context.recorder("endpoint-slice-mirroring-controller"),
        context,
        pending: Pending::new(),
    };
    runner.run(Arc::new(controller)).await;
}

/// Endpoints whose change may concern slices.
fn for_endpoints(change: &Change<Endpoints>) -> Vec<Key> {
    let mut states = [&change.old, &change.new].into_iter().flatten();
    states.any(|e| plan::is_mirrored(e)).then(|| change.key.clone()).into_iter().collect()
}

struct Controller {
    context: Context,
    client: Client,
    recorder: Recorder,
    pending: Pending,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        let slices = endpointslice::slices_of(readers, key, plan::MANAGER);
        let has_no_selector = |key: &Key| {
            let service = readers.services.get(key)?;
            Some(service.spec.as_ref().and_then(|s| s.selector.as_ref()).is_none_or(|s| s.is_empty()))
        };
        let endpoints = readers.endpoints.get(key).filter(|e| plan::is_mirrored(e));
        let endpoints = endpoints.filter(|_| has_no_selector(key) == Some(true));
        if endpoints.is_none() && slices.is_empty() {
            self.pending.forget(key);
            return Ok(Outcome::Done);
        }
        if !self.pending.settled(key, &readers.endpoint_slices) {
            return Ok(Outcome::After(Pending::LOOK_AGAIN));
        }
        let most = self.context.options.mirroring_max_endpoints_per_subset;
        let mirrored = endpoints.as_deref().map(|e| plan::mirrored(e, most)).unwrap_or_default();
        let mut plan = plan::plan(endpoints.as_deref(), &mirrored, &slices);
        if let Some(endpoints) = &endpoints {
            self.complain(endpoints, &mirrored, most);
            if endpoints.metadata.deletion_timestamp.is_some() {
                plan.create.clear();
            }
        }
        endpointslice::execute(&self.client, &self.pending, key, plan).await.map(|()| Outcome::Done)
    }
}

impl Controller {
    /// Says what of the endpoints is in no slice.
    fn complain(&self, endpoints: &Endpoints, mirrored: &Mirrored, most: usize) {
        let warn = |reason, message| self.recorder.event(&reference(endpoints), EventType::Warning, reason, message);
        if mirrored.invalid > 0 {
            let message = format!("Skipped {} invalid IP addresses when mirroring to EndpointSlices", mirrored.invalid);
            warn("InvalidIPAddress", message);
        }
        if mirrored.skipped > mirrored.invalid {
            let message = format!(
                "A max of {most} addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses were skipped",
                mirrored.skipped
            );
            warn("TooManyAddressesToMirror", message);
        }
    }
}
