use serde_json::json;

use super::*;

fn node(name: &str, ip: &str, range: &str) -> Arc<Node> {
    let mut node: Node = serde_json::from_value(json!({
        "metadata": {"name": name}, "spec": {"podCIDR": range},
        "status": {"addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": ip}]},
    }))
    .expect("a node");
    trim(&mut node);
    Arc::new(node)
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a range")
}

fn to(range: &str, via: Option<[u8; 4]>) -> Route {
    Route { to: net(range), via: via.map(Ipv4Addr::from) }
}

#[test]
fn routes_lead_to_the_other_nodes() {
    let nodes = [
        node("b", "10.200.0.12", "10.244.2.0/24"),
        node("a", "10.200.0.11", "10.244.1.0/24"),
        node("no-range", "10.200.0.13", ""),
        node("no-address", "", "10.244.3.0/24"),
        node("v6", "fd00::1", "10.244.4.0/24"),
    ];
    let found = plan(&nodes, "a", None, None, None);
    assert_eq!(found.own, Some(net("10.244.1.0/24")));
    assert_eq!(found.routes, [to("10.244.1.0/24", None), to("10.244.2.0/24", Some([10, 200, 0, 12]))]);
    let inside = ["10.200.0.11/32", "10.200.0.12/31", "10.244.1.0/24", "10.244.2.0/24"];
    assert_eq!(found.inside, inside.map(net));
}

#[test]
fn a_node_that_is_gone_has_no_route() {
    let (a, b) = (node("a", "10.200.0.11", "10.244.1.0/24"), node("b", "10.200.0.12", "10.244.2.0/24"));
    assert_eq!(plan(&[Arc::clone(&a), b], "a", None, None, None).routes.len(), 2);
    assert_eq!(plan(&[a], "a", None, None, None).routes, [to("10.244.1.0/24", None)]);
}

#[test]
fn the_own_range_is_what_was_said_or_the_node_has_or_had() {
    let nodes = [node("a", "10.200.0.11", "10.244.1.0/24"), node("b", "10.200.0.12", "10.244.2.0/24")];
    let check = |name: &str, fixed: Option<&str>, known: Option<&str>, expected: Option<&str>| {
        assert_eq!(
            plan(&nodes, name, fixed.map(net), known.map(net), None).own,
            expected.map(net),
            "{name} {fixed:?} {known:?}"
        );
    };
    check("a", None, None, Some("10.244.1.0/24"));
    check("a", Some("10.9.0.0/24"), None, Some("10.9.0.0/24"));
    check("a", None, Some("10.8.0.0/24"), Some("10.244.1.0/24"));
    check("deleted", None, Some("10.8.0.0/24"), Some("10.8.0.0/24"));
    check("deleted", None, None, None);
}

#[test]
fn nobody_else_gets_the_own_range_and_no_range_has_two_ways() {
    let nodes = [
        node("a", "10.200.0.11", "10.244.1.0/24"),
        node("thief", "10.200.0.12", "10.244.1.0/24"),
        node("c", "10.200.0.14", "10.244.2.0/24"),
        node("d", "10.200.0.13", "10.244.2.7/24"),
    ];
    let found = plan(&nodes, "a", None, None, None).routes;
    assert_eq!(found, [to("10.244.1.0/24", None), to("10.244.2.0/24", Some([10, 200, 0, 14]))]);
}

#[test]
fn a_range_that_is_not_a_nodes_to_have_gets_no_route() {
    let old = |name: &str, ip: &str, range: &str, created: &str| {
        let mut node = Node::clone(&node(name, ip, range));
        node.metadata.creation_timestamp = serde_json::from_value(json!(created)).expect("a time");
        Arc::new(node)
    };
    let nodes = [
        old("a", "10.200.0.11", "10.244.1.0/24", "2026-01-01T00:00:00Z"),
        old("victim", "10.200.0.12", "10.244.2.0/24", "2026-01-01T00:00:00Z"),
        // Half of another's, by one whose name comes first; this node's; everything; what is none of the cluster's.
        old("b-half", "10.200.0.13", "10.244.2.0/25", "2026-01-02T00:00:00Z"),
        old("c-own", "10.200.0.14", "10.244.1.128/25", "2026-01-02T00:00:00Z"),
        old("d-all", "10.200.0.15", "0.0.0.0/0", "2026-01-02T00:00:00Z"),
        old("e-out", "10.200.0.16", "192.0.2.0/24", "2026-01-02T00:00:00Z"),
        old("f-new", "10.200.0.17", "10.244.3.0/24", "2026-01-02T00:00:00Z"),
    ];
    let found = plan(&nodes, "a", None, None, Some(net("10.244.0.0/16")));
    let via = |last: u8| Some([10, 200, 0, last]);
    let routes = [to("10.244.1.0/24", None), to("10.244.2.0/24", via(12)), to("10.244.3.0/24", via(17))];
    assert_eq!(
        (found.routes, found.refused),
        (routes.to_vec(), ["b-half", "c-own", "d-all", "e-out"].map(str::to_owned).to_vec())
    );
    assert!(!found.inside.contains(&net("0.0.0.0/0")));
}
