//! Templates, their hash, and the revision that each replica set carries.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::sync::Arc;

use super::rollout::{Bounds, Set, Sets};
use crate::selector::Labels;

/// The label that keeps the pods of different templates apart.
pub(super) const HASH: &str = "pod-template-hash";
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a deployment that its replica sets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];
/// How long the list of former revisions may get, in characters.
const HISTORY_LEN_MAX: usize = 2000;
/// Letters and digits of generated names: no vowels, nothing that looks like another.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A number in an annotation.
pub(super) fn number(annotations: &Labels, key: &str) -> Option<i32> {
    annotations.get(key)?.parse().ok()
}

fn revision_of(annotations: &Labels) -> i64 {
    annotations.get(REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// Whether a set's template is the deployment's, apart from the hash label.
pub(super) fn same_template(wanted: Option<&PodTemplateSpec>, spec: Option<&ReplicaSetSpec>) -> bool {
    let (Some(wanted), Some(found)) = (wanted, spec.and_then(|s| s.template.as_ref())) else { return false };
    wanted.spec == found.spec && without_hash(wanted.metadata.as_ref()) == without_hash(found.metadata.as_ref())
}

/// Template metadata in a form that can be compared: no hash label, no difference between empty and absent.
fn without_hash(meta: Option<&ObjectMeta>) -> ObjectMeta {
    let mut meta = meta.cloned().unwrap_or_default();
    // The API server never sets it, but an old encoder may have written null.
    meta.creation_timestamp = None;
    if let Some(labels) = &mut meta.labels {
        labels.remove(HASH);
    }
    meta.labels = meta.labels.filter(|l| !l.is_empty());
    meta.annotations = meta.annotations.filter(|a| !a.is_empty());
    meta
}

/// The hash of a template in letters that fit a label; `collisions` moves it where two templates got the same.
pub(super) fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    // JSON of k8s-openapi types has a fixed field order and sorted maps.
    let mut bytes = serde_json::to_vec(template).expect("a template is plain data");
    if let Some(count) = collisions {
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    let fnv = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let letter = |digit: u8| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]);
    fnv.to_string().bytes().map(letter).collect()
}

/// The replica set for the deployment's template, with no replicas yet.
pub(super) fn fresh_set(deployment: &Deployment) -> Set {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|s| s.collision_count);
    let hash = hash(&spec.template, collisions);
    let mut template = spec.template;
    let mut labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    labels.insert(HASH.to_owned(), hash.clone());
    template.metadata.get_or_insert_default().labels = Some(labels.clone());
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH.to_owned(), hash.clone());
    let name = deployment.metadata.name.as_deref().unwrap_or("");
    let object = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![gantry_controller::owner::reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds.filter(|s| *s != 0),
            selector,
            template: Some(template),
        }),
        status: None,
    };
    Set::new(Arc::new(object))
}

/// Gives the new set the deployment's annotations and the highest revision; returns the revision.
pub(super) fn stamp_new(deployment: &Deployment, sets: &mut Sets, bounds: Bounds) -> Option<String> {
    let highest_old = sets.old.iter().map(|s| revision_of(&s.annotations)).max().unwrap_or(0);
    let new = sets.new.as_mut()?;
    let copied = deployment.metadata.annotations.iter().flatten().filter(|(k, _)| !NOT_COPIED.contains(&k.as_str()));
    new.annotations.extend(copied.map(|(k, v)| (k.clone(), v.clone())));
    let current = revision_of(&new.annotations);
    if current <= highest_old {
        if current > 0 {
            remember(&mut new.annotations, current);
        }
        new.annotations.insert(REVISION.to_owned(), (highest_old + 1).to_string());
    }
    if new.fresh {
        note_sizes(&mut new.annotations, bounds);
    }
    new.min_ready_seconds = deployment.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0);
    new.annotations.get(REVISION).cloned()
}

/// Appends a revision that the set had before it became the newest again.
fn remember(annotations: &mut Labels, revision: i64) {
    let history = annotations.get(HISTORY).map(String::as_str).unwrap_or_default();
    let mut revisions: Vec<&str> = history.split(',').filter(|r| !r.is_empty()).collect();
    let revision = revision.to_string();
    revisions.push(&revision);
    let mut text = revisions.join(",");
    while text.len() > HISTORY_LEN_MAX {
        let Some((_, rest)) = text.split_once(',') else { break };
        text = rest.to_owned();
    }
    annotations.insert(HISTORY.to_owned(), text);
}

/// Notes for which sizes a set was made: a later change of `spec.replicas` is recognised by it.
pub(super) fn note_sizes(annotations: &mut Labels, bounds: Bounds) {
    annotations.insert(DESIRED_REPLICAS.to_owned(), bounds.replicas.to_string());
    annotations.insert(MAX_REPLICAS.to_owned(), bounds.most().to_string());
}

/// The old sets that the history limit no longer keeps, oldest revision first.
pub(super) fn surplus(deployment: &Deployment, sets: &Sets) -> Vec<Arc<ReplicaSet>> {
    let Some(limit) = deployment.spec.as_ref().and_then(|s| s.revision_history_limit) else { return Vec::new() };
    let mut alive: Vec<&Set> = sets.old.iter().filter(|s| !s.is_deleting()).collect();
    let count = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    alive.sort_by_key(|s| revision_of(&s.annotations));
    alive.into_iter().take(count).filter(|s| is_idle(s)).map(|s| Arc::clone(&s.object)).collect()
}

/// Whether nothing runs in the set and nothing is about to.
fn is_idle(set: &Set) -> bool {
    let status = set.object.status.as_ref();
    let observed = status.and_then(|s| s.observed_generation).unwrap_or(0);
    set.replicas == 0
        && status.is_none_or(|s| s.replicas == 0)
        && set.object.metadata.generation.unwrap_or(0) <= observed
}
