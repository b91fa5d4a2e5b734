//! The controllers, in the order in which they start. A new one is a file and a line.

mod bootstrap_signer;
mod bootstrap_token_cleaner;
mod cleaner;
mod csr_approving;
mod csr_cleaner;
mod csr_signing;
mod deployment;
mod disruption;
mod endpoints;
mod endpointslice;
mod garbage_collector;
mod mirroring;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod pod_gc;
mod pv_protection;
mod pvc_protection;
mod replicaset;
mod resource_quota;
mod root_ca;
mod service_account;
mod taint_eviction;
mod token_cleaner;
mod tokens;
mod ttl;
mod vac_protection;

use futures::future::BoxFuture;

use crate::context::Context;
use crate::readers::{Needed, Readers};

/// A controller.
pub struct Controller {
    /// Its name for `--controllers`, upstream's.
    pub name: &'static str,
    /// The copies that must be whole before it runs. The catalog is waited for by who reads it.
    pub needs: fn(&Readers) -> Vec<&dyn Needed>,
    /// Runs it until it is stopped.
    pub run: fn(Context) -> BoxFuture<'static, ()>,
}

/// Those that run only where `--controllers` names them, as upstream's.
pub const NAMED: [&str; 2] = ["bootstrap-signer-controller", "token-cleaner-controller"];

/// The names that they had once, which kubeadm and others still use.
const OLD_NAMES: [(&str, &str); 23] = [
    ("bootstrapsigner", "bootstrap-signer-controller"),
    ("csrapproving", "certificatesigningrequest-approving-controller"),
    ("csrcleaner", "certificatesigningrequest-cleaner-controller"),
    ("csrsigning", "certificatesigningrequest-signing-controller"),
    ("deployment", "deployment-controller"),
    ("disruption", "disruption-controller"),
    ("endpoint", "endpoints-controller"),
    ("endpointslice", "endpointslice-controller"),
    ("endpointslicemirroring", "endpointslice-mirroring-controller"),
    ("garbagecollector", "garbage-collector-controller"),
    ("namespace", "namespace-controller"),
    ("nodeipam", "node-ipam-controller"),
    ("nodelifecycle", "node-lifecycle-controller"),
    ("podgc", "pod-garbage-collector-controller"),
    ("pv-protection", "persistentvolume-protection-controller"),
    ("pvc-protection", "persistentvolumeclaim-protection-controller"),
    ("replicaset", "replicaset-controller"),
    ("replicationcontroller", "replicationcontroller-controller"),
    ("resourcequota", "resourcequota-controller"),
    ("serviceaccount", "serviceaccount-controller"),
    ("serviceaccount-token", "serviceaccount-token-controller"),
    ("tokencleaner", "token-cleaner-controller"),
    ("ttl", "ttl-controller"),
];

/// The name that `name`, perhaps an old one, stands for now.
#[must_use]
pub fn present_name(name: &str) -> &str {
    OLD_NAMES.iter().find(|(old, _)| *old == name).map_or(name, |(_, now)| now)
}

