//! Webhook configurations, admission policies and their bindings.

use serde_json::json;

use super::{check, check_update, kind, object, texts};
use crate::validation::{create, status_update};
use crate::{Value, value};

fn rule() -> Value {
    json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]})
}

fn webhook() -> Value {
    json!({"name": "w.example.com", "clientConfig": {"url": "https://example.com/x"}, "rules": [rule()],
        "sideEffects": "None", "admissionReviewVersions": ["v1"]})
}

fn with(base: &Value, path: &str, change: Value) -> Value {
    let mut object = base.clone();
    value::set(&mut object, path, change);
    object
}

/// Checks a configuration of one webhook with a change.
fn hook(path: &str, change: Value, expected: &[&str]) {
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        check(kind, json!({"webhooks": [with(&webhook(), path, change.clone())]}), expected);
    }
}

#[test]
fn webhooks() {
    hook("failurePolicy", "Fail".into(), &[]);
    hook("name", "".into(), &["webhooks[0].name: Required value"]);
    hook(
        "name",
        "a.b".into(),
        &[
            "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
        ],
    );
    hook(
        "failurePolicy",
        "Maybe".into(),
        &["webhooks[0].failurePolicy: Unsupported value: \"Maybe\": supported values: \"Fail\", \"Ignore\""],
    );
    hook(
        "sideEffects",
        Value::Null,
        &["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
    );
    hook(
        "sideEffects",
        "Some".into(),
        &["webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""],
    );
    hook(
        "timeoutSeconds",
        31.into(),
        &["webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"],
    );
    hook(
        "admissionReviewVersions",
        json!([]),
        &["webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
    );
    hook(
        "admissionReviewVersions",
        json!(["v3"]),
        &["webhooks[0].admissionReviewVersions: Invalid value: [\"v3\"]: must include at least one of v1, v1beta1"],
    );
    hook(
        "matchConditions",
        json!([{"name": "a", "expression": " "}, {"name": "a", "expression": "true"}]),
        &[
            "webhooks[0].matchConditions[0].expression: Required value",
            "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"",
        ],
    );
    let twice = json!({"webhooks": [webhook(), webhook()]});
    let duplicate = "webhooks[1].name: Duplicate value: \"w.example.com\"";
    check("ValidatingWebhookConfiguration", twice.clone(), &[duplicate]);
    let mut old = twice.clone();
    old["metadata"] = json!({"name": "x", "resourceVersion": "1"});
    check_update("ValidatingWebhookConfiguration", old.clone(), old, &[]);
    let selector = json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b c"]}]});
    let mut old = json!({"webhooks": [with(&webhook(), "objectSelector", selector)]});
    let found =
        texts(&create(kind("ValidatingWebhookConfiguration"), &object("ValidatingWebhookConfiguration", old.clone())));
    let at = "webhooks[0].objectSelector.matchExpressions[0].values[0]: Invalid value: \"b c\": a valid label must be";
    assert!(found.len() == 1 && found[0].starts_with(at), "{found:?}");
    old["metadata"] = json!({"name": "x", "resourceVersion": "1"});
    check_update("ValidatingWebhookConfiguration", old.clone(), old, &[]);
    let repeats = json!({"webhooks": [with(&webhook(), "reinvocationPolicy", "Often".into())]});
    let expected =
        "webhooks[0].reinvocationPolicy: Unsupported value: \"Often\": supported values: \"IfNeeded\", \"Never\"";
    check("MutatingWebhookConfiguration", repeats, &[expected]);
}

#[test]
fn places_of_webhooks() {
    let at = |config: Value, expected: &[&str]| hook("clientConfig", config, expected);
    at(json!({"service": {"namespace": "a", "name": "b", "path": "/x/y"}}), &[]);
    at(json!({}), &["webhooks[0].clientConfig: Required value: exactly one of url or service is required"]);
    at(
        json!({"url": "http://a/b"}),
        &[
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
        ],
    );
    at(
        json!({"url": "https://u@a/b?c#d"}),
        &[
            "webhooks[0].clientConfig.url: Invalid value: \"u\": user information is not permitted in the URL",
            "webhooks[0].clientConfig.url: Invalid value: \"d\": fragments are not permitted in the URL",
            "webhooks[0].clientConfig.url: Invalid value: \"c\": query parameters are not permitted in the URL",
        ],
    );
    at(
        json!({"url": "https:///x"}),
        &[
            "webhooks[0].clientConfig.url: Invalid value: \"\": host must be provided; desired format: https://host[/path]",
        ],
    );
    at(
        json!({"service": {"name": "b", "port": 0, "path": "x"}}),
        &[
            "webhooks[0].clientConfig.service.namespace: Required value: service namespace is required",
            "webhooks[0].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
            "webhooks[0].clientConfig.service.path: Invalid value: \"x\": must start with a '/'",
            "webhooks[0].clientConfig.service.path: Invalid value: \"x\": segment[0] may not be empty",
        ],
    );
}

#[test]
fn rules_of_webhooks() {
    let at = |path: &str, change: Value, expected: &[&str]| {
        hook("rules", json!([with(&rule(), path, change)]), expected);
    };
    at("scope", "Cluster".into(), &[]);
    at("operations", json!([]), &["webhooks[0].rules[0].operations: Required value"]);
    at(
        "operations",
        json!(["*", "PATCH"]),
        &[
            "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"PATCH\"]: if '*' is present, must not specify other operations",
            "webhooks[0].rules[0].operations[1]: Unsupported value: \"PATCH\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
        ],
    );
    at("apiVersions", json!([""]), &["webhooks[0].rules[0].apiVersions[0]: Required value"]);
    at(
        "resources",
        json!(["*/status", "pods/*", "pods/status"]),
        &[
            "webhooks[0].rules[0].resources[2]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
            "webhooks[0].rules[0].resources[2]: Invalid value: \"pods/status\": if '*/status' is present, must not specify pods/status",
        ],
    );
    at(
        "resources",
        json!(["*", "pods"]),
        &[
            "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
        ],
    );
    at(
        "scope",
        "Here".into(),
        &[
            "webhooks[0].rules[0].scope: Unsupported value: \"Here\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
        ],
    );
}

#[test]
fn validating_policies() {
    let spec = json!({"matchConstraints": {"resourceRules": [rule()]}, "validations": [{"expression": "true"}]});
    let at = |path: &str, change: Value, expected: &[&str]| {
        check("ValidatingAdmissionPolicy", json!({"spec": with(&spec, path, change)}), expected);
    };
    at("failurePolicy", "Ignore".into(), &[]);
    at("matchConstraints", Value::Null, &["spec.matchConstraints: Required value"]);
    at("matchConstraints.resourceRules", json!([]), &["spec.matchConstraints.resourceRules: Required value"]);
    at(
        "validations",
        json!([]),
        &[
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
            "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
        ],
    );
    at(
        "validations",
        json!([{"expression": "", "message": "a\nb", "reason": "NotFound"}]),
        &[
            "spec.validations[0].expression: Required value: expression is not specified",
            "spec.validations[0].message: Invalid value: \"a\\nb\": must not contain line breaks",
            "spec.validations[0].reason: Unsupported value: \"NotFound\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
        ],
    );
    at(
        "paramKind",
        json!({"apiVersion": "a/b/c", "kind": ""}),
        &[
            "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            "spec.paramKind.kind: Required value",
        ],
    );
    at(
        "variables",
        json!([{"name": "in", "expression": "1"}]),
        &["spec.variables[0].name: Invalid value: \"in\": must be a valid CEL identifier"],
    );
    at(
        "auditAnnotations",
        json!([{"key": "a", "valueExpression": "'x'"}, {"key": "a", "valueExpression": " "}]),
        &[
            "spec.auditAnnotations[1].valueExpression: Required value: valueExpression is not specified",
            "spec.auditAnnotations[1].key: Duplicate value: \"a\"",
        ],
    );
    let policy = object("ValidatingAdmissionPolicy", json!({"spec": spec}));
    let status = json!({"typeChecking": {"expressionWarnings": [{"fieldRef": "", "warning": "w"}]},
        "conditions": [{"type": "A", "status": "Perhaps", "reason": "r", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let errors = status_update(kind("ValidatingAdmissionPolicy"), &with(&policy, "status", status), &policy);
    assert_eq!(
        texts(&errors),
        [
            "status.typeChecking.expressionWarnings[0].fieldRef: Required value",
            "status.conditions[0].status: Unsupported value: \"Perhaps\": supported values: \"False\", \"True\", \"Unknown\"",
        ]
    );
}

#[test]
fn mutating_policies() {
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}});
    let spec = json!({"matchConstraints": {"resourceRules": [rule()]}, "mutations": [mutation], "reinvocationPolicy": "Never"});
    let at = |path: &str, change: Value, expected: &[&str]| {
        check("MutatingAdmissionPolicy", json!({"spec": with(&spec, path, change)}), expected);
    };
    at("reinvocationPolicy", "IfNeeded".into(), &[]);
    at("reinvocationPolicy", Value::Null, &["spec.reinvocationPolicy: Required value"]);
    at("mutations", json!([]), &["spec.mutations: Required value: mutations must contain at least one item"]);
    at(
        "mutations",
        json!([{"patchType": "ApplyConfiguration", "jsonPatch": {"expression": "[]"}}, {}, {"patchType": "JSONPatch", "jsonPatch": {}}]),
        &[
            "spec.mutations[0].applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration",
            "spec.mutations[0].jsonPatch: Invalid value: \"{jsonPatch}\": must not be specified when patchType is ApplyConfiguration",
            "spec.mutations[1].patchType: Required value",
            "spec.mutations[2].jsonPatch.expression: Required value",
        ],
    );
    at("matchConstraints.resourceRules", json!([with(&rule(), "operations", json!(["*"]))]), &[]);
    at(
        "matchConstraints.resourceRules",
        json!([with(&rule(), "operations", json!(["DELETE"]))]),
        &[
            "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
        ],
    );
}

#[test]
fn bindings_of_policies() {
    let at =
        |spec: Value, expected: &[&str]| check("ValidatingAdmissionPolicyBinding", json!({"spec": spec}), expected);
    at(json!({"policyName": "p", "validationActions": ["Deny", "Audit"]}), &[]);
    at(
        json!({"validationActions": ["Deny", "Warn", "Deny"]}),
        &[
            "spec.policyName: Required value",
            "spec.validationActions[2]: Duplicate value: \"Deny\"",
            "spec.validationActions: Invalid value: [\"Deny\",\"Warn\",\"Deny\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        ],
    );
    at(
        json!({"policyName": "p", "paramRef": {"name": "a", "selector": {}}}),
        &[
            "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.parameterNotFoundAction: Required value",
            "spec.validationActions: Required value: at least one validation action is required",
        ],
    );
    let action =
        "spec.paramRef.parameterNotFoundAction: Unsupported value: \"Ask\": supported values: \"Deny\", \"Allow\"";
    at(
        json!({"policyName": "p", "paramRef": {"name": "a", "parameterNotFoundAction": "Ask"}, "validationActions": ["Deny"]}),
        &[action],
    );
    let param = json!({"name": "a", "parameterNotFoundAction": "Allow"});
    check("MutatingAdmissionPolicyBinding", json!({"spec": {"policyName": "p", "paramRef": param}}), &[]);
}
