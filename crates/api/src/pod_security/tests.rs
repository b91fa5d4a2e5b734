//! Each check in upstream's words, and the labels of namespaces.

use serde_json::json;

use super::{Level, Policy, Standard, described, policy, violations};
use crate::Value;

fn of(level: Level, minor: Option<u32>, spec: Value) -> String {
    described(&violations(Standard { level, minor }, &json!({"spec": spec})))
}

fn baseline(spec: Value, expected: &str) {
    assert_eq!(of(Level::Baseline, None, spec.clone()), expected, "{spec}");
    assert_eq!(of(Level::Privileged, None, spec), "");
}

/// A spec that the restricted level takes, with `change` in its container's securityContext.
fn restricted(change: Value, expected: &str) {
    let mut context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true,
        "seccompProfile": {"type": "RuntimeDefault"}});
    for (key, value) in change.as_object().into_iter().flatten() {
        context[key] = value.clone();
    }
    let spec = json!({"containers": [{"name": "a", "securityContext": context}]});
    assert_eq!(of(Level::Restricted, None, spec.clone()), expected, "{spec}");
}

fn with(context: Value) -> Value {
    json!({"containers": [{"name": "a", "securityContext": context}, {"name": "b"}]})
}

#[test]
fn the_baseline() {
    baseline(json!({"containers": [{"name": "a"}]}), "");
    baseline(json!({"hostNetwork": true, "hostIPC": true}), "host namespaces (hostNetwork=true, hostIPC=true)");
    baseline(
        with(json!({"privileged": true})),
        "privileged (container \"a\" must not set securityContext.privileged=true)",
    );
    baseline(
        with(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_RAW"]}})),
        "non-default capabilities (container \"a\" must not include \"NET_RAW\", \"SYS_ADMIN\" in securityContext.capabilities.add)",
    );
    baseline(json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "hostPath volumes (volume \"v\")");
    baseline(
        json!({"initContainers": [{"name": "i", "ports": [{"hostPort": 80}]}], "containers": [{"name": "a", "ports": [{"hostPort": 443}]}]}),
        "hostPort (containers \"i\", \"a\" use hostPorts 443, 80)",
    );
    baseline(
        json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}]}),
        "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"10.0.0.1\")",
    );
    baseline(
        json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}),
        "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
    );
    baseline(
        json!({"securityContext": {"seLinuxOptions": {"type": "foo", "user": "u"}},
            "containers": [{"name": "a", "securityContext": {"seLinuxOptions": {"type": "bar"}}}]}),
        "seLinuxOptions (pod and container \"a\" set forbidden securityContext.seLinuxOptions: types \"bar\", \"foo\"; user may not be set)",
    );
    baseline(
        with(json!({"procMount": "Unmasked"})),
        "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
    );
    baseline(
        json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
        "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
    );
    baseline(
        json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_syncookies"}]}}),
        "forbidden sysctl (kernel.msgmax)",
    );
    baseline(
        with(json!({"windowsOptions": {"hostProcess": true}})),
        "hostProcess (container \"a\" must not set securityContext.windowsOptions.hostProcess=true)",
    );
    baseline(
        json!({"ephemeralContainers": [{"name": "e", "securityContext": {"privileged": true}}]}),
        "privileged (container \"e\" must not set securityContext.privileged=true)",
    );
}

