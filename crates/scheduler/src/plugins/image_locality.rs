//! Prefers nodes that already hold the pod's images.

use super::{MAX_SCORE, Plugin};
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

/// Below this, a pull is so quick that it must not decide (upstream's value).
const MIN_BYTES: i64 = 23 * 1024 * 1024;
/// Per container, more than this counts no further (upstream's value).
const MAX_BYTES_PER_CONTAINER: i64 = 1000 * 1024 * 1024;

pub(super) struct ImageLocality;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn weight(&self) -> i64 {
        1
    }

    /// Bytes present, each image scaled by its spread so that pods do not heap on the one node that has it.
    fn score(&self, pod: &PodInfo, node: &NodeInfo, snapshot: &Snapshot) -> i64 {
        let total = i64::try_from(snapshot.nodes().len()).unwrap_or(i64::MAX).max(1);
        let present = pod.images.iter().filter_map(|image| Some((image, *node.images.get(image)?)));
        let bytes: i64 = present
            .map(|(image, size)| {
                let holders = i64::try_from(snapshot.nodes_with_image(image)).unwrap_or(i64::MAX);
                size.saturating_mul(holders) / total
            })
            .sum();
        let containers = i64::try_from(pod.images.len()).unwrap_or(1).max(1);
        let ceiling = MAX_BYTES_PER_CONTAINER.saturating_mul(containers);
        MAX_SCORE * (bytes.clamp(MIN_BYTES, ceiling) - MIN_BYTES) / (ceiling - MIN_BYTES)
    }
}
