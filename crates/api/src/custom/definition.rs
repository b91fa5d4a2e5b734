//! From a `CustomResourceDefinition` to kinds.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use serde_json::json;

use super::names::Names;
use super::schema::Schema;
use super::{Compiled, Conversion, Custom, Definition, JsonPath, Scale, Version, columns, types};
use crate::kinds::{Generation, KindInfo, Subresource, api_version, metadata_fields};
use crate::value::{bool_at, get, list_at, str_at};
use crate::{Value, canon};

/// Of a kind whose definition goes: its objects can still be changed, so that whoever holds them lets go.
const LAST_VERBS: [&str; 7] = ["delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

fn texts(value: &Value, path: &str, names: &Names) -> Vec<&'static str> {
    list_at(value, path).iter().filter_map(Value::as_str).map(|name| names.intern(name)).collect()
}

/// The definitions that live, by what they say.
type Interned = HashMap<Box<[u8]>, Weak<Definition>>;

/// What a definition says, with the names that it was given (`status.acceptedNames`). The same content is the same definition,
/// wherever its [`webhook`] is.
///
/// `None` for one that lacks what every valid one has, and for one whose names do not fit beside those that were there since the
/// process began ([`super::names`]).
#[must_use]
pub fn of(object: &Value) -> Option<Arc<Definition>> {
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
    if let Some(known) = interned.get(&key).and_then(Weak::upgrade) {
        return Some(known);
    }
    let made = make(&content)?;
    interned.retain(|_, known| known.strong_count() > 0);
    interned.insert(key, Arc::downgrade(&made));
    Some(made)
}

/// The webhook that converts what the definition defines, if one does: its `spec.conversion.webhook`.
#[must_use]
pub fn webhook(object: &Value) -> Option<&Value> {
    let conversion = get(object, "spec.conversion").filter(|c| str_at(c, "strategy") == Some("Webhook"))?;
    conversion.get("webhook")
}

fn make(content: &Value) -> Option<Arc<Definition>> {
    let (group, plural) = (str_at(content, "group")?, str_at(content, "names.plural")?);
    let definition = Arc::new(Definition {
        name: format!("{plural}.{group}"),
        group: group.to_owned(),
        storage_prefix: format!("/registry/{group}/{plural}/"),
        conversion: match str_at(content, "conversion") {
            Some("Webhook") => Conversion::Webhook,
            _ => Conversion::None,
        },
        form: form(content),
        versions: OnceLock::new(),
    });
    let names = Names::default();
    let versions = list_at(content, "versions");
    let api_versions: Vec<String> =
        versions.iter().filter_map(|v| Some(api_version(group, str_at(v, "name")?))).collect();
    let mut made = Vec::new();
    for (place, version) in (0..).zip(versions) {
        made.push(Version {
            kind: kind(content, (place, version), &definition, &api_versions, &names)?,
            served: bool_at(version, "served"),
            storage: bool_at(version, "storage"),
        });
    }
    definition.versions.get_or_init(|| made);
    names.fit().then_some(definition)
}

fn form(content: &Value) -> Vec<u8> {
    let each = |version: &Value| json!([version.get("name"), version.get("schema")]);
    let versions: Vec<Value> = list_at(content, "versions").iter().map(each).collect();
    canon::encode(&json!([versions, content.get("conversion"), content.get("preserve")]))
}

