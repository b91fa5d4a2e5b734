//! AdmissionReview, v1 and v1beta1: the question that a webhook is asked, and what its answer means. Policies see the request
//! in the same words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use serde::Deserialize as _;
use serde_json::json;

use super::matching::operation_name;
use super::{Operation, Options, Request};
use crate::pipeline::options::{DeleteOptions, Propagation};
use crate::request::{FieldValidation, WriteOptions};

const GROUP: &str = "admission.k8s.io";
const OPTIONS: &str = "meta.k8s.io/v1";
/// The one type of patches.
const JSON_PATCH: &str = "JSONPatch";

/// The objects, as they are shown.
pub(super) struct Objects {
    pub(super) object: Option<Value>,
    pub(super) old: Option<Value>,
}

/// The `request` of a review, where the resource is of `kind`; without uid and objects.
pub(super) fn request(request: &Request<'_>, kind: &KindInfo) -> Value {
    let target = request.target;
    let gvk = |kind: &KindInfo| {
        let found = request.gvk(kind);
        json!({"group": found.group, "version": found.version, "kind": found.kind})
    };
    let gvr = |kind: &KindInfo| json!({"group": kind.group, "version": kind.version, "resource": kind.resource});
    let mut asked = json!({
        "kind": gvk(kind), "resource": gvr(kind),
        "requestKind": gvk(&target.kind), "requestResource": gvr(&target.kind),
        "operation": operation_name(request.operation),
        "userInfo": user(request),
        "dryRun": request.dry_run,
        "options": options(request),
    });
    let name = if request.nameless { "" } else { &target.name };
    for (key, text) in [
        ("subResource", target.subresource),
        ("requestSubResource", target.subresource),
        ("name", name),
        ("namespace", request.namespace()),
    ] {
        if !text.is_empty() {
            asked[key] = text.into();
        }
    }
    asked
}

fn user(request: &Request<'_>) -> Value {
    let user = &request.caller.user;
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn options(request: &Request<'_>) -> Value {
    match (request.options, request.operation) {
        (Options::None, _) => Value::Null,
        (Options::Write(options), Operation::Create) => write_options("CreateOptions", options),
        (Options::Write(options), _) => write_options("UpdateOptions", options),
        (Options::Delete(options), _) => delete_options(options),
    }
}

fn write_options(kind: &str, options: &WriteOptions) -> Value {
    let mut shown = json!({"kind": kind, "apiVersion": OPTIONS});
    if options.dry_run {
        shown["dryRun"] = json!(["All"]);
    }
    if !options.field_manager.is_empty() {
        shown["fieldManager"] = options.field_manager.as_str().into();
    }
    match options.field_validation {
        FieldValidation::Strict => shown["fieldValidation"] = "Strict".into(),
        FieldValidation::Ignore => shown["fieldValidation"] = "Ignore".into(),
        // What it is without a wish.
        FieldValidation::Warn => {}
    }
    shown
}

fn delete_options(options: &DeleteOptions) -> Value {
    let mut shown = json!({"kind": "DeleteOptions", "apiVersion": OPTIONS});
    if let Some(seconds) = options.grace_period_seconds {
        shown["gracePeriodSeconds"] = seconds.into();
    }
    let mut preconditions = json!({});
    for (key, wanted) in [("uid", &options.uid), ("resourceVersion", &options.resource_version)] {
        if let Some(wanted) = wanted {
            preconditions[key] = wanted.as_str().into();
        }
    }
    if preconditions.as_object().is_some_and(|p| !p.is_empty()) {
        shown["preconditions"] = preconditions;
    }
    if let Some(propagation) = options.propagation {
        let name = match propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        };
        shown["propagationPolicy"] = name.into();
    }
    if options.dry_run {
        shown["dryRun"] = json!(["All"]);
    }
    shown
}

/// A whole review.
pub(super) fn question(mut request: Value, uid: &str, objects: &Objects, version: &str) -> Value {
    request["uid"] = uid.into();
    request["object"] = objects.object.clone().unwrap_or(Value::Null);
    request["oldObject"] = objects.old.clone().unwrap_or(Value::Null);
    json!({"kind": "AdmissionReview", "apiVersion": kinds::api_version(GROUP, version), "request": request})
}

/// What a webhook says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// Why not.
    pub(super) status: Option<Status>,
    /// A patch, as it came: only that of a webhook which allows is looked at.
    pub(super) patch: Vec<u8>,
    /// The type of that patch; empty where v1beta1 says none.
    pub(super) patch_type: String,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: Vec<(String, String)>,
}

