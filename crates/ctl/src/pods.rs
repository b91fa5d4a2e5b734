//! Which pod and which container a user means.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use gantry_api::{
    selector::LabelSelector,
    value::{Value, get, list_at, map_at, str_at},
};
use gantry_client::{DynApi, ListParams, View, watch::EventKind};

use crate::{output, session::Session};

/// The default container's name, as an annotation of the pod.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Splits `POD` and `TYPE/NAME`.
fn split(word: &str) -> Result<Option<(&str, &str)>> {
    match word.split_once('/') {
        None if word.is_empty() => bail!("the name of a pod is missing"),
        None => Ok(None),
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => Ok(Some((kind, name))),
        Some(_) => bail!("{word:?} is neither POD nor TYPE/NAME"),
    }
}

/// An object that a user named, and the selector of the pods behind it.
#[derive(Debug)]
pub(crate) enum Named {
    /// A pod.
    Pod(Value),
    /// What has pods: a deployment, a service …
    Owner {
        /// The object.
        object: Value,
        /// Its kind.
        kind: String,
        /// Selects its pods.
        selector: String,
    },
}

/// Reads the object that `word` names: `POD` or `TYPE/NAME`.
///
/// # Errors
/// When it does not exist or has no pods by its nature.
pub(crate) async fn named(session: &Session, word: &str) -> Result<Named> {
    let pods = session.api_of("", "pods");
    let Some((kind, name)) = split(word)? else { return Ok(Named::Pod(pods.get(word, "", View::Full).await?)) };
    let resource = session.resource(kind)?;
    let object = session.api(resource).get(name, "", View::Full).await?;
    if resource.kind == "Pod" {
        return Ok(Named::Pod(object));
    }
    let selector = selector(&object).with_context(|| format!("{word} selects no pods: name a pod"))?;
    Ok(Named::Owner { object, kind: resource.kind.clone(), selector })
}

/// The label selector of what has pods, as text.
fn selector(object: &Value) -> Option<String> {
    let field = get(object, "spec.selector")?;
    let is_plain = field.as_object()?.values().all(Value::is_string);
    let parsed =
        if is_plain { LabelSelector::from_map(field.as_object()?) } else { LabelSelector::from_value(field).ok()? };
    let text = parsed.to_string();
    (!text.is_empty() && !parsed.is_everything()).then_some(text)
}

/// One pod that `word` names or selects; waits for one to appear, at most for `patience`.
///
/// # Errors
/// When there is none.
pub(crate) async fn one(session: &Session, word: &str, patience: Duration) -> Result<Value> {
    match named(session, word).await? {
        Named::Pod(pod) => Ok(pod),
        Named::Owner { selector, .. } => first_of(session, word, &selector, patience).await,
    }
}

/// As [`one`], for an owner whose selector is known.
///
/// # Errors
/// As [`one`].
pub(crate) async fn first_of(session: &Session, word: &str, selector: &str, patience: Duration) -> Result<Value> {
    let api = session.api_of("", "pods");
    let late = || format!("{word} has no pods after {} s", patience.as_secs());
    until(&api, &ListParams::labels(selector), patience, late, |pods| Ok(best(pods).cloned())).await
}

/// The pod that is best talked to: ready before running before waiting, the oldest of equals.
#[must_use]
pub(crate) fn best<'p>(pods: &[&'p Value]) -> Option<&'p Value> {
    pods.iter().copied().min_by_key(|pod| {
        let is_ready = list_at(pod, "status.conditions")
            .iter()
            .any(|c| str_at(c, "type") == Some("Ready") && str_at(c, "status") == Some("True"));
        let ends = get(pod, "metadata.deletionTimestamp").is_some();
        let created = str_at(pod, "metadata.creationTimestamp").unwrap_or("").to_owned();
        (ends, !is_ready, str_at(pod, "status.phase") != Some("Running"), created)
    })
}

