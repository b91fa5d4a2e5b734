//! What a cluster on this machine consists of: `cluster.json`, written by `up`, read by everything else.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::layout::Layout;

/// Who keeps the services running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// `gantryctl supervise`.
    Builtin,
    /// systemd's units.
    Systemd,
}

/// One node: a network namespace with its own dockerd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The Node object's name.
    pub name: String,
    /// Its address on the bridge.
    pub address: Ipv4Addr,
}

/// Ports of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The API server's TLS port.
    pub secure: u16,
    /// etcd, for the API server; on loopback.
    pub etcd: u16,
    /// etcd, for its members; on loopback.
    pub etcd_peer: u16,
    /// The image registry, on the bridge.
    pub registry: u16,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The cluster's name.
    pub name: String,
    /// The folder that its state folder is in.
    pub data_dir: PathBuf,
    /// Where the daemons' binaries are.
    pub bin_dir: PathBuf,
    /// Who keeps the services running.
    pub manager: Manager,
    /// The bridge between the control plane and the nodes.
    pub bridge: String,
    /// The bridge's network; its first address is the control plane's.
    pub subnet: Ipv4Net,
    /// How many API servers there are.
    #[serde(default = "one")]
    pub control_planes: u16,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Ports.
    pub ports: Ports,
    /// Where pods get their addresses from.
    pub pod_cidr: Ipv4Net,
    /// Where Services get their addresses from.
    pub service_cidr: Ipv4Net,
    /// The cluster's DNS domain.
    pub domain: String,
    /// Flags that components get besides their own: component (`controller-manager`) and flag.
    #[serde(default)]
    pub extra_args: Vec<(String, String)>,
}

const fn one() -> u16 {
    1
}

/// The most API servers that a cluster on one machine can have.
pub const MOST_CONTROL_PLANES: u16 = 3;

/// One API server: an address on the bridge of its own, the port of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiServer {
    /// Its service: `apiserver`, `apiserver-2` …
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// The network between control plane and nodes, unless another one is chosen.
pub const DEFAULT_SUBNET: &str = "10.200.0.0/24";

/// What a user may choose at the first `up`.
#[derive(Debug, Clone)]
pub struct Choices {
    /// The cluster's name.
    pub name: String,
    /// The folder that its state folder is in.
    pub data_dir: PathBuf,
    /// Number of nodes.
    pub nodes: u16,
    /// Number of API servers.
    pub control_planes: u16,
    /// The API servers' port.
    pub secure_port: u16,
    /// The bridge's name.
    pub bridge: Option<String>,
    /// The bridge's network.
    pub subnet: Ipv4Net,
    /// Who keeps the services running.
    pub manager: Manager,
    /// Where the daemons' binaries are.
    pub bin_dir: PathBuf,
    /// Flags that components get besides their own.
    pub extra_args: Vec<(String, String)>,
}

/// Names end up in interface names, namespaces and socket paths, so they are short.
///
/// # Errors
/// When the name does not fit.
pub fn check_name(name: &str) -> anyhow::Result<()> {
    let faults = gantry_api::names::dns_label(name);
    ensure!(faults.is_empty(), "the cluster name {name:?} is no DNS label: {}", faults.join("; "));
    ensure!(
        name.len() <= 20,
        "the cluster name {name:?} has {} characters, at most 20 fit into socket paths",
        name.len()
    );
    Ok(())
}

impl Config {
    /// Plans a new cluster.
    ///
    /// # Errors
    /// When the choices contradict each other or no port is free.
    pub fn plan(choices: &Choices) -> anyhow::Result<Self> {
        check_name(&choices.name)?;
        let bridge = choices.bridge.clone().unwrap_or_else(|| default_bridge(&choices.name));
        ensure!(bridge.len() <= 15, "the bridge name {bridge:?} is longer than the 15 characters that Linux allows");
        ensure!(
            choices.data_dir.is_absolute() && !choices.data_dir.to_string_lossy().contains(char::is_whitespace),
            "--data-dir {} must be an absolute path without spaces",
            choices.data_dir.display()
        );
        let mut ports = FreePorts(23_790);
        Ok(Self {
            name: choices.name.clone(),
            data_dir: choices.data_dir.clone(),
            bin_dir: choices.bin_dir.clone(),
            manager: choices.manager,
            bridge,
            subnet: choices.subnet.trunc(),
            control_planes: control_planes(choices.control_planes)?,
            nodes: nodes(choices.subnet, choices.nodes)?,
            ports: Ports { secure: choices.secure_port, etcd: ports.next()?, etcd_peer: ports.next()?, registry: 5000 },
            pod_cidr: "10.244.0.0/16".parse().expect("a constant network"),
            service_cidr: "10.96.0.0/16".parse().expect("a constant network"),
            domain: "cluster.local".to_owned(),
            extra_args: choices.extra_args.clone(),
        })
    }

