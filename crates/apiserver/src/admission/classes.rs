//! What objects that name no class get: the default storage class of claims, the default class of ingresses.

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, value};

use super::{Operation, Plugin, Request};
use crate::registry::storage::DEFAULT_CLASS;

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const INGRESS_DEFAULT: &[&str] = &["ingressclass.kubernetes.io/is-default-class"];
const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";

pub(super) struct DefaultStorageClass;
pub(super) struct DefaultIngressClass;

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    value::map_at(object, "metadata.annotations")?.get(name)?.as_str()
}

/// The name of the default among `classes`: of several the newest, of equally new ones the first by name.
fn default(classes: &[Value], annotations: &[&str]) -> Option<String> {
    let text = |c: &Value, path: &str| value::str_at(c, path).unwrap_or_default().to_owned();
    let marked = classes.iter().filter(|c| annotations.iter().any(|a| annotation(c, a) == Some("true")));
    let newest =
        marked.min_by_key(|c| (std::cmp::Reverse(text(c, "metadata.creationTimestamp")), text(c, "metadata.name")));
    newest.map(|c| text(c, "metadata.name"))
}

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        let named = value::get(object, "spec.storageClassName").is_some_and(|c| !c.is_null())
            || annotation(object, BETA_CLASS).is_some();
        if !request.creates("PersistentVolumeClaim") || named {
            return Ok(());
        }
        let classes = request.in_cluster("storage.k8s.io", "storageclasses")?;
        if let Some(class) = default(&classes, &DEFAULT_CLASS) {
            value::set(object, "spec.storageClassName", class);
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        let (kind, target) = (&request.target.kind, request.target);
        let created = request.operation == Operation::Create && target.subresource.is_empty();
        let named = value::get(object, "spec.ingressClassName").is_some_and(|c| !c.is_null())
            || annotation(object, INGRESS_CLASS).is_some();
        if !created || (kind.group, kind.kind) != ("networking.k8s.io", "Ingress") || named {
            return Ok(());
        }
        let classes = request.in_cluster("networking.k8s.io", "ingressclasses")?;
        if let Some(class) = default(&classes, INGRESS_DEFAULT) {
            value::set(object, "spec.ingressClassName", class);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_default_is_taken() {
        let class = |name: &str, made: &str, default: &str| json!({"metadata": {"name": name, "creationTimestamp": made, "annotations": {INGRESS_DEFAULT[0]: default}}});
        let old = class("a", "2026-01-01T00:00:00Z", "true");
        let new = class("c", "2026-01-02T00:00:00Z", "true");
        let twin = class("b", "2026-01-02T00:00:00Z", "true");
        let plain = class("d", "2026-01-03T00:00:00Z", "false");
        let check = |classes: &[&Value], expected: Option<&str>| {
            let classes: Vec<Value> = classes.iter().map(|c| (*c).clone()).collect();
            assert_eq!(super::default(&classes, INGRESS_DEFAULT).as_deref(), expected);
        };
        check(&[&plain], None);
        check(&[&old, &plain], Some("a"));
        check(&[&old, &new], Some("c"));
        check(&[&old, &new, &twin], Some("b"));
    }
}
