//! Plugins that ask nothing: images are always pulled, everything is refused, namespaces come into being by their use.

use async_trait::async_trait;
use gantry_api::field::{Error, Path};
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use serde_json::json;

use super::{Operation, Plugin, Request};
use crate::pipeline::create;
use crate::request::{Caller, Target, WriteOptions};

/// Nobody uses an image that another one's credentials brought to the node.
pub(super) struct AlwaysPullImages;
/// Refuses all that changes anything.
pub(super) struct AlwaysDeny;
/// Makes the namespace that something is created in.
pub(super) struct NamespaceAutoProvision;

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Whether a pod is written that brings images which were not there before.
fn brings_images(request: &Request<'_>, object: &Value) -> bool {
    let target = request.target;
    if !target.kind.is("", "Pod") || !target.subresource.is_empty() {
        return false;
    }
    match (request.operation, request.old) {
        (Operation::Create, _) => true,
        (Operation::Update, Some(old)) => images(object).any(|image| !images(old).any(|known| known == image)),
        _ => false,
    }
}

fn images(pod: &Value) -> impl Iterator<Item = &str> {
    let containers = LISTS.iter().flat_map(move |list| value::list_at(pod, &format!("spec.{list}")));
    containers.filter_map(|container| value::str_at(container, "image"))
}

fn pull(pod: &mut Value) {
    for list in LISTS {
        let Some(Value::Array(containers)) = value::get_mut(pod, &format!("spec.{list}")) else { continue };
        for container in containers {
            value::set(container, "imagePullPolicy", "Always");
        }
    }
    let Some(Value::Array(volumes)) = value::get_mut(pod, "spec.volumes") else { return };
    for volume in volumes.iter_mut().filter(|volume| volume.get("image").is_some_and(Value::is_object)) {
        value::set(volume, "image.pullPolicy", "Always");
    }
}

/// The first container or volume whose image is not always pulled.
fn unpulled(pod: &Value) -> Option<Error> {
    let spec = Path::new("spec");
    for list in LISTS {
        for (index, container) in value::list_at(pod, &format!("spec.{list}")).iter().enumerate() {
            let policy = value::str_at(container, "imagePullPolicy").unwrap_or_default();
            if policy != "Always" {
                let at = spec.child(list).index(index).child("imagePullPolicy");
                return Some(Error::not_supported(&at, policy, &["Always"]));
            }
        }
    }
    None
}

#[async_trait]
impl Plugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if brings_images(request, object) {
            pull(object);
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if !brings_images(request, object) {
            return Ok(());
        }
        unpulled(object).map_or(Ok(()), |error| Err(request.forbidden(&error.to_string())))
    }
}

#[async_trait]
impl Plugin for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    /// What is no stored object is refused too.
    fn is_dynamic(&self) -> bool {
        true
    }

    async fn mutate(&self, request: &Request<'_>, _object: &mut Value) -> Result<(), Status> {
        denied(request)
    }

    async fn validate(&self, request: &Request<'_>, _object: &Value) -> Result<(), Status> {
        denied(request)
    }
}

/// What every cluster starts with comes from the server itself; without it nobody would get an answer.
fn denied(request: &Request<'_>) -> Result<(), Status> {
    if request.caller.internal {
        return Ok(());
    }
    Err(request.forbidden("admission control is denying all modifications"))
}

#[async_trait]
impl Plugin for NamespaceAutoProvision {
    fn name(&self) -> &'static str {
        "NamespaceAutoProvision"
    }

    fn sees_unstored(&self) -> bool {
        true
    }

    async fn mutate(&self, request: &Request<'_>, _object: &mut Value) -> Result<(), Status> {
        let (target, app) = (request.target, request.app);
        if request.operation != Operation::Create || request.dry_run || target.namespace.is_empty() {
            return Ok(());
        }
        let kind = kinds::by_resource("", "v1", "namespaces").ok_or_else(Status::no_such_resource)?;
        if target.kind.is("", "Namespace") || app.view(kind).get("", &target.namespace).is_some() {
            return Ok(());
        }
        let namespace = Target::new(kind, "", &target.namespace);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": target.namespace}});
        let options = WriteOptions::default();
        match create::create_object(app, &Caller::apiserver(), &namespace, object, &options).await {
            Err(status) if !status.is("AlreadyExists") => Err(request.forbidden(&status.message)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_pulled() {
        let mut pod = json!({"spec": {"containers": [{"name": "a", "image": "i", "imagePullPolicy": "Never"}],
            "initContainers": [{"name": "b"}], "volumes": [{"image": {"reference": "r"}}, {"emptyDir": {}}]}});
        let error = unpulled(&pod).expect("not pulled").to_string();
        assert_eq!(
            error,
            "spec.initContainers[0].imagePullPolicy: Unsupported value: \"\": supported values: \"Always\""
        );
        pull(&mut pod);
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "Always");
        assert_eq!(pod["spec"]["initContainers"][0]["imagePullPolicy"], "Always");
        assert_eq!(
            pod["spec"]["volumes"],
            json!([{"image": {"reference": "r", "pullPolicy": "Always"}}, {"emptyDir": {}}])
        );
        assert!(unpulled(&pod).is_none());
    }
}