    /// Adds nodes up to `count`; says whether there was anything to add.
    ///
    /// # Errors
    /// When there are more nodes already, or the network is too small.
    pub fn grow(&mut self, count: u16) -> anyhow::Result<bool> {
        let have = self.nodes.len();
        if usize::from(count) < have {
            bail!(
                "the cluster {:?} has {have} nodes; to have {count}, run `gantryctl down --name {}` first",
                self.name,
                self.name
            );
        }
        self.nodes = nodes(self.subnet, count)?;
        Ok(self.nodes.len() != have)
    }

    /// Adds API servers up to `count`; says whether there was anything to add.
    ///
    /// # Errors
    /// When there are more already.
    pub fn grow_control_planes(&mut self, count: u16) -> anyhow::Result<bool> {
        let have = self.control_planes;
        if count < have {
            bail!(
                "the cluster {:?} has {have} control planes, and clients that know all of them; to have {count}, run \
                 `gantryctl down --name {}` first",
                self.name,
                self.name
            );
        }
        self.control_planes = control_planes(count)?;
        Ok(self.control_planes != have)
    }

    /// The cluster's paths.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::new(&self.data_dir, &self.name)
    }

    /// The control plane's address on the bridge.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        nth(self.subnet, 1)
    }

    /// The address of `kube-dns`.
    #[must_use]
    pub fn dns_ip(&self) -> Ipv4Addr {
        nth(self.service_cidr, 10)
    }

    /// The address of `default/kubernetes`.
    #[must_use]
    pub fn kubernetes_ip(&self) -> Ipv4Addr {
        nth(self.service_cidr, 1)
    }

    /// The API servers, from the first addresses of the bridge's network up.
    #[must_use]
    pub fn api_servers(&self) -> Vec<ApiServer> {
        let name = |n| if n == 1 { "apiserver".to_owned() } else { format!("apiserver-{n}") };
        (1..=self.control_planes).map(|n| ApiServer { name: name(n), address: nth(self.subnet, n.into()) }).collect()
    }

    /// Where clients that know one API server only reach it.
    #[must_use]
    pub fn server_url(&self) -> String {
        self.url_of(self.gateway())
    }

    /// Where clients reach the API server with this address.
    #[must_use]
    pub fn url_of(&self, address: Ipv4Addr) -> String {
        format!("https://{address}:{}", self.ports.secure)
    }

    /// A node's network namespace.
    #[must_use]
    pub fn netns(&self, node: &str) -> String {
        if self.name == "default" { format!("gantry-{node}") } else { format!("gantry-{}-{node}", self.name) }
    }

    /// Reads a cluster's description, if there is one.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn load(layout: &Layout) -> anyhow::Result<Option<Self>> {
        let path = layout.config();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is damaged; `gantryctl down` removes the cluster", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// As [`Config::load`], for commands that need a cluster.
    ///
    /// # Errors
    /// When there is none.
    pub fn require(data_dir: &Path, name: &str) -> anyhow::Result<Self> {
        let layout = Layout::new(data_dir, name);
        Self::load(&layout)?.with_context(|| {
            format!("there is no cluster {name:?} in {}; `gantryctl up` makes one", data_dir.display())
        })
    }

    /// Writes the description.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        super::process::write_atomically(&self.layout().config(), &bytes, 0o600)
    }
}

fn default_bridge(name: &str) -> String {
    if name == "default" { "gantry0".to_owned() } else { format!("gt-{}", &name[..name.len().min(12)]) }
}

fn nth(network: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(network.network()) + n)
}

fn control_planes(count: u16) -> anyhow::Result<u16> {
    ensure!(
        (1..=MOST_CONTROL_PLANES).contains(&count),
        "a cluster on one machine has 1 to {MOST_CONTROL_PLANES} control planes, not {count}"
    );
    Ok(count)
}

