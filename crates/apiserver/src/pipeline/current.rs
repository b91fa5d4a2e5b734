//! The stored state that a write starts from.

use bytes::Bytes;
use gantry_api::{Value, kinds::KindInfo, managed::Stamp, status::Status, value};
use gantry_store::cache::{Object, Writing};
use gantry_store::encoded::{self, Draft, Encoded};
use gantry_store::{Error, Form, KeyValue};

use crate::app::App;
use crate::custom::{convert, form};
use crate::normalise;
use crate::request::Target;

/// One stored object, decoded. `metadata.resourceVersion` is not in the value.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) value: Value,
    pub(crate) revision: u64,
    pub(crate) lease: i64,
    /// Read from the store just now, not from the cache.
    pub(crate) fresh: bool,
    /// Stored in a form or version that a write replaces even if it changes nothing. The form is known of what is fresh.
    pub(crate) stale: bool,
}

fn undecodable(key: &str, why: &dyn std::fmt::Display) -> Status {
    Status::internal(format!("the stored object {key} cannot be decoded: {why}"))
}

pub(crate) fn decoded(json: &[u8], key: &str) -> Result<Value, Status> {
    let mut object: Value = serde_json::from_slice(json).map_err(|e| undecodable(key, &e))?;
    value::remove(&mut object, "metadata.resourceVersion");
    Ok(object)
}

impl Current {
    /// The state as the kind shows it; it may be stored in another version.
    pub(crate) async fn seen_as(mut self, app: &App, kind: &KindInfo) -> Result<Self, Status> {
        if let Some(custom) = &kind.custom {
            let definition = custom.definition();
            let stored = value::str_at(&self.value, "apiVersion").unwrap_or_default();
            // What is in another version than new objects are is written anew, even if nothing else changes.
            self.stale |= definition.storage().is_some_and(|storage| storage.api_version != stored);
            form::settle_stored(&definition, &mut self.value);
            convert::convert(app, kind, &mut [&mut self.value]).await?;
        }
        Ok(self)
    }

    pub(crate) fn from_object(object: &Object) -> Result<Self, Status> {
        let value = decoded(object.json(), object.key())?;
        Ok(Self { value, revision: object.rv(), lease: object.lease(), fresh: false, stale: false })
    }

    pub(crate) fn from_stored(kv: &KeyValue) -> Result<Self, Status> {
        if let Form::Unreadable(reason) = &kv.form {
            return Err(Status::internal(reason));
        }
        let foreign = normalise::foreign(&kv.key, &kv.value).map_err(|e| undecodable(&kv.key, &e))?;
        let stale = kv.form == Form::Stale || foreign.is_some();
        let mut value = match foreign {
            Some(value) => value,
            None => decoded(&kv.value, &kv.key)?,
        };
        value::remove(&mut value, "metadata.resourceVersion");
        Ok(Self { value, revision: kv.mod_revision, lease: kv.lease, fresh: true, stale })
    }
}

/// The object, from the cache where it is there, else from the store.
///
/// # Errors
/// When the store fails.
pub(crate) async fn load(app: &App, target: &Target) -> Result<Option<Current>, Status> {
    if let Some(object) = app.view(&target.kind).get(namespace_of(target), &target.name) {
        return Current::from_object(&object)?.seen_as(app, &target.kind).await.map(Some);
    }
    reload(app, target).await
}

/// The object as the store has it now.
///
/// # Errors
/// When the store fails.
pub(crate) async fn reload(app: &App, target: &Target) -> Result<Option<Current>, Status> {
    let found = app.store.get(&target.key()).await.map_err(store_failed)?;
    match &found {
        Some(kv) => Current::from_stored(kv)?.seen_as(app, &target.kind).await.map(Some),
        None => Ok(None),
    }
}

/// The namespace part of the key: nothing for cluster-scoped kinds.
pub(crate) fn namespace_of(target: &Target) -> &str {
    if target.kind.namespaced { &target.namespace } else { "" }
}

/// What a client is told when the store fails.
pub(crate) fn store_failed(error: Error) -> Status {
    let text = gantry_common::error_chain(&error);
    match error {
        Error::TooLarge { detail, .. } => too_large(&detail),
        Error::Timeout { .. } => Status::timeout(text, 1),
        Error::Unavailable { .. } | Error::NotSent { .. } | Error::WatchEnded | Error::NoSpace { .. } => {
            tracing::warn!("{text}");
            Status::unavailable(text).retry_after(1)
        }
        Error::Compacted { .. } => Status::expired(text),
        _ => Status::internal(text),
    }
}

