//! Volumes, claims, classes, attachments and what drivers report.

use std::collections::BTreeSet;

use gantry_api::{Value, value};
use serde_json::json;

use super::columns::{AGE, NAME, age, cells, column, name, of_field, text, text_or};
use super::pod::{fraction, node_term, old_label};
use super::{Column, Ctx, Row, Strategy};
use crate::pipeline::metadata::time;

/// The strategy of persistent volumes.
pub(super) struct PersistentVolume;
/// The strategy of claims.
pub(super) struct PersistentVolumeClaim;
/// The strategy of storage classes.
pub(super) struct StorageClass;
/// The strategy of volume attributes classes.
pub(super) struct VolumeAttributesClass;
/// The strategy of attachments.
pub(super) struct VolumeAttachment;
/// The strategy of CSI drivers.
pub(super) struct CsiDriver;
/// The strategy of what CSI drivers run on a node.
pub(super) struct CsiNode;
/// The strategy of what CSI drivers can still make.
pub(super) struct CsiStorageCapacity;

/// Where old objects name their class.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// Where old volumes have their mount options.
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
/// Marks the class of claims that name none.
pub(crate) const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    value::map_at(object, "metadata.annotations")?.get(name)?.as_str()
}

fn class(object: &Value) -> &str {
    annotation(object, BETA_CLASS).unwrap_or_else(|| text(object, "spec.storageClassName"))
}

fn phase(object: &Value) -> &str {
    match value::str_at(object, "metadata.deletionTimestamp") {
        Some(_) => "Terminating",
        None => text(object, "status.phase"),
    }
}

/// `RWO,ROX`, each once.
fn access_modes(object: &Value, path: &str) -> String {
    const SHORT: [(&str, &str); 4] =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let modes: BTreeSet<&str> = value::list_at(object, path).iter().filter_map(Value::as_str).collect();
    SHORT.iter().filter(|(mode, _)| modes.contains(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// The warning about the annotation that named a class before there was a field.
fn class_annotation(object: &Value) -> Option<String> {
    old_annotation(object, BETA_CLASS, "deprecated since v1.8; use \"storageClassName\" attribute instead")
}

fn old_annotation(object: &Value, name: &str, why: &str) -> Option<String> {
    value::map_at(object, "metadata.annotations")?.get(name)?;
    Some(format!("metadata.annotations[{name}]: {why}"))
}

/// Sources of volumes that are deprecated, and how warnings name them.
const OLD_SOURCES: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

impl Strategy for PersistentVolume {
    fn warnings(&self, volume: &Value, _old: Option<&Value>) -> Vec<String> {
        let recycles = (text(volume, "spec.persistentVolumeReclaimPolicy") == "Recycle").then(|| {
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended \
             approach is to use dynamic provisioning."
                .to_owned()
        });
        let options = "deprecated since v1.31; use \"mountOptions\" attribute instead";
        let options = old_annotation(volume, MOUNT_OPTIONS, options);
        let mut found: Vec<String> = class_annotation(volume).into_iter().chain(options).chain(recycles).collect();
        let terms = "spec.nodeAffinity.required.nodeSelectorTerms";
        for (index, term) in value::list_at(volume, terms).iter().enumerate() {
            node_term(&mut found, &format!("{terms}[{index}]"), term, false);
        }
        let spec = value::get(volume, "spec").unwrap_or(&Value::Null);
        let old = OLD_SOURCES.iter().filter(|(source, ..)| spec.get(source).is_some_and(|s| !s.is_null()));
        found.extend(old.map(|(_, shown, why)| format!("spec.{shown}: {why}")));
        found
    }

    fn prepare_create(&self, ctx: &Ctx<'_>, volume: &mut Value) {
        value::set(volume, "status", json!({"phase": "Pending", "lastPhaseTransitionTime": time(ctx.now)}));
    }

    fn prepare_status_update(&self, ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        let at = "status.lastPhaseTransitionTime";
        let moved = text(new, "status.phase") != text(old, "status.phase");
        // A controller that knows when says so itself.
        if moved && (value::get(new, at).is_none() || value::get(new, at) == value::get(old, at)) {
            value::set(new, at, time(ctx.now));
        }
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("Capacity", "string", "core/v1.PersistentVolumeSpec", "capacity"),
                of_field("Access Modes", "string", "core/v1.PersistentVolumeSpec", "accessModes"),
                of_field("Reclaim Policy", "string", "core/v1.PersistentVolumeSpec", "persistentVolumeReclaimPolicy"),
                of_field("Status", "string", "core/v1.PersistentVolumeStatus", "phase"),
                of_field("Claim", "string", "core/v1.PersistentVolumeSpec", "claimRef"),
                column("StorageClass", "string", "StorageClass of the pv"),
                column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pv"),
                of_field("Reason", "string", "core/v1.PersistentVolumeStatus", "reason"),
                AGE,
                of_field("VolumeMode", "string", "core/v1.PersistentVolumeSpec", "volumeMode").wide(),
            ]
        }
    }

    fn row(&self, volume: &Value, now: jiff::Timestamp) -> Row {
        let claim = match value::get(volume, "spec.claimRef").filter(|c| !c.is_null()) {
            Some(claim) => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
            None => String::new(),
        };
        cells(vec![
            name(volume),
            text(volume, "spec.capacity.storage").into(),
            access_modes(volume, "spec.accessModes").into(),
            text(volume, "spec.persistentVolumeReclaimPolicy").into(),
            phase(volume).into(),
            claim.into(),
            class(volume).into(),
            text_or(volume, "spec.volumeAttributesClassName", "<unset>").into(),
            text(volume, "status.reason").into(),
            age(volume, now),
            text_or(volume, "spec.volumeMode", "<unset>").into(),
        ])
    }
}

/// What is warned of the sizes that a claim states, whose specification warnings find at `at`.
pub(super) fn claim_fractions(at: &str, claim: &Value) -> Vec<String> {
    let of = |part: &str| {
        let stated = value::map_at(claim, &format!("spec.resources.{part}"));
        fraction(|| format!("{at}.resources.{part}[storage]"), stated.and_then(|stated| stated.get("storage")))
    };
    ["requests", "limits"].into_iter().filter_map(of).collect()
}

impl Strategy for PersistentVolumeClaim {
    fn warnings(&self, claim: &Value, _old: Option<&Value>) -> Vec<String> {
        class_annotation(claim).into_iter().chain(claim_fractions("spec", claim)).collect()
    }

    fn prepare_create(&self, _ctx: &Ctx<'_>, claim: &mut Value) {
        value::set(claim, "status", json!({"phase": "Pending"}));
        one_source(claim, None);
    }

    fn prepare_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        one_source(new, Some(old));
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("Status", "string", "core/v1.PersistentVolumeClaimStatus", "phase"),
                of_field("Volume", "string", "core/v1.PersistentVolumeClaimSpec", "volumeName"),
                of_field("Capacity", "string", "core/v1.PersistentVolumeClaimStatus", "capacity"),
                of_field("Access Modes", "string", "core/v1.PersistentVolumeClaimStatus", "accessModes"),
                column("StorageClass", "string", "StorageClass of the pvc"),
                column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pvc"),
                AGE,
                of_field("VolumeMode", "string", "core/v1.PersistentVolumeClaimSpec", "volumeMode").wide(),
            ]
        }
    }

    fn row(&self, claim: &Value, now: jiff::Timestamp) -> Row {
        let bound = !text(claim, "spec.volumeName").is_empty();
        let (capacity, modes) = if bound {
            (text_or(claim, "status.capacity.storage", "0"), access_modes(claim, "status.accessModes"))
        } else {
            ("", String::new())
        };
        cells(vec![
            name(claim),
            phase(claim).into(),
            text(claim, "spec.volumeName").into(),
            capacity.into(),
            modes.into(),
            class(claim).into(),
            text_or(claim, "spec.volumeAttributesClassName", "<unset>").into(),
            age(claim, now),
            text_or(claim, "spec.volumeMode", "<unset>").into(),
        ])
    }
}

