//! The text of a pod's `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname`; pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

/// The kernel's longest host name.
const HOSTNAME_MAX: usize = 63;

/// What a cluster says about its DNS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dns {
    /// The cluster's servers.
    pub(crate) servers: Vec<String>,
    /// The cluster's domain.
    pub(crate) domain: String,
    /// The node's own `/etc/resolv.conf`.
    pub(crate) host: String,
}

/// The pod's host name: `spec.hostname` or its name, cut to what the kernel takes.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = super::spec(pod);
    let own = spec.hostname_override.clone().or_else(|| spec.hostname.clone()).filter(|name| !name.is_empty());
    let mut name = own.unwrap_or_else(|| super::reference(pod).name);
    name.truncate(HOSTNAME_MAX);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// `/etc/hosts`: the node's for pods on its network, else the pod's own address and name; aliases last.
pub(crate) fn hosts(pod: &Pod, ip: Option<&str>, domain: &str, node_hosts: &str) -> String {
    let mut text = String::new();
    if super::host_network(pod) {
        text.push_str("# Kubernetes-managed hosts file (host network).\n");
        text.push_str(node_hosts);
    } else {
        text.push_str("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n");
        text.push_str("::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n");
        text.push_str("fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
        let name = hostname(pod);
        let subdomain = super::spec(pod).subdomain.as_deref().filter(|s| !s.is_empty());
        let namespace = super::reference(pod).namespace;
        if let Some(ip) = ip {
            match subdomain {
                Some(sub) => text.push_str(&format!("{ip}\t{name}.{sub}.{namespace}.svc.{domain}\t{name}\n")),
                None => text.push_str(&format!("{ip}\t{name}\n")),
            }
        }
    }
    let aliases = super::spec(pod).host_aliases.iter().flatten();
    let lines: Vec<String> = aliases
        .map(|a| format!("{}\t{}\n", a.ip, a.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t")))
        .collect();
    if !lines.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        text.extend(lines);
    }
    text
}

#[derive(Default)]
struct Resolver {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

/// `/etc/resolv.conf` by the pod's DNS policy and configuration.
pub(crate) fn resolv_conf(pod: &Pod, dns: &Dns) -> String {
    let spec = super::spec(pod);
    let host_network = super::host_network(pod);
    let mut resolver = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => Resolver::default(),
        "ClusterFirstWithHostNet" if !dns.servers.is_empty() => cluster(pod, dns),
        "ClusterFirst" if !dns.servers.is_empty() && !host_network => cluster(pod, dns),
        _ => parse(&dns.host),
    };
    if let Some(own) = &spec.dns_config {
        resolver.servers.extend(own.nameservers.iter().flatten().cloned());
        resolver.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            resolver.options.retain(|known| known != &name && !known.starts_with(&format!("{name}:")));
            resolver.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    write(&resolver)
}

fn cluster(pod: &Pod, dns: &Dns) -> Resolver {
    let namespace = super::reference(pod).namespace;
    let domain = &dns.domain;
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    searches.extend(parse(&dns.host).searches);
    Resolver { servers: dns.servers.clone(), searches, options: vec!["ndots:5".to_owned()] }
}

fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => resolver.servers.extend(words.next().map(str::to_owned)),
            Some("search") => resolver.searches = words.filter(|w| *w != ".").map(str::to_owned).collect(),
            Some("options") => resolver.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    resolver
}

fn write(resolver: &Resolver) -> String {
    let unique = |list: &[String]| {
        let mut seen = BTreeSet::new();
        list.iter().filter(|item| seen.insert((*item).clone())).cloned().collect::<Vec<_>>()
    };
    let mut text = String::new();
    let searches = unique(&resolver.searches);
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    for server in unique(&resolver.servers) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !resolver.options.is_empty() {
        text.push_str(&format!("options {}\n", resolver.options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})).unwrap()
    }

    #[test]
    fn the_resolver_follows_the_policy() {
        let dns = Dns {
            servers: vec!["10.96.0.10".into()],
            domain: "cluster.local".into(),
            host: "search corp\nnameserver 1.1.1.1\noptions edns0\n".into(),
        };
        let check = |spec, expected: &str| assert_eq!(resolv_conf(&pod(spec), &dns), expected);
        let cluster = "search ns.svc.cluster.local svc.cluster.local cluster.local corp\nnameserver 10.96.0.10\noptions ndots:5\n";
        let host = "search corp\nnameserver 1.1.1.1\noptions edns0\n";
        check(json!({}), cluster);
        check(json!({"dnsPolicy": "Default"}), host);
        check(json!({"hostNetwork": true}), host);
        check(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}), cluster);
        check(
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["x"], "options": [{"name": "ndots", "value": "2"}]}}),
            "search x\nnameserver 9.9.9.9\noptions ndots:2\n",
        );
        check(
            json!({"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}),
            "search ns.svc.cluster.local svc.cluster.local cluster.local corp\nnameserver 10.96.0.10\noptions ndots:1\n",
        );
    }

    #[test]
    fn hosts_names_the_pod() {
        let text = hosts(&pod(json!({"subdomain": "s"})), Some("10.1.0.2"), "cluster.local", "");
        assert!(text.contains("10.1.0.2\tweb.s.ns.svc.cluster.local\tweb\n"), "{text}");
        let text = hosts(
            &pod(json!({"hostNetwork": true, "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]})),
            None,
            "cluster.local",
            "127.0.0.1 node\n",
        );
        assert!(text.contains("127.0.0.1 node\n") && text.ends_with("1.2.3.4\ta\tb\n"), "{text}");
    }

    #[test]
    fn host_names_fit_the_kernel() {
        let mut long = pod(json!({}));
        long.metadata.name = Some(format!("{}-{}", "a".repeat(62), "b".repeat(20)));
        assert_eq!(hostname(&long), "a".repeat(62));
        assert_eq!(hostname(&pod(json!({"hostname": "h"}))), "h");
    }
}
