//! The body of a server-side apply: YAML, of which JSON is a part.

use super::{json, yaml};
use crate::status::Status;
use crate::{Object, Value};

/// Decodes an applied configuration. Of duplicate keys the last one wins; the second result lists them in upstream's words
/// (`line 10: key "paused" already set in map`).
///
/// # Errors
/// 400 for what is no object, with the place.
pub fn applied(bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let (value, duplicates) = read(bytes)?;
    match value {
        Value::Object(_) => Ok((value, duplicates)),
        Value::Null => Ok((Value::Object(Object::new()), duplicates)),
        other => {
            let found = match other {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::Array(_) => "array",
                _ => "string",
            };
            Err(Status::bad_request(format!(
                "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
            )))
        }
    }
}

fn read(bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    // JSON is what most clients send, and the faster to read.
    if bytes.trim_ascii_start().first() == Some(&b'{')
        && let Ok((value, duplicates)) = json::json(bytes, true)
        && duplicates.is_empty()
    {
        return Ok((value, duplicates));
    }
    let read = yaml::yaml(bytes).or_else(|_| yaml::lenient(bytes));
    read.map_err(|mut status| {
        status.message = format!("error decoding YAML: {}", status.message);
        status
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_are_read() {
        let check = |body: &str, expected: Value, duplicates: &[&str]| {
            let expected = (expected, duplicates.iter().map(|d| (*d).to_owned()).collect());
            assert_eq!(applied(body.as_bytes()), Ok(expected), "{body}");
        };
        check("{\"a\": {\"b\": [1, null]}}", json!({"a": {"b": [1, null]}}), &[]);
        check("a:\n  b: 010\n  c: 2.0\n", json!({"a": {"b": 8, "c": 2}}), &[]);
        check("{a: 1, b: x}", json!({"a": 1, "b": "x"}), &[]);
        check("", json!({}), &[]);
        check("null", json!({}), &[]);
        check(
            "a: 1\nb:\n- c: 1\n  c: 2\n  d: u\n  d: v\na: 2\n",
            json!({"a": 2, "b": [{"c": 2, "d": "v"}]}),
            &[
                "line 4: key \"c\" already set in map",
                "line 6: key \"d\" already set in map",
                "line 7: key \"a\" already set in map",
            ],
        );
        check("{\n\"a\": 1,\n\"a\": 2\n}", json!({"a": 2}), &["line 3: key \"a\" already set in map"]);
        check("x: &x {a: 1}\ny: *x\n", json!({"x": {"a": 1}, "y": {"a": 1}}), &[]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let check = |body: &str, beginning: &str| {
            let status = applied(body.as_bytes()).expect_err("refused");
            assert!(status.code == 400 && status.message.starts_with(beginning), "{body}: {status}");
        };
        check(
            "[1]",
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go",
        );
        check(
            "x",
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go",
        );
        check("{", "error decoding YAML: error converting YAML to JSON: yaml: ");
        check("a: [", "error decoding YAML: error converting YAML to JSON: yaml: ");
        check("\u{0}", "error decoding YAML: error converting YAML to JSON: yaml: ");
        let many = "a: 1\n".repeat(1000);
        assert_eq!(applied(many.as_bytes()).expect("the last wins").1.len(), 32);
    }
}
