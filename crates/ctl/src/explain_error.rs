//! Makes an API error more helpful where the client knows more than the server says.

use gantry_api::value::{Value, str_at};

/// Adds `did you mean "replicas"?` to a strict decoding error that names an unknown field of `object`.
#[must_use]
pub(crate) fn with_suggestions(message: &str, object: &Value) -> String {
    let mut out = message.to_owned();
    let (group, version) = gantry_api::kinds::split_api_version(str_at(object, "apiVersion").unwrap_or("v1"));
    let type_name = gantry_api::kinds::type_name(group, version, str_at(object, "kind").unwrap_or(""));
    let mut seen = Vec::new();
    for part in message.split("unknown field \"").skip(1) {
        let Some((path, _)) = part.split_once('"') else { continue };
        if let Some(better) = gantry_api::decode::suggest(&type_name, path)
            && !seen.contains(&path)
        {
            out.push_str(&format!("\n  {path}: did you mean {better:?}?"));
            seen.push(path);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_nearest_field_is_named() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
        let message = "strict decoding error: unknown field \"spec.replica\", unknown field \
                       \"spec.template.spec.containers[0].imagee\"";
        let text = with_suggestions(message, &object);
        assert!(text.contains("spec.replica: did you mean \"replicas\"?"), "{text}");
        assert!(text.contains("containers[0].imagee: did you mean \"image\"?"), "{text}");
    }
}
