//! The published schemas: every manifest is valid by them, and every field that it sets is explained.

use std::collections::BTreeMap;

use gantry_api::kinds::KindInfo;
use serde_json::Value;

use crate::client::Client;
use crate::manifest;
use crate::subject::{Subject, stored, world};

/// Fields that upstream does not explain either.
const UNEXPLAINED: &[&str] =
    &["certificates.k8s.io/v1 CertificateSigningRequest.metadata", "networking.k8s.io/v1 Ingress.spec.rules[0].http"];

/// The schemas of one group and version.
struct Schemas(Value);

impl Schemas {
    /// The schema behind a reference, with what `allOf` of one adds.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        loop {
            let inner = schema["allOf"].as_array().and_then(|all| all.first()).unwrap_or(schema);
            let Some(name) = inner["$ref"].as_str() else { return inner };
            let name = name.rsplit('/').next().unwrap_or_default();
            schema = &self.0["components"]["schemas"][name];
            assert!(schema.is_object(), "no schema {name}");
        }
    }

    /// The schema of a kind.
    fn of(&self, kind: &KindInfo) -> &Value {
        let is = |s: &&Value| {
            let named = s["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
            named
                .into_iter()
                .any(|g| g["kind"] == kind.kind && g["group"] == kind.group && g["version"] == kind.version)
        };
        let all = self.0["components"]["schemas"].as_object().into_iter().flatten().map(|(_, s)| s);
        all.into_iter().find(is).unwrap_or_else(|| panic!("a schema of {}", kind.kind))
    }

    /// What is wrong with a value.
    fn check(&self, schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
        let schema = self.resolve(schema);
        let fits = match schema["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            Some(other) => panic!("{path}: type {other}"),
            // Of any type, or of one of several.
            None => schema.get("properties").is_none(),
        };
        if !fits {
            wrong.push(format!("{path}: {value} is not of type {}", schema["type"]));
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(required).is_none() {
                wrong.push(format!("{path}: {required} is required"));
            }
        }
        self.inside(schema, value, path, wrong);
    }

    fn inside(&self, schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{path}[{index}]"), wrong);
        }
        let free = schema.get("properties").is_none() && schema.get("additionalProperties").is_none();
        for (name, item) in value.as_object().into_iter().flatten().filter(|_| !free) {
            let path = format!("{path}.{name}");
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(field), _) => {
                    // Nor what schemas say.
                    let silent = path.contains(".openAPIV3Schema.") || UNEXPLAINED.iter().any(|known| path == *known);
                    if field["description"].as_str().is_none_or(str::is_empty) && !silent {
                        wrong.push(format!("{path} is not explained"));
                    }
                    self.check(field, item, &path, wrong);
                }
                (None, Some(any)) => self.check(any, item, &path, wrong),
                (None, None) => wrong.push(format!("{path} is not in the schema")),
            }
        }
    }
}

#[tokio::test]
async fn manifests_of_every_kind_are_valid_by_the_published_schemas_and_explained() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let index = client.get("/openapi/v3").await.json();
    let mut documents: BTreeMap<&str, Schemas> = BTreeMap::new();
    let mut wrong = Vec::new();
    for kind in stored() {
        if !documents.contains_key(kind.api_version.as_str()) {
            let root = if kind.group.is_empty() { "api" } else { "apis" };
            let path = &index["paths"][format!("{root}/{}", kind.api_version)]["serverRelativeURL"];
            let document = client.get(path.as_str().expect("a link")).await.json();
            documents.insert(&kind.api_version, Schemas(document));
        }
        let schemas = &documents[kind.api_version.as_str()];
        let subject = Subject::new(kind, &client);
        for turn in 0..manifest::count(kind) {
            schemas.check(schemas.of(kind), &manifest::manifest(kind, turn), &subject.says(), &mut wrong);
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
