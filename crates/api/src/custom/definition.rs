//! From a `CustomResourceDefinition` to kinds.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::json;

use super::schema::Schema;
use super::{Conversion, Custom, Definition, JsonPath, Scale, Version, columns, types};
use crate::kinds::{Generation, KindInfo, Subresource, api_version};
use crate::value::{bool_at, get, list_at, str_at};
use crate::{Value, canon};

/// Of a kind whose definition goes: its objects can still be changed, so that whoever holds them lets go.
const LAST_VERBS: [&str; 7] = ["delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Text that lives for ever. Only called while a definition is interned.
pub(super) fn leak(text: &str) -> &'static str {
    if text.is_empty() { "" } else { Box::leak(Box::<str>::from(text)) }
}

fn texts(value: &Value, path: &str) -> Vec<&'static str> {
    list_at(value, path).iter().filter_map(Value::as_str).map(leak).collect()
}

/// The definitions known so far, by what they say.
type Interned = HashMap<Box<[u8]>, &'static Definition>;

/// What a definition says, with the names that it was given (`status.acceptedNames`). The same content is the same definition,
/// wherever its [`webhook`] is.
///
/// `None` for one that lacks what every valid one has.
#[must_use]
pub fn of(object: &Value) -> Option<&'static Definition> {
    static INTERNED: OnceLock<Mutex<Interned>> = OnceLock::new();
    let spec = object.get("spec")?;
    let names = get(object, "status.acceptedNames").filter(|n| str_at(n, "plural").is_some_and(|p| !p.is_empty()))?;
    let content = json!({
        "names": names, "group": spec.get("group")?, "scope": spec.get("scope")?, "versions": spec.get("versions")?,
        "conversion": get(spec, "conversion.strategy"), "preserve": spec.get("preserveUnknownFields"),
        "terminating": get(object, "metadata.deletionTimestamp").is_some(),
    });
    let key = canon::encode(&content).into_boxed_slice();
    let interned = INTERNED.get_or_init(Mutex::default);
    let mut interned = interned.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = interned.get(&key) {
        return Some(known);
    }
    let made = make(&content)?;
    interned.insert(key, made);
    Some(made)
}

/// The webhook that converts what the definition defines, if one does: its `spec.conversion.webhook`.
#[must_use]
pub fn webhook(object: &Value) -> Option<&Value> {
    let conversion = get(object, "spec.conversion").filter(|c| str_at(c, "strategy") == Some("Webhook"))?;
    conversion.get("webhook")
}

fn make(content: &Value) -> Option<&'static Definition> {
    let (group, plural) = (str_at(content, "group")?, str_at(content, "names.plural")?);
    let definition: &'static Definition = Box::leak(Box::new(Definition {
        name: format!("{plural}.{group}"),
        group: group.to_owned(),
        storage_prefix: format!("/registry/{group}/{plural}/"),
        conversion: match str_at(content, "conversion") {
            Some("Webhook") => Conversion::Webhook,
            _ => Conversion::None,
        },
        form: form(content),
        versions: OnceLock::new(),
    }));
    let versions = list_at(content, "versions");
    let api_versions: Vec<String> =
        versions.iter().filter_map(|v| Some(api_version(group, str_at(v, "name")?))).collect();
    let mut made = Vec::new();
    for version in versions {
        made.push(Version {
            kind: kind(content, version, definition, &api_versions)?,
            served: bool_at(version, "served"),
            storage: bool_at(version, "storage"),
        });
    }
    definition.versions.get_or_init(|| made);
    Some(definition)
}

fn form(content: &Value) -> Vec<u8> {
    let each = |version: &Value| json!([version.get("name"), version.get("schema")]);
    let versions: Vec<Value> = list_at(content, "versions").iter().map(each).collect();
    canon::encode(&json!([versions, content.get("conversion"), content.get("preserve")]))
}

