//! The wires: informers make the zone, batch by batch.

use std::collections::BTreeSet;
use std::sync::Arc;

use gantry_client::{Key, Reader};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tracing::info;

use crate::records::records;
use crate::server::Server;
use crate::zone::Zone;

/// The EndpointSlice label that names the service; also the name of the informer's index.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Keeps the server's zone as the objects want it; the first zone is complete.
pub(crate) async fn follow(server: Arc<Server>, services: Reader<Service>, slices: Reader<EndpointSlice>) {
    let mut service_changes = services.subscribe();
    let mut slice_changes = slices.subscribe();
    let mut zone = Zone::new(&server.domain);
    let mut dirty: BTreeSet<Key> = services.list().iter().map(|s| Key::of(&s.metadata)).collect();
    loop {
        // Everything that gathered goes into one new zone.
        while let Some(change) = service_changes.try_next() {
            dirty.insert(change.key);
        }
        while let Some(change) = slice_changes.try_next() {
            dirty.extend([&change.old, &change.new].into_iter().flatten().filter_map(|s| service_of(s)));
        }
        for key in std::mem::take(&mut dirty) {
            let made =
                services.get(&key).map(|service| records(&service, &slices.by_index(SERVICE_LABEL, &key.to_string())));
            zone.set(&key, made);
        }
        if server.zone.swap(Some(Arc::new(zone.clone()))).is_none() {
            info!(services = zone.len(), "the zone is complete");
        }
        tokio::select! {
            change = service_changes.next() => {
                dirty.insert(change.key);
            }
            change = slice_changes.next() => {
                dirty.extend([&change.old, &change.new].into_iter().flatten().filter_map(|s| service_of(s)));
            }
        }
    }
}

/// The service that a slice belongs to.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name))
}
