//! Amounts of resources, which are whole thousandths in core/v1: upstream's `SetDefaults_ResourceList`.

use crate::Value;
use crate::kinds::KindInfo;
use crate::quantity::Quantity;
use crate::value::{each_mut, get_mut};

/// Lists in the spec of pods.
const OF_PODS: &[&str] = &[
    "containers.*.resources.*",
    "initContainers.*.resources.*",
    "ephemeralContainers.*.resources.*",
    "resources.*",
    "overhead",
    "volumes.*.ephemeral.volumeClaimTemplate.spec.resources.*",
];

/// Lists of an object itself.
fn lists(kind: &KindInfo) -> &'static [&'static str] {
    match (kind.group, kind.kind) {
        ("", "Pod") => &[
            "status.containerStatuses.*.allocatedResources",
            "status.containerStatuses.*.resources.*",
            "status.initContainerStatuses.*.allocatedResources",
            "status.initContainerStatuses.*.resources.*",
            "status.ephemeralContainerStatuses.*.allocatedResources",
            "status.ephemeralContainerStatuses.*.resources.*",
            "status.allocatedResources",
            "status.resources.*",
        ],
        ("", "Node") => &["status.allocatable", "status.capacity"],
        ("", "LimitRange") => &[
            "spec.limits.*.default",
            "spec.limits.*.defaultRequest",
            "spec.limits.*.max",
            "spec.limits.*.maxLimitRequestRatio",
            "spec.limits.*.min",
        ],
        ("", "PersistentVolume") => &["spec.capacity"],
        ("", "PersistentVolumeClaim") => &["spec.resources.*", "status.allocatedResources", "status.capacity"],
        ("", "ResourceQuota") => &["spec.hard", "status.hard", "status.used"],
        ("apps", "StatefulSet") => &[
            "spec.volumeClaimTemplates.*.spec.resources.*",
            "spec.volumeClaimTemplates.*.status.allocatedResources",
            "spec.volumeClaimTemplates.*.status.capacity",
        ],
        ("node.k8s.io", "RuntimeClass") => &["overhead.podFixed"],
        ("storage.k8s.io", "VolumeAttachment") => &["spec.source.inlineVolumeSpec.capacity"],
        _ => &[],
    }
}

/// Rounds amounts below a thousandth up. Claims to devices are listed beside requests: what is no map is let alone.
pub(super) fn round(kind: &KindInfo, object: &mut Value) {
    let each = |root: &mut Value, lists: &[&str]| lists.iter().for_each(|path| each_mut(root, path, &mut list));
    each(object, lists(kind));
    if let Some(spec) = kind.pods_at().and_then(|at| get_mut(object, at)) {
        each(spec, OF_PODS);
    }
}

fn list(list: &mut Value) {
    for amount in list.as_object_mut().into_iter().flat_map(|list| list.values_mut()) {
        let Value::String(text) = amount else { continue };
        // Only what is so written can be that small: it is canonical already.
        if (text.ends_with(['n', 'u']) || text.contains("e-"))
            && let Ok(quantity) = Quantity::parse(text)
        {
            *text = quantity.rounded_to_milli().to_string();
        }
    }
}
