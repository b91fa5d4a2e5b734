//! Sums, scopes and refusals.

use serde_json::json;

use super::{Scope, Tally, amounts, charge, concerns, constraints, counts_alike, difference, matches, shown, usage};
use crate::{Value, kinds};

fn kind(group: &str, name: &str) -> &'static kinds::KindInfo {
    kinds::by_kind(group, "v1", name).expect("a served kind")
}

/// The usage of an object as text.
fn check(group: &str, name: &str, object: &Value, expected: &str) {
    assert_eq!(shown(&usage(kind(group, name), object, 1000)), expected, "{object}");
}

fn container(name: &str, requests: Value, limits: Value) -> Value {
    json!({"name": name, "resources": {"requests": requests, "limits": limits}})
}

#[test]
fn objects_use_what_they_say() {
    check("", "Secret", &json!({}), "count/secrets=1,secrets=1");
    check("apps", "Deployment", &json!({}), "count/deployments.apps=1");
    check(
        "",
        "PersistentVolumeClaim",
        &json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}}),
        "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         fast.storageclass.storage.k8s.io/requests.storage=5Gi,persistentvolumeclaims=1,requests.storage=5Gi",
    );
    let claim = |requests: Value, allocated: &str| {
        json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
            "spec": {"storageClassName": "fast", "resources": {"requests": requests}},
            "status": {"allocatedResources": {"storage": allocated}}})
    };
    let counted = "count/persistentvolumeclaims=1,old.storageclass.storage.k8s.io/persistentvolumeclaims=1";
    let with = |storage: &str| {
        format!(
            "{counted},old.storageclass.storage.k8s.io/requests.storage={storage},persistentvolumeclaims=1,\
             requests.storage={storage}"
        )
    };
    check("", "PersistentVolumeClaim", &claim(json!({"storage": "1500m"}), "1"), &with("2"));
    check("", "PersistentVolumeClaim", &claim(json!({"storage": "1Gi"}), "2Gi"), &with("2Gi"));
    let unsized_claim = claim(json!({}), "2Gi");
    check("", "PersistentVolumeClaim", &unsized_claim, &format!("{counted},persistentvolumeclaims=1"));
    let service = |kind: &str| json!({"spec": {"type": kind, "ports": [{}, {}]}});
    check(
        "",
        "Service",
        &service("ClusterIP"),
        "count/services=1,services=1,services.loadbalancers=0,services.nodeports=0",
    );
    check(
        "",
        "Service",
        &service("LoadBalancer"),
        "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2",
    );
    let request = json!({"spec": {"devices": {"requests": [{"exactly": {"deviceClassName": "gpu", "count": 2}},
        {"firstAvailable": [{"deviceClassName": "gpu", "count": 1}, {"deviceClassName": "gpu", "count": 4}]}]}}});
    check(
        "resource.k8s.io",
        "ResourceClaim",
        &request,
        "count/resourceclaims.resource.k8s.io=1,gpu.deviceclass.resource.k8s.io/devices=6",
    );
}

#[test]
fn pods_use_the_most_of_starting_and_running() {
    let mut pod = json!({"spec": {
        "initContainers": [container("i", json!({"cpu": "3"}), json!({})),
            {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "250m"}}}],
        "containers": [container("a", json!({"cpu": "1", "example.com/gpu": "2"}), json!({"memory": "1Gi"})),
            container("b", json!({"cpu": "500m"}), json!({}))]}});
    check("", "Pod", &pod, "count/pods=1,cpu=3,limits.memory=1Gi,pods=1,requests.cpu=3,requests.example.com/gpu=2");
    pod["spec"]["initContainers"][0]["resources"] = json!({});
    pod["spec"]["overhead"] = json!({"cpu": "50m"});
    check(
        "",
        "Pod",
        &pod,
        "count/pods=1,cpu=1800m,limits.memory=1Gi,pods=1,requests.cpu=1800m,requests.example.com/gpu=2",
    );
    pod["status"] = json!({"phase": "Succeeded"});
    check("", "Pod", &pod, "count/pods=1");
    pod["status"] = json!({});
    pod["metadata"] = json!({"deletionTimestamp": "1970-01-01T00:10:00Z", "deletionGracePeriodSeconds": 30});
    check("", "Pod", &pod, "count/pods=1");
}

