//! What lies in the volumes that are made of API objects; pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapProjection, ConfigMapVolumeSource, DownwardAPIVolumeFile, KeyToPath, Pod, Secret,
    SecretProjection, SecretVolumeSource,
};

use super::Error;
use crate::pod::{self, env};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Its bytes.
    pub(crate) content: Vec<u8>,
    /// Its permissions.
    pub(crate) mode: u32,
}

/// Files by their path in the volume.
pub(crate) type Payload = BTreeMap<String, File>;

const DEFAULT_MODE: i32 = 0o644;

fn permissions(own: Option<i32>, volume: Option<i32>) -> u32 {
    u32::try_from(own.or(volume).unwrap_or(DEFAULT_MODE)).unwrap_or(0o644) & 0o777
}

/// Refuses paths that could leave the volume or collide with the writer's own names.
fn clean(path: &str) -> Result<(), Error> {
    let bad = path.is_empty()
        || path.starts_with('/')
        || path.split('/').any(|part| part.is_empty() || part == "." || part == "..")
        || path.starts_with("..");
    if bad { Err(Error::Path(path.to_owned())) } else { Ok(()) }
}

/// A single file.
pub(super) fn file(path: &str, content: Vec<u8>, mode: Option<i32>) -> Result<Payload, Error> {
    clean(path)?;
    Ok([(path.to_owned(), File { content, mode: permissions(None, mode) })].into())
}

/// The keys of an object as files: all of them, or those that are named.
fn select(
    data: &BTreeMap<String, Vec<u8>>,
    items: Option<&Vec<KeyToPath>>,
    mode: Option<i32>,
    optional: bool,
    kind: &'static str,
) -> Result<Payload, Error> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let all = data.iter().map(|(k, v)| (k.clone(), File { content: v.clone(), mode: permissions(None, mode) }));
        return Ok(all.collect());
    };
    let mut payload = Payload::new();
    for item in items {
        clean(&item.path)?;
        match data.get(&item.key) {
            Some(content) => {
                let file = File { content: content.clone(), mode: permissions(item.mode, mode) };
                payload.insert(item.path.clone(), file);
            }
            None if optional => {}
            None => return Err(Error::NoKey { kind, key: item.key.clone() }),
        }
    }
    Ok(payload)
}

fn map_data(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
    text.chain(binary).collect()
}

fn secret_data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect()
}

/// A missing object is an error, unless it is optional.
fn present<'a, T>(
    found: Option<&'a T>,
    optional: bool,
    kind: &'static str,
    name: &str,
) -> Result<Option<&'a T>, Error> {
    match found {
        None if !optional => Err(Error::NotFound { kind, name: name.to_owned() }),
        found => Ok(found),
    }
}

pub(super) fn config_map(source: &ConfigMapVolumeSource, found: Option<&ConfigMap>) -> Result<Payload, Error> {
    let optional = source.optional == Some(true);
    let data = present(found, optional, "configmap", &source.name)?.map(map_data).unwrap_or_default();
    let items = source.items.as_ref();
    select(&data, items, source.default_mode, optional, "config")
}

pub(super) fn secret(source: &SecretVolumeSource, found: Option<&Secret>) -> Result<Payload, Error> {
    let optional = source.optional == Some(true);
    let name = source.secret_name.as_deref().unwrap_or_default();
    let data = present(found, optional, "secret", name)?.map(secret_data).unwrap_or_default();
    select(&data, source.items.as_ref(), source.default_mode, optional, "secret")
}

pub(super) fn projected_config_map(
    source: &ConfigMapProjection,
    mode: Option<i32>,
    found: Option<&ConfigMap>,
) -> Result<Payload, Error> {
    let optional = source.optional == Some(true);
    let data = present(found, optional, "configmap", &source.name)?.map(map_data).unwrap_or_default();
    select(&data, source.items.as_ref(), mode, optional, "config")
}

pub(super) fn projected_secret(
    source: &SecretProjection,
    mode: Option<i32>,
    found: Option<&Secret>,
) -> Result<Payload, Error> {
    let optional = source.optional == Some(true);
    let data = present(found, optional, "secret", &source.name)?.map(secret_data).unwrap_or_default();
    select(&data, source.items.as_ref(), mode, optional, "secret")
}

