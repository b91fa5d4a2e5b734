//! Which services a cluster consists of, and their arguments. Pure: a description in, service descriptions out.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{
    config::{ApiServer, Config, Node},
    layout::{ETCD_SOCKET, Layout},
    pki::{CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA, FRONT_PROXY_CLIENT, Pki},
    spec::{Ready, Spec},
};

/// Programs that do not belong to Gantry, as found on this machine.
#[derive(Debug, Clone)]
pub struct Programs {
    /// etcd.
    pub etcd: PathBuf,
    /// docker-registry.
    pub registry: PathBuf,
    /// dockerd.
    pub dockerd: PathBuf,
    /// containerd.
    pub containerd: PathBuf,
}

/// A component and the part of it that differs between the supervisors.
struct Builder<'a> {
    config: &'a Config,
    layout: Layout,
    pki: Pki,
    programs: &'a Programs,
}

/// All services, in the order in which they are started.
#[must_use]
pub fn all(config: &Config, programs: &Programs, resolvers: &[Ipv4Addr]) -> Vec<Spec> {
    let layout = config.layout();
    let b = Builder { config, pki: Pki::new(layout.pki()), layout, programs };
    let mut all = vec![b.etcd(), b.registry()];
    all.extend(config.api_servers().iter().map(|server| b.apiserver(server)));
    all.push(b.leader("scheduler"));
    all.push(b.controller_manager());
    for node in &config.nodes {
        all.extend([b.containerd(node), b.dockerd(node), b.kubelet(node), b.proxy(node), b.dns(node, resolvers)]);
    }
    for (component, flag) in &config.extra_args {
        let names: Vec<String> = if component == "apiserver" {
            config.api_servers().into_iter().map(|s| s.name).collect()
        } else {
            config.nodes.iter().map(|n| on_node(component, &n.name)).chain([component.clone()]).collect()
        };
        let is_it = |s: &&mut Spec| names.contains(&s.name);
        all.iter_mut().filter(is_it).for_each(|s| s.args.push(flag.clone()));
    }
    all
}

/// The name of a node's service.
#[must_use]
pub fn on_node(component: &str, node: &str) -> String {
    format!("{component}-{node}")
}

