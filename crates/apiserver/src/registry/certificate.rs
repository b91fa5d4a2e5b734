//! Certificate signing requests: who asks is the server's to say, who may write what depends on the subresource.

mod signature;

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::field::{Error, Errors, Path};
use gantry_api::kinds::KindInfo;
use gantry_api::{Value, duration, validation, value};
use gantry_common::tls;
use serde_json::json;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use super::columns::{AGE, NAME, age, cells, name, of_field, text, text_or};
use super::{Column, Ctx, Row, Strategy, metadata_field};
use crate::auth::User;
use crate::pipeline::metadata::time;

/// The strategy of signing requests.
pub(super) struct CertificateSigningRequest;

/// The requester is who sent the request, whatever it says.
pub(crate) fn identify(request: &mut Value, user: &User) {
    value::set(request, "spec.username", user.name.as_str());
    value::set(request, "spec.uid", user.uid.as_str());
    value::set(request, "spec.groups", json!(user.groups));
    value::set(request, "spec.extra", json!(user.extra));
}

/// Upstream notes when a condition was last written, and when its status last changed.
pub(crate) fn note_times(new: &mut Value, old: &Value, now: jiff::Timestamp) {
    let now = time(now);
    let key = |c: &Value| (text(c, "type").to_owned(), text(c, "status").to_owned());
    let mut before = HashMap::new();
    for condition in value::list_at(old, "status.conditions") {
        before.entry(key(condition)).or_insert(condition);
    }
    let Some(Value::Array(conditions)) = value::get_mut(new, "status.conditions") else { return };
    for condition in conditions.iter_mut().filter(|c| c.is_object()) {
        value::set_default(condition, "lastUpdateTime", now.as_str());
        if value::get(condition, "lastTransitionTime").is_none_or(Value::is_null) {
            let same = before.get(&key(condition));
            let at = same.and_then(|b| value::str_at(b, "lastTransitionTime")).unwrap_or(&now).to_owned();
            value::set(condition, "lastTransitionTime", at);
        }
    }
}

/// Decisions are written through `/approval`: who writes the status and sends as many as there are has not changed them.
fn keep_decisions(new: &mut Value, old: &Value) {
    for kind in ["Approved", "Denied"] {
        let is_one = |condition: &&Value| text(condition, "type") == kind;
        let before: Vec<Value> = value::list_at(old, "status.conditions").iter().filter(is_one).cloned().collect();
        if value::list_at(new, "status.conditions").iter().filter(is_one).count() != before.len() {
            continue;
        }
        let conditions = value::get_mut(new, "status.conditions").and_then(Value::as_array_mut);
        let sent = conditions.into_iter().flatten().filter(|condition| text(condition, "type") == kind);
        sent.zip(before).for_each(|(sent, before)| *sent = before);
    }
}

/// Reads the PKCS#10 request in `spec.request`.
///
/// # Errors
/// Why it is not one.
pub(crate) fn read<T>(
    object: &Value,
    with: impl FnOnce(&X509CertificationRequest<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let bytes = STANDARD.decode(text(object, "spec.request")).map_err(|error| error.to_string())?;
    let der = tls::signing_request_der(&bytes)?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|e| format!("asn1: {e}"))?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".to_owned());
    }
    with(&request)
}

/// Why `status.certificate` is not a list of PEM certificates.
fn bad_certificate(request: &Value) -> Option<String> {
    let encoded = text(request, "status.certificate");
    if encoded.is_empty() {
        return None;
    }
    let Ok(bytes) = STANDARD.decode(encoded) else { return Some("it is not base64".to_owned()) };
    // Neither base64 nor the lines around it have colons (RFC 1421, section 4.4).
    let has_headers = bytes.contains(&b':');
    let mut found = 0;
    for block in x509_parser::pem::Pem::iter_from_buffer(&bytes) {
        let Ok(block) = block else { return Some("unable to parse PEM block".to_owned()) };
        if block.label != "CERTIFICATE" {
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        if has_headers {
            return Some("no PEM block headers are permitted".to_owned());
        }
        if let Err(error) = block.parse_x509() {
            return Some(error.to_string());
        }
        found += 1;
    }
    (found == 0).then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}

impl Strategy for CertificateSigningRequest {
    fn prepare_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        super::keep(new, old, "spec");
    }

    /// Only its creation sets the spec, which nobody owns for that; the two subresources share the status.
    fn reset_fields(&self, _kind: &KindInfo, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "status" => &["spec", "status.conditions"],
            "approval" => &["spec", "status.certificate"],
            _ => &["spec", "status"],
        }
    }

    fn prepare_status_update(&self, ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        if ctx.subresource != "approval" {
            keep_decisions(new, old);
        }
        note_times(new, old, ctx.now);
    }

    fn validate_create(&self, kind: &KindInfo, request: &Value) -> Errors {
        let mut errors = validation::create(kind, request);
        if let Err(why) = read(request, signature::verify) {
            let path = Path::new("spec").child("request");
            errors.push(Error::invalid(&path, text(request, "spec.request"), &why));
        }
        errors
    }

    fn validate_status_update(&self, kind: &KindInfo, new: &Value, old: &Value) -> Errors {
        let mut errors = validation::status_update(kind, new, old);
        let changed = text(new, "status.certificate") != text(old, "status.certificate");
        if let Some(why) = bad_certificate(new).filter(|_| changed) {
            let path = Path::new("status").child("certificate");
            errors.push(Error::invalid(&path, "<certificate data>", &why));
        }
        errors
    }

    fn field_value<'a>(&self, request: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "spec.signerName" => Some(text(request, path).into()),
            _ => metadata_field(request, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                AGE,
                of_field("SignerName", "string", "certificates/v1.CertificateSigningRequestSpec", "signerName"),
                of_field("Requestor", "string", "certificates/v1.CertificateSigningRequestSpec", "request"),
                of_field(
                    "RequestedDuration",
                    "string",
                    "certificates/v1.CertificateSigningRequestSpec",
                    "expirationSeconds",
                ),
                of_field("Condition", "string", "certificates/v1.CertificateSigningRequestStatus", "conditions"),
            ]
        }
    }

    fn row(&self, request: &Value, now: jiff::Timestamp) -> Row {
        let life =
            value::i64_at(request, "spec.expirationSeconds").map_or_else(|| "<none>".to_owned(), duration::human);
        cells(vec![
            name(request),
            age(request, now),
            text_or(request, "spec.signerName", "<none>").into(),
            text(request, "spec.username").into(),
            life.into(),
            decided(request).into(),
        ])
    }
}

fn decided(request: &Value) -> String {
    let has = |kind: &str| value::list_at(request, "status.conditions").iter().any(|c| text(c, "type") == kind);
    let mut out = match () {
        () if has("Denied") => "Denied",
        () if has("Approved") => "Approved",
        () => "Pending",
    }
    .to_owned();
    if has("Failed") {
        out.push_str(",Failed");
    }
    if !text(request, "status.certificate").is_empty() {
        out.push_str(",Issued");
    }
    out
}
