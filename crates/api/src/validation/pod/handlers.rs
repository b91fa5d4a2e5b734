//! Probes and lifecycle hooks.

use super::super::at::{At, Out};
use super::super::formats;
use super::super::read::{list, number, some, text};
use crate::Value;
use crate::names;

const TIMES: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];

/// A probe of a container in a pod with this grace period (seconds).
pub(super) fn probe(out: &mut Out, at: At<'_>, probe: &Value, grace: i64) {
    handler(out, at, probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace);
    for key in TIMES {
        out.non_negative(at.child(key), number(probe, key));
    }
    if let Some(seconds) = number(probe, "terminationGracePeriodSeconds").filter(|s| *s <= 0) {
        out.invalid(at.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
    }
}

/// The hooks of a container.
pub(super) fn lifecycle(out: &mut Out, at: At<'_>, lifecycle: &Value, grace: i64) {
    for key in ["postStart", "preStop"] {
        if let Some(hook) = some(lifecycle, key) {
            handler(out, at.child(key), hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace);
        }
    }
}

/// Exactly one of `kinds`.
fn handler(out: &mut Out, at: At<'_>, handler: &Value, kinds: &[&str], grace: i64) {
    let mut count = 0;
    for kind in kinds {
        let Some(action) = some(handler, kind) else { continue };
        let at = at.child(kind);
        count += 1;
        if count > 1 {
            out.forbidden(at, "may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" => {
                if list(action, "command").is_empty() {
                    out.required(at.child("command"), "");
                }
            }
            "httpGet" => http_get(out, at, action),
            "tcpSocket" => port(out, at.child("port"), action.get("port")),
            "grpc" => {
                let number = number(action, "port").unwrap_or(0);
                if let Some(detail) = formats::port_number(number) {
                    out.invalid(at.child("port"), number, &detail);
                }
            }
            _ => {
                let seconds = number(action, "seconds").unwrap_or(0);
                if seconds < 0 || seconds > grace {
                    let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                    out.invalid(at, seconds, &detail);
                }
            }
        }
    }
    if count == 0 {
        out.required(at, "must specify a handler type");
    }
}

fn http_get(out: &mut Out, at: At<'_>, get: &Value) {
    if text(get, "path").is_empty() {
        out.required(at.child("path"), "");
    }
    port(out, at.child("port"), get.get("port"));
    let scheme = text(get, "scheme");
    if !["HTTP", "HTTPS"].contains(&scheme) {
        out.not_supported(at.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in list(get, "httpHeaders") {
        let name = text(header, "name");
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', \
                regex used for validation is '[-A-Za-z0-9]+')";
            out.invalid(at.child("httpHeaders"), name, detail);
        }
    }
}

/// A port by number or by name.
pub(crate) fn port(out: &mut Out, at: At<'_>, port: Option<&Value>) {
    match port {
        Some(Value::String(name)) => out.invalid_each(at, name, names::port_name(name)),
        other => {
            let number = other.and_then(Value::as_i64).unwrap_or(0);
            if let Some(detail) = formats::port_number(number) {
                out.invalid(at, number, &detail);
            }
        }
    }
}
