//! Admission: what the cluster adds to, and refuses of, otherwise valid objects. An ordered chain, one file each.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_api::managed::Stamp;
use gantry_api::status::Status;
use gantry_api::{Value, kinds};
use parking_lot::Mutex;

pub(crate) use self::reservations::Reserved;
pub(crate) use self::resource_quota::recounts;
use self::rounds::Rounds;
pub(crate) use self::settings::Settings;
use crate::app::App;
use crate::metrics::admission::{Passage, Step};
use crate::pipeline::commit::Effects;
use crate::pipeline::current;
use crate::pipeline::options::DeleteOptions;
use crate::request::{Caller, Target, WriteOptions};

mod always;
mod certificates;
mod claim_rights;
mod classes;
mod escalation;
mod event_limits;
mod first_look;
mod guards;
mod image_policy;
mod limit_ranger;
mod matching;
mod names;
mod namespace_lifecycle;
pub(crate) mod node_restriction;
mod node_taints;
mod owners;
mod param_access;
mod placement;
mod pod_resize;
mod pod_security;
mod policy;
mod priority;
mod registered;
pub(crate) mod reservations;
mod resource_quota;
mod review;
mod rounds;
mod runtime_class;
mod service_account;
mod settings;
mod shown;
mod toleration_rules;
mod tolerations;
mod volumes;
mod webhook;

/// What is done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    /// Connecting to what the object stands for (`pods/exec`); there is no object, but options.
    Connect,
}

/// The options of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Options<'a> {
    None,
    Write(&'a WriteOptions),
    Delete(&'a DeleteOptions),
}

/// Which plugins are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those that the server brings.
    BuiltIn,
    /// Those that look at what is no stored object, too: a binding, an eviction, a review.
    Unstored,
}

/// A request that asks to be admitted.
pub(crate) struct Request<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: &'a Caller,
    pub(crate) target: &'a Target,
    pub(crate) operation: Operation,
    pub(crate) old: Option<&'a Value>,
    /// The revision of `old`.
    pub(crate) revision: u64,
    /// Nothing is stored in the end; for plugins with effects outside of the object.
    pub(crate) dry_run: bool,
    pub(crate) options: Options<'a>,
    /// The client gave no name: the server made one up, or the request is about a list.
    pub(crate) nameless: bool,
    /// It is asked for among all of its kind (POST), not by its name.
    pub(crate) posted: bool,
    /// The managed fields of a new object that are not in its tree.
    pub(crate) stamp: Option<&'a Stamp>,
    /// What has been asked of webhooks and policies so far.
    pub(crate) rounds: Mutex<Rounds>,
    /// What it has reserved of quotas; tries of one request share it.
    pub(crate) reserved: Arc<Reserved>,
}

impl<'a> Request<'a> {
    /// A request without an old object and options.
    pub(crate) fn new(app: &'a App, caller: &'a Caller, target: &'a Target, operation: Operation) -> Self {
        Self {
            app,
            caller,
            target,
            operation,
            old: None,
            revision: 0,
            dry_run: false,
            options: Options::None,
            nameless: false,
            posted: false,
            stamp: None,
            rounds: Mutex::default(),
            reserved: Arc::default(),
        }
    }

    /// A request that creates something.
    pub(crate) fn creating(app: &'a App, caller: &'a Caller, target: &'a Target, options: &'a WriteOptions) -> Self {
        Self {
            dry_run: options.dry_run,
            options: Options::Write(options),
            ..Self::new(app, caller, target, Operation::Create)
        }
    }

