//! Definitions of custom kinds.

use serde_json::json;

use super::{kind, object, texts};
use crate::validation::{create, definition_warnings, structural_errors, update};
use crate::{Value, value};

const KIND: &str = "CustomResourceDefinition";
const AT: &str = "spec.validation.openAPIV3Schema";

/// A definition with this schema; `more` is put over its only version.
fn definition(schema: Value, more: &Value) -> Value {
    let mut version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    version.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    json!({"metadata": {"name": "things.example.com"}, "status": {"storedVersions": ["v1"]}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [version]}})
}

fn errors(definition: Value) -> Vec<String> {
    texts(&create(kind(KIND), &object(KIND, definition)))
}

fn changed(new: Value, old: Value) -> Vec<String> {
    let with_revision = |mut definition: Value| {
        definition["metadata"]["resourceVersion"] = "1".into();
        object(KIND, definition)
    };
    texts(&update(kind(KIND), &with_revision(new), &with_revision(old)))
}

/// The errors of a schema; `AT` stands for its place.
fn schema(schema: Value, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|e| e.replace("AT", AT)).collect();
    assert_eq!(errors(definition(schema.clone(), &json!({}))), expected, "{schema}");
}

fn fields(properties: Value) -> Value {
    json!({"type": "object", "properties": properties})
}

#[test]
fn logic_restates_only_what_stands_at_the_root() {
    schema(fields(json!({})), &[]);
    let missing = json!({"properties": {"b": {"minLength": 1, "properties": {"c": {}}}}});
    schema(fields(json!({"a": {"type": "object", "anyOf": [missing]}})), &[]);
    schema(
        json!({"type": "object", "anyOf": [missing]}),
        &["AT.properties[b]: Required value: because it is defined in AT.anyOf[0].properties[b]"],
    );
    // What is open, or a map, has no such field either.
    let required = &["AT.properties[b]: Required value: because it is defined in AT.not.properties[b]"];
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "not": {"properties": {"b": {"minLength": 1}}}});
    schema(open, required);
}

#[test]
fn a_number_or_a_string_may_be_told_by_logic() {
    let either = json!([{"type": "integer"}, {"type": "string"}]);
    let open = |logic: Value| {
        let mut field = logic;
        field["x-kubernetes-preserve-unknown-fields"] = true.into();
        fields(json!({"a": field}))
    };
    schema(open(json!({"anyOf": either})), &[]);
    schema(open(json!({"allOf": [{"anyOf": either}]})), &[]);
    let second =
        |n: usize| format!("AT.properties[a].allOf[1].anyOf[{n}].type: Forbidden: must be empty to be structural");
    schema(open(json!({"allOf": [{"minLength": 1}, {"anyOf": either}]})), &[&second(0), &second(1)]);
    let longer = json!([{"type": "integer", "minimum": 1}, {"type": "string"}]);
    let each = |n: usize| format!("AT.properties[a].anyOf[{n}].type: Forbidden: must be empty to be structural");
    schema(open(json!({"anyOf": longer})), &[&each(0), &each(1)]);
}

#[test]
fn metadata_says_nothing_but_names() {
    let refused = "AT.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified";
    schema(fields(json!({"metadata": {"type": "object", "properties": {"name": {"type": "string"}}}})), &[]);
    schema(fields(json!({"metadata": {"type": "object", "description": "x"}})), &[refused]);
    let default = "AT.properties[metadata].default: Forbidden: must not be set in top-level metadata";
    schema(fields(json!({"metadata": {"type": "object", "default": {}}})), &[default]);
    schema(
        json!({"type": "object", "nullable": true}),
        &["AT.nullable: Forbidden: nullable cannot be true at the root"],
    );
}

