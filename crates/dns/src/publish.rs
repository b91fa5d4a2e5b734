//! This server as an endpoint of the cluster's DNS service: an EndpointSlice of its own, with its node's name.
//!
//! Proxies prefer the endpoint of their node. The slice belongs to the Node object, so that it goes with it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use gantry_client::{Client, DeleteParams, Error, Informer, Key, Reader};
use gantry_common::backoff::Backoff;
use gantry_common::task::Group;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use tracing::{info, warn};

use crate::shell::SERVICE_LABEL;

/// Where the DNS service is.
const NAMESPACE: &str = "kube-system";
const SERVICE: &str = "kube-dns";
/// Who may write the slice: no controller touches slices that another manages.
const MANAGER: &str = "gantry-dns";
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long a stop waits for the API server to take the slice away.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(3);

/// What is published.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) node: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) port: u16,
}

impl Publication {
    fn name(&self) -> String {
        format!("{SERVICE}-{}", self.node)
    }

    /// The slice as it should be; `owner` is the Node, where it exists.
    fn slice(&self, owner: Option<&Node>) -> EndpointSlice {
        let labels =
            [(SERVICE_LABEL, SERVICE), ("endpointslice.kubernetes.io/managed-by", MANAGER), ("k8s-app", SERVICE)];
        let owner = owner.and_then(|node| {
            Some(OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: node.metadata.name.clone()?,
                uid: node.metadata.uid.clone()?,
                ..OwnerReference::default()
            })
        });
        let port = |name: &str, protocol: &str| EndpointPort {
            name: Some(name.to_owned()),
            port: Some(i32::from(self.port)),
            protocol: Some(protocol.to_owned()),
            ..EndpointPort::default()
        };
        let endpoint = |address: &IpAddr| Endpoint {
            addresses: vec![address.to_string()],
            conditions: Some(EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) }),
            node_name: Some(self.node.clone()),
            ..Endpoint::default()
        };
        EndpointSlice {
            metadata: ObjectMeta {
                namespace: Some(NAMESPACE.to_owned()),
                name: Some(self.name()),
                labels: Some(BTreeMap::from(labels.map(|(k, v)| (k.to_owned(), v.to_owned())))),
                owner_references: owner.map(|o| vec![o]),
                ..ObjectMeta::default()
            },
            address_type: "IPv4".to_owned(),
            endpoints: Some(self.addresses.iter().filter(|a| a.is_ipv4()).map(endpoint).collect()),
            ports: Some(vec![port("dns", "UDP"), port("dns-tcp", "TCP")]),
        }
    }
}

/// Publishes, and keeps published what somebody else changes or deletes, until dropped.
pub(crate) async fn keep(client: Client, slices: Reader<EndpointSlice>, what: Publication, group: Group) {
    let nodes = Informer::<Node>::builder(client.api()).fields(&format!("metadata.name={}", what.node)).start(&group);
    nodes.synced().await;
    let api = client.namespaced::<EndpointSlice>(NAMESPACE);
    let key = Key::new(NAMESPACE, what.name());
    let mut changes = slices.subscribe();
    let mut node_changes = nodes.subscribe();
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let wanted = what.slice(nodes.get(&Key::cluster(&what.node)).as_deref());
        let present = slices.get(&key);
        let written = match &present {
            Some(present) if same(present, &wanted) => Ok(()),
            Some(present) => {
                let mut next = wanted;
                next.metadata.resource_version.clone_from(&present.metadata.resource_version);
                api.update(&next).await.map(drop)
            }
            None => api.create(&wanted).await.map(drop),
        };
        match written {
            Ok(()) => backoff.reset(),
            // The informer will bring what is there.
            Err(error) if error.is_conflict() || error.is_already_exists() => {}
            Err(error) => {
                let error = gantry_common::error_chain(&error);
                warn!(slice = %key, error, "cannot publish this server, trying again");
            }
        }
        let settled =
            slices.get(&key).is_some_and(|p| same(&p, &what.slice(nodes.get(&Key::cluster(&what.node)).as_deref())));
        if settled {
            loop {
                tokio::select! {
                    change = changes.next() => if change.key == key { break },
                    _ = node_changes.next() => break,
                }
            }
        } else {
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

/// Whether all that this server decides is as it wants it.
fn same(present: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    let labels = |s: &EndpointSlice| s.metadata.labels.clone().unwrap_or_default();
    let present_labels = labels(present);
    labels(wanted).iter().all(|(k, v)| present_labels.get(k) == Some(v))
        && present.endpoints == wanted.endpoints
        && present.ports == wanted.ports
        && present.metadata.owner_references == wanted.metadata.owner_references
}

/// Takes the slice away at an orderly stop, so that clients go elsewhere at once.
pub(crate) async fn withdraw(client: &Client, what: &Publication) {
    let api = client.namespaced::<EndpointSlice>(NAMESPACE);
    let name = what.name();
    let params = DeleteParams::default();
    let removed = tokio::time::timeout(REMOVE_TIMEOUT, api.delete(&name, &params)).await;
    match removed {
        Ok(Ok(())) => info!(slice = name, "withdrawn"),
        Ok(Err(error)) if Error::is_not_found(&error) => {}
        Ok(Err(error)) => {
            warn!(slice = name, error = gantry_common::error_chain(&error), "cannot withdraw this server");
        }
        Err(_) => warn!(slice = name, "cannot withdraw this server: the API server did not answer in time"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_slice_is_written_only_when_something_of_ours_differs() {
        let what = Publication {
            node: "n1".to_owned(),
            addresses: vec!["10.200.0.11".parse().expect("an address")],
            port: 53,
        };
        let wanted = what.slice(None);
        let mut present = wanted.clone();
        present.metadata.resource_version = Some("7".to_owned());
        present.metadata.labels.get_or_insert_default().insert("other".to_owned(), "label".to_owned());
        assert!(same(&present, &wanted));
        let mut moved = Arc::new(present.clone());
        Arc::make_mut(&mut moved).endpoints.get_or_insert_default().clear();
        assert!(!same(&moved, &wanted));
        let mut node = Node::default();
        node.metadata.name = Some("n1".to_owned());
        node.metadata.uid = Some("u".to_owned());
        assert!(!same(&present, &what.slice(Some(&node))));
    }
}
