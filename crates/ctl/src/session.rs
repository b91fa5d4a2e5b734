//! What every verb that talks to a cluster shares: which cluster, which namespace, which resource is meant.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gantry_client::{Client, Config, DynApi, ResourceId};
use gantry_common::{kubeconfig, version};

use crate::{
    Global,
    cluster::layout::{DEFAULT_DATA_DIR, Layout},
    resources::{Catalogue, Resource},
};

/// A connection to one cluster, and what the flags said.
pub(crate) struct Session {
    /// The connection.
    pub(crate) client: Client,
    /// The namespace of namespaced objects.
    pub(crate) namespace: String,
    /// Whether `-n` was given.
    pub(crate) namespace_given: bool,
    catalogue: Catalogue,
}

/// The cluster that `gantryctl up` makes when no name is given.
const DEFAULT_CLUSTER: &str = "default";

/// The kubeconfig that `gantryctl up` writes for the administrator of the default cluster.
fn default_cluster_kubeconfig() -> PathBuf {
    Layout::new(Path::new(DEFAULT_DATA_DIR), DEFAULT_CLUSTER).own_kubeconfig()
}

fn kubeconfig_path(flag: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = flag {
        return Ok(path.to_owned());
    }
    let from_env = std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty()).map(|v| {
        // Gantry's client reads one file; the first of a list wins, as in kubectl.
        std::env::split_paths(&v).next().unwrap_or_default()
    });
    if let Some(path) = from_env {
        return Ok(path);
    }
    let home = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".kube/config")).filter(|p| p.exists());
    let ours = default_cluster_kubeconfig();
    match home.or_else(|| ours.exists().then_some(ours)) {
        Some(path) => Ok(path),
        None => bail!(
            "no cluster is configured: give --kubeconfig, set KUBECONFIG, write ~/.kube/config, or start a cluster with \
             `gantryctl up`"
        ),
    }
}

impl Session {
    /// Connects and learns which resources the cluster serves.
    ///
    /// # Errors
    /// When no kubeconfig is found, it is unusable, or the API server does not answer.
    pub(crate) async fn open(flags: &Global) -> Result<Self> {
        let path = kubeconfig_path(flags.kubeconfig.as_deref())?;
        let resolved = kubeconfig::load_file(&path, flags.context.as_deref())?;
        let server = resolved.servers.join(", ");
        let namespace = flags.namespace.clone().unwrap_or_else(|| resolved.namespace.clone());
        let client = Client::new(&Config::from_resolved(resolved, &version::user_agent("gantryctl")))?;
        let groups = client
            .resources()
            .await
            .with_context(|| format!("cannot reach the cluster of {} at {server}", path.display()))?;
        let catalogue = Catalogue::from_discovery(&groups);
        Ok(Self { client, namespace, namespace_given: flags.namespace.is_some(), catalogue })
    }

    /// The resources that the cluster serves.
    #[must_use]
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The resource that a user means by `word` (`po`, `pod`, `pods`, `deployments.apps`).
    ///
    /// # Errors
    /// When there is none; names the nearest.
    pub(crate) fn resource(&self, word: &str) -> Result<&Resource> {
        self.catalogue.find(word)
    }

    /// Calls on `resource` in the session's namespace (cluster-wide where it has none).
    #[must_use]
    pub(crate) fn api(&self, resource: &Resource) -> DynApi {
        self.api_in(resource, &self.namespace)
    }

    /// Calls on `resource` in `namespace`; "" means all namespaces.
    #[must_use]
    pub(crate) fn api_in(&self, resource: &Resource, namespace: &str) -> DynApi {
        let scope = if resource.namespaced { namespace } else { "" };
        self.client.dynamic(resource.id.clone(), scope)
    }

    /// Calls on a resource that is known to exist.
    #[must_use]
    pub(crate) fn api_of(&self, group: &str, resource: &str) -> DynApi {
        self.client.dynamic(ResourceId::new(group, "v1", resource), &self.namespace)
    }
}
