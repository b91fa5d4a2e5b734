//! Which endpoints serve a port, and which slot each of them has.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ServicePort;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::element::Protocol;

/// An address and port.
pub type Backend = (Ipv4Addr, u16);

/// One endpoint of a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it listens.
    pub backend: Backend,
    /// It takes new connections.
    pub ready: bool,
    /// It still answers though it is terminating.
    pub draining: bool,
    /// It is on this node.
    pub local: bool,
    /// It is on this node and does not answer this proxy's probe.
    pub silent: bool,
}

/// The endpoints in `slices` for `port`, in no particular order, each once.
#[must_use]
pub fn candidates(port: &ServicePort, slices: &[Arc<EndpointSlice>], node: &str) -> Vec<Candidate> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for slice in slices.iter().filter(|s| s.address_type == "IPv4") {
        let Some(number) = port_in(slice, port) else { continue };
        for candidate in slice.endpoints.iter().flatten().filter_map(|e| candidate(e, number, node)) {
            if seen.insert(candidate.backend) {
                found.push(candidate);
            }
        }
    }
    found
}

fn port_in(slice: &EndpointSlice, port: &ServicePort) -> Option<u16> {
    let wanted = (port.name.as_deref().unwrap_or_default(), Protocol::from_api(port.protocol.as_deref()));
    let matching = slice
        .ports
        .iter()
        .flatten()
        .find(|p| (p.name.as_deref().unwrap_or_default(), Protocol::from_api(p.protocol.as_deref())) == wanted)?;
    u16::try_from(matching.port?).ok()
}

fn candidate(endpoint: &Endpoint, port: u16, node: &str) -> Option<Candidate> {
    // Upstream: consumers use the first address only.
    let ip = endpoint.addresses.first()?.parse().ok()?;
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    Some(Candidate {
        backend: (ip, port),
        ready,
        draining: serving && terminating,
        local: endpoint.node_name.as_deref() == Some(node),
        silent: false,
    })
}

/// How endpoints are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// All of them.
    Cluster,
    /// Only those on this node.
    Local,
    /// Those on this node if there are any that are ready and answer, else all that may.
    PreferLocal,
}

/// The endpoints that take new connections: the ready ones, or while there is none, those that drain.
#[must_use]
pub fn choose(candidates: &[Candidate], policy: Policy) -> BTreeSet<Backend> {
    let usable = |c: &&Candidate| policy != Policy::Local || c.local;
    let which = |f: fn(&Candidate) -> bool| -> BTreeSet<Backend> {
        candidates.iter().filter(usable).filter(|c| f(c)).map(|c| c.backend).collect()
    };
    if policy == Policy::PreferLocal {
        let near = which(|c| c.ready && c.local && !c.silent);
        let far = which(|c| c.ready && !c.silent);
        if let Some(some) = [near, far].into_iter().find(|set| !set.is_empty()) {
            return some;
        }
    }
    let ready = which(|c| c.ready);
    if ready.is_empty() { which(|c| c.draining) } else { ready }
}

/// Gives each wanted endpoint a slot, leaving as many as possible where they are in `present`.
#[must_use]
pub fn slots(present: &[Backend], wanted: &BTreeSet<Backend>) -> Vec<Backend> {
    let mut placed: Vec<Option<Backend>> = vec![None; wanted.len()];
    let mut unplaced: BTreeSet<Backend> = wanted.clone();
    for (slot, backend) in placed.iter_mut().zip(present) {
        if unplaced.remove(backend) {
            *slot = Some(*backend);
        }
    }
    let mut rest: VecDeque<Backend> = unplaced.into_iter().collect();
    let fill = |slot: Option<Backend>| slot.or_else(|| rest.pop_front());
    placed.into_iter().filter_map(fill).collect()
}

/// The ring of session affinity: each slot goes to the endpoint that ranks highest for it, so that an endpoint that
/// comes or goes moves only its own share of the clients.
#[must_use]
pub fn ring(wanted: &BTreeSet<Backend>, slots: u32) -> Vec<Backend> {
    let owner = |slot: u32| wanted.iter().copied().max_by_key(|backend| rank(slot, *backend));
    (0..slots).filter_map(owner).collect()
}

/// A well-mixed number of slot and endpoint (the finaliser of splitmix64).
fn rank(slot: u32, (ip, port): Backend) -> u64 {
    let mut x = (u64::from(u32::from(ip)) << 16 | u64::from(port)) ^ (u64::from(slot) << 48);
    for multiplier in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
        x = (x ^ (x >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(multiplier);
    }
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