/// How upstream's two refusals of what is too large for etcd begin: by etcd, and by its client.
const TOO_LARGE: [&str; 2] = [
    "etcdserver: request is too large",
    "rpc error: code = ResourceExhausted desc = trying to send message larger than max",
];

/// 500 without a reason, as upstream's, which knows nothing of its cause. `detail`: the store's words.
fn too_large(detail: &str) -> Status {
    let [by_etcd, by_client] = TOO_LARGE;
    let words = match detail.split_once("larger than max") {
        Some((_, sizes)) => format!("{by_client}{sizes}"),
        None => by_etcd.to_owned(),
    };
    let why = "what is written exceeds etcd's --max-request-bytes (1.5 MiB by default): make the object smaller";
    Status::failure(500, "", format!("{words}: {why}"))
}

/// Whether the store has refused a write because it is too large.
pub(crate) fn is_too_large(status: &Status) -> bool {
    status.code == 500 && TOO_LARGE.iter().any(|words| status.message.starts_with(words))
}

/// As [`store_failed`], of a transaction. One that may have been made is not for a client to send again unseen, which clients do with
/// whatever says when to try again.
pub(crate) fn write_failed(error: Error) -> Status {
    if !error.leaves_outcome_open() {
        return store_failed(error);
    }
    let text = gantry_common::error_chain(&error);
    tracing::warn!("{text}");
    let text = format!("{text}; the write may have been made: read before trying again");
    match error {
        Error::Timeout { .. } => Status::timeout(text, 0),
        _ => Status::unavailable(text),
    }
}

fn unservable(error: encoded::Error) -> Status {
    Status::internal(gantry_common::error_chain(&error))
}

/// The stored form of an object, in which it can be served once it is written.
///
/// # Errors
/// 400 when it nests so deep that not everybody could read it; 500 when it has no metadata, which the pipeline never makes.
pub(crate) fn draft(object: &Value) -> Result<Draft, Status> {
    stamped(object, None)
}

/// `metadata`, `managedFields`, an entry, `fieldsV1`, and a map for each plain value.
const STAMP_LEVELS: usize = 5;

/// As [`draft`], with managed fields that are not in the object.
///
/// # Errors
/// As [`draft`].
pub(crate) fn stamped(object: &Value, stamp: Option<&Stamp>) -> Result<Draft, Status> {
    // What is in a map at one level of the object is in one of the stamp as many levels deeper.
    let levels = value::MAX_LEVELS - if stamp.is_some() { STAMP_LEVELS } else { 0 };
    if value::is_deeper_than(object, levels) {
        let why = format!("the object nests deeper than {levels} levels of maps and lists: flatten it");
        return Err(Status::bad_request(&why));
    }
    let managed = stamp.map(|stamp| ("managedFields", stamp.json()));
    Draft::with(object, managed).map_err(unservable)
}

/// Announces to the cache that a draft is about to be stored.
pub(crate) fn writing(app: &App, target: &Target, draft: Draft) -> Writing {
    // What is stored of a custom object may be in another version, and is completed when it is read.
    app.cache.writing(target.key(), draft, target.kind.custom.is_none())
}

/// The served form of a draft at a revision.
///
/// # Errors
/// When it is too large.
pub(crate) fn written(draft: &Draft, revision: u64) -> Result<Encoded, Status> {
    draft.written(revision).map_err(unservable)
}

/// The served form of what was stored at a revision.
///
/// # Errors
/// When it is too large.
pub(crate) fn stored(writing: &Writing, revision: u64) -> Result<Encoded, Status> {
    writing.written(revision).map_err(unservable)
}

/// The answer to a write that was stored at a revision: `converted`, as it is read again, where it is stored in another version.
///
/// # Errors
/// As [`stored`], and what converting it back says.
pub(crate) async fn answer(
    app: &App,
    target: &Target,
    (writing, converted): (&Writing, Option<Bytes>),
    revision: u64,
) -> Result<Encoded, Status> {
    let Some(bytes) = converted else { return stored(writing, revision) };
    let value = decoded(&bytes, &target.key())?;
    let state = Current { value, revision, lease: 0, fresh: true, stale: false };
    let state = state.seen_as(app, &target.kind).await?;
    written(&draft(&state.value)?, revision)
}
