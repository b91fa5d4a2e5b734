//! What one form says, the other says too, and the way back gives the first again.

use serde_json::json;

use super::{from_hub, hub_field, older, to_hub};
use crate::{Value, kinds};

/// `hub` is stored where a client of `served` means `own`.
fn check(group: &str, kind: &str, own: Value, hub: Value) {
    let kind = kinds::by_kind(group, "v1", kind).expect("a served kind");
    let mut object = own.clone();
    to_hub(kind, &mut object);
    assert_eq!(object, hub);
    to_hub(kind, &mut object);
    assert_eq!(object, hub, "the stored form is left alone");
    from_hub(kind, &mut object);
    assert_eq!(object, own);
    from_hub(kind, &mut object);
    assert_eq!(object, own, "the served form is left alone");
}

#[test]
fn events() {
    let object = json!({"kind": "Pod", "name": "p"});
    let source = json!({"component": "c", "host": "h"});
    let time = "2026-01-02T03:04:05.000000Z";
    check(
        "events.k8s.io",
        "Event",
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "eventTime": time,
            "regarding": object, "note": "n", "reason": "r", "reportingController": "c", "reportingInstance": "i",
            "deprecatedCount": 3, "deprecatedSource": source, "series": {"count": 2, "lastObservedTime": time}}),
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "eventTime": time,
            "involvedObject": object, "message": "n", "reason": "r", "reportingComponent": "c", "reportingInstance": "i",
            "count": 3, "source": source, "series": {"count": 2, "lastObservedTime": time}}),
    );
    let kind = kinds::by_kind("events.k8s.io", "v1", "Event").expect("served");
    assert_eq!(hub_field(kind, "regarding.name"), "involvedObject.name");
    assert_eq!(hub_field(kind, "reportingController"), "reportingComponent");
    assert_eq!(hub_field(kind, "metadata.name"), "metadata.name");
}

#[test]
fn autoscalers() {
    let spec = |rest: Value| {
        let mut spec = json!({"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 5});
        for (key, value) in rest.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        spec
    };
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 60}}});
    check(
        "autoscaling",
        "HorizontalPodAutoscaler",
        json!({"apiVersion": "autoscaling/v1", "metadata": {"name": "h"},
            "spec": spec(json!({"targetCPUUtilizationPercentage": 60})),
            "status": {"currentReplicas": 1, "currentCPUUtilizationPercentage": 40}}),
        json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "h"}, "spec": spec(json!({"metrics": [cpu]})),
            "status": {"currentReplicas": 1, "currentMetrics": [{"type": "Resource",
                "resource": {"name": "cpu", "current": {"averageUtilization": 40}}}]}}),
    );
}

#[test]
fn a_new_autoscaler_has_no_replicas_and_version_1_says_so() {
    let of = |version: &str, status: Value| {
        json!({"apiVersion": format!("autoscaling/{version}"), "metadata": {"name": "h"}, "spec": {"maxReplicas": 1},
            "status": status})
    };
    let (own, hub) = (json!({"currentReplicas": 0, "desiredReplicas": 0}), json!({"desiredReplicas": 0}));
    check("autoscaling", "HorizontalPodAutoscaler", of("v1", own), of("v2", hub));
}

