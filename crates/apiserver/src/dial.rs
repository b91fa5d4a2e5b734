//! Connections from the API server to pods, Services and nodes: through a session with the node that has the address, so nothing
//! dials a node. Only an address that belongs to no node is dialled from here, after `direct` has looked at it.
//!
//! Proxies use this, and whatever else has to reach into the cluster.

pub(crate) mod backend;
mod direct;
mod service;
mod stream;

use gantry_api::kinds::{self, KindInfo};
use gantry_api::status::Status;
use gantry_api::{Value, containers, value};
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::{DialRequest, KubeletRequest};

use crate::app::App;
use crate::pipeline::current;
use crate::request::Target;
use crate::sessions::Start;

pub(crate) use service::{Endpoints, endpoints, service_of};
pub(crate) use stream::DialStream;

/// The kubelet's port upstream: who names it means the kubelet, which has no port here.
const KUBELET_PORT: &str = "10250";

/// What is to be reached. Ports are numbers or names, or `""` for what upstream then takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint<'a> {
    /// A pod; the port of its first container that has one.
    Pod { namespace: &'a str, name: &'a str, port: &'a str },
    /// One of the ready endpoints of a Service; its only port. `outside`: also endpoints that are no pods.
    Service { namespace: &'a str, name: &'a str, port: &'a str, outside: bool },
    /// A node: its kubelet's own API, or another port.
    Node { name: &'a str, port: &'a str },
}

/// An open connection.
pub(crate) struct Dialed {
    pub(crate) stream: DialStream,
    /// `host:port` of who is at the other end.
    pub(crate) authority: String,
    /// The name that a certificate of the other end must bear; none where the connection is as good as TLS already.
    pub(crate) server_name: Option<String>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is not there, or must not be reached.
    #[error("{0}")]
    Refused(Status),
    /// It is there, but does not answer.
    #[error("{0}")]
    Unreachable(Status),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl Error {
    /// What the client of a proxy is told, in upstream's words.
    pub(crate) fn proxied(self) -> Status {
        match self {
            Self::Refused(status) => status,
            // These say more than that it cannot be reached.
            Self::Unreachable(status) if matches!(status.code, 403 | 429) => status,
            Self::Unreachable(status) => {
                Status::unavailable(format!("error trying to reach service: {}", status.message))
            }
        }
    }
}

/// Where one connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// Through a session with a node.
    Node { node: String, kind: Kind },
    /// From here.
    Direct { host: String, port: u16 },
}

/// What was looked up, before anybody connects to it; the fields are those of [`Dialed`].
struct Place {
    way: Way,
    authority: String,
    server_name: Option<String>,
}

async fn load(app: &App, resource: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let kind: &KindInfo = kinds::by_resource("", "v1", resource).ok_or_else(Status::no_such_resource)?;
    let target = Target::new(kind, namespace, name);
    // The name becomes part of a key.
    if name.contains(['/', '\0']) || matches!(name, "" | "." | "..") {
        return Err(target.not_found());
    }
    Ok(current::load(app, &target).await?.ok_or_else(|| target.not_found())?.value)
}

/// Connects. `default_port` is the scheme's.
///
/// # Errors
/// 404 for what is not there, 400 for addresses and ports that cannot be meant, 503 when nobody can be reached.
pub(crate) async fn dial(app: &App, endpoint: Endpoint<'_>, default_port: u16) -> Result<Dialed, Error> {
    let Place { way, authority, server_name } = match endpoint {
        Endpoint::Pod { namespace, name, port } => pod_place(app, namespace, name, (port, default_port)).await?,
        Endpoint::Service { namespace, name, port, outside } => {
            return service::dial(app, &service::Wanted { namespace, name, port, outside }).await;
        }
        Endpoint::Node { name, port } => node_place(app, name, port).await?,
    };
    Ok(Dialed { stream: open(app, way).await?, authority, server_name })
}

/// Looks up what is to be reached, and connects to nothing.
///
/// # Errors
/// 404 for what is not there, 400 for addresses and ports that cannot be meant, 503 for a Service without endpoints.
pub(crate) async fn look_up(app: &App, endpoint: Endpoint<'_>, default_port: u16) -> Result<(), Status> {
    match endpoint {
        Endpoint::Pod { namespace, name, port } => {
            pod_place(app, namespace, name, (port, default_port)).await.map(drop)
        }
        Endpoint::Service { namespace, name, port, outside } => {
            service::look_up(app, &service::Wanted { namespace, name, port, outside }).await
        }
        Endpoint::Node { name, port } => node_place(app, name, port).await.map(drop),
    }
}

/// Connects to a host outside of the cluster, which must not be one of its own: see `direct`.
///
/// # Errors
/// 403 for addresses that are forbidden, 503 when nobody answers.
pub(crate) async fn outside(app: &App, host: &str, port: u16) -> Result<DialStream, Error> {
    open(app, Way::Direct { host: host.to_owned(), port }).await
}

/// Connects to a host that the operator has named in a file of this server's own: it may be anywhere.
///
/// # Errors
/// 503 when nobody answers.
pub(crate) async fn anywhere(host: &str, port: u16) -> Result<DialStream, Error> {
    direct::connect_freely(host, port).await.map(DialStream::direct).map_err(Error::Unreachable)
}

/// A pod's own address and port; `default` is the port where nobody names one.
async fn pod_place(app: &App, namespace: &str, name: &str, (port, default): (&str, u16)) -> Result<Place, Status> {
    let pod = load(app, "pods", namespace, name).await?;
    let port = pod_port(&pod, port, default)?;
    let address = pod_address(&pod)?;
    let way = to_pod(&pod, &address, port)?;
    Ok(Place { way, authority: authority(&address, port), server_name: Some(address) })
}

async fn node_place(app: &App, name: &str, port: &str) -> Result<Place, Status> {
    // The node is looked up by its name: a name is never taken for an address.
    let node = load(app, "nodes", "", name).await?;
    if matches!(port, "" | KUBELET_PORT) {
        let kind = Kind::Kubelet(KubeletRequest { node: name.to_owned() });
        let way = Way::Node { node: name.to_owned(), kind };
        return Ok(Place { way, authority: format!("{name}:{KUBELET_PORT}"), server_name: None });
    }
    let port = number(port).ok_or_else(|| Status::bad_request(format!("invalid port {port:?} of node {name:?}")))?;
    let addresses = value::list_at(&node, "status.addresses").iter();
    let internal = addresses.filter(|a| a["type"] == "InternalIP").find_map(|a| a["address"].as_str());
    let address = usable(internal.unwrap_or_default()).ok_or_else(|| Status::bad_request("address not allowed"))?;
    let request = DialRequest { address: address.clone(), port: port.into(), ..DialRequest::default() };
    let way = Way::Node { node: name.to_owned(), kind: Kind::Dial(request) };
    Ok(Place { way, authority: authority(&address, port), server_name: Some(address) })
}

/// The way to a pod's own address, which the node checks again.
fn to_pod(pod: &Value, address: &str, port: u16) -> Result<Way, Status> {
    let text = |path: &str| value::str_at(pod, path).unwrap_or_default().to_owned();
    let node = text("spec.nodeName");
    if node.is_empty() {
        return Err(Status::bad_request("address not allowed"));
    }
    let request = DialRequest {
        namespace: text("metadata.namespace"),
        pod: text("metadata.name"),
        pod_uid: text("metadata.uid"),
        address: address.to_owned(),
        port: port.into(),
    };
    Ok(Way::Node { node, kind: Kind::Dial(request) })
}

async fn open(app: &App, way: Way) -> Result<DialStream, Error> {
    let opened = match way {
        Way::Node { node, kind } => app.sessions.open(&node, kind, Start::AtOnce).await.map(DialStream::session),
        Way::Direct { host, port } => direct::connect(app, &host, port).await.map(DialStream::direct),
    };
    opened.map_err(Error::Unreachable)
}

fn authority(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn number(port: &str) -> Option<u16> {
    port.parse().ok().filter(|port| *port != 0)
}

/// A unicast address that may be somebody's own.
fn usable(address: &str) -> Option<String> {
    let ip = address.parse().ok()?;
    direct::refusal(ip).is_none().then(|| address.to_owned())
}

/// The address that the pod's node says it has.
fn pod_address(pod: &Value) -> Result<String, Status> {
    let first = value::list_at(pod, "status.podIPs").first().and_then(|ip| ip["ip"].as_str());
    let address = value::str_at(pod, "status.podIP").filter(|ip| !ip.is_empty()).or(first);
    usable(address.unwrap_or_default()).ok_or_else(|| Status::bad_request("address not allowed"))
}

fn pod_port(pod: &Value, wanted: &str, default: u16) -> Result<u16, Status> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let declared = |port: &Value| value::i64_at(port, "containerPort").and_then(|n| u16::try_from(n).ok());
    if wanted.is_empty() {
        let regular = containers::of(spec, containers::Sort::Regular).iter();
        return Ok(regular.flat_map(|c| value::list_at(c, "ports")).find_map(declared).unwrap_or(default));
    }
    let ports = containers::all(spec).flat_map(|(_, container)| value::list_at(container, "ports"));
    let named = || ports.into_iter().filter(|port| port["name"] == wanted).find_map(declared);
    number(wanted).or_else(named).ok_or_else(|| {
        let name = value::str_at(pod, "metadata.name").unwrap_or_default();
        Status::bad_request(format!("pod {name:?} has no port {wanted:?}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_port_of_a_pod_is_found() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "initContainers": [{"ports": [{"containerPort": 7, "name": "init"}]}],
            "containers": [{}, {"ports": [{"containerPort": 8080, "name": "web"}, {"containerPort": 9}]}]}});
        let check =
            |wanted: &str, expected: Option<u16>| assert_eq!(pod_port(&pod, wanted, 80).ok(), expected, "{wanted}");
        check("", Some(8080));
        check("web", Some(8080));
        check("init", Some(7));
        check("443", Some(443));
        check("0", None);
        check("65536", None);
        check("nope", None);
        assert_eq!(pod_port(&json!({"spec": {}}), "", 443), Ok(443));
    }

    #[test]
    fn only_a_pods_own_address_is_dialled() {
        let check = |ip: &str, expected: bool| {
            let pod = json!({"status": {"podIP": ip}});
            assert_eq!(pod_address(&pod).is_ok(), expected, "{ip}");
        };
        check("10.244.0.7", true);
        check("fd00::7", true);
        for bad in ["", "127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1", "localhost"] {
            check(bad, false);
        }
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"nodeName": "n1"}});
        let way = to_pod(&pod, "10.244.0.7", 80).expect("bound");
        let Way::Node { node, kind: Kind::Dial(request) } = way else { panic!("through its node") };
        assert_eq!((node.as_str(), request.pod_uid.as_str(), request.port), ("n1", "u", 80));
        assert!(to_pod(&json!({"spec": {}}), "10.244.0.7", 80).is_err(), "a pod without a node has no address");
    }
}
