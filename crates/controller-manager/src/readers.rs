//! The informers that the controllers share: one watch per resource, whoever reads it.

use std::sync::Arc;

use futures::future::BoxFuture;
use gantry_api::legacy_token;
use gantry_client::{Client, Informer, Key, Object, Reader};
use gantry_common::task::Group;
use gantry_controller::owner;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        certificates::v1::CertificateSigningRequest,
        coordination::v1::Lease,
        core::v1::{
            ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController,
            ResourceQuota, Secret, Service, ServiceAccount,
        },
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
        resource::v1::ResourceClaim,
        storage::v1::VolumeAttributesClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    bootstrap_token,
    volumes::{classes_of_claim, classes_of_volume},
};

/// Index of owned objects by the controller's uid, and of those without one by [`orphans_of`] their namespace.
pub const OWNER: &str = "owner";
/// Index of pods by the node that they are bound to; "" for none.
pub const NODE: &str = "node";
/// Index of pods that have ended; the value is [`ENDED`].
pub const PHASE: &str = "phase";
/// The value of [`PHASE`].
pub const ENDED: &str = "ended";
/// Index of pods by `namespace/claim` of their volumes' claims.
pub const CLAIM: &str = "claim";
/// Index of volumes and claims by the class of volume attributes that they name.
pub const ATTRIBUTES_CLASS: &str = "attributes-class";
/// Index of slices by `namespace/service`.
pub const SERVICE: &str = "service";
/// Index of token Secrets by the key of the account that they name.
pub const TOKEN_ACCOUNT: &str = "account";
/// The ConfigMap with the API server's CA that each namespace has.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// The ConfigMap that tells a machine what it needs to join.
pub const CLUSTER_INFO: &str = "cluster-info";
/// The namespace of the nodes' leases.
pub const NODE_LEASES: &str = "kube-node-lease";
/// The label that names a slice's service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The value of [`OWNER`] for objects of `namespace` that nobody controls.
#[must_use]
pub fn orphans_of(namespace: &str) -> String {
    format!("orphan/{namespace}")
}

/// The account that a token Secret names.
#[must_use]
pub fn account_of(secret: &Secret) -> Option<Key> {
    let name = secret.metadata.annotations.as_ref()?.get(legacy_token::ACCOUNT_NAME).filter(|name| !name.is_empty())?;
    Some(Key::new(secret.metadata.namespace.clone().unwrap_or_default(), name))
}

fn owner_value(meta: &ObjectMeta) -> Vec<String> {
    let orphan = || orphans_of(meta.namespace.as_deref().unwrap_or(""));
    vec![owner::controller_of(meta).map_or_else(orphan, |r| r.uid.clone())]
}

/// What the controllers read.
#[derive(Clone)]
pub struct Readers {
    /// All deployments.
    pub deployments: Reader<Deployment>,
    /// All replica sets; index [`OWNER`].
    pub replica_sets: Reader<ReplicaSet>,
    /// All stateful sets.
    pub stateful_sets: Reader<StatefulSet>,
    /// All replication controllers; index [`OWNER`].
    pub replication_controllers: Reader<ReplicationController>,
    /// All requests for certificates.
    pub signing_requests: Reader<CertificateSigningRequest>,
    /// All disruption budgets.
    pub budgets: Reader<PodDisruptionBudget>,
    /// All pods; indexes [`OWNER`], [`NODE`], [`PHASE`] and [`CLAIM`].
    pub pods: Reader<Pod>,
    /// All services.
    pub services: Reader<Service>,
    /// All endpoints.
    pub endpoints: Reader<Endpoints>,
    /// All endpoint slices; index [`SERVICE`].
    pub endpoint_slices: Reader<EndpointSlice>,
    /// All nodes.
    pub nodes: Reader<Node>,
    /// The nodes' leases.
    pub node_leases: Reader<Lease>,
    /// All persistent volumes; index [`ATTRIBUTES_CLASS`].
    pub volumes: Reader<PersistentVolume>,
    /// All claims of persistent volumes; index [`ATTRIBUTES_CLASS`].
    pub claims: Reader<PersistentVolumeClaim>,
    /// All classes of volume attributes.
    pub attributes_classes: Reader<VolumeAttributesClass>,
    /// All claims of devices; nobody waits for them, whoever counts them looks whether they are there.
    pub resource_claims: Reader<ResourceClaim>,
    /// All resource quotas.
    pub quotas: Reader<ResourceQuota>,
    /// All namespaces.
    pub namespaces: Reader<Namespace>,
    /// All service accounts.
    pub service_accounts: Reader<ServiceAccount>,
    /// The Secrets that hold tokens of service accounts; index [`TOKEN_ACCOUNT`].
    pub token_secrets: Reader<Secret>,
    /// The config maps called [`ROOT_CA`].
    pub root_cas: Reader<ConfigMap>,
    /// The Secrets of bootstrap tokens.
    pub bootstrap_tokens: Reader<Secret>,
    /// The config map [`CLUSTER_INFO`] of [`bootstrap_token::PUBLIC`].
    pub cluster_info: Reader<ConfigMap>,
}

