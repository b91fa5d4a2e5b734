//! A container's environment: services, `envFrom`, `env`, and `$(NAME)` references; pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, ResourceFieldSelector, Secret, Service};

use super::resources;

/// The objects that an environment may be made from.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// By name, in the pod's namespace.
    pub(crate) config_maps: BTreeMap<String, ConfigMap>,
    /// By name, in the pod's namespace.
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Those of the pod's namespace and `default/kubernetes`.
    pub(crate) services: Vec<std::sync::Arc<Service>>,
    /// The node's address.
    pub(crate) host_ip: String,
    /// The pod's address.
    pub(crate) pod_ip: String,
    /// What the node can give, for limits that were not stated: thousandths of a CPU, bytes of memory.
    pub(crate) node_cpu_milli: i64,
    /// See above.
    pub(crate) node_memory_bytes: i64,
}

/// Something that the environment refers to is not there; in upstream's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// No such ConfigMap or Secret.
    #[error("{kind} \"{name}\" not found")]
    NoObject {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// No such key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// The pod's namespace.
        namespace: String,
        /// The object's name.
        name: String,
    },
    /// A field reference that cannot be read.
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    /// A resource reference that cannot be read.
    #[error("container resource {0} is not supported by resourceFieldRef")]
    Resource(String),
}

