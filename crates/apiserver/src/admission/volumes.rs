//! Volumes and claims: what is in use is not removed, and only what can grow is resized.

use async_trait::async_trait;
use gantry_api::quantity::Quantity;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use serde_json::json;

use super::{Operation, Plugin, Request};
use crate::pipeline::current;
use crate::request::Target;

pub(super) struct StorageObjectInUseProtection;
pub(super) struct PersistentVolumeClaimResize;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        let target = request.target;
        if request.operation != Operation::Create || !target.subresource.is_empty() {
            return Ok(());
        }
        match (target.kind.group, target.kind.kind) {
            ("", "PersistentVolume") => hold(object, "kubernetes.io/pv-protection"),
            ("", "PersistentVolumeClaim") => hold(object, "kubernetes.io/pvc-protection"),
            ("storage.k8s.io", "VolumeAttributesClass") => hold(object, "kubernetes.io/vac-protection"),
            _ => {}
        }
        Ok(())
    }
}

fn hold(object: &mut Value, finalizer: &str) {
    let known = value::list_at(object, "metadata.finalizers");
    if !known.iter().any(|f| f == finalizer) {
        let all: Vec<Value> = known.iter().cloned().chain([json!(finalizer)]).collect();
        value::set(object, "metadata.finalizers", all);
    }
}

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let target = request.target;
        let Some(old) = request.old.filter(|_| request.operation == Operation::Update) else { return Ok(()) };
        let is_claim = (target.kind.group, target.kind.kind) == ("", "PersistentVolumeClaim");
        if !is_claim || !target.subresource.is_empty() || !grows(object, old) {
            return Ok(());
        }
        if value::str_at(old, "status.phase") != Some("Bound") {
            return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
        }
        let class = value::str_at(object, "spec.storageClassName").unwrap_or_default();
        let kind = kinds::by_resource("storage.k8s.io", "v1", "storageclasses").ok_or_else(Status::no_such_resource)?;
        let found =
            if class.is_empty() { None } else { current::load(request.app, &Target::new(kind, "", class)).await? };
        let allowed = found.is_some_and(|c| value::bool_at(&c.value, "allowVolumeExpansion"))
            && value::str_at(old, "spec.storageClassName") == Some(class);
        if allowed {
            return Ok(());
        }
        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must \
                   support resize";
        Err(request.forbidden(why))
    }
}

fn grows(new: &Value, old: &Value) -> bool {
    let size = |claim| {
        let text = value::str_at(claim, "spec.resources.requests.storage");
        text.and_then(|t| Quantity::parse(t).ok()).unwrap_or(Quantity::ZERO)
    };
    size(new) > size(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finalizers_are_added_once() {
        let mut object = json!({"metadata": {"finalizers": ["a/b"]}});
        hold(&mut object, "c/d");
        hold(&mut object, "c/d");
        assert_eq!(object["metadata"]["finalizers"], json!(["a/b", "c/d"]));
        let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
        assert!(grows(&claim("2Gi"), &claim("1Gi")) && !grows(&claim("1024Mi"), &claim("1Gi")));
    }
}
