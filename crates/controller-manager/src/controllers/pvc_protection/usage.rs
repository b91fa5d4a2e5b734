//! Which pods use which claims.

use gantry_client::{Key, Object};
use gantry_controller::owner;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use crate::pods;

/// The claims that the pod's volumes name.
pub(super) fn claims(pod: &Pod) -> Vec<Key> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
    pods::claims(pod).map(|name| Key::new(namespace, name)).collect()
}

/// Whether the pod uses the claim. One without a node does not: no kubelet starts a pod with a claim that is to go.
pub(super) fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let name = claim.metadata.name.as_deref().unwrap_or("");
    let same = pod.metadata.namespace == claim.metadata.namespace && !pods::node(pod).is_empty();
    same && pods::volumes(pod).iter().any(|volume| {
        if let Some(source) = &volume.persistent_volume_claim {
            return source.claim_name == name;
        }
        let made_for_it = || owner::controller_uid(&claim.metadata) == pod.uid();
        volume.ephemeral.is_some() && pods::ephemeral_claim(pod, volume) == name && !is_shut_down(pod) && made_for_it()
    })
}

/// Whether nothing of the pod runs any more: its kubelet is done with it, or it was deleted by force. It may still wait for
/// finalizers of its own, even for one that waits for its claims.
pub(super) fn is_shut_down(pod: &Pod) -> bool {
    pods::is_terminating(pod) && pod.metadata.deletion_grace_period_seconds == Some(0)
}
