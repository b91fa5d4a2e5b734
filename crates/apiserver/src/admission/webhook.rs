//! `MutatingAdmissionWebhook` and `ValidatingAdmissionWebhook`: asking what users run.

mod config;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use gantry_api::kinds::Kind;
use gantry_api::status::Status;
use gantry_api::{Value, patch};
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;

use self::config::Hook;
use super::matching::operation_name;
use super::registered::{Registered, is_exempt};
use super::review::{self, Answer, Objects};
use super::rounds::Asker;
use super::{Plugin, Request};
use crate::expressions::input::{Input, Rights};
use crate::metrics::hooks::{Rejection, Seen};
use crate::webhooks::Users;

/// Asks webhooks that may change the object, one after the other.
pub(super) struct Mutating(Registered<Vec<Hook>>, Users);
/// Asks webhooks that may refuse the object, all at once.
pub(super) struct Validating(Registered<Vec<Hook>>, Users);

impl Mutating {
    /// The plugin; `users` are whom the server is to webhooks.
    pub(super) fn new(users: Users) -> Self {
        Self(Registered::new("mutatingwebhookconfigurations", config::hooks), users)
    }
}

impl Validating {
    /// The plugin; `users` are whom the server is to webhooks.
    pub(super) fn new(users: Users) -> Self {
        Self(Registered::new("validatingwebhookconfigurations", config::hooks), users)
    }
}

/// Why a webhook does not let a request pass.
enum No {
    /// It says so, or the request cannot be made of it.
    Refused(Status),
    /// It could not be asked; `code` is that of its own answer, or 503.
    Failed { why: String, code: u16 },
    /// What it wants cannot be done.
    Broken(Status),
}

/// A webhook that is meant, and the version of the resource that it wants.
struct Meant<'a> {
    hook: &'a Hook,
    /// Its place among all, for audit annotations.
    index: usize,
    kind: Kind,
    users: &'a Users,
}

fn is_out(request: &Request<'_>) -> bool {
    request.caller.internal || is_exempt(request.target.kind.group, request.target.kind.kind)
}

fn all(configurations: &[Arc<Vec<Hook>>]) -> impl Iterator<Item = (usize, &Hook)> {
    configurations.iter().flat_map(|configuration| configuration.iter()).enumerate()
}

/// The version of the resource that a webhook is to be asked about, if it is. `early`: the object is not stored yet.
async fn wanted(request: &Request<'_>, hook: &Hook, object: &Value, early: bool) -> Result<Option<Kind>, Status> {
    let Some(kind) = hook.criteria.find(request, request.present(object)).await? else { return Ok(None) };
    if hook.conditions.is_empty() {
        return Ok(Some(kind));
    }
    let Objects { object, old } = request.shown(&kind, request.present(object), early).await?;
    let input = Input { object, old, request: review::request(request, &kind), namespace: None };
    let rights = Rights::of(request);
    match hook.conditions.hold(&input.bindings(Some(&rights), request, None, &[])) {
        Ok(holds) => Ok(holds.then_some(kind)),
        Err(_) if hook.ignores_failure => Ok(None),
        Err(why) => Err(request.forbidden(&why)),
    }
}

/// Asks one webhook.
async fn ask(request: &Request<'_>, meant: &Meant<'_>, objects: &Objects, mutating: bool) -> Result<Answer, No> {
    let Meant { hook, kind, users, .. } = meant;
    if request.dry_run && !hook.may_run_dry {
        let why = format!("admission webhook {:?} does not support dry run because it has side effects", hook.name);
        return Err(No::Broken(Status::bad_request(why)));
    }
    let failed = |why: String, code| No::Failed { why, code };
    let version = hook.version.ok_or_else(|| {
        failed(
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
                .to_owned(),
            400,
        )
    })?;
    let uid = uuid::Uuid::new_v4().to_string();
    let question = review::question(review::request(request, kind), &uid, objects, version);
    let app = request.app;
    let called = app.webhooks.call(app, &hook.client, users, &question, hook.timeout).await;
    let reply = called.map_err(|status| failed(format!("failed to call webhook: {}", status.message), status.code))?;
    let answer = review::answer(&reply, &uid, version, mutating).map_err(|why| failed(why, 503))?;
    let notes = &request.caller.notes;
    for (key, text) in &answer.annotations {
        notes.annotate(&format!("{}/{key}", hook.name), text);
    }
    answer.warnings.iter().for_each(|text| notes.warn(text));
    if answer.allowed { Ok(answer) } else { Err(No::Refused(review::denied(&hook.name, answer.status))) }
}

