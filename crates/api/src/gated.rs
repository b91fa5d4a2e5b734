//! Fields of features that are off in Kubernetes 1.36: a write that brings one loses it, unless the old object has it.
//!
//! Upstream's `dropDisabledFields`, one row per field. What such a field holds is not checked: nothing acts on it.

use crate::Value;
use crate::kinds::KindInfo;
use crate::value::first_key;

/// What a row's paths start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The spec of a pod, or that of the pods in a kind's template.
    Pods,
    /// An object of this group and kind.
    Kind(&'static str, &'static str),
}

/// Fields that one feature brings. In paths `*` is each item of a list and each entry of a map.
#[derive(Debug)]
struct Fields {
    /// The feature's gate; `""` for one that was removed and left its fields.
    gate: &'static str,
    of: Of,
    at: &'static [&'static str],
    /// The old object may keep all of them where it has something at one of these.
    used: &'static [&'static str],
    /// Only what has text here is of the feature.
    only_with: Option<&'static str>,
    /// The object that held only this goes too.
    with_holder: bool,
}

/// Fields that are let alone where the old object has one of them.
const fn fields(gate: &'static str, of: Of, at: &'static [&'static str]) -> Fields {
    Fields { gate, of, at, used: at, only_with: None, with_holder: false }
}

const POD: Of = Of::Kind("", "Pod");
const NODE: Of = Of::Kind("", "Node");
const LEASE: Of = Of::Kind("coordination.k8s.io", "Lease");
const SLICE: Of = Of::Kind("resource.k8s.io", "ResourceSlice");

const ROWS: &[Fields] = &[
    fields("ClusterTrustBundleProjection", Of::Pods, &["volumes.*.projected.sources.*.clusterTrustBundle"]),
    fields("PodCertificateRequest", Of::Pods, &["volumes.*.projected.sources.*.podCertificate"]),
    fields("GenericWorkload", Of::Pods, &["schedulingGroup"]),
    Fields {
        with_holder: true,
        ..fields(
            "ContainerStopSignals",
            Of::Pods,
            &[
                "initContainers.*.lifecycle.stopSignal",
                "containers.*.lifecycle.stopSignal",
                "ephemeralContainers.*.lifecycle.stopSignal",
            ],
        )
    },
    fields("DRANodeAllocatableResources", POD, &["status.nodeAllocatableResourceClaimStatuses"]),
    fields(
        "ImageVolumeWithDigest",
        POD,
        &[
            "status.initContainerStatuses.*.volumeMounts.*.volumeStatus",
            "status.containerStatuses.*.volumeMounts.*.volumeStatus",
            "status.ephemeralContainerStatuses.*.volumeMounts.*.volumeStatus",
        ],
    ),
    fields(
        "MaxUnavailableStatefulSet",
        Of::Kind("apps", "StatefulSet"),
        &["spec.updateStrategy.rollingUpdate.maxUnavailable"],
    ),
    Fields {
        only_with: Some("spec.dataSourceRef.namespace"),
        ..fields("CrossNamespaceVolumeDataSource", Of::Kind("", "PersistentVolumeClaim"), &["spec.dataSourceRef"])
    },
    fields("VolumeLimitScaling", Of::Kind("storage.k8s.io", "CSIDriver"), &["spec.preventPodSchedulingIfMissing"]),
    fields("CoordinatedLeaderElection", LEASE, &["spec.strategy"]),
    fields("CoordinatedLeaderElection", LEASE, &["spec.preferredHolder"]),
    fields("DRANodeAllocatableResources", SLICE, &["spec.devices.*.nodeAllocatableResourceMappings"]),
    fields(
        "DRAListTypeAttributes",
        SLICE,
        &[
            "spec.devices.*.attributes.*.bools",
            "spec.devices.*.attributes.*.ints",
            "spec.devices.*.attributes.*.strings",
            "spec.devices.*.attributes.*.versions",
        ],
    ),
    // The kubelet's configuration in a ConfigMap (KEP-281).
    fields("", NODE, &["spec.configSource"]),
    fields("", NODE, &["status.config"]),
];

/// The gates of features whose fields are dropped.
pub fn gates() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.gate).filter(|gate| !gate.is_empty())
}

