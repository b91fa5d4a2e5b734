//! Defaults of webhooks and of admission policies.

use super::{fill, fill_object, object_in, objects_in};
use crate::value::object_mut;
use crate::{Object, Value};

/// Seconds that a webhook may take.
const TIMEOUT_SECONDS: i64 = 10;
/// The port of a webhook's Service.
const PORT: i64 = 443;

/// Fills in a configuration, policy or binding of `admissionregistration.k8s.io/v1`.
pub(super) fn registration(kind: &str, object: &mut Value) {
    match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            let Some(configuration) = object.as_object_mut() else { return };
            let mutating = kind.starts_with("Mutating");
            objects_in(configuration, "webhooks").for_each(|hook| webhook(hook, mutating));
        }
        _ => {
            let Some(spec) = object_mut(object, "spec") else { return };
            if !kind.ends_with("Binding") {
                fill(spec, "failurePolicy", "Fail");
            }
            for criteria in ["matchConstraints", "matchResources"] {
                object_in(spec, criteria).into_iter().for_each(match_resources);
            }
        }
    }
}

fn webhook(hook: &mut Object, mutating: bool) {
    fill(hook, "failurePolicy", "Fail");
    fill(hook, "matchPolicy", "Equivalent");
    fill_object(hook, "namespaceSelector");
    fill_object(hook, "objectSelector");
    fill(hook, "timeoutSeconds", TIMEOUT_SECONDS);
    if mutating {
        fill(hook, "reinvocationPolicy", "Never");
    }
    objects_in(hook, "rules").for_each(|rule| fill(rule, "scope", "*"));
    if let Some(service) = object_in(hook, "clientConfig").and_then(|config| object_in(config, "service")) {
        fill(service, "port", PORT);
    }
}

fn match_resources(criteria: &mut Object) {
    fill(criteria, "matchPolicy", "Equivalent");
    fill_object(criteria, "namespaceSelector");
    fill_object(criteria, "objectSelector");
    for rules in ["resourceRules", "excludeResourceRules"] {
        objects_in(criteria, rules).for_each(|rule| fill(rule, "scope", "*"));
    }
}
