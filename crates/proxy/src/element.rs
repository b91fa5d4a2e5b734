//! The elements of the proxy's maps and sets: the part of the rule set that changes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

/// A transport protocol of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Reads Kubernetes' spelling; absent is TCP.
    #[must_use]
    pub fn from_api(text: Option<&str>) -> Option<Self> {
        match text.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    /// nft's spelling.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Where traffic for a service arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Frontend {
    /// A cluster address.
    Service(Ipv4Addr, Protocol, u16),
    /// A port on every address of the node.
    NodePort(Protocol, u16),
}

/// Where an element belongs and what it is keyed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// How traffic to a frontend is spread: maps `services` and `node-ports`.
    Spread(Frontend),
    /// One endpoint of a frontend: maps `endpoints` and `node-port-endpoints`.
    Slot(Frontend, u32),
    /// A cluster address; what is addressed to it and finds no endpoint is refused: set `cluster-ips`.
    ClusterIp(Ipv4Addr),
    /// A pod of this node that may reach itself through a service: set `hairpin`.
    Hairpin(Ipv4Addr),
    /// A node port whose traffic must return through this node: sets `masquerade-tcp` and its siblings.
    Masquerade(Protocol, u16),
    /// A node port without endpoints: map `refused-node-ports`.
    Refused(Protocol, u16),
}

/// What a key maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// The key is in the set.
    Member,
    /// One of so many slots, at random for each connection.
    Random(u32),
    /// A slot of the ring by the client's address, for session affinity.
    Sticky,
    /// An endpoint.
    Endpoint(Ipv4Addr, u16),
    /// Answered with a refusal.
    Refuse,
    /// Dropped without an answer: there are endpoints, but none on this node (policy `Local`).
    Drop,
}

/// A set of elements.
pub type Elements = BTreeMap<Key, Data>;

impl Key {
    /// The map or set it belongs to.
    #[must_use]
    pub fn container(&self) -> &'static str {
        match self {
            Self::Spread(Frontend::Service(..)) => "services",
            Self::Spread(Frontend::NodePort(..)) => "node-ports",
            Self::Slot(Frontend::Service(..), _) => "endpoints",
            Self::Slot(Frontend::NodePort(..), _) => "node-port-endpoints",
            Self::ClusterIp(_) => "cluster-ips",
            Self::Hairpin(_) => "hairpin",
            Self::Masquerade(Protocol::Tcp, _) => "masquerade-tcp",
            Self::Masquerade(Protocol::Udp, _) => "masquerade-udp",
            Self::Masquerade(Protocol::Sctp, _) => "masquerade-sctp",
            Self::Refused(..) => "refused-node-ports",
        }
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(ip, protocol, port) => write!(f, "{ip} . {} . {port}", protocol.name()),
            Self::NodePort(protocol, port) => write!(f, "{} . {port}", protocol.name()),
        }
    }
}

/// nft's spelling of the key.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spread(frontend) => write!(f, "{frontend}"),
            Self::Slot(frontend, slot) => write!(f, "{frontend} . {slot}"),
            Self::ClusterIp(ip) => write!(f, "{ip}"),
            Self::Hairpin(ip) => write!(f, "{ip} . {ip}"),
            Self::Masquerade(_, port) => write!(f, "{port}"),
            Self::Refused(protocol, port) => write!(f, "{} . {port}", protocol.name()),
        }
    }
}

/// nft's spelling of an element with its data.
pub(crate) struct Mapping(pub(crate) Key, pub(crate) Data);

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(key, data) = self;
        let node = if matches!(key, Key::Spread(Frontend::NodePort(..))) { "node-" } else { "" };
        match data {
            Data::Member => write!(f, "{key}"),
            Data::Random(count) => write!(f, "{key} : goto {node}pick{count}"),
            Data::Sticky => write!(f, "{key} : goto {node}sticky"),
            Data::Endpoint(ip, port) => write!(f, "{key} : {ip} . {port}"),
            Data::Refuse => write!(f, "{key} : goto refuse"),
            Data::Drop => write!(f, "{key} : drop"),
        }
    }
}
