use jiff::Timestamp;
use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().expect("a time")
}

#[test]
fn a_pod_is_told_with_its_states_and_events() {
    let pod = json!({"metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}], "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]},
        "status": {"phase": "Running", "podIP": "10.244.0.5", "containerStatuses": [{"name": "c", "ready": false,
            "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"reason": "Error", "exitCode": 7}}}]}});
    let events = [json!({"type": "Warning", "reason": "BackOff", "count": 3, "message": "Back-off restarting",
        "firstTimestamp": "2026-01-01T00:05:00Z", "lastTimestamp": "2026-01-01T00:09:30Z",
        "source": {"component": "kubelet"}})];
    let text = object("Pod", &pod, &[], Some(&events), now());
    for part in [
        "Name:",
        "web-1",
        "app=web",
        "80/TCP",
        "CrashLoopBackOff",
        "Exit Code:",
        "30s (x3 over 5m)",
        "Back-off restarting",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains("\n:"), "a second value has no key of its own:\n{text}");
}

#[test]
fn a_service_shows_ready_endpoints_only() {
    let service = json!({"metadata": {"name": "web"}, "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.9",
        "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}});
    let slices = [json!({"ports": [{"name": "", "port": 8080}], "endpoints": [
        {"addresses": ["10.244.0.5"], "conditions": {"ready": true}},
        {"addresses": ["10.244.0.6"], "conditions": {"ready": false}}]})];
    let text = object("Service", &service, &slices, None, now());
    assert!(text.contains("10.244.0.5:8080"), "{text}");
    assert!(!text.contains("10.244.0.6"), "{text}");
}

#[test]
fn secrets_stay_secret() {
    let secret = json!({"metadata": {"name": "s"}, "type": "Opaque", "data": {"password": "aHVudGVyMg=="}});
    let text = object("Secret", &secret, &[], Some(&[]), now());
    assert!(text.contains("password:  7 bytes"), "{text}");
    assert!(!text.contains("aHVudGVyMg"), "{text}");
}
