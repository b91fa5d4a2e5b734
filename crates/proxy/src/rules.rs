//! The constant part of the rule set: maps, sets and chains that are the same whatever the services are.
//!
//! A connection costs two map lookups however many services there are. No packet mark is used: the endpoint map is keyed
//! by the frontend and a number that `numgen` (or, for session affinity, a hash of the client's address) draws in the
//! same expression. See docs/adr for the measurements behind this.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ipnet::Ipv4Net;

use crate::element::{Elements, Mapping, Protocol};
use crate::intent::Change;

/// The proxy's own table, family `ip`.
pub const TABLE: &str = "gantry-proxy";
/// Up to this many endpoints each has exactly one slot.
pub const EXACT_SLOTS: u32 = 64;
/// More endpoints share this many slots, in nearly equal parts.
pub const WIDE_SLOTS: u32 = 1024;
/// Slots of the ring that session affinity hashes into.
pub const RING_SLOTS: u32 = 64;
/// How many elements one command carries; keeps single netlink messages small.
const COMMAND_ELEMENTS: usize = 2000;

/// The whole rule set: the table's constant part and `elements`, in one transaction that replaces what was there.
#[must_use]
pub fn replacement(elements: &Elements, cluster_cidr: Option<Ipv4Net>) -> String {
    let mut script = format!("add table ip {TABLE}\ndelete table ip {TABLE}\n");
    let blocks = constant_blocks(cluster_cidr);
    push(&mut script, format_args!("table ip {TABLE} {{\n{}\n}}\n", blocks.join("\n\n")));
    add_elements(&mut script, elements);
    script
}

/// The transaction that carries out `change`.
#[must_use]
pub fn transaction(change: &Change) -> String {
    let mut script = String::new();
    let mut by_container: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for key in change.delete.keys() {
        by_container.entry(key.container()).or_default().push(key.to_string());
    }
    commands(&mut script, "delete", &by_container);
    add_elements(&mut script, &change.add);
    script
}

fn listed_blocks(listing: &str) -> BTreeSet<String> {
    let mut blocks = BTreeSet::new();
    let mut block = String::new();
    for line in listing.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("table ")) {
        if line == "}" && block.is_empty() {
            // The end of the table.
            continue;
        }
        push(&mut block, format_args!("{line}\n"));
        if line == "}" {
            blocks.insert(std::mem::take(&mut block));
        }
    }
    blocks
}

/// Whether the listed table (`nft -t list table`) has the constant part as this version makes it: nothing missing, foreign
/// or different.
#[must_use]
pub fn intact(listing: &str, cluster_cidr: Option<Ipv4Net>) -> bool {
    let expected: BTreeSet<String> = constant_blocks(cluster_cidr).iter().map(|block| normal(block)).collect();
    listed_blocks(listing) == expected
}

fn normal(block: &str) -> String {
    listed_blocks(block).into_iter().next().unwrap_or_default()
}

fn add_elements(script: &mut String, elements: &Elements) {
    let mut by_container: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (key, data) in elements {
        by_container.entry(key.container()).or_default().push(Mapping(*key, *data).to_string());
    }
    commands(script, "add", &by_container);
}

fn commands(script: &mut String, verb: &str, by_container: &BTreeMap<&str, Vec<String>>) {
    for (container, elements) in by_container {
        for some in elements.chunks(COMMAND_ELEMENTS) {
            push(script, format_args!("{verb} element ip {TABLE} {container} {{ {} }}\n", some.join(", ")));
        }
    }
}

fn push(script: &mut String, text: std::fmt::Arguments<'_>) {
    script.write_fmt(text).expect("writing to a String does not fail");
}