#[test]
fn lists_say_how_their_items_are_told_apart() {
    let list = |list: Value| {
        let mut list = list;
        list["type"] = "array".into();
        fields(json!({"a": list}))
    };
    let set = |items: Value| list(json!({"x-kubernetes-list-type": "set", "items": items}));
    schema(set(json!({"type": "string"})), &[]);
    let atomic = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let map_type = format!("AT.properties[a].items.x-kubernetes-map-type: Invalid value: \"null\": {atomic}");
    schema(set(json!({"type": "object"})), &[&map_type]);
    schema(
        set(json!({"type": "string", "nullable": true})),
        &["AT.properties[a].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set"],
    );
    let keyed = |keys: Value, k: Value| {
        list(json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys,
            "items": {"type": "object", "required": ["k"], "properties": {"k": k}}}))
    };
    schema(keyed(json!(["k"]), json!({"type": "string"})), &[]);
    let at = "AT.properties[a]";
    let twice =
        format!("{at}.x-kubernetes-list-map-keys: Invalid value: [\"k\",\"k\"]: must not contain duplicate entries");
    schema(keyed(json!(["k", "k"]), json!({"type": "string"})), &[&twice]);
    let unknown = format!(
        "{at}.x-kubernetes-list-map-keys: Invalid value: [\"j\"]: entries must all be names of item properties"
    );
    schema(keyed(json!(["j"]), json!({"type": "string"})), &[&unknown]);
    let scalar = format!(
        "{at}.items.properties[k].type: Invalid value: \"object\": must be a scalar type if parent array's x-kubernetes-list-type is map"
    );
    schema(keyed(json!(["k"]), json!({"type": "object"})), &[&scalar]);
    let null = format!(
        "{at}.items.properties[k].nullable: Forbidden: this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
    );
    schema(keyed(json!(["k"]), json!({"type": "string", "nullable": true})), &[&null]);
    schema(
        list(json!({"x-kubernetes-list-type": "bag", "items": {"type": "string"}})),
        &[
            "AT.properties[a].x-kubernetes-list-type: Unsupported value: \"bag\": supported values: \"atomic\", \"set\", \"map\"",
        ],
    );
    schema(
        fields(json!({"a": {"type": "string", "x-kubernetes-map-type": "atomic"}})),
        &["AT.properties[a].type: Invalid value: \"string\": must be object if x-kubernetes-map-type is specified"],
    );
    schema(
        fields(json!({"a": {"type": "text"}})),
        &[
            "AT.properties[a].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ],
    );
}

#[test]
fn a_status_leaves_little_to_say_at_the_root() {
    let with_status = |schema: Value| errors(definition(schema, &json!({"subresources": {"status": {}}})));
    assert_eq!(with_status(json!({"type": "object", "required": ["spec"]})), Vec::<String>::new());
    let found = with_status(json!({"type": "object", "not": {"required": ["a"]}}));
    let expected = "are allowed at the root of the schema if the status subresource is enabled";
    assert!(
        found.len() == 1 && found[0].contains(": only [Description Type ") && found[0].ends_with(expected),
        "{found:?}"
    );
}

/// A schema of nothing but these fields (Go's names and JSON), as Go shows it.
fn shown(set: &[(&str, &str)]) -> String {
    let empty = "{\"ID\":\"\",\"Schema\":\"\",\"Ref\":null,\"Description\":\"\",\"Type\":\"\",\"Nullable\":false,\"Format\":\"\",\
        \"Title\":\"\",\"Default\":null,\"Maximum\":null,\"ExclusiveMaximum\":false,\"Minimum\":null,\"ExclusiveMinimum\":false,\
        \"MaxLength\":null,\"MinLength\":null,\"Pattern\":\"\",\"MaxItems\":null,\"MinItems\":null,\"UniqueItems\":false,\
        \"MultipleOf\":null,\"Enum\":null,\"MaxProperties\":null,\"MinProperties\":null,\"Required\":null,\"Items\":null,\
        \"AllOf\":null,\"OneOf\":null,\"AnyOf\":null,\"Not\":null,\"Properties\":null,\"AdditionalProperties\":null,\
        \"PatternProperties\":null,\"Dependencies\":null,\"AdditionalItems\":null,\"Definitions\":null,\"ExternalDocs\":null,\
        \"Example\":null,\"XPreserveUnknownFields\":null,\"XEmbeddedResource\":false,\"XIntOrString\":false,\
        \"XListMapKeys\":null,\"XListType\":null,\"XMapType\":null,\"XValidations\":null}";
    set.iter().fold(empty.to_owned(), |shown, (name, value)| {
        let zero = ["\"\"", "null", "false"].iter().map(|zero| format!("\"{name}\":{zero}"));
        let zero = zero.clone().find(|zero| shown.contains(zero.as_str())).expect("a field");
        shown.replace(&zero, &format!("\"{name}\":{value}"))
    })
}

