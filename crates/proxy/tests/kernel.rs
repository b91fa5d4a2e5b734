//! The rules in a real kernel: their round trip through nft, and traffic through them.
//!
//! Needs root; each test has network namespaces of its own and leaves nothing behind.

#[path = "kernel/lab.rs"]
mod lab;
#[path = "kernel/nodes.rs"]
mod nodes;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use gantry_proxy::compile::{View, compile};
use gantry_proxy::element::{Data, Elements, Frontend, Key, Protocol};
use gantry_proxy::flows;
use gantry_proxy::intent::difference;
use gantry_proxy::kernel::{Kernel, Nft, Present};
use gantry_proxy::rules;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use lab::{Lab, NODE, VIP};

const NODE_PORT: u16 = 30080;

fn cidr() -> Option<Ipv4Net> {
    Some("10.244.0.0/16".parse().expect("a CIDR"))
}

fn service(change: &Value) -> Service {
    let mut value = json!({
        "metadata": { "namespace": "ns", "name": "web" },
        "spec": { "type": "NodePort", "clusterIP": VIP.to_string(), "clusterIPs": [VIP.to_string()],
                  "ports": [{ "name": "http", "port": 80, "nodePort": NODE_PORT }] },
    });
    for (key, new) in change.as_object().into_iter().flatten() {
        value["spec"][key] = new.clone();
    }
    serde_json::from_value(value).expect("a service")
}

/// The elements for a service with these pods behind it, each on this node.
fn web(change: &Value, pods: &[Ipv4Addr], present: &Elements) -> Elements {
    let endpoints: Vec<Value> =
        pods.iter().map(|p| json!({ "addresses": [p.to_string()], "nodeName": "here" })).collect();
    let slice: EndpointSlice = serde_json::from_value(json!({
        "addressType": "IPv4", "metadata": {}, "ports": [{ "name": "http", "port": 8080 }], "endpoints": endpoints,
    }))
    .expect("a slice");
    compile(&service(change), &[Arc::new(slice)], View { node: "here", silent: &BTreeSet::new(), present })
}

fn load(lab: &Lab, elements: &Elements) {
    lab.block_on(Nft.apply(rules::replacement(elements, cidr()))).expect("the rules load");
}

fn inspect(lab: &Lab) -> Present {
    lab.block_on(Nft.inspect(cidr())).expect("the table is listed")
}

#[test]
fn what_is_loaded_is_listed_and_a_change_is_exactly_that_change() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(inspect(&lab), Present::Foreign);
    // More endpoints than have slots of their own, every kind of element, and both refusals.
    let pods: Vec<Ipv4Addr> = (1..=70).map(|last| Ipv4Addr::new(10, 244, 7, last)).collect();
    let mut elements = web(&json!({}), &pods, &Elements::new());
    elements.insert(Key::Refused(Protocol::Udp, 31000), Data::Refuse);
    elements.insert(Key::Refused(Protocol::Sctp, 31001), Data::Drop);
    elements.insert(Key::Spread(Frontend::NodePort(Protocol::Udp, 31002)), Data::Sticky);
    load(&lab, &elements);
    let Present::Ours(listed) = inspect(&lab) else { panic!("the table is ours") };
    assert_eq!(listed, elements);

    let fewer = web(&json!({}), &pods[..66], &elements);
    let change = difference(&elements, &fewer);
    lab.block_on(Nft.apply(rules::transaction(&change))).expect("the change loads");
    let Present::Ours(listed) = inspect(&lab) else { panic!("the table is still ours") };
    assert_eq!(listed, fewer);

    // A rule that somebody else put there, or one that is gone, makes the table foreign.
    lab.run("nft add rule ip gantry-proxy dispatch counter");
    assert_eq!(inspect(&lab), Present::Foreign);
    load(&lab, &fewer);
    assert!(matches!(inspect(&lab), Present::Ours(_)));
}

#[test]
fn one_endpoint_change_shows_only_its_elements() {
    let Some(lab) = Lab::new() else { return };
    let pods: Vec<Ipv4Addr> = (1..=5).map(|last| Ipv4Addr::new(10, 244, 7, last)).collect();
    let elements = web(&json!({ "type": "ClusterIP" }), &pods, &Elements::new());
    load(&lab, &elements);
    let mut monitor = Command::new("nft").args(["monitor"]).stdout(Stdio::piped()).spawn().expect("nft monitor starts");
    let mut lines = BufReader::new(monitor.stdout.take().expect("piped")).lines().map_while(Result::ok);
    // The monitor listens once it shows a marker; markers that come too early are lost.
    let marker = |n: u32| lab.run(&format!("nft add element ip gantry-proxy masquerade-udp {{ {n} }}"));
    let (heard, listening) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        lines.next().into_iter().for_each(|_| heard.send(()).expect("the test waits"));
        lines
    });
    (1..9999).take_while(|_| listening.try_recv().is_err()).for_each(marker);
    let mut lines = reader.join().expect("a marker was shown");
    let fewer = web(&json!({ "type": "ClusterIP" }), &pods[..4], &elements);
    let change = difference(&elements, &fewer);
    lab.block_on(Nft.apply(rules::transaction(&change))).expect("the change loads");
    marker(9999);
    let shown: Vec<String> = lines
        .by_ref()
        .take_while(|line| !line.contains("9999"))
        .filter(|line| !line.contains("masquerade-udp") && !line.starts_with('#'))
        .collect();
    monitor.kill().expect("the monitor is ours");
    monitor.wait().expect("it ends");
    let expected = [
        "delete element ip gantry-proxy services { 10.96.0.20 . tcp . 80 : goto pick5 }",
        "delete element ip gantry-proxy endpoints { 10.96.0.20 . tcp . 80 . 4 : 10.244.7.5 . 8080 }",
        "delete element ip gantry-proxy hairpin { 10.244.7.5 . 10.244.7.5 }",
        "add element ip gantry-proxy services { 10.96.0.20 . tcp . 80 : goto pick4 }",
    ];
    let sorted = |mut v: Vec<String>| {
        v.sort();
        v
    };
    assert_eq!(sorted(shown), sorted(expected.map(str::to_owned).to_vec()));
}

