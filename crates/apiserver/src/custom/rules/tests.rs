use serde_json::json;

use super::*;

fn check(schema: &Value, object: Value, old: Option<Value>, expected: &[&str]) {
    let rules = compile::rules(&Schema::parse(schema), schema);
    let schema = Schema::parse(schema);
    let found: Vec<String> =
        violations(&rules, &schema, &object, old.as_ref()).0.iter().map(ToString::to_string).collect();
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
fn what_is_as_it_was_is_told_only() {
    let schema = spec(
        json!({"list": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self % 2 == 0"}]}},
            "other": {"type": "string"}}),
        json!([]),
    );
    let rules = compile::rules(&Schema::parse(&schema), &schema);
    let check = |list: Value, refused: &[&str], told: &[&str]| {
        let object = json!({"spec": {"list": list, "other": "new"}});
        let old = json!({"spec": {"list": [2, 3], "other": "old"}});
        let (found, kept) = violations(&rules, &Schema::parse(&schema), &object, Some(&old));
        let texts = |errors: &Errors| -> Vec<String> { errors.iter().map(ToString::to_string).collect() };
        assert_eq!(
            (texts(&found), texts(&kept)),
            (refused.iter().map(|e| (*e).to_owned()).collect(), told.iter().map(|e| (*e).to_owned()).collect())
        );
    };
    let wrong = "spec.list[1]: Invalid value: \"integer\": failed rule: self % 2 == 0";
    // Items of such a list cannot be told apart: it is the whole list that is as it was.
    check(json!([2, 3]), &[], &[wrong]);
    check(json!([4, 3]), &[wrong], &[]);
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
        definition_errors(&definition, None, &Errors::new()).iter().map(ToString::to_string).collect()
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
            "{at}.rule: Invalid value: {{\"Rule\":\"self.nope \\u003e 1\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}}: compilation failed: ERROR: <input>:1:5: undefined field 'nope'"
        ),
    );
    found(json!([{"rule": "self.n"}]), "cel expression must evaluate to a bool");
    let no_regex = "error parsing regexp: missing closing ): `(`";
    found(json!([{"rule": "'a'.find('(') == ''"}]), &format!("program instantiation failed: {no_regex}"));
    let message = json!([{"rule": "self.n > 1", "messageExpression": "'a'.find('(')"}]);
    found(message, &format!("messageExpression instantiation failed: {no_regex}"));
    found(json!([{"rule": "self.n > 1", "messageExpression": "1"}]), "messageExpression must evaluate to a string");
    found(json!([{"rule": "self.n > 1", "reason": "Because"}]), "Unsupported value: \"Because\"");
    found(
        json!([{"rule": "self.n > 1", "message": " "}]),
        "message: Invalid value: \" \": must be non-empty if specified",
    );
    found(json!([{"rule": "self.n\n> 1"}]), "message must be specified if rule contains line breaks");
    found(json!([{"rule": "self.n > 1", "fieldPath": ".m"}]), "fieldPath: Invalid value: \".m\": must be a valid path");
    assert!(errors(json!([{"rule": "self.n > 1", "fieldPath": ".n"}])).is_empty());
    found(json!([{"rule": "self.n > 1", "optionalOldSelf": true}]), "may not be set if oldSelf is not used in rule");
}

fn costs_of(schema: Value) -> Vec<String> {
    let definition = json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}});
    definition_errors(&definition, None, &Errors::new()).iter().map(ToString::to_string).collect()
}

const HINT: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";

#[test]
fn a_rule_costs_as_often_as_its_value_may_occur() {
    // One text of a thousand characters: its comparison costs 400, with the variable and the call.
    let text =
        json!({"type": "string", "maxLength": 1000, "x-kubernetes-validations": [{"rule": "self == self + self"}]});
    let list = |items: &Value, max: Option<i64>| {
        let mut list = json!({"type": "array", "items": items});
        if let Some(max) = max {
            list["maxItems"] = max.into();
        }
        list
    };
    let check = |list: Value, expected: &[&str]| {
        let found = costs_of(json!({"type": "object", "properties": {"a": list}}));
        let at = "spec.validation.openAPIV3Schema.properties[a].items";
        let expected: Vec<String> = expected.iter().map(|e| e.replace("AT", at).replace("HINT", HINT)).collect();
        assert_eq!(found, expected);
    };
    check(list(&text, Some(1000)), &[]);
    let rule = "AT.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of";
    check(list(&text, Some(10_000)), &[&format!("{rule} 1.203000x HINT")]);
    check(list(&text, Some(20_000)), &[&format!("{rule} 2.4x HINT")]);
    let deep = "AT.items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of";
    check(list(&list(&text, Some(100)), Some(200)), &[&format!("{deep} 2.4x HINT")]);
    // Without a bound there are as many as fit into a request.
    let sum =
        "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of";
    let part = "AT.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
    let whole = "spec.validation.openAPIV3Schema: Forbidden";
    check(list(&text, None), &[&format!("{rule} more than 100x HINT"), part, &format!("{whole}: {sum} 12.6x HINT")]);
    let cheap = json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]});
    check(list(&cheap, None), &[]);
}

