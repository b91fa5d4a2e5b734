//! The endpoints of a Service: which are ready, and whose they are.

use gantry_api::kinds;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_proto::v1::DialRequest;
use gantry_proto::v1::open_session::Kind;
use gantry_store::encoded::Encoded;
use rand::seq::SliceRandom;

use super::{Dialed, Error, Way, authority, load, number, open, to_pod, usable};
use crate::app::App;

/// The index of EndpointSlices by Service, the first of their view.
const SLICES_BY_SERVICE: usize = 0;
/// The label that says whose endpoints a slice holds.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Endpoints that are tried before the Service counts as unreachable.
const TRIES: usize = 3;

/// `namespace/service` of a slice.
pub(crate) fn service_of(slice: &Encoded) -> Option<Box<str>> {
    let meta = slice.meta();
    Some(format!("{}/{}", meta.namespace, meta.label(SERVICE_NAME)?).into())
}

/// A Service and its port.
pub(super) struct Wanted<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) port: &'a str,
    pub(super) outside: bool,
}

/// One endpoint, as its slice has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    address: String,
    port: u16,
    /// Name and UID of the pod that it claims to be, of the slice's own namespace.
    pod: Option<(String, String)>,
    node: String,
    /// A name instead of an address.
    is_name: bool,
}

/// What the slices say of a Service's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoints {
    Ready,
    NoSlices,
    NoneReady,
}

/// Whether a port of a Service, by its name, has endpoints that can be dialled.
pub(crate) fn endpoints(app: &App, namespace: &str, name: &str, port: &str) -> Endpoints {
    let wanted = Wanted { namespace, name, port, outside: true };
    match slices(app, &wanted) {
        Ok(slices) if slices.is_empty() => Endpoints::NoSlices,
        Ok(slices) if !candidates(&slices, &wanted, port).is_empty() => Endpoints::Ready,
        _ => Endpoints::NoneReady,
    }
}

/// Connects to the name that a Service stands for.
async fn dial_name(app: &App, wanted: &Wanted<'_>, host: &str) -> Result<Dialed, Error> {
    let port = number(wanted.port)
        .ok_or_else(|| Status::unavailable(format!("service {:?} has no port {:?}", wanted.name, wanted.port)))?;
    let stream = open(app, Way::Direct { host: host.to_owned(), port }).await?;
    Ok(Dialed { stream, authority: authority(host, port), server_name: Some(host.to_owned()) })
}

/// Connects to one of the ready endpoints, in random order.
pub(super) async fn dial(app: &App, wanted: &Wanted<'_>) -> Result<Dialed, Error> {
    let service = load(app, "services", wanted.namespace, wanted.name).await?;
    if wanted.outside
        && value::str_at(&service, "spec.type") == Some("ExternalName")
        && let Some(host) = value::str_at(&service, "spec.externalName")
    {
        return dial_name(app, wanted, host).await;
    }
    let mut last = None;
    let mut tried = 0;
    for candidate in ready(app, &service, wanted)? {
        let Some(way) = way(app, wanted, &candidate).await? else { continue };
        match open(app, way).await {
            Ok(stream) => {
                return Ok(Dialed {
                    stream,
                    authority: authority(&candidate.address, candidate.port),
                    server_name: Some(format!("{}.{}.svc", wanted.name, wanted.namespace)),
                });
            }
            Err(error) => last = Some(error),
        }
        tried += 1;
        if tried == TRIES {
            break;
        }
    }
    Err(last.unwrap_or_else(|| Error::Refused(no_endpoints(wanted))))
}

/// Whether one of the ready endpoints can be dialled, without dialling it.
///
/// # Errors
/// 404 for a Service that is not there, 503 for one without endpoints or without the port.
pub(super) async fn look_up(app: &App, wanted: &Wanted<'_>) -> Result<(), Status> {
    let service = load(app, "services", wanted.namespace, wanted.name).await?;
    for candidate in ready(app, &service, wanted)? {
        if way(app, wanted, &candidate).await?.is_some() {
            return Ok(());
        }
    }
    Err(no_endpoints(wanted))
}

