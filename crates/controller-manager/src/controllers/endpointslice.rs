//! Publishes which addresses stand behind a service: slices of the pods that its selector finds.

pub(super) mod desired;
mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{
    Change, Client, DeleteParams, Key, Object,
    events::{EventType, Recorder, reference},
};
use gantry_controller::{Doing, Error, Outcome, Pending, Reconciler, Runner};
use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
};

pub(super) use self::plan::Plan;
use self::plan::Snapshot;
use crate::{
    context::Context,
    pods,
    readers::{self, Readers},
    selector,
};

const ZONE: &str = "topology.kubernetes.io/zone";

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    let workers = context.options.concurrent_service_endpoint_syncs;
    let runner = Runner::new("endpointslice", workers, context.stop.clone());
    let (for_pods, for_nodes) = (Arc::clone(&readers), Arc::clone(&readers));
    let runner = runner
        .watch_keys(&readers.services)
        .watch(&readers.endpoint_slices, |change| for_slice(change, plan::MANAGER))
        .watch(&readers.pods, move |change| for_pod(&for_pods, change))
        .watch(&readers.nodes, move |change| for_node(&for_nodes, change));
    let controller = Controller {
        client: context.client.clone(),
        recorder: context.recorder("endpoint-slice-controller"),
        context,
        pending: Pending::new(),
    };
    runner.run(Arc::new(controller)).await;
}

/// Whether `manager` looks after the slice.
fn is_of(slice: &EndpointSlice, manager: &str) -> bool {
    slice.metadata.labels.as_ref().and_then(|l| l.get(plan::MANAGED_BY)).is_some_and(|by| by == manager)
}

/// The service that a slice of `manager` is or was for.
pub(super) fn for_slice(change: &Change<EndpointSlice>, manager: &str) -> Vec<Key> {
    let service = |slice: &Arc<EndpointSlice>| {
        let name = slice.metadata.labels.as_ref()?.get(readers::SERVICE_LABEL)?;
        Some(Key::new(change.key.namespace.clone(), name.clone()))
    };
    [&change.old, &change.new].into_iter().flatten().filter(|s| is_of(s, manager)).filter_map(service).collect()
}

/// The slices of a service that `manager` looks after and that stay.
pub(super) fn slices_of(readers: &Readers, service: &Key, manager: &str) -> Vec<Arc<EndpointSlice>> {
    let mut slices = readers.endpoint_slices.by_index(readers::SERVICE, &service.to_string());
    slices.retain(|s| is_of(s, manager) && s.metadata.deletion_timestamp.is_none());
    slices
}

/// The pods that the service selects; `None` for one that selects none by itself.
pub(super) fn selected_by(readers: &Readers, service: &Service) -> Option<Vec<Arc<Pod>>> {
    let spec = service.spec.as_ref()?;
    let wanted = spec.selector.as_ref().filter(|s| !s.is_empty() && spec.type_.as_deref() != Some("ExternalName"))?;
    let mut pods = readers.pods.in_namespace(&service.key().namespace);
    pods.retain(|pod| selector::has_all(pod.metadata.labels.as_ref(), Some(wanted)));
    Some(pods)
}

/// The services that select the pod, or did; none when the change does not show in an endpoint.
pub(super) fn for_pod(readers: &Readers, change: &Change<Pod>) -> Vec<Key> {
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && face(old) == face(new)
    {
        return Vec::new();
    }
    let selects = |service: &Service| {
        let wanted = service.spec.as_ref().and_then(|s| s.selector.as_ref());
        let pods = [&change.old, &change.new].into_iter().flatten();
        pods.into_iter().any(|p| selector::has_all(p.metadata.labels.as_ref(), wanted))
    };
    let services = readers.services.in_namespace(&change.key.namespace);
    services.iter().filter(|s| selects(s)).map(|s| s.key()).collect()
}

/// Everything of a pod that an endpoint is made from.
fn face(pod: &Pod) -> impl PartialEq + use<> {
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    (
        (pod.metadata.uid.clone(), pod.metadata.labels.clone(), pods::node(pod).to_owned()),
        (pods::is_ready(pod), pods::is_terminating(pod), pods::is_terminal(pod)),
        (status.and_then(|s| s.pod_ip.clone()), status.and_then(|s| s.pod_ips.clone())),
        (spec.and_then(|s| s.hostname.clone()), spec.and_then(|s| s.subdomain.clone())),
    )
}

fn zone(node: &Node) -> Option<String> {
    node.metadata.labels.as_ref()?.get(ZONE).cloned()
}

/// A node that changes its zone concerns every service with a pod there.
fn for_node(readers: &Readers, change: &Change<Node>) -> Vec<Key> {
    let zone_of = |node: &Option<Arc<Node>>| node.as_deref().and_then(zone);
    if zone_of(&change.old) == zone_of(&change.new) {
        return Vec::new();
    }
    let pods = readers.pods.by_index(readers::NODE, &change.key.name);
    let changes = pods.into_iter().map(|p| Change { key: p.key(), old: None, new: Some(p) });
    changes.flat_map(|change| for_pod(readers, &change)).collect()
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
        let Some(service) = readers.services.get(key) else {
            // The garbage collector takes the slices with their owner.
            self.pending.forget(key);
            return Ok(Outcome::Done);
        };
        let pods = selected_by(readers, &service).filter(|_| service.metadata.deletion_timestamp.is_none());
        let Some(pods) = pods else { return Ok(Outcome::Done) };
        if !self.pending.settled(key, &readers.endpoint_slices) {
            return Ok(Outcome::After(Pending::LOOK_AGAIN));
        }
        let slices = slices_of(readers, key, plan::MANAGER);
        let zone_of = |node: &str| readers.nodes.get(&Key::cluster(node)).as_deref().and_then(zone);
        let plan = plan::plan(&Snapshot {
            service: &service,
            pods: &pods,
            slices: &slices,
            zone_of: &zone_of,
            slice_len_max: self.context.options.max_endpoints_per_slice,
        });
        let result = execute(&self.client, &self.pending, key, plan).await;
        if let Err(error) = &result
            && !error.is_conflict()
        {
            let why = gantry_common::error_chain(error);
            let message = format!("Error updating Endpoint Slices for Service {key}: {why}");
            self.recorder.event(&reference(&*service), EventType::Warning, "FailedToUpdateEndpointSlices", message);
        }
        result.map(|()| Outcome::Done)
    }
}

/// Makes the writes, and notes them in `pending`.
pub(super) async fn execute(client: &Client, pending: &Pending, key: &Key, plan: Plan) -> Result<(), Error> {
    let api = client.namespaced::<EndpointSlice>(&key.namespace);
    for slice in plan.create {
        match api.create(&slice).await {
            Ok(made) => pending.wrote(key, &made),
            // Nothing can be made there any more.
            Err(error) if error.is_namespace_terminating() => return Ok(()),
            Err(error) => return Err(error).doing(|| format!("create an endpoint slice of service {key}")),
        }
    }
    for slice in plan.update {
        let written = api.update(&slice).await;
        let written = written.doing(|| format!("update endpoint slice {}", slice.key()))?;
        pending.wrote(key, &written);
    }
    for slice in plan.delete {
        match api.delete(&slice.key().name, &DeleteParams::default().uid(slice.uid())).await {
            Ok(()) => pending.deleted(key, &*slice),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error).doing(|| format!("delete endpoint slice {}", slice.key())),
        }
    }
    Ok(())
}
