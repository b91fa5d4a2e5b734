//! Admission: what the cluster adds to, and refuses of, otherwise valid objects. An ordered chain, one file each.

use async_trait::async_trait;
use gantry_api::Value;
use gantry_api::status::Status;

use crate::app::App;
use crate::request::{Caller, Target};

mod escalation;
mod namespace_lifecycle;
mod node_restriction;
mod node_taints;
mod priority;
mod service_account;
mod tolerations;

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
    #[expect(dead_code, reason = "for plugins with effects outside of the object; none has any yet")]
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
}

/// All plugins in their order: what must see the work of others comes later.
fn all() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(namespace_lifecycle::NamespaceLifecycle),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(node_taints::TaintNodesByCondition),
        Box::new(priority::Priority),
        Box::new(tolerations::DefaultTolerationSeconds),
        Box::new(escalation::Escalation),
    ]
}

/// The chain.
pub(crate) struct Chain(Vec<Box<dyn Plugin>>);

impl Chain {
    /// The chain without the plugins that are switched off.
    pub(crate) fn without(disabled: &[String]) -> Self {
        Self(all().into_iter().filter(|p| !disabled.iter().any(|d| d == p.name())).collect())
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
}
