//! DELETE: removal, graceful removal, finalizers.

use gantry_api::kinds;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::change::uid_differs;
use super::commit::{self, Commit, Write};
use super::current::{self, Current};
use super::options::{By, DeleteOptions, Propagation};
use super::turns::Held;
use super::{Outcome, Written, metadata};
use crate::admission::{Operation, Options, Request, Which};
use crate::allocate;
use crate::app::App;
use crate::registry::{self, Deletion, Strategy};
use crate::request::{Caller, Target};

/// Tries against other writers of the same object.
const TRIES: usize = 64;
/// Finalizers that the garbage collector works off.
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What a DELETE makes of the stored state.
enum Next {
    /// The object goes.
    Gone,
    /// It stays, marked.
    Marked(Value),
    /// It stays as it is.
    Unchanged,
}

/// Deletes the object.
///
/// # Errors
/// A Status in upstream's words.
pub(crate) async fn delete(
    app: &App,
    caller: &Caller,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Written, Status> {
    if options.by == By::Name && is_system_class(target) {
        let why = "this is a system priority class and cannot be deleted";
        return Err(Status::forbidden(target.kind.group, target.kind.resource, &target.name, why));
    }
    let mut state = current::load(app, target).await?.ok_or_else(|| target.not_found())?;
    let mut turn = Held::default();
    for _ in 0..TRIES {
        let refused = match attempt(app, caller, target, options, &state).await {
            Ok(Ok(written)) => return Ok(written),
            Ok(Err(Lost::Moved(next))) => {
                state = *next;
                turn.object(&app.turns, &target.key()).await;
                continue;
            }
            Ok(Err(Lost::Allocation)) => {
                turn.allocation(&app.turns).await;
                continue;
            }
            Ok(Err(Lost::Gone)) => return Err(target.not_found()),
            Ok(Err(Lost::Failed(status))) => return Err(*status),
            Err(status) => status,
        };
        if state.fresh {
            return Err(refused);
        }
        let now = current::reload(app, target).await?.ok_or_else(|| target.not_found())?;
        if now.revision == state.revision {
            return Err(refused);
        }
        state = now;
    }
    Err(target.stale())
}

/// Deletes what goes along with an object that has gone. It is not told of a failure: the object has gone all the same.
pub(super) async fn take_along(app: &App, gone: &Target) {
    let Some((group, version, resource)) = registry::strategy(&gone.kind).takes_along() else { return };
    let Some(kind) = kinds::by_resource(group, version, resource) else { return };
    let target = Target::new(kind, &gone.namespace, &gone.name);
    let options = DeleteOptions { by: By::Server, ..DeleteOptions::default() };
    match Box::pin(delete(app, &Caller::apiserver(), &target, &options)).await {
        Err(status) if !status.is("NotFound") => {
            tracing::warn!(kind = kind.kind, name = %target.name, error = %status.message, "what should go along stays");
        }
        _ => {}
    }
}

/// Whether it is one of the classes that every cluster has.
fn is_system_class(target: &Target) -> bool {
    target.kind.is("scheduling.k8s.io", "PriorityClass")
        && matches!(target.name.as_str(), "system-node-critical" | "system-cluster-critical")
}

/// Why a try came to nothing.
enum Lost {
    /// The object is not what it was; this is what is there.
    Moved(Box<Current>),
    Gone,
    /// Another write changed what this one wanted to give back.
    Allocation,
    /// The store has not done it, or it is not known whether it has.
    Failed(Box<Status>),
}

type Tried = Result<Written, Lost>;

async fn attempt(
    app: &App,
    caller: &Caller,
    target: &Target,
    options: &DeleteOptions,
    state: &Current,
) -> Result<Tried, Status> {
    check_preconditions(target, options, state)?;
    let old = &state.value;
    let request = Request {
        old: Some(old),
        revision: state.revision,
        dry_run: options.dry_run,
        options: Options::Delete(options),
        nameless: options.by == By::Collection,
        ..Request::new(app, caller, target, Operation::Delete)
    };
    let which = if options.by == By::Server { Which::BuiltIn } else { Which::All };
    app.admission.mutate(&request, which, &mut Value::Null).await?;
    app.admission.validate(&request, which, old).await?;
    let next = next(registry::strategy(&target.kind), old, options, app.clock.now());
    let pending = |value: &Value, revision| {
        let code = if options.cascades { StatusCode::ACCEPTED } else { StatusCode::OK };
        Ok(Written { code, ..answer_object(value, revision)? })
    };
    let (bytes, marked) = match next {
        Next::Unchanged => return pending(old, state.revision).map(Ok),
        Next::Gone => (None, None),
        Next::Marked(object) => (Some(commit::canonical(&object)), Some(object)),
    };
    if options.dry_run {
        return match &marked {
            Some(object) => pending(object, state.revision).map(Ok),
            None => answer_removed(target, old, state.revision, app.clock.now()).map(Ok),
        };
    }
    let effects = match &marked {
        Some(_) => commit::Effects::default(),
        None => allocate::plan(app, target, Some(old), None).await?.with_traces_of(target),
    };
    let write =
        Write { target, fence: caller.fence.as_ref(), from: state.revision, bytes, lease: state.lease, effects };
    let committed = match write.commit(app).await {
        Ok(committed) => committed,
        Err(failed) => return Ok(Err(Lost::Failed(Box::new(failed.into_status())))),
    };
    match committed {
        Commit::Done(revision, _) => match &marked {
            Some(object) => pending(object, revision).map(Ok),
            None => {
                take_along(app, target).await;
                answer_removed(target, old, revision, app.clock.now()).map(Ok)
            }
        },
        Commit::Moved(now) => Ok(Err(now.map_or(Lost::Gone, Lost::Moved))),
        Commit::Effect => Ok(Err(Lost::Allocation)),
    }
}

fn answer_object(object: &Value, revision: u64) -> Result<Written, Status> {
    let encoded = current::written(&current::draft(object)?, revision)?;
    Ok(Written { outcome: Outcome::Object { encoded, revision }, code: StatusCode::OK, warnings: Vec::new() })
}

/// What went, or a Status that says so.
fn answer_removed(target: &Target, old: &Value, revision: u64, now: Timestamp) -> Result<Written, Status> {
    if !target.kind.returns_deleted() {
        let uid = value::str_at(old, "metadata.uid").unwrap_or_default();
        return Ok(Written::status(Status::deleted(target.kind.group, target.kind.resource, &target.name, uid)));
    }
    let mut object = old.clone();
    if target.kind.is("", "Pod") {
        // Upstream marks a pod even where nothing waits for its end.
        mark(registry::strategy(&target.kind), &mut object, now, 0, metadata::is_deleting(old));
    }
    answer_object(&object, revision)
}

fn check_preconditions(target: &Target, options: &DeleteOptions, state: &Current) -> Result<(), Status> {
    let stored = value::str_at(&state.value, "metadata.uid").unwrap_or_default();
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != stored) {
        return Err(uid_differs(target, uid, stored));
    }
    if let Some(version) = options.resource_version.as_deref().filter(|v| v.parse() != Ok(state.revision)) {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            state.revision
        );
        return Err(Status::conflict(target.kind.group, target.kind.kind, &target.name, &why));
    }
    Ok(())
}

