//! Which pod has which address: a small table in a file, so that a restart neither loses nor doubles an address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::Error;

/// One pod's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// The address.
    pub(super) ip: Ipv4Addr,
    /// The sandbox that is connected with it; "" while none is.
    pub(super) sandbox: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    leases: BTreeMap<String, Lease>,
    /// The address that was given out last: addresses go round, so that one is not used again at once.
    last: Option<Ipv4Addr>,
}

/// The table and its file.
#[derive(Debug)]
pub(super) struct Ipam {
    path: PathBuf,
    table: Table,
    pub(super) range: Option<Ipv4Net>,
}

impl Ipam {
    /// Reads the table; an unreadable one is begun anew (its pods get addresses again when they are connected).
    pub(super) fn open(path: &Path) -> Self {
        let table = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "table of pod addresses is damaged, beginning anew");
                Table::default()
            }),
            Err(_) => Table::default(),
        };
        Self { path: path.to_owned(), table, range: None }
    }

    pub(super) fn get(&self, uid: &str) -> Option<&Lease> {
        self.table.leases.get(uid)
    }

    pub(super) fn holders(&self) -> Vec<String> {
        self.table.leases.keys().cloned().collect()
    }

    /// The pod's address; the one that it has, or a free one.
    pub(super) fn reserve(&mut self, uid: &str) -> Result<Ipv4Addr, Error> {
        let range = self.range.ok_or(Error::NoRange)?;
        if let Some(lease) = self.table.leases.get(uid).filter(|lease| range.contains(&lease.ip)) {
            return Ok(lease.ip);
        }
        let ip = self.table.free(range).ok_or(Error::Exhausted { range })?;
        self.table.leases.insert(uid.to_owned(), Lease { ip, sandbox: String::new() });
        self.table.last = Some(ip);
        self.save()?;
        Ok(ip)
    }

    /// Notes that the sandbox is connected.
    pub(super) fn connected(&mut self, uid: &str, sandbox: &str) -> Result<(), Error> {
        if let Some(lease) = self.table.leases.get_mut(uid) {
            sandbox.clone_into(&mut lease.sandbox);
        }
        self.save()
    }

    /// Gives the address back.
    pub(super) fn release(&mut self, uid: &str) -> Result<(), Error> {
        if self.table.leases.remove(uid).is_some() { self.save() } else { Ok(()) }
    }

    /// Written beside and moved over: a reader sees the old table or the new one. It need not reach the disk: it outlives
    /// the kubelet as it is, and when the machine goes down, so do the sandboxes that have the addresses.
    fn save(&self) -> Result<(), Error> {
        let write = || {
            let beside = self.path.with_extension("new");
            std::fs::write(&beside, serde_json::to_vec(&self.table)?)?;
            std::fs::rename(&beside, &self.path)
        };
        write().map_err(|source| Error::Table { path: self.path.display().to_string(), source })
    }
}

impl Table {
    /// The next free address after the last one. The first of the range is the node's, the last one a broadcast.
    fn free(&self, range: Ipv4Net) -> Option<Ipv4Addr> {
        let taken: BTreeSet<Ipv4Addr> = self.leases.values().map(|lease| lease.ip).collect();
        let first = u32::from(range.network()) + 2;
        let end = u32::from(range.broadcast());
        let from = self.last.map(|ip| u32::from(ip) + 1).filter(|n| (first..end).contains(n)).unwrap_or(first);
        (from..end).chain(first..from).map(Ipv4Addr::from).find(|ip| !taken.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &tempfile::TempDir, range: &str) -> Ipam {
        let mut ipam = Ipam::open(&dir.path().join("ipam.json"));
        ipam.range = Some(range.parse().unwrap());
        ipam
    }

    #[test]
    fn addresses_go_round_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let mut ipam = open(&dir, "10.244.1.0/29");
        let all: Vec<String> = (0..5).map(|n| ipam.reserve(&format!("p{n}")).unwrap().to_string()).collect();
        assert_eq!(all, ["10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.1.5", "10.244.1.6"]);
        assert!(matches!(ipam.reserve("p5"), Err(Error::Exhausted { .. })));
        ipam.release("p1").unwrap();
        ipam.release("p3").unwrap();
        let mut ipam = open(&dir, "10.244.1.0/29");
        assert_eq!(ipam.reserve("p0").unwrap().to_string(), "10.244.1.2", "a pod keeps its address");
        assert_eq!(ipam.reserve("p5").unwrap().to_string(), "10.244.1.3");
        assert_eq!(ipam.reserve("p6").unwrap().to_string(), "10.244.1.5", "the one given back last comes last");
    }

    #[test]
    fn a_lease_belongs_to_one_sandbox() {
        let dir = tempfile::tempdir().unwrap();
        let mut ipam = open(&dir, "10.244.1.0/24");
        ipam.reserve("p").unwrap();
        assert_eq!(ipam.get("p").unwrap().sandbox, "");
        ipam.connected("p", "s1").unwrap();
        assert_eq!(open(&dir, "10.244.1.0/24").get("p").unwrap().sandbox, "s1");
    }

    #[test]
    fn a_table_that_was_cut_short_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        open(&dir, "10.244.1.0/24").reserve("p").unwrap();
        let path = dir.path().join("ipam.json");
        for kept in [0, 5] {
            std::fs::write(&path, &std::fs::read(&path).unwrap()[..kept.min(5)]).unwrap();
            assert_eq!(open(&dir, "10.244.1.0/24").holders(), Vec::<String>::new(), "{kept} bytes");
            assert_eq!(open(&dir, "10.244.1.0/24").reserve("q").unwrap().to_string(), "10.244.1.2");
        }
    }

    #[test]
    fn without_a_range_nothing_is_given() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Ipam::open(&dir.path().join("x")).reserve("p"), Err(Error::NoRange)));
    }
}
