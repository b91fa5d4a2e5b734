//! The network between control plane and nodes: a bridge, and one network namespace per node joined to it by a veth pair.
//!
//! Everything is made so that making it again changes nothing, and carries a mark (`gantry:CLUSTER` as the link's alias,
//! the comment of a rule) by which `down` knows it again even when the state folder is lost.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{
    config::{Config, Node},
    shell::{run, run_in, run_with_input, succeeds},
};

/// Makes what is missing.
///
/// # Errors
/// When the bridge's name belongs to somebody else, or the kernel refuses.
pub fn ensure(config: &Config) -> anyhow::Result<()> {
    ensure_bridge(config)?;
    for node in &config.nodes {
        ensure_node(config, node)?;
    }
    let switch = Forwarding::of(config);
    switch.enable()?;
    run_with_input("nft", &["-f", "-"], &masquerade_rules(config))?;
    accept_forwarding(config)
}

/// Removes everything that [`ensure`] made.
pub fn remove(config: &Config) -> Vec<anyhow::Error> {
    let mut failures = Vec::new();
    let mut attempt = |result: anyhow::Result<()>| failures.extend(result.err());
    // A bridge of this name that is not ours means that the namespaces are not ours either.
    if !link_exists(&config.bridge) || owns_bridge(config) {
        for node in &config.nodes {
            attempt(remove_node(config, node));
        }
    }
    if owns_bridge(config) {
        attempt(run("ip", &["link", "delete", &config.bridge]).map(drop));
    }
    if succeeds("nft", &["list", "table", "ip", &table(config)]) {
        attempt(run("nft", &["delete", "table", "ip", &table(config)]).map(drop));
    }
    attempt(remove_accept_rules(config));
    attempt(Forwarding::of(config).give_back());
    failures
}

/// The state folder tells clusters of the same name apart.
fn mark(config: &Config) -> String {
    format!("gantry:{}", config.layout().root().display())
}

fn link_exists(name: &str) -> bool {
    succeeds("ip", &["link", "show", "dev", name])
}

/// Whether the bridge was made for this cluster.
#[must_use]
pub fn owns_bridge(config: &Config) -> bool {
    run("ip", &["-d", "link", "show", "dev", &config.bridge])
        .is_ok_and(|shown| shown.lines().any(|l| l.trim() == format!("alias {}", mark(config))))
}

fn ensure_bridge(config: &Config) -> anyhow::Result<()> {
    let bridge = config.bridge.as_str();
    if !link_exists(bridge) {
        check_subnet_is_free(config)?;
        run("ip", &["link", "add", bridge, "type", "bridge"])?;
        run("ip", &["link", "set", "dev", bridge, "alias", &mark(config)])?;
    } else if !owns_bridge(config) {
        bail!("an interface {bridge:?} exists that this cluster did not make; choose another name with --bridge");
    }
    for server in config.api_servers() {
        let address = format!("{}/{}", server.address, config.subnet.prefix_len());
        run("ip", &["addr", "replace", &address, "dev", bridge])?;
    }
    run("ip", &["link", "set", bridge, "up"])?;
    Ok(())
}

/// A route of this machine to the cluster's network would be shadowed by the bridge.
fn check_subnet_is_free(config: &Config) -> anyhow::Result<()> {
    let routes = run("ip", &["-4", "route", "show", "root", &config.subnet.to_string()])?;
    if let Some(route) = routes.lines().next() {
        bail!(
            "the network {} is in use on this machine (`{}`); choose another one with --subnet",
            config.subnet,
            route.trim()
        );
    }
    Ok(())
}

/// The host's end of a node's veth pair: short, and the same each time.
fn veth(config: &Config, node: &Node) -> String {
    let hash = super::spec::digest(&format!("{}/{}", config.name, node.name));
    format!("gtv{}", &hash[..8])
}

fn netns_path(config: &Config, node: &Node) -> PathBuf {
    Path::new("/run/netns").join(config.netns(&node.name))
}

