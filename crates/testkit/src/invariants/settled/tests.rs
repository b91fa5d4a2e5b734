use serde_json::json;

use super::super::sample::{History, conditions, owned, terminating, thing, with};
use super::*;

fn world(objects: Vec<Value>) -> World {
    let put = |history: History, object: Value| history.put([object]);
    let mut world = World::default();
    objects.into_iter().fold(History::default(), put).steps().iter().for_each(|step| world.apply(step));
    world
}

fn expect(objects: Vec<Value>, count: usize) {
    let found = faults(&world(objects));
    assert_eq!(found.len(), count, "{found:#?}");
}

fn deployment() -> Value {
    let status = json!({"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "updatedReplicas": 1});
    let spec = json!({"replicas": 1, "template": {"spec": {"containers": [{"image": "a:1"}]}}});
    let object = with(with(thing("Deployment", "a", "d"), "spec", spec), "status", status);
    with(object, "metadata.generation", 2)
}

fn set(name: &str, image: &str, replicas: i64) -> Value {
    let spec = json!({"replicas": replicas, "template": {"spec": {"containers": [{"image": image}]}}});
    let status = json!({"replicas": replicas, "readyReplicas": replicas});
    with(with(owned(thing("ReplicaSet", "a", name), &deployment()), "spec", spec), "status", status)
}

fn pod(owner: &Value) -> Value {
    let pod = with(owned(thing("Pod", "a", "p"), owner), "status.podIP", "10.0.0.1");
    let pod = with(pod, "metadata.labels", json!({"app": "x"}));
    let conditions = json!([{"type": "Ready", "status": "True"}]);
    with(pod, "status.conditions", conditions)
}

#[test]
fn a_deployment_that_is_as_declared_is_fine() {
    let set = set("s", "a:1", 1);
    expect(vec![deployment(), set.clone(), pod(&set)], 0);
}

#[test]
fn a_deployment_that_is_not_as_declared_is_found() {
    let set1 = set("s", "a:1", 1);
    let all = |deployment: Value| vec![deployment, set1.clone(), pod(&set1)];
    expect(all(with(deployment(), "metadata.generation", 3)), 1);
    expect(all(with(deployment(), "status.availableReplicas", 0)), 1);
    expect(all(with(deployment(), "spec.replicas", 2)), 1);
    expect(all(with(deployment(), "spec.template.spec.containers", json!([{"image": "a:2"}]))), 1);
    expect(vec![deployment(), set1.clone()], 1);
    expect(vec![deployment(), set1.clone(), conditions(pod(&set1), "Ready", "False")], 1);
}

#[test]
fn a_paused_deployment_may_stand_between_two_templates() {
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    let paused = with(with(deployment(), "spec.strategy", strategy), "spec.paused", true);
    let at = |replicas: i64| {
        let fields = ["replicas", "readyReplicas", "availableReplicas"];
        fields.iter().fold(paused.clone(), |d, field| with(d, &format!("status.{field}"), replicas))
    };
    let sets = [set("s", "a:1", 1), set("t", "a:2", 1)];
    let (p, q) = (pod(&sets[0]), with(with(pod(&sets[1]), "metadata.name", "q"), "metadata.uid", "q"));
    let check = |deployment: Value, count| {
        expect(vec![deployment, sets[0].clone(), sets[1].clone(), p.clone(), q.clone()], count);
    };
    check(at(2), 0);
    check(at(1), 1);
    check(with(at(2), "spec.strategy.rollingUpdate.maxSurge", 0), 1);
    check(with(at(2), "spec.paused", false), 1);
}

#[test]
fn orphans_and_what_does_not_go_are_found() {
    let set = set("s", "a:1", 0);
    expect(vec![set.clone()], 1);
    expect(vec![terminating(&thing("Pod", "a", "p"))], 1);
}

#[test]
fn endpoints_are_the_ready_pods() {
    let service = with(thing("Service", "a", "web"), "spec.selector", json!({"app": "x"}));
    let slice = |addresses: &[&str], ready: bool| {
        let endpoints: Vec<_> =
            addresses.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": ready}})).collect();
        let slice = with(thing("EndpointSlice", "a", "web-1"), "endpoints", endpoints);
        with(slice, "metadata.labels", json!({"kubernetes.io/service-name": "web"}))
    };
    let pod = || {
        let mut pod = pod(&thing("Pod", "a", "none"));
        gantry_api::value::remove(&mut pod, "metadata.ownerReferences");
        pod
    };
    let check = |slice: Value, pod: Value, count| expect(vec![service.clone(), slice, pod], count);
    check(slice(&["10.0.0.1"], true), pod(), 0);
    check(slice(&["10.0.0.1"], false), pod(), 1);
    check(slice(&["10.0.0.1", "10.0.0.2"], true), pod(), 1);
    check(slice(&["10.0.0.1", "10.0.0.1"], true), pod(), 1);
    check(slice(&[], true), pod(), 1);
    check(slice(&["10.0.0.1"], true), conditions(pod(), "Ready", "False"), 1);
}

#[test]
fn leaked_addresses_and_ports_are_found() {
    let service = with(thing("Service", "a", "web"), "spec.clusterIP", "10.96.0.9");
    let address = thing("IPAddress", "", "10.96.0.9");
    assert_eq!(leaks(&world(vec![service.clone(), address.clone()])).len(), 0);
    assert_eq!(leaks(&world(vec![address])).len(), 1);
    let mut world = world(vec![with(service, "spec.ports", json!([{"nodePort": 30001}]))]);
    let mut bitmap = |data: &str| {
        let bitmap = std::sync::Arc::new(json!({"data": data}));
        world.objects.insert("/registry/ranges/servicenodeports".to_owned(), bitmap);
        leaks(&world).len()
    };
    assert_eq!(bitmap("AAAB"), 0);
    assert_eq!(bitmap("AAAA"), 1);
    assert_eq!(bitmap("AAAD"), 1);
}
