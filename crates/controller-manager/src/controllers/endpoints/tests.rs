use std::sync::Arc;

use gantry_client::{Change, Object};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Value, json};

use super::{for_endpoints, plan::plan, trigger::Triggers};

fn service(spec: Value) -> Service {
    let object = json!({"metadata": {"name": "web", "namespace": "ns", "labels": {"team": "x"}}, "spec": spec});
    serde_json::from_value(object).expect("a service")
}

fn usual() -> Service {
    service(
        json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]}),
    )
}

fn pod(name: &str, ip: &str, ready: bool, port: u16) -> Pod {
    let status = if ready { "True" } else { "False" };
    let object = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": status}]},
    });
    serde_json::from_value(object).expect("a pod")
}

fn planned(service: &Service, pods: &[Pod], present: Option<&Endpoints>) -> Option<Endpoints> {
    let pods: Vec<_> = pods.iter().cloned().map(Arc::new).collect();
    plan(service, &pods, present, None)
}

fn subsets(service: &Service, pods: &[Pod]) -> Value {
    json!(planned(service, pods, None).expect("there are none yet"))["subsets"].clone()
}

fn address(name: &str, ip: &str) -> Value {
    json!({"ip": ip, "nodeName": "n1", "targetRef": {"kind": "Pod", "namespace": "ns", "name": name, "uid": format!("uid-{name}")}})
}

#[test]
fn addresses_stand_with_their_ports() {
    let pods = [pod("a", "10.0.0.1", true, 8080), pod("b", "10.0.0.2", false, 8080), pod("c", "10.0.0.3", true, 9090)];
    let port = |number: u16| json!([{"name": "http", "port": number, "protocol": "TCP"}]);
    assert_eq!(
        subsets(&usual(), &pods),
        json!([
            {"addresses": [address("a", "10.0.0.1")], "notReadyAddresses": [address("b", "10.0.0.2")], "ports": port(8080)},
            {"addresses": [address("c", "10.0.0.3")], "ports": port(9090)},
        ])
    );
    // What is not ready is published where the service wants it.
    let mut open = usual();
    open.spec.get_or_insert_default().publish_not_ready_addresses = Some(true);
    assert_eq!(subsets(&open, &pods[1..2])[0]["addresses"], json!([address("b", "10.0.0.2")]));
    // Two ports of the same hosts are one subset.
    let two = service(json!({"clusterIP": "10.96.0.7", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}));
    let both = subsets(&two, &pods[..1]);
    assert_eq!((both.as_array().map(Vec::len), both[0]["ports"].as_array().map(Vec::len)), (Some(1), Some(2)));
}

#[test]
fn who_has_ended_goes_or_has_no_address_is_no_endpoint() {
    let check = |change: fn(&mut Pod), expected: usize| {
        let mut changed = pod("a", "10.0.0.1", true, 8080);
        change(&mut changed);
        assert_eq!(subsets(&usual(), &[changed]).as_array().map_or(0, Vec::len), expected);
    };
    check(|_| {}, 1);
    check(|p| p.status.get_or_insert_default().phase = Some("Failed".to_owned()), 0);
    check(|p| p.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).ok(), 0);
    check(|p| (p.status.get_or_insert_default().pod_ip, p.status.get_or_insert_default().pod_ips) = (None, None), 0);
    check(|p| p.spec.get_or_insert_default().containers[0].ports = None, 0);
}

#[test]
fn a_headless_service_needs_no_ports() {
    let endpoints = planned(&service(json!({"clusterIP": "None"})), &[pod("a", "10.0.0.1", true, 1)], None);
    let endpoints = json!(endpoints);
    assert_eq!(endpoints["subsets"], json!([{"addresses": [address("a", "10.0.0.1")]}]));
    let labels = json!({"team": "x", "endpoints.kubernetes.io/managed-by": "endpoint-controller", "service.kubernetes.io/headless": ""});
    assert_eq!(endpoints["metadata"]["labels"], labels);
    assert_eq!(subsets(&service(json!({"clusterIP": "10.96.0.7"})), &[pod("a", "10.0.0.1", true, 1)]), Value::Null);
}

