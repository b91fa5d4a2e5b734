//! Changing a stored object: the loop that every update, patch, scale, binding and finalize goes through.
//!
//! An attempt starts from the cache. Whatever it concludes (a refusal, or that nothing changes) counts only once the
//! state that it looked at is known to be the present one; a stored change proves that by itself.

use std::sync::Arc;

use gantry_api::status::Status;
use gantry_api::{Value, canon, defaults, gated, managed, validation, value};
use http::StatusCode;

use super::commit::{self, Commit, Failed, Write};
use super::current::{self, Current};
use super::turns::Held;
use super::{Outcome, Written, delete, metadata};
use crate::admission::{Operation, Options, Request, Reserved, Which, recounts};
use crate::allocate;
use crate::app::App;
use crate::event_leases::expires;
use crate::registry::pod::{qos, resize};
use crate::registry::{self, Ctx};
use crate::request::{Caller, Target, WriteOptions};

/// Tries against other writers of the same object.
const TRIES: usize = 64;

/// Which part of the object is written, and what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but status.
    Main,
    /// Status alone, or the part of it that `/approval` writes.
    Status,
    /// The ephemeral containers of a pod alone.
    Ephemeral,
    /// What the containers of a pod may use, alone.
    Resize,
    /// What the server itself changes (bindings, finalize): stored as made.
    System,
}

impl Part {
    /// What a write of this subresource is about.
    pub(crate) fn of(subresource: &str) -> Self {
        match subresource {
            "" => Self::Main,
            "finalize" => Self::System,
            "ephemeralcontainers" => Self::Ephemeral,
            "resize" => Self::Resize,
            _ => Self::Status,
        }
    }
}

/// The new state, before defaulting.
pub(crate) struct Made {
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

/// Makes the new state of the old one.
pub(crate) type Make<'a> = &'a (dyn Fn(&Current) -> Result<Made, Status> + Send + Sync);

/// A change of one object.
pub(crate) struct Change<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) target: &'a Target,
    pub(crate) options: &'a WriteOptions,
    pub(crate) part: Part,
    /// A PUT must say which version it replaces.
    pub(crate) version_required: bool,
    pub(crate) make: Make<'a>,
}

/// Changes an object in the server's own name.
///
/// # Errors
/// A Status in upstream's words; `NotFound` where the object is gone.
pub(crate) async fn by_server(app: &App, target: &Target, part: Part, make: Make<'_>) -> Result<Written, Status> {
    let (caller, options) = (Caller::apiserver(), WriteOptions::default());
    Change { caller: &caller, target, options: &options, part, version_required: false, make }.run(app).await
}

/// A finished new state.
struct Ready {
    object: Value,
    warnings: Vec<String>,
    /// The object goes: nothing holds it any more.
    remove: bool,
}

enum Attempt {
    Done(Box<Written>),
    /// Start again from this.
    Again(Current),
    /// Start again from the same: another write took what this one wanted to allocate.
    Allocate,
    /// Final: the store has not done it, or it is not known whether it has, or what was done cannot be shown.
    Failed(Box<Failed>),
}

