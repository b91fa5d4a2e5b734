//! ConfigMaps and Secrets.

use super::at::{At, Out, same};
use super::read::{map, some, text, truth};
use crate::{Value, decode, names};

/// The most bytes that all entries of a map or secret have together: 1 MiB.
const TOTAL_BYTES: usize = 1024 * 1024;

/// A config map.
pub(super) fn config_map(out: &mut Out, object: &Value) {
    let binary = map(object, "binaryData");
    let mut total = 0;
    let at = At::Root("data");
    for (key, value) in map(object, "data").into_iter().flatten() {
        out.invalid_each(at.key(key), key, names::config_key(key));
        if binary.is_some_and(|b| b.contains_key(key)) {
            out.invalid(at.key(key), key.as_str(), "duplicate of key present in binaryData");
        }
        total += value.as_str().map_or(0, str::len);
    }
    let at = At::Root("binaryData");
    for (key, value) in binary.into_iter().flatten() {
        out.invalid_each(at.key(key), key, names::config_key(key));
        total += decoded_length(value);
    }
    if total > TOTAL_BYTES {
        // Upstream's path to the whole object prints as an empty index.
        out.too_long(At::Root("[]"), TOTAL_BYTES);
    }
}

/// How many bytes a base64 text stands for.
fn decoded_length(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    (text.len() / 4 * 3).saturating_sub(text.len() - text.trim_end_matches('=').len())
}

/// What `immutable` promises.
pub(super) fn immutable(out: &mut Out, new: &Value, old: &Value, fields: &[&str]) {
    if !truth(old, "immutable") {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if !truth(new, "immutable") {
        out.forbidden(At::Root("immutable"), detail);
    }
    for field in fields {
        if !same(new.get(field), old.get(field)) {
            out.forbidden(At::Root(field), detail);
        }
    }
}

/// A secret, with the entries that its type asks for.
pub(super) fn secret(out: &mut Out, object: &Value) {
    let at = At::Root("data");
    let data = map(object, "data");
    let mut total = 0;
    for (key, value) in data.into_iter().flatten() {
        out.invalid_each(at.key(key), key, names::config_key(key));
        total += decoded_length(value);
    }
    if total > TOTAL_BYTES {
        out.too_long(at, TOTAL_BYTES);
    }
    let has = |key: &str| data.is_some_and(|d| d.contains_key(key));
    match text(object, "type") {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            let name = some(object, "metadata").and_then(|m| map(m, "annotations")?.get(key)?.as_str());
            if name.is_none_or(str::is_empty) {
                out.required(At::Root("metadata.annotations").key(key), "");
            }
        }
        "kubernetes.io/dockercfg" => json_entry(out, at, data, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json_entry(out, at, data, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            out.required(at.key("username"), "");
            out.required(at.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if !has("ssh-privatekey") => out.required(at.key("ssh-privatekey"), ""),
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"].into_iter().filter(|k| !has(k)) {
                out.required(at.key(key), "");
            }
        }
        _ => {}
    }
}

fn json_entry(out: &mut Out, at: At<'_>, data: Option<&crate::Object>, key: &str) {
    use base64::Engine as _;
    let Some(entry) = data.and_then(|d| d.get(key)) else {
        out.required(at.key(key), "");
        return;
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(entry.as_str().unwrap_or_default());
    if let Err(detail) = decoded.map_err(|e| e.to_string()).and_then(|bytes| json_object(&bytes)) {
        out.invalid(at.key(key), "<secret contents redacted>", &detail);
    }
}

/// Why Go does not read these bytes into a map.
fn json_object(bytes: &[u8]) -> Result<(), String> {
    let found = match serde_json::from_slice(bytes) {
        Err(error) => return Err(decode::syntax::error(bytes).unwrap_or_else(|| error.to_string())),
        Ok(Value::Object(_) | Value::Null) => return Ok(()),
        Ok(Value::Array(_)) => "array",
        Ok(Value::String(_)) => "string",
        Ok(Value::Number(_)) => "number",
        Ok(Value::Bool(_)) => "bool",
    };
    Err(format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"))
}
