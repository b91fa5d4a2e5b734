//! Conversion of custom objects between versions: by name alone, or by the webhook of their definition.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use gantry_api::custom::{Conversion, Definition};
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::validation::labels_or_annotations;
use gantry_api::value::{get, list_at, set, str_at};
use gantry_api::{Value, canon};
use gantry_store::cache::Object;
use gantry_store::encoded::Encoded;
use serde_json::json;
use tokio::time::Instant;

use super::form;
use crate::app::App;
use crate::metrics::conversions::{self, Seen};
use crate::webhooks::Users;

/// How long a webhook has.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of objects in one question.
const REVIEW_BYTES: usize = 1 << 20;
/// Questions about one list at a time.
const REVIEWS_AT_ONCE: usize = 4;
/// The versions of `ConversionReview` that are spoken.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

/// Whether objects of the kind cannot be seen as it without asking a webhook.
pub(crate) fn asks(kind: &KindInfo) -> bool {
    let asks = |definition: &Definition| definition.has_versions() && definition.conversion == Conversion::Webhook;
    kind.custom.as_ref().is_some_and(|custom| asks(&custom.definition()))
}

/// Brings objects to the version of `kind`; those that have it are left alone.
///
/// # Errors
/// 500 with what the webhook did wrong, in upstream's words.
pub(crate) fn convert<'a>(
    app: &'a App,
    kind: &'a KindInfo,
    objects: &'a mut [&mut Value],
) -> BoxFuture<'a, Result<(), Status>> {
    // The way to a webhook leads over Services, which are loaded as all objects are: the future would hold itself.
    converted(app, kind, objects).boxed()
}

async fn converted(app: &App, kind: &KindInfo, objects: &mut [&mut Value]) -> Result<(), Status> {
    let Some(custom) = &kind.custom else { return Ok(()) };
    let mut others: Vec<&mut Value> =
        objects.iter_mut().map(|object| &mut **object).filter(|object| !form::is(kind, object)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let definition = custom.definition();
    if definition.conversion == Conversion::None {
        others.into_iter().for_each(|object| form::relabel(kind, object));
        return Ok(());
    }
    let webhook = app.forms.webhook(&definition).unwrap_or_default();
    let webhook = &*webhook;
    let what = format!("{}, Kind={}", str_at(others[0], "apiVersion").unwrap_or_default(), kind.kind);
    let what = what.as_str();
    let asked = reviews(&others).into_iter().map(|sent| async move {
        let failed = |why: &str| Status::internal(format!("conversion webhook for {what} failed: {why}"));
        let converted = ask(app, kind, webhook, &sent).await.map_err(|why| failed(&why))?;
        if converted.len() != sent.len() {
            let (found, wanted) = (converted.len(), sent.len());
            return Err(Status::internal(format!(
                "conversion webhook for {what} returned {found} objects, expected {wanted}"
            )));
        }
        Ok(converted)
    });
    let converted: Vec<Vec<Value>> = futures::stream::iter(asked).buffered(REVIEWS_AT_ONCE).try_collect().await?;
    for (index, (object, converted)) in others.iter_mut().zip(converted.into_iter().flatten()).enumerate() {
        let wrong = |why: String| {
            Status::internal(format!(
                "conversion webhook for {what} returned invalid converted object at index {index}: {why}"
            ))
        };
        **object = checked(kind, object, converted).map_err(wrong)?;
        form::prune(kind, object);
    }
    Ok(())
}

/// The objects of each question to the webhook. What it may answer is bounded, a list is not: so no question has many more
/// bytes than [`REVIEW_BYTES`], but each has one object at least.
fn reviews(objects: &[&mut Value]) -> Vec<Vec<Value>> {
    let mut reviews: Vec<Vec<Value>> = Vec::new();
    let mut room = 0_usize;
    for object in objects {
        let bytes = Counted::bytes_of(object);
        match reviews.last_mut().filter(|_| bytes <= room) {
            Some(review) => review.push((**object).clone()),
            None => {
                reviews.push(vec![(**object).clone()]);
                room = REVIEW_BYTES;
            }
        }
        room = room.saturating_sub(bytes);
    }
    reviews
}

/// Bytes that are counted and not kept.
#[derive(Default)]
struct Counted(usize);

impl Counted {
    /// How long a value is as JSON.
    fn bytes_of(value: &Value) -> usize {
        let mut counted = Self::default();
        // Counting does not fail.
        drop(serde_json::to_writer(&mut counted, value));
        counted.0
    }
}

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One question to the webhook; the converted objects.
async fn ask(app: &App, kind: &KindInfo, webhook: &Value, objects: &[Value]) -> Result<Vec<Value>, String> {
    let spoken = list_at(webhook, "conversionReviewVersions");
    let version = spoken.iter().filter_map(Value::as_str).find(|version| REVIEWS.contains(version));
    let version = version.ok_or("no supported conversion review versions")?;
    let uid = uuid::Uuid::new_v4().to_string();
    let review = json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": kind.api_version, "objects": objects},
    });
    let config = webhook.get("clientConfig").cloned().unwrap_or_default();
    // As upstream, nobody in particular: the admission plugins' users are for admission.
    let began = Instant::now();
    let called = app.webhooks.call(app, &config, &Users::default(), &review, TIMEOUT).await;
    let (failure, converted) = match called {
        Err(status) => (conversions::CALL, Err(status.message)),
        Ok(answer) => match answered(&answer, version, &uid) {
            Ok(objects) => ("", Ok(objects.to_vec())),
            Err(why) => (conversions::MALFORMED, Err(why)),
        },
    };
    let from = objects.first().and_then(|object| str_at(object, "apiVersion")).unwrap_or_default();
    let from = from.rsplit_once('/').map_or(from, |(_, version)| version);
    let definition = format!("{}.{}", kind.resource, kind.group);
    let seen = Seen { definition: &definition, from, to: kind.version, failure };
    app.metrics.conversions.asked(&seen, began.elapsed());
    converted
}