fn nodes(subnet: Ipv4Net, count: u16) -> anyhow::Result<Vec<Node>> {
    ensure!(
        subnet.prefix_len() <= 27 && u32::from(count) + 11 < (1 << (32 - subnet.prefix_len())),
        "the network {subnet} is too small for {count} nodes"
    );
    Ok((1..=count)
        .map(|i| Node { name: format!("node-{i}"), address: nth(subnet.trunc(), 10 + u32::from(i)) })
        .collect())
}

/// Looks for ports on loopback that nothing listens on.
struct FreePorts(u16);

impl FreePorts {
    fn next(&mut self) -> anyhow::Result<u16> {
        for port in self.0..self.0 + 200 {
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                self.0 = port + 1;
                return Ok(port);
            }
        }
        bail!("no free port on loopback between {} and {} for etcd", self.0, self.0 + 200)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(name: &str, nodes: u16) -> Choices {
        Choices {
            name: name.to_owned(),
            data_dir: PathBuf::from("/var/lib/gantry"),
            nodes,
            control_planes: 1,
            secure_port: 6443,
            bridge: None,
            subnet: "10.200.0.0/24".parse().expect("a network"),
            manager: Manager::Builtin,
            bin_dir: PathBuf::from("/usr/bin"),
            extra_args: Vec::new(),
        }
    }

    #[test]
    fn a_plan_has_the_documented_addresses() {
        let c = Config::plan(&choices("default", 2)).expect("it can be planned");
        assert_eq!(c.bridge, "gantry0");
        assert_eq!(c.gateway().to_string(), "10.200.0.1");
        assert_eq!(c.nodes[1].address.to_string(), "10.200.0.12");
        assert_eq!(c.dns_ip().to_string(), "10.96.0.10");
        assert_eq!(c.netns("node-1"), "gantry-node-1");
        assert_ne!(c.ports.etcd, c.ports.etcd_peer);
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        for bad in ["", "Upper", "a_b", "-x", "a-name-that-is-much-too-long"] {
            assert!(Config::plan(&choices(bad, 1)).is_err(), "{bad:?}");
        }
        assert_eq!(Config::plan(&choices("e2e", 1)).expect("it fits").bridge, "gt-e2e");
    }

    #[test]
    fn every_api_server_has_an_address_that_no_node_has() {
        let c = Config::plan(&Choices { control_planes: 3, ..choices("x", 16) }).expect("it can be planned");
        let servers = c.api_servers();
        let names: Vec<&str> = servers.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["apiserver", "apiserver-2", "apiserver-3"]);
        assert_eq!(servers[0].address, c.gateway());
        assert_eq!(servers[2].address.to_string(), "10.200.0.3");
        assert!(servers.iter().all(|s| c.nodes.iter().all(|n| n.address != s.address)));
        for bad in [0, 4] {
            assert!(Config::plan(&Choices { control_planes: bad, ..choices("x", 1) }).is_err(), "{bad}");
        }
    }

    #[test]
    fn control_planes_are_added_and_not_taken_away() {
        let mut c = Config::plan(&choices("x", 1)).expect("it can be planned");
        assert!(c.grow_control_planes(3).expect("it grows"));
        assert!(!c.grow_control_planes(3).expect("it is that size"));
        let said = c.grow_control_planes(1).expect_err("it does not shrink").to_string();
        assert!(said.contains("has 3 control planes") && said.contains("gantryctl down --name x"), "{said}");
        assert!(c.grow_control_planes(4).is_err());
    }

    #[test]
    fn a_description_from_before_there_were_several_has_one() {
        let c = Config::plan(&choices("x", 1)).expect("it can be planned");
        let mut json = serde_json::to_value(&c).expect("it serialises");
        json.as_object_mut().expect("an object").remove("control_planes");
        assert_eq!(serde_json::from_value::<Config>(json).expect("it reads"), c);
    }

    #[test]
    fn a_cluster_grows_and_does_not_shrink() {
        let mut c = Config::plan(&choices("x", 1)).expect("it can be planned");
        assert!(c.grow(3).expect("it grows"));
        assert!(!c.grow(3).expect("it is that size"));
        assert!(c.grow(2).is_err());
    }
}
