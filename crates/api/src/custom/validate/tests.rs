use serde_json::json;

use super::*;
use crate::custom::schema::Choices;

fn errors(schema: Value, value: Value) -> Vec<String> {
    super::value(&Schema::parse(&schema), &value, None).iter().map(ToString::to_string).collect()
}

fn check(property: Value, held: Value, expected: &str) {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": property}}}});
    let found = errors(schema, json!({"spec": {"x": held}}));
    assert_eq!(found.join("; "), expected);
}

#[test]
fn types_are_checked() {
    let mismatch = |held: Value, wanted: &str, found: &str| {
        let message = format!("spec.x: Invalid value: {found:?}: spec.x in body must be of type {wanted}: {found:?}");
        check(json!({"type": wanted}), held, &message);
    };
    mismatch(json!("a"), "integer", "string");
    mismatch(json!(1.5), "integer", "number");
    mismatch(json!(1), "string", "integer");
    mismatch(json!([]), "object", "array");
    mismatch(json!(null), "string", "null");
    check(json!({"type": "integer"}), json!(2.0), "");
    check(json!({"type": "string", "nullable": true}), json!(null), "");
    check(json!({"x-kubernetes-int-or-string": true}), json!("50%"), "");
    check(json!({"x-kubernetes-int-or-string": true}), json!(5), "");
    let message = "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"";
    check(json!({"x-kubernetes-int-or-string": true}), json!(true), message);
}

#[test]
fn bounds_are_kept() {
    let x = |value: &str, why: &str| format!("spec.x: Invalid value: {value}: spec.x in body {why}");
    let number = |bound: Value, held: Value, expected: &str| {
        let mut schema = json!({"type": "number"});
        schema.as_object_mut().expect("a map").extend(bound.as_object().expect("a map").clone());
        check(schema, held, expected);
    };
    number(json!({"maximum": 10}), json!(11), &x("11", "should be less than or equal to 10"));
    number(json!({"maximum": 10, "exclusiveMaximum": true}), json!(10), &x("10", "should be less than 10"));
    number(json!({"minimum": 1}), json!(0), &x("0", "should be greater than or equal to 1"));
    number(json!({"minimum": 1, "exclusiveMinimum": true}), json!(1), &x("1", "should be greater than 1"));
    number(json!({"multipleOf": 5}), json!(7), &x("7", "should be a multiple of 5"));
    number(json!({"multipleOf": 0.1}), json!(0.3), "");
    let range = |ty: &str, format: &str| {
        format!("<nil>: Invalid value: \"\": Checked value must be of type {ty} with format {format} in spec.x")
    };
    let int32 = json!({"type": "integer", "format": "int32"});
    check(int32.clone(), json!(i32::MAX), "");
    check(int32, json!(2_147_483_648_u64), &range("integer", "int32"));
    check(json!({"type": "integer", "format": "int64"}), json!(2_147_483_648_u64), "");
    check(json!({"type": "number", "format": "float"}), json!(3.5e38), &range("number", "float"));
    check(json!({"type": "number", "format": "double"}), json!(3.5e38), "");
    // Only the first of these is told.
    let long = json!({"type": "string", "maxLength": 2, "pattern": "^a+$"});
    check(long, json!("bbb"), "spec.x: Too long: may not be more than 2 bytes");
    check(json!({"type": "string", "minLength": 2}), json!("a"), &x("\"a\"", "should be at least 2 chars long"));
    check(json!({"type": "string", "maxLength": 2}), json!("abc"), "spec.x: Too long: may not be more than 2 bytes");
    check(json!({"type": "string", "pattern": "^a+$"}), json!("b"), &x("\"b\"", "should match '^a+$'"));
    check(json!({"type": "array", "minItems": 1}), json!([]), &x("0", "should have at least 1 items"));
    check(json!({"type": "array", "maxItems": 1}), json!([1, 2]), "spec.x: Too many: 2: must have at most 1 items");
    check(json!({"type": "object", "minProperties": 1}), json!({}), &x("1", "should have at least 1 properties"));
    check(
        json!({"type": "string", "enum": ["b", "a"]}),
        json!("c"),
        "spec.x: Unsupported value: \"c\": supported values: \"b\", \"a\"",
    );
    check(
        json!({"type": "string", "format": "date-time"}),
        json!("today"),
        "spec.x: Invalid value: \"today\": spec.x in body must be of type date-time: \"today\"",
    );
    for (format, good) in [
        ("date-time", "2026-01-02T03:04:05Z"),
        ("date", "2026-01-02"),
        ("ipv4", "10.0.0.1"),
        ("ipv6", "::1"),
        ("cidr", "10.0.0.0/8"),
        ("uuid", "2e7a3e5c-0a6b-4f0e-9f3a-3f3a0d5a3f3a"),
        ("uri", "https://example.com/a"),
        ("email", "a@example.com"),
        ("byte", "YQ=="),
        ("mac", "00:11:22:33:44:55"),
        ("unheard-of", "?"),
    ] {
        check(json!({"type": "string", "format": format}), json!(good), "");
    }
}