#[test]
fn schemas_and_versions_are_shown_as_go_shows_them() {
    let schema = json!({"type": "object", "not": {"required": ["a<b"]}, "maximum": 2.0, "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"z": {"additionalProperties": {"type": "string"}}, "b": {"items": {"enum": [1, "x"]}}}});
    let property = |name: &str, value: &str| shown(&[(name, value)]);
    let text = shown(&[("Type", "\"string\"")]);
    let one = format!("{{\"Schema\":{},\"JSONSchemas\":null}}", shown(&[("Enum", "[1,\"x\"]")]));
    let more = format!("{{\"Allows\":true,\"Schema\":{text}}}");
    let properties = format!("{{\"b\":{},\"z\":{}}}", property("Items", &one), property("AdditionalProperties", &more));
    let not = shown(&[("Required", "[\"a\\u003cb\"]")]);
    let whole = shown(&[
        ("Type", "\"object\""),
        ("Maximum", "2"),
        ("Not", "NOT"),
        ("Properties", "PROPERTIES"),
        ("XPreserveUnknownFields", "true"),
    ]);
    let whole = whole.replace("NOT", &not).replace("PROPERTIES", &properties);
    let found = errors(definition(schema, &json!({"subresources": {"status": {}}})));
    let start = format!("{AT}: Invalid value: {whole}: only [Description Type ");
    assert!(found.iter().any(|error| error.starts_with(&start)), "{found:#?}\n{start}");

    let mut two = definition(
        json!({"type": "object"}),
        &json!({"additionalPrinterColumns": [
        {"name": "A", "type": "integer", "jsonPath": ".spec.a", "priority": 1}], "deprecated": true}),
    );
    let second = json!({"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.a", "statusReplicasPath": ".status.a"}}});
    two["spec"]["versions"].as_array_mut().expect("a list").push(second);
    let expected = "spec.versions: Invalid value: [{\"Name\":\"v1\",\"Served\":true,\"Storage\":true,\"Deprecated\":true,\
        \"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":[{\"Name\":\"A\",\
        \"Type\":\"integer\",\"Format\":\"\",\"Description\":\"\",\"Priority\":1,\"JSONPath\":\".spec.a\"}],\
        \"SelectableFields\":null},{\"Name\":\"v2\",\"Served\":true,\"Storage\":true,\"Deprecated\":false,\
        \"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":{\"Status\":{},\"Scale\":{\"SpecReplicasPath\":\
        \".spec.a\",\"StatusReplicasPath\":\".status.a\",\"LabelSelectorPath\":null}},\"AdditionalPrinterColumns\":null,\
        \"SelectableFields\":null}]: must have exactly one version marked as storage version";
    let found = errors(two);
    assert!(found.iter().any(|error| error == expected), "{found:#?}");
}

#[test]
fn patterns_are_gos() {
    let at = "AT.properties[a].pattern: Invalid value";
    let told = "must be a valid regular expression, but isn't: error parsing regexp";
    let pattern = |pattern: &str| fields(json!({"a": {"type": "string", "pattern": pattern}}));
    schema(pattern("+"), &[&format!("{at}: \"+\": {told}: missing argument to repetition operator: `+`")]);
    schema(pattern("(?=a)"), &[&format!("{at}: \"(?=a)\": {told}: invalid or unsupported Perl syntax: `(?=`")]);
    schema(pattern("^[a-z]{1,63}$"), &[]);
}

#[test]
fn versions_say_what_can_be_selected_and_shown() {
    let schema = fields(
        json!({"spec": fields(json!({"a": {"type": "string"}, "l": {"type": "array", "items": {"type": "string"}}}))}),
    );
    let check = |more: Value, expected: &[&str]| {
        assert_eq!(errors(definition(schema.clone(), &more)), expected, "{more}");
    };
    let select = |path: &str| json!({"selectableFields": [{"jsonPath": path}]});
    let at = "spec.selectableFields[0].jsonPath";
    check(select(".spec.a"), &[]);
    check(
        select(".spec['a']"),
        &[&format!("{at}: Invalid value: \".spec['a']\": is an invalid path: array notation is not allowed")],
    );
    check(
        select("spec.a"),
        &[&format!("{at}: Invalid value: \"spec.a\": is an invalid path: expected [ or . but got: spec")],
    );
    check(
        select(".spec.l"),
        &[&format!(
            "{at}: Invalid value: \".spec.l\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
        )],
    );
    check(
        json!({"additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": "spec"}]}),
        &[
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec\": must be a simple json path starting with .",
        ],
    );
    check(
        json!({"subresources": {"scale": {"specReplicasPath": ".spec.a", "statusReplicasPath": ".status.a", "labelSelectorPath": ".x"}}}),
        &[
            "spec.subresources.scale.labelSelectorPath: Invalid value: \".x\": should be a json path under either .spec or .status",
        ],
    );
    check(
        json!({"deprecationWarning": "x"}),
        &["spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions"],
    );
    check(
        json!({"deprecated": true, "deprecationWarning": "a\u{7}"}),
        &[
            "spec.versions[0].deprecationWarning: Invalid value: \"a\\a\": must only contain printable UTF-8 characters; non-printable character found at index 1",
        ],
    );
}

#[test]
fn conversions_are_named_as_upstream_keeps_them() {
    let check = |conversion: Value, expected: &[&str]| {
        let mut definition = definition(fields(json!({})), &json!({}));
        definition["spec"]["conversion"] = conversion;
        assert_eq!(errors(definition), expected);
    };
    let webhook = |versions: Value| json!({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://a/b"}, "conversionReviewVersions": versions}});
    check(webhook(json!(["v1"])), &[]);
    check(json!({}), &["spec.conversion.strategy: Required value"]);
    check(
        webhook(json!(["v2", "v2"])),
        &[
            "spec.conversion.conversionReviewVersions[1]: Invalid value: \"v2\": duplicate version",
            "spec.conversion.conversionReviewVersions: Invalid value: [\"v2\",\"v2\"]: must include at least one of v1, v1beta1",
        ],
    );
    let mut none = webhook(json!(["v1"]));
    none["strategy"] = "None".into();
    check(
        none,
        &[
            "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook",
            "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
        ],
    );
    check(
        json!({"strategy": "Webhook"}),
        &[
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value",
        ],
    );
}

#[test]
fn what_older_servers_let_pass_need_not_be_mended() {
    let loose = {
        let mut loose = definition(json!({"properties": {"a": {"type": "text"}}}), &json!({}));
        value::set(&mut loose, "spec.preserveUnknownFields", true);
        loose
    };
    let labelled = |base: &Value| {
        let mut new = base.clone();
        value::set(&mut new, "metadata.labels", json!({"a": "b"}));
        new
    };
    assert_eq!(structural_errors(&loose).len(), 2);
    assert_eq!(changed(labelled(&loose), loose.clone()), Vec::<String>::new());
    // Pruning needs structural schemas.
    let mut pruned = loose.clone();
    value::set(&mut pruned, "spec.preserveUnknownFields", false);
    let found = changed(pruned, loose);
    assert!(found.contains(&format!("{AT}.type: Required value: must not be empty at the root")), "{found:?}");
    let list = fields(json!({"a": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}}));
    let set = definition(list, &json!({}));
    assert_eq!(changed(labelled(&set), set), Vec::<String>::new());
    let mut gone = definition(fields(json!({})), &json!({}));
    value::set(&mut gone, "status.storedVersions", json!(["v0", "v1"]));
    let why = "status.storedVersions[0]: Invalid value: \"v0\": missing from spec.versions; v0 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v0 and removes v0 from status.storedVersions";
    assert_eq!(changed(gone.clone(), gone), [why]);
}

#[test]
fn a_webhook_is_trusted_by_a_certificate() {
    let with = |bundle: &str, established: &str| {
        let mut definition = definition(fields(json!({})), &json!({}));
        definition["status"]["conditions"] = json!([{"type": "Established", "status": established}]);
        definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
            "clientConfig": {"url": "https://a/b", "caBundle": bundle}, "conversionReviewVersions": ["v1"]}});
        definition
    };
    assert_eq!(errors(with("Cg==", "False")), Vec::<String>::new());
    assert_eq!(changed(with("Cg==", "False"), with("", "False")), Vec::<String>::new());
    let why = "spec.conversion.webhookClientConfig.caBundle: Invalid value: \"Cg==\": unable to load root certificates: unable to parse bytes as PEM block";
    assert_eq!(changed(with("Cg==", "True"), with("", "True")), [why]);
    assert_eq!(changed(with("Cg==", "True"), with("Cgo=", "True")), Vec::<String>::new());
}

#[test]
fn formats_that_nobody_knows_are_told_once() {
    let of = |properties: Value| definition(fields(properties), &json!({}));
    let new = of(json!({
        "a": {"type": "string", "format": "x"}, "b": {"type": "string", "anyOf": [{"format": "x"}]},
        "c": {"type": "integer", "format": "int32"}, "d": {"type": "integer", "format": "date"},
        "e": {"type": "string", "format": "k8s-short-name"}, "f": {"type": "string", "format": "date-time"}}));
    assert_eq!(definition_warnings(&new, None), ["unrecognized format \"x\"", "unrecognized format \"date\""]);
    let old = of(json!({"a": {"type": "string", "format": "x"}}));
    assert_eq!(definition_warnings(&new, Some(&old)), ["unrecognized format \"date\""]);
}