/// Drops from `new` the fields of features that are off; `old` is what is stored, absent on create. A write of `/status`
/// (`of_status`) brings only those of the status.
pub fn drop_fields(kind: &KindInfo, new: &mut Value, old: Option<&Value>, of_status: bool) {
    if kind.custom.is_some() {
        return;
    }
    let pods_at = kind.pods_at();
    for row in ROWS {
        let root = match row.of {
            Of::Kind(group, name) if kind.is(group, name) => "",
            Of::Pods if !of_status && let Some(at) = pods_at => at,
            _ => continue,
        };
        if of_status && !row.at.iter().all(|path| path.starts_with("status.")) {
            continue;
        }
        let old = old.and_then(|old| below(old, root));
        let Some(new) = below_mut(new, root) else { continue };
        let is_meant = row.only_with.is_none_or(|path| has(new, path, &|v| v.as_str().is_some_and(|t| !t.is_empty())));
        let is_brought = is_meant && row.at.iter().any(|path| has(new, path, &|v| !v.is_null()));
        if is_brought && !old.is_some_and(|old| row.used.iter().any(|path| has(old, path, &|v| !v.is_null()))) {
            row.at.iter().for_each(|path| clear(new, path, row.with_holder));
        }
    }
}

fn below<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() { Some(object) } else { crate::value::get(object, path) }
}

fn below_mut<'a>(object: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    if path.is_empty() { Some(object) } else { crate::value::get_mut(object, path) }
}

/// Whether something like that stands at a path.
fn has(value: &Value, path: &str, like: &dyn Fn(&Value) -> bool) -> bool {
    let (key, rest) = first_key(path);
    let found = |v: &Value| rest.map_or_else(|| like(v), |rest| has(v, rest, like));
    match (key, value) {
        ("*", Value::Array(items)) => items.iter().any(found),
        ("*", Value::Object(map)) => map.values().any(found),
        (_, Value::Object(map)) => map.get(key).is_some_and(found),
        _ => false,
    }
}