/// `dataSource` is the older name of `dataSourceRef`: what one says, the other says too. The older may name only claims
/// and snapshots.
fn one_source(claim: &mut Value, before: Option<&Value>) {
    let some = |claim: &Value, path| value::get(claim, path).filter(|v| !v.is_null()).cloned();
    let (old, new) = (some(claim, "spec.dataSource"), some(claim, "spec.dataSourceRef"));
    let had_source = before.is_some_and(|claim| some(claim, "spec.dataSource").is_some());
    let known = |source: &Value| {
        let group = text(source, "apiGroup");
        matches!(
            (group, text(source, "kind")),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        )
    };
    match (old, new) {
        // A client that does not know the newer name sends back the older, whatever is in it.
        (Some(old), None) if known(&old) || had_source => value::set(claim, "spec.dataSourceRef", old),
        (Some(_), None) => drop(value::remove(claim, "spec.dataSource")),
        (None, Some(new)) if text(&new, "namespace").is_empty() => value::set(claim, "spec.dataSource", new),
        _ => {}
    }
}

impl Strategy for StorageClass {
    fn warnings(&self, class: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut found = Vec::new();
        for (index, term) in value::list_at(class, "allowedTopologies").iter().enumerate() {
            for (at, expression) in value::list_at(term, "matchLabelExpressions").iter().enumerate() {
                if let Some(why) = old_label(text(expression, "key")) {
                    found.push(format!("allowedTopologies[{index}].matchLabelExpressions[{at}].key: {why}"));
                }
            }
        }
        found
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("Provisioner", "string", "storage/v1.StorageClass", "provisioner"),
                of_field("ReclaimPolicy", "string", "storage/v1.StorageClass", "reclaimPolicy"),
                of_field("VolumeBindingMode", "string", "storage/v1.StorageClass", "volumeBindingMode"),
                of_field("AllowVolumeExpansion", "string", "storage/v1.StorageClass", "allowVolumeExpansion"),
                AGE,
            ]
        }
    }

    fn row(&self, class: &Value, now: jiff::Timestamp) -> Row {
        let default = DEFAULT_CLASS.iter().any(|a| annotation(class, a) == Some("true"));
        let shown = format!("{}{}", text(class, "metadata.name"), if default { " (default)" } else { "" });
        cells(vec![
            shown.into(),
            text(class, "provisioner").into(),
            text_or(class, "reclaimPolicy", "Delete").into(),
            text_or(class, "volumeBindingMode", "Immediate").into(),
            value::bool_at(class, "allowVolumeExpansion").into(),
            age(class, now),
        ])
    }
}