#[test]
fn what_a_schema_does_not_bound_is_bounded_by_the_largest_request() {
    let check = |ty: Value, rule: &str, is_fine: bool| {
        let mut ty = ty;
        ty["x-kubernetes-validations"] = json!([{"rule": rule}]);
        let found = costs_of(json!({"type": "object", "properties": {"a": ty}}));
        assert_eq!(found.is_empty(), is_fine, "{rule}: {found:?}");
    };
    check(json!({"type": "string"}), "self.matches('^a')", true);
    check(json!({"type": "string"}), "self.contains(self)", false);
    let texts = json!({"type": "array", "items": {"type": "string"}});
    check(texts.clone(), "self.all(x, x.size() < 5)", true);
    check(texts.clone(), "self.all(x, x.startsWith('a'))", true);
    check(texts.clone(), "self.all(x, self.all(y, x == y))", false);
    check(texts, "self.all(x, x.contains('abc'))", false);
}

#[test]
fn all_rules_together_have_a_limit() {
    let text = json!({"type": "array", "maxItems": 8000, "items":
        {"type": "string", "maxLength": 1000, "x-kubernetes-validations": [{"rule": "self == self + self"}]}});
    let fields = |count: usize| -> Value {
        let fields: gantry_api::Object = (0..count).map(|n| (format!("f{n:02}"), text.clone())).collect();
        json!({"type": "object", "properties": fields})
    };
    assert_eq!(costs_of(fields(10)), [""; 0]);
    let found = costs_of(fields(11));
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[..4].iter().all(|e| e.ends_with("cost total exceeding cost limit for entire OpenAPIv3 schema")));
    let sum = "spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of 1.058640x";
    assert_eq!(found[4], format!("{sum} {HINT}"));
    let costly = json!({"type": "object", "properties": {"a": {"type": "string",
        "x-kubernetes-validations": [{"rule": "true", "messageExpression": "self.contains(self) ? 'a' : 'b'"}]}}});
    let found = costs_of(costly);
    assert!(found[0].contains("messageExpression: Forbidden: estimated messageExpression cost exceeds"), "{found:?}");
}

#[test]
fn what_merges_as_a_whole_has_parts_without_a_past() {
    let check = |map_type: &str, expected: &str| {
        let rule = json!([{"rule": "self == oldSelf"}]);
        let part = json!({"type": "string", "maxLength": 5, "x-kubernetes-validations": rule});
        let whole = json!({"type": "object", "x-kubernetes-map-type": map_type, "properties": {"k": part}});
        let found = costs_of(json!({"type": "object", "properties": {"a": whole}}));
        assert_eq!(found.join("; "), expected);
    };
    let at = "spec.validation.openAPIV3Schema.properties[a]";
    check("granular", "");
    let why = "oldSelf cannot be used on the uncorrelatable portion of the schema within";
    let rule = format!("{at}.properties[k].x-kubernetes-validations[0].rule");
    check("atomic", &format!("{rule}: Invalid value: \"self == oldSelf\": {why} {at}"));
}

#[test]
fn defaults_keep_to_the_rules() {
    let number = |default: i64| {
        json!({"type": "object", "properties": {"a": {"type": "object", "default": {"n": default}, "properties": {
            "n": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 1"}]}}}}})
    };
    assert_eq!(costs_of(number(2)), [""; 0]);
    let at = "spec.validation.openAPIV3Schema.properties[a].default.n";
    assert_eq!(costs_of(number(1)), [format!("{at}: Invalid value: \"integer\": failed rule: self > 1")]);
}

#[test]
fn rules_are_not_compiled_where_one_is_malformed() {
    let inner = json!({"type": "string", "x-kubernetes-validations": [{"rule": " "}]});
    let found = costs_of(json!({"type": "object", "properties": {"a": inner},
        "x-kubernetes-validations": [{"rule": "self.nope"}]}));
    let at = "spec.validation.openAPIV3Schema.properties[a].x-kubernetes-validations[0]";
    assert_eq!(found, [format!("{at}.rule: Required value: rule is not specified")]);
    // What is known at run time only is no boolean.
    let either = json!({"x-kubernetes-int-or-string": true, "x-kubernetes-validations": [{"rule": "self"}]});
    let found = costs_of(json!({"type": "object", "properties": {"a": either}}));
    assert!(found.len() == 1 && found[0].ends_with("cel expression must evaluate to a bool"), "{found:?}");
    // Schemas with other errors are left alone.
    let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.nope"}]});
    let definition = json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}});
    let other = |path: &str| vec![Error::required(&Path::new(path), "")];
    assert_eq!(definition_errors(&definition, None, &other("spec.validation.openAPIV3Schema.type")).len(), 0);
    assert_eq!(definition_errors(&definition, None, &other("spec.group")).len(), 1);
}

#[test]
fn items_without_keys_have_no_past() {
    let check = |list: Value, expected: &str| {
        let mut list = list;
        list["type"] = "array".into();
        list["maxItems"] = 10.into();
        list["items"] = json!({"type": "object", "properties": {"k": {"type": "string", "maxLength": 5,
            "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}});
        let found = costs_of(json!({"type": "object", "properties": {"a": list}}));
        assert_eq!(found.join("; "), expected);
    };
    let at = "spec.validation.openAPIV3Schema.properties[a]";
    let why = format!(
        "{at}.items.properties[k].x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within {at}"
    );
    check(json!({}), &why);
    check(json!({"x-kubernetes-list-type": "atomic"}), &why);
    check(json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}), "");
}