/// Removes what stands at a path; with the object around it where nothing else is in there.
fn clear(value: &mut Value, path: &str, with_holder: bool) {
    match (path.split_once('.'), value) {
        (Some(("*", rest)), Value::Array(items)) => items.iter_mut().for_each(|v| clear(v, rest, with_holder)),
        (Some(("*", rest)), Value::Object(map)) => map.values_mut().for_each(|v| clear(v, rest, with_holder)),
        (Some((key, rest)), Value::Object(map)) => {
            let Some(holder) = map.get_mut(key) else { return };
            let had = holder.as_object().is_some_and(|held| held.contains_key(rest));
            clear(holder, rest, with_holder);
            if with_holder && had && holder.as_object().is_some_and(crate::Object::is_empty) {
                map.remove(key);
            }
        }
        (None, Value::Object(map)) => drop(map.remove(path)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::by_kind;
    use crate::table::{FieldType, TypeTable};

    fn kind(group: &str, name: &str) -> &'static KindInfo {
        by_kind(group, "v1", name).expect("a kind")
    }

    fn is_field(ty: &str, path: &str) -> bool {
        let table = TypeTable::builtin();
        let whole = FieldType::Struct(table.id(ty).expect("a type"));
        let found = path.split('.').try_fold(&whole, |at, key| match at {
            FieldType::List(item) | FieldType::Map(item) if key == "*" => Some(&**item),
            _ => table.fields_of(at)?.fields.get(key).map(|field| &field.ty),
        });
        found.is_some()
    }

    /// What becomes of an object: when it is made, when the old one has the same, and when the old one is `without`.
    fn dropped(kind: &KindInfo, object: &Value, without: &Value) -> [Value; 3] {
        [None, Some(object), Some(without)].map(|old| {
            let mut new = object.clone();
            drop_fields(kind, &mut new, old, false);
            new
        })
    }

    fn check(group: &str, name: &str, object: Value, expected: Value) {
        let found = dropped(kind(group, name), &object, &expected);
        assert_eq!(found, [expected.clone(), object, expected], "{name}");
    }

    fn spec(spec: Value) -> Value {
        json!({"spec": spec})
    }

    #[test]
    fn what_is_off_is_dropped_unless_it_was_there() {
        let given = spec(json!({"schedulingGroup": {"podGroupName": "g"}, "nodeName": "n"}));
        check("", "Pod", given, spec(json!({"nodeName": "n"})));
        let sleep = json!({"postStart": {"sleep": {"seconds": 1}}});
        let mut both = sleep.clone();
        both["stopSignal"] = json!("SIGHUP");
        let given = spec(json!({
            "initContainers": [{"lifecycle": both}, {"lifecycle": {}}],
            "containers": [{"name": "a"}, {"lifecycle": {"stopSignal": "SIGHUP"}}],
            "ephemeralContainers": [{"lifecycle": {"stopSignal": "SIGHUP"}}],
        }));
        let expected = spec(json!({
            "initContainers": [{"lifecycle": sleep}, {"lifecycle": {}}],
            "containers": [{"name": "a"}, {}],
            "ephemeralContainers": [{}],
        }));
        check("", "Pod", given, expected);
        let update = |rolling: Value| spec(json!({"updateStrategy": {"rollingUpdate": rolling}}));
        let given = update(json!({"maxUnavailable": 2, "partition": 0}));
        check("apps", "StatefulSet", given, update(json!({"partition": 0})));
        let given = spec(json!({"dataSourceRef": {"kind": "K", "namespace": "far"}}));
        check("", "PersistentVolumeClaim", given, spec(json!({})));
        check("storage.k8s.io", "CSIDriver", spec(json!({"preventPodSchedulingIfMissing": true})), spec(json!({})));
        let given = spec(json!({"preferredHolder": "a", "strategy": "OldestEmulationVersion"}));
        check("coordination.k8s.io", "Lease", given, spec(json!({})));
        let devices = |device: Value| spec(json!({"devices": [device]}));
        let attributes = json!({
            "a/b": {"ints": [1]}, "c": {"int": 1}, "d": {"bools": []}, "e": {"strings": [], "versions": ["1.0.0"]},
        });
        let given = devices(json!({"nodeAllocatableResourceMappings": {"cpu": {}}, "attributes": attributes}));
        let expected = devices(json!({"attributes": {"a/b": {}, "c": {"int": 1}, "d": {}, "e": {}}}));
        check("resource.k8s.io", "ResourceSlice", given, expected);
        let given = json!({"spec": {"configSource": {}}, "status": {"config": {}, "phase": "p"}});
        check("", "Node", given, json!({"spec": {}, "status": {"phase": "p"}}));
    }

    #[test]
    fn templates_lose_what_pods_lose() {
        let template = |spec: Value| json!({"template": {"spec": spec}});
        let sources = |first: Value, second: Value| {
            let sources = json!([first, second, {"secret": {"name": "s"}}]);
            spec(template(json!({"volumes": [{"projected": {"sources": sources}}, {"emptyDir": {}}]})))
        };
        let given =
            sources(json!({"clusterTrustBundle": {"path": "a"}}), json!({"podCertificate": {"keyType": "ED25519"}}));
        check("apps", "Deployment", given, sources(json!({}), json!({})));
        let job = |pods: Value| spec(json!({"jobTemplate": spec(template(pods))}));
        check("batch", "CronJob", job(json!({"schedulingGroup": {}})), job(json!({})));
        check("", "PodTemplate", template(json!({"schedulingGroup": {}})), template(json!({})));
    }

    #[test]
    fn each_field_stands_for_itself() {
        let mut new = json!({"spec": {"preferredHolder": "a", "strategy": "s"}});
        drop_fields(kind("coordination.k8s.io", "Lease"), &mut new, Some(&json!({"spec": {"strategy": "t"}})), false);
        assert_eq!(new, json!({"spec": {"strategy": "s"}}));
        // A claim that was made from something may be from somewhere else, for validation to judge.
        for (given, old) in [
            (json!({"kind": "K", "namespace": ""}), None),
            (json!({"kind": "K"}), None),
            (json!({"kind": "K", "namespace": "far"}), Some(json!({"spec": {"dataSourceRef": {"kind": "K"}}}))),
        ] {
            let mut new = json!({"spec": {"dataSourceRef": given}});
            let whole = new.clone();
            drop_fields(kind("", "PersistentVolumeClaim"), &mut new, old.as_ref(), false);
            assert_eq!(new, whole);
        }
    }

    #[test]
    fn a_status_loses_what_is_its_own() {
        let mounts = |mount: Value| json!([{"name": "c", "volumeMounts": [mount]}]);
        let digest = || mounts(json!({"name": "v", "volumeStatus": {"image": {"imageRef": "i"}}}));
        let mut new = json!({
            "spec": {"schedulingGroup": {}},
            "status": {"containerStatuses": digest(), "nodeAllocatableResourceClaimStatuses": [{}], "phase": "Running"},
        });
        drop_fields(kind("", "Pod"), &mut new, Some(&json!({"spec": {}})), true);
        let plain = mounts(json!({"name": "v"}));
        let expected = json!({
            "spec": {"schedulingGroup": {}}, "status": {"containerStatuses": plain, "phase": "Running"},
        });
        assert_eq!(new, expected);
        let mut new = json!({"status": {"containerStatuses": digest()}});
        let old = json!({"status": {"initContainerStatuses": digest()}});
        let whole = new.clone();
        drop_fields(kind("", "Pod"), &mut new, Some(&old), true);
        assert_eq!(new, whole);
    }

    /// A path that no type has would drop nothing, for ever.
    #[test]
    fn the_paths_are_those_of_fields() {
        for row in ROWS {
            let root = match row.of {
                Of::Pods => "core/v1.PodSpec".to_owned(),
                Of::Kind(group, name) => kind(group, name).type_name.clone(),
            };
            for path in row.at.iter().chain(row.used) {
                assert!(is_field(&root, path), "{root} {path}");
            }
        }
    }
}
