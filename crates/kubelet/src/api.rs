//! The worker's seam to the API server, over the pipelined batch stream.

use gantry_client::{Batch, Client, DeleteParams, Error, Key, Patch, ResourceId, Write};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::worker::PodApi;

/// Writes pods.
pub(crate) struct Pods {
    batch: Batch,
}

impl Pods {
    /// Writes through this client.
    pub(crate) fn new(client: &Client) -> Self {
        Self { batch: client.batch() }
    }
}

fn pods() -> ResourceId {
    ResourceId::new("", "v1", "pods")
}

/// Gone, or another one under the same name.
fn gone(error: &Error) -> bool {
    error.is_not_found() || error.is_conflict()
}

#[async_trait::async_trait]
impl PodApi for Pods {
    async fn patch_status(&self, pod: &Pod, patch: Value) -> Result<Option<Pod>, String> {
        let write = Write::Patch {
            resource: pods(),
            key: Key::of(&pod.metadata),
            subresource: "status".to_owned(),
            patch: Patch::Strategic(patch),
        };
        match self.batch.submit(write).await {
            Ok(value) => serde_json::from_value(value).map(Some).map_err(|error| error.to_string()),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(gantry_common::error_chain(&error)),
        }
    }

    async fn delete(&self, pod: &Pod) -> Result<(), String> {
        let params = DeleteParams::default().grace(0).uid(pod.metadata.uid.clone().unwrap_or_default());
        let write = Write::Delete { resource: pods(), key: Key::of(&pod.metadata), params };
        match self.batch.submit(write).await {
            Ok(_) => Ok(()),
            Err(error) if gone(&error) => Ok(()),
            Err(error) => Err(gantry_common::error_chain(&error)),
        }
    }
}
