//! The cluster's zone: an immutable table from which questions are answered without a lock and without I/O.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use gantry_client::Key;

use crate::records::{Port, Records, pod_address};

/// The version of the specification that the records follow, served at `dns-version`.
const SPEC_VERSION: &str = "1.1.0";
/// The service whose addresses the zone's name server has.
const NAME_SERVER: (&str, &str) = ("kube-system", "kube-dns");

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Service locations.
    Srv,
    /// Names of addresses.
    Ptr,
    /// Texts.
    Txt,
    /// The name server.
    Ns,
    /// The start of authority.
    Soa,
    /// An alias.
    Cname,
    /// Something that this zone never has.
    Other,
}

/// One record's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// SRV: port and target; the weight is shared among the answers.
    Location(u16, String),
    /// PTR.
    Name(String),
    /// TXT.
    Text(String),
    /// NS.
    NameServer(String),
    /// CNAME.
    Alias(String),
    /// The zone's SOA.
    Authority,
}

/// What the zone says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These records, all owned by the name asked for.
    Found(Vec<Data>),
    /// The name exists, but has no such records.
    NoData,
    /// The name does not exist.
    NoName,
    /// The name is none of this zone's.
    NotOurs,
}

/// All services, and the names of addresses.
#[derive(Clone, Debug)]
pub struct Zone {
    domain: Arc<str>,
    services: HashMap<Key, Arc<Records>>,
    namespaces: BTreeMap<String, usize>,
    reverse: HashMap<IpAddr, Vec<Arc<str>>>,
    serial: u32,
}

