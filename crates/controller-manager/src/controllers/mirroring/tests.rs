use std::sync::Arc;

use k8s_openapi::api::{core::v1::Endpoints, discovery::v1::EndpointSlice};
use serde_json::{Value, json};

use super::{
    super::endpointslice::Plan,
    plan::{Mirrored, is_mirrored, mirrored, plan},
};

fn endpoints(metadata: Value, subsets: Value) -> Endpoints {
    let mut object = json!({"metadata": {"name": "web", "namespace": "ns", "uid": "e"}, "subsets": subsets});
    for (key, value) in metadata.as_object().expect("a map") {
        object["metadata"][key] = value.clone();
    }
    serde_json::from_value(object).expect("endpoints")
}

fn subset(ready: &[&str], rest: &[&str], port: u16) -> Value {
    let list = |ips: &[&str]| ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>();
    json!({"addresses": list(ready), "notReadyAddresses": list(rest), "ports": [{"port": port}]})
}

fn planned(endpoints: &Endpoints, slices: &[EndpointSlice]) -> Plan {
    let slices: Vec<_> = slices.iter().cloned().map(Arc::new).collect();
    plan(Some(endpoints), &mirrored(endpoints, 3), &slices)
}

/// The slices that a first plan makes, as the server would name them.
fn made(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut slices = planned(endpoints, &[]).create;
    for (at, slice) in slices.iter_mut().enumerate() {
        slice.metadata.name = Some(format!("web-{at}"));
    }
    slices
}

#[test]
fn of_each_subset_there_is_a_slice_per_family() {
    let labels = json!({"labels": {"a": "b"}, "annotations": {"c": "d", "kubectl.kubernetes.io/last-applied-configuration": "x"}});
    let subsets = json!([subset(&["10.0.0.1", "fd00::1"], &["10.0.0.2"], 80), subset(&["10.0.0.3"], &[], 81)]);
    let slices = json!(made(&endpoints(labels, subsets)));
    let of = |at: usize| {
        let slice = &slices[at];
        let ready = slice["endpoints"].as_array().expect("a list").iter();
        let ready = ready.map(|e| (e["addresses"][0].as_str().expect("an address"), e["conditions"]["ready"] == true));
        (slice["addressType"].as_str().expect("a type"), slice["ports"][0]["port"].clone(), ready.collect::<Vec<_>>())
    };
    assert_eq!(of(0), ("IPv4", json!(80), vec![("10.0.0.1", true), ("10.0.0.2", false)]));
    assert_eq!(of(1), ("IPv4", json!(81), vec![("10.0.0.3", true)]));
    assert_eq!(of(2), ("IPv6", json!(80), vec![("fd00::1", true)]));
    let meta = &slices[0]["metadata"];
    let labels = json!({
        "a": "b", "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    });
    assert_eq!((&meta["labels"], &meta["annotations"]), (&labels, &json!({"c": "d"})));
    assert_eq!((&meta["generateName"], &meta["ownerReferences"][0]["kind"]), (&json!("web-"), &json!("Endpoints")));
}

#[test]
fn the_fewest_writes_are_made() {
    let check = |before: Value, after: Value, expected: [usize; 3]| {
        let present = made(&endpoints(json!({}), before));
        let plan = planned(&endpoints(json!({}), after), &present);
        assert_eq!([plan.create.len(), plan.update.len(), plan.delete.len()], expected);
    };
    let one = json!([subset(&["10.0.0.1"], &[], 80)]);
    check(one.clone(), one.clone(), [0, 0, 0]);
    check(one.clone(), json!([subset(&[], &["10.0.0.1"], 80)]), [0, 1, 0]);
    check(one.clone(), json!([subset(&["10.0.0.1"], &[], 81)]), [0, 1, 0]);
    check(one.clone(), json!([subset(&["fd00::1"], &[], 80)]), [1, 0, 1]);
    check(one, json!([]), [0, 0, 1]);
    let slices: Vec<_> =
        made(&endpoints(json!({}), json!([subset(&["10.0.0.1"], &[], 80)]))).into_iter().map(Arc::new).collect();
    assert_eq!(plan(None, &Mirrored::default(), &slices).delete.len(), 1, "they go with their endpoints");
}

#[test]
fn what_is_not_mirrored_is_counted() {
    let check = |subsets: Value, expected: (usize, usize)| {
        let found = mirrored(&endpoints(json!({}), subsets), 3);
        assert_eq!((found.invalid, found.skipped), expected);
    };
    check(json!([subset(&["10.0.0.1", "nonsense"], &[], 80)]), (1, 1));
    check(json!([subset(&["10.0.0.1", "10.0.0.2"], &["10.0.0.3", "10.0.0.4"], 80)]), (0, 1));
}

#[test]
fn endpoints_may_say_that_nobody_need_mirror_them() {
    let check = |metadata: Value, expected| assert_eq!(is_mirrored(&endpoints(metadata, json!([]))), expected);
    check(json!({}), true);
    check(json!({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}), false);
    check(json!({"labels": {"endpointslice.kubernetes.io/skip-mirror": "false"}}), true);
    check(json!({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}), false);
}