impl Builder<'_> {
    fn spec(&self, name: &str, program: &Path, args: Vec<String>) -> Spec {
        Spec {
            name: name.to_owned(),
            program: program.to_owned(),
            args,
            env: Vec::new(),
            folder: None,
            socket: None,
            netns: None,
            ready: Ready::Notify,
            stop_seconds: 15,
            restart_on: Vec::new(),
        }
    }

    fn own(&self, name: &str, component: &str, args: Vec<String>) -> Spec {
        self.spec(name, &self.config.bin_dir.join(format!("gantry-{component}")), args)
    }

    fn in_node(&self, node: &Node, spec: Spec) -> Spec {
        Spec { netns: Some(Path::new("/run/netns").join(self.config.netns(&node.name))), ..spec }
    }

    fn etcd(&self) -> Spec {
        let ports = self.config.ports;
        let (client, peer) =
            (format!("https://127.0.0.1:{}", ports.etcd), format!("https://127.0.0.1:{}", ports.etcd_peer));
        let pki = &self.pki;
        let args = vec![
            flag("name", "gantry"),
            flag("data-dir", self.layout.etcd().display()),
            flag("listen-client-urls", format!("{client},unix://{ETCD_SOCKET}")),
            flag("advertise-client-urls", &client),
            flag("listen-peer-urls", &peer),
            flag("initial-advertise-peer-urls", &peer),
            flag("initial-cluster", format!("gantry={peer}")),
            flag("cert-file", pki.cert("etcd-server").display()),
            flag("key-file", pki.key("etcd-server").display()),
            flag("trusted-ca-file", pki.cert(ETCD_CA).display()),
            flag("client-cert-auth", true),
            flag("peer-cert-file", pki.cert("etcd-peer").display()),
            flag("peer-key-file", pki.key("etcd-peer").display()),
            flag("peer-trusted-ca-file", pki.cert(ETCD_CA).display()),
            flag("peer-client-cert-auth", true),
            flag("quota-backend-bytes", 4_u64 << 30),
            flag("snapshot-count", 10_000),
            flag("logger", "zap"),
            flag("log-level", "warn"),
        ];
        let certs = [pki.cert("etcd-server"), pki.cert("etcd-peer")];
        let (folder, socket) = (Some(self.layout.etcd_run()), Some(self.layout.etcd_socket()));
        Spec { folder, socket, restart_on: certs.to_vec(), ..self.spec("etcd", &self.programs.etcd, args) }
    }

    fn registry(&self) -> Spec {
        let args = vec!["serve".to_owned(), registry_config(&self.layout).display().to_string()];
        let address = SocketAddr::from((self.config.gateway(), self.config.ports.registry));
        Spec { ready: Ready::Tcp(address), ..self.spec("registry", &self.programs.registry, args) }
    }

    fn apiserver(&self, server: &ApiServer) -> Spec {
        let (config, pki) = (self.config, &self.pki);
        // The first is on loopback too, where there is one port for all.
        let on_loopback = if server.address == config.gateway() { "127.0.0.1," } else { "" };
        let args = vec![
            flag("etcd-servers", format!("unix://{}", self.layout.etcd_socket().display())),
            flag("bind-address", format!("{on_loopback}{}", server.address)),
            flag("secure-port", config.ports.secure),
            flag("advertise-address", server.address),
            flag("tls-cert-file", pki.cert("apiserver").display()),
            flag("tls-private-key-file", pki.key("apiserver").display()),
            flag("client-ca-file", pki.cert(CLUSTER_CA).display()),
            flag("encryption-provider-config", pki.encryption().display()),
            flag("encryption-provider-config-automatic-reload", true),
            flag("requestheader-client-ca-file", pki.cert(FRONT_PROXY_CA).display()),
            flag("requestheader-allowed-names", FRONT_PROXY_CLIENT),
            flag("requestheader-uid-headers", "X-Remote-Uid"),
            flag("proxy-client-cert-file", pki.cert(FRONT_PROXY_CLIENT).display()),
            flag("proxy-client-key-file", pki.key(FRONT_PROXY_CLIENT).display()),
            flag("service-account-key-file", self.layout.pki().join("sa.pub").display()),
            flag("service-account-signing-key-file", pki.key("sa").display()),
            flag("service-cluster-ip-range", config.service_cidr),
        ];
        let certs = ["apiserver", CLUSTER_CA, FRONT_PROXY_CA, FRONT_PROXY_CLIENT];
        let read = certs.into_iter().map(|c| pki.cert(c)).chain([pki.encryption()]);
        Spec { restart_on: read.collect(), ..self.own(&server.name, "apiserver", args) }
    }

    fn leader(&self, component: &str) -> Spec {
        let kubeconfig = self.layout.kubeconfig(component);
        let spec = self.own(component, component, vec![flag("kubeconfig", kubeconfig.display())]);
        Spec { restart_on: vec![kubeconfig], ..spec }
    }

    fn controller_manager(&self) -> Spec {
        let mut spec = self.leader("controller-manager");
        spec.args.push(flag("cluster-cidr", self.config.pod_cidr));
        spec.args.push(flag("root-ca-file", self.pki.cert(CLUSTER_CA).display()));
        spec.args.push(flag("service-account-private-key-file", self.pki.key("sa").display()));
        spec.args.push(flag("cluster-signing-cert-file", self.pki.cert(CLUSTER_CA).display()));
        spec.args.push(flag("cluster-signing-key-file", self.pki.key(CLUSTER_CA).display()));
        spec
    }

    /// A containerd of the node's own: with the machine's, containers on the host network would be in the machine's
    /// network namespace instead of the node's.
    fn containerd(&self, node: &Node) -> Spec {
        let args = vec!["--config".to_owned(), containerd_config(&self.layout, &node.name).display().to_string()];
        self.in_node(node, self.spec(&on_node("containerd", &node.name), &self.programs.containerd, args))
    }

    fn dockerd(&self, node: &Node) -> Spec {
        let run = self.layout.node_run(&node.name);
        let args = vec![
            flag("config-file", docker_config(&self.layout, &node.name).display()),
            flag("host", format!("unix://{}", self.layout.docker_socket(&node.name).display())),
            flag("containerd", run.join("containerd.sock").display()),
            flag("data-root", self.layout.node(&node.name).join("docker").display()),
            flag("exec-root", run.join("docker").display()),
            flag("pidfile", run.join("docker.pid").display()),
        ];
        let spec = self.spec(&on_node("dockerd", &node.name), &self.programs.dockerd, args);
        self.in_node(node, Spec { stop_seconds: 30, ..spec })
    }

    fn kubelet(&self, node: &Node) -> Spec {
        let kubeconfig = self.layout.kubeconfig(&format!("kubelet-{}", node.name));
        let args = vec![
            flag("kubeconfig", kubeconfig.display()),
            flag("hostname-override", &node.name),
            flag("node-ip", node.address),
            flag("root-dir", self.layout.node(&node.name).join("kubelet").display()),
            flag("docker-endpoint", format!("unix://{}", self.layout.docker_socket(&node.name).display())),
            flag("cgroup-root", format!("/{}", super::containers::cgroup_name(self.config, &node.name))),
            flag("cluster-dns", self.config.dns_ip()),
            flag("cluster-domain", &self.config.domain),
        ];
        let spec = self.own(&on_node("kubelet", &node.name), "kubelet", args);
        self.in_node(node, Spec { restart_on: vec![kubeconfig], ..spec })
    }

    fn proxy(&self, node: &Node) -> Spec {
        let kubeconfig = self.layout.kubeconfig("proxy");
        let args = vec![
            flag("kubeconfig", kubeconfig.display()),
            flag("hostname-override", &node.name),
            flag("cluster-cidr", self.config.pod_cidr),
        ];
        let spec = self.own(&on_node("proxy", &node.name), "proxy", args);
        self.in_node(node, Spec { restart_on: vec![kubeconfig], ..spec })
    }

    fn dns(&self, node: &Node, resolvers: &[Ipv4Addr]) -> Spec {
        let kubeconfig = self.layout.kubeconfig("dns");
        let mut args = vec![
            flag("kubeconfig", kubeconfig.display()),
            flag("hostname-override", &node.name),
            flag("bind-address", node.address),
            flag("cluster-domain", &self.config.domain),
        ];
        args.extend(resolvers.iter().map(|r| flag("upstream", r)));
        let spec = self.own(&on_node("dns", &node.name), "dns", args);
        self.in_node(node, Spec { restart_on: vec![kubeconfig], ..spec })
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn registry_config(layout: &Layout) -> PathBuf {
    layout.units().join("registry.yaml")
}

fn containerd_config(layout: &Layout, node: &str) -> PathBuf {
    layout.node(node).join("containerd.toml")
}

fn docker_config(layout: &Layout, node: &str) -> PathBuf {
    layout.node(node).join("docker.json")
}

/// The configuration files that the services of others read, with their content.
#[must_use]
pub fn files(config: &Config) -> Vec<(PathBuf, String)> {
    let layout = config.layout();
    let registry = format!(
        "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
         http: {{addr: \"{}:{}\"}}\n",
        layout.registry().display(),
        config.gateway(),
        config.ports.registry
    );
    let mut files = vec![(registry_config(&layout), registry)];
    for node in &config.nodes {
        let run = layout.node_run(&node.name);
        let containerd = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{}\"\n[ttrpc]\naddress = \"{}\"\n[debug]\nlevel = \"warn\"\n",
            layout.node(&node.name).join("containerd").display(),
            run.join("containerd").display(),
            run.join("containerd.sock").display(),
            run.join("containerd.ttrpc").display(),
        );
        files.push((containerd_config(&layout, &node.name), containerd));
        files.push((docker_config(&layout, &node.name), docker_daemon_json(config, node)));
    }
    files
}

/// Docker makes no network of its own and touches no packet rules; containers outlive it.
fn docker_daemon_json(config: &Config, node: &Node) -> String {
    let registry = format!("{}:{}", config.gateway(), config.ports.registry);
    let value = serde_json::json!({
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
        "ip-forward": false,
        "ip-masq": false,
        "live-restore": true,
        "log-level": "warn",
        "registry-mirrors": [format!("http://{registry}")],
        "insecure-registries": [registry],
        "cgroup-parent": format!("/{}", super::containers::cgroup_name(config, &node.name)),
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "log-driver": "json-file",
        "log-opts": { "max-size": "10m", "max-file": "3" },
    });
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::config::{Choices, Manager};

    fn config(nodes: u16) -> Config {
        Config::plan(&Choices {
            name: "x".to_owned(),
            data_dir: PathBuf::from("/var/lib/gantry"),
            nodes,
            control_planes: 1,
            secure_port: 6443,
            bridge: None,
            subnet: "10.200.0.0/24".parse().expect("a network"),
            manager: Manager::Builtin,
            bin_dir: PathBuf::from("/opt"),
            extra_args: Vec::new(),
        })
        .expect("it can be planned")
    }

    fn programs() -> Programs {
        let at = |p: &str| PathBuf::from("/usr/bin").join(p);
        Programs {
            etcd: at("etcd"),
            registry: at("docker-registry"),
            dockerd: at("dockerd"),
            containerd: at("containerd"),
        }
    }

    #[test]
    fn every_node_has_its_own_runtime_and_daemons() {
        let all = all(&config(2), &programs(), &[]);
        let names: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(&names[..5], ["etcd", "registry", "apiserver", "scheduler", "controller-manager"]);
        assert_eq!(names.len(), 5 + 2 * 5);
        let in_netns = all.iter().filter(|s| s.netns.is_some()).count();
        assert_eq!(in_netns, 10, "everything of a node runs in its network namespace");
    }

    #[test]
    fn only_the_api_server_is_told_of_etcds_socket_and_nobody_is_given_its_keys() {
        let socket = config(1).layout().etcd_socket();
        for spec in all(&config(1), &programs(), &[]) {
            let is_told = spec.args.iter().any(|a| *a == format!("--etcd-servers=unix://{}", socket.display()));
            assert_eq!(is_told, spec.name == "apiserver", "{}", spec.name);
            assert!(!spec.args.iter().any(|a| a.contains("etcd-client")), "{}", spec.name);
            let makes_it = spec.folder.as_deref() == socket.parent();
            assert_eq!(makes_it, spec.name == "etcd", "{}", spec.name);
        }
    }

    #[test]
    fn every_control_plane_is_an_api_server_with_its_own_address() {
        let mut config = config(1);
        config.grow_control_planes(3).expect("it grows");
        config.extra_args = vec![("apiserver".to_owned(), "--v=1".to_owned())];
        let all = all(&config, &programs(), &[]);
        let servers: Vec<&Spec> = all.iter().filter(|s| s.name.starts_with("apiserver")).collect();
        let names: Vec<&str> = servers.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["apiserver", "apiserver-2", "apiserver-3"]);
        let has = |n: usize, flag: &str| {
            assert!(servers[n].args.iter().any(|a| a == flag), "{flag} is not in {:?}", servers[n].args);
        };
        has(0, "--bind-address=127.0.0.1,10.200.0.1");
        has(1, "--bind-address=10.200.0.2");
        has(2, "--advertise-address=10.200.0.3");
        (0..3).for_each(|n| has(n, "--v=1"));
        assert!(servers.iter().all(|s| s.program.ends_with("gantry-apiserver")));
    }

    #[test]
    fn sockets_stay_within_the_kernels_limit() {
        let mut config = config(9);
        config.name = "a".repeat(20);
        for (_, text) in files(&config) {
            for path in text.split('"').filter(|p| p.starts_with("/run")) {
                assert!(path.len() < 80, "{path}");
            }
        }
    }
}