fn ensure_node(config: &Config, node: &Node) -> anyhow::Result<()> {
    let netns = config.netns(&node.name);
    let path = netns_path(config, node);
    if path.exists() && run_in(&path, "true", &[]).is_err() {
        // A file without a namespace behind it, left by a crash or another mount namespace.
        drop(run("ip", &["netns", "delete", &netns]));
        drop(fs::remove_file(&path));
    }
    if !path.exists() {
        run("ip", &["netns", "add", &netns])?;
    }
    let veth = veth(config, node);
    if !link_exists(&veth) || !succeeds("ip", &["-n", &netns, "link", "show", "dev", "eth0"]) {
        drop(run("ip", &["link", "delete", &veth]));
        run("ip", &["link", "add", &veth, "type", "veth", "peer", "name", "eth0", "netns", &netns])?;
        run("ip", &["link", "set", "dev", &veth, "alias", &mark(config)])?;
    }
    run("ip", &["link", "set", &veth, "master", &config.bridge, "up"])?;
    run("ip", &["-n", &netns, "link", "set", "lo", "up"])?;
    let address = format!("{}/{}", node.address, config.subnet.prefix_len());
    run("ip", &["-n", &netns, "addr", "replace", &address, "dev", "eth0"])?;
    run("ip", &["-n", &netns, "link", "set", "eth0", "up"])?;
    run("ip", &["-n", &netns, "route", "replace", "default", "via", &config.gateway().to_string()])?;
    set_node_sysctls(&path)
}

/// Forwarding for pods, no reverse-path filter (a pod's address is not on the interface), and no iptables on bridges.
fn set_node_sysctls(netns: &Path) -> anyhow::Result<()> {
    let script = "cd /proc/sys/net || exit 1
        echo 1 >ipv4/ip_forward
        echo 0 >ipv4/conf/all/rp_filter
        echo 0 >ipv4/conf/default/rp_filter
        if [ -e bridge/bridge-nf-call-iptables ]; then echo 0 >bridge/bridge-nf-call-iptables; fi";
    run_in(netns, "sh", &["-ec", script]).map(drop)
}

fn remove_node(config: &Config, node: &Node) -> anyhow::Result<()> {
    let netns = config.netns(&node.name);
    let veth = veth(config, node);
    if link_exists(&veth) {
        // The other end may have gone with its namespace in this moment.
        drop(run("ip", &["link", "delete", &veth]));
    }
    if netns_path(config, node).exists() {
        run("ip", &["netns", "delete", &netns])?;
    }
    Ok(())
}

/// The machine's switch for IPv4 forwarding, which all clusters on it need: the first one switches it on and leaves a note,
/// the last one that goes switches it off again if the note is there.
struct Forwarding {
    switch: PathBuf,
    /// The folder with one folder per running cluster.
    clusters: PathBuf,
    /// This cluster's folder in it.
    own: PathBuf,
}

impl Forwarding {
    fn of(config: &Config) -> Self {
        let own = config.layout().run().to_owned();
        let clusters = own.parent().unwrap_or_else(|| Path::new("/run/gantry")).to_owned();
        Self { switch: PathBuf::from("/proc/sys/net/ipv4/ip_forward"), clusters, own }
    }

    fn note(&self) -> PathBuf {
        self.clusters.join("forwarding-was-off")
    }

    fn enable(&self) -> anyhow::Result<()> {
        let file = self.switch.display();
        let now = fs::read_to_string(&self.switch).with_context(|| format!("cannot read {file}"))?;
        if now.trim() == "1" {
            return Ok(());
        }
        fs::write(self.note(), "").with_context(|| format!("cannot write {}", self.note().display()))?;
        fs::write(&self.switch, "1").with_context(|| format!("cannot switch IPv4 forwarding on ({file})"))
    }

    fn give_back(&self) -> anyhow::Result<()> {
        let entries = fs::read_dir(&self.clusters).into_iter().flatten().flatten();
        let others = entries.map(|e| e.path()).filter(|p| p.is_dir() && *p != self.own).count();
        if others > 0 || !self.note().exists() {
            return Ok(());
        }
        fs::write(&self.switch, "0").context("cannot switch IPv4 forwarding off again")?;
        fs::remove_file(self.note()).context("cannot remove the note on IPv4 forwarding")
    }
}

fn table(config: &Config) -> String {
    format!("gantry_{}", config.name.replace('-', "_"))
}