impl Change<'_> {
    /// Makes and stores the change.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn run(&self, app: &App) -> Result<Written, Status> {
        let reserved = Arc::default();
        let result = self.tried(app, &reserved).await;
        if result.as_ref().is_err_and(Failed::is_refusal) {
            app.admission.abandon(app, &reserved).await;
        }
        result.map_err(Failed::into_status)
    }

    async fn tried(&self, app: &App, reserved: &Arc<Reserved>) -> Result<Written, Failed> {
        let mut state = current::load(app, self.target).await?.ok_or_else(|| self.target.not_found())?;
        let mut turn = Held::default();
        let mut is_managed = true;
        for _ in 0..TRIES {
            match self.attempt(app, (&state, is_managed), reserved).await {
                Ok(Attempt::Done(written)) => return Ok(*written),
                Ok(Attempt::Again(next)) => {
                    state = next;
                    turn.object(&app.turns, &self.target.key()).await;
                }
                Ok(Attempt::Allocate) => allocate::try_again(app, &mut turn).await?,
                // As upstream, what only its managed fields make too large is stored without them, unless it is applied: that is
                // about who owns what.
                Ok(Attempt::Failed(failed)) if is_managed && !self.options.applies && failed.is_too_large() => {
                    is_managed = false;
                }
                Ok(Attempt::Failed(failed)) => return Err(*failed),
                Err(status) if state.fresh => return Err(status.into()),
                Err(status) => state = self.doubt(app, &state).await?.ok_or(status)?,
            }
        }
        Err(self.target.stale().into())
    }

    /// The present state, if it is not the one that was looked at, or must be written anew.
    async fn doubt(&self, app: &App, state: &Current) -> Result<Option<Current>, Status> {
        let now = current::reload(app, self.target).await?.ok_or_else(|| self.target.not_found())?;
        Ok((now.revision != state.revision || now.stale).then_some(now))
    }

    /// `is_managed`: it is noted who owns what.
    async fn attempt(
        &self,
        app: &App,
        (state, is_managed): (&Current, bool),
        reserved: &Arc<Reserved>,
    ) -> Result<Attempt, Status> {
        let Ready { mut object, warnings, remove } = self.ready(app, state).await?;
        if !is_managed {
            value::remove(&mut object, "metadata.managedFields");
        }
        let old = &state.value;
        let done = |encoded, revision| {
            Ok(Attempt::Done(Box::new(Written {
                outcome: Outcome::Object { encoded, revision },
                code: StatusCode::OK,
                warnings: warnings.clone(),
            })))
        };
        let mut effects = match remove {
            true => commit::Effects::default(),
            false => self.effects(app, (state, &object), reserved).await?,
        };
        effects.merge(allocate::plan(app, self.target, Some(old), (!remove).then_some(&mut object)).await?);
        let draft = current::draft(&object)?;
        if !remove && !state.stale && canon::unchanged(old, &object) {
            if !state.fresh
                && let Some(now) = self.doubt(app, state).await?
            {
                return Ok(Attempt::Again(now));
            }
            return done(current::written(&current::draft(old)?, state.revision)?, state.revision);
        }
        if self.options.dry_run {
            return done(current::written(&draft, state.revision)?, state.revision);
        }
        let kind = &self.target.kind;
        // A repeated event starts its time anew.
        let lease = if expires(kind) { app.event_leases.lease_for(app, kind).await? } else { state.lease };
        let writing = current::writing(app, self.target, draft);
        let write = Write {
            target: self.target,
            fence: self.caller.fence.as_ref(),
            from: state.revision,
            bytes: (!remove).then(|| writing.json().clone()),
            lease,
            effects: match remove {
                true => effects.with_traces_of(self.target),
                false => effects.with_fence_of(self.target, &object, Some(old)),
            },
        };
        let committed = match write.commit(app).await {
            Ok(committed) => committed,
            Err(failed) => return Ok(Attempt::Failed(Box::new(failed))),
        };
        match committed {
            Commit::Done(revision, converted) => {
                if remove {
                    delete::take_along(app, self.target).await;
                }
                match current::answer(app, self.target, (&writing, converted), revision).await {
                    Ok(encoded) => done(encoded, revision),
                    Err(status) => Ok(Attempt::Failed(Box::new(Failed::Open(status)))),
                }
            }
            Commit::Moved(Some(now)) => Ok(Attempt::Again(*now)),
            Commit::Moved(None) => Err(self.target.not_found()),
            Commit::Effect => Ok(Attempt::Allocate),
        }
    }

    /// What admission writes along with `object`.
    async fn effects(
        &self,
        app: &App,
        (state, object): (&Current, &Value),
        reserved: &Arc<Reserved>,
    ) -> Result<commit::Effects, Status> {
        match self.part {
            Part::Main | Part::Resize => {
                let request = Request { reserved: reserved.clone(), ..self.request(app, state) };
                app.admission.effects(&request, object).await
            }
            // Whoever says what is used has counted it.
            Part::Status if self.target.kind.is("", "ResourceQuota") && !self.options.dry_run => {
                Ok(recounts(self.target))
            }
            _ => Ok(commit::Effects::default()),
        }
    }

    async fn ready(&self, app: &App, state: &Current) -> Result<Ready, Status> {
        let Made { mut object, mut warnings } = (self.make)(state)?;
        let (kind, old) = (&self.target.kind, &state.value);
        self.check_identity(&object, state)?;
        metadata::on_update(&mut object, old);
        let strategy = registry::strategy(kind);
        let (subresource, user) = (self.target.subresource, &*self.caller.user.name);
        let families = app.config.service_cluster_ip_range.families();
        let ctx = Ctx { kind, subresource, now: app.clock.now(), user, families: &families };
        self.confine(&mut object, old);
        let sent = self.read(&mut object);
        defaults::apply(kind, &mut object)?;
        let request = self.request(app, state);
        // Whoever writes owns what they wrote, not what webhooks and policies make of it.
        let early = app.admission.interferes(app);
        if early {
            let mut meant = object.clone();
            self.prepare(&ctx, &mut meant, old)?;
            canon::canonical(&mut meant, kind.hub())?;
            self.stamp(app, &mut meant, old, sent.as_ref());
            copy(&meant, &mut object, "metadata.managedFields");
        }
        app.admission.mutate(&request, self.which(), &mut object).await?;
        warnings.extend(metadata::dedup_owners(&mut object, true));
        if self.part == Part::Resize || request.rounds.lock().is_changed() {
            metadata::on_update(&mut object, old);
            self.confine(&mut object, old);
        }
        self.prepare(&ctx, &mut object, old)?;
        let mut errors = match self.part {
            Part::Main => strategy.validate_change(kind, (&object, old), false, &mut warnings),
            Part::Status if self.target.subresource == "approval" => validation::approval_update(&object, old),
            Part::Status => strategy.validate_change(kind, (&object, old), true, &mut warnings),
            Part::Ephemeral => validation::ephemeral_containers(&object, old),
            Part::Resize => validation::pod_resize(&object, old, qos::class(old), qos::class(&object)),
            Part::System if self.target.subresource == "finalize" => validation::finalize(&object, old),
            Part::System => Vec::new(),
        };
        if self.part == Part::Main && allocate::concerns(kind) {
            errors.extend(allocate::refusals(app, &object, Some(old)));
        }
        if !errors.is_empty() {
            return Err(Status::invalid(kind.group, kind.kind, &self.target.name, &errors));
        }
        app.admission.validate(&request, self.which(), &object).await?;
        if self.part == Part::Main {
            warnings.extend(strategy.warnings(&object, Some(old)));
            warnings.extend(app.admission.warnings(&request, &object).await);
        } else if self.part == Part::Status && self.target.subresource == "status" {
            warnings.extend(strategy.status_warnings(&object));
        }
        canon::canonical(&mut object, kind.hub())?;
        if !early {
            self.stamp(app, &mut object, old, sent.as_ref());
        }
        managed::keep_times(old, &mut object);
        let remove =
            metadata::is_deleting(&object) && !metadata::has_finalizers(&object) && strategy.removable(&object);
        Ok(Ready { object, warnings, remove })
    }

    /// Notes who owns what of an object that its kind has prepared; an apply has done that.
    fn stamp(&self, app: &App, object: &mut Value, old: &Value, sent: Option<&Sent>) {
        if self.options.applies {
            return;
        }
        let decided = sent.map(|sent| sent.swap(object));
        managed::stamp(Some(old), object, &managed_write(app, self.caller, self.target, self.options));
        if let Some(decided) = decided {
            decided.swap(object);
        }
    }

    /// Reads what the client sent as the kind does. The annotation that the kind decides in the end, as it was sent.
    fn read(&self, object: &mut Value) -> Option<Sent> {
        let strategy = registry::strategy(&self.target.kind);
        if self.part != Part::System {
            strategy.read(object);
        }
        let name = strategy.decided_annotation()?;
        let annotations = value::map_at(object, "metadata.annotations");
        Some(Sent { name, text: annotations.and_then(|all| all.get(name)).cloned() })
    }

    /// Leaves alone what this part of the object does not hold.
    fn confine(&self, object: &mut Value, old: &Value) {
        match self.part {
            Part::Status => {
                *object = with_status_of(old, std::mem::take(object));
                if let Some(status) = defaults::empty_status(self.target.kind.hub()) {
                    value::set_default(object, "status", status);
                }
            }
            Part::Ephemeral => *object = with_ephemeral_containers_of(old, object),
            Part::Resize => *object = resize::confined(old, std::mem::take(object)),
            Part::Main if self.target.kind.has_status => keep_status(object, old),
            Part::Main | Part::System => {}
        }
    }

    /// What the kind makes of the new state.
    ///
    /// # Errors
    /// As [`defaults::apply`].
    fn prepare(&self, ctx: &Ctx<'_>, object: &mut Value, old: &Value) -> Result<(), Status> {
        let strategy = registry::strategy(ctx.kind);
        if self.part != Part::System {
            gated::drop_fields(ctx.kind, object, Some(old), self.part == Part::Status);
        }
        match self.part {
            Part::Main | Part::Ephemeral | Part::Resize => {
                strategy.prepare_update(ctx, object, old);
                defaults::apply(ctx.kind, object)?;
                metadata::bump_generation(ctx.kind, object, old);
            }
            Part::Status => strategy.prepare_status_update(ctx, object, old),
            Part::System => {}
        }
        Ok(())
    }

    /// Who is asked. What the server itself changes was admitted in the form in which it was asked for (a Binding).
    fn which(&self) -> Which {
        match self.part {
            Part::System if self.target.subresource != "finalize" => Which::BuiltIn,
            _ => Which::All,
        }
    }

    /// What admission is asked.
    fn request<'b>(&'b self, app: &'b App, state: &'b Current) -> Request<'b> {
        Request {
            old: Some(&state.value),
            revision: state.revision,
            dry_run: self.options.dry_run,
            options: Options::Write(self.options),
            ..Request::new(app, self.caller, self.target, Operation::Update)
        }
    }

    /// The version and the uid that the client meant.
    fn check_identity(&self, object: &Value, state: &Current) -> Result<(), Status> {
        let kind = &self.target.kind;
        let given = value::str_at(object, "metadata.resourceVersion").unwrap_or_default();
        if self.version_required && (given.is_empty() || given == "0") {
            let error = gantry_api::field::Error::invalid(
                &gantry_api::field::Path::new("metadata.resourceVersion"),
                0,
                "must be specified for an update",
            );
            return Err(Status::invalid(kind.group, kind.kind, &self.target.name, &[error]));
        }
        if !given.is_empty() && given != "0" && given.parse() != Ok(state.revision) {
            return Err(self.target.stale());
        }
        let uid = value::str_at(object, "metadata.uid").unwrap_or_default();
        let stored = value::str_at(&state.value, "metadata.uid").unwrap_or_default();
        if !uid.is_empty() && uid != stored {
            let (namespace, name) = (&self.target.namespace, &self.target.name);
            let key = kind.storage_key(namespace, name);
            // As upstream's store words it.
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: \
                 Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}"
            );
            return Err(Status::conflict(kind.group, kind.resource, name, &why));
        }
        Ok(())
    }
}

