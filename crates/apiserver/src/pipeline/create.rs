//! Creating objects.

use gantry_api::managed::{self, Stamp};
use gantry_api::status::Status;
use gantry_api::{Value, canon, convert, defaults, gated, value};
use gantry_store::encoded::Encoded;
use http::StatusCode;

use super::change::managed_write;
use super::commit::{Commit, Effects, Failed, Write};
use super::decode::{self, Expected};
use super::turns::Held;
use super::{Outcome, Written, current, metadata};
use crate::admission::{Options, Request, Which};
use crate::allocate;
use crate::app::App;
use crate::flows;
use crate::registry::{self, Ctx, certificate};
use crate::request::{Caller, Payload, Target, WriteOptions};

/// Generated names that are tried before giving up.
const NAMES_TRIED: usize = 8;
/// Tries against other writers of the allocators' keys.
const ALLOCATIONS_TRIED: usize = 64;

/// Creates the object in `payload`.
///
/// # Errors
/// A Status in upstream's words.
pub(crate) async fn create(
    app: &App,
    caller: &Caller,
    target: &Target,
    payload: &Payload,
    options: &WriteOptions,
) -> Result<Written, Status> {
    options.check("CreateOptions")?;
    let mut decoded = decode::object(payload, Expected::of(&target.kind), options.field_validation)?;
    decode::place(&mut decoded.object, &target.kind, &target.namespace, &target.name)?;
    convert::to_hub(&target.kind, &mut decoded.object);
    let mut written = create_object(app, caller, target, decoded.object, options).await?;
    written.warnings.splice(0..0, decoded.warnings);
    Ok(written)
}

