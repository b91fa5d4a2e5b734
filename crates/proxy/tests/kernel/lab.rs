//! A node, its pods and a machine outside, as network namespaces of the test.

use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

/// The node's address towards outside.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// The service's cluster address.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 20);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The test's thread is the node: it lives in a network namespace of its own, as do the programs that it starts.
pub(crate) struct Lab {
    runtime: tokio::runtime::Runtime,
    id: u32,
    places: Vec<String>,
}

/// A namespace from which requests are made.
pub(crate) struct Place {
    namespace: String,
    /// Its address.
    pub(crate) ip: Ipv4Addr,
}

/// A pod that answers on port 8080 with its name and who asked.
pub(crate) struct Pod {
    pub(crate) place: Place,
    pub(crate) ip: Ipv4Addr,
}

impl Lab {
    /// `None`, with the reason noted, where namespaces cannot be made.
    pub(crate) fn new() -> Option<Self> {
        let installed = |program: &&str| {
            ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|d| Path::new(d).join(program).exists())
        };
        let missing: Vec<&str> = ["nft", "ip", "conntrack"].into_iter().filter(|p| !installed(p)).collect();
        if !nix::unistd::geteuid().is_root() || !missing.is_empty() {
            skip(&format!("needs root, nft, ip and conntrack; missing: {missing:?}"));
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNET).expect("root may unshare");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let lab = Self { runtime, id: COUNTER.fetch_add(1, Ordering::Relaxed), places: Vec::new() };
        lab.run("ip link set lo up");
        lab.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0");
        Some(lab)
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Runs a command on the node.
    pub(crate) fn run(&self, command: &str) {
        let status = Command::new("sh").args(["-ec", command]).status().expect("sh runs");
        assert!(status.success(), "failed: {command}");
    }

    /// What a command on the node prints.
    pub(crate) fn output(&self, command: &str) -> String {
        let output = Command::new("sh").args(["-c", command]).output().expect("sh runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The node as a place to ask from.
    pub(crate) fn node(&self) -> Place {
        let tid = nix::unistd::gettid();
        Place { namespace: format!("/proc/self/task/{tid}/ns/net"), ip: NODE }
    }

    fn namespace(&mut self, name: &str) -> String {
        let name = format!("gt-proxy-{}-{}-{name}", std::process::id(), self.id);
        self.run(&format!("ip netns add {name}"));
        self.places.push(name.clone());
        name
    }

    /// A routed pod, wired as the kubelet does it, that serves.
    pub(crate) fn pod(&mut self, name: &str) -> Pod {
        let namespace = self.namespace(name);
        let index = u8::try_from(self.places.len()).expect("few pods");
        let ip = Ipv4Addr::new(10, 244, 1, index);
        let host = format!("veth{index}");
        self.run(&format!(
            "ip link add {host} type veth peer name eth0 netns {namespace}
             ip link set {host} up
             ip route add {ip}/32 dev {host}
             mac=$(ip -br link show {host} | awk '{{print $3}}')
             ip -n {namespace} link set lo up
             ip -n {namespace} addr add {ip}/32 dev eth0
             ip -n {namespace} link set eth0 up
             ip -n {namespace} route add 169.254.1.1 dev eth0 scope link
             ip -n {namespace} route add default via 169.254.1.1 dev eth0 onlink
             ip -n {namespace} neigh replace 169.254.1.1 lladdr $mac dev eth0 nud permanent"
        ));
        let place = Place { namespace: format!("/run/netns/{namespace}"), ip };
        place.serve(name);
        Pod { place, ip }
    }

    /// A machine beside the node that knows nothing of pods and services.
    pub(crate) fn outside(&mut self) -> Place {
        let namespace = self.namespace("out");
        self.run(&format!(
            "ip link add up0 type veth peer name eth0 netns {namespace}
             ip addr add {NODE}/24 dev up0
             ip link set up0 up
             ip route add default via {OUTSIDE}
             ip -n {namespace} link set lo up
             ip -n {namespace} addr add {OUTSIDE}/24 dev eth0
             ip -n {namespace} link set eth0 up"
        ));
        Place { namespace: format!("/run/netns/{namespace}"), ip: OUTSIDE }
    }
}

/// Says why a test does not run; `cargo xtask test` prints what is in the file named by `GANTRY_SKIPS`.
fn skip(why: &str) {
    let line = format!("{}: {why}", std::thread::current().name().unwrap_or("a test of the proxy's rules"));
    eprintln!("skipped: {line}");
    if let Some(path) = std::env::var_os("GANTRY_SKIPS") {
        let mut file = File::options().append(true).open(path).expect("the file of skips is there");
        writeln!(file, "{line}").expect("it can be written");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.places {
            // The test has its verdict already; what cannot be removed is only litter.
            drop(Command::new("ip").args(["netns", "del", name]).status());
        }
    }
}

impl Place {
    fn enter(&self) {
        let namespace = File::open(&self.namespace).expect("the namespace is there");
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter");
    }

    /// What `ip -n` calls it.
    pub(crate) fn name(&self) -> &str {
        self.namespace.strip_prefix("/run/netns/").expect("it is not the node")
    }

    /// Answers on port 8080 with `name` and who asked.
    pub(crate) fn serve(&self, name: &str) {
        let name = name.to_owned();
        std::thread::scope(|scope| {
            let bound = scope.spawn(|| {
                self.enter();
                TcpListener::bind("0.0.0.0:8080").expect("the port is free")
            });
            let listener = bound.join().expect("bound");
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(mut stream) = stream else { return };
                    let peer = stream.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |a| a.ip());
                    // A client that went away is its own business.
                    drop(write!(stream, "{name} {peer}"));
                }
            });
        });
    }

    /// A socket that sends datagrams to this address.
    pub(crate) fn udp(&self, address: Ipv4Addr, port: u16) -> UdpSocket {
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| {
                self.enter();
                let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
                socket.connect((address, port)).expect("a route");
                socket
            });
            opening.join().expect("opened")
        })
    }

    /// Connects, and returns who answered and which client address it saw.
    pub(crate) fn ask(&self, address: Ipv4Addr, port: u16) -> std::io::Result<(String, Ipv4Addr)> {
        let to = SocketAddr::from((address, port));
        let asked = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                self.enter();
                let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                let mut text = String::new();
                stream.read_to_string(&mut text)?;
                Ok::<_, std::io::Error>(text)
            });
            asking.join().expect("the client does not panic")
        })?;
        let (name, peer) = asked.split_once(' ').expect("name and peer");
        Ok((name.to_owned(), peer.parse().expect("an address")))
    }
}