/// Watches until `check` finds what it looks for in the selected objects.
///
/// # Errors
/// What `check` says, or `late` after `patience`.
pub(crate) async fn until<T>(
    api: &DynApi,
    params: &ListParams,
    patience: Duration,
    late: impl Fn() -> String,
    check: impl Fn(&[&Value]) -> Result<Option<T>>,
) -> Result<T> {
    match tokio::time::timeout(patience, watch_until(api, params, check)).await {
        Ok(result) => result,
        Err(_) => bail!(late()),
    }
}

async fn watch_until<T>(
    api: &DynApi,
    params: &ListParams,
    check: impl Fn(&[&Value]) -> Result<Option<T>>,
) -> Result<T> {
    loop {
        let list = api.list(params, View::Full).await?;
        let mut known: BTreeMap<String, Value> = list.items.into_iter().map(|o| (key(&o), o)).collect();
        if let Some(found) = check(&known.values().collect::<Vec<_>>())? {
            return Ok(found);
        }
        let from = ListParams { resource_version: list.resource_version, ..params.clone() };
        let mut stream = api.watch(&from, false, View::Full).await?;
        while let Some(event) = stream.next().await? {
            if matches!(event.kind, EventKind::Bookmark { .. }) {
                continue;
            }
            let object: Value = serde_json::from_slice(&event.object).context("cannot read an event of a watch")?;
            if event.kind == EventKind::Deleted {
                known.remove(&key(&object));
            } else {
                known.insert(key(&object), object);
            }
            if let Some(found) = check(&known.values().collect::<Vec<_>>())? {
                return Ok(found);
            }
        }
    }
}

fn key(object: &Value) -> String {
    format!("{}/{}", str_at(object, "metadata.namespace").unwrap_or(""), name(object))
}

/// An object's name.
#[must_use]
pub(crate) fn name(object: &Value) -> &str {
    str_at(object, "metadata.name").unwrap_or("")
}

/// The lists of a pod's spec that hold containers, with the mark that kubectl puts behind their names.
const LISTS: [(&str, &str); 3] =
    [("spec.containers", ""), ("spec.initContainers", " (init)"), ("spec.ephemeralContainers", " (ephem)")];

/// All containers of a pod, by name.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &str> {
    LISTS.iter().flat_map(|(path, _)| list_at(pod, path)).filter_map(|c| str_at(c, "name"))
}

/// The container's spec.
pub(crate) fn spec_of<'p>(pod: &'p Value, container: &str) -> Option<&'p Value> {
    LISTS.iter().flat_map(|(path, _)| list_at(pod, path)).find(|c| str_at(c, "name") == Some(container))
}

/// The container that is meant: the wanted one, the pod's default, or its first; says which it took of several.
///
/// # Errors
/// When the pod has no such container.
pub(crate) fn container(pod: &Value, wanted: Option<&str>, quiet: bool) -> Result<String> {
    let annotated = map_at(pod, "metadata.annotations").and_then(|a| a.get(DEFAULT_CONTAINER)?.as_str());
    if let Some(wanted) = wanted.or_else(|| annotated.filter(|a| !a.is_empty())) {
        return match containers(pod).find(|c| *c == wanted) {
            Some(found) => Ok(found.to_owned()),
            None => bail!(
                "container {wanted} not found in pod {}; it has: {}",
                name(pod),
                containers(pod).collect::<Vec<_>>().join(", ")
            ),
        };
    }
    let all: Vec<String> = LISTS
        .iter()
        .flat_map(|(path, mark)| {
            list_at(pod, path).iter().map(move |c| format!("{}{mark}", str_at(c, "name").unwrap_or("")))
        })
        .collect();
    let Some(first) = list_at(pod, "spec.containers").first().and_then(|c| str_at(c, "name")) else {
        bail!("pod {} has no containers", name(pod))
    };
    if all.len() > 1 && !quiet {
        output::note(&format!("Defaulted container {first:?} out of: {}", all.join(", ")));
    }
    Ok(first.to_owned())
}

/// Nothing can be run in a pod that has come to its end.
///
/// # Errors
/// When it has.
pub(crate) fn check_not_completed(pod: &Value, what: &str) -> Result<()> {
    match str_at(pod, "status.phase") {
        Some(phase @ ("Succeeded" | "Failed")) => {
            bail!("cannot {what} a container in a completed pod; current phase is {phase}")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