fn kind(
    content: &Value,
    version: &Value,
    definition: &'static Definition,
    api_versions: &[String],
) -> Option<&'static KindInfo> {
    let (group, name) = (leak(&definition.group), leak(str_at(version, "name")?));
    let kind = leak(str_at(content, "names.kind")?);
    let namespaced = str_at(content, "scope") == Some("Namespaced");
    let type_name = format!("{group}/{name}.{kind}");
    let custom = custom(content, version, definition, leak(&type_name), api_versions);
    let mut selectable_fields = vec!["metadata.name"];
    if namespaced {
        selectable_fields.push("metadata.namespace");
    }
    selectable_fields.extend(custom.selectable.iter().map(|(path, _)| path.as_str()));
    Some(Box::leak(Box::new(KindInfo {
        group,
        version: name,
        api_version: api_version(group, name),
        kind,
        resource: leak(str_at(content, "names.plural")?),
        singular: leak(str_at(content, "names.singular").unwrap_or_default()),
        namespaced,
        short_names: texts(content, "names.shortNames"),
        categories: texts(content, "names.categories"),
        verbs: if bool_at(content, "terminating") { LAST_VERBS.to_vec() } else { VERBS.to_vec() },
        type_name,
        storage_prefix: definition.storage_prefix.clone(),
        has_status: custom.has_status,
        tracks_generation: true,
        generation: if custom.has_status { Generation::Content } else { Generation::ContentAndStatus },
        subresources: subresources(custom, group, name, kind),
        selectable_fields,
        deprecation: deprecation(version, &api_version(group, name), kind),
        hub: None,
        custom: Some(custom),
    })))
}

fn custom(
    content: &Value,
    version: &Value,
    definition: &'static Definition,
    type_name: &'static str,
    api_versions: &[String],
) -> &'static Custom {
    let mut source = get(version, "schema.openAPIV3Schema").cloned().unwrap_or_else(|| json!({"type": "object"}));
    if bool_at(content, "preserve") {
        source["x-kubernetes-preserve-unknown-fields"] = Value::Bool(true);
    }
    let schema = Schema::parse(&source);
    let list_kind = str_at(content, "names.listKind").filter(|k| !k.is_empty());
    let list_kind =
        list_kind.map_or_else(|| format!("{}List", type_name.rsplit('.').next().unwrap_or_default()), str::to_owned);
    let (columns, cells) = columns::of(version);
    let selectable = list_at(version, "selectableFields").iter().filter_map(|field| {
        let path = str_at(field, "jsonPath")?;
        Some((path.strip_prefix('.').unwrap_or(path).to_owned(), JsonPath::parse(path).ok()?))
    });
    Box::leak(Box::new(Custom {
        ty: types::of(type_name, &schema, api_versions.to_vec()),
        list_kind,
        columns,
        cells,
        scale: scale(version),
        selectable: selectable.collect(),
        has_status: get(version, "subresources.status").is_some_and(Value::is_object),
        schema,
        source,
        definition,
    }))
}

fn scale(version: &Value) -> Option<Scale> {
    let scale = get(version, "subresources.scale").filter(|scale| scale.is_object())?;
    let path = |name: &str| {
        let path = str_at(scale, name)?;
        Some(path.strip_prefix('.').unwrap_or(path).to_owned()).filter(|p| !p.is_empty())
    };
    Some(Scale {
        replicas: path("specReplicasPath")?,
        status_replicas: path("statusReplicasPath")?,
        selector: path("labelSelectorPath"),
    })
}

fn subresources(custom: &Custom, group: &'static str, version: &'static str, kind: &'static str) -> Vec<Subresource> {
    let verbs = vec!["get", "patch", "update"];
    let mut found = Vec::new();
    if custom.has_status {
        found.push(Subresource { name: "status", group, version, kind, verbs: verbs.clone(), foreign: false });
    }
    if custom.scale.is_some() {
        let (group, version) = ("autoscaling", "v1");
        found.push(Subresource { name: "scale", group, version, kind: "Scale", verbs, foreign: true });
    }
    found
}

fn deprecation(version: &Value, api_version: &str, kind: &str) -> Option<&'static str> {
    let said = str_at(version, "deprecationWarning").map(str::to_owned);
    bool_at(version, "deprecated").then(|| leak(&said.unwrap_or_else(|| format!("{api_version} {kind} is deprecated"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_moves_or_shows_another_certificate_makes_no_other_definition() {
        let definition = |strategy: &str, bundle: &str| {
            json!({
                "spec": {
                    "group": "moving.example.com", "scope": "Namespaced",
                    "versions": [{"name": "v1", "served": true, "storage": true}],
                    "conversion": {"strategy": strategy, "webhook": {"clientConfig": {"caBundle": bundle}}},
                },
                "status": {"acceptedNames": {"plural": "things", "kind": "Thing"}},
            })
        };
        let (one, two) = (definition("Webhook", "YQ=="), definition("Webhook", "Yg=="));
        let made = of(&one).expect("valid");
        assert_eq!(made.conversion, Conversion::Webhook);
        assert!(of(&two).is_some_and(|same| same == made));
        assert!(of(&definition("None", "")).is_some_and(|other| other != made));
        assert_eq!(webhook(&two).and_then(|webhook| str_at(webhook, "clientConfig.caBundle")), Some("Yg=="));
        assert_eq!(webhook(&definition("None", "YQ==")), None);
    }
}