impl Readers {
    /// Starts the watches as tasks of `group`.
    #[must_use]
    pub fn start(client: &Client, group: &Group) -> Self {
        let pods = Informer::builder(client.api::<Pod>())
            .index(OWNER, |p| owner_value(&p.metadata))
            .index(NODE, |p| vec![crate::pods::node(p).to_owned()])
            .index(CLAIM, |p| {
                let namespace = p.metadata.namespace.as_deref().unwrap_or("");
                crate::pods::claims(p).map(|claim| format!("{namespace}/{claim}")).collect()
            })
            .index(PHASE, |p| if crate::pods::is_terminal(p) { vec![ENDED.to_owned()] } else { Vec::new() });
        let service_of = |slice: &EndpointSlice| {
            let service = slice.metadata.labels.as_ref().and_then(|l| l.get(SERVICE_LABEL));
            let namespace = slice.metadata.namespace.as_deref().unwrap_or("");
            service.map(|s| format!("{namespace}/{s}")).into_iter().collect()
        };
        Self {
            deployments: Informer::builder(client.api()).start(group),
            replica_sets: Informer::builder(client.api::<ReplicaSet>())
                .index(OWNER, |s| owner_value(&s.metadata))
                .start(group),
            stateful_sets: Informer::builder(client.api()).start(group),
            replication_controllers: Informer::builder(client.api::<ReplicationController>())
                .index(OWNER, |c| owner_value(&c.metadata))
                .start(group),
            signing_requests: Informer::builder(client.api()).start(group),
            budgets: Informer::builder(client.api()).start(group),
            pods: pods.start(group),
            services: Informer::builder(client.api()).start(group),
            endpoints: Informer::builder(client.api()).start(group),
            endpoint_slices: Informer::builder(client.api()).index(SERVICE, service_of).start(group),
            nodes: Informer::builder(client.api()).start(group),
            node_leases: Informer::builder(client.namespaced(NODE_LEASES)).start(group),
            volumes: Informer::builder(client.api()).index(ATTRIBUTES_CLASS, classes_of_volume).start(group),
            claims: Informer::builder(client.api()).index(ATTRIBUTES_CLASS, classes_of_claim).start(group),
            attributes_classes: Informer::builder(client.api()).start(group),
            resource_claims: Informer::builder(client.api()).start(group),
            quotas: Informer::builder(client.api()).start(group),
            namespaces: Informer::builder(client.api()).start(group),
            service_accounts: Informer::builder(client.api()).start(group),
            token_secrets: Informer::builder(client.api::<Secret>())
                .fields(&format!("type={}", legacy_token::SECRET_TYPE))
                .index(TOKEN_ACCOUNT, |secret| account_of(secret).iter().map(Key::to_string).collect())
                .start(group),
            root_cas: Informer::builder(client.api()).fields(&format!("metadata.name={ROOT_CA}")).start(group),
            bootstrap_tokens: Informer::builder(client.namespaced(bootstrap_token::NAMESPACE))
                .fields(&format!("type={}", bootstrap_token::SECRET_TYPE))
                .start(group),
            cluster_info: Informer::builder(client.namespaced(bootstrap_token::PUBLIC))
                .fields(&format!("metadata.name={CLUSTER_INFO}"))
                .start(group),
        }
    }
}

/// A copy that a controller cannot do without.
pub trait Needed: Sync {
    /// The resource, and the group version that it is in.
    fn resource(&self) -> (&'static str, &'static str);
    /// Resolves once the copy is whole.
    fn synced(&self) -> BoxFuture<'_, ()>;
    /// Resolves while the server says that it does not serve the resource.
    fn unserved(&self) -> BoxFuture<'_, ()>;
}

impl<K: Object> Needed for Reader<K> {
    fn resource(&self) -> (&'static str, &'static str) {
        (K::URL_PATH_SEGMENT, K::API_VERSION)
    }

    fn synced(&self) -> BoxFuture<'_, ()> {
        Box::pin(Self::synced(self))
    }

    fn unserved(&self) -> BoxFuture<'_, ()> {
        Box::pin(Self::unserved(self))
    }
}

/// Resolves once every copy that `controller` needs is whole: it may take no object that is not there yet for one that is gone. The
/// server may be told not to serve some kinds at all: who needs those is held, and said to be.
pub async fn whole(controller: &str, needed: &[&dyn Needed]) {
    for copy in needed {
        tokio::select! {
            biased;
            () = copy.synced() => continue,
            () = copy.unserved() => {
                let (resource, version) = copy.resource();
                tracing::warn!(controller, resource, version, "held: it needs what the API server does not serve (--runtime-config)");
            }
        }
        copy.synced().await;
    }
}

/// The objects that the owner with `uid` controls, and those of `namespace` that nobody does.
#[must_use]
pub fn owned_and_orphans<K: Object>(reader: &Reader<K>, uid: &str, namespace: &str) -> Vec<Arc<K>> {
    let mut found = reader.by_index(OWNER, uid);
    found.extend(reader.by_index(OWNER, &orphans_of(namespace)));
    found
}