/// The finalizers that the propagation asks for: the one of the request, else the one under way. `None` where they are as they
/// should be.
fn finalizers(old: &Value, asked: Option<Propagation>) -> Option<Vec<Value>> {
    let present = value::list_at(old, "metadata.finalizers");
    let under_way = present.iter().find(|f| *f == FOREGROUND || *f == ORPHAN);
    let wanted = match asked {
        Some(Propagation::Background) => None,
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Orphan) => Some(ORPHAN),
        None => under_way.and_then(Value::as_str),
    };
    let held = |name: &str| present.iter().any(|f| f == name);
    if [FOREGROUND, ORPHAN].iter().all(|name| held(name) == (wanted == Some(*name))) {
        return None;
    }
    let others = present.iter().filter(|f| *f != FOREGROUND && *f != ORPHAN).cloned();
    Some(others.chain(wanted.map(Value::from)).collect())
}

fn next(strategy: &dyn Strategy, old: &Value, options: &DeleteOptions, now: Timestamp) -> Next {
    let mut object = old.clone();
    let decided = strategy.delete(old, options.grace_period_seconds);
    // What goes already, and is left as it is, keeps its finalizers too.
    if decided != Deletion::Pending
        && strategy.garbage_collected()
        && let Some(list) = finalizers(old, options.propagation)
    {
        if list.is_empty() {
            value::remove(&mut object, "metadata.finalizers");
        } else {
            value::set(&mut object, "metadata.finalizers", list);
        }
    }
    let deleting = metadata::is_deleting(old);
    let held = metadata::has_finalizers(&object);
    let old_grace = value::i64_at(old, "metadata.deletionGracePeriodSeconds").unwrap_or(0);
    match decided {
        Deletion::Remove if !held => return Next::Gone,
        Deletion::Remove if !deleting || old_grace > 0 => mark(strategy, &mut object, now, 0, deleting),
        Deletion::Graceful { seconds } => {
            mark(strategy, &mut object, gone_at(old, old_grace, seconds, now), seconds, deleting);
        }
        Deletion::Finalize if !deleting => mark(strategy, &mut object, now, 0, false),
        Deletion::Remove | Deletion::Finalize | Deletion::Pending => {}
    }
    if metadata::is_deleting(&object) && !metadata::has_finalizers(&object) && strategy.removable(&object) {
        return Next::Gone;
    }
    if object == *old { Next::Unchanged } else { Next::Marked(object) }
}