/// Every block in nft's own spelling, so that a listing can be compared with it.
fn constant_blocks(cluster_cidr: Option<Ipv4Net>) -> Vec<String> {
    let mut blocks: Vec<String> = MAPS_AND_SETS.iter().map(|(head, body)| block(head, &[body])).collect();
    for protocol in Protocol::ALL {
        blocks.push(block(&format!("set masquerade-{}", protocol.name()), &["type inet_service"]));
    }
    for node in [false, true] {
        blocks.extend((1..=EXACT_SLOTS).chain([WIDE_SLOTS]).map(|count| spread_chain(node, count)));
        blocks.push(sticky_chain(node));
    }
    blocks.push(block("chain refuse", &["reject"]));
    blocks.push(block("chain dispatch", DISPATCH));
    blocks.push(masquerading(cluster_cidr));
    blocks.extend(HOOKS.iter().map(|(head, body)| block(head, body)));
    blocks
}

const MAPS_AND_SETS: &[(&str, &str)] = &[
    ("map services", "type ipv4_addr . inet_proto . inet_service : verdict"),
    ("map endpoints", "typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport"),
    ("map node-ports", "type inet_proto . inet_service : verdict"),
    ("map node-port-endpoints", "typeof meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport"),
    ("map refused-node-ports", "type inet_proto . inet_service : verdict"),
    ("set cluster-ips", "type ipv4_addr"),
    ("set hairpin", "type ipv4_addr . ipv4_addr"),
];

/// Services first. Node ports answer on every address of the node but loopback, which cannot be routed to a pod.
const DISPATCH: &[&str] = &[
    "ip daddr . meta l4proto . th dport vmap @services",
    "fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports",
];

/// Addresses are rewritten before routing; what still carries a cluster address after that has no endpoint.
const HOOKS: &[(&str, &[&str])] = &[
    ("chain prerouting", &["type nat hook prerouting priority dstnat; policy accept;", "jump dispatch"]),
    ("chain output", &["type nat hook output priority -100; policy accept;", "jump dispatch"]),
    (
        "chain postrouting",
        &["type nat hook postrouting priority srcnat; policy accept;", "ct status dnat jump masquerading"],
    ),
    (
        "chain refuse-input",
        &[
            "type filter hook input priority filter; policy accept;",
            "ct state new fib daddr type local meta l4proto . th dport vmap @refused-node-ports",
        ],
    ),
    (
        "chain refuse-forward",
        &["type filter hook forward priority filter; policy accept;", "ip daddr @cluster-ips reject"],
    ),
    (
        "chain refuse-output",
        &["type filter hook output priority filter; policy accept;", "ip daddr @cluster-ips reject"],
    ),
];

fn masquerading(cluster_cidr: Option<Ipv4Net>) -> String {
    let mut rules = vec!["ip saddr . ip daddr @hairpin masquerade".to_owned()];
    if let Some(cidr) = cluster_cidr {
        rules.push(format!("ct original ip daddr @cluster-ips ip saddr != {} masquerade", cidr.trunc()));
    }
    rules.push("ct original ip daddr @cluster-ips return".to_owned());
    for protocol in Protocol::ALL.map(Protocol::name) {
        rules.push(format!("meta l4proto {protocol} ct original proto-dst @masquerade-{protocol} masquerade"));
    }
    block("chain masquerading", &rules.iter().map(String::as_str).collect::<Vec<_>>())
}

fn spread_chain(node: bool, count: u32) -> String {
    let rule = rewrite(node, &format!("numgen random mod {count}"));
    block(&format!("chain {}pick{count}", prefix(node)), &[&rule])
}

/// The seed is fixed: a client stays with its endpoint whatever is restarted, and whichever node it comes through.
fn sticky_chain(node: bool) -> String {
    let draw = format!("jhash ip saddr mod {RING_SLOTS} seed 0x67616e74");
    block(&format!("chain {}sticky", prefix(node)), &[&rewrite(node, &draw)])
}

fn rewrite(node: bool, draw: &str) -> String {
    let (address, map) = if node { ("", "node-port-endpoints") } else { ("ip daddr . ", "endpoints") };
    format!("meta l4proto {{ tcp, udp, sctp }} dnat ip to {address}meta l4proto . th dport . {draw} map @{map}")
}

fn prefix(node: bool) -> &'static str {
    if node { "node-" } else { "" }
}

fn block(head: &str, lines: &[&str]) -> String {
    format!("\t{head} {{\n\t\t{}\n\t}}", lines.join("\n\t\t"))
}
