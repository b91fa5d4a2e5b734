//! The bitmap of node ports: a `RangeAllocation`, its data the big-endian bytes of a number whose bit n is port first+n.

use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_api::field::{Error, Path};
use gantry_api::status::Status;
use gantry_api::{Value, decode, value};
use rand::Rng;
use serde_json::json;

use crate::app::App;
use crate::config::PortRange;
use crate::pipeline::current::store_failed;
use crate::registry::service;

const KEY: &str = "/registry/ranges/servicenodeports";

/// The ports in use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    range: PortRange,
    revision: u64,
    /// Little-endian: bit n of byte n/8.
    bits: Vec<u8>,
}

impl Map {
    fn empty(range: PortRange) -> Self {
        Self { range, revision: 0, bits: vec![0; range.len().div_ceil(8)] }
    }

    /// Reads the map.
    pub(super) async fn load(app: &App) -> Result<Self, Status> {
        let mut map = Self::empty(app.config.service_node_port_range);
        let Some(stored) = app.store.get(KEY).await.map_err(store_failed)? else { return Ok(map) };
        map.read(&stored.value)?;
        map.revision = stored.mod_revision;
        Ok(map)
    }

    /// Adds the ports of a stored map, in either of its forms.
    fn read(&mut self, stored: &[u8]) -> Result<(), Status> {
        let refuse =
            |why: &dyn Display| Status::internal(format!("the stored node port map {KEY} cannot be decoded: {why}"));
        let object: Value = if stored.starts_with(&decode::PROTOBUF_MAGIC) {
            decode::protobuf(stored).map_err(|e| refuse(&e))?
        } else {
            serde_json::from_slice(stored).map_err(|e| refuse(&e))?
        };
        let bytes = STANDARD.decode(value::str_at(&object, "data").unwrap_or_default()).map_err(Status::internal)?;
        let first = value::str_at(&object, "range")
            .and_then(|r| r.parse::<PortRange>().ok())
            .map_or(self.range.first, |r| r.first);
        for (at, byte) in bytes.iter().rev().enumerate() {
            for bit in (0..8).filter(|bit| byte & (1 << bit) != 0) {
                let port = usize::from(first) + at * 8 + bit;
                // A port outside of a range that was changed since stays with its Service, but is not tracked.
                if let Some(offset) = u16::try_from(port).ok().and_then(|p| self.offset(p)) {
                    self.set(offset, true);
                }
            }
        }
        Ok(())
    }

    fn offset(&self, port: u16) -> Option<usize> {
        (self.range.first..=self.range.last).contains(&port).then(|| usize::from(port - self.range.first))
    }

    fn get(&self, offset: usize) -> bool {
        self.bits[offset / 8] & (1 << (offset % 8)) != 0
    }

    fn set(&mut self, offset: usize, used: bool) {
        let bit = 1 << (offset % 8);
        if used {
            self.bits[offset / 8] |= bit;
        } else {
            self.bits[offset / 8] &= !bit;
        }
    }

    /// Takes a port.
    pub(super) fn take(&mut self, port: u16) -> Result<(), String> {
        let offset = self.offset(port).ok_or_else(|| {
            format!("provided port is not in the valid range. The range of valid ports is {}", self.range)
        })?;
        if self.get(offset) {
            return Err("provided port is already allocated".to_owned());
        }
        self.set(offset, true);
        Ok(())
    }

    /// Gives a port back.
    pub(super) fn release(&mut self, port: u16) {
        if let Some(offset) = self.offset(port) {
            self.set(offset, false);
        }
    }

    /// Takes any free port, of the first ones only when there is no other.
    fn take_any(&mut self) -> Option<u16> {
        let (lower, count) = (static_band(self.range.len()), self.range.len());
        let offset = self.free_of(lower, count).or_else(|| self.free_of(0, lower))?;
        self.set(offset, true);
        self.range.first.checked_add(u16::try_from(offset).ok()?)
    }

    /// A free one from `from` on and before `to`.
    fn free_of(&self, from: usize, to: usize) -> Option<usize> {
        let count = to.checked_sub(from).filter(|count| *count > 0)?;
        let start = rand::rng().random_range(0..count);
        (0..count).map(|i| from + (start + i) % count).find(|offset| !self.get(*offset))
    }

    /// Key, revision that it must have, and new value.
    pub(super) fn stored(&self) -> (String, u64, Bytes) {
        let bytes: Vec<u8> = self.bits.iter().rev().copied().skip_while(|b| *b == 0).collect();
        let object = json!({
            "apiVersion": "v1",
            "kind": "RangeAllocation",
            "metadata": {"creationTimestamp": null},
            "range": self.range.to_string(),
            "data": STANDARD.encode(bytes),
        });
        (KEY.to_owned(), self.revision, Bytes::from(object.to_string()))
    }
}