impl Answer {
    /// The operations of the patch; none where it is empty.
    ///
    /// # Errors
    /// In upstream's words why it cannot be read.
    pub(super) fn operations(&self) -> Result<Option<Value>, String> {
        if self.patch.is_empty() {
            return Ok(None);
        }
        let operations: Value = serde_json::from_slice(&self.patch).map_err(|error| undecodable(&error))?;
        Ok(Some(operations).filter(|found| found.as_array().is_none_or(|all| !all.is_empty())))
    }

    /// Looks at the type of the patch.
    ///
    /// # Errors
    /// In upstream's words that it is no JSON patch.
    pub(super) fn check_type(&self) -> Result<(), String> {
        match self.patch_type.as_str() {
            "" | JSON_PATCH => Ok(()),
            other => Err(format!("unsupported patch type {other:?}")),
        }
    }
}

/// Reads an answer.
///
/// # Errors
/// What is wrong with it, in upstream's words.
pub(super) fn answer(review: &Value, uid: &str, version: &str, mutating: bool) -> Result<Answer, String> {
    let absent = || "received invalid webhook response: webhook response was absent".to_owned();
    let response = review.get("response").filter(|r| r.is_object()).ok_or_else(absent)?;
    let text = |key: &str| response.get(key).and_then(Value::as_str).unwrap_or_default();
    let invalid = |why: String| Err(format!("received invalid webhook response: {why}"));
    if version == "v1" {
        if text("uid") != uid {
            return invalid(format!("expected response.uid={uid:?}, got {:?}", text("uid")));
        }
        let found = (
            value::str_at(review, "apiVersion").unwrap_or_default(),
            value::str_at(review, "kind").unwrap_or_default(),
        );
        if found != ("admission.k8s.io/v1", "AdmissionReview") {
            let what = "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview";
            return invalid(format!("{what}, got {}, Kind={}", found.0, found.1));
        }
    }
    let patch_type = response.get("patchType").filter(|t| !t.is_null());
    let patch = bytes(response.get("patch"))?;
    let has_patch = !patch.is_empty();
    if !mutating && has_patch {
        return invalid("validating webhook may not return response.patch".to_owned());
    }
    if !mutating && patch_type.is_some() {
        return invalid("validating webhook may not return response.patchType".to_owned());
    }
    if version == "v1" {
        match (has_patch, patch_type) {
            (true, None) => return invalid("webhook returned response.patch but not response.patchType".to_owned()),
            (false, Some(_)) => {
                return invalid("webhook returned response.patchType but not response.patch".to_owned());
            }
            (_, Some(kind)) if kind.as_str().is_none_or(str::is_empty) => {
                return invalid("webhook returned invalid response.patchType of \"\"".to_owned());
            }
            _ => {}
        }
    }
    let strings = |key: &str| response.get(key).and_then(Value::as_array).into_iter().flatten();
    let annotations = response.get("auditAnnotations").and_then(Value::as_object).into_iter().flatten();
    Ok(Answer {
        allowed: response.get("allowed") == Some(&Value::Bool(true)),
        status: response.get("status").and_then(|s| serde_json::from_value(s.clone()).ok()),
        patch,
        // The older version knows one type, and upstream takes it for meant.
        patch_type: if version == "v1" { text("patchType").to_owned() } else { String::new() },
        warnings: strings("warnings").filter_map(Value::as_str).map(str::to_owned).collect(),
        annotations: annotations.filter_map(|(key, v)| Some((key.clone(), v.as_str()?.to_owned()))).collect(),
    })
}

fn undecodable(why: &dyn std::fmt::Display) -> String {
    format!("received undecodable patch in webhook response: {why}")
}

/// Bytes as base64 or as a list of numbers: upstream's decoder takes both, and kube-rs sends the latter.
fn bytes(patch: Option<&Value>) -> Result<Vec<u8>, String> {
    match patch {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => STANDARD.decode(text).map_err(|error| undecodable(&error)),
        Some(other) => Vec::deserialize(other).map_err(|error| undecodable(&error)),
    }
}

