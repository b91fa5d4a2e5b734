//! The served form of a stored value. Ours are served as they are; a foreign writer's protobuf is decoded once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gantry_api::convert::older;
use gantry_api::kinds::KindInfo;
use gantry_api::{Value, canon, convert, decode, defaults, kinds, value};
use gantry_store::cache::Normalise;
use gantry_store::encoded::Encoded;
use serde::Deserialize;

use crate::custom::form::{self, Forms};
use crate::custom::old;

/// What the cache does with a value that it reads.
pub(crate) struct Stored {
    forms: Arc<Forms>,
}

impl Stored {
    pub(crate) fn new(forms: Arc<Forms>) -> Self {
        Self { forms }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Normalise for Stored {
    fn normalise(&self, key: &str, value: &Bytes, mod_revision: u64) -> Result<Encoded, Error> {
        if let Some(definition) = self.forms.of(key) {
            let mut object: Value = serde_json::from_slice(value)?;
            form::settle_stored(&definition, &mut object);
            return Ok(Encoded::from_json(&canon::encode(&object), mod_revision)?);
        }
        match foreign(key, value)? {
            Some(object) => Ok(Encoded::from_json(&canon::encode(&object), mod_revision)?),
            None => Ok(Encoded::from_json(value, mod_revision)?),
        }
    }
}

/// What a foreign writer stored in another form (protobuf, another version), in ours. Nothing for a value in our form.
pub(crate) fn foreign(key: &str, value: &[u8]) -> Result<Option<Value>, Error> {
    let kind = kinds::by_storage_key(key);
    let mut object = if value.starts_with(&decode::PROTOBUF_MAGIC) {
        decode::stored_protobuf(value)?
    } else if kind.is_some_and(|kind| is_another_version(kind, value)) {
        serde_json::from_slice(value)?
    } else if kind.is_some_and(|kind| kind.is("apiextensions.k8s.io", "CustomResourceDefinition")) && old::may_be(value)
    {
        let mut definition = serde_json::from_slice(value)?;
        old::to_v1(&mut definition);
        definition
    } else if kind.is_some() && older::may_be(value) {
        let object: Value = serde_json::from_slice(value)?;
        if !older::is_older(&object) {
            return Ok(None);
        }
        object
    } else {
        return Ok(None);
    };
    if let Some(kind) = kind {
        older::to_current(&mut object);
        to_stored_form(&mut object);
        defaults::apply(kind, &mut object).map_err(|status| status.message)?;
        // Another version may write zeros where this one leaves them out.
        decode::conform(&mut object, kind.type_name.as_str())?;
    }
    Ok(Some(object))
}

/// Whether a foreign writer has stored the object in another of its versions. Ours write the hub's only.
fn is_another_version(hub: &KindInfo, json: &[u8]) -> bool {
    /// By storage prefix: how objects in the other versions begin.
    static OTHERS: OnceLock<BTreeMap<&str, Vec<String>>> = OnceLock::new();
    let others = OTHERS.get_or_init(|| {
        let mut others: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for kind in kinds::all().iter().filter(|k| k.is_converted()) {
            let version = format!("\"apiVersion\":\"{}\"", kind.api_version);
            others.entry(kind.storage_prefix.as_str()).or_default().push(version);
        }
        others
    });
    let of_kind = others.get(hub.storage_prefix.as_str());
    let names = |version: &String| memchr::memmem::find(json, version.as_bytes()).is_some();
    // Managed fields name other versions, too.
    of_kind.is_some_and(|versions| versions.iter().any(names)) && !is_of_version(hub, json)
}

/// Whether the object itself says that it is in the kind's version.
fn is_of_version(hub: &KindInfo, json: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version<'a> {
        #[serde(borrow)]
        api_version: Cow<'a, str>,
    }
    serde_json::from_slice::<Version<'_>>(json).is_ok_and(|version| version.api_version == hub.api_version)
}

fn to_stored_form(object: &mut Value) {
    let at = |path| value::str_at(object, path).unwrap_or_default();
    if let Some(kind) = kinds::by_api_version(at("apiVersion"), at("kind")) {
        convert::to_hub(kind, object);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn other_versions_are_served_in_the_stored_form() {
        let normal = |key: &str, object: Value| {
            let encoded =
                Stored::new(Arc::default()).normalise(key, &Bytes::from(object.to_string()), 7).expect("valid");
            serde_json::from_slice::<Value>(encoded.json()).expect("JSON")
        };
        let metadata = json!({"name": "e", "namespace": "n"});
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": metadata, "note": "text"});
        let stored = normal("/registry/events/n/e", event);
        assert_eq!((&stored["apiVersion"], &stored["message"]), (&json!("v1"), &json!("text")));
        let scaler = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": metadata,
            "spec": {"maxReplicas": 2, "targetCPUUtilizationPercentage": 5}});
        let stored = normal("/registry/horizontalpodautoscalers/n/e", scaler);
        assert_eq!(stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 5);
        let plain = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        assert_eq!(normal("/registry/configmaps/n/e", plain)["kind"], "ConfigMap");
    }
}