/// An annotation as a client sent it.
struct Sent {
    name: &'static str,
    text: Option<Value>,
}

impl Sent {
    /// Puts it into the object; returns what was there.
    fn swap(&self, object: &mut Value) -> Self {
        let name = self.name;
        let there = match (&self.text, value::object_mut(object, "metadata.annotations")) {
            (Some(text), Some(annotations)) => annotations.insert(name.to_owned(), text.clone()),
            (None, Some(annotations)) => annotations.remove(name),
            (_, None) => None,
        };
        Self { name, text: there }
    }
}

/// A write as managed fields record it.
pub(crate) fn managed_write<'a>(
    app: &App,
    caller: &'a Caller,
    target: &'a Target,
    options: &'a WriteOptions,
) -> managed::Write<'a> {
    let strategy = registry::strategy(&target.kind);
    managed::Write {
        manager: options.manager(caller),
        api_version: &target.kind.api_version,
        ty: (&target.kind).into(),
        subresource: target.subresource,
        reset: strategy.reset_fields(&target.kind, target.subresource),
        settable: strategy.settable_fields(target.subresource),
        now: app.clock.now(),
    }
}

/// 409: the object is not the one that the client means.
pub(crate) fn uid_differs(target: &Target, given: &str, stored: &str) -> Status {
    let why = format!(
        "the UID in the precondition ({given}) does not match the UID in record ({stored}). The object might have been deleted and then recreated"
    );
    // Upstream names the kind here, where it names the resource elsewhere.
    Status::conflict(target.kind.group, target.kind.kind, &target.name, &why)
}

/// The old object with the new status and metadata: upstream's controllers note their revision in an annotation along
/// with the status. What a kind keeps besides is up to its strategy.
fn with_status_of(old: &Value, mut new: Value) -> Value {
    let mut object = old.clone();
    for part in ["metadata", "status"] {
        match new.as_object_mut().and_then(|n| n.remove(part)) {
            Some(given) => value::set(&mut object, part, given),
            None => drop(value::remove(&mut object, part)),
        }
    }
    object
}

/// The old pod with the new ephemeral containers.
fn with_ephemeral_containers_of(old: &Value, new: &Value) -> Value {
    let mut pod = old.clone();
    copy(new, &mut pod, "spec.ephemeralContainers");
    // An apply has recorded what it owns by now.
    copy(new, &mut pod, "metadata.managedFields");
    pod
}

fn keep_status(new: &mut Value, old: &Value) {
    copy(old, new, "status");
}

/// Makes what is at `path` of `to` what it is in `from`.
fn copy(from: &Value, to: &mut Value, path: &str) {
    match value::get(from, path) {
        Some(found) => value::set(to, path, found.clone()),
        None => drop(value::remove(to, path)),
    }
}