impl Strategy for VolumeAttributesClass {
    fn columns(&self) -> &'static [Column] {
        const { &[NAME, of_field("DriverName", "string", "storage/v1.VolumeAttributesClass", "driverName"), AGE] }
    }

    fn row(&self, class: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(class), text(class, "driverName").into(), age(class, now)])
    }
}

impl Strategy for VolumeAttachment {
    fn fixes_metadata(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column {
                    format: "name",
                    ..of_field("Attacher", "string", "storage/v1.VolumeAttachmentSpec", "attacher")
                },
                of_field("PV", "string", "storage/v1.VolumeAttachmentSource", "persistentVolumeName"),
                of_field("Node", "string", "storage/v1.VolumeAttachmentSpec", "nodeName"),
                of_field("Attached", "boolean", "storage/v1.VolumeAttachmentStatus", "attached"),
                AGE,
            ]
        }
    }

    fn row(&self, attachment: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![
            name(attachment),
            text(attachment, "spec.attacher").into(),
            text(attachment, "spec.source.persistentVolumeName").into(),
            text(attachment, "spec.nodeName").into(),
            value::bool_at(attachment, "status.attached").into(),
            age(attachment, now),
        ])
    }
}

impl Strategy for CsiDriver {
    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("AttachRequired", "boolean", "storage/v1.CSIDriverSpec", "attachRequired"),
                of_field("PodInfoOnMount", "boolean", "storage/v1.CSIDriverSpec", "podInfoOnMount"),
                of_field("StorageCapacity", "boolean", "storage/v1.CSIDriverSpec", "storageCapacity"),
                of_field("TokenRequests", "string", "storage/v1.CSIDriverSpec", "tokenRequests"),
                of_field("RequiresRepublish", "boolean", "storage/v1.CSIDriverSpec", "requiresRepublish"),
                of_field("Modes", "string", "storage/v1.CSIDriverSpec", "volumeLifecycleModes"),
                AGE,
            ]
        }
    }

    fn row(&self, driver: &Value, now: jiff::Timestamp) -> Row {
        let tokens: Vec<&str> =
            value::list_at(driver, "spec.tokenRequests").iter().map(|t| text(t, "audience")).collect();
        let modes: Vec<&str> =
            value::list_at(driver, "spec.volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
        let or = |list: Vec<&str>, none: &str| if list.is_empty() { none.to_owned() } else { list.join(",") };
        cells(vec![
            name(driver),
            value::get(driver, "spec.attachRequired").and_then(Value::as_bool).unwrap_or(true).into(),
            value::bool_at(driver, "spec.podInfoOnMount").into(),
            value::bool_at(driver, "spec.storageCapacity").into(),
            or(tokens, "<unset>").into(),
            value::bool_at(driver, "spec.requiresRepublish").into(),
            or(modes, "<none>").into(),
            age(driver, now),
        ])
    }
}

impl Strategy for CsiNode {
    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Drivers", "integer", "Drivers indicates the number of CSI drivers registered on the node"),
                AGE,
            ]
        }
    }

    fn row(&self, node: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(node), value::list_at(node, "spec.drivers").len().into(), age(node, now)])
    }
}

impl Strategy for CsiStorageCapacity {
    fn warnings(&self, capacity: &Value, _old: Option<&Value>) -> Vec<String> {
        let expressions = value::list_at(capacity, "nodeTopology.matchExpressions").iter().enumerate();
        let expressions = expressions.filter_map(|(index, expression)| {
            let key = text(expression, "key");
            Some(format!("nodeTopology.matchExpressions[{index}].key: {key} is {}", old_label(key)?))
        });
        let labels = value::map_at(capacity, "nodeTopology.matchLabels").into_iter().flatten();
        let labels = labels.filter_map(|(key, _)| Some(format!("nodeTopology.matchLabels.{key}: {}", old_label(key)?)));
        expressions.chain(labels).collect()
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("StorageClassName", "string", "storage/v1.CSIStorageCapacity", "storageClassName"),
                of_field("Capacity", "string", "storage/v1.CSIStorageCapacity", "capacity"),
            ]
        }
    }

    fn row(&self, object: &Value, _now: jiff::Timestamp) -> Row {
        cells(vec![
            name(object),
            text(object, "storageClassName").into(),
            text_or(object, "capacity", "<unset>").into(),
        ])
    }
}
