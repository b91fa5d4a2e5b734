//! `pods/{name}/exec`, `attach` and `portforward`: requests that turn their connection into something else.
//!
//! Everything that can be refused is refused before the connection changes: the node has said hello by then. WebSocket and
//! SPDY are translations to the same session; nothing behind this folder knows either.

pub(crate) mod channel;
mod forward;
pub(crate) mod handshake;
mod ports;
mod spdy;
mod tunnel;
pub(crate) mod websocket;

use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::Status;
use gantry_common::task;
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::{AttachRequest, ExecRequest, PortForwardRequest};
use http::Method;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tracing::debug;

use self::handshake::{Agreed, Offered, Refused};
use super::answer;
use super::handler::Incoming;
use crate::app::App;
use crate::request::Target;
use crate::server::Response;
use crate::sessions::grant::{Ask, Grant, grant};
use crate::sessions::{Opened, is_unreachable};

/// How long the answer may take to leave, after which the connection is ours.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a request is for this module.
pub(crate) fn serves(target: &Target) -> bool {
    matches!(target.subresource, "exec" | "attach" | "portforward")
}

/// Answers the request: 101, or why not.
///
/// # Errors
/// A Status in upstream's words.
pub(crate) async fn start(
    app: &Arc<App>,
    request: &Incoming,
    bodyless: bool,
    target: &Target,
) -> Result<Response, Status> {
    if !matches!(request.method, Method::GET | Method::POST) {
        return Err(Status::method_not_allowed());
    }
    let mut grant = grant(app, Ask::of(request), wanted(request, target)).await?;
    let agreed = if bodyless {
        handshake::agree(&request.method, &request.headers, offered(target))
    } else {
        Err(Refused::from(Status::bad_request("a request that asks for an upgrade cannot have a body")))
    };
    let agreed = match agreed {
        Ok(agreed) => agreed,
        Err(refused) => {
            grant.refuse(&refused.status);
            return Ok(refused.response(request.style));
        }
    };
    let Some(upgrade) = request.upgrade.lock().take() else {
        let status = Status::bad_request("Upgrade request required");
        grant.refuse(&status);
        return Err(status);
    };
    let response = agreed.response();
    if target.subresource == "portforward" {
        let ports = match (&agreed, ports::of(request.query.all("ports"), agreed.is_base64())) {
            (Agreed::WebSocket { .. }, Err(status)) => {
                grant.refuse(&status);
                return Err(status);
            }
            (_, ports) => ports.unwrap_or_default(),
        };
        grant.check_node()?;
        drop(task::spawn("session", port_forward(grant, agreed, ports, upgrade)));
        return Ok(response);
    }
    let opened = match grant.open(agreed.start()).await {
        // Upstream passes on the text of its kubelet, by which kubectl says that the connection could not be upgraded.
        Err(status) if status.code == 500 && !is_unreachable(&status) && matches!(agreed, Agreed::Spdy { .. }) => {
            return Ok(answer::text(status.code, status.message));
        }
        opened => opened?,
    };
    drop(task::spawn("session", remote_command(grant, opened, agreed, upgrade)));
    Ok(response)
}

fn offered(target: &Target) -> Offered {
    if target.subresource == "portforward" {
        return Offered { websocket: channel::PORT_FORWARD, tunnel: true, spdy: handshake::PORT_FORWARD };
    }
    Offered { websocket: channel::REMOTE_COMMAND, tunnel: false, spdy: handshake::REMOTE_COMMAND }
}

/// The session that the path and the query name.
fn wanted(request: &Incoming, target: &Target) -> Kind {
    let query = &request.query;
    let (namespace, pod) = (target.namespace.clone(), target.name.clone());
    let container = query.get("container").to_owned();
    let (stdin, stdout) = (query.flag("stdin"), query.flag("stdout"));
    let (stderr, tty) = (query.flag("stderr"), query.flag("tty"));
    let pod_uid = String::new();
    match target.subresource {
        "exec" => {
            let command = query.all("command").to_vec();
            Kind::Exec(ExecRequest { namespace, pod, pod_uid, container, command, stdin, stdout, stderr, tty })
        }
        "attach" => Kind::Attach(AttachRequest { namespace, pod, pod_uid, container, stdin, stdout, stderr, tty }),
        _ => Kind::PortForward(PortForwardRequest { namespace, pod, pod_uid, port: 0 }),
    }
}

/// The connection, once the answer has left.
pub(crate) async fn connection(upgrade: OnUpgrade) -> Option<TokioIo<Upgraded>> {
    match tokio::time::timeout(UPGRADE_TIMEOUT, upgrade).await {
        Ok(Ok(upgraded)) => Some(TokioIo::new(upgraded)),
        Ok(Err(error)) => {
            debug!(%error, "a connection could not be upgraded");
            None
        }
        Err(_) => None,
    }
}

/// The streams that a client of exec or attach expects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Streams {
    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Exec(r) => Self { stdin: r.stdin, stdout: r.stdout, stderr: r.stderr, tty: r.tty },
            Kind::Attach(r) => Self { stdin: r.stdin, stdout: r.stdout, stderr: r.stderr, tty: r.tty },
            _ => Self { stdin: false, stdout: false, stderr: false, tty: false },
        }
    }

    /// The lowest channel that the server writes to.
    fn first(self) -> u8 {
        match (self.stdout, self.stderr) {
            (true, _) => channel::STDOUT,
            (false, true) => channel::STDERR,
            (false, false) => channel::ERROR,
        }
    }
}

async fn remote_command(mut grant: Grant, opened: Opened, agreed: Agreed, upgrade: OnUpgrade) {
    let streams = Streams::of(&grant.kind);
    let connected = tokio::select! {
        connected = connection(upgrade) => connected,
        status = grant.lost(&opened) => return grant.refuse(&status),
    };
    let Some(io) = connected else { return };
    match agreed {
        Agreed::WebSocket { protocol, .. } => {
            if let Some((source, sink)) = websocket::channels(io, protocol, streams).await {
                grant.run(opened, source, sink).await;
            }
        }
        Agreed::Spdy { protocol } => match spdy::channels(io, protocol, streams, grant.lost(&opened)).await {
            Ok((source, sink)) => {
                opened.begin().await;
                grant.run(opened, source, sink).await;
            }
            Err(status) => grant.refuse(&status),
        },
        // Offered to port-forwards alone.
        Agreed::Tunnel { .. } => {}
    }
}

async fn port_forward(grant: Grant, agreed: Agreed, ports: Vec<u16>, upgrade: OnUpgrade) {
    let Some(io) = connection(upgrade).await else { return };
    match agreed {
        Agreed::WebSocket { protocol, .. } => {
            grant.run_many(|connector| ports::serve(io, protocol, ports, connector)).await;
        }
        Agreed::Tunnel { .. } => {
            let io = tunnel::Tunnel::new(io).await;
            grant.run_many(|connector| forward::serve(io, connector)).await;
        }
        Agreed::Spdy { .. } => grant.run_many(|connector| forward::serve(io, connector)).await,
    }
}
