//! Upstream's words for patches that do not fit.

use gantry_api::Value;

/// What operations of a JSON patch consist of.
const PARTS: [&str; 4] = ["op", "path", "from", "value"];

/// What operations say beyond what they can say.
pub(super) fn unknown_parts(patch: &Value) -> Vec<String> {
    let operations = patch.as_array().into_iter().flatten().enumerate();
    let keys =
        operations.flat_map(|(index, op)| op.as_object().into_iter().flatten().map(move |(key, _)| (index, key)));
    let unknown = keys.filter(|(_, key)| !PARTS.contains(&key.as_str()));
    unknown.map(|(index, key)| format!("unknown field \"[{index}].{key}\"")).collect()
}

/// What the conversion of a patched map says where a decoder would say `why`: a strategic patch is never text again.
pub(super) fn unstructured(why: &str) -> String {
    let parts = why.strip_prefix("json: cannot unmarshal ").and_then(|rest| {
        let (found, rest) = rest.split_once(" into ")?;
        Some((found, rest.rsplit_once(" of type ")?.1))
    });
    let Some((found, go)) = parts else { return why.to_owned() };
    let kind = match found.split(' ').next().unwrap_or_default() {
        "number" if found.contains('.') => "float64",
        "number" => "int64",
        "object" => "map",
        "array" => "slice",
        other => other,
    };
    let made = match kind {
        "map" => "map[string]interface {}",
        "slice" => "[]interface {}",
        other => other,
    };
    if go.starts_with("map[") {
        format!("cannot restore map from {kind}")
    } else if go.starts_with("[]") {
        format!("cannot restore slice from {kind}")
    } else if go.contains('.') {
        format!("cannot restore struct from: {kind}")
    } else {
        format!("cannot convert {made} to {go}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_complain_of_kinds() {
        let field =
            |found: &str, go: &str| format!("json: cannot unmarshal {found} into Go struct field A.b of type {go}");
        let cases = [
            (field("number", "map[string]string"), "cannot restore map from int64"),
            (field("string", "[]v1.Container"), "cannot restore slice from string"),
            (field("array", "v1.PodSpec"), "cannot restore struct from: slice"),
            (field("string", "int32"), "cannot convert string to int32"),
            (field("object", "string"), "cannot convert map[string]interface {} to string"),
            ("something else".to_owned(), "something else"),
        ];
        for (why, expected) in cases {
            assert_eq!(unstructured(&why), expected);
        }
    }
}