/// What a failed question means for the request; counted and told.
fn judge<T: Default>(
    request: &Request<'_>,
    meant: &Meant<'_>,
    (mutating, began): (bool, Instant),
    asked: Result<T, No>,
) -> Result<T, Status> {
    let hook = meant.hook;
    let kind = if mutating { "admit" } else { "validating" };
    let seen = Seen { name: &hook.name, kind, operation: operation_name(request.operation) };
    let metrics = &request.app.metrics.hooks;
    let (code, result) = match asked {
        Ok(found) => (200, Ok(found)),
        Err(No::Failed { why, code }) if hook.ignores_failure => {
            warn!(webhook = %hook.name, why, "webhook cannot be asked, the request passes");
            metrics.failed_open(&seen);
            let prefix = if mutating { "mutation" } else { "validating" };
            let round = request.rounds.lock().number();
            let key = format!("failed-open.{prefix}.webhook.admission.k8s.io/round_{round}_index_{}", meant.index);
            request.caller.notes.annotate(&key, &hook.name);
            (code, Ok(T::default()))
        }
        Err(No::Failed { why, code }) => {
            warn!(webhook = %hook.name, why, "webhook cannot be asked, the request is refused");
            metrics.rejected(&seen, Rejection::Calling, code);
            (code, Err(Status::internal(format!("failed calling webhook {:?}: {why}", hook.name))))
        }
        Err(No::Refused(status)) => {
            metrics.rejected(&seen, Rejection::Denied, status.code);
            (status.code, Err(status))
        }
        Err(No::Broken(status)) => {
            metrics.rejected(&seen, Rejection::Internal, 0);
            (0, Err(status))
        }
    };
    let took = began.elapsed();
    if mutating {
        request.caller.notes.wait(took);
    }
    metrics.asked(&seen, took, result.is_err(), code);
    result
}

/// Applies the patch of an answer to the object as it was shown; says whether that changed anything.
async fn apply(
    request: &Request<'_>,
    meant: &Meant<'_>,
    answer: &Answer,
    shown: Option<&Value>,
    object: &mut Value,
) -> Result<bool, No> {
    let unusable = |why| No::Failed { why, code: 503 };
    let Some(operations) = answer.operations().map_err(unusable)? else { return Ok(false) };
    let Some(shown) = shown else {
        let why = format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            meant.hook.name
        );
        return Err(No::Broken(Status::internal(why)));
    };
    answer.check_type().map_err(unusable)?;
    let failed = |status: Status| {
        let cause = status.details.and_then(|d| d.causes.into_iter().next()).map(|c| c.message);
        No::Broken(Status::internal(cause.filter(|c| !c.is_empty()).unwrap_or(status.message)))
    };
    let patched = patch::json(shown, &operations).map_err(failed)?;
    if patched == *shown {
        return Ok(false);
    }
    let before = object.clone();
    request.take_over(&meant.kind, patched, object).await.map_err(No::Broken)?;
    Ok(*object != before)
}

impl Mutating {
    async fn one(&self, request: &Request<'_>, meant: &Meant<'_>, object: &mut Value) -> Result<(), Status> {
        let began = Instant::now();
        let objects = request.shown(&meant.kind, request.present(object), true).await?;
        let changed = match ask(request, meant, &objects, true).await {
            Ok(answer) => apply(request, meant, &answer, objects.object.as_ref(), object).await,
            Err(no) => Err(no),
        };
        let mutated = matches!(changed, Ok(true));
        let round = request.rounds.lock().number();
        let key = format!("mutation.webhook.admission.k8s.io/round_{round}_index_{}", meant.index);
        let hook = meant.hook;
        let told = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": mutated});
        request.caller.notes.annotate(&key, &told.to_string());
        judge(request, meant, (true, began), changed)?;
        let mut rounds = request.rounds.lock();
        if mutated {
            rounds.change(Asker::Webhooks);
        }
        if hook.repeats {
            rounds.repeat(Asker::Webhooks, &hook.key);
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for Mutating {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    fn is_dynamic(&self) -> bool {
        true
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if is_out(request) {
            return Ok(());
        }
        let configurations = self.0.now(request.app);
        if configurations.is_empty() {
            return Ok(());
        }
        request.rounds.lock().begin(Asker::Webhooks, object);
        for (index, hook) in all(&configurations) {
            let Some(kind) = wanted(request, hook, object, true).await? else { continue };
            if request.rounds.lock().is_due(Asker::Webhooks, &hook.key) {
                self.one(request, &Meant { hook, index, kind, users: &self.1 }, object).await?;
            }
        }
        request.rounds.lock().end(Asker::Webhooks, object);
        Ok(())
    }
}

#[async_trait]
impl Plugin for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn is_dynamic(&self) -> bool {
        true
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if is_out(request) {
            return Ok(());
        }
        let configurations = self.0.now(request.app);
        let mut meant = Vec::new();
        for (index, hook) in all(&configurations) {
            if let Some(kind) = wanted(request, hook, object, false).await? {
                meant.push(Meant { hook, index, kind, users: &self.1 });
            }
        }
        let questions = meant.iter().map(|meant| async {
            let began = Instant::now();
            let objects = request.shown(&meant.kind, request.present(object), false).await?;
            let answer = ask(request, meant, &objects, false).await.map(drop);
            judge(request, meant, (false, began), answer)
        });
        let began = Instant::now();
        let answers = join_all(questions).await;
        if !meant.is_empty() {
            request.caller.notes.wait(began.elapsed());
        }
        answers.into_iter().collect()
    }
}
