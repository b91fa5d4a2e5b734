//! Conversion of custom objects between versions: by name alone, or by the webhook of their definition.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use gantry_api::custom::{Conversion, Definition};
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::value::{get, list_at, set, str_at};
use gantry_api::{Value, canon};
use gantry_store::cache::Object;
use gantry_store::encoded::Encoded;
use serde_json::json;

use super::form;
use crate::app::App;
use crate::webhooks::Users;

/// How long a webhook has.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The versions of `ConversionReview` that are spoken, the better first.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

/// Whether objects of the kind cannot be seen as it without asking a webhook.
pub(crate) fn asks(kind: &KindInfo) -> bool {
    let asks =
        |definition: &Definition| definition.has_versions() && matches!(definition.conversion, Conversion::Webhook(_));
    kind.custom.is_some_and(|custom| asks(custom.definition))
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
    let Some(custom) = kind.custom else { return Ok(()) };
    let mut others: Vec<&mut Value> =
        objects.iter_mut().map(|object| &mut **object).filter(|object| !form::is(kind, object)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let Conversion::Webhook(webhook) = &custom.definition.conversion else {
        others.into_iter().for_each(|object| form::relabel(kind, object));
        return Ok(());
    };
    let what = format!("{}, Kind={}", str_at(others[0], "apiVersion").unwrap_or_default(), kind.kind);
    let sent: Vec<Value> = others.iter().map(|object| (**object).clone()).collect();
    let failed = |why: &str| Status::internal(format!("conversion webhook for {what} failed: {why}"));
    let converted = ask(app, kind, webhook, &sent).await.map_err(|why| failed(&why))?;
    if converted.len() != sent.len() {
        let (found, wanted) = (converted.len(), sent.len());
        return Err(Status::internal(format!(
            "conversion webhook for {what} returned {found} objects, expected {wanted}"
        )));
    }
    for (index, (object, converted)) in others.iter_mut().zip(converted).enumerate() {
        let wrong = |why: String| {
            Status::internal(format!(
                "conversion webhook for {what} returned invalid converted object at index {index}: {why}"
            ))
        };
        **object = checked(kind, object, converted).map_err(wrong)?;
        form::settle(kind, object);
    }
    Ok(())
}

/// One question to the webhook; the converted objects.
async fn ask(app: &App, kind: &KindInfo, webhook: &Value, objects: &[Value]) -> Result<Vec<Value>, String> {
    let spoken = list_at(webhook, "conversionReviewVersions");
    let version = REVIEWS.into_iter().find(|v| spoken.iter().any(|s| s == v)).unwrap_or(REVIEWS[0]);
    let uid = uuid::Uuid::new_v4().to_string();
    let review = json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": kind.api_version, "objects": objects},
    });
    let config = webhook.get("clientConfig").cloned().unwrap_or_default();
    // As upstream, nobody in particular: the admission plugins' users are for admission.
    let called = app.webhooks.call(app, &config, &Users::default(), &review, TIMEOUT).await;
    let answer = called.map_err(|status| status.message)?;
    let response = answer.get("response").filter(|r| r.is_object()).ok_or("the answer has no response")?;
    if str_at(response, "uid") != Some(uid.as_str()) {
        let found = str_at(response, "uid").unwrap_or_default();
        return Err(format!("expected response.uid={uid:?}, got {found:?}"));
    }
    if str_at(response, "result.status") != Some("Success") {
        let why = str_at(response, "result.message").filter(|m| !m.is_empty());
        return Err(why.unwrap_or("the webhook gave no reason").to_owned());
    }
    Ok(list_at(response, "convertedObjects").to_vec())
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
    for field in ["uid", "name", "namespace"] {
        let path = format!("metadata.{field}");
        if get(&converted, &path) != get(object, &path) {
            return Err(format!("invalid metadata of type {field}: it must not be changed"));
        }
    }
    let mut metadata = get(object, "metadata").cloned().unwrap_or_else(|| json!({}));
    for field in ["labels", "annotations"] {
        match get(&converted, "metadata").and_then(|m| m.get(field)) {
            Some(given) => metadata[field] = given.clone(),
            None => drop(metadata.as_object_mut().and_then(|m| m.remove(field))),
        }
    }
    set(&mut converted, "metadata", metadata);
    Ok(converted)
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

/// The bytes to store for an object of this kind.
///
/// # Errors
/// As [`convert`].
pub(crate) async fn to_storage(app: &App, kind: &KindInfo, bytes: bytes::Bytes) -> Result<bytes::Bytes, Status> {
    let Some(storage) = kind.custom.and_then(|custom| custom.definition.storage()) else { return Ok(bytes) };
    if storage.version == kind.version {
        return Ok(bytes);
    }
    let mut object: Value = serde_json::from_slice(&bytes).map_err(Status::internal)?;
    convert(app, storage, &mut [&mut object]).await?;
    Ok(bytes::Bytes::from(canon::encode(&object)))
}