#[test]
fn quotas_are_about_what_they_limit_and_select() {
    let pod = json!({"spec": {"priorityClassName": "high", "containers": [{"name": "a"}]}});
    let about = |spec: Value| matches(&spec, kind("", "Pod"), &pod);
    let hard = || json!({"pods": "1"});
    assert!(about(json!({"hard": hard()})));
    assert!(!about(json!({"hard": {"secrets": "1"}})));
    assert!(about(json!({"hard": hard(), "scopes": ["BestEffort", "NotTerminating"]})));
    assert!(!about(json!({"hard": hard(), "scopes": ["Terminating"]})));
    let selected = |operator: &str, values: Value| {
        about(json!({"hard": hard(), "scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values}]}}))
    };
    assert!(selected("In", json!(["high"])) && !selected("In", json!(["low"])));
    assert!(selected("Exists", json!([])) && !selected("NotIn", json!(["high"])));
    let requirement = json!({"scopeName": "PriorityClass", "operator": "In", "values": ["a", "b"]});
    assert_eq!(Scope::of(&requirement).to_string(), "{PriorityClass In [a b]}");
    let spec = json!({"scopes": ["BestEffort"], "scopeSelector": {"matchExpressions": [requirement]}});
    let shown: Vec<String> = Scope::all(&spec).map(|scope| scope.to_string()).collect();
    assert_eq!(shown, ["{BestEffort Exists []}", "{PriorityClass In [a b]}"]);
    assert!(!matches(
        &json!({"hard": {"configmaps": "1"}, "scopes": ["BestEffort"]}),
        kind("", "ConfigMap"),
        &json!({})
    ));
    assert!(concerns(kind("", "Pod"), "requests.example.com/gpu") && !concerns(kind("", "Pod"), "requests.storage"));
    assert!(concerns(kind("batch", "Job"), "count/jobs.batch") && !concerns(kind("batch", "Job"), "jobs"));
}

#[test]
fn containers_state_what_is_limited() {
    let pod = json!({"spec": {"containers": [container("a", json!({"cpu": "1"}), json!({})), container("b", json!({}), json!({}))]}});
    let hard = |hard: Value| amounts(hard.as_object());
    let check = |wanted: Value, expected: Result<(), &str>| {
        assert_eq!(constraints(kind("", "Pod"), &pod, &hard(wanted)), expected.map_err(str::to_owned));
    };
    check(json!({"pods": "1"}), Ok(()));
    check(
        json!({"requests.cpu": "1", "limits.memory": "1Gi"}),
        Err("must specify limits.memory for: a,b; requests.cpu for: b"),
    );
}

#[test]
fn what_is_too_much_is_named() {
    let of = |map: Value| amounts(map.as_object());
    let hard = of(json!({"pods": "2", "requests.cpu": "1"}));
    let charged = charge("q", &hard, &of(json!({"pods": "1"})), &of(json!({"pods": "1", "secrets": "1"})));
    assert_eq!(charged.map(|u| shown(&u)), Ok("pods=2".to_owned()));
    let refused = charge(
        "q",
        &hard,
        &of(json!({"pods": "2", "requests.cpu": "500m"})),
        &of(json!({"pods": "1", "requests.cpu": "500m"})),
    );
    assert_eq!(refused, Err("exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2".to_owned()));
    let back = charge("q", &hard, &of(json!({"pods": "9"})), &of(json!({"pods": "-1"})));
    assert_eq!(back.map(|u| shown(&u)), Ok("pods=8".to_owned()), "giving back is never too much");
    assert_eq!(
        shown(&difference(&of(json!({"a": "3", "b": "1"})), &of(json!({"a": "1", "b": "1", "c": "2"})))),
        "a=2,c=-2"
    );
}

#[test]
fn a_tally_knows_what_its_quota_limits() {
    let spec = json!({"hard": {"pods": "2", "requests.cpu": "1", "count/secrets": "3", "count/events": "1"},
        "scopes": ["NotTerminating"]});
    let tally = Tally::new(&spec);
    let limited = |group, name| tally.limited_of(kind(group, name)).map(String::as_str).collect::<Vec<_>>().join(",");
    assert_eq!(limited("", "Pod"), "pods,requests.cpu");
    assert_eq!(limited("", "Secret"), "count/secrets");
    assert_eq!(limited("", "Event"), "", "events are not counted");
    let pod = json!({"spec": {"containers": [container("a", json!({"cpu": "250m", "memory": "1Gi"}), json!({}))]}});
    assert_eq!(shown(&tally.of(kind("", "Pod"), &pod, 1000)), "pods=1,requests.cpu=250m");
    let mut ending = pod.clone();
    ending["spec"]["activeDeadlineSeconds"] = 5.into();
    assert_eq!(shown(&tally.of(kind("", "Pod"), &ending, 1000)), "", "it is in no scope of the quota");
    assert_eq!(shown(&tally.of(kind("", "Secret"), &Value::Null, 1000)), "", "secrets are in no scope at all");
    assert!(counts_alike(kind("", "Secret")) && !counts_alike(kind("", "Pod")));
}

#[test]
fn a_claim_is_in_the_scope_of_every_class_that_it_has_to_do_with() {
    let kind = kinds::by_resource("", "v1", "persistentvolumeclaims").expect("built in");
    let check = |claim: Value, operator: &str, values: Value, expected: bool| {
        let requirement = json!({"scopeName": "VolumeAttributesClass", "operator": operator, "values": values});
        assert_eq!(Scope::of(&requirement).holds(kind, &claim), expected, "{claim} {requirement}");
    };
    let changing = || {
        json!({"spec": {"volumeAttributesClassName": "new"}, "status": {"currentVolumeAttributesClassName": "old",
            "modifyVolumeStatus": {"targetVolumeAttributesClassName": "next"}}})
    };
    for class in ["new", "old", "next"] {
        check(changing(), "In", json!([class]), true);
    }
    check(changing(), "In", json!(["other"]), false);
    check(changing(), "NotIn", json!(["old"]), true);
    check(changing(), "Exists", Value::Null, true);
    check(changing(), "DoesNotExist", Value::Null, false);
    let named_by_status = json!({"status": {"currentVolumeAttributesClassName": "old"}});
    check(named_by_status, "Exists", Value::Null, true);
    check(json!({}), "DoesNotExist", Value::Null, true);
    check(json!({}), "NotIn", json!(["old"]), true);
    check(json!({}), "Exists", Value::Null, false);
}

#[test]
fn a_pod_holds_what_it_has_until_it_is_resized() {
    let pod = |reason: &str, status: Value| {
        json!({"spec": {"containers": [container("c", json!({"cpu": "1"}), json!({"cpu": "2"}))]},
            "status": {"containerStatuses": [status], "conditions": [{"type": "PodResizePending", "reason": reason}]}})
    };
    let of = |cpu: &str, limit: &str| format!("count/pods=1,cpu={cpu},limits.cpu={limit},pods=1,requests.cpu={cpu}");
    let status = |cpu: &str, limit: &str, allocated: &str| {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": limit}},
            "allocatedResources": {"cpu": allocated}})
    };
    check("", "Pod", &pod("Deferred", status("3", "4", "3")), &of("3", "4"));
    check("", "Pod", &pod("Deferred", status("500m", "1", "1500m")), &of("1500m", "2"));
    check("", "Pod", &pod("Infeasible", status("500m", "1", "500m")), &of("500m", "1"));
    check("", "Pod", &pod("Deferred", json!({"name": "c"})), &of("1", "2"));
}

#[test]
fn a_pod_as_a_whole_holds_what_it_has_too() {
    let pod = |reason: &str, status: Value| {
        let mut status = status;
        status["conditions"] = json!([{"type": "PodResizePending", "reason": reason}]);
        json!({"spec": {"containers": [container("c", json!({"cpu": "1"}), json!({}))],
            "resources": {"requests": {"cpu": "2", "ephemeral-storage": "1Gi"}, "limits": {"cpu": "4"}}}, "status": status})
    };
    let of = |cpu: &str, limit: &str| format!("count/pods=1,cpu={cpu},limits.cpu={limit},pods=1,requests.cpu={cpu}");
    let status = |cpu: &str, limit: &str, allocated: &str| json!({"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": limit}}, "allocatedResources": {"cpu": allocated}});
    check("", "Pod", &pod("Deferred", json!({})), &of("2", "4"));
    check("", "Pod", &pod("Deferred", status("3", "5", "1")), &of("3", "5"));
    check("", "Pod", &pod("Deferred", status("1", "1", "2500m")), &of("2500m", "4"));
    check("", "Pod", &pod("Infeasible", status("1", "1", "1500m")), &of("1500m", "1"));
    // Its containers need say nothing then.
    let hard = amounts(json!({"limits.memory": "1Gi"}).as_object());
    assert_eq!(constraints(kind("", "Pod"), &pod("", json!({})), &hard), Ok(()));
}

#[test]
fn which_resources_of_pods_can_be_limited() {
    let pods = kind("", "Pod");
    for (name, expected) in [
        ("requests.example.com/gpu", true),
        ("requests.deviceclass.resource.kubernetes.io/gpu", true),
        ("requests.hugepages-2Mi", true),
        ("hugepages-2Mi", true),
        ("limits.ephemeral-storage", true),
        ("requests.storage", false),
        ("requests.kubernetes.io/batch", false),
        ("limits.example.com/gpu", false),
        ("example.com/gpu", false),
        ("gpu.deviceclass.resource.k8s.io/devices", false),
    ] {
        assert_eq!(concerns(pods, name), expected, "{name}");
    }
    let gpus = json!({"example.com/gpu": "2", "deviceclass.resource.kubernetes.io/a": "1", "kubernetes.io/b": "1"});
    let pod = json!({"spec": {"containers": [container("c", gpus, json!({}))]}});
    let used = "count/pods=1,pods=1,requests.deviceclass.resource.kubernetes.io/a=1,requests.example.com/gpu=2";
    check("", "Pod", &pod, used);
}
