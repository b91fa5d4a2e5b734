//! The way between nodes: routes and masquerade in a real kernel.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use gantry_proxy::nodes::{Plan, Route, bring};
use ipnet::Ipv4Net;

use super::lab::{Lab, NODE};

/// The machine beside the node, of [`Lab::outside`].
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a range")
}

fn plan(others: &[(&str, Ipv4Addr)]) -> Plan {
    let own = net("10.244.1.0/24");
    let mut routes: Vec<Route> = others.iter().map(|(to, via)| Route { to: net(to), via: Some(*via) }).collect();
    routes.push(Route { to: own, via: None });
    let hosts = others.iter().map(|(_, via)| Ipv4Net::from(*via)).chain([Ipv4Net::from(NODE)]);
    let inside = hosts.chain(others.iter().map(|(to, _)| net(to))).chain([own]).collect();
    Plan { own: Some(own), routes, inside: Ipv4Net::aggregate(&inside), ..Plan::default() }
}

/// The node's routes to pods, and those that somebody else made.
fn routes(lab: &Lab) -> Vec<String> {
    let listed = lab.output("ip route list proto 103; ip route list proto static");
    let mut lines: Vec<String> =
        listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

/// What is said of the routes while something is done.
fn said(lab: &Lab, act: impl FnOnce()) -> Vec<String> {
    let mut monitor = Command::new("ip").args(["monitor", "route"]).stdout(Stdio::piped()).spawn().expect("ip starts");
    let mut lines = BufReader::new(monitor.stdout.take().expect("piped")).lines().map_while(Result::ok);
    // The monitor listens once it shows a marker; markers that come too early are lost.
    let marker = |n: u32| lab.run(&format!("ip route add 192.0.2.{n} dev lo; ip route del 192.0.2.{n} dev lo"));
    let (heard, listening) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        lines.next().into_iter().for_each(|_| heard.send(()).expect("the test waits"));
        lines
    });
    while listening.try_recv().is_err() {
        marker(1);
    }
    let mut lines = reader.join().expect("a marker was shown");
    act();
    marker(2);
    let said = lines.by_ref().take_while(|line| !line.contains("192.0.2.2")).filter(|l| !l.contains("192.0.2.1"));
    let said = said.map(|line| line.trim().to_owned()).collect();
    monitor.kill().expect("the monitor is ours");
    monitor.wait().expect("it ends");
    said
}

#[test]
fn routes_are_brought_by_difference() {
    let Some(mut lab) = Lab::new() else { return };
    lab.outside();
    // What an earlier daemon left: one that is right, one whose node has moved, one whose node is gone.
    lab.run(
        "ip route add 10.244.2.0/24 via 10.99.0.1 proto 103
         ip route add 10.244.3.0/24 via 10.99.0.7 proto 103
         ip route add 10.244.9.0/24 via 10.99.0.1 proto 103
         ip route add 10.50.0.0/16 via 10.99.0.1 proto static",
    );
    let wanted = plan(&[("10.244.2.0/24", NEIGHBOUR), ("10.244.3.0/24", NEIGHBOUR)]);
    let mut said = said(&lab, || lab.block_on(bring(&wanted)).expect("brought"));
    said.sort();
    let expected =
        ["10.244.3.0/24 via 10.99.0.1 dev up0 proto 103", "Deleted 10.244.9.0/24 via 10.99.0.1 dev up0 proto 103"];
    assert_eq!(said.iter().filter(|line| !line.contains("unreachable")).collect::<Vec<_>>(), expected.each_ref());
    let expected = [
        "10.244.2.0/24 via 10.99.0.1 dev up0",
        "10.244.3.0/24 via 10.99.0.1 dev up0",
        "10.50.0.0/16 via 10.99.0.1 dev up0",
        "unreachable 10.244.1.0/24",
    ];
    assert_eq!(routes(&lab), expected);
    let again = self::said(&lab, || lab.block_on(bring(&wanted)).expect("brought"));
    assert_eq!(again, Vec::<String>::new());
}

#[test]
fn a_node_that_cannot_be_reached_fails_alone() {
    let Some(mut lab) = Lab::new() else { return };
    lab.outside();
    lab.run("ip route add 10.244.4.0/24 via 10.99.0.1 proto 103");
    let elsewhere = Ipv4Addr::new(172, 31, 0, 9);
    let wanted = plan(&[("10.244.2.0/24", NEIGHBOUR), ("10.244.4.0/24", elsewhere), ("10.244.5.0/24", NEIGHBOUR)]);
    let error = lab.block_on(bring(&wanted)).expect_err("there is no way to one of them");
    assert!(error.to_string().contains("10.244.4.0/24 of the node 172.31.0.9"), "{error}");
    let expected =
        ["10.244.2.0/24 via 10.99.0.1 dev up0", "10.244.5.0/24 via 10.99.0.1 dev up0", "unreachable 10.244.1.0/24"];
    assert_eq!(routes(&lab), expected, "and the way to where it was is gone");
    assert!(lab.output("nft list table ip gantry-nodes").contains("172.31.0.9"));
}

#[test]
fn pods_keep_their_address_inside_the_cluster_only() {
    let Some(mut lab) = Lab::new() else { return };
    let (pod, outside) = (lab.pod("a"), lab.outside());
    outside.serve("out");
    lab.block_on(bring(&plan(&[]))).expect("brought");
    assert_eq!(pod.place.ask(NEIGHBOUR, 8080).expect("an answer"), ("out".to_owned(), NODE));
    // Now it is a node, which has a way to this one's pods.
    lab.run(&format!("ip -n {} route add 10.244.1.0/24 via {NODE}", outside.name()));
    lab.block_on(bring(&plan(&[("10.244.2.0/24", NEIGHBOUR)]))).expect("brought");
    assert_eq!(pod.place.ask(NEIGHBOUR, 8080).expect("an answer"), ("out".to_owned(), pod.ip));
}

#[test]
fn rules_are_replaced_only_where_they_differ() {
    let Some(mut lab) = Lab::new() else { return };
    lab.outside();
    lab.run("nft add table ip gantry-kubelet");
    // Neighbours in number: nft would merge them.
    let mut wanted = plan(&[("10.244.2.0/24", NEIGHBOUR), ("10.244.3.0/24", NEIGHBOUR), ("10.244.7.0/24", NEIGHBOUR)]);
    let table = || lab.output("nft -a list table ip gantry-nodes");
    lab.block_on(bring(&wanted)).expect("brought");
    let made = table();
    assert!(made.starts_with("table ip gantry-nodes { # handle "), "{made}");
    assert_eq!(lab.output("nft list tables ip"), "table ip gantry-nodes\n");
    lab.block_on(bring(&wanted)).expect("brought");
    assert_eq!(table(), made, "the same table, with the same handles");
    lab.run("nft flush chain ip gantry-nodes postrouting");
    lab.block_on(bring(&wanted)).expect("brought");
    assert!(table().contains("masquerade"));
    // A node without a range yet.
    wanted = Plan { inside: vec![Ipv4Net::from(NODE)], ..Plan::default() };
    lab.block_on(bring(&wanted)).expect("brought");
    let alone = table();
    lab.block_on(bring(&wanted)).expect("brought");
    assert_eq!(table(), alone);
}
