//! Definitions as upstream stores them: in apiextensions.k8s.io/v1beta1, which states at the top what is the same for all versions.

use gantry_api::value::{get, remove, set, str_at};
use gantry_api::{Object, Value};

const BEFORE: &str = "apiextensions.k8s.io/v1beta1";
const NOW: &str = "apiextensions.k8s.io/v1";

/// Whether stored JSON may be such a definition.
pub(crate) fn may_be(json: &[u8]) -> bool {
    memchr::memmem::find(json, BEFORE.as_bytes()).is_some()
}

/// Brings a definition to version 1.
pub(crate) fn to_v1(definition: &mut Value) {
    if str_at(definition, "apiVersion") != Some(BEFORE) {
        return;
    }
    set(definition, "apiVersion", NOW);
    let schema = remove(definition, "spec.validation");
    let subresources = remove(definition, "spec.subresources");
    let columns = remove(definition, "spec.additionalPrinterColumns");
    let fields = remove(definition, "spec.selectableFields");
    let only = remove(definition, "spec.version");
    let mut versions = get(definition, "spec.versions").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(name) = only.filter(|_| versions.is_empty()) {
        versions.push(serde_json::json!({"name": name, "served": true, "storage": true}));
    }
    for version in versions.iter_mut().filter_map(Value::as_object_mut) {
        let shared = [
            ("schema", &schema),
            ("subresources", &subresources),
            ("additionalPrinterColumns", &columns),
            ("selectableFields", &fields),
        ];
        for (name, value) in shared {
            if let Some(value) = value
                && !version.contains_key(name)
            {
                version.insert(name.to_owned(), value.clone());
            }
        }
        for column in version.get_mut("additionalPrinterColumns").and_then(Value::as_array_mut).into_iter().flatten() {
            rename(column, "JSONPath", "jsonPath");
        }
    }
    set(definition, "spec.versions", versions);
    // It was always written then, and is left out now where it says nothing.
    if get(definition, "spec.preserveUnknownFields") == Some(&Value::Bool(false)) {
        remove(definition, "spec.preserveUnknownFields");
    }
    conversion(definition);
}

fn rename(value: &mut Value, before: &str, now: &str) {
    if let Some(map) = value.as_object_mut()
        && let Some(held) = map.remove(before)
    {
        map.insert(now.to_owned(), held);
    }
}

fn conversion(definition: &mut Value) {
    let config = remove(definition, "spec.conversion.webhookClientConfig");
    let versions = remove(definition, "spec.conversion.conversionReviewVersions");
    let mut webhook = Object::new();
    webhook.extend(config.map(|config| ("clientConfig".to_owned(), config)));
    webhook.extend(versions.map(|versions| ("conversionReviewVersions".to_owned(), versions)));
    if !webhook.is_empty() {
        set(definition, "spec.conversion.webhook", Value::Object(webhook));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stood_at_the_top_stands_in_every_version() {
        let mut definition = json!({"apiVersion": BEFORE, "kind": "CustomResourceDefinition", "spec": {
            "version": "v1", "validation": {"openAPIV3Schema": {"type": "object"}},
            "versions": [{"name": "v1", "served": true, "storage": true}, {"name": "v2", "served": true, "storage": false}],
            "additionalPrinterColumns": [{"name": "A", "type": "string", "JSONPath": ".spec.a"}],
            "conversion": {"strategy": "Webhook", "webhookClientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v1"]}}});
        assert!(may_be(definition.to_string().as_bytes()));
        to_v1(&mut definition);
        let version = |name: &str, storage: bool| {
            json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object"}},
                "additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".spec.a"}]})
        };
        assert_eq!(
            definition["spec"],
            json!({"versions": [version("v1", true), version("v2", false)],
            "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v1"]}}})
        );
        let before = definition.clone();
        to_v1(&mut definition);
        assert_eq!(definition, before);
    }
}