/// The names of the ConfigMaps and Secrets that an environment needs: (config maps, secrets).
pub(crate) fn references(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    for from in container.env_from.iter().flatten() {
        maps.extend(from.config_map_ref.as_ref().map(|r| r.name.clone()));
        secrets.extend(from.secret_ref.as_ref().map(|r| r.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()) {
        maps.extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
    }
    (maps, secrets)
}

/// The environment, later entries over earlier ones: services, then `envFrom`, then `env`.
pub(crate) fn resolve(pod: &Pod, container: &Container, from: &Sources) -> Result<BTreeMap<String, String>, Error> {
    let services = services(pod, from);
    let mut result = from_objects(container, from)?;
    // References see what was defined before them, and the services.
    for var in container.env.iter().flatten() {
        let value = match (&var.value, &var.value_from) {
            (_, Some(source)) => match lookup(pod, container, source, from)? {
                Some(value) => value,
                None => continue,
            },
            (Some(value), None) => expand(value, |name| result.get(name).or_else(|| services.get(name)).cloned()),
            (None, None) => String::new(),
        };
        result.insert(var.name.clone(), value);
    }
    for (name, value) in services {
        result.entry(name).or_insert(value);
    }
    Ok(result)
}

fn from_objects(container: &Container, from: &Sources) -> Result<BTreeMap<String, String>, Error> {
    let mut result = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(wanted) = &source.config_map_ref {
            match from.config_maps.get(&wanted.name) {
                Some(map) => {
                    let data = map.data.iter().flatten();
                    result.extend(data.map(|(k, v)| (format!("{prefix}{k}"), v.clone())));
                }
                None => absent(wanted.optional, "configmap", &wanted.name)?,
            }
        }
        if let Some(wanted) = &source.secret_ref {
            match from.secrets.get(&wanted.name) {
                Some(secret) => {
                    let data = secret.data.iter().flatten();
                    result.extend(data.map(|(k, v)| (format!("{prefix}{k}"), text(&v.0))));
                }
                None => absent(wanted.optional, "secret", &wanted.name)?,
            }
        }
    }
    // A name that the shell could not use is skipped, not fatal.
    result.retain(|name: &String, _| !name.is_empty() && !name.contains(['=', '\0']));
    Ok(result)
}

fn absent(optional: Option<bool>, kind: &'static str, name: &str) -> Result<(), Error> {
    if optional == Some(true) { Ok(()) } else { Err(Error::NoObject { kind, name: name.to_owned() }) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The value of a reference; `None` for an optional one without a target.
fn lookup(pod: &Pod, container: &Container, source: &EnvVarSource, from: &Sources) -> Result<Option<String>, Error> {
    if let Some(field) = &source.field_ref {
        return field_value(pod, &field.field_path, from).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_value(pod, container, resource, from).map(Some);
    }
    if let Some(wanted) = &source.config_map_key_ref {
        let Some(map) = from.config_maps.get(&wanted.name) else {
            return absent(wanted.optional, "configmap", &wanted.name).map(|()| None);
        };
        let found = map.data.as_ref().and_then(|data| data.get(&wanted.key)).cloned();
        return found_or(pod, found, wanted.optional, "ConfigMap", &wanted.name, &wanted.key);
    }
    if let Some(wanted) = &source.secret_key_ref {
        let Some(secret) = from.secrets.get(&wanted.name) else {
            return absent(wanted.optional, "secret", &wanted.name).map(|()| None);
        };
        let found = secret.data.as_ref().and_then(|data| data.get(&wanted.key)).map(|v| text(&v.0));
        return found_or(pod, found, wanted.optional, "Secret", &wanted.name, &wanted.key);
    }
    Ok(None)
}

fn found_or(
    pod: &Pod,
    found: Option<String>,
    optional: Option<bool>,
    kind: &'static str,
    name: &str,
    key: &str,
) -> Result<Option<String>, Error> {
    if found.is_some() || optional == Some(true) {
        return Ok(found);
    }
    let namespace = super::reference(pod).namespace;
    Err(Error::NoKey { key: key.to_owned(), kind, namespace, name: name.to_owned() })
}

/// The value of a field of the pod, for the environment and the downward API.
pub(crate) fn field_value(pod: &Pod, path: &str, from: &Sources) -> Result<String, Error> {
    let reference = super::reference(pod);
    let meta = &pod.metadata;
    let spec = super::spec(pod);
    if let Some((map, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(Error::Field(path.to_owned())),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => reference.name,
        "metadata.namespace" => reference.namespace,
        "metadata.uid" => reference.uid,
        "metadata.labels" => pairs(meta.labels.as_ref()),
        "metadata.annotations" => pairs(meta.annotations.as_ref()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => from.host_ip.clone(),
        "status.podIP" | "status.podIPs" => from.pod_ip.clone(),
        _ => return Err(Error::Field(path.to_owned())),
    })
}

/// `key="value"` lines, sorted.
fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    let quoted = |value: &str| serde_json::to_string(value).unwrap_or_default();
    map.into_iter().flatten().map(|(k, v)| format!("{k}={}", quoted(v))).collect::<Vec<_>>().join("\n")
}

/// The value of a container's request or limit, in units of its divisor, rounded up.
pub(crate) fn resource_value(
    pod: &Pod,
    container: &Container,
    wanted: &ResourceFieldSelector,
    from: &Sources,
) -> Result<String, Error> {
    let named = wanted.container_name.as_ref().and_then(|name| super::find(pod, name));
    let container = named.as_ref().map_or(container, |(_, found)| found);
    let unknown = || Error::Resource(wanted.resource.clone());
    let (list, name) = wanted.resource.split_once('.').ok_or_else(unknown)?;
    let limits = match list {
        "limits" => true,
        "requests" => false,
        _ => return Err(unknown()),
    };
    let stated = resources::amount(container, limits, name);
    // An unlimited container may use the whole node.
    let milli_of_units = match (stated, name, limits) {
        (Some(amount), "cpu", _) => i128::from(amount),
        (Some(amount), ..) => i128::from(amount) * 1000,
        (None, "cpu", true) => i128::from(from.node_cpu_milli),
        (None, "memory", true) => i128::from(from.node_memory_bytes) * 1000,
        (None, ..) => 0,
    };
    let divisor = wanted.divisor.as_ref().and_then(|q| gantry_api::quantity::Quantity::parse(&q.0).ok());
    let divisor = divisor.map(|q| i128::from(q.milli())).filter(|d| *d > 0).unwrap_or(1000);
    Ok(((milli_of_units + divisor - 1) / divisor).to_string())
}

/// Replaces `$(NAME)`; `$$` stands for `$`; an unknown reference stays as it is.
pub(crate) fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// `FOO_SERVICE_HOST` and its kin, for every service with an address: those of the pod's own namespace where it wants
/// them, and always the API server's.
fn services(pod: &Pod, from: &Sources) -> BTreeMap<String, String> {
    let namespace = super::reference(pod).namespace;
    let links = super::spec(pod).enable_service_links != Some(false);
    let mut result = BTreeMap::new();
    for service in &from.services {
        let (ns, name) = (service.metadata.namespace.as_deref(), service.metadata.name.as_deref().unwrap_or_default());
        let master = ns == Some("default") && name == "kubernetes";
        if master || (links && ns == Some(namespace.as_str())) {
            service_variables(service, name, &mut result);
        }
    }
    result
}

fn service_variables(service: &Service, name: &str, result: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let prefix = name.to_uppercase().replace('-', "_");
    let mut set = |key: String, value: String| drop(result.insert(format!("{prefix}_{key}"), value));
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        let number = port.port;
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{ip}:{number}", protocol.to_lowercase());
        if index == 0 {
            set("SERVICE_HOST".to_owned(), ip.to_owned());
            set("SERVICE_PORT".to_owned(), number.to_string());
            set("PORT".to_owned(), url.clone());
        }
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            set(format!("SERVICE_PORT_{}", port_name.to_uppercase().replace('-', "_")), number.to_string());
        }
        let key = format!("PORT_{number}_{protocol}");
        set(format!("{key}_PROTO"), protocol.to_lowercase());
        set(format!("{key}_PORT"), number.to_string());
        set(format!("{key}_ADDR"), ip.to_owned());
        set(key, url);
    }
}

/// A container's command or arguments with references replaced.
pub(crate) fn expand_all(list: Option<&Vec<String>>, env: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let list = list.filter(|list| !list.is_empty())?;
    Some(list.iter().map(|text| expand(text, |name| env.get(name).cloned())).collect())
}

#[cfg(test)]
mod tests;
