//! The gRPC services of `gantry.v1`: thin translations to the calls that REST uses too.

pub(crate) mod answers;
pub(crate) mod batch;
pub(crate) mod cluster;
pub(crate) mod convert;
pub(crate) mod deadline;
pub(crate) mod entry;
mod failure;
mod health;
pub(crate) mod nodes;
pub(crate) mod objects;
mod passed;
mod reflection;
pub(crate) mod sessions;

use std::sync::Arc;

use gantry_proto::v1::cluster_server::ClusterServer;
use gantry_proto::v1::nodes_server::NodesServer;
use gantry_proto::v1::objects_server::ObjectsServer;
use gantry_proto::v1::sessions_server::SessionsServer;
use tonic::service::Routes;

use crate::app::App;
use crate::rest::handler::BODY_BYTES_MAX;

/// Bytes of one request message: an object and its envelope.
const MESSAGE_BYTES_MAX: usize = BODY_BYTES_MAX + 64 * 1024;

/// Bytes of one message of a client's session: a long command, or a frame.
const SESSION_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Bytes of one message that asks for little: names, and nothing of what is stored.
const SMALL_MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// All services.
pub(crate) fn routes(app: &Arc<App>) -> Routes {
    let objects = ObjectsServer::new(objects::Objects(app.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(usize::MAX);
    let nodes = NodesServer::new(nodes::Nodes(app.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let sessions =
        SessionsServer::new(sessions::Sessions(app.clone())).max_decoding_message_size(SESSION_MESSAGE_BYTES_MAX);
    let cluster = ClusterServer::new(cluster::Cluster(app.clone())).max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX);
    Routes::new(objects)
        .add_service(nodes)
        .add_service(sessions)
        .add_service(cluster)
        .add_service(health::service(app).max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX))
        .add_service(reflection::current())
        .add_service(reflection::older())
        .prepare()
}
