//! The controllers, in the order in which they start. A new one is a file and a line.

mod cleaner;
mod csr_approving;
mod csr_cleaner;
mod csr_signing;
mod deployment;
mod disruption;
mod endpointslice;
mod garbage_collector;
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
mod vac_protection;

use futures::future::BoxFuture;

use crate::context::Context;

/// A controller.
pub struct Controller {
    /// Its name for `--controllers`, upstream's.
    pub name: &'static str,
    /// Runs it until it is stopped.
    pub run: fn(Context) -> BoxFuture<'static, ()>,
}

/// All controllers.
pub const ALL: &[Controller] = &[
    Controller { name: "deployment-controller", run: |c| Box::pin(deployment::run(c)) },
    Controller { name: "replicaset-controller", run: |c| Box::pin(replicaset::run(c)) },
    Controller { name: "endpointslice-controller", run: |c| Box::pin(endpointslice::run(c)) },
    Controller { name: "serviceaccount-controller", run: |c| Box::pin(service_account::run(c)) },
    Controller { name: "serviceaccount-token-controller", run: |c| Box::pin(tokens::run(c)) },
    Controller { name: "legacy-serviceaccount-token-cleaner-controller", run: |c| Box::pin(token_cleaner::run(c)) },
    Controller { name: "root-ca-certificate-publisher-controller", run: |c| Box::pin(root_ca::run(c)) },
    Controller { name: "node-ipam-controller", run: |c| Box::pin(node_ipam::run(c)) },
    Controller { name: "namespace-controller", run: |c| Box::pin(namespace::run(c)) },
    Controller { name: "node-lifecycle-controller", run: |c| Box::pin(node_lifecycle::run(c)) },
    Controller { name: "taint-eviction-controller", run: |c| Box::pin(taint_eviction::run(c)) },
    Controller { name: "garbage-collector-controller", run: |c| Box::pin(garbage_collector::run(c)) },
    Controller { name: "pod-garbage-collector-controller", run: |c| Box::pin(pod_gc::run(c)) },
    Controller { name: "certificatesigningrequest-signing-controller", run: |c| Box::pin(csr_signing::run(c)) },
    Controller { name: "certificatesigningrequest-approving-controller", run: |c| Box::pin(csr_approving::run(c)) },
    Controller { name: "certificatesigningrequest-cleaner-controller", run: |c| Box::pin(csr_cleaner::run(c)) },
    Controller { name: "disruption-controller", run: |c| Box::pin(disruption::run(c)) },
    Controller { name: "resourcequota-controller", run: |c| Box::pin(resource_quota::run(c)) },
    Controller { name: "persistentvolumeclaim-protection-controller", run: |c| Box::pin(pvc_protection::run(c)) },
    Controller { name: "persistentvolume-protection-controller", run: |c| Box::pin(pv_protection::run(c)) },
    Controller { name: "volumeattributesclass-protection-controller", run: |c| Box::pin(vac_protection::run(c)) },
];
