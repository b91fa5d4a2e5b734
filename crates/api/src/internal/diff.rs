//! What changed between two values, as upstream's errors say it: a unified diff of the JSON of both, indented by one space
//! (k8s.io/apimachinery/pkg/util/diff, as it is built for releases).

use super::{json, unified};
use crate::Value;
use crate::field::go_escaped;

/// The lines around a change that are shown.
const CONTEXT_LINES: usize = 3;

/// The hunks from `old` to `new`, both of a type that is written as [`super`] says; each line ends with a line break.
#[must_use]
pub fn changes(ty: &str, old: &Value, new: &Value) -> String {
    let text = |value| indented(&go_escaped(json(ty, value)));
    let (old, new) = (text(old), text(new));
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    unified::diff(&old, &new, CONTEXT_LINES)
}

/// JSON text with each item on a line of its own.
fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    let mut before = ' ';
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            text.push(c);
        } else {
            let empty = matches!((before, c), ('[', ']') | ('{', '}'));
            depth -= usize::from(matches!(c, ']' | '}'));
            if !empty && (matches!(before, '[' | '{' | ',') || matches!(c, ']' | '}')) {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', depth));
            }
            depth += usize::from(matches!(c, '[' | '{'));
            in_string = c == '"';
            text.push(c);
            if c == ':' {
                text.push(' ');
            }
        }
        before = c;
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(mode: &str) -> Value {
        json!({"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "v"})
    }

    #[test]
    fn changes_are_shown_with_the_lines_around_them() {
        let expected = "@@ -1,6 +1,6 @@\n {\n  \"AccessModes\": [\n-  \"ReadWriteOnce\"\n+  \"ReadWriteMany\"\n  ],\n  \"Selector\": null,\n  \"Resources\": {\n";
        let found = changes("core/v1.PersistentVolumeClaimSpec", &claim("ReadWriteOnce"), &claim("ReadWriteMany"));
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_of_pods_are_counted_as_upstream_counts_them() {
        let pod = |selector: Value| json!({"containers": [{"name": "c"}], "dnsPolicy": "ClusterFirst", "nodeSelector": selector});
        let expected = "@@ -40,7 +40,8 @@\n  \"ActiveDeadlineSeconds\": null,\n  \"DNSPolicy\": \"ClusterFirst\",\n  \"NodeSelector\": {\n-  \"a\": \"b\"\n+  \"a\": \"b\",\n+  \"c\": \"d\"\n  },\n  \"ServiceAccountName\": \"\",\n  \"AutomountServiceAccountToken\": null,\n";
        assert_eq!(changes("core/v1.PodSpec", &pod(json!({"a": "b"})), &pod(json!({"a": "b", "c": "d"}))), expected);
    }

    #[test]
    fn text_is_indented_as_go_indents_it() {
        let cases = [
            ("{}", "{}"),
            ("[]", "[]"),
            (r#"{"a":[],"b":{"c":[1,{}]}}"#, "{\n \"a\": [],\n \"b\": {\n  \"c\": [\n   1,\n   {}\n  ]\n }\n}"),
            (r#"["a\"]{:,","\\"]"#, "[\n \"a\\\"]{:,\",\n \"\\\\\"\n]"),
        ];
        for (json, expected) in cases {
            assert_eq!(indented(json), expected);
        }
    }
}
