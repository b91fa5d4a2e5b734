//! How many pods those who own a budget's pods ask for.

use std::{collections::BTreeMap, sync::Arc};

use gantry_api::value;
use gantry_client::{Client, Key, Object, Reader, ResourceId, View};
use gantry_controller::{Doing, Error, owner};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::OwnerReference};

use crate::{catalog::Catalog, context::Context, readers::Readers};

pub(super) struct Owners {
    client: Client,
    readers: Arc<Readers>,
    catalog: Arc<Catalog>,
}

/// What was found of the owners of some pods.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scale {
    /// The replicas that all of them ask for.
    pub(super) replicas: i32,
    /// Whether a pod has no owner.
    pub(super) unmanaged: bool,
}

/// Who asks for the pod, by uid, and for how many.
type Asked = (String, i32);

impl Owners {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            client: context.client.clone(),
            readers: Arc::clone(&context.readers),
            catalog: Arc::clone(&context.catalog),
        }
    }

    /// The sum over all owners of the pods.
    ///
    /// # Errors
    /// When a pod's owner cannot be found, or has no scale.
    pub(super) async fn scale(&self, pods: &[Arc<Pod>]) -> Result<Scale, Error> {
        let mut found = BTreeMap::new();
        let mut looked_at = BTreeMap::new();
        let mut scale = Scale::default();
        for pod in pods {
            let Some(reference) = owner::controller_of(&pod.metadata) else {
                scale.unmanaged = true;
                continue;
            };
            if looked_at.insert(reference.uid.clone(), ()).is_some() {
                continue;
            }
            let key = pod.key();
            let (uid, replicas) = self
                .asked(reference, &key.namespace)
                .await?
                .ok_or_else(|| Error::Refused(format!("found no controllers for pod \"{}\"", key.name)))?;
            found.insert(uid, replicas);
        }
        scale.replicas = found.into_values().fold(0, i32::saturating_add);
        Ok(scale)
    }

    async fn asked(&self, reference: &OwnerReference, namespace: &str) -> Result<Option<Asked>, Error> {
        match self.known(reference, namespace) {
            Some(asked) => Ok(Some(asked)),
            None => self.live(reference, namespace).await,
        }
    }

    /// The kinds that the informers show.
    fn known(&self, reference: &OwnerReference, namespace: &str) -> Option<Asked> {
        let readers = &self.readers;
        let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        match (group, reference.kind.as_str()) {
            ("", "ReplicationController") => {
                let found = named(&readers.replication_controllers, reference, namespace)?;
                Some((found.uid().to_owned(), found.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)))
            }
            ("apps", "StatefulSet") => {
                let found = named(&readers.stateful_sets, reference, namespace)?;
                Some((found.uid().to_owned(), found.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)))
            }
            ("apps" | "extensions", "ReplicaSet") => {
                let set = named(&readers.replica_sets, reference, namespace)?;
                match owner::controller_of(&set.metadata).filter(|by| by.kind == "Deployment") {
                    None => Some((set.uid().to_owned(), set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1))),
                    Some(by) => {
                        let found = named(&readers.deployments, by, namespace)?;
                        Some((found.uid().to_owned(), found.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)))
                    }
                }
            }
            _ => None,
        }
    }

    /// Whatever has a scale, by the API server's word.
    async fn live(&self, reference: &OwnerReference, namespace: &str) -> Result<Option<Asked>, Error> {
        let OwnerReference { api_version, kind, name, .. } = reference;
        let kind =
            self.catalog.kinds().by_api_version(api_version, kind).ok_or_else(|| {
                Error::Refused(format!("no matches for kind \"{kind}\" in version \"{api_version}\""))
            })?;
        if kind.subresource("scale").is_none() {
            let resource = kind.qualified_resource();
            return Err(Error::Refused(format!("{resource} does not implement the scale subresource")));
        }
        let api = self.client.dynamic(ResourceId::new(kind.group, kind.version, kind.resource), namespace);
        let scale = match api.get(name, "scale", View::Full).await {
            Err(error) if error.is_not_found() && !error.is_unserved() => return Ok(None),
            found => found.doing(|| format!("read the scale of {} {namespace}/{name}", kind.kind))?,
        };
        let uid = value::str_at(&scale, "metadata.uid").unwrap_or_default();
        let replicas = value::i64_at(&scale, "spec.replicas").unwrap_or(0);
        Ok((uid == reference.uid).then(|| (uid.to_owned(), i32::try_from(replicas).unwrap_or(i32::MAX))))
    }
}

/// The very object that the reference means.
fn named<K: Object>(reader: &Reader<K>, reference: &OwnerReference, namespace: &str) -> Option<Arc<K>> {
    reader.get(&Key::new(namespace, reference.name.clone())).filter(|found| found.uid() == reference.uid)
}
