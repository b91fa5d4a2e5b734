//! What only pods on Windows have: whom their processes run as, and whether they are the host's own.

use super::super::at::{At, Out};
use super::super::read::{list, some, truth};
use crate::Value;
use crate::names;

/// The most bytes of the credentials of a group managed account.
const CREDENTIAL_BYTES: usize = 64 * 1024;
const DOMAIN_BYTES: usize = 256;
const USER_BYTES: usize = 104;

/// `windowsOptions` of a security context.
pub(super) fn options(out: &mut Out, at: At<'_>, context: &Value) {
    let Some(options) = some(context, "windowsOptions") else { return };
    let given = |key: &str| some(options, key).and_then(Value::as_str);
    if let Some(name) = given("gmsaCredentialSpecName") {
        out.invalid_each(at.child("gmsaCredentialSpecName"), name, names::dns_subdomain(name));
    }
    if let Some(content) = given("gmsaCredentialSpec") {
        let why = match content.len() {
            0 => "gmsaCredentialSpec cannot be an empty string",
            length if length > CREDENTIAL_BYTES => "gmsaCredentialSpec size must be under 64 KiB",
            _ => "",
        };
        if !why.is_empty() {
            out.invalid(at.child("gmsaCredentialSpec"), content, why);
        }
    }
    if let Some(name) = given("runAsUserName") {
        for why in user(name) {
            out.invalid(at.child("runAsUserName"), name, &format!("runAsUserName{why}"));
        }
    }
}

/// What is wrong with `DOMAIN\user`, of which the domain may be missing.
fn user(name: &str) -> Vec<&'static str> {
    if name.is_empty() {
        return vec![" cannot be an empty string"];
    }
    if name.bytes().any(|b| b.is_ascii_control()) {
        return vec![" cannot contain control characters"];
    }
    let (domain, user) = match name.split_once('\\') {
        Some((_, user)) if user.contains('\\') => return vec![" cannot contain more than one backslash"],
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let mut found = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= DOMAIN_BYTES) {
        found.push("'s Domain length must be under 256 characters");
    }
    if domain.is_some_and(|domain| !is_netbios(domain) && !domain.split('.').all(is_label)) {
        found.push("'s Domain doesn't match the NetBios nor the DNS format");
    }
    match user.len() {
        0 => found.push("'s User cannot be empty"),
        length if length > USER_BYTES => found.push("'s User length must not be longer than 104 characters"),
        _ => {}
    }
    if !user.is_empty() && user.chars().all(|c| c == '.' || c == ' ') {
        found.push("'s User cannot contain only periods or spaces");
    }
    if user.chars().any(|c| "\"/\\:;|=,+*?<>@[]".contains(c)) {
        found.push("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    found
}

fn is_netbios(name: &str) -> bool {
    let length = name.chars().count();
    (1..=15).contains(&length) && !name.starts_with('.') && !name.chars().any(|c| "\\/:*?\"<>|".contains(c))
}

fn is_label(label: &str) -> bool {
    let ends = [label.as_bytes().first(), label.as_bytes().last()];
    label.len() <= 63
        && ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A pod with processes of its host has no others, and the host's network.
pub(super) fn host_processes(out: &mut Out, at: At<'_>, spec: &Value) {
    let said = |of: &Value| {
        let options = some(of, "securityContext").and_then(|context| some(context, "windowsOptions"))?;
        some(options, "hostProcess").and_then(Value::as_bool)
    };
    let whole = said(spec);
    let (mut all, mut own) = (0, 0);
    for key in ["initContainers", "containers", "ephemeralContainers"] {
        let list_at = at.child(key);
        for (index, container) in list(spec, key).iter().enumerate() {
            let this = said(container);
            if let (Some(whole), Some(this)) = (whole, this)
                && whole != this
            {
                let detail = format!("pod hostProcess value must be identical if both are specified, was {whole}");
                let at = list_at.index(index);
                out.invalid(at.child("securityContext.windowsOptions.hostProcess"), this, &detail);
            }
            all += 1;
            own += usize::from(this.or(whole) == Some(true));
        }
    }
    if own == 0 {
        return;
    }
    if own != all {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        out.invalid(at, "", detail);
    }
    if !truth(spec, "hostNetwork") {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        out.invalid(at.child("hostNetwork"), false, detail);
    }
}
