//! Reads the elements out of nft's JSON listing.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::element::{Data, Elements, Frontend, Key, Protocol};

/// Why a listing cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON.
    #[error("nft printed something that is not JSON")]
    Json(#[from] serde_json::Error),
}

/// Every element that the proxy could have made. An element of another form cannot be ours; it is reported in the log and
/// left alone.
///
/// # Errors
/// When the listing is not JSON.
pub fn elements(listing: &str) -> Result<Elements, Error> {
    let listing: Value = serde_json::from_str(listing)?;
    let objects = listing.get("nftables").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut found = Elements::new();
    for container in objects.iter().filter_map(|o| o.get("map").or_else(|| o.get("set"))) {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        for item in container.get("elem").and_then(Value::as_array).into_iter().flatten() {
            match element(name, item) {
                Some((key, data)) => {
                    found.insert(key, data);
                }
                None => tracing::warn!(container = name, element = %item, "a foreign element in the proxy's table"),
            }
        }
    }
    Ok(found)
}

fn element(container: &str, item: &Value) -> Option<(Key, Data)> {
    let pair = item.as_array().filter(|pair| pair.len() == 2);
    let (key, data) = match pair {
        Some(pair) => (&pair[0], Some(&pair[1])),
        None => (item, None),
    };
    let parts = key.get("concat").and_then(Value::as_array).map_or_else(|| std::slice::from_ref(key), Vec::as_slice);
    let key = match (container, parts) {
        ("services", [ip, protocol, port]) => Key::Spread(service(ip, protocol, port)?),
        ("endpoints", [ip, protocol, port, slot]) => Key::Slot(service(ip, protocol, port)?, number(slot)?),
        ("node-ports", [protocol, port]) => Key::Spread(node_port(protocol, port)?),
        ("node-port-endpoints", [protocol, port, slot]) => Key::Slot(node_port(protocol, port)?, number(slot)?),
        ("refused-node-ports", [proto, port]) => Key::Refused(protocol(proto)?, number(port)?),
        ("cluster-ips", [ip]) => Key::ClusterIp(address(ip)?),
        ("hairpin", [from, to]) if from == to => Key::Hairpin(address(from)?),
        ("masquerade-tcp", [port]) => Key::Masquerade(Protocol::Tcp, number(port)?),
        ("masquerade-udp", [port]) => Key::Masquerade(Protocol::Udp, number(port)?),
        ("masquerade-sctp", [port]) => Key::Masquerade(Protocol::Sctp, number(port)?),
        _ => return None,
    };
    Some((key, data.map_or(Some(Data::Member), value)?))
}

fn service(ip: &Value, proto: &Value, port: &Value) -> Option<Frontend> {
    Some(Frontend::Service(address(ip)?, protocol(proto)?, number(port)?))
}

fn node_port(proto: &Value, port: &Value) -> Option<Frontend> {
    Some(Frontend::NodePort(protocol(proto)?, number(port)?))
}

fn value(data: &Value) -> Option<Data> {
    if data.get("drop").is_some() {
        return Some(Data::Drop);
    }
    if let Some([ip, port]) = data.get("concat").and_then(Value::as_array).map(Vec::as_slice) {
        return Some(Data::Endpoint(address(ip)?, number(port)?));
    }
    let target = data.get("goto")?.get("target")?.as_str()?;
    match target.trim_start_matches("node-") {
        "refuse" => Some(Data::Refuse),
        "sticky" => Some(Data::Sticky),
        chain => Some(Data::Random(chain.strip_prefix("pick")?.parse().ok()?)),
    }
}

fn address(value: &Value) -> Option<Ipv4Addr> {
    value.as_str()?.parse().ok()
}

fn protocol(value: &Value) -> Option<Protocol> {
    Protocol::ALL.into_iter().find(|p| value.as_str() == Some(p.name()))
}

fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    value.as_u64().and_then(|n| T::try_from(n).ok())
}
