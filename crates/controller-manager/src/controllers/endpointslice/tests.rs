use std::sync::Arc;

use k8s_openapi::{
    api::{
        core::v1::{
            Container, ContainerPort, Pod, PodCondition, PodSpec, PodStatus, Service, ServicePort, ServiceSpec,
        },
        discovery::v1::{EndpointConditions, EndpointSlice},
    },
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, Time},
        util::intstr::IntOrString,
    },
};
use proptest::prelude::*;

use super::{
    face,
    plan::{Plan, Snapshot, plan},
};

fn service(target: IntOrString) -> Service {
    let port = ServicePort {
        name: Some("http".to_owned()),
        port: 80,
        target_port: Some(target),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    Service {
        metadata: ObjectMeta {
            name: Some("web".to_owned()),
            namespace: Some("ns".to_owned()),
            uid: Some("svc".to_owned()),
            labels: Some([("team".to_owned(), "x".to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("10.96.0.7".to_owned()),
            ip_families: Some(vec!["IPv4".to_owned()]),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn pod(name: &str, ip: &str, ready: bool) -> Pod {
    let port = ContainerPort { name: Some("web".to_owned()), container_port: 8080, ..ContainerPort::default() };
    let condition = PodCondition {
        type_: "Ready".to_owned(),
        status: if ready { "True" } else { "False" }.to_owned(),
        ..PodCondition::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("ns".to_owned()),
            uid: Some(format!("uid-{name}")),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            node_name: Some("n1".to_owned()),
            containers: vec![Container { ports: Some(vec![port]), ..Container::default() }],
            ..PodSpec::default()
        }),
        status: Some(PodStatus {
            phase: Some("Running".to_owned()),
            pod_ip: Some(ip.to_owned()).filter(|ip| !ip.is_empty()),
            conditions: Some(vec![condition]),
            ..PodStatus::default()
        }),
    }
}

fn plan_for(service: &Service, pods: &[Pod], slices: &[EndpointSlice], slice_len_max: usize) -> Plan {
    let pods: Vec<_> = pods.iter().cloned().map(Arc::new).collect();
    let slices: Vec<_> = slices.iter().cloned().map(Arc::new).collect();
    let zone_of = |_: &str| Some("z1".to_owned());
    plan(&Snapshot { service, pods: &pods, slices: &slices, zone_of: &zone_of, slice_len_max })
}

/// The slices after the plan; new ones get names.
fn apply(slices: Vec<EndpointSlice>, plan: Plan, counter: &mut usize) -> Vec<EndpointSlice> {
    let gone = |s: &EndpointSlice| plan.delete.iter().any(|d| d.metadata.name == s.metadata.name);
    let mut after: Vec<EndpointSlice> = slices.into_iter().filter(|s| !gone(s)).collect();
    for updated in plan.update {
        let slot = after.iter_mut().find(|s| s.metadata.name == updated.metadata.name).expect("updates exist");
        *slot = updated;
    }
    for mut made in plan.create {
        *counter += 1;
        made.metadata.name = Some(format!("web-{counter}"));
        after.push(made);
    }
    after
}

/// `address:flags` per endpoint, `|` between slices; flags r(eady) s(erving) t(erminating).
fn show(slices: &[EndpointSlice]) -> String {
    let flags = |c: &EndpointConditions| {
        let flag = |on: Option<bool>, name| if on == Some(true) { name } else { "" };
        [flag(c.ready, "r"), flag(c.serving, "s"), flag(c.terminating, "t")].concat()
    };
    let slice = |s: &EndpointSlice| {
        let endpoints = s.endpoints.iter().flatten();
        let one = |e: &k8s_openapi::api::discovery::v1::Endpoint| {
            format!("{}:{}", e.addresses.join(","), flags(&e.conditions.clone().unwrap_or_default()))
        };
        endpoints.map(one).collect::<Vec<_>>().join(" ")
    };
    slices.iter().map(slice).collect::<Vec<_>>().join("|")
}

fn first(service: &Service, pods: &[Pod]) -> Vec<EndpointSlice> {
    apply(Vec::new(), plan_for(service, pods, &[], 100), &mut 0)
}

#[test]
fn conditions_of_endpoints() {
    let check = |pods: &[Pod], publish: bool, expected: &str| {
        let mut service = service(IntOrString::Int(8080));
        service.spec.get_or_insert_default().publish_not_ready_addresses = Some(publish);
        assert_eq!(show(&first(&service, pods)), expected);
    };
    let leaving = |ready| {
        let mut pod = pod("p", "10.1.0.1", ready);
        pod.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        pod
    };
    let mut ended = pod("e", "10.1.0.1", false);
    ended.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
    check(&[pod("p", "10.1.0.1", true)], false, "10.1.0.1:rs");
    check(&[pod("p", "10.1.0.1", false)], false, "10.1.0.1:");
    check(&[pod("p", "10.1.0.1", false)], true, "10.1.0.1:r");
    check(&[leaving(true)], false, "10.1.0.1:st");
    check(&[leaving(false)], false, "10.1.0.1:t");
    check(&[leaving(true)], true, "10.1.0.1:rst");
    check(&[pod("p", "", true)], false, "");
    check(&[pod("p", "fd00::1", true)], false, "");
    check(&[ended], false, "");
}

#[test]
fn a_slice_carries_labels_owner_ports_and_topology() {
    let mut service = service(IntOrString::String("web".to_owned()));
    service.spec.get_or_insert_default().cluster_ip = Some("None".to_owned());
    let mut named = pod("p", "10.1.0.1", true);
    let spec = named.spec.get_or_insert_default();
    (spec.hostname, spec.subdomain) = (Some("p-0".to_owned()), Some("web".to_owned()));
    let slice = first(&service, &[named]).remove(0);
    let labels = slice.metadata.labels.expect("labels");
    let expected = [
        ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"),
        ("kubernetes.io/service-name", "web"),
        ("service.kubernetes.io/headless", ""),
        ("team", "x"),
    ];
    assert_eq!(labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!(slice.metadata.generate_name.as_deref(), Some("web-"));
    assert_eq!(slice.metadata.owner_references.expect("owner")[0].kind, "Service");
    let port = &slice.ports.expect("ports")[0];
    assert_eq!((port.name.as_deref(), port.port, port.protocol.as_deref()), (Some("http"), Some(8080), Some("TCP")));
    let endpoint = &slice.endpoints.expect("endpoints")[0];
    assert_eq!((endpoint.node_name.as_deref(), endpoint.zone.as_deref()), (Some("n1"), Some("z1")));
    assert_eq!(endpoint.hostname.as_deref(), Some("p-0"));
    let target = endpoint.target_ref.as_ref().expect("target");
    assert_eq!((target.kind.as_deref(), target.name.as_deref()), (Some("Pod"), Some("p")));
    assert_eq!(target.uid.as_deref(), Some("uid-p"));
}

#[test]
fn pods_whose_named_port_differs_get_slices_of_their_own() {
    let service = service(IntOrString::String("web".to_owned()));
    let mut other = pod("b", "10.1.0.2", true);
    other.spec.get_or_insert_default().containers[0].ports.as_mut().expect("has one")[0].container_port = 9090;
    let slices = first(&service, &[pod("a", "10.1.0.1", true), other]);
    let ports: Vec<_> = slices.iter().map(|s| s.ports.as_ref().expect("ports")[0].port).collect();
    assert_eq!(ports, [Some(8080), Some(9090)]);
}

#[test]
fn nothing_changed_nothing_is_written() {
    let service = service(IntOrString::Int(8080));
    let pods = [pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", false)];
    let plan = plan_for(&service, &pods, &first(&service, &pods), 100);
    assert!(plan.create.is_empty() && plan.update.is_empty() && plan.delete.is_empty(), "{plan:?}");
    let empty = first(&service, &[]);
    let plan = plan_for(&service, &[], &empty, 100);
    assert!(plan.create.is_empty() && plan.update.is_empty() && plan.delete.is_empty(), "{plan:?}");
}

#[test]
fn a_service_without_endpoints_keeps_one_empty_slice() {
    let service = service(IntOrString::Int(8080));
    let empty = first(&service, &[]);
    assert_eq!((empty.len(), show(&empty).as_str()), (1, ""));
    // The same slice serves when a pod comes, and when it goes again.
    let pods = [pod("a", "10.1.0.1", true)];
    let filled = apply(empty, plan_for(&service, &pods, &first(&service, &[]), 100), &mut 10);
    assert_eq!((filled.len(), filled[0].metadata.name.as_deref()), (1, Some("web-1")));
    let emptied = apply(filled.clone(), plan_for(&service, &[], &filled, 100), &mut 10);
    assert_eq!((emptied.len(), emptied[0].metadata.name.as_deref()), (1, Some("web-1")));
}

#[test]
fn only_the_slice_of_a_changed_endpoint_is_written() {
    let service = service(IntOrString::Int(8080));
    let mut pods: Vec<Pod> = (0..6).map(|i| pod(&format!("p{i}"), &format!("10.1.0.{i}"), true)).collect();
    let slices = apply(Vec::new(), plan_for(&service, &pods, &[], 2), &mut 0);
    assert_eq!(slices.len(), 3);
    pods[3] = pod("p3", "10.1.0.3", false);
    let plan = plan_for(&service, &pods, &slices, 2);
    assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (0, 1, 0));
    assert_eq!(show(&plan.update), "10.1.0.2:rs 10.1.0.3:");
}

#[test]
fn a_heartbeat_is_no_change_of_face() {
    let old = pod("a", "10.1.0.1", true);
    let mut new = old.clone();
    new.metadata.resource_version = Some("2".to_owned());
    new.status.get_or_insert_default().message = Some("still here".to_owned());
    assert!(face(&old) == face(&new));
    assert!(face(&old) != face(&pod("a", "10.1.0.1", false)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_endpoint_is_in_exactly_one_slice(
        rounds in prop::collection::vec(prop::collection::btree_map(0..30u8, any::<bool>(), 0..25), 1..8),
        len_max in 1..6usize,
    ) {
        let service = service(IntOrString::Int(8080));
        let mut slices = Vec::new();
        let mut counter = 0;
        for round in rounds {
            let pods: Vec<Pod> =
                round.iter().map(|(i, ready)| pod(&format!("p{i}"), &format!("10.1.0.{i}"), *ready)).collect();
            let plan = plan_for(&service, &pods, &slices, len_max);
            slices = apply(slices, plan, &mut counter);
            let addresses = slices.iter().flat_map(|s| s.endpoints.iter().flatten()).map(|e| e.addresses[0].clone());
            let mut got: Vec<String> = addresses.collect();
            got.sort();
            let mut expected: Vec<String> = round.keys().map(|i| format!("10.1.0.{i}")).collect();
            expected.sort();
            prop_assert_eq!(got, expected);
            prop_assert!(slices.iter().all(|s| s.endpoints.as_ref().is_none_or(|e| e.len() <= len_max)));
            prop_assert!(slices.iter().filter(|s| s.endpoints.as_ref().is_none_or(Vec::is_empty)).count() <= 1);
            let again = plan_for(&service, &pods, &slices, len_max);
            prop_assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
        }
    }
}