#[test]
fn the_restricted_level() {
    restricted(json!({}), "");
    restricted(
        json!({"allowPrivilegeEscalation": true}),
        "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false)",
    );
    restricted(
        json!({"capabilities": {"add": ["NET_BIND_SERVICE", "CHOWN"]}}),
        "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]; \
         container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)",
    );
    restricted(
        json!({"runAsNonRoot": false}),
        "runAsNonRoot != true (container \"a\" must not set securityContext.runAsNonRoot=false)",
    );
    restricted(
        json!({"runAsNonRoot": null}),
        "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true)",
    );
    restricted(json!({"runAsUser": 0}), "runAsUser=0 (container \"a\" must not set runAsUser=0)");
    restricted(
        json!({"seccompProfile": null}),
        "seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    let volumes =
        json!({"volumes": [{"name": "h", "hostPath": {}}, {"name": "n", "nfs": {}}, {"name": "e", "emptyDir": {}}]});
    assert_eq!(
        of(Level::Restricted, None, volumes),
        "restricted volume types (volumes \"h\", \"n\" use restricted volume types \"hostPath\", \"nfs\")"
    );
    let windows =
        json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}, "containers": [{"name": "a"}]});
    assert_eq!(of(Level::Restricted, None, windows.clone()), "");
    assert_ne!(of(Level::Restricted, Some(24), windows), "");
}

#[test]
fn versions_know_what_they_knew() {
    let sysctl = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}});
    assert_eq!(of(Level::Baseline, None, sysctl.clone()), "");
    assert_eq!(of(Level::Baseline, Some(31), sysctl), "forbidden sysctl (net.ipv4.tcp_rmem)");
    let probe = json!({"containers": [{"name": "a", "livenessProbe": {"tcpSocket": {"host": "h"}}}]});
    assert_eq!(of(Level::Baseline, Some(33), probe), "");
}

#[test]
fn labels_choose_the_standard() {
    let labelled = |labels: Value| policy(&json!({"metadata": {"labels": labels}}), Policy::default());
    let (found, errors) = labelled(json!({
        "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.30",
        "pod-security.kubernetes.io/warn": "restricted"}));
    assert!(errors.is_empty());
    assert_eq!(
        (found.enforce.to_string(), found.warn.to_string(), found.audit.to_string()),
        ("baseline:v1.30".to_owned(), "restricted:latest".to_owned(), "privileged:latest".to_owned())
    );
    let (found, errors) = labelled(
        json!({"pod-security.kubernetes.io/enforce": "strict", "pod-security.kubernetes.io/audit-version": "1.30"}),
    );
    assert_eq!(found.enforce.level, Level::Restricted, "what cannot be read asks for the most");
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"1.30\": must be \"latest\" or \"v1.x\"",
        ]
    );
}

/// Root in a pod with users of its own is nobody on the node; from 1.35 on that counts.
#[test]
fn pods_with_users_of_their_own() {
    let spec = |own: bool| {
        let context = json!({"procMount": "Unmasked", "runAsUser": 0, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}});
        json!({"hostUsers": !own, "containers": [{"name": "a", "securityContext": context}]})
    };
    let proc = "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")";
    let root = "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
        runAsUser=0 (container \"a\" must not set runAsUser=0)";
    let both = format!("{proc}, {root}");
    for minor in [Some(35), None] {
        assert_eq!(of(Level::Baseline, minor, spec(true)), "");
        assert_eq!(of(Level::Baseline, minor, spec(false)), proc);
        assert_eq!(of(Level::Restricted, minor, spec(true)), proc);
        assert_eq!(of(Level::Restricted, minor, spec(false)), both);
    }
    assert_eq!(of(Level::Baseline, Some(34), spec(true)), proc);
    assert_eq!(of(Level::Restricted, Some(34), spec(true)), both);
}

#[test]
fn seccomp_by_annotation() {
    let (whole, own) = ("seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/a");
    let of = |minor, said: &str| {
        let pod =
            json!({"metadata": {"annotations": {whole: said, own: said}}, "spec": {"containers": [{"name": "a"}]}});
        described(&violations(Standard { level: Level::Baseline, minor: Some(minor) }, &pod))
    };
    for said in ["runtime/default", "docker/default", "localhost/x"] {
        assert_eq!(of(18, said), "");
    }
    let expected = format!("seccompProfile (forbidden annotations {own}=\"unconfined\", {whole}=\"unconfined\")");
    assert_eq!(of(18, "unconfined"), expected);
    assert_eq!(of(19, "unconfined"), "");
}