fn kind(
    content: &Value,
    (place, version): (u16, &Value),
    definition: &Arc<Definition>,
    api_versions: &[String],
    names: &Names,
) -> Option<KindInfo> {
    let (group, name) = (names.intern(&definition.group), names.intern(str_at(version, "name")?));
    let kind = names.intern(str_at(content, "names.kind")?);
    let namespaced = str_at(content, "scope") == Some("Namespaced");
    let type_name = format!("{group}/{name}.{kind}");
    let ty = Typed { name: names.intern(&type_name), api_versions: api_versions.to_vec() };
    let custom = custom(content, version, definition, ty, names);
    let mut selectable_fields = metadata_fields(namespaced);
    selectable_fields.extend(custom.selectable.iter().map(|(path, _)| Cow::Owned(path.clone())));
    Some(KindInfo {
        group,
        version: name,
        api_version: api_version(group, name),
        kind,
        resource: names.intern(str_at(content, "names.plural")?),
        singular: names.intern(str_at(content, "names.singular").unwrap_or_default()),
        namespaced,
        short_names: texts(content, "names.shortNames", names),
        categories: texts(content, "names.categories", names),
        verbs: if bool_at(content, "terminating") { LAST_VERBS.to_vec() } else { VERBS.to_vec() },
        type_name,
        storage_prefix: definition.storage_prefix.clone(),
        has_status: custom.has_status,
        tracks_generation: true,
        generation: if custom.has_status { Generation::Content } else { Generation::ContentAndStatus },
        subresources: subresources(&custom, group, name, kind),
        selectable_fields,
        deprecation: deprecation(version, &api_version(group, name), kind),
        hub: None,
        custom: Some(Box::new(custom)),
        place,
    })
}

/// What the type of a whole object is called, and the versions in which it is known.
struct Typed {
    name: &'static str,
    api_versions: Vec<String>,
}

fn custom(content: &Value, version: &Value, definition: &Arc<Definition>, ty: Typed, names: &Names) -> Custom {
    let mut source = get(version, "schema.openAPIV3Schema").cloned().unwrap_or_else(|| json!({"type": "object"}));
    if bool_at(content, "preserve") {
        source["x-kubernetes-preserve-unknown-fields"] = Value::Bool(true);
    }
    let schema = Schema::parse(&source);
    let list_kind = str_at(content, "names.listKind").filter(|k| !k.is_empty());
    let list_kind =
        list_kind.map_or_else(|| format!("{}List", ty.name.rsplit('.').next().unwrap_or_default()), str::to_owned);
    let selectable = list_at(version, "selectableFields").iter().filter_map(|field| {
        let path = str_at(field, "jsonPath")?;
        Some((path.strip_prefix('.').unwrap_or(path).to_owned(), JsonPath::parse(path).ok()?))
    });
    Custom {
        ty: types::of(ty.name, &schema, ty.api_versions, names),
        list_kind,
        columns: columns::of(version),
        scale: scale(version),
        selectable: selectable.collect(),
        has_status: get(version, "subresources.status").is_some_and(Value::is_object),
        schema,
        source,
        compiled: Compiled::default(),
        definition: Arc::downgrade(definition),
    }
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

fn deprecation(version: &Value, api_version: &str, kind: &str) -> Option<Cow<'static, str>> {
    let said = str_at(version, "deprecationWarning").map(str::to_owned);
    bool_at(version, "deprecated").then(|| said.unwrap_or_else(|| format!("{api_version} {kind} is deprecated")).into())
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

    #[test]
    fn a_definition_goes_with_the_last_that_holds_one_of_its_kinds() {
        let object = json!({
            "spec": {
                "group": "going.example.com", "scope": "Namespaced",
                "versions": [{"name": "v1", "served": true, "storage": true}, {"name": "v2", "served": true, "storage": false}],
            },
            "status": {"acceptedNames": {"plural": "things", "kind": "Thing"}},
        });
        let made = of(&object).expect("valid");
        let lives = Arc::downgrade(&made);
        let held = made.version("v2").expect("defined").held();
        drop(made);
        assert!(of(&object).is_some_and(|same| lives.upgrade().is_some_and(|made| Arc::ptr_eq(&made, &same))));
        let storage = held.definition().and_then(|definition| definition.storage()).map(|kind| kind.version);
        assert_eq!((held.version, held.held().resource, storage), ("v2", "things", Some("v1")));
        drop(held);
        assert!(lives.upgrade().is_none());
        assert!(of(&object).is_some(), "it is made anew");
    }
}
