//! The published schemas: every manifest is valid by them, and every field that it sets is explained.

use std::collections::{BTreeMap, BTreeSet};

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
        if let Some(values) = schema["enum"].as_array()
            && !values.contains(value)
        {
            wrong.push(format!("{path}: {value} is none of {values:?}"));
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(required).is_none() {
                wrong.push(format!("{path}: {required} is required"));
            }
        }
        self.inside(schema, value, path, wrong);
    }

    /// The places in a value whose schemas list what may be there, as JSON pointers, and the lists.
    fn enumerated(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<(String, BTreeSet<String>)>) {
        let schema = self.resolve(schema);
        if let Some(values) = schema["enum"].as_array() {
            found.push((at.to_owned(), values.iter().filter_map(Value::as_str).map(str::to_owned).collect()));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.enumerated(&schema["items"], item, &format!("{at}/{index}"), found);
        }
        for (name, item) in value.as_object().into_iter().flatten() {
            let held = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
            if let Some(held) = held {
                let name = name.replace('~', "~0").replace('/', "~1");
                self.enumerated(held, item, &format!("{at}/{name}"), found);
            }
        }
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

/// The documents that are asked for, by group and version.
#[derive(Default)]
struct Documents(BTreeMap<&'static str, Schemas>);

impl Documents {
    /// That of a kind.
    async fn of(&mut self, kind: &'static KindInfo, client: &Client) -> &Schemas {
        if !self.0.contains_key(kind.api_version.as_str()) {
            let index = client.get("/openapi/v3").await.json();
            let root = if kind.group.is_empty() { "api" } else { "apis" };
            let path = &index["paths"][format!("{root}/{}", kind.api_version)]["serverRelativeURL"];
            let document = client.get(path.as_str().expect("a link")).await.json();
            self.0.insert(&kind.api_version, Schemas(document));
        }
        &self.0[kind.api_version.as_str()]
    }
}

#[tokio::test]
async fn manifests_of_every_kind_are_valid_by_the_published_schemas_and_explained() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let mut documents = Documents::default();
    let mut wrong = Vec::new();
    for kind in stored() {
        let schemas = documents.of(kind, &client).await;
        let subject = Subject::new(kind, &client);
        for turn in 0..manifest::count(kind) {
            schemas.check(schemas.of(kind), &manifest::manifest(kind, turn), &subject.says(), &mut wrong);
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Fields of which a refusal lists other values than the schema, as upstream's does: by the last two names of the way there.
const LISTED_OTHERWISE: &[(&str, &[&str])] = &[
    // Feature TaintTolerationComparisonOperators is off.
    ("tolerations.operator", &["Equal", "Exists"]),
    ("spec.ipFamilies", &["IPv4", "IPv6"]),
    (".reclaimPolicy", &["Delete", "Retain"]),
    ("webhooks.sideEffects", &["None", "NoneOnDryRun"]),
    // Beside a podFailurePolicy.
    ("spec.podReplacementPolicy", &["Failed"]),
    // The refusal has other words, or shows the whole structure.
    ("matchExpressions.operator", &[]),
    ("matchFields.operator", &[]),
    ("matchExpressions.scopeName", &[]),
    ("spec.scopes", &[]),
    ("spec.podManagementPolicy", &[]),
    ("strategy.type", &[]),
    ("updateStrategy.type", &[]),
    // Admission says what it is.
    ("spec.preemptionPolicy", &[]),
    // Nobody looks at the status in a template of a claim.
    ("status.accessModes", &[]),
    ("status.phase", &[]),
    ("allocatedResourceStatuses.storage", &[]),
    ("modifyVolumeStatus.status", &[]),
];

/// What a refusal says is supported in the place of a value that nobody supports.
fn supported(answer: &Value) -> Option<BTreeSet<String>> {
    let causes = answer["details"]["causes"].as_array().into_iter().flatten();
    let mut said = causes.filter_map(|cause| cause["message"].as_str());
    let list = said.find_map(|text| text.strip_prefix("Unsupported value: \"Nonsense\": supported values: "))?;
    Some(list.split(", ").map(|value| value.trim_matches('"').to_owned()).collect())
}

/// Where a refusal lists what is supported, the published schema lists the same (KEP-2887).
#[tokio::test]
async fn validation_supports_what_schemas_enumerate() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let (mut documents, mut asked, mut wrong) = (Documents::default(), BTreeSet::new(), Vec::new());
    for kind in stored() {
        let schemas = documents.of(kind, &client).await;
        let subject = Subject::new(kind, &client);
        for turn in 0..manifest::count(kind) {
            let sent = subject.free(turn);
            let mut places = Vec::new();
            schemas.enumerated(schemas.of(kind), &sent, "", &mut places);
            for (place, values) in places {
                let names: Vec<&str> = place.split('/').filter(|name| name.parse::<usize>().is_err()).collect();
                let field = names[names.len().saturating_sub(2)..].join(".");
                if !asked.insert(field.clone()) {
                    continue;
                }
                let mut changed = sent.clone();
                *changed.pointer_mut(&place).expect("found there") = "Nonsense".into();
                let answer = subject.ask("POST", "?dryRun=All", &[], changed.to_string()).await;
                let known = LISTED_OTHERWISE.iter().find(|(name, _)| *name == field);
                let expected = known.map_or(values, |(_, known)| known.iter().map(|v| (*v).to_owned()).collect());
                let said = supported(&answer.json()).unwrap_or_default();
                if said != expected {
                    wrong.push(format!("{} {place}: {said:?}, not {expected:?}: {}", subject.says(), answer.text));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let never: Vec<_> = LISTED_OTHERWISE.iter().filter(|(name, _)| !asked.contains(*name)).collect();
    assert!(never.is_empty(), "no manifest has {never:?}");
}
