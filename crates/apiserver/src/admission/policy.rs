//! `ValidatingAdmissionPolicy` and `MutatingAdmissionPolicy`: rules that users write as expressions and bind to requests.

mod change;
mod definition;
mod judge;
mod params;

use std::sync::Arc;

use async_trait::async_trait;
use gantry_api::Value;
use gantry_api::kinds::Kind;
use gantry_api::status::Status;

use self::definition::{Binding, Definition};
use super::registered::{Registered, is_exempt};
use super::review::Objects;
use super::{Operation, Plugin, Request, matching, review};
use crate::expressions::input::Input;

/// Policies and their bindings, of one of the two sorts.
struct Source {
    policies: Registered<Definition>,
    bindings: Registered<Binding>,
}

/// A policy that a request is about, with those of its bindings that are.
struct Bound {
    policy: Arc<Definition>,
    /// The version of the resource that the policy wants.
    kind: Kind,
    bindings: Vec<(Arc<Binding>, Vec<Option<Value>>)>,
}

/// Why a policy or binding cannot be used on a request.
struct Unusable {
    policy: Arc<Definition>,
    binding: Option<Arc<Binding>>,
    why: String,
}

/// Policies say nothing about what admits objects, nor about questions.
fn is_out(request: &Request<'_>) -> bool {
    let kind = &request.target.kind;
    let asks = matches!(kind.group, "authentication.k8s.io" | "authorization.k8s.io") && kind.create_only();
    request.caller.internal || asks || is_exempt(kind.group, kind.kind)
}

impl Source {
    /// What a request is about.
    async fn find(&self, request: &Request<'_>, object: &Value) -> (Vec<Bound>, Vec<Unusable>) {
        let (mut found, mut unusable) = (Vec::new(), Vec::new());
        let bindings = self.bindings.now(request.app);
        if bindings.is_empty() {
            return (found, unusable);
        }
        for policy in self.policies.now(request.app) {
            let own: Vec<_> = bindings.iter().filter(|binding| binding.policy == policy.name).cloned().collect();
            if own.is_empty() {
                continue;
            }
            let kind = match policy.criteria.find(request, request.present(object)).await {
                Ok(Some(kind)) => kind,
                Ok(None) => continue,
                Err(status) => {
                    let why = format!("failed to configure policy: {}", status.message);
                    unusable.push(Unusable { policy, binding: None, why });
                    continue;
                }
            };
            let mut usable = Vec::new();
            for binding in own {
                match with_params(request, object, &policy, &binding).await {
                    Ok(None) => {}
                    Ok(Some(params)) => usable.push((binding, params)),
                    Err(why) => {
                        let why = format!("failed to configure binding: {why}");
                        unusable.push(Unusable { policy: policy.clone(), binding: Some(binding), why });
                    }
                }
            }
            found.push(Bound { policy, kind, bindings: usable });
        }
        (found, unusable)
    }
}

/// The parameters of a binding that the request is about.
async fn with_params(
    request: &Request<'_>,
    object: &Value,
    policy: &Definition,
    binding: &Binding,
) -> Result<Option<Vec<Option<Value>>>, String> {
    if let Some(criteria) = &binding.criteria {
        let found = criteria.find(request, request.present(object)).await.map_err(|status| status.message)?;
        if found.is_none() {
            return Ok(None);
        }
    }
    params::of(request, policy, binding).await.map(Some)
}

/// The object could not be brought to the version that the policy wants.
fn not_converted(bound: &Bound, status: &Status) -> Unusable {
    let why = format!("failed to convert object version: {}", status.message);
    Unusable { policy: bound.policy.clone(), binding: None, why }
}

/// The namespace of the request, as expressions see it; nothing for what is in none.
async fn namespace(request: &Request<'_>) -> Result<Option<Value>, Status> {
    if request.namespace().is_empty() || request.is_about_namespaces() {
        return Ok(None);
    }
    matching::namespace(request).await.map(Some)
}

/// Refuses what policies do not allow.
pub(super) struct Validating(Source);
/// Changes what policies change.
pub(super) struct Mutating(Source);

impl Default for Validating {
    fn default() -> Self {
        Self(Source {
            policies: Registered::new("validatingadmissionpolicies", definition::policy),
            bindings: Registered::new("validatingadmissionpolicybindings", definition::binding),
        })
    }
}

impl Default for Mutating {
    fn default() -> Self {
        Self(Source {
            policies: Registered::new("mutatingadmissionpolicies", definition::policy),
            bindings: Registered::new("mutatingadmissionpolicybindings", definition::binding),
        })
    }
}

#[async_trait]
impl Plugin for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn is_dynamic(&self) -> bool {
        true
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if is_out(request) {
            return Ok(());
        }
        let (found, mut unusable) = self.0.find(request, object).await;
        if found.is_empty() && unusable.is_empty() {
            return Ok(());
        }
        let namespace = if found.is_empty() { None } else { namespace(request).await? };
        let mut inputs = Vec::with_capacity(found.len());
        for bound in &found {
            match request.shown(&bound.kind, request.present(object), false).await {
                Ok(Objects { object, old }) => {
                    let request = review::request(request, &bound.kind);
                    inputs.push((bound, Input { object, old, request, namespace: namespace.clone() }));
                }
                Err(status) => unusable.push(not_converted(bound, &status)),
            }
        }
        let mut denied = judge::unusable(unusable);
        for (bound, input) in &inputs {
            judge::policy(request, bound, input, &mut denied);
        }
        judge::verdict(request, object, &denied)
    }
}

#[async_trait]
impl Plugin for Mutating {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    fn is_dynamic(&self) -> bool {
        true
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        // What is deleted has nothing to change: upstream does not even look for policies.
        if is_out(request) || request.operation == Operation::Delete {
            return Ok(());
        }
        let (found, unusable) = self.0.find(request, object).await;
        if found.is_empty() && unusable.is_empty() {
            return Ok(());
        }
        let namespace = if found.is_empty() { None } else { namespace(request).await? };
        change::all(request, &found, unusable, namespace, object).await
    }
}
