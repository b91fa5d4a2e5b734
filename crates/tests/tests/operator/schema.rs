//! The definition of the kind, from its types.

use k8s_openapi::ByteString;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::site::{GROUP, KIND, OldSpec, PLURAL, SiteSpec, SiteStatus};

/// The name of the definition.
pub(crate) const NAME: &str = "sites.web.example.com";

/// The structural schema of a type: what OpenAPI 3 says, without references.
fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(map) = schema.as_object_mut() {
        map.remove("title");
    }
    schema
}

fn version<Spec: JsonSchema>(name: &str, is_stored: bool, replicas: &str) -> Value {
    let column = |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    json!({
        "name": name, "served": true, "storage": is_stored,
        "schema": {"openAPIV3Schema": {
            "type": "object", "required": ["spec"],
            "properties": {"spec": schema_of::<Spec>(), "status": schema_of::<SiteStatus>()},
        }},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": replicas, "statusReplicasPath": ".status.ready",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            column("Servers", "integer", replicas), column("Ready", "integer", ".status.ready"),
            column("Available", "string", ".status.conditions[?(@.type=='Available')].status"),
        ],
    })
}

/// The definition; objects are converted by a webhook at `url`.
pub(crate) fn definition(url: &str, ca: &ByteString) -> CustomResourceDefinition {
    let definition = json!({
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"kind": KIND, "plural": PLURAL, "singular": "site", "shortNames": ["st"], "categories": ["all"]},
            "versions": [
                version::<SiteSpec>("v1", true, ".spec.replicas"),
                version::<OldSpec>("v1alpha1", false, ".spec.size"),
            ],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"], "clientConfig": {"url": url, "caBundle": ca},
            }},
        },
    });
    serde_json::from_value(definition).expect("a definition")
}
