use serde_json::json;

use super::*;

fn check(schema: &Value, object: Value, old: Option<Value>, expected: &[&str]) {
    let schema = Schema::parse(schema);
    let found: Vec<String> =
        violations(&compile::rules(&schema), &schema, &object, old.as_ref()).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{object}");
}

fn spec(properties: Value, rules: Value) -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": properties, "x-kubernetes-validations": rules}}})
}

#[test]
fn rules_are_checked_where_they_stand() {
    let bounds = spec(
        json!({"min": {"type": "integer"}, "max": {"type": "integer"}}),
        json!([{"rule": "self.min <= self.max"}, {"rule": "self.max < 10", "message": "too many", "fieldPath": ".max", "reason": "FieldValueForbidden"}]),
    );
    check(&bounds, json!({"spec": {"min": 1, "max": 2}}), None, &[]);
    check(
        &bounds,
        json!({"spec": {"min": 3, "max": 2}}),
        None,
        &["spec: Invalid value: \"object\": failed rule: self.min <= self.max"],
    );
    check(&bounds, json!({"spec": {"min": 3, "max": 20}}), None, &["spec.max: Forbidden: too many"]);
    let missing = "spec: Invalid value: \"object\": no such key: min evaluating rule: self.min <= self.max";
    check(&bounds, json!({"spec": {"max": 2}}), None, &[missing]);
    let items = spec(
        json!({"list": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]}},
            "map": {"type": "object", "additionalProperties": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]}}}),
        json!([]),
    );
    let wrong = [
        "spec.list[1]: Invalid value: \"string\": failed rule: self.startsWith('a')",
        "spec.map[x]: Invalid value: \"integer\": failed rule: self > 0",
    ];
    check(&items, json!({"spec": {"list": ["a", "b"], "map": {"x": 0, "y": 1}}}), None, &wrong);
}

#[test]
fn messages_can_be_made() {
    let made = spec(
        json!({"n": {"type": "integer"}}),
        json!([{"rule": "self.n < 3", "messageExpression": "'n is ' + string(self.n)", "message": "fallback"}]),
    );
    check(&made, json!({"spec": {"n": 5}}), None, &["spec: Invalid value: \"object\": n is 5"]);
}

#[test]
fn transitions_compare_with_what_was_there() {
    let fixed = spec(
        json!({"n": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed"}]},
            "once": {"type": "string", "x-kubernetes-validations": [
                {"rule": "!oldSelf.hasValue() || oldSelf.value() == self", "optionalOldSelf": true, "message": "set once"}]}}),
        json!([]),
    );
    check(&fixed, json!({"spec": {"n": 1, "once": "a"}}), None, &[]);
    let old = json!({"spec": {"n": 1, "once": "a"}});
    check(&fixed, json!({"spec": {"n": 1, "once": "a"}}), Some(old.clone()), &[]);
    let wrong = ["spec.n: Invalid value: \"integer\": fixed", "spec.once: Invalid value: \"string\": set once"];
    check(&fixed, json!({"spec": {"n": 2, "once": "b"}}), Some(old), &wrong);
}

#[test]
fn what_was_wrong_before_need_not_be_mended() {
    let even = spec(
        json!({"n": {"type": "integer", "x-kubernetes-validations": [{"rule": "self % 2 == 0"}]}, "other": {"type": "string"}}),
        json!([]),
    );
    let old = json!({"spec": {"n": 3}});
    check(&even, json!({"spec": {"n": 3, "other": "x"}}), Some(old.clone()), &[]);
    check(
        &even,
        json!({"spec": {"n": 5}}),
        Some(old),
        &["spec.n: Invalid value: \"integer\": failed rule: self % 2 == 0"],
    );
}

#[test]
fn metadata_is_known_by_its_names() {
    let named = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('a') && self.kind == 'T'"}]});
    check(&named, json!({"kind": "T", "metadata": {"name": "ab"}}), None, &[]);
    let wrong = "<nil>: Invalid value: \"object\": failed rule: self.metadata.name.startsWith('a') && self.kind == 'T'";
    check(&named, json!({"kind": "T", "metadata": {"name": "b"}}), None, &[wrong]);
}

#[test]
fn mistakes_in_rules_are_found_when_they_are_written() {
    let errors = |rules: Value| -> Vec<String> {
        let schema =
            spec(json!({"n": {"type": "integer"}, "list": {"type": "array", "items": {"type": "string"}}}), rules);
        let definition = json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}});
        definition_errors(&definition, None).iter().map(ToString::to_string).collect()
    };
    let found = |rules: Value, expected: &str| {
        let errors = errors(rules);
        assert!(errors.len() == 1 && errors[0].contains(expected), "{errors:?} lacks {expected}");
    };
    assert!(errors(json!([{"rule": "self.n > 1"}])).is_empty());
    let at = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
    found(json!([{"rule": ""}]), &format!("{at}.rule: Required value: rule is not specified"));
    found(
        json!([{"rule": "self.nope > 1"}]),
        &format!(
            "{at}.rule: Invalid value: {{\"rule\":\"self.nope > 1\"}}: compilation failed: ERROR: <input>:1:5: undefined field 'nope'"
        ),
    );
    found(json!([{"rule": "self.n"}]), "must evaluate to a bool");
    found(json!([{"rule": "self.n > 1", "messageExpression": "1"}]), "messageExpression must evaluate to a string");
    found(json!([{"rule": "self.n > 1", "reason": "Because"}]), "Unsupported value: \"Because\"");
    found(json!([{"rule": "self.list.all(x, self.list.all(y, x == y))"}]), "estimated rule cost exceeds budget");
}