#[test]
fn what_is_right_is_not_written() {
    let pods = [pod("a", "10.0.0.1", true, 8080)];
    let mut present = planned(&usual(), &pods, None).expect("new");
    present.metadata.resource_version = Some("5".to_owned());
    assert_eq!(planned(&usual(), &pods, Some(&present)), None);
    let changed = planned(&usual(), &[], Some(&present)).expect("the pod has gone");
    assert_eq!((changed.subsets.as_ref(), changed.metadata.resource_version.as_deref()), (None, Some("5")));
}

#[test]
fn endpoints_say_when_what_they_follow_happened() {
    let at = |second: i64| Timestamp::from_second(second).expect("a time");
    let made =
        Service { metadata: ObjectMeta { creation_timestamp: Some(Time(at(10))), ..usual().metadata }, ..usual() };
    let turned = |name: &str, second: i64| {
        let mut pod = pod(name, "10.0.0.1", true, 8080);
        let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
        conditions[0].last_transition_time = Some(Time(at(second)));
        Arc::new(pod)
    };
    let (triggers, key) = (Triggers::default(), made.key());
    let check = |pods: &[Arc<Pod>], expected: Option<i64>| {
        assert_eq!(triggers.changed(&key, &made, pods), expected.map(at), "{expected:?}");
    };
    check(&[turned("a", 15)], Some(10));
    check(&[turned("a", 15)], None);
    check(&[turned("a", 30), turned("b", 20)], Some(20));
    check(&[turned("b", 20)], None);
    check(&[turned("b", 15)], None);
    triggers.forget(&key);
    check(&[], Some(10));
    let pods = [turned("a", 15)];
    let said = |endpoints: &Endpoints| {
        let annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
        annotations.get("endpoints.kubernetes.io/last-change-trigger-time").cloned()
    };
    let present = plan(&made, &pods, None, Some(at(15))).expect("new");
    assert_eq!(said(&present).as_deref(), Some("1970-01-01T00:00:15Z"));
    assert_eq!(plan(&made, &pods, Some(&present), Some(at(16))), None, "the time alone is nothing to write");
    assert_eq!(said(&plan(&made, &[], Some(&present), None).expect("the pod has gone")), None);
}

#[test]
fn more_than_fits_is_cut_and_says_so() {
    let check = |ready: u16, rest: u16, expected: (usize, usize, bool)| {
        let of = |at: u16, is_ready| {
            pod(&format!("p{at}"), &format!("10.0.{}.{}", at / 250, at % 250), is_ready, 8080 + at % 2)
        };
        let pods: Vec<Pod> =
            (0..ready).map(|at| of(at, true)).chain((ready..ready + rest).map(|at| of(at, false))).collect();
        let endpoints = planned(&usual(), &pods, None).expect("new");
        let subsets = endpoints.subsets.unwrap_or_default();
        let ready: usize = subsets.iter().map(|s| s.addresses.as_ref().map_or(0, Vec::len)).sum();
        let rest: usize = subsets.iter().map(|s| s.not_ready_addresses.as_ref().map_or(0, Vec::len)).sum();
        let annotations = endpoints.metadata.annotations.unwrap_or_default();
        let says = annotations.get("endpoints.kubernetes.io/over-capacity").is_some_and(|a| a == "truncated");
        assert_eq!((ready, rest, says), expected);
    };
    check(999, 1, (999, 1, false));
    check(990, 20, (990, 10, true));
    check(1003, 20, (1000, 0, true));
}

#[test]
fn those_that_go_and_those_that_are_left_are_looked_at() {
    let check = |old: Option<&Endpoints>, new: Option<&Endpoints>, expected: usize| {
        let shared = |e: Option<&Endpoints>| e.cloned().map(Arc::new);
        let key = old.or(new).expect("one of them").key();
        assert_eq!(for_endpoints(&Change { key, old: shared(old), new: shared(new) }).len(), expected);
    };
    let ours = planned(&usual(), &[], None).expect("new");
    let others = Endpoints { metadata: usual().metadata, subsets: None };
    check(None, Some(&ours), 1);
    check(Some(&ours), Some(&ours), 0);
    check(None, Some(&others), 0);
    check(Some(&others), None, 1);
}
