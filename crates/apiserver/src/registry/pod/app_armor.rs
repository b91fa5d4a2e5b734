//! `AppArmor` profiles that annotations give to containers become fields when a pod is created.

use std::collections::HashSet;

use gantry_api::containers::Sort;
use gantry_api::{Object, Value, value};
use serde_json::json;

/// Before the name of a container.
const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
/// The longest name of a profile on a node.
const PROFILE_BYTES: usize = 4095;

/// What an annotation says for a container that has no profile: its place, and the profile if there is such a one.
struct Stated {
    list: &'static str,
    index: usize,
    annotation: String,
    profile: Option<Value>,
}

/// Gives containers the profiles of annotations that differ from the pod's.
pub(super) fn apply(pod: &mut Value) {
    let own = value::get(pod, "spec.securityContext.appArmorProfile").cloned();
    for stated in all(pod) {
        let Some(profile) = stated.profile.filter(|profile| own.as_ref() != Some(profile)) else { continue };
        let list = value::get_mut(pod, "spec").and_then(|spec| spec.get_mut(stated.list));
        if let Some(container) = list.and_then(|list| list.get_mut(stated.index)) {
            value::set(container, "securityContext.appArmorProfile", profile);
        }
    }
}

/// The warnings about those annotations, and about annotations that give no profile.
pub(super) fn outdated(pod: &Value) -> Vec<String> {
    let own = value::get(pod, "spec.securityContext.appArmorProfile");
    let told = all(pod).into_iter().filter(|stated| stated.profile.is_none() || stated.profile.as_ref() != own);
    let why = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
    told.map(|stated| format!("metadata.annotations[{}]: {why}", stated.annotation)).collect()
}

fn all(pod: &Value) -> Vec<Stated> {
    let Some(annotations) = value::map_at(pod, "metadata.annotations") else { return Vec::new() };
    let has_any = annotations.keys().any(|key| key.starts_with(ANNOTATION));
    if !has_any || value::str_at(pod, "spec.os.name") == Some("windows") {
        return Vec::new();
    }
    let mut found = Vec::new();
    // A pod in which two have one name is refused; until then a profile is not repeated for all of them.
    let mut named = HashSet::new();
    for list in [Sort::Init, Sort::Regular, Sort::Ephemeral].map(Sort::field) {
        for (index, container) in value::list_at(pod, &format!("spec.{list}")).iter().enumerate() {
            if named.insert(value::str_at(container, "name")) {
                found.extend(stated(annotations, container, list, index));
            }
        }
    }
    found
}

fn stated(annotations: &Object, container: &Value, list: &'static str, index: usize) -> Option<Stated> {
    let annotation = format!("{ANNOTATION}{}", value::str_at(container, "name").unwrap_or_default());
    let text = annotations.get(&annotation)?.as_str()?;
    let has_own = value::get(container, "securityContext.appArmorProfile").is_some_and(|profile| !profile.is_null());
    (!has_own).then(|| Stated { list, index, profile: profile(text), annotation })
}

fn profile(text: &str) -> Option<Value> {
    match (text, text.strip_prefix("localhost/")) {
        ("unconfined", _) => Some(json!({"type": "Unconfined"})),
        ("runtime/default", _) => Some(json!({"type": "RuntimeDefault"})),
        (_, Some(name)) if !name.is_empty() && name.trim() == name && name.len() <= PROFILE_BYTES => {
            Some(json!({"type": "Localhost", "localhostProfile": name}))
        }
        _ => None,
    }
}