/// The ready endpoints of the port that is meant, in random order.
fn ready(app: &App, service: &Value, wanted: &Wanted<'_>) -> Result<Vec<Candidate>, Status> {
    let port = port_name(service, wanted)?;
    let mut candidates = candidates(&slices(app, wanted)?, wanted, &port);
    candidates.shuffle(&mut rand::rng());
    Ok(candidates)
}

fn no_endpoints(wanted: &Wanted<'_>) -> Status {
    Status::unavailable(format!("no endpoints available for service {:?}", wanted.name))
}

/// The name of the Service's port that is meant.
fn port_name(service: &Value, wanted: &Wanted<'_>) -> Result<String, Status> {
    let ports = value::list_at(service, "spec.ports");
    let name = |port: &Value| value::str_at(port, "name").unwrap_or_default().to_owned();
    match (wanted.port, ports) {
        ("", [only]) => Ok(name(only)),
        (text, _) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            let found = number(text).and_then(|n| ports.iter().find(|p| p["port"] == n));
            found.map(name).ok_or_else(|| {
                Status::unavailable(format!("no service port {text} found for service {:?}", wanted.name))
            })
        }
        (text, _) => Ok(text.to_owned()),
    }
}

fn slices(app: &App, wanted: &Wanted<'_>) -> Result<Vec<Value>, Status> {
    let kind = kinds::by_resource("discovery.k8s.io", "v1", "endpointslices").ok_or_else(Status::no_such_resource)?;
    let key = format!("{}/{}", wanted.namespace, wanted.name);
    let (found, _) = app.view(kind).by_index(SLICES_BY_SERVICE, &key);
    let parse = |json: &[u8]| serde_json::from_slice(json).map_err(Status::internal);
    found.iter().map(|slice| parse(slice.json())).collect()
}

/// The endpoints that are ready and have the port.
fn candidates(slices: &[Value], wanted: &Wanted<'_>, port: &str) -> Vec<Candidate> {
    let mut found = Vec::new();
    for slice in slices {
        let named = value::list_at(slice, "ports").iter().find(|p| {
            value::str_at(p, "name").unwrap_or_default() == port
                && value::str_at(p, "protocol").unwrap_or("TCP") == "TCP"
        });
        let Some(port) = named.and_then(|p| value::i64_at(p, "port")).and_then(|n| u16::try_from(n).ok()) else {
            continue;
        };
        for endpoint in value::list_at(slice, "endpoints") {
            let ready = value::get(endpoint, "conditions.ready").and_then(Value::as_bool).unwrap_or(true);
            let address = value::list_at(endpoint, "addresses").first().and_then(Value::as_str);
            if let Some(address) = address.filter(|_| ready && port != 0) {
                let is_name = value::str_at(slice, "addressType") == Some("FQDN");
                found.extend(candidate(endpoint, address, port, wanted).map(|c| Candidate { is_name, ..c }));
            }
        }
    }
    found
}

fn candidate(endpoint: &Value, address: &str, port: u16, wanted: &Wanted<'_>) -> Option<Candidate> {
    let text = |path: &str| value::str_at(endpoint, path).unwrap_or_default();
    let pod = match text("targetRef.kind") {
        "Pod" => {
            let namespace = text("targetRef.namespace");
            if !namespace.is_empty() && namespace != wanted.namespace {
                // A slice speaks for its own namespace only.
                return None;
            }
            Some((text("targetRef.name").to_owned(), text("targetRef.uid").to_owned()))
        }
        _ if wanted.outside => None,
        // Whoever may write slices must not choose what the API server connects to.
        _ => return None,
    };
    let node = text("nodeName").to_owned();
    Some(Candidate { address: address.to_owned(), port, pod, node, is_name: false })
}

/// The way to an endpoint; nothing for one that is not what it claims to be.
async fn way(app: &App, wanted: &Wanted<'_>, candidate: &Candidate) -> Result<Option<Way>, Status> {
    let Candidate { address, port, pod, node, is_name } = candidate;
    if let Some((name, uid)) = pod {
        let pod = match load(app, "pods", wanted.namespace, name).await {
            Ok(pod) => pod,
            Err(status) if status.code == 404 => return Ok(None),
            Err(status) => return Err(status),
        };
        return Ok(if owns(&pod, uid, address) { to_pod(&pod, address, *port).ok() } else { None });
    }
    if *is_name || node.is_empty() {
        return Ok(Some(Way::Direct { host: address.clone(), port: *port }));
    }
    let request = DialRequest { address: address.clone(), port: (*port).into(), ..DialRequest::default() };
    Ok(usable(address).map(|_| Way::Node { node: node.clone(), kind: Kind::Dial(request) }))
}

