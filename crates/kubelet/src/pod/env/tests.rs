//! Tables for the environment.

use serde_json::json;

use super::*;

#[test]
fn references_expand_as_upstream() {
    let check = |text: &str, expected: &str| {
        let value = |name: &str| (name == "A").then(|| "1".to_owned());
        assert_eq!(expand(text, value), expected, "{text}");
    };
    check("$(A)", "1");
    check("x$(A)y$(A)", "x1y1");
    check("$(B)", "$(B)");
    check("$$(A)", "$(A)");
    check("$A $", "$A $");
    check("$(A", "$(A");
    check("$$$(A)", "$1");
}

fn pod() -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "u", "labels": {"app": "web", "b": "q\"q"}},
        "spec": {"nodeName": "n1", "containers": [{
            "name": "c", "image": "i",
            "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}},
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}],
            "env": [
                {"name": "A", "value": "a"},
                {"name": "B", "value": "$(A)-$(P_k)-$(DB_SERVICE_HOST)-$(C)"},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "R", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
                {"name": "L", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}}
            ]
        }]}
    }))
    .unwrap()
}

fn sources() -> Sources {
    let map: ConfigMap = serde_json::from_value(json!({"data": {"k": "v"}})).unwrap();
    let service = |namespace: &str, name: &str, ip: &str| {
        std::sync::Arc::new(
            serde_json::from_value::<Service>(json!({
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"clusterIP": ip, "ports": [{"name": "http-x", "port": 80}]}
            }))
            .unwrap(),
        )
    };
    Sources {
        config_maps: [("cm".to_owned(), map)].into(),
        services: vec![
            service("ns", "db", "10.96.0.7"),
            service("ns", "headless", "None"),
            service("other", "far", "10.96.0.8"),
            service("default", "kubernetes", "10.96.0.1"),
        ],
        node_cpu_milli: 2000,
        ..Sources::default()
    }
}

#[test]
fn the_environment_is_resolved_in_order() {
    let pod = pod();
    let env = resolve(&pod, &super::super::spec(&pod).containers[0], &sources()).unwrap();
    let check = |name: &str, expected: Option<&str>| assert_eq!(env.get(name).map(String::as_str), expected, "{name}");
    check("A", Some("a"));
    check("B", Some("a-v-10.96.0.7-$(C)"));
    check("C", Some("web"));
    check("M", Some("64"));
    check("R", Some("1"));
    check("L", Some("2"));
    check("S", None);
    check("P_k", Some("v"));
    check("DB_PORT_80_TCP", Some("tcp://10.96.0.7:80"));
    check("DB_SERVICE_PORT_HTTP_X", Some("80"));
    check("KUBERNETES_SERVICE_HOST", Some("10.96.0.1"));
    check("HEADLESS_SERVICE_HOST", None);
    check("FAR_SERVICE_HOST", None);
}

#[test]
fn what_is_missing_is_named() {
    let mut pod = pod();
    let check = |pod: &Pod, expected: &str| {
        let error = resolve(pod, &super::super::spec(pod).containers[0], &Sources::default()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(&pod, "configmap \"cm\" not found");
    let container = &mut pod.spec.as_mut().unwrap().containers[0];
    container.env_from = None;
    container.env =
        serde_json::from_value(json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]))
            .unwrap();
    check(&pod, "secret \"s\" not found");
    let mut with_secret = Sources::default();
    with_secret.secrets.insert("s".into(), Secret::default());
    let error = resolve(&pod, &super::super::spec(&pod).containers[0], &with_secret).unwrap_err();
    assert_eq!(error.to_string(), "couldn't find key k in Secret ns/s");
    pod.spec.as_mut().unwrap().containers[0].env = Some(vec![
        serde_json::from_value(json!({"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}})).unwrap(),
    ]);
    check(&pod, "unsupported fieldPath: spec.x");
}

#[test]
fn downward_fields_are_formatted() {
    let pod = pod();
    let from = sources();
    assert_eq!(field_value(&pod, "metadata.labels", &from).unwrap(), "app=\"web\"\nb=\"q\\\"q\"");
    assert_eq!(field_value(&pod, "spec.nodeName", &from).unwrap(), "n1");
}