/// All controllers.
pub const ALL: &[Controller] = &[
    Controller {
        name: "deployment-controller",
        needs: |r| vec![&r.deployments, &r.replica_sets, &r.pods],
        run: |c| Box::pin(deployment::run(c)),
    },
    Controller {
        name: "replicaset-controller",
        needs: |r| vec![&r.replica_sets, &r.pods],
        run: |c| Box::pin(replicaset::run(c)),
    },
    Controller {
        name: "replicationcontroller-controller",
        needs: |r| vec![&r.replication_controllers, &r.pods],
        run: |c| Box::pin(replicaset::run_for_replication_controllers(c)),
    },
    Controller {
        name: "endpoints-controller",
        needs: |r| vec![&r.endpoints, &r.services, &r.pods],
        run: |c| Box::pin(endpoints::run(c)),
    },
    Controller {
        name: "endpointslice-controller",
        needs: |r| vec![&r.endpoint_slices, &r.services, &r.pods, &r.nodes],
        run: |c| Box::pin(endpointslice::run(c)),
    },
    Controller {
        name: "endpointslice-mirroring-controller",
        needs: |r| vec![&r.endpoints, &r.endpoint_slices, &r.services],
        run: |c| Box::pin(mirroring::run(c)),
    },
    Controller {
        name: "serviceaccount-controller",
        needs: |r| vec![&r.service_accounts, &r.namespaces],
        run: |c| Box::pin(service_account::run(c)),
    },
    Controller {
        name: "serviceaccount-token-controller",
        needs: |r| vec![&r.token_secrets, &r.service_accounts],
        run: |c| Box::pin(tokens::run(c)),
    },
    Controller {
        name: "legacy-serviceaccount-token-cleaner-controller",
        needs: |r| vec![&r.token_secrets, &r.service_accounts, &r.pods],
        run: |c| Box::pin(token_cleaner::run(c)),
    },
    Controller {
        name: "root-ca-certificate-publisher-controller",
        needs: |r| vec![&r.root_cas, &r.namespaces],
        run: |c| Box::pin(root_ca::run(c)),
    },
    Controller { name: "ttl-controller", needs: |r| vec![&r.nodes], run: |c| Box::pin(ttl::run(c)) },
    Controller {
        name: "bootstrap-signer-controller",
        needs: |r| vec![&r.cluster_info, &r.bootstrap_tokens],
        run: |c| Box::pin(bootstrap_signer::run(c)),
    },
    Controller {
        name: "token-cleaner-controller",
        needs: |r| vec![&r.bootstrap_tokens],
        run: |c| Box::pin(bootstrap_token_cleaner::run(c)),
    },
    Controller { name: "node-ipam-controller", needs: |r| vec![&r.nodes], run: |c| Box::pin(node_ipam::run(c)) },
    Controller { name: "namespace-controller", needs: |r| vec![&r.namespaces], run: |c| Box::pin(namespace::run(c)) },
    Controller {
        name: "node-lifecycle-controller",
        needs: |r| vec![&r.nodes, &r.node_leases, &r.pods],
        run: |c| Box::pin(node_lifecycle::run(c)),
    },
    Controller {
        name: "taint-eviction-controller",
        needs: |r| vec![&r.pods, &r.nodes],
        run: |c| Box::pin(taint_eviction::run(c)),
    },
    Controller {
        name: "garbage-collector-controller",
        needs: |_| Vec::new(),
        run: |c| Box::pin(garbage_collector::run(c)),
    },
    Controller {
        name: "pod-garbage-collector-controller",
        needs: |r| vec![&r.pods, &r.nodes],
        run: |c| Box::pin(pod_gc::run(c)),
    },
    Controller {
        name: "certificatesigningrequest-signing-controller",
        needs: |r| vec![&r.signing_requests],
        run: |c| Box::pin(csr_signing::run(c)),
    },
    Controller {
        name: "certificatesigningrequest-approving-controller",
        needs: |r| vec![&r.signing_requests],
        run: |c| Box::pin(csr_approving::run(c)),
    },
    Controller {
        name: "certificatesigningrequest-cleaner-controller",
        needs: |r| vec![&r.signing_requests],
        run: |c| Box::pin(csr_cleaner::run(c)),
    },
    Controller {
        name: "disruption-controller",
        needs: |r| {
            vec![&r.budgets, &r.pods, &r.replica_sets, &r.deployments, &r.stateful_sets, &r.replication_controllers]
        },
        run: |c| Box::pin(disruption::run(c)),
    },
    Controller {
        name: "resourcequota-controller",
        needs: |r| vec![&r.quotas, &r.pods, &r.services, &r.claims],
        run: |c| Box::pin(resource_quota::run(c)),
    },
    Controller {
        name: "persistentvolumeclaim-protection-controller",
        needs: |r| vec![&r.claims, &r.pods],
        run: |c| Box::pin(pvc_protection::run(c)),
    },
    Controller {
        name: "persistentvolume-protection-controller",
        needs: |r| vec![&r.volumes],
        run: |c| Box::pin(pv_protection::run(c)),
    },
    Controller {
        name: "volumeattributesclass-protection-controller",
        needs: |r| vec![&r.attributes_classes, &r.volumes, &r.claims],
        run: |c| Box::pin(vac_protection::run(c)),
    },
];
