//! What authentication and the node authoriser look up: live objects, and which pods a node runs.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_api::kinds::{self, KindInfo};
use gantry_api::{Value, value};
use gantry_store::cache::{Cache, Object, View};

use crate::auth::service_account::{Live, LiveObject};
use crate::pipeline::current::{self, Current};
use crate::pipeline::selection::{PODS_BY_NODE, VOLUMES_BY_CLAIM};
use crate::rbac::node::{Graph, Vertex};
use crate::rbac::references;

/// The watch cache, as those see it.
pub(crate) struct Lookup(pub(crate) Cache);

fn core(resource: &str) -> Option<&'static KindInfo> {
    kinds::by_resource("", "v1", resource)
}

fn decoded(object: &Arc<Object>) -> Option<Value> {
    serde_json::from_slice(object.json()).ok()
}

#[async_trait]
impl Live for Lookup {
    fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<LiveObject> {
        let object = self.0.view(&core(resource)?.storage_prefix)?.get(namespace, name)?;
        let meta = object.meta();
        Some(LiveObject {
            uid: meta.uid.to_string(),
            deletion_timestamp: meta.deletion_timestamp.as_deref().and_then(|t| t.parse().ok()),
        })
    }

    fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        decoded(&self.0.view(&core(resource)?.storage_prefix)?.get(namespace, name)?)
    }

    async fn stored(&self, resource: &str, namespace: &str, name: &str) -> Result<Option<Value>, String> {
        let Some(kind) = core(resource) else { return Ok(None) };
        let found = self.0.store().get(&kind.storage_key(namespace, name)).await;
        let found = found.map_err(|error| current::store_failed(error).message)?;
        found.map(|kv| Current::from_stored(&kv).map(|found| found.value)).transpose().map_err(|status| status.message)
    }
}

impl Lookup {
    fn view(&self, group: &str, resource: &str) -> Option<View> {
        self.0.view(&kinds::by_resource(group, "v1", resource)?.storage_prefix)
    }

    /// Whether a pod of the node says yes, in this namespace or in any. Those that show what the node runs by itself are not
    /// asked: a node could make one to see what it names.
    fn any_pod(&self, node: &str, namespace: Option<&str>, test: impl Fn(&Value) -> bool) -> bool {
        let Some(view) = self.view("", "pods") else { return false };
        let (pods, _) = view.by_index(PODS_BY_NODE, node);
        let here = |pod: &&Arc<Object>| namespace.is_none_or(|namespace| *pod.meta().namespace == *namespace);
        pods.iter().filter(here).filter_map(decoded).any(|pod| !references::is_mirror(&pod) && test(&pod))
    }

    fn uses_claim(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.any_pod(node, Some(namespace), |pod| references::claims(pod).any(|claim| claim == name))
    }

    /// Whether a volume that is bound to a claim of a pod of the node needs the secret.
    fn volume_needs(&self, node: &str, namespace: &str, name: &str) -> bool {
        let Some(volumes) = self.view("", "persistentvolumes").filter(|view| !view.is_empty()) else { return false };
        let needs = |volume: &Value| references::secrets_of_volume(volume).contains(&(namespace, name));
        self.any_pod(node, None, |pod| {
            let of = value::str_at(pod, "metadata.namespace").unwrap_or_default();
            references::claims(pod).any(|claim| {
                let (bound, _) = volumes.by_index(VOLUMES_BY_CLAIM, &format!("{of}/{claim}"));
                bound.iter().filter_map(decoded).any(|volume| needs(&volume))
            })
        })
    }

    /// Whether the object itself says at `path` that it belongs to the node.
    fn names_node(&self, (group, resource): (&str, &str), (namespace, name): (&str, &str), node: &str) -> bool {
        let object = self.view(group, resource).and_then(|view| view.get(namespace, name));
        object.is_some_and(|object| object.scalar_at(&["spec", "nodeName"]).as_deref() == Some(node))
    }
}

impl Graph for Lookup {
    fn leads_to(&self, node: &str, vertex: Vertex, namespace: &str, name: &str) -> bool {
        let pod = |test: &dyn Fn(&Value) -> bool| self.any_pod(node, Some(namespace), test);
        match vertex {
            Vertex::Secret => {
                pod(&|pod| references::secrets(pod).any(|secret| secret == name))
                    || self.volume_needs(node, namespace, name)
            }
            Vertex::ConfigMap => pod(&|pod| references::config_maps(pod).any(|map| map == name)),
            Vertex::Claim => self.uses_claim(node, namespace, name),
            Vertex::Volume => {
                let volume = self.view("", "persistentvolumes").and_then(|view| view.get("", name));
                let claim = volume.as_ref().map(|volume| {
                    ["namespace", "name"].map(|key| volume.scalar_at(&["spec", "claimRef", key]).unwrap_or_default())
                });
                claim.is_some_and(|[namespace, name]| self.uses_claim(node, &namespace, &name))
            }
            Vertex::ResourceClaim => pod(&|pod| references::resource_claims(pod).any(|claim| claim == name)),
            Vertex::Account => pod(&|pod| value::str_at(pod, "spec.serviceAccountName") == Some(name)),
            Vertex::Pod => self.names_node(("", "pods"), (namespace, name), node),
            Vertex::Attachment => self.names_node(("storage.k8s.io", "volumeattachments"), ("", name), node),
            Vertex::Slice => self.names_node(("resource.k8s.io", "resourceslices"), ("", name), node),
        }
    }
}
