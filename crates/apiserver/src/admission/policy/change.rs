//! What mutating policies do to an object.

use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::{Value, managed, patch, value};
use gantry_cel::Budget;
use tokio::time::Instant;

use super::definition::{Binding, Change, Definition};
use super::judge::name_of;
use super::{Bound, Unusable};
use crate::admission::review::Objects;
use crate::admission::rounds::Asker;
use crate::admission::{Request, review};
use crate::expressions::input::{Input, Rights};
use crate::metrics::policies::Checked;

/// A change that failed.
struct Failed {
    message: String,
    /// The policy cannot be used, or an expression went wrong.
    reason: &'static str,
    ignored: bool,
}

fn failed(policy: &Definition, binding: Option<&Binding>, why: &str, reason: &'static str) -> Failed {
    let message = match binding {
        Some(binding) => {
            format!("policy '{}' with binding '{}' denied request: {why}", policy.name, binding.name)
        }
        None => format!("policy {:?} denied request: {why}", policy.name),
    };
    Failed { message, reason, ignored: policy.ignores_failure }
}

/// Lets all policies change the object, one after the other.
///
/// # Errors
/// What went wrong with those that do not forgive it.
pub(super) async fn all(
    request: &Request<'_>,
    found: &[Bound],
    unusable: Vec<Unusable>,
    namespace: Option<Value>,
    object: &mut Value,
) -> Result<(), Status> {
    let mut failures: Vec<Failed> =
        unusable.iter().map(|u| failed(&u.policy, u.binding.as_deref(), &u.why, "Forbidden")).collect();
    request.rounds.lock().begin(Asker::Policies, object);
    for bound in found {
        let mut turn = Turn { request, policy: &bound.policy, kind: &bound.kind, failures: &mut failures };
        for (binding, params) in &bound.bindings {
            for param in params {
                turn.take(binding, param.as_ref(), namespace.as_ref(), object).await;
            }
        }
    }
    request.rounds.lock().end(Asker::Policies, object);
    refusal(request, object, &failures).map_or(Ok(()), Err)
}

fn refusal(request: &Request<'_>, object: &Value, failures: &[Failed]) -> Option<Status> {
    let mut counted = failures.iter().filter(|failure| !failure.ignored).peekable();
    let first = counted.peek()?;
    let kind = &request.target.kind;
    let mut status = Status::forbidden(kind.group, kind.resource, &name_of(request, object), "");
    status.message.clone_from(&first.message);
    first.reason.clone_into(&mut status.reason);
    Some(counted.fold(status, |status, failure| status.with_cause("", &failure.message, "")))
}

/// The turn of one policy.
struct Turn<'c, 'r> {
    request: &'c Request<'r>,
    policy: &'c Definition,
    kind: &'c KindInfo,
    failures: &'c mut Vec<Failed>,
}

impl Turn<'_, '_> {
    async fn take(&mut self, binding: &Binding, param: Option<&Value>, namespace: Option<&Value>, object: &mut Value) {
        let (request, policy) = (self.request, self.policy);
        let Objects { object: shown, old } = match request.shown(self.kind, Some(object), true).await {
            Ok(shown) => shown,
            Err(status) => {
                let why = format!("failed to convert object version: {}", status.message);
                return self.failures.push(failed(policy, Some(binding), &why, "Invalid"));
            }
        };
        let text = |path: &str| param.and_then(|p| value::str_at(p, path)).unwrap_or_default();
        let key = format!("{}/{}/{}/{}", policy.name, binding.name, text("metadata.namespace"), text("metadata.name"));
        let mut input =
            Input { object: shown, old, request: review::request(request, self.kind), namespace: namespace.cloned() };
        match self.is_meant(&input, param) {
            Ok(true) => {}
            Ok(false) => return,
            Err(why) => return self.failures.push(failed(policy, Some(binding), &why, "Invalid")),
        }
        if !request.rounds.lock().is_due(Asker::Policies, &key) {
            return;
        }
        let before = object.clone();
        for change in &policy.changes {
            let began = Instant::now();
            let made = match self.make(change, &input, param) {
                Ok(Some(shown)) => self.put(shown, &mut input, object).await,
                made => made.map(drop),
            };
            let (error, took) = (if made.is_ok() { "no_error" } else { "invalid_error" }, began.elapsed());
            let checked = Checked { policy: &policy.name, binding: &binding.name, action: "", error, took };
            request.app.metrics.policies.changed(&checked);
            if let Err(why) = made {
                self.failures.push(failed(policy, Some(binding), &why, "Invalid"));
            }
        }
        let mut rounds = request.rounds.lock();
        if *object != before {
            rounds.change(Asker::Policies);
        }
        if policy.repeats {
            rounds.repeat(Asker::Policies, &key);
        }
    }

    /// Takes over a changed object; the next change sees it.
    async fn put(&self, shown: Value, input: &mut Input, object: &mut Value) -> Result<(), String> {
        let request = self.request;
        request.take_over(self.kind, shown, object).await.map_err(|status| status.message)?;
        input.object = request.shown(self.kind, Some(object), true).await.map_err(|status| status.message)?.object;
        Ok(())
    }

    fn is_meant(&self, input: &Input, param: Option<&Value>) -> Result<bool, String> {
        if self.policy.conditions.is_empty() {
            return Ok(true);
        }
        let rights = Rights::of(self.request);
        let bindings = input.bindings(Some(&rights), self.request, param, &self.policy.variables);
        match self.policy.conditions.hold(&bindings) {
            Err(_) if self.policy.ignores_failure => Ok(false),
            decided => decided,
        }
    }

    /// The object as it should be; nothing where a patch does not apply to it.
    fn make(&self, change: &Change, input: &Input, param: Option<&Value>) -> Result<Option<Value>, String> {
        let rights = Rights::of(self.request);
        let bindings = input.bindings(Some(&rights), self.request, param, &self.policy.variables);
        let (Change::Patch(expression) | Change::Configuration(expression)) = change;
        let made = expression.evaluate(&bindings, &mut Budget::rule_set()).map_err(|failure| failure.to_string())?;
        if let Some(why) = made.type_mismatch() {
            return Err(why);
        }
        let made = made.to_json().map_err(|error| error.to_string())?;
        let live = input.object.as_ref().unwrap_or(&Value::Null);
        match change {
            Change::Patch(_) => patched(live, &made),
            Change::Configuration(_) => self.merged(live, made).map(Some),
        }
    }

    fn merged(&self, live: &Value, mut config: Value) -> Result<Value, String> {
        for key in ["apiVersion", "kind"] {
            if let Some(own) = live.get(key) {
                value::set(&mut config, key, own.clone());
            }
        }
        self.request.with_type(self.kind, |ty| {
            let ty = ty.resolve().map_err(|status| status.message)?;
            managed::overlay(live, &config, ty).map_err(|why| format!("error applying patch: {why}"))
        })
    }
}

fn patched(live: &Value, operations: &Value) -> Result<Option<Value>, String> {
    match patch::json(live, operations) {
        Ok(patched) => Ok(Some(patched)),
        Err(status) => {
            let why = status.details.and_then(|d| d.causes.into_iter().next()).map(|c| c.message);
            let why = why.filter(|why| !why.is_empty()).unwrap_or(status.message);
            // A test that fails says that the patch is not for this object.
            if why.ends_with(patch::TEST_FAILED) { Ok(None) } else { Err(format!("JSON Patch: {why}")) }
        }
    }
}
