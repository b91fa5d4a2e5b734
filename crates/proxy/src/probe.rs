//! Asks the node's own endpoints of services that prefer them whether they still answer.
//!
//! A preference for the node would otherwise turn one dead daemon into an outage of its node: when the node's own DNS dies,
//! its EndpointSlice still says that it is ready. A TCP connection once in a while finds out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_client::Key as Name;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::net::TcpStream;
use tokio::time::{Interval, MissedTickBehavior};

use crate::backends::{Backend, candidates};
use crate::compile::prefers_local;
use crate::element::Protocol;

/// Between rounds of probes.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long an endpoint on the same machine may take to accept.
const TIMEOUT: Duration = Duration::from_millis(500);
/// Failures in a row after which an endpoint counts as silent; one success ends that.
const FAILURES: u32 = 2;

/// One endpoint's ports of a service: the TCP port that is asked, and all that share its fate.
type Group = BTreeMap<Backend, BTreeSet<Backend>>;

/// The endpoints that are asked.
#[derive(Debug)]
pub(crate) struct Prober {
    rounds: Interval,
    services: BTreeMap<Name, Group>,
    failures: BTreeMap<Backend, u32>,
    silent: BTreeSet<Backend>,
}

impl Prober {
    /// Asks nobody yet.
    pub(crate) fn new() -> Self {
        let mut rounds = tokio::time::interval(INTERVAL);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { rounds, services: BTreeMap::new(), failures: BTreeMap::new(), silent: BTreeSet::new() }
    }

    /// Asks the node's own endpoints of `service` from now on, if it prefers them and has a TCP port to ask.
    pub(crate) fn watch(&mut self, key: &Name, service: &Service, slices: &[Arc<EndpointSlice>], node: &str) {
        let group = if prefers_local(service) { group(service, slices, node) } else { Group::new() };
        if group.is_empty() {
            return self.forget(key);
        }
        self.services.insert(key.clone(), group);
    }

    /// Asks the service's endpoints no more.
    pub(crate) fn forget(&mut self, key: &Name) {
        self.services.remove(key);
    }

    /// The services whose endpoints are asked.
    pub(crate) fn services(&self) -> impl Iterator<Item = Name> {
        self.services.keys().cloned()
    }

    /// Resolves when the set of silent endpoints has changed. Safe to use in `select!`: a round that is cut short comes again.
    pub(crate) async fn changed(&mut self) -> BTreeSet<Backend> {
        loop {
            self.rounds.tick().await;
            let asked: BTreeSet<Backend> = self.services.values().flat_map(Group::keys).copied().collect();
            let answers = futures::future::join_all(asked.iter().map(|backend| answers(*backend))).await;
            self.failures.retain(|backend, _| asked.contains(backend));
            for (backend, answered) in asked.into_iter().zip(answers) {
                let failures = self.failures.entry(backend).or_insert(0);
                *failures = if answered { 0 } else { failures.saturating_add(1) };
            }
            let silent = self.silent_now();
            if silent != self.silent {
                self.silent.clone_from(&silent);
                return silent;
            }
        }
    }

    fn silent_now(&self) -> BTreeSet<Backend> {
        let is_silent = |backend: &Backend| self.failures.get(backend).is_some_and(|n| *n >= FAILURES);
        let groups = self.services.values().flatten().filter(|(asked, _)| is_silent(asked));
        groups.flat_map(|(_, all)| all.iter().copied()).collect()
    }
}

async fn answers(backend: Backend) -> bool {
    matches!(tokio::time::timeout(TIMEOUT, TcpStream::connect(backend)).await, Ok(Ok(_)))
}

fn group(service: &Service, slices: &[Arc<EndpointSlice>], node: &str) -> Group {
    let mut group = Group::new();
    let ports = || service.spec.iter().flat_map(|s| s.ports.iter().flatten());
    let local = |port| candidates(port, slices, node).into_iter().filter(|c| c.local).map(|c| c.backend);
    for port in ports().filter(|p| Protocol::from_api(p.protocol.as_deref()) == Some(Protocol::Tcp)) {
        for asked in local(port) {
            let same_address = ports().flat_map(local).filter(|(ip, _)| *ip == asked.0);
            group.entry(asked).or_default().extend(same_address);
        }
    }
    group
}