/// Nodes reach the world under this machine's address (their dockerds pull images).
fn masquerade_rules(config: &Config) -> String {
    let (table, subnet, bridge) = (table(config), config.subnet, &config.bridge);
    format!(
        "table ip {table}
delete table ip {table}
table ip {table} {{
  comment \"nodes of the Gantry cluster {name} reach the world\"
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} oifname != \"{bridge}\" masquerade
  }}
}}
",
        name = config.name
    )
}

/// The iptables chain that drops what a bridge forwards, if there is one: Docker's, or a FORWARD chain that drops.
fn filtering_chain() -> Option<&'static str> {
    if succeeds("iptables", &["-w", "-n", "-L", "DOCKER-USER"]) {
        return Some("DOCKER-USER");
    }
    let rules = run("iptables", &["-w", "-S", "FORWARD"]).unwrap_or_default();
    rules.lines().any(|l| l == "-P FORWARD DROP" || l == "-P FORWARD REJECT").then_some("FORWARD")
}

fn accept_rules(config: &Config) -> [Vec<String>; 2] {
    ["-i", "-o"].map(|direction| {
        [direction, &config.bridge, "-m", "comment", "--comment", &mark(config), "-j", "ACCEPT"]
            .map(str::to_owned)
            .to_vec()
    })
}

fn accept_forwarding(config: &Config) -> anyhow::Result<()> {
    let Some(chain) = filtering_chain() else { return Ok(()) };
    for rule in accept_rules(config) {
        let rule: Vec<&str> = rule.iter().map(String::as_str).collect();
        if !succeeds("iptables", &[&["-w", "-C", chain], rule.as_slice()].concat()) {
            run("iptables", &[&["-w", "-I", chain], rule.as_slice()].concat())?;
        }
    }
    Ok(())
}

fn remove_accept_rules(config: &Config) -> anyhow::Result<()> {
    if super::shell::which("iptables").is_none() {
        return Ok(());
    }
    for chain in ["DOCKER-USER", "FORWARD"] {
        for rule in accept_rules(config) {
            let rule: Vec<&str> = rule.iter().map(String::as_str).collect();
            while succeeds("iptables", &[&["-w", "-C", chain], rule.as_slice()].concat()) {
                run("iptables", &[&["-w", "-D", chain], rule.as_slice()].concat())?;
            }
        }
    }
    Ok(())
}

/// A name server that a node can reach: the machine's own, unless that listens on the machine's loopback only.
///
/// # Errors
/// When /etc/resolv.conf cannot be read.
pub fn upstream_resolvers(resolv_conf: &str) -> Vec<Ipv4Addr> {
    resolv_conf
        .lines()
        .filter_map(|l| l.trim().strip_prefix("nameserver"))
        .filter_map(|a| a.trim().parse::<Ipv4Addr>().ok())
        .filter(|a| !a.is_loopback())
        .collect()
}

/// Whether an address of this machine can be bound: it is ours and up.
#[must_use]
pub fn has_address(address: Ipv4Addr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_resolvers_that_a_node_can_reach_are_kept() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<String> = upstream_resolvers(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("nameserver 127.0.0.53\noptions edns0\n", &[]);
        check("# comment\nnameserver 192.0.2.1\nnameserver ::1\nnameserver\t10.0.0.2 ", &["192.0.2.1", "10.0.0.2"]);
        check("", &[]);
    }

    #[test]
    fn the_last_cluster_that_goes_switches_forwarding_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let clusters = folder.path().join("clusters");
        let switch = folder.path().join("ip_forward");
        let read = || fs::read_to_string(&switch).expect("it is there").trim().to_owned();
        let of = |name: &str| {
            let own = clusters.join(name);
            fs::create_dir_all(&own).expect("a folder");
            Forwarding { switch: switch.clone(), clusters: clusters.clone(), own }
        };
        fs::write(&switch, "0\n").expect("it is written");
        let (first, second) = (of("first"), of("second"));
        first.enable().expect("it is switched on");
        second.enable().expect("it is on");
        first.give_back().expect("the other one needs it");
        assert_eq!(read(), "1");
        fs::remove_dir(&first.own).expect("it is gone");
        second.give_back().expect("nobody needs it");
        assert_eq!(read(), "0");
        // Where it was on before, it stays on.
        fs::write(&switch, "1\n").expect("it is written");
        second.enable().expect("it is on");
        second.give_back().expect("it stays");
        assert_eq!(read(), "1");
    }
}
