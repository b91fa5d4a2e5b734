//! Flags; upstream's names where upstream has one.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use clap::Parser;
use gantry_api::quantity::Quantity;
use gantry_common::daemon::Common;
use ipnet::Ipv4Net;

/// Runs the pods of one node.
#[derive(Debug, Clone, Parser)]
#[command(name = "gantry-kubelet", version = gantry_common::version::GIT_VERSION)]
pub struct Config {
    /// Flags of every daemon.
    #[command(flatten)]
    pub common: Common,
    /// The node's name; the machine's host name if absent.
    #[arg(long, value_name = "NAME")]
    pub hostname_override: Option<String>,
    /// The node's address, on which other nodes reach its pods; found from the default route if absent.
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: Option<Ipv4Addr>,
    /// The folder for pods' volumes and files.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/kubelet")]
    pub root_dir: PathBuf,
    /// Docker's socket.
    #[arg(long, value_name = "URL", default_value = "unix:///var/run/docker.sock")]
    pub docker_endpoint: String,
    /// DNS servers for pods, separated by commas.
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    pub cluster_dns: Vec<String>,
    /// The cluster's DNS domain.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// The file with the node's own DNS servers.
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
    /// The range of the pods' addresses; from the Node object if absent.
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Option<Ipv4Net>,
    /// Whether the kubelet makes its own Node object.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub register_node: bool,
    /// Pods that the node takes.
    #[arg(long, default_value_t = 110, value_name = "NUMBER")]
    pub max_pods: u32,
    /// Sessions (exec, attach, port-forward, logs, connections of the API server) that the node serves at once.
    #[arg(long, default_value_t = 900, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_sessions: u32,
    /// The control group under which the pods' groups are made.
    #[arg(long, default_value = "/", value_name = "PATH")]
    pub cgroup_root: String,
    /// Labels for the Node object: `key=value,...`.
    #[arg(long, value_delimiter = ',', value_parser = pair, value_name = "LABELS")]
    pub node_labels: Vec<(String, String)>,
    /// What of the machine the node may claim, where several nodes share one: `cpu=2,memory=4Gi`.
    #[arg(long, value_delimiter = ',', value_parser = amount, value_name = "AMOUNTS")]
    pub capacity: Vec<(String, Quantity)>,
    /// What is kept back from pods for the rest of the machine: `cpu=200m,memory=512Mi`.
    #[arg(long, value_delimiter = ',', value_parser = amount, value_name = "AMOUNTS")]
    pub system_reserved: Vec<(String, Quantity)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn amount(text: &str) -> Result<(String, Quantity), String> {
    let (name, value) = pair(text)?;
    if !matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
        return Err(format!("{name:?} is not one of cpu, memory, ephemeral-storage"));
    }
    let value = Quantity::parse(&value).map_err(|error| format!("{value:?} is not a quantity: {error}"))?;
    Ok((name, value))
}

impl Config {
    /// What `/configz` shows: upstream's names where upstream has one.
    pub(crate) fn shown(&self) -> serde_json::Value {
        let amounts = |list: &[(String, Quantity)]| {
            let text = Self::amounts(list).into_iter().map(|(name, value)| (name.to_owned(), value.to_string().into()));
            serde_json::Value::Object(text.collect())
        };
        serde_json::json!({
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "containerRuntimeEndpoint": self.docker_endpoint,
            "clusterDNS": self.cluster_dns,
            "clusterDomain": self.cluster_domain,
            "resolvConf": self.resolv_conf,
            "podCIDR": self.pod_cidr.map(|range| range.to_string()).unwrap_or_default(),
            "registerNode": self.register_node,
            "maxPods": self.max_pods,
            "maxSessions": self.max_sessions,
            "cgroupRoot": self.cgroup_root,
            "systemReserved": amounts(&self.system_reserved),
        })
    }

    /// The amounts of a list by name; the last one counts.
    pub(crate) fn amounts(list: &[(String, Quantity)]) -> BTreeMap<&str, &Quantity> {
        list.iter().map(|(name, value)| (name.as_str(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_parsed() {
        let parse = |args: &[&str]| Config::try_parse_from([&["gantry-kubelet"], args].concat());
        let config = parse(&["--node-labels=a=b,c=d", "--capacity=cpu=2,memory=4Gi", "--register-node=false"]).unwrap();
        assert_eq!(config.node_labels, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())]);
        assert_eq!(Config::amounts(&config.capacity)["memory"].value(), 4 << 30);
        assert!(!config.register_node);
        for bad in ["--node-labels=a", "--capacity=gpu=1", "--capacity=cpu=x", "--node-ip=x", "--pod-cidr=1"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}
