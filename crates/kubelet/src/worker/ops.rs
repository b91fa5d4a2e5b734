//! What all workers share.

use std::{net::Ipv4Addr, sync::Arc};

use gantry_client::Reader;
use gantry_common::clock::SharedClock;
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::Value;

use super::Grants;
use crate::{
    events::Events,
    exec::Commands,
    images::Images,
    network::PodNetwork,
    objects::Objects,
    observe::Observed,
    pod::{self, env::Sources, files::Dns, status::Host},
    runtime::Runtime,
    volumes::Volumes,
};

/// What the worker asks of the API server. The seam for tests.
#[async_trait::async_trait]
pub(crate) trait PodApi: Send + Sync {
    /// Patches a pod's status; `None` when the pod is gone.
    async fn patch_status(&self, pod: &Pod, patch: Value) -> Result<Option<Pod>, String>;
    /// Removes a pod whose containers have ended. One that is gone, or another of its name, is no error.
    async fn delete(&self, pod: &Pod) -> Result<(), String>;
}

/// What a node's pods have in common.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The node's name.
    pub(crate) node: String,
    /// The node's address.
    pub(crate) host: Host,
    /// The cluster's DNS.
    pub(crate) dns: Dns,
    /// The node's `/etc/hosts`.
    pub(crate) hosts: String,
    /// The parent of all control groups.
    pub(crate) cgroup_root: String,
    /// Control groups are named as systemd wants them.
    pub(crate) systemd_cgroups: bool,
    /// Thousandths of a CPU.
    pub(crate) cpu_milli: i64,
    /// Bytes.
    pub(crate) memory_bytes: i64,
}

/// What all workers share.
pub(crate) struct Deps {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) network: Arc<dyn PodNetwork>,
    pub(crate) volumes: Volumes,
    pub(crate) objects: Arc<Objects>,
    pub(crate) observed: Arc<Observed>,
    pub(crate) images: Images,
    pub(crate) events: Arc<Events>,
    pub(crate) probes: Arc<crate::probe::Context>,
    pub(crate) api: Box<dyn PodApi>,
    pub(crate) services: Option<Reader<Service>>,
    pub(crate) clock: SharedClock,
    /// What the node's pods may use.
    pub(crate) grants: Grants,
    pub(crate) settings: Settings,
}

impl Deps {
    /// What a pod's environment and volumes may refer to, beside ConfigMaps and Secrets.
    pub(crate) fn facts(&self, pod: &Pod, ip: Option<Ipv4Addr>) -> Sources {
        let namespace = pod::reference(pod).namespace;
        let services = self.services.as_ref().map(|reader| {
            let mut found = reader.in_namespace(&namespace);
            if namespace != "default" {
                found.extend(reader.in_namespace("default"));
            }
            found
        });
        let host_ip = self.settings.host.ip.clone();
        let own = ip.map(|ip| ip.to_string());
        Sources {
            services: services.unwrap_or_default(),
            pod_ip: if pod::host_network(pod) { host_ip.clone() } else { own.unwrap_or_default() },
            host_ip,
            node_cpu_milli: self.settings.cpu_milli,
            node_memory_bytes: self.settings.memory_bytes,
            ..Sources::default()
        }
    }
}
