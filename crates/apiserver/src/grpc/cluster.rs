//! The Cluster service: version and served resources.

use std::sync::Arc;

use bytes::Bytes;
use gantry_api::Value;
use gantry_api::discovery::{self, Root};
use gantry_proto::v1::cluster_server::Cluster as Service;
use gantry_proto::v1::{ResourcesReply, ResourcesRequest, VersionReply, VersionRequest};
use tonic::{Request, Response};

use super::convert;
use crate::app::App;
use crate::rest::health;

/// Serves what is known of the cluster.
pub(crate) struct Cluster(pub(crate) Arc<App>);

#[tonic::async_trait]
impl Service for Cluster {
    async fn version(&self, _request: Request<VersionRequest>) -> Result<Response<VersionReply>, tonic::Status> {
        Ok(Response::new(VersionReply { version: Bytes::from(health::version().to_string()) }))
    }

    async fn resources(&self, request: Request<ResourcesRequest>) -> Result<Response<ResourcesReply>, tonic::Status> {
        convert::caller(&request)?;
        Ok(Response::new(ResourcesReply { groups: Bytes::from(everything(&self.0).to_string()) }))
    }
}

/// Both halves of discovery as one list, with what other API servers serve.
fn everything(app: &App) -> Value {
    let kinds = app.kinds.kinds();
    let mut all = discovery::aggregated(&kinds, Root::Api);
    let local = discovery::aggregated(&kinds, Root::Apis);
    let mut named = app.aggregator.aggregated(local.to_string().as_bytes()).unwrap_or(local);
    if let (Some(Value::Array(items)), Some(Value::Array(more))) = (all.get_mut("items"), named.get_mut("items")) {
        items.append(more);
    }
    all
}