#[test]
fn metrics_that_version_1_does_not_know_travel_in_annotations() {
    let kind = kinds::by_kind("autoscaling", "v1", "HorizontalPodAutoscaler").expect("served");
    let check = |metric: Value, old: &str| {
        let hub = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "h"}, "spec": {"metrics": [metric],
            "behavior": {"scaleUp": {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 4}]}}},
            "status": {"conditions": [{"type": "AbleToScale", "status": "True"}]}});
        let mut object = hub.clone();
        from_hub(kind, &mut object);
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations["autoscaling.alpha.kubernetes.io/metrics"], old);
        assert_eq!(
            annotations["autoscaling.alpha.kubernetes.io/behavior"],
            r#"{"ScaleUp":{"Policies":[{"Type":"Pods","Value":4}],"SelectPolicy":"Max"}}"#
        );
        assert_eq!(object["spec"], json!({}));
        to_hub(kind, &mut object);
        assert_eq!(object, hub);
    };
    let named = json!({"name": "m", "selector": {"matchLabels": {"a": "b"}}});
    check(
        json!({"type": "Pods", "pods": {"metric": named, "target": {"type": "AverageValue", "averageValue": "5"}}}),
        r#"[{"pods":{"metricName":"m","selector":{"matchLabels":{"a":"b"}},"targetAverageValue":"5"},"type":"Pods"}]"#,
    );
    check(
        json!({"type": "External", "external": {"metric": named, "target": {"type": "Value", "value": "5"}}}),
        r#"[{"external":{"metricName":"m","metricSelector":{"matchLabels":{"a":"b"}},"targetValue":"5"},"type":"External"}]"#,
    );
    let described = json!({"kind": "Service", "name": "s"});
    check(
        json!({"type": "Object", "object": {"describedObject": described, "metric": {"name": "m"},
            "target": {"type": "AverageValue", "averageValue": "5"}}}),
        r#"[{"object":{"averageValue":"5","metricName":"m","target":{"kind":"Service","name":"s"},"targetValue":"0"},"type":"Object"}]"#,
    );
    check(
        json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
            "target": {"type": "Utilization", "averageUtilization": 7}}}),
        r#"[{"containerResource":{"container":"c","name":"cpu","targetAverageUtilization":7},"type":"ContainerResource"}]"#,
    );
    check(
        json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}),
        r#"[{"resource":{"name":"memory","targetAverageValue":"1Gi"},"type":"Resource"}]"#,
    );
}

#[test]
fn versions_that_are_served_no_longer() {
    let current = |api_version: &str, kind: &str, rest: Value| {
        let mut object = rest;
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        assert!(older::may_be(object.to_string().as_bytes()) && older::to_current(&mut object), "{api_version}");
        object
    };
    let budget = |selector: Value| {
        let object = json!({"spec": {"selector": selector}});
        current("policy/v1beta1", "PodDisruptionBudget", object)["spec"]["selector"].clone()
    };
    let none = json!({"matchExpressions": [
        {"key": "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match", "operator": "Exists"}]});
    assert_eq!(budget(json!({})), none, "an empty selector meant no pods");
    assert_eq!(budget(json!({"matchLabels": {"a": "b"}})), json!({"matchLabels": {"a": "b"}}));
    let level = json!({"spec": {"limited": {"assuredConcurrencyShares": 5}}});
    let level = current("flowcontrol.apiserver.k8s.io/v1beta2", "PriorityLevelConfiguration", level);
    assert_eq!(level["spec"]["limited"], json!({"nominalConcurrencyShares": 5}));
    let topology = json!({"topology.kubernetes.io/zone": "z", "kubernetes.io/hostname": "h", "x": "y"});
    let slice = json!({"endpoints": [{"topology": topology}, {"nodeName": "n", "topology": topology}]});
    let slice = current("discovery.k8s.io/v1beta1", "EndpointSlice", slice);
    let wanted = json!([
        {"zone": "z", "nodeName": "h", "deprecatedTopology": {"x": "y"}},
        {"zone": "z", "nodeName": "n", "deprecatedTopology": {"x": "y", "kubernetes.io/hostname": "h"}},
    ]);
    assert_eq!(slice["endpoints"], wanted);
    let ingress = json!({"spec": {"backend": {"serviceName": "s", "servicePort": "http"}}});
    let ingress = current("networking.k8s.io/v1beta1", "Ingress", ingress);
    let service = json!({"service": {"name": "s", "port": {"name": "http"}}});
    assert_eq!(
        (&ingress["apiVersion"], &ingress["spec"]["defaultBackend"]),
        (&json!("networking.k8s.io/v1"), &service)
    );
    let mut today = json!({"apiVersion": "batch/v1", "kind": "CronJob"});
    assert!(!older::to_current(&mut today), "what is current is left alone");
}