/// How many of the first ports are left to those who choose theirs (KEP-3668).
fn static_band(count: usize) -> usize {
    const MIN: usize = 16;
    const MAX: usize = 128;
    const STEP: usize = 32;
    if count < MIN { 0 } else { (count / STEP).clamp(MIN, MAX).min(count) }
}

/// Whether a port has to be chosen for the Service.
pub(super) fn wants_more(object: &Value) -> bool {
    let none = |v: &Value, path: &str| value::i64_at(v, path).unwrap_or(0) == 0;
    (service::needs_node_ports(object) && value::list_at(object, "spec.ports").iter().any(|p| none(p, "nodePort")))
        || (service::needs_health_check_node_port(object) && none(object, "spec.healthCheckNodePort"))
}

/// Chooses the ports that are missing. The same port number for another protocol shares its node port.
pub(super) fn fill(object: &mut Value, map: &mut Map) -> Result<(), &'static str> {
    const FULL: &str = "failed to allocate a nodePort: range is full";
    if service::needs_node_ports(object)
        && let Some(Value::Array(ports)) = value::get_mut(object, "spec.ports")
    {
        for at in 0..ports.len() {
            if value::i64_at(&ports[at], "nodePort").unwrap_or(0) != 0 {
                continue;
            }
            let shared = ports.iter().find_map(|other| {
                let same = other["port"] == ports[at]["port"] && other["protocol"] != ports[at]["protocol"];
                value::i64_at(other, "nodePort").filter(|p| same && *p != 0)
            });
            let port = match shared {
                Some(port) => port,
                None => i64::from(map.take_any().ok_or(FULL)?),
            };
            value::set(&mut ports[at], "nodePort", port);
        }
    }
    let wanted = service::needs_health_check_node_port(object);
    if wanted && value::i64_at(object, "spec.healthCheckNodePort").unwrap_or(0) == 0 {
        value::set(object, "spec.healthCheckNodePort", map.take_any().ok_or(FULL)?);
    }
    Ok(())
}

/// The field error of a port that cannot be had.
pub(super) fn error(object: Option<&Value>, port: u16, why: &str) -> Error {
    let ports = object.map(|o| value::list_at(o, "spec.ports")).unwrap_or_default();
    let at = ports.iter().position(|p| value::i64_at(p, "nodePort") == Some(i64::from(port)));
    let path = match at {
        Some(index) => Path::new("spec").child("ports").index(index).child("nodePort"),
        None => Path::new("spec").child("healthCheckNodePort"),
    };
    Error::invalid(&path, port, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> Map {
        Map::empty(PortRange { first: 30000, last: 30017 })
    }

    #[test]
    fn ports_are_taken_once() {
        let mut map = map();
        assert_eq!(map.take(30003), Ok(()));
        assert_eq!(map.take(30003), Err("provided port is already allocated".to_owned()));
        assert!(map.take(80).is_err());
        map.release(30003);
        assert_eq!(map.take(30003), Ok(()));
        for _ in 0..17 {
            assert!(map.take_any().is_some());
        }
        assert_eq!(map.take_any(), None);
    }

    #[test]
    fn the_first_ports_are_left_to_those_who_choose() {
        let mut map = map();
        let taken = [map.take_any(), map.take_any(), map.take_any()];
        assert!(taken[..2].iter().all(|port| port.is_some_and(|port| port >= 30016)), "{taken:?}");
        assert!(taken[2].is_some_and(|port| port < 30016), "{taken:?}");
        for (count, expected) in [(8, 0), (16, 16), (500, 16), (2_768, 86), (10_000, 128)] {
            assert_eq!(static_band(count), expected, "{count}");
        }
    }

    #[test]
    fn the_stored_form_is_a_big_endian_number() {
        let mut map = map();
        map.take(30000).expect("free");
        map.take(30009).expect("free");
        let (_, _, bytes) = map.stored();
        let object: Value = serde_json::from_slice(&bytes).expect("JSON");
        // Bits 0 and 9: 0x0201.
        assert_eq!(STANDARD.decode(object["data"].as_str().expect("text")).expect("base64"), [2, 1]);
    }

    #[test]
    fn missing_ports_are_chosen_and_shared_between_protocols() {
        let mut map = map();
        let mut service = json!({"spec": {"type": "NodePort", "ports": [
            {"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80, "protocol": "TCP"},
        ]}});
        assert!(wants_more(&service));
        fill(&mut service, &mut map).expect("room");
        let port = |i: usize| service["spec"]["ports"][i]["nodePort"].as_i64().expect("chosen");
        assert_eq!(port(0), port(1));
        assert_ne!(port(0), port(2));
        assert!(!wants_more(&service));
    }
}
