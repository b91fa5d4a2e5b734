//! Certificate signing requests; whether the request itself can be read is the registry's to say.

use super::at::{At, Out};
use super::read::{Seen, list, number, repeats, some, text};
use crate::names;
use crate::{Value, internal};

const UNSET: Value = Value::Null;
const LEGACY: &str = "kubernetes.io/legacy-unknown";
/// The shortest life that may be asked for, in seconds.
const LIFE_SECONDS: i64 = 600;

/// What keys are used for.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// A request, new or changed.
pub(super) fn request(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), some(object, "spec").unwrap_or(&UNSET));
    let usages = list(spec, "usages");
    let usages_at = at.child("usages");
    if usages.is_empty() {
        out.required(usages_at, "");
    }
    let mut seen = Seen::new();
    for (index, usage) in usages.iter().enumerate() {
        let usage = usage.as_str().unwrap_or_default();
        if !USAGES.contains(&usage) {
            out.not_supported(usages_at.index(index), usage, USAGES);
        }
        if repeats(&mut seen, usage) {
            out.duplicate(usages_at.index(index), usage);
        }
    }
    let signer = text(spec, "signerName");
    if signer == LEGACY {
        let detail = "the legacy signerName is not allowed via this API version";
        out.invalid(at.child("signerName"), signer, detail);
    } else {
        signer_name(out, at.child("signerName"), signer);
    }
    if let Some(seconds) = number(spec, "expirationSeconds").filter(|s| *s < LIFE_SECONDS) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        out.invalid(at.child("expirationSeconds"), seconds, detail);
    }
    conditions(out, object);
}

/// A name of a signer: a domain and a path.
pub(super) fn signer_name(out: &mut Out, at: At<'_>, signer: &str) {
    if signer.is_empty() {
        out.required(at, "");
        return;
    }
    let segments: Vec<&str> = signer.split('/').collect();
    let [domain, path] = segments.as_slice() else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        out.invalid(at, signer, detail);
        return;
    };
    if domain.len() > 253 {
        out.too_long(at, 253);
    }
    let mut first_wrong = |segment: &str, check: fn(&str) -> Vec<String>| {
        let mut labels = segment.split('.').map(|label| (label, check(label)));
        if let Some((label, found)) = labels.find(|(_, found)| !found.is_empty()) {
            let details = found.iter().map(|why| format!("validating label {label:?}: {why}")).collect();
            out.invalid_each(at, segment, details);
        }
    };
    first_wrong(domain, names::dns_label);
    first_wrong(path, names::dns_subdomain);
    if !domain.contains('.') {
        out.invalid(at, *domain, "should be a domain with at least two segments separated by dots");
    }
}

fn conditions(out: &mut Out, object: &Value) {
    let list_at = At::Root("status.conditions");
    let status = some(object, "status").unwrap_or(&UNSET);
    let mut seen = Seen::new();
    for (index, condition) in list(status, "conditions").iter().enumerate() {
        let at = list_at.index(index);
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        if kind.is_empty() {
            out.required(at.child("type"), "");
        }
        let decided = matches!(kind, "Approved" | "Denied" | "Failed");
        let supported: &[&str] = if decided { &["True"] } else { &["False", "True", "Unknown"] };
        if status.is_empty() {
            out.required(at.child("status"), "");
        } else if !supported.contains(&status) {
            out.not_supported(at.child("status"), status, supported);
        }
        let other = if kind == "Approved" { "Denied" } else { "Approved" };
        if matches!(kind, "Approved" | "Denied") && seen.contains(&other) {
            out.invalid(list_at, kind, "Approved and Denied conditions are mutually exclusive");
        }
        if repeats(&mut seen, kind) {
            out.duplicate(at.child("type"), kind);
        }
    }
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    /// `/approval`: conditions only.
    Approval,
    /// `/status`: the certificate, and that it failed.
    Status,
}

const CONDITIONS: &str = "[]certificates/v1.CertificateSigningRequestCondition";

/// What an update through a subresource may not do.
pub(super) fn update(out: &mut Out, new: &Value, old: &Value, through: Through) {
    let status = |object| some(object, "status").unwrap_or(&UNSET);
    let at = At::Root("status.conditions");
    let of_type =
        |object, kind: &str| list(status(object), "conditions").iter().find(|c| text(c, "type") == kind).cloned();
    for kind in ["Approved", "Denied", "Failed"] {
        let (now, before) = (of_type(new, kind), of_type(old, kind));
        let decision = kind != "Failed";
        match (&now, &before) {
            (None, Some(_)) => {
                out.forbidden(at, &format!("updates may not remove a condition of type {kind:?}"));
            }
            (Some(_), None) if decision && through == Through::Status => {
                out.forbidden(at, &format!("updates may not add a condition of type {kind:?}"));
            }
            (Some(now), Some(before)) if decision && through == Through::Status && now != before => {
                let shown = |condition: &Value| Value::from(vec![condition.clone()]);
                let changes = internal::changes(CONDITIONS, &shown(before), &shown(now));
                out.forbidden(at, &format!("updates may not modify a condition of type {kind:?}\n{changes}"));
            }
            _ => {}
        }
    }
    let (now, before) = (text(status(new), "certificate"), text(status(old), "certificate"));
    if now != before {
        let at = At::Root("status.certificate");
        if through == Through::Approval {
            out.forbidden(at, "updates may not set certificate content");
        } else if !before.is_empty() {
            out.forbidden(at, "updates may not modify existing certificate content");
        }
    }
    conditions(out, new);
}