/// The objects in an answer. Of one in version v1beta1 upstream never asked whose answer it is.
fn answered<'a>(answer: &'a Value, version: &str, uid: &str) -> Result<&'a [Value], String> {
    let strict = version == "v1";
    let text = |path: &str| str_at(answer, path).unwrap_or_default();
    if strict && (text("apiVersion"), text("kind")) != ("apiextensions.k8s.io/v1", "ConversionReview") {
        let (found, kind) = (text("apiVersion"), text("kind"));
        return Err(format!(
            "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got {found}, Kind={kind}"
        ));
    }
    let response = answer.get("response").filter(|r| r.is_object()).ok_or("no response provided")?;
    if strict && text("response.uid") != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", text("response.uid")));
    }
    match (text("response.result.status"), text("response.result.message")) {
        ("Success", _) => Ok(list_at(response, "convertedObjects")),
        (status, "") => Err(format!("response.result.status was '{status}', not 'Success'")),
        (_, message) => Err(message.to_owned()),
    }
}

/// What came back for `object`: a webhook may change labels and annotations, but no other metadata.
fn checked(kind: &KindInfo, object: &Value, mut converted: Value) -> Result<Value, String> {
    let found = str_at(&converted, "apiVersion").unwrap_or_default();
    if found != kind.api_version {
        return Err(format!("invalid groupVersion (expected {}, received {found})", kind.api_version));
    }
    let found = str_at(&converted, "kind").unwrap_or_default();
    if found != kind.kind {
        return Err(format!("invalid kind (expected {}, received {found})", kind.kind));
    }
    for (field, name) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let of = |object| str_at(object, &format!("metadata.{field}")).unwrap_or_default();
        let (wanted, found) = (of(object), of(&converted));
        if wanted != found {
            return Err(format!("must have the same {name}: {wanted} != {found}"));
        }
    }
    let mut metadata = get(object, "metadata").cloned().unwrap_or_else(|| json!({}));
    for field in ["labels", "annotations"] {
        match get(&converted, "metadata").and_then(|m| m.get(field)).filter(|given| !given.is_null()) {
            Some(given) => {
                let changed = metadata.get(field) != Some(given);
                texts(given, field, changed)?;
                metadata[field] = given.clone();
            }
            None => drop(metadata.as_object_mut().and_then(|m| m.remove(field))),
        }
    }
    set(&mut converted, "metadata", metadata);
    Ok(converted)
}

/// Labels or annotations must be such, and where they are new they must be valid.
fn texts(given: &Value, field: &str, changed: bool) -> Result<(), String> {
    let Some(map) = given.as_object() else {
        return Err(format!("invalid metadata.{field} in converted object"));
    };
    if let Some((key, _)) = map.iter().find(|(_, value)| !value.is_string()) {
        return Err(format!("metadata.{field}[{key}] must be a string in converted object"));
    }
    let errors = if changed { labels_or_annotations(map, field == "labels") } else { Vec::new() };
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match all.as_slice() {
        [] => Ok(()),
        [only] => Err(only.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

/// Cached objects as a kind shows them, where that takes a webhook.
///
/// # Errors
/// As [`convert`].
pub(crate) async fn shown(app: &App, kind: &KindInfo, objects: &mut [Arc<Object>]) -> Result<(), Status> {
    if !asks(kind) {
        return Ok(());
    }
    let places: Vec<usize> = (0..objects.len()).filter(|at| form::differs(kind, objects[*at].encoded())).collect();
    let decode = |at: &usize| serde_json::from_slice::<Value>(objects[*at].json()).map_err(Status::internal);
    let mut values = places.iter().map(decode).collect::<Result<Vec<Value>, Status>>()?;
    convert(app, kind, &mut values.iter_mut().collect::<Vec<_>>()).await?;
    for (at, value) in places.into_iter().zip(values) {
        let encoded = Encoded::from_json(&canon::encode(&value), objects[at].rv());
        let encoded = encoded.map_err(|e| Status::internal(gantry_common::error_chain(&e)))?;
        objects[at] = Arc::new(Object::computed(encoded));
    }
    Ok(())
}

/// The bytes to store for an object of this kind, where it is stored in another version.
///
/// # Errors
/// As [`convert`].
pub(crate) async fn to_storage(app: &App, kind: &KindInfo, bytes: &[u8]) -> Result<Option<bytes::Bytes>, Status> {
    let Some(definition) = kind.custom.as_ref().map(|custom| custom.definition()) else { return Ok(None) };
    let Some(storage) = definition.storage().filter(|storage| storage.version != kind.version) else { return Ok(None) };
    let mut object: Value = serde_json::from_slice(bytes).map_err(Status::internal)?;
    convert(app, storage, &mut [&mut object]).await?;
    Ok(Some(bytes::Bytes::from(canon::encode(&object))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_asked_about_in_pieces() {
        let check = |sizes: &[usize], expected: &[usize]| {
            let mut objects: Vec<Value> = sizes.iter().map(|bytes| "x".repeat(bytes - 2).into()).collect();
            let objects: Vec<&mut Value> = objects.iter_mut().collect();
            assert_eq!(reviews(&objects).iter().map(Vec::len).collect::<Vec<_>>(), expected, "{sizes:?}");
        };
        check(&[], &[]);
        check(&[10, 10, 10], &[3]);
        check(&[REVIEW_BYTES / 2; 5], &[2, 2, 1]);
        check(&[10, REVIEW_BYTES * 2, 10, 10], &[1, 1, 2]);
        check(&[REVIEW_BYTES, 10], &[1, 1]);
    }
}
