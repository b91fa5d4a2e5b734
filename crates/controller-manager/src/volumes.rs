//! What volumes and claims name.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

/// The classes that the claim has, wants or is being given.
#[must_use]
pub fn classes_of_claim(claim: &PersistentVolumeClaim) -> Vec<String> {
    let status = claim.status.as_ref();
    let wanted = claim.spec.as_ref().and_then(|s| s.volume_attributes_class_name.as_ref());
    let current = status.and_then(|s| s.current_volume_attributes_class_name.as_ref());
    let target = status
        .and_then(|s| s.modify_volume_status.as_ref())
        .and_then(|m| m.target_volume_attributes_class_name.as_ref());
    let mut names: Vec<String> =
        [wanted, current, target].into_iter().flatten().filter(|n| !n.is_empty()).cloned().collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The class that the volume has.
#[must_use]
pub fn classes_of_volume(volume: &PersistentVolume) -> Vec<String> {
    let name = volume.spec.as_ref().and_then(|s| s.volume_attributes_class_name.clone());
    name.filter(|n| !n.is_empty()).into_iter().collect()
}