fn mark(strategy: &dyn Strategy, object: &mut Value, at: Timestamp, grace: i64, again: bool) {
    let generation = value::get(object, "metadata.generation").cloned();
    metadata::mark_deleted(object, at, grace);
    if again {
        // Only the first mark raises the generation.
        if let Some(generation) = generation {
            value::set(object, "metadata.generation", generation);
        }
        return;
    }
    strategy.mark_deleting(object);
}

/// When an object with this grace should be gone; a second DELETE counts from the first.
fn gone_at(old: &Value, old_grace: i64, seconds: i64, now: Timestamp) -> Timestamp {
    let marked: Option<Timestamp> = value::str_at(old, "metadata.deletionTimestamp").and_then(|t| t.parse().ok());
    let start = marked.map_or(now, |at| at - SignedDuration::from_secs(old_grace));
    start.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Fixed(Deletion);
    impl Strategy for Fixed {
        fn delete(&self, _old: &Value, _grace: Option<i64>) -> Deletion {
            self.0
        }
    }

    fn check(deletion: Deletion, old: Value, propagation: Option<Propagation>, expected: &str) {
        let options = DeleteOptions { propagation, ..DeleteOptions::default() };
        let now = Timestamp::from_second(1000).expect("in range");
        let got = match next(&Fixed(deletion), &old, &options, now) {
            Next::Gone => "gone".to_owned(),
            Next::Unchanged => "unchanged".to_owned(),
            Next::Marked(o) => {
                let at = value::str_at(&o, "metadata.deletionTimestamp").unwrap_or("-");
                let grace = value::i64_at(&o, "metadata.deletionGracePeriodSeconds");
                format!("{at} {grace:?} {}", Value::from(value::list_at(&o, "metadata.finalizers").to_vec()))
            }
        };
        assert_eq!(got, expected, "{deletion:?} of {old}");
    }

    #[test]
    fn deletions() {
        let plain = || json!({"metadata": {"name": "a"}});
        let held = || json!({"metadata": {"name": "a", "finalizers": ["x"]}});
        check(Deletion::Remove, plain(), None, "gone");
        check(Deletion::Remove, held(), None, "1970-01-01T00:16:40Z Some(0) [\"x\"]");
        check(
            Deletion::Remove,
            plain(),
            Some(Propagation::Foreground),
            "1970-01-01T00:16:40Z Some(0) [\"foregroundDeletion\"]",
        );
        check(Deletion::Remove, plain(), Some(Propagation::Orphan), "1970-01-01T00:16:40Z Some(0) [\"orphan\"]");
        check(Deletion::Graceful { seconds: 30 }, plain(), None, "1970-01-01T00:17:10Z Some(30) []");
        let dying =
            json!({"metadata": {"deletionTimestamp": "1970-01-01T00:17:00Z", "deletionGracePeriodSeconds": 30}});
        check(Deletion::Graceful { seconds: 5 }, dying.clone(), None, "1970-01-01T00:16:35Z Some(5) []");
        check(Deletion::Pending, dying.clone(), None, "unchanged");
        check(Deletion::Remove, dying, None, "gone");
        let waiting = json!({"metadata": {"deletionTimestamp": "1970-01-01T00:16:40Z", "deletionGracePeriodSeconds": 0, "finalizers": ["foregroundDeletion"]}});
        check(Deletion::Remove, waiting.clone(), None, "unchanged");
        check(Deletion::Pending, waiting.clone(), Some(Propagation::Orphan), "unchanged");
        check(Deletion::Remove, waiting, Some(Propagation::Background), "gone");
    }

    #[test]
    fn dependents_are_dealt_with_as_asked_or_as_is_under_way() {
        let check = |held: &[&str], asked, expected: Option<&[&str]>| {
            let got = finalizers(&json!({"metadata": {"finalizers": held}}), asked);
            let expected = expected.map(|names| names.iter().map(|name| json!(name)).collect::<Vec<_>>());
            assert_eq!(got, expected, "{held:?} {asked:?}");
        };
        check(&["x"], None, None);
        check(&[ORPHAN, "x"], None, None);
        check(&[FOREGROUND], None, None);
        check(&[], Some(Propagation::Background), None);
        check(&[ORPHAN, "x"], Some(Propagation::Background), Some(&["x"]));
        check(&[ORPHAN], Some(Propagation::Foreground), Some(&[FOREGROUND]));
        check(&[ORPHAN, FOREGROUND], None, Some(&[ORPHAN]));
    }
}
