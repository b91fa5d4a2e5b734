//! Connection tracking remembers where UDP flows go long after the endpoint is gone; those entries are removed.
//!
//! TCP needs none of this: its flows end by themselves, and a new connection is a new flow.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::element::{Data, Frontend, Key, Protocol};
use crate::intent::Change;
use crate::kernel::{Error, run};

/// conntrack runs per change; a larger change forgets flows by frontend alone.
const MAX_RUNS: usize = 64;

/// UDP flows that must be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stale {
    /// Flows of a frontend that were sent to an endpoint that no longer serves it.
    Rewritten(Frontend, Ipv4Addr),
    /// Flows that passed unchanged because the frontend had no endpoint; it has one now.
    Unserved(Frontend),
}

/// The flows that `change` leaves behind.
#[must_use]
pub fn stale(change: &Change) -> BTreeSet<Stale> {
    let mut found = BTreeSet::new();
    for (key, data) in &change.delete {
        if let (Key::Slot(frontend, _), Data::Endpoint(ip, _)) = (key, data)
            && is_udp(*frontend)
            && !still_serves(change, *frontend, data)
        {
            found.insert(Stale::Rewritten(*frontend, *ip));
        }
    }
    for key in change.add.keys().filter(|key| !change.delete.contains_key(key)) {
        if let Key::Spread(frontend) = key
            && is_udp(*frontend)
        {
            found.insert(Stale::Unserved(*frontend));
        }
    }
    found
}

/// An endpoint that only moved to another slot keeps its flows.
fn still_serves(change: &Change, frontend: Frontend, data: &Data) -> bool {
    let slots = Key::Slot(frontend, 0)..=Key::Slot(frontend, u32::MAX);
    change.add.range(slots).any(|(_, added)| added == data)
}

fn is_udp(frontend: Frontend) -> bool {
    matches!(frontend, Frontend::Service(_, Protocol::Udp, _) | Frontend::NodePort(Protocol::Udp, _))
}

/// The arguments of `conntrack -D`.
fn arguments(stale: Stale) -> Vec<String> {
    let (frontend, endpoint) = match stale {
        Stale::Rewritten(frontend, ip) => (frontend, Some(ip)),
        Stale::Unserved(frontend) => (frontend, None),
    };
    let mut args: Vec<String> = ["-D", "-p", "udp"].map(str::to_owned).to_vec();
    let port = match frontend {
        Frontend::Service(ip, _, port) => {
            args.extend(["--orig-dst".to_owned(), ip.to_string()]);
            port
        }
        Frontend::NodePort(_, port) => port,
    };
    args.extend(["--orig-port-dst".to_owned(), port.to_string()]);
    args.extend(endpoint.into_iter().flat_map(|ip| ["--dst-nat".to_owned(), ip.to_string()]));
    args
}

/// Forgets the flows. `conntrack` exits with 1 where there is none, which is as good.
///
/// # Errors
/// When the program cannot be run.
pub async fn forget(flows: BTreeSet<Stale>) -> Result<(), Error> {
    let flows: BTreeSet<Stale> =
        if flows.len() > MAX_RUNS { flows.into_iter().map(|f| Stale::Unserved(frontend(f))).collect() } else { flows };
    for flow in flows {
        let args = arguments(flow);
        run("conntrack", &args.iter().map(String::as_str).collect::<Vec<_>>(), String::new()).await?;
    }
    Ok(())
}

fn frontend(stale: Stale) -> Frontend {
    match stale {
        Stale::Rewritten(frontend, _) | Stale::Unserved(frontend) => frontend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_udp_endpoints_that_stopped_serving_leave_stale_flows() {
        let udp = Frontend::Service(Ipv4Addr::new(10, 96, 0, 10), Protocol::Udp, 53);
        let tcp = Frontend::Service(Ipv4Addr::new(10, 96, 0, 10), Protocol::Tcp, 53);
        let (a, b) = (Ipv4Addr::new(10, 244, 0, 1), Ipv4Addr::new(10, 244, 0, 2));
        let mut change = Change::default();
        for frontend in [udp, tcp] {
            // b moves from slot 1 to slot 0, a goes.
            change.delete.insert(Key::Slot(frontend, 0), Data::Endpoint(a, 53));
            change.delete.insert(Key::Slot(frontend, 1), Data::Endpoint(b, 53));
            change.add.insert(Key::Slot(frontend, 0), Data::Endpoint(b, 53));
        }
        assert_eq!(stale(&change), BTreeSet::from([Stale::Rewritten(udp, a)]));
        assert_eq!(
            arguments(Stale::Rewritten(udp, a)).join(" "),
            "-D -p udp --orig-dst 10.96.0.10 --orig-port-dst 53 --dst-nat 10.244.0.1"
        );
        let mut first = Change::default();
        first.add.insert(Key::Spread(udp), Data::Random(1));
        assert_eq!(stale(&first), BTreeSet::from([Stale::Unserved(udp)]));
    }
}