    /// Asks about what is no stored object: a binding, an eviction, a token, a review, options of a connection. Webhooks and
    /// policies are asked, and those that the server brings that care for whatever is created.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn admit_other(&self, object: &mut Value) -> Result<(), Status> {
        self.app.admission.mutate(self, Which::Unstored, object).await?;
        self.app.admission.validate(self, Which::Unstored, object).await
    }

    /// Begins to count a step.
    fn begin(&self, step: Step, which: Which) -> Passage<'a> {
        self.app.metrics.admission.begin(step, self.operation as usize, which as usize)
    }

    /// Whether an object of this kind (core group) is created, subresources left out.
    fn creates(&self, kind: &str) -> bool {
        self.operation == Operation::Create
            && self.target.subresource.is_empty()
            && self.target.kind.group.is_empty()
            && self.target.kind.kind == kind
    }

    /// Whether what a pod's containers may use changes.
    fn resizes(&self) -> bool {
        self.operation == Operation::Update
            && self.target.subresource == "resize"
            && self.target.kind.group.is_empty()
            && self.target.kind.kind == "Pod"
    }

    /// Whether ephemeral containers are put into a pod.
    fn adds_ephemeral_containers(&self) -> bool {
        self.operation == Operation::Update
            && self.target.subresource == "ephemeralcontainers"
            && self.target.kind.kind == "Pod"
    }

    /// The request's namespace.
    async fn load_namespace(&self) -> Result<Value, Status> {
        let kind = kinds::by_resource("", "v1", "namespaces").ok_or_else(Status::no_such_resource)?;
        let namespace = Target::new(kind, "", &self.target.namespace);
        let found = current::load(self.app, &namespace).await?.ok_or_else(|| namespace.not_found())?;
        Ok(found.value.clone())
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

    /// Whether it asks what users have set up, of whatever they ask about.
    fn is_dynamic(&self) -> bool {
        false
    }

    /// Whether it also looks at what is no stored object. Most of the server's own leave subresources alone.
    fn sees_unstored(&self) -> bool {
        self.is_dynamic()
    }

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

    /// Gives back what was reserved for a request that has failed.
    async fn abandon(&self, _app: &App, _reserved: &Reserved) {}
}

/// All plugins in their order, which is upstream's: what must see the work of others comes later.
fn all(settings: Settings) -> Vec<Box<dyn Plugin>> {
    let Settings { pod_security, node_selectors, tolerations, event_limits, limited_resources, .. } = settings;
    let Settings { image_policy, mutating_users, validating_users, .. } = settings;
    vec![
        Box::new(always::NamespaceAutoProvision),
        Box::new(namespace_lifecycle::NamespaceLifecycle),
        Box::new(placement::LimitPodHardAntiAffinityTopology),
        Box::new(limit_ranger::LimitRanger::default()),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(node_taints::TaintNodesByCondition),
        Box::new(always::AlwaysPullImages),
        Box::new(image_policy::ImagePolicyWebhook::new(image_policy)),
        Box::new(pod_security::PodSecurity(pod_security)),
        Box::new(placement::PodNodeSelector { selectors: node_selectors }),
        Box::new(priority::Priority),
        Box::new(tolerations::DefaultTolerationSeconds),
        Box::new(toleration_rules::PodTolerationRestriction(tolerations)),
        Box::new(event_limits::EventRateLimit::new(&event_limits)),
        Box::new(toleration_rules::ExtendedResourceToleration),
        Box::new(classes::DefaultStorageClass),
        Box::new(volumes::StorageObjectInUseProtection),
        Box::new(owners::OwnerReferencesPermissionEnforcement),
        Box::new(volumes::PersistentVolumeClaimResize),
        Box::new(runtime_class::RuntimeClass),
        Box::new(certificates::CertificateApproval),
        Box::new(certificates::CertificateSigning),
        Box::new(certificates::CertificateSubjectRestriction),
        Box::new(classes::DefaultIngressClass),
        Box::new(escalation::Escalation),
        Box::new(param_access::PolicyParameters),
        Box::new(guards::AddressInUse),
        Box::new(guards::DeviceAdminAccess),
        Box::new(claim_rights::ClaimStatusRights),
        Box::new(guards::DenyServiceExternalIPs),
        Box::new(placement::PodTopologyLabels),
        Box::new(pod_resize::PodResizeValidator),
        Box::new(policy::Mutating::default()),
        Box::new(webhook::Mutating::new(mutating_users)),
        Box::new(policy::Validating::default()),
        Box::new(webhook::Validating::new(validating_users)),
        // Behind the others: what it reserves belongs to what everybody else let in.
        Box::new(resource_quota::ResourceQuota::new(limited_resources)),
        Box::new(always::AlwaysDeny),
    ]
}

/// Plugins that are off unless they are asked for, as upstream.
const OFF: &[&str] = &[
    "AlwaysDeny",
    "AlwaysPullImages",
    "DenyServiceExternalIPs",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "ImagePolicyWebhook",
    "LimitPodHardAntiAffinityTopology",
    "NamespaceAutoProvision",
    "OwnerReferencesPermissionEnforcement",
    "PodNodeSelector",
    "PodTolerationRestriction",
];