#[test]
fn traffic_from_pods_the_node_and_outside_reaches_the_endpoints() {
    let Some(mut lab) = Lab::new() else { return };
    let (a, b) = (lab.pod("a"), lab.pod("b"));
    let outside = lab.outside();
    load(&lab, &web(&json!({}), &[a.ip, b.ip], &Elements::new()));
    let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    let answers = |from: &lab::Place, address: Ipv4Addr, port: u16| -> BTreeSet<String> {
        (0..40).map(|_| from.ask(address, port).expect("an answer").0).collect()
    };
    assert_eq!(answers(&a.place, VIP, 80), both, "a pod reaches itself (hairpin) and the other");
    assert_eq!(answers(&lab.node(), VIP, 80), both, "the node reaches the service");
    assert_eq!(answers(&outside, NODE, NODE_PORT), both, "the node port answers from outside");
    assert_eq!(answers(&a.place, NODE, NODE_PORT), both, "and from a pod");
    assert_eq!(answers(&lab.node(), NODE, NODE_PORT), both, "and from the node itself");

    // Who the endpoint saw: pods keep their address, a node port's client is masqueraded.
    load(&lab, &web(&json!({}), &[b.ip], &Elements::new()));
    assert_eq!(a.place.ask(VIP, 80).expect("an answer"), ("b".to_owned(), a.ip));
    assert_eq!(outside.ask(NODE, NODE_PORT).expect("an answer"), ("b".to_owned(), NODE));
    // With policy Local the client's address is kept.
    load(&lab, &web(&json!({ "externalTrafficPolicy": "Local" }), &[b.ip], &Elements::new()));
    assert_eq!(outside.ask(NODE, NODE_PORT).expect("an answer"), ("b".to_owned(), outside.ip));
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    let Some(mut lab) = Lab::new() else { return };
    let a = lab.pod("a");
    let outside = lab.outside();
    load(&lab, &web(&json!({}), &[], &Elements::new()));
    let refused = |r: std::io::Result<(String, Ipv4Addr)>| r.expect_err("nobody is there").kind();
    assert_eq!(refused(a.place.ask(VIP, 80)), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(refused(lab.node().ask(VIP, 80)), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(refused(outside.ask(NODE, NODE_PORT)), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn affinity_keeps_a_client_at_its_endpoint() {
    let Some(mut lab) = Lab::new() else { return };
    // Gives the node the address that hairpin traffic is masqueraded with.
    lab.outside();
    let pods = [lab.pod("a"), lab.pod("b"), lab.pod("c")];
    let ips = [pods[0].ip, pods[1].ip, pods[2].ip];
    load(&lab, &web(&json!({ "sessionAffinity": "ClientIP" }), &ips, &Elements::new()));
    for pod in &pods {
        let answers: BTreeSet<String> = (0..10).map(|_| pod.place.ask(VIP, 80).expect("an answer").0).collect();
        assert_eq!(answers.len(), 1);
    }
}

#[test]
fn udp_flows_to_an_endpoint_that_went_are_forgotten() {
    let Some(mut lab) = Lab::new() else { return };
    lab.outside();
    let (a, b) = (lab.pod("a"), lab.pod("b"));
    let udp = json!({ "type": "ClusterIP", "ports": [{ "name": "http", "port": 53, "protocol": "UDP" }] });
    let of = |pods: &[Ipv4Addr], present: &Elements| {
        let endpoints: Vec<Value> = pods.iter().map(|p| json!({ "addresses": [p.to_string()] })).collect();
        let slice: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4", "metadata": {}, "endpoints": endpoints,
            "ports": [{ "name": "http", "port": 8080, "protocol": "UDP" }],
        }))
        .expect("a slice");
        compile(&service(&udp), &[Arc::new(slice)], View { node: "here", silent: &BTreeSet::new(), present })
    };
    let listed = || lab.output(&format!("conntrack -L -p udp --orig-dst {VIP} 2>/dev/null"));
    let before = of(&[a.ip], &Elements::new());
    load(&lab, &before);
    let client = b.place.udp(VIP, 53);
    // Nobody listens there: the refusal of one datagram is what the next attempt reports first.
    let send = || assert!((0..3).any(|_| client.send(b"x").is_ok()));
    send();
    assert!(listed().contains(&format!("src={}", a.ip)), "the flow goes to a");
    let change = difference(&before, &of(&[b.ip], &before));
    lab.block_on(Nft.apply(rules::transaction(&change))).expect("the change loads");
    lab.block_on(flows::forget(flows::stale(&change))).expect("conntrack runs");
    assert_eq!(listed(), "");
    send();
    assert!(listed().contains(&format!("src={}", b.ip)), "the same socket goes to b now");
}