/// The refusal of a webhook, as its client gets it.
pub(super) fn denied(webhook: &str, status: Option<Status>) -> Status {
    let mut status = status.unwrap_or_else(|| Status::failure(0, "", ""));
    "Status".clone_into(&mut status.kind);
    "v1".clone_into(&mut status.api_version);
    status.code = status.code.max(400);
    if matches!(status.status.as_str(), "" | "Success") {
        "Failure".clone_into(&mut status.status);
    }
    let by = format!("admission webhook {webhook:?} denied the request");
    status.message = match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(response: Value, mutating: bool, expected: Result<Answer, &str>) {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        let got = answer(&review, "u", "v1", mutating);
        assert_eq!(got, expected.map_err(str::to_owned), "{review}");
    }

    #[test]
    fn answers_are_checked() {
        let yes = || Answer { allowed: true, ..Answer::default() };
        check(json!({"uid": "u", "allowed": true}), false, Ok(yes()));
        check(json!({"uid": "u"}), false, Ok(Answer::default()));
        let invalid = |why: &str| format!("received invalid webhook response: {why}");
        check(json!({"uid": "v"}), false, Err(&invalid("expected response.uid=\"u\", got \"v\"")));
        check(json!(null), false, Err(&invalid("webhook response was absent")));
        let patch = STANDARD.encode(r#"[{"op":"remove","path":"/a"}]"#);
        let with = |kind: Value| json!({"uid": "u", "allowed": true, "patch": patch, "patchType": kind});
        check(with("JSONPatch".into()), false, Err(&invalid("validating webhook may not return response.patch")));
        let ops = json!([{"op": "remove", "path": "/a"}]);
        let numbers: Vec<u8> = ops.to_string().into_bytes();
        let patched = || Answer { patch: numbers.clone(), patch_type: JSON_PATCH.to_owned(), ..yes() };
        check(with("JSONPatch".into()), true, Ok(patched()));
        let listed = json!({"uid": "u", "allowed": true, "patch": numbers, "patchType": "JSONPatch"});
        check(listed, true, Ok(patched()));
        assert_eq!(patched().operations(), Ok(Some(ops)));
        let too_large = json!({"uid": "u", "allowed": true, "patch": [300], "patchType": "JSONPatch"});
        let why = "received undecodable patch in webhook response: invalid value: integer `300`, expected u8";
        check(too_large, true, Err(why));
        check(with(Value::Null), true, Err(&invalid("webhook returned response.patch but not response.patchType")));
        check(with("".into()), true, Err(&invalid("webhook returned invalid response.patchType of \"\"")));
        let other = Answer { patch_type: "Other".to_owned(), ..patched() };
        assert_eq!(other.check_type(), Err("unsupported patch type \"Other\"".to_owned()));
        check(with("Other".into()), true, Ok(other));
        let only_type = json!({"uid": "u", "patchType": "JSONPatch"});
        check(only_type, true, Err(&invalid("webhook returned response.patchType but not response.patch")));
        let old = json!({"response": {"allowed": true, "patch": patch}});
        assert!(
            answer(&old, "u", "v1beta1", true).is_ok_and(|a| a.operations().is_ok_and(|p| p.is_some())),
            "v1beta1 checks less"
        );
        let wrong =
            json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "response": {"uid": "u"}});
        let why = answer(&wrong, "u", "v1", false).expect_err("another version");
        assert!(why.ends_with("AdmissionReview, got admission.k8s.io/v1beta1, Kind=AdmissionReview"), "{why}");
    }

    #[test]
    fn a_refusal_is_one_whatever_patch_comes_with_it() {
        for (patch, kind) in [("{not json", "JSONPatch"), ("[]", "Other")] {
            let patch = STANDARD.encode(patch);
            let response = json!({"uid": "u", "allowed": false, "patch": patch, "patchType": kind, "warnings": ["w"]});
            let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
            let got = answer(&review, "u", "v1", true).expect("an answer: failing open would let the request pass");
            assert_eq!((got.allowed, got.warnings.as_slice()), (false, &["w".to_owned()][..]));
        }
        let broken = Answer { allowed: true, patch: b"{not json".to_vec(), ..Answer::default() };
        let why = broken.operations().expect_err("no JSON");
        assert!(why.starts_with("received undecodable patch in webhook response: "), "{why}");
        let empty = Answer { patch: b"[]".to_vec(), ..Answer::default() };
        assert_eq!(empty.operations(), Ok(None));
    }

    #[test]
    fn refusals_say_whose_they_are() {
        let check = |status: Option<Value>, code: u16, message: &str| {
            let status = status.map(|s| serde_json::from_value(s).expect("a Status"));
            let got = denied("w.x.y", status);
            assert_eq!((got.code, got.message.as_str(), got.status.as_str()), (code, message, "Failure"));
        };
        check(None, 400, "admission webhook \"w.x.y\" denied the request without explanation");
        check(Some(json!({"message": "no"})), 400, "admission webhook \"w.x.y\" denied the request: no");
        check(
            Some(json!({"reason": "Because", "code": 403, "status": "Success"})),
            403,
            "admission webhook \"w.x.y\" denied the request: Because",
        );
    }
}
