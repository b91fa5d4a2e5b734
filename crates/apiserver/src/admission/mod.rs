//! Admission: what the cluster adds to, and refuses of, otherwise valid objects. An ordered chain, one file each.

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, kinds};

use crate::app::App;
use crate::pipeline::commit::Effects;
use crate::request::{Caller, Target};

mod certificates;
mod classes;
mod escalation;
mod guards;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod node_taints;
mod pod_security;
mod priority;
mod resource_quota;
mod runtime_class;
mod service_account;
mod tolerations;
mod volumes;

/// What is done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// A request that asks to be admitted.
pub(crate) struct Request<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: &'a Caller,
    pub(crate) target: &'a Target,
    pub(crate) operation: Operation,
    pub(crate) old: Option<&'a Value>,
    /// Nothing is stored in the end; for plugins with effects outside of the object.
    pub(crate) dry_run: bool,
}

impl Request<'_> {
    /// Whether an object of this kind (core group) is created, subresources left out.
    fn creates(&self, kind: &str) -> bool {
        self.operation == Operation::Create
            && self.target.subresource.is_empty()
            && self.target.kind.group.is_empty()
            && self.target.kind.kind == kind
    }

    /// Whether ephemeral containers are put into a pod.
    fn adds_ephemeral_containers(&self) -> bool {
        self.operation == Operation::Update
            && self.target.subresource == "ephemeralcontainers"
            && self.target.kind.kind == "Pod"
    }

    /// The objects of a kind (version 1) in the request's namespace, by name, as the cache has them.
    fn in_namespace(&self, group: &str, resource: &str) -> Result<Vec<Value>, Status> {
        self.listed(group, resource, Some(&self.target.namespace))
    }

    /// The objects of a kind (version 1) without namespaces, by name, as the cache has them.
    fn in_cluster(&self, group: &str, resource: &str) -> Result<Vec<Value>, Status> {
        self.listed(group, resource, None)
    }

    fn listed(&self, group: &str, resource: &str, namespace: Option<&str>) -> Result<Vec<Value>, Status> {
        let kind = kinds::by_resource(group, "v1", resource).ok_or_else(Status::no_such_resource)?;
        let snapshot = self.app.view(kind).snapshot();
        Ok(snapshot.list(namespace, None).filter_map(|o| serde_json::from_slice(o.json()).ok()).collect())
    }

    /// 403 for the object.
    fn forbidden(&self, why: &str) -> Status {
        Status::forbidden(self.target.kind.group, self.target.kind.resource, &self.target.name, why)
    }
}

/// One plugin. The names are upstream's, where it has them.
#[async_trait]
pub(crate) trait Plugin: Send + Sync {
    fn name(&self) -> &'static str;

    /// Changes the object before it is validated.
    async fn mutate(&self, _request: &Request<'_>, _object: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// Refuses an object in its final form.
    async fn validate(&self, _request: &Request<'_>, _object: &Value) -> Result<(), Status> {
        Ok(())
    }

    /// What the user should know of an object that is let in.
    async fn warnings(&self, _request: &Request<'_>, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// What else changes in the transaction that stores the object. Asked again when another write was faster.
    async fn effects(&self, _request: &Request<'_>, _object: &Value) -> Result<Effects, Status> {
        Ok(Effects::default())
    }
}

/// All plugins in their order: what must see the work of others comes later.
fn all() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(namespace_lifecycle::NamespaceLifecycle),
        Box::new(limit_ranger::LimitRanger),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(node_taints::TaintNodesByCondition),
        Box::new(pod_security::PodSecurity),
        Box::new(priority::Priority),
        Box::new(tolerations::DefaultTolerationSeconds),
        Box::new(classes::DefaultStorageClass),
        Box::new(volumes::StorageObjectInUseProtection),
        Box::new(volumes::PersistentVolumeClaimResize),
        Box::new(runtime_class::RuntimeClass),
        Box::new(certificates::CertificateApproval),
        Box::new(certificates::CertificateSigning),
        Box::new(certificates::CertificateSubjectRestriction),
        Box::new(classes::DefaultIngressClass),
        Box::new(escalation::Escalation),
        Box::new(guards::AddressInUse),
        Box::new(guards::DeviceAdminAccess),
        // Last: what it reserves belongs to what everybody else let in.
        Box::new(resource_quota::ResourceQuota::default()),
    ]
}

/// Plugins that are off unless they are asked for: what this one adds, only a controller can take away that not every cluster
/// runs, and claims would never go.
const OFF: &[&str] = &["StorageObjectInUseProtection"];

/// The chain.
pub(crate) struct Chain(Vec<Box<dyn Plugin>>);

impl Chain {
    /// The chain with the plugins that are asked for and without those that are switched off.
    pub(crate) fn new(enabled: &[String], disabled: &[String]) -> Self {
        let named = |list: &[String], name: &str| list.iter().any(|n| n == name);
        let on = |name: &str| !named(disabled, name) && (!OFF.contains(&name) || named(enabled, name));
        Self(all().into_iter().filter(|p| on(p.name())).collect())
    }

    /// Names that no plugin has.
    pub(crate) fn unknown(names: &[String]) -> Vec<String> {
        names.iter().filter(|n| !all().iter().any(|p| p.name() == n.as_str())).cloned().collect()
    }

    /// Lets each plugin change the object.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        for plugin in &self.0 {
            plugin.mutate(request, object).await?;
        }
        Ok(())
    }

    /// Lets each plugin refuse the object.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        for plugin in &self.0 {
            plugin.validate(request, object).await?;
        }
        Ok(())
    }

    /// What the user should know.
    pub(crate) async fn warnings(&self, request: &Request<'_>, object: &Value) -> Vec<String> {
        let mut all = Vec::new();
        for plugin in &self.0 {
            all.extend(plugin.warnings(request, object).await);
        }
        all
    }

    /// What else changes in the transaction.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn effects(&self, request: &Request<'_>, object: &Value) -> Result<Effects, Status> {
        let mut all = Effects::default();
        for plugin in &self.0 {
            all.merge(plugin.effects(request, object).await?);
        }
        Ok(all)
    }
}