/// Fields of the pod and resources of its containers as files.
pub(super) fn downward(
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    mode: Option<i32>,
    facts: &env::Sources,
) -> Result<Payload, Error> {
    let mut payload = Payload::new();
    for item in items {
        clean(&item.path)?;
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => env::field_value(pod, &field.field_path, facts)?,
            (None, Some(wanted)) => match pod::spec(pod).containers.first() {
                Some(container) => env::resource_value(pod, container, wanted, facts)?,
                None => String::new(),
            },
            (None, None) => String::new(),
        };
        payload.insert(item.path.clone(), File { content: text.into_bytes(), mode: permissions(item.mode, mode) });
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(value: serde_json::Value) -> ConfigMapVolumeSource {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn keys_become_files() {
        let map: ConfigMap =
            serde_json::from_value(json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}})).unwrap();
        let check = |value: serde_json::Value, expected: &[(&str, &[u8], u32)]| {
            let found = config_map(&source(value), Some(&map)).unwrap();
            let found: Vec<(&str, &[u8], u32)> =
                found.iter().map(|(path, f)| (path.as_str(), f.content.as_slice(), f.mode)).collect();
            assert_eq!(found, expected);
        };
        check(json!({"name": "m"}), &[("a", b"1", 0o644), ("b", b"2", 0o644), ("c", &[0, 1], 0o644)]);
        let items = json!({"name": "m", "defaultMode": 0o400, "items": [{"key": "b", "path": "x/y"}, {"key": "a", "path": "z", "mode": 0o755}]});
        check(items, &[("x/y", b"2", 0o400), ("z", b"1", 0o755)]);
    }

    #[test]
    fn secrets_and_projections_become_files_too() {
        let secret: Secret = serde_json::from_value(json!({"data": {"k": "AAE=", "l": "aGk="}})).unwrap();
        let map: ConfigMap = serde_json::from_value(json!({"data": {"k": "v"}})).unwrap();
        let check = |found: Result<Payload, Error>, expected: &[(&str, &[u8], u32)]| {
            let found = found.unwrap();
            let found: Vec<(&str, &[u8], u32)> =
                found.iter().map(|(path, f)| (path.as_str(), f.content.as_slice(), f.mode)).collect();
            assert_eq!(found, expected);
        };
        let source: SecretVolumeSource =
            serde_json::from_value(json!({"secretName": "s", "defaultMode": 0o400})).unwrap();
        check(super::secret(&source, Some(&secret)), &[("k", &[0, 1], 0o400), ("l", b"hi", 0o400)]);
        assert_eq!(super::secret(&source, None).unwrap_err().to_string(), "secret \"s\" not found");
        let part: SecretProjection =
            serde_json::from_value(json!({"name": "s", "items": [{"key": "l", "path": "x", "mode": 0o600}]})).unwrap();
        check(projected_secret(&part, Some(0o440), Some(&secret)), &[("x", b"hi", 0o600)]);
        let part: ConfigMapProjection = serde_json::from_value(json!({"name": "m"})).unwrap();
        check(projected_config_map(&part, Some(0o440), Some(&map)), &[("k", b"v", 0o440)]);
    }

    #[test]
    fn what_is_missing_is_named_unless_optional() {
        let check = |value: serde_json::Value, found: Option<&ConfigMap>, expected: Result<usize, &str>| {
            let result = config_map(&source(value), found).map(|p| p.len()).map_err(|e| e.to_string());
            assert_eq!(result, expected.map_err(str::to_owned));
        };
        let empty = ConfigMap::default();
        let item = |path: &str| json!({"name": "m", "items": [{"key": "k", "path": path}]});
        check(json!({"name": "m"}), None, Err("configmap \"m\" not found"));
        check(json!({"name": "m", "optional": true}), None, Ok(0));
        check(item("p"), Some(&empty), Err("references non-existent config key: k"));
        for path in ["../x", "/x", "a/../b", "..data", "a//b", ""] {
            check(item(path), Some(&empty), Err(&format!("the path {path:?} is not a clean relative path")));
        }
    }
}
