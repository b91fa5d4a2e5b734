//! Defaults of what keeps pods running.

use super::{fill, fill_object, fill_text, object_in, objects_in, pod, storage};
use crate::value::{map_at, object_mut, set};
use crate::{Object, Value};

fn is_rolling(strategy: &Object) -> bool {
    strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate")
}

/// The strategy under `key`: rolling, with what a rolling update needs.
fn rolling(spec: &mut Object, key: &str, complete: impl FnOnce(&mut Object)) {
    fill_object(spec, key);
    let Some(strategy) = object_in(spec, key) else { return };
    fill_text(strategy, "type", "RollingUpdate");
    if is_rolling(strategy) {
        fill_object(strategy, "rollingUpdate");
        if let Some(update) = object_in(strategy, "rollingUpdate") {
            complete(update);
        }
    }
}

pub(super) fn deployment(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill(spec, "replicas", 1);
    rolling(spec, "strategy", |update| {
        fill(update, "maxUnavailable", "25%");
        fill(update, "maxSurge", "25%");
    });
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    pod::template(spec);
}

pub(super) fn replica_set(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill(spec, "replicas", 1);
    pod::template(spec);
}

/// The annotation that counts a DaemonSet's templates. Upstream keeps the count in a field of its own, which it writes into
/// every form of the object: whoever creates one owns it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn daemon_set(object: &mut Value) {
    if let Some(annotations) = object_mut(object, "metadata.annotations") {
        fill_text(annotations, TEMPLATE_GENERATION, "0");
    }
    let Some(spec) = object_mut(object, "spec") else { return };
    rolling(spec, "updateStrategy", |update| {
        fill(update, "maxUnavailable", 1);
        fill(update, "maxSurge", 0);
    });
    fill(spec, "revisionHistoryLimit", 10);
    pod::template(spec);
}

/// The strategy of a StatefulSet. One that names its type without saying more says nothing of partitions (upstream's rule).
fn partition(spec: &mut Object) {
    fill_object(spec, "updateStrategy");
    let Some(strategy) = object_in(spec, "updateStrategy") else { return };
    if strategy.get("type").and_then(Value::as_str).is_none_or(str::is_empty) {
        fill_text(strategy, "type", "RollingUpdate");
        fill_object(strategy, "rollingUpdate");
    }
    if is_rolling(strategy)
        && let Some(update) = object_in(strategy, "rollingUpdate")
    {
        fill(update, "partition", 0);
    }
}

pub(super) fn stateful_set(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill_text(spec, "podManagementPolicy", "OrderedReady");
    partition(spec);
    fill_object(spec, "persistentVolumeClaimRetentionPolicy");
    if let Some(policy) = object_in(spec, "persistentVolumeClaimRetentionPolicy") {
        fill_text(policy, "whenDeleted", "Retain");
        fill_text(policy, "whenScaled", "Retain");
    }
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    for template in objects_in(spec, "volumeClaimTemplates") {
        template.insert("apiVersion".to_owned(), "v1".into());
        template.insert("kind".to_owned(), "PersistentVolumeClaim".into());
        storage::claim(template);
    }
    pod::template(spec);
}

pub(super) fn replication_controller(object: &mut Value) {
    let labels = map_at(object, "spec.template.metadata.labels").filter(|l| !l.is_empty()).cloned();
    if let Some(labels) = labels {
        for path in ["spec.selector", "metadata.labels"] {
            if map_at(object, path).is_none_or(Object::is_empty) {
                set(object, path, Value::Object(labels.clone()));
            }
        }
    }
    replica_set(object);
}

pub(super) fn pod_template(object: &mut Value) {
    object.as_object_mut().into_iter().for_each(pod::template);
}