/// Whether the pod has this address.
fn owns(pod: &Value, uid: &str, address: &str) -> bool {
    let same = uid.is_empty() || value::str_at(pod, "metadata.uid") == Some(uid);
    let mut addresses = value::list_at(pod, "status.podIPs").iter().filter_map(|ip| ip["ip"].as_str());
    same && usable(address).is_some()
        && (addresses.any(|ip| ip == address) || value::str_at(pod, "status.podIP") == Some(address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(port: &'static str, outside: bool) -> Wanted<'static> {
        Wanted { namespace: "a", name: "web", port, outside }
    }

    #[test]
    fn ports_are_names_numbers_or_the_only_one() {
        let check = |ports: Value, port: &'static str, expected: Result<&str, &str>| {
            let got = port_name(&json!({"spec": {"ports": ports}}), &wanted(port, false)).map_err(|s| s.message);
            assert_eq!(got.as_deref().map_err(String::as_str), expected);
        };
        let two = || json!([{"name": "http", "port": 80}, {"name": "tls", "port": 443}]);
        check(two(), "443", Ok("tls"));
        check(two(), "http", Ok("http"));
        check(two(), "81", Err("no service port 81 found for service \"web\""));
        check(two(), "99999", Err("no service port 99999 found for service \"web\""));
        check(two(), "", Ok(""));
        check(json!([{"port": 80}]), "", Ok(""));
        check(json!([{"name": "only", "port": 80}]), "", Ok("only"));
    }

    #[test]
    fn endpoints_are_ready_and_have_the_port() {
        let pod = |name: &str, more: Value| {
            let mut endpoint = json!({"addresses": ["10.244.0.2", "10.244.0.3"], "nodeName": "n1",
                "targetRef": {"kind": "Pod", "name": name, "namespace": "a", "uid": "u"}});
            endpoint.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
            endpoint
        };
        let slice = |endpoints: Value| {
            json!({"addressType": "IPv4", "endpoints": endpoints,
                "ports": [{"name": "udp", "port": 53, "protocol": "UDP"}, {"name": "http", "port": 8080, "protocol": "TCP"}]})
        };
        let names = |slices: &[Value], port: &str, outside: bool| -> Vec<String> {
            let found = candidates(slices, &wanted("", outside), port).into_iter();
            found.map(|c| format!("{}:{} {}", c.address, c.port, c.pod.map_or_else(String::new, |p| p.0))).collect()
        };
        let all = slice(json!([
            pod("ready", json!({})),
            pod("not", json!({"conditions": {"ready": false}})),
            pod("thief", json!({"targetRef": {"kind": "Pod", "name": "thief", "namespace": "b"}})),
            {"addresses": ["192.0.2.1"]},
        ]));
        assert_eq!(names(std::slice::from_ref(&all), "http", false), ["10.244.0.2:8080 ready"]);
        assert_eq!(names(std::slice::from_ref(&all), "http", true), ["10.244.0.2:8080 ready", "192.0.2.1:8080 "]);
        assert!(names(std::slice::from_ref(&all), "udp", false).is_empty(), "a proxy speaks TCP");
        assert!(names(std::slice::from_ref(&all), "", false).is_empty());
    }

    #[test]
    fn an_address_must_be_the_pods_own() {
        let pod = json!({"metadata": {"uid": "u"}, "status": {"podIP": "10.244.0.2", "podIPs": [{"ip": "10.244.0.2"}, {"ip": "fd00::2"}]}});
        for (uid, address, expected) in
            [("u", "10.244.0.2", true), ("", "fd00::2", true), ("v", "10.244.0.2", false), ("u", "10.244.0.9", false)]
        {
            assert_eq!(owns(&pod, uid, address), expected, "{uid} {address}");
        }
        let loopback = json!({"metadata": {"uid": "u"}, "status": {"podIP": "127.0.0.1"}});
        assert!(!owns(&loopback, "u", "127.0.0.1"));
    }
}