impl Zone {
    /// An empty zone for `domain`, for example `cluster.local`.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        Self {
            domain: domain.trim_matches('.').to_ascii_lowercase().into(),
            services: HashMap::new(),
            namespaces: BTreeMap::new(),
            reverse: HashMap::new(),
            serial: 1,
        }
    }

    /// The domain, without the final dot.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Counts the changes.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// How many services there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether there is no service.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Replaces a service's records, or removes them.
    pub fn set(&mut self, service: &Key, records: Option<Records>) {
        if let Some(old) = self.services.remove(service) {
            for (address, name) in self.reverse_names(service, &old) {
                self.forget_reverse(address, &name);
            }
            if let Some(count) = self.namespaces.get_mut(&service.namespace) {
                *count -= 1;
                if *count == 0 {
                    self.namespaces.remove(&service.namespace);
                }
            }
        }
        if let Some(records) = records {
            for (address, name) in self.reverse_names(service, &records) {
                self.reverse.entry(address).or_default().push(name.into());
            }
            *self.namespaces.entry(service.namespace.clone()).or_insert(0) += 1;
            self.services.insert(service.clone(), Arc::new(records));
        }
        self.serial = self.serial.wrapping_add(1).max(1);
    }

    fn forget_reverse(&mut self, address: IpAddr, name: &str) {
        let Some(names) = self.reverse.get_mut(&address) else { return };
        if let Some(at) = names.iter().position(|n| &**n == name) {
            names.remove(at);
        }
        if names.is_empty() {
            self.reverse.remove(&address);
        }
    }

    fn reverse_names(&self, service: &Key, records: &Records) -> Vec<(IpAddr, String)> {
        let name = self.service_name(service);
        match records {
            Records::Cluster { addresses, .. } => addresses.iter().map(|a| (*a, name.clone())).collect(),
            Records::Headless { members } => {
                members.iter().map(|m| (m.address, format!("{}.{name}", m.label))).collect()
            }
            Records::External { .. } => Vec::new(),
        }
    }

    fn service_name(&self, service: &Key) -> String {
        format!("{}.{}.svc.{}", service.name, service.namespace, self.domain)
    }

    /// The names of an address, if it is a service's or a headless endpoint's.
    #[must_use]
    pub fn names_of(&self, address: IpAddr) -> Option<Vec<Data>> {
        let names = self.reverse.get(&address)?;
        Some(names.iter().map(|n| Data::Name(n.to_string())).collect())
    }

    /// Answers for `name`, which is in lower case and has no final dot.
    #[must_use]
    pub fn answer(&self, name: &str, kind: Kind) -> Answer {
        let Some(below) = self.below(name) else { return Answer::NotOurs };
        let labels: Vec<&str> = below.rsplit('.').filter(|l| !l.is_empty()).collect();
        match labels.as_slice() {
            [] => match kind {
                Kind::Soa => Answer::Found(vec![Data::Authority]),
                Kind::Ns => Answer::Found(vec![Data::NameServer(format!("ns.dns.{}", self.domain))]),
                _ => Answer::NoData,
            },
            ["dns-version"] if kind == Kind::Txt => Answer::Found(vec![Data::Text(SPEC_VERSION.to_owned())]),
            ["dns-version" | "dns" | "svc" | "pod"] => Answer::NoData,
            ["dns", "ns"] => self.service(NAME_SERVER.0, NAME_SERVER.1, &[], kind),
            ["svc", namespace] => found_if(self.namespaces.contains_key(*namespace)),
            ["svc", namespace, service, rest @ ..] => self.service(namespace, service, rest, kind),
            ["pod", _] => Answer::NoData,
            ["pod", _, label] => pod(label, kind),
            _ => Answer::NoName,
        }
    }

    fn below<'a>(&self, name: &'a str) -> Option<&'a str> {
        let head = name.strip_suffix(&*self.domain)?;
        if head.is_empty() { Some(head) } else { head.strip_suffix('.') }
    }

    /// `rest` holds the labels before the service's name, the nearest first.
    fn service(&self, namespace: &str, service: &str, rest: &[&str], kind: Kind) -> Answer {
        let key = Key::new(namespace, service);
        let Some(records) = self.services.get(&key) else { return Answer::NoName };
        match (&**records, rest) {
            (Records::External { target }, []) => Answer::Found(vec![Data::Alias(target.clone())]),
            (Records::External { .. }, _) => Answer::NoName,
            (Records::Cluster { addresses, .. }, []) => of_kind(addresses.iter().copied(), kind),
            (Records::Headless { members }, []) => of_kind(members.iter().map(|m| m.address), kind),
            (Records::Headless { members }, [label]) if members.iter().any(|m| m.label == *label) => {
                of_kind(members.iter().filter(|m| m.label == *label).map(|m| m.address), kind)
            }
            (_, [protocol]) => {
                let has = |p: &Port| format!("_{}", p.protocol) == *protocol;
                found_if(self.ports(records).any(has))
            }
            (_, [protocol, port]) => self.locations(&key, records, port, protocol, kind),
            _ => Answer::NoName,
        }
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the zone, like its siblings")]
    fn ports<'a>(&self, records: &'a Records) -> impl Iterator<Item = &'a Port> {
        let (own, members): (&[Port], _) = match records {
            Records::Cluster { ports, .. } => (ports, &[][..]),
            Records::Headless { members } => (&[], members.as_slice()),
            Records::External { .. } => (&[], &[][..]),
        };
        own.iter().chain(members.iter().flat_map(|m| &m.ports))
    }

    fn locations(&self, service: &Key, records: &Records, port: &str, protocol: &str, kind: Kind) -> Answer {
        let is_asked =
            |p: &&Port| port.strip_prefix('_') == Some(&p.name) && protocol.strip_prefix('_') == Some(&p.protocol);
        let name = self.service_name(service);
        let found: Vec<Data> = match records {
            Records::Cluster { ports, .. } => {
                ports.iter().filter(is_asked).map(|p| Data::Location(p.number, name.clone())).collect()
            }
            Records::Headless { members } => {
                let target = |label: &str| format!("{label}.{name}");
                let of = |m: &crate::records::Member| {
                    let ports: Vec<u16> = m.ports.iter().filter(is_asked).map(|p| p.number).collect();
                    let target = target(&m.label);
                    ports.into_iter().map(move |number| Data::Location(number, target.clone())).collect::<Vec<_>>()
                };
                members.iter().flat_map(of).collect()
            }
            Records::External { .. } => Vec::new(),
        };
        match (found.is_empty(), kind) {
            (true, _) => Answer::NoName,
            (false, Kind::Srv) => Answer::Found(found),
            (false, _) => Answer::NoData,
        }
    }
}

fn found_if(exists: bool) -> Answer {
    if exists { Answer::NoData } else { Answer::NoName }
}

fn of_kind(addresses: impl Iterator<Item = IpAddr>, kind: Kind) -> Answer {
    let wanted = |a: &IpAddr| matches!((kind, a), (Kind::A, IpAddr::V4(_)) | (Kind::Aaaa, IpAddr::V6(_)));
    let found: Vec<Data> = addresses.filter(wanted).map(Data::Address).collect();
    if found.is_empty() { Answer::NoData } else { Answer::Found(found) }
}

fn pod(label: &str, kind: Kind) -> Answer {
    match (pod_address(label), kind) {
        (None, _) => Answer::NoName,
        (Some(ip), Kind::A) => Answer::Found(vec![Data::Address(ip.into())]),
        (Some(_), _) => Answer::NoData,
    }
}

#[cfg(test)]
mod tests;