/// As [`create`], for a decoded object in the form in which it is stored.
///
/// # Errors
/// A Status in upstream's words.
pub(crate) async fn create_object(
    app: &App,
    caller: &Caller,
    target: &Target,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Written, Status> {
    metadata::on_create(&target.kind, &mut object, app.clock.now())?;
    if !metadata::wants_generated_name(&object) {
        return create_named(app, caller, target, object, (options, false)).await;
    }
    let mut tried = 1;
    loop {
        let mut candidate = object.clone();
        metadata::generate_name(&mut candidate);
        match create_named(app, caller, target, candidate, (options, true)).await {
            Err(status) if status.is("AlreadyExists") && tried < NAMES_TRIED => tried += 1,
            other => return other,
        }
    }
}

/// `generated`: the server has chosen the name.
async fn create_named(
    app: &App,
    caller: &Caller,
    target: &Target,
    mut object: Value,
    (options, generated): (&WriteOptions, bool),
) -> Result<Written, Status> {
    let kind = &target.kind;
    let name = value::str_at(&object, "metadata.name").unwrap_or_default().to_owned();
    let posted = target.name.is_empty();
    let target = Target { name, ..target.clone() };
    registry::strategy(kind).read(&mut object);
    defaults::apply(kind, &mut object)?;
    // An apply is told of it after admission only, as every patch.
    let repeated = if options.applies { None } else { metadata::dedup_owners(&mut object, false) };
    // What admission and the kind add is nobody's.
    let stamped = (!options.applies).then(|| {
        let write = managed_write(app, caller, &target, options);
        managed::stamp_new(&mut object, &write)
    });
    let stamp = stamped.flatten();
    let stamp = stamp.as_ref();
    let mut request =
        Request { nameless: generated, posted, stamp, ..Request::creating(app, caller, &target, options) };
    let mut warnings: Vec<String> = repeated.into_iter().collect();
    warnings.extend(admitted(&request, &mut object).await?);
    if value::get(&object, "metadata.managedFields").is_some() {
        // A webhook or policy has made others of them.
        request.stamp = None;
    }
    canon::canonical(&mut object, kind.hub())?;
    if options.dry_run {
        return dry(&request, object, warnings).await;
    }
    let stored = stored(&request, object, warnings).await;
    if stored.as_ref().is_err_and(Failed::is_refusal) {
        app.admission.abandon(app, &request.reserved).await;
    }
    stored.map_err(Failed::into_status)
}

/// Stores an object that was let in. As upstream, one that only its managed fields make too large is stored without them, unless
/// it is applied: that is about who owns what.
async fn stored(request: &Request<'_>, mut object: Value, warnings: Vec<String>) -> Result<Written, Failed> {
    let applies = matches!(request.options, Options::Write(options) if options.applies);
    let (encoded, revision) = match put(request, &mut object, request.stamp).await {
        Err(failed) if !applies && failed.is_too_large() => {
            value::remove(&mut object, "metadata.managedFields");
            put(request, &mut object, None).await?
        }
        made => made?,
    };
    Ok(Written { outcome: Outcome::Object { encoded, revision }, code: StatusCode::CREATED, warnings })
}

/// Stores it once; its served form and revision. The object is given up, but where the store finds it too large.
async fn put(request: &Request<'_>, whole: &mut Value, stamp: Option<&Stamp>) -> Result<(Encoded, u64), Failed> {
    let Request { app, caller, target, .. } = *request;
    let kind = &target.kind;
    let lease = app.event_leases.lease_for(app, kind).await?;
    let mut turn = Held::default();
    for _ in 0..ALLOCATIONS_TRIED {
        let mut effects = app.admission.effects(request, whole).await?;
        // Only what changes something beside itself may have to start again.
        let again = allocate::concerns(kind) || !effects.is_empty();
        let mut object = if again { whole.clone() } else { std::mem::take(whole) };
        effects.merge(allocate::plan(app, target, None, Some(&mut object)).await?);
        let writing = current::writing(app, target, current::stamped(&object, stamp)?);
        let write = Write {
            target,
            fence: caller.fence.as_ref(),
            from: 0,
            bytes: Some(writing.json().clone()),
            lease,
            effects: effects.with_fence_of(target, &object, None),
        };
        // Its memory is hot now and may be another thread's after the wait.
        drop(object);
        match write.commit(app).await {
            Ok(Commit::Done(revision, converted)) => {
                let encoded = current::answer(app, target, (&writing, converted), revision).await;
                return encoded.map(|encoded| (encoded, revision)).map_err(Failed::Open);
            }
            Ok(Commit::Moved(existing)) => return Err(exists(target, existing.map(|e| e.value).as_ref()).into()),
            Ok(Commit::Effect) => allocate::try_again(app, &mut turn).await?,
            Err(failed) => {
                if !again && failed.is_too_large() {
                    *whole = current::decoded(writing.json(), &target.key())?;
                }
                return Err(failed);
            }
        }
    }
    Err(Status::internal("could not allocate: too many other writers, try again").into())
}

/// Everything between defaulting and storing; returns the warnings.
async fn admitted(request: &Request<'_>, object: &mut Value) -> Result<Vec<String>, Status> {
    let Request { app, caller, target, .. } = *request;
    let kind = &target.kind;
    let strategy = registry::strategy(kind);
    app.admission.mutate(request, Which::All, object).await?;
    let mut warnings: Vec<String> = metadata::dedup_owners(object, true).into_iter().collect();
    if kind.is("certificates.k8s.io", "CertificateSigningRequest") {
        certificate::identify(object, &caller.user);
    }
    let families = app.config.service_cluster_ip_range.families();
    let ctx = Ctx { kind, subresource: "", now: app.clock.now(), user: &caller.user.name, families: &families };
    warnings.extend(strategy.outdated(object));
    gated::drop_fields(kind, object, None, false);
    strategy.prepare_create(&ctx, object);
    if kind.is("flowcontrol.apiserver.k8s.io", "FlowSchema") {
        flows::judge_new(app, object).await?;
    }
    defaults::apply(kind, object)?;
    let mut errors = strategy.validate_create(kind, object);
    if allocate::concerns(kind) {
        errors.extend(allocate::refusals(app, object, None));
    }
    if !errors.is_empty() {
        return Err(Status::invalid(kind.group, kind.kind, &target.name, &errors));
    }
    app.admission.validate(request, Which::All, object).await?;
    warnings.extend(strategy.warnings(object, None));
    warnings.extend(app.admission.warnings(request, object).await);
    Ok(warnings)
}

/// The answer to a dry run: all but the transaction.
async fn dry(request: &Request<'_>, mut object: Value, warnings: Vec<String>) -> Result<Written, Status> {
    let Request { app, target, .. } = *request;
    if let Some(existing) = current::load(app, target).await? {
        return Err(exists(target, Some(&existing.value)));
    }
    let _: Effects = app.admission.effects(request, &object).await?;
    let _: Effects = allocate::plan(app, target, None, Some(&mut object)).await?;
    let encoded = current::written(&current::stamped(&object, request.stamp)?, 0)?;
    Ok(Written { outcome: Outcome::Object { encoded, revision: 0 }, code: StatusCode::CREATED, warnings })
}

fn exists(target: &Target, existing: Option<&Value>) -> Status {
    let mut status = target.exists();
    if existing.is_some_and(metadata::is_deleting) {
        status.message = format!("object is being deleted: {}", status.message);
    }
    status
}