/// The chain.
pub(crate) struct Chain(Vec<Box<dyn Plugin>>);

impl Chain {
    /// The chain with the plugins that are asked for and without those that are switched off.
    pub(crate) fn new(enabled: &[String], disabled: &[String], settings: Settings) -> Self {
        let named = |list: &[String], name: &str| list.iter().any(|n| n == name);
        let on = |name: &str| !named(disabled, name) && (!OFF.contains(&name) || named(enabled, name));
        Self(all(settings).into_iter().filter(|p| on(p.name())).collect())
    }

    /// Names that no plugin of upstream's has.
    pub(crate) fn unknown(names: &[String]) -> Vec<String> {
        let here =
            |name: &str| all(Settings::default()).iter().any(|p| p.name() == name) && !names::OWN.contains(&name);
        names.iter().filter(|name| !here(name) && !names::UPSTREAM.contains(&name.as_str())).cloned().collect()
    }

    /// Names of upstream's plugins that are not here, among those asked for: whoever relies on one must hear of it.
    pub(crate) fn unavailable(enabled: &[String]) -> Vec<String> {
        let absent = |name: &str| names::UPSTREAM.contains(&name) && !names::GUARDED_ANYWAY.contains(&name);
        enabled.iter().filter(|n| absent(n)).cloned().collect()
    }

    /// Whether a plugin is on.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|plugin| plugin.name() == name)
    }

    /// Whether anything that users have set up may change objects.
    pub(crate) fn interferes(&self, app: &App) -> bool {
        registered::MUTATING.iter().any(|resource| !registered::view(app, resource).is_some_and(|v| v.is_empty()))
    }

    /// The names of all plugins, with whether they ask what users have set up.
    pub(crate) fn names(&self) -> Vec<(&'static str, bool)> {
        self.0.iter().map(|plugin| (plugin.name(), plugin.is_dynamic())).collect()
    }

    /// The plugins that are asked, with their places.
    fn asked(&self, which: Which) -> impl Iterator<Item = (usize, &dyn Plugin)> {
        let wanted = move |(_, plugin): &(usize, &dyn Plugin)| match which {
            Which::All => true,
            Which::BuiltIn => !plugin.is_dynamic(),
            Which::Unstored => plugin.sees_unstored(),
        };
        self.0.iter().map(AsRef::as_ref).enumerate().filter(wanted)
    }

    /// Asks each plugin to change the object; the first that refuses, by its place.
    async fn mutate_once(
        &self,
        request: &Request<'_>,
        which: Which,
        object: &mut Value,
        passage: &Passage<'_>,
    ) -> Result<(), (usize, Status)> {
        for (at, plugin) in self.asked(which) {
            let asked = plugin.mutate(request, object);
            passage.ask(plugin.name(), asked).await.map_err(|status| (at, status))?;
        }
        Ok(())
    }

    /// Lets each plugin change the object. Where a webhook or policy did, all are asked a second time, since what they saw
    /// is not what there is.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn mutate(&self, request: &Request<'_>, which: Which, object: &mut Value) -> Result<(), Status> {
        let passage = request.begin(Step::Admit, which);
        let mut result = self.mutate_once(request, which, object, &passage).await;
        if result.is_ok() && request.rounds.lock().begin_second() {
            result = self.mutate_once(request, which, object, &passage).await;
        }
        passage.end(result.as_ref().err().map(|(at, _)| *at));
        result.map_err(|(_, status)| status)
    }

    /// Lets each plugin refuse the object.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn validate(&self, request: &Request<'_>, which: Which, object: &Value) -> Result<(), Status> {
        let passage = request.begin(Step::Validate, which);
        for (at, plugin) in self.asked(which) {
            if let Err(status) = passage.ask(plugin.name(), plugin.validate(request, object)).await {
                passage.end(Some(at));
                return Err(status);
            }
        }
        passage.end(None);
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

    /// Says that a request has failed after its effects were asked for.
    pub(crate) async fn abandon(&self, app: &App, reserved: &Reserved) {
        for plugin in &self.0 {
            plugin.abandon(app, reserved).await;
        }
    }
}

#[cfg(test)]
mod tests;