#[test]
fn what_is_required_must_be_there() {
    let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object"},
        "list": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}}});
    assert_eq!(errors(schema.clone(), json!({})), ["spec: Required value"]);
    assert_eq!(errors(schema, json!({"spec": {}, "list": [{"name": "a"}, {}]})), ["list[1].name: Required value"]);
}

#[test]
fn schemas_are_combined() {
    let any = json!({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]});
    check(any.clone(), json!({"b": 1}), "");
    let message =
        "<nil>: Invalid value: \"\": \"spec.x\" must validate at least one schema (anyOf); spec.x.a: Required value";
    check(any, json!({}), message);
    let one = json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
    check(one.clone(), json!({"a": 1}), "");
    let message = "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found 2 valid alternatives";
    check(one, json!({"a": 1, "b": 1}), message);
    let not = json!({"type": "string", "not": {"enum": ["a"]}});
    check(not, json!("a"), "<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)");
}

#[test]
fn an_update_need_not_mend_what_was_wrong() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 1}, "b": {"type": "string"},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer", "maximum": 1}}}}}});
    let schema = Schema::parse(&schema);
    let old = json!({"a": "long", "list": [{"name": "x", "size": 5}]});
    let check = |new: Value, expected: &[&str]| {
        let found: Vec<String> = super::value(&schema, &new, Some(&old)).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{new}");
    };
    check(json!({"a": "long", "b": "new", "list": [{"name": "y", "size": 1}, {"name": "x", "size": 5}]}), &[]);
    check(json!({"a": "longer"}), &["a: Too long: may not be more than 1 bytes"]);
    let message = "list[0].size: Invalid value: 6: list[0].size in body should be less than or equal to 1";
    check(json!({"a": "long", "list": [{"name": "x", "size": 6}]}), &[message]);
}

#[test]
fn lists_hold_each_item_once() {
    let schema = json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}}}}});
    let object = json!({"set": ["a", "b", "a"], "map": [{"name": "x"}, {"name": "x", "more": 1}]});
    let found: Vec<String> = lists::check(&object, &Schema::parse(&schema)).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["map[1]: Duplicate value: {\"name\":\"x\"}", "set[2]: Duplicate value: \"a\""]);
}

#[test]
fn embedded_objects_say_what_they_are() {
    let schema = Schema::parse(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "x": {"type": "array", "items": {"type": "object", "x-kubernetes-embedded-resource": true}}}}}}));
    let check = |held: Value, expected: &str| {
        let errors: Vec<String> =
            embedded::check(&json!({"spec": {"x": [held]}}), &schema).iter().map(ToString::to_string).collect();
        assert_eq!(errors.join("; "), expected);
    };
    check(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}}}), "");
    check(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-"}}), "");
    check(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"ownerReferences": [{"kind": "Pod", "name": "q", "uid": "1"}]}}),
        "spec.x[0].metadata.ownerReferences[0].apiVersion: Invalid value: \"\": version must not be empty",
    );
    check(json!({}), "spec.x[0].apiVersion: Required value; spec.x[0].kind: Required value");
    check(
        json!({"apiVersion": "a/b/c", "kind": 5, "metadata": {"name": "a/b"}}),
        "spec.x[0].apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c; \
         spec.x[0].kind: Invalid value: 5: must be a string; \
         spec.x[0].metadata.name: Invalid value: \"a/b\": may not contain '/'",
    );
}

#[test]
fn attack_long_keys_are_not_repeated_in_each_error() {
    let item = json!({"type": "string", "maxLength": 1});
    let list = json!({"type": "array", "x-kubernetes-list-type": "set", "items": item});
    let map = json!({"type": "object", "additionalProperties": list, "x-kubernetes-preserve-unknown-fields": true});
    let schema = Schema::parse(&json!({"type": "object", "properties": {"spec": map}}));
    let key = "k".repeat(1 << 20);
    let object = json!({"spec": {key: vec!["ab"; 200_000]}});
    for errors in [super::value(&schema, &object, None), lists::check(&object, &schema)] {
        assert_eq!(errors.len(), MAX_ERRORS);
        assert!(errors.iter().all(|error| error.to_string().len() < 4096), "{}", errors[0].to_string().len());
    }
    let unique = Schema::parse(&json!({"type": "array", "uniqueItems": true, "items": {"type": "integer"}}));
    assert!(super::value(&unique, &Value::from((0..200_000).collect::<Vec<_>>()), None).is_empty());
}

#[test]
fn many_choices_are_searched() {
    let mut listed: Vec<Value> = (0..100).map(|number| json!(format!("c{number}"))).collect();
    listed.extend([json!(1), json!(1.5), json!({"a": [1]})]);
    let choices = Choices::new(listed.clone());
    assert!(listed.iter().all(|one| choices.allow(one)));
    assert!([json!("c100"), json!(2), json!(null), json!({"a": []})].iter().all(|one| !choices.allow(one)));
}
