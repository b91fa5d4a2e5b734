//! What authentication and the node authoriser look up: live objects, and which pods a node runs.

use async_trait::async_trait;
use gantry_api::kinds::{self, KindInfo};
use gantry_api::{Value, value};
use gantry_store::cache::{Cache, Object};

use crate::auth::service_account::{Live, LiveObject};
use crate::pipeline::current::{self, Current};
use crate::pipeline::selection::PODS_BY_NODE;
use crate::rbac::node::Graph;

/// The watch cache, as those see it.
pub(crate) struct Lookup(pub(crate) Cache);

fn core(resource: &str) -> Option<&'static KindInfo> {
    kinds::by_resource("", "v1", resource)
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
        let object = self.0.view(&core(resource)?.storage_prefix)?.get(namespace, name)?;
        serde_json::from_slice(object.json()).ok()
    }

    async fn stored(&self, resource: &str, namespace: &str, name: &str) -> Result<Option<Value>, String> {
        let Some(kind) = core(resource) else { return Ok(None) };
        let found = self.0.store().get(&kind.storage_key(namespace, name)).await;
        let found = found.map_err(|error| current::store_failed(error).message)?;
        found.map(|kv| Current::from_stored(&kv).map(|found| found.value)).transpose().map_err(|status| status.message)
    }
}

impl Lookup {
    /// Whether a pod of the node in this namespace says yes.
    fn any_pod(&self, node: &str, namespace: &str, test: impl Fn(&Value) -> bool) -> bool {
        let Some(view) = core("pods").and_then(|kind| self.0.view(&kind.storage_prefix)) else { return false };
        let (pods, _) = view.by_index(PODS_BY_NODE, node);
        let here = |pod: &&std::sync::Arc<Object>| *pod.meta().namespace == *namespace;
        pods.iter()
            .filter(here)
            .filter_map(|pod| serde_json::from_slice::<Value>(pod.json()).ok())
            .any(|pod| test(&pod))
    }
}

impl Graph for Lookup {
    fn pod_refers_to(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        self.any_pod(node, namespace, |pod| refers_to(pod, resource, name))
    }

    fn pod_runs_as(&self, node: &str, namespace: &str, account: &str) -> bool {
        self.any_pod(node, namespace, |pod| value::str_at(pod, "spec.serviceAccountName") == Some(account))
    }

    fn node_of_pod(&self, namespace: &str, name: &str) -> Option<String> {
        let pod = self.0.view(&core("pods")?.storage_prefix)?.get(namespace, name)?;
        Some(pod.scalar_at(&["spec", "nodeName"]).unwrap_or_default().into_owned())
    }
}

/// Whether anything in the pod's spec names the secret, configmap or claim. One visitor over all container kinds.
fn refers_to(pod: &Value, resource: &str, name: &str) -> bool {
    let at = |v: &Value, path: &str| value::str_at(v, path) == Some(name);
    let containers = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"];
    let in_env = |key: &str, from: &str| {
        containers.iter().flat_map(|list| value::list_at(pod, list)).any(|container| {
            value::list_at(container, "env").iter().any(|e| at(e, &format!("valueFrom.{key}.name")))
                || value::list_at(container, "envFrom").iter().any(|e| at(e, &format!("{from}.name")))
        })
    };
    let in_volumes = |own: &str, projected: &str| {
        value::list_at(pod, "spec.volumes").iter().any(|volume| {
            at(volume, own) || value::list_at(volume, "projected.sources").iter().any(|s| at(s, projected))
        })
    };
    match resource {
        "secrets" => {
            value::list_at(pod, "spec.imagePullSecrets").iter().any(|s| at(s, "name"))
                || in_env("secretKeyRef", "secretRef")
                || in_volumes("secret.secretName", "secret.name")
        }
        "configmaps" => in_env("configMapKeyRef", "configMapRef") || in_volumes("configMap.name", "configMap.name"),
        "persistentvolumeclaims" => {
            value::list_at(pod, "spec.volumes").iter().any(|v| at(v, "persistentVolumeClaim.claimName"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_that_names_an_object_counts() {
        let check = |spec: Value, resource: &str, expected: bool| {
            let pod = json!({ "spec": spec });
            assert_eq!(refers_to(&pod, resource, "x"), expected, "{pod}");
        };
        check(json!({"volumes": [{"secret": {"secretName": "x"}}]}), "secrets", true);
        check(json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "x"}}]}}]}), "secrets", true);
        check(json!({"imagePullSecrets": [{"name": "x"}]}), "secrets", true);
        check(json!({"initContainers": [{"envFrom": [{"secretRef": {"name": "x"}}]}]}), "secrets", true);
        check(
            json!({"ephemeralContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "x"}}}]}]}),
            "secrets",
            true,
        );
        check(json!({"containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "x"}}}]}]}), "secrets", false);
        check(
            json!({"containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "x"}}}]}]}),
            "configmaps",
            true,
        );
        check(json!({"volumes": [{"configMap": {"name": "y"}}]}), "configmaps", false);
    }
}
