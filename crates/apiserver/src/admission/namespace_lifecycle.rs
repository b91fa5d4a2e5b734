//! Objects are created only in namespaces that exist and live on; some namespaces may not be deleted.

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};

use super::{Operation, Plugin, Request};
use crate::pipeline::current;
use crate::request::Target;

const UNDELETABLE: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) struct NamespaceLifecycle;

/// Who asks what is allowed in a namespace does not learn whether there is one.
fn is_access_review(request: &Request<'_>) -> bool {
    request.target.kind.is("authorization.k8s.io", "LocalSubjectAccessReview")
}

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn sees_unstored(&self) -> bool {
        true
    }

    async fn mutate(&self, request: &Request<'_>, _object: &mut Value) -> Result<(), Status> {
        let target = request.target;
        if request.operation != Operation::Create || !target.kind.namespaced || is_access_review(request) {
            return Ok(());
        }
        let kind = kinds::by_resource("", "v1", "namespaces").ok_or_else(Status::no_such_resource)?;
        let namespace = Target::new(kind, "", &target.namespace);
        if let Some(cached) = request.app.view(kind).get("", &target.namespace)
            && cached.meta().deletion_timestamp.is_none()
        {
            return Ok(());
        }
        let stored = current::reload(request.app, &namespace).await?.ok_or_else(|| namespace.not_found())?;
        let terminating = value::str_at(&stored.value, "metadata.deletionTimestamp").is_some();
        if terminating {
            let why = format!(
                "unable to create new content in namespace {} because it is being terminated",
                target.namespace
            );
            let message = format!("namespace {} is being terminated", target.namespace);
            return Err(request.forbidden(&why).with_cause("NamespaceTerminating", &message, "metadata.namespace"));
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, _object: &Value) -> Result<(), Status> {
        let is_namespace = request.target.kind.group.is_empty() && request.target.kind.kind == "Namespace";
        if request.operation == Operation::Delete && is_namespace && UNDELETABLE.contains(&request.target.name.as_str())
        {
            return Err(request.forbidden("this namespace may not be deleted"));
        }
        Ok(())
    }
}
