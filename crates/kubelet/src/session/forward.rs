//! One connection to a port of a pod's own `localhost`.

use gantry_api::status::Status;
use gantry_proto::v1::PortForwardRequest;
use tokio::net::TcpStream;

use super::{
    Context, Work,
    answer::{self, Ended},
    link::{Incoming, Outgoing},
    socket::{self, Place},
    target::Target,
};
use crate::pod;

/// An open connection.
pub(super) struct Forward {
    stream: TcpStream,
    /// Where it leads, for the errors.
    port: u16,
    pod: String,
    uid: String,
}

fn failed(port: u16, pod: &str, uid: &str, why: &str) -> Status {
    Status::failure(500, "InternalError", format!("error forwarding port {port} to pod {pod}, uid {uid}: {why}"))
}

/// Opens the connection.
pub(super) async fn prepare(context: &Context, request: PortForwardRequest) -> Result<(Box<dyn Work>, Target), Status> {
    let deps = &context.deps;
    let (namespace, name) = (&request.namespace, &request.pod);
    let target = Target::find(context.pods.as_ref(), &deps.observed, namespace, name, &request.pod_uid)?;
    let port = super::port(request.port)?;
    let place = if pod::host_network(&target.pod) {
        Place::Node
    } else {
        Place::Container { pid: target.sandbox.pid, id: target.sandbox.id.clone() }
    };
    let uid = pod::reference(&target.pod).uid;
    let stream = socket::connect_local(&place, port).await.map_err(|why| {
        let why = format!("failed to connect to localhost:{port} inside the pod's network namespace, {why}");
        failed(port, name, &uid, &why)
    })?;
    Ok((Box::new(Forward { stream, port, pod: request.pod, uid }), target))
}

#[async_trait::async_trait]
impl Work for Forward {
    async fn run(self: Box<Self>, incoming: &mut Incoming, outgoing: &Outgoing) -> Ended {
        let Self { stream, port, pod, uid } = *self;
        let copied = socket::copy(stream, incoming, outgoing).await;
        socket::ended(copied, |why| answer::failure(&failed(port, &pod, &uid, why)))
    }
}
