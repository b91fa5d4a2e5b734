//! Golden cells of pods in many states, graceful deletion, quality of service, binding.

use gantry_api::Value;
use serde_json::json;

use super::{bind, qos};
use crate::registry::tests::{ctx, kind, now};
use crate::registry::{Deletion, strategy};

/// A pod with containers `a` and `b`, and the given status, 65 s old.
fn pod(status: Value) -> Value {
    json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-02T03:03:00Z"},
        "spec": {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}]}, "status": status})
}

fn check(pod: &Value, ready: &str, status: &str, restarts: &str) {
    let row = strategy(kind("", "Pod")).row(pod, now());
    assert_eq!(row.cells[1..4], [Value::from(ready), status.into(), restarts.into()], "{pod}");
}

fn container(state: Value, ready: bool, restarts: i64) -> Value {
    json!({"name": "a", "state": state, "ready": ready, "restartCount": restarts})
}

#[test]
fn golden_rows() {
    let mut pod = pod(json!({"phase": "Running", "podIPs": [{"ip": "10.244.1.2"}], "nominatedNodeName": "n2",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "x/gate", "status": "True"}],
        "containerStatuses": [container(json!({"running": {}}), true, 0), container(json!({"running": {}}), false, 0)]}));
    let row = |pod: &Value| strategy(kind("", "Pod")).row(pod, now());
    pod["spec"]["readinessGates"] = json!([{"conditionType": "x/gate"}, {"conditionType": "y/gate"}]);
    assert_eq!(
        Value::Array(row(&pod).cells),
        json!(["p", "1/2", "Running", "0", "65s", "10.244.1.2", "n1", "n2", "1/2"])
    );
    assert_eq!(row(&pod).conditions, Vec::<Value>::new());
    let pending =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Pending"}});
    assert_eq!(
        Value::Array(row(&pending).cells),
        json!(["p", "0/1", "Pending", "0", "<unknown>", "<none>", "<none>", "<none>", "<none>"])
    );
    let done = json!({"metadata": {"name": "p"}, "status": {"phase": "Succeeded"}});
    assert_eq!(row(&done).conditions[0]["type"], "Completed");
}

#[test]
fn statuses_of_containers() {
    let running = || container(json!({"running": {"startedAt": "2026-01-02T03:00:00Z"}}), true, 0);
    let waiting = |reason: &str| container(json!({"waiting": {"reason": reason}}), false, 4);
    let status = |list: Vec<Value>| json!({"phase": "Running", "containerStatuses": list});
    check(&pod(status(vec![running(), running()])), "2/2", "Running", "0");
    check(&pod(status(vec![running(), waiting("ImagePullBackOff")])), "1/2", "ImagePullBackOff", "4");
    check(&pod(status(vec![waiting("ContainerCreating"), running()])), "1/2", "ContainerCreating", "4");
    let mut crashing = waiting("CrashLoopBackOff");
    crashing["lastState"] = json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-02T02:59:05Z"}});
    check(&pod(status(vec![crashing, running()])), "1/2", "CrashLoopBackOff", "4 (5m ago)");
    let ended = |end: Value| container(json!({"terminated": end}), false, 0);
    check(&pod(status(vec![ended(json!({"exitCode": 137, "reason": "OOMKilled"}))])), "0/2", "OOMKilled", "0");
    check(&pod(status(vec![ended(json!({"exitCode": 2}))])), "0/2", "ExitCode:2", "0");
    check(&pod(status(vec![ended(json!({"exitCode": 0, "signal": 9}))])), "0/2", "Signal:9", "0");
    let completed = || ended(json!({"exitCode": 0, "reason": "Completed"}));
    check(&pod(status(vec![completed(), completed()])), "0/2", "Completed", "0");
    check(&pod(status(vec![completed(), running()])), "1/2", "NotReady", "0");
    let mut half = status(vec![completed(), running()]);
    half["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    check(&pod(half), "1/2", "Running", "0");
}

#[test]
fn statuses_of_pods() {
    check(&pod(json!({"phase": "Failed", "reason": "Evicted"})), "0/2", "Evicted", "0");
    let gated = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]});
    check(&pod(gated), "0/2", "SchedulingGated", "0");
    let mut deleting = pod(json!({"phase": "Running"}));
    deleting["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:35Z".into();
    check(&deleting, "0/2", "Terminating", "0");
    deleting["status"]["reason"] = "NodeLost".into();
    check(&deleting, "0/2", "Unknown", "0");
    deleting["status"] = json!({"phase": "Succeeded", "reason": "Completed"});
    check(&deleting, "0/2", "Completed", "0");
}

#[test]
fn statuses_of_init_containers() {
    let with_init = |statuses: Value, main: Value| {
        let mut pod = pod(json!({"phase": "Pending", "initContainerStatuses": statuses, "containerStatuses": main}));
        pod["spec"]["initContainers"] = json!([{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]);
        pod
    };
    let init = |name: &str, state: Value| json!({"name": name, "state": state, "restartCount": 1});
    let creating = || json!([container(json!({"waiting": {"reason": "PodInitializing"}}), false, 0)]);
    check(&with_init(json!([init("i", json!({"running": {}}))]), creating()), "0/3", "Init:0/2", "1");
    check(
        &with_init(json!([init("i", json!({"waiting": {"reason": "CrashLoopBackOff"}}))]), creating()),
        "0/3",
        "Init:CrashLoopBackOff",
        "1",
    );
    check(
        &with_init(json!([init("i", json!({"waiting": {"reason": "PodInitializing"}}))]), creating()),
        "0/3",
        "Init:0/2",
        "1",
    );
    check(
        &with_init(json!([init("i", json!({"terminated": {"exitCode": 1, "reason": "Error"}}))]), creating()),
        "0/3",
        "Init:Error",
        "1",
    );
    check(
        &with_init(json!([init("i", json!({"terminated": {"exitCode": 3}}))]), creating()),
        "0/3",
        "Init:ExitCode:3",
        "1",
    );
    let done = init("i", json!({"terminated": {"exitCode": 0}}));
    check(&with_init(json!([done, init("s", json!({"running": {}}))]), creating()), "0/3", "Init:1/2", "2");
    let mut sidecar = init("s", json!({"running": {}}));
    sidecar["started"] = true.into();
    sidecar["ready"] = true.into();
    check(&with_init(json!([done, sidecar]), creating()), "1/3", "PodInitializing", "1");
    let running = json!([container(json!({"running": {}}), true, 0), container(json!({"running": {}}), true, 0)]);
    let mut pod = with_init(json!([done, sidecar]), running);
    pod["status"]["phase"] = "Running".into();
    check(&pod, "3/3", "Running", "1");
}

#[test]
fn graceful_deletion() {
    let strategy = strategy(kind("", "Pod"));
    let mut pod = pod(json!({"phase": "Running"}));
    pod["spec"]["terminationGracePeriodSeconds"] = 30.into();
    let decide = |pod: &Value, grace| strategy.delete(pod, grace);
    assert_eq!(decide(&pod, None), Deletion::Graceful { seconds: 30 });
    assert_eq!(decide(&pod, Some(5)), Deletion::Graceful { seconds: 5 });
    assert_eq!(decide(&pod, Some(-1)), Deletion::Graceful { seconds: 1 });
    assert_eq!(decide(&pod, Some(0)), Deletion::Remove);
    let mut done = pod.clone();
    done["status"]["phase"] = "Failed".into();
    assert_eq!(decide(&done, None), Deletion::Remove);
    let mut unbound = pod.clone();
    unbound["spec"]["nodeName"] = "".into();
    assert_eq!(decide(&unbound, Some(7)), Deletion::Remove);
    pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:35Z".into();
    pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    assert_eq!(decide(&pod, None), Deletion::Pending);
    assert_eq!(decide(&pod, Some(30)), Deletion::Pending);
    assert_eq!(decide(&pod, Some(10)), Deletion::Graceful { seconds: 10 });
    assert_eq!(decide(&pod, Some(0)), Deletion::Remove);
}

#[test]
fn quality_of_service() {
    let check = |resources: Value, expected: &str| {
        assert_eq!(qos::class(&json!({"spec": {"containers": [{"resources": resources}]}})), expected);
    };
    check(json!({}), "BestEffort");
    check(json!({"requests": {"cpu": "0"}}), "BestEffort");
    check(json!({"requests": {"cpu": "1"}}), "Burstable");
    check(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}), "Burstable");
    check(
        json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}),
        "Guaranteed",
    );
    check(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1G"}}), "Burstable");
    let mixed = json!({"spec": {"containers": [
        {"resources": {"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "1", "memory": "1"}}}, {}]}});
    assert_eq!(qos::class(&mixed), "Burstable");
    let zero = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0", "memory": "1Gi"}});
    assert_eq!(qos::class(&json!({"spec": {"containers": [{"resources": zero}]}})), "Burstable");
}

#[test]
fn new_pods_are_pending() {
    let kind = kind("", "Pod");
    let mut pod = pod(json!({"phase": "Running", "podIP": "1.2.3.4"}));
    strategy(kind).prepare_create(&ctx(kind), &mut pod);
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    pod["spec"]["schedulingGates"] = json!([{"name": "g"}]);
    strategy(kind).prepare_create(&ctx(kind), &mut pod);
    assert_eq!(pod["status"]["conditions"][0]["reason"], "SchedulingGated");
    assert_eq!(pod["status"]["conditions"][0]["lastTransitionTime"], "2026-01-02T03:04:05Z");
}

#[test]
fn binding_assigns_a_node_once() {
    let unbound = json!({"metadata": {"name": "p", "uid": "u", "labels": {"zone": "a"}}, "spec": {},
        "status": {"nominatedNodeName": "n0"}});
    let binding = json!({"metadata": {"name": "p", "uid": "u", "labels": {"zone": "b", "rack": "r"}, "annotations": {"k": "v"}},
        "target": {"kind": "Node", "name": "n1"}});
    let mut pod = unbound.clone();
    bind(&mut pod, &binding, now()).expect("can be bound");
    assert_eq!(
        pod,
        json!({"metadata": {"name": "p", "uid": "u", "labels": {"zone": "b", "rack": "r"}, "annotations": {"k": "v"}},
            "spec": {"nodeName": "n1"}, "status": {"conditions": [{"type": "PodScheduled", "status": "True",
                "lastProbeTime": null, "lastTransitionTime": "2026-01-02T03:04:05Z"}]}})
    );
    let refused = |pod: &Value, binding: &Value| bind(&mut pod.clone(), binding, now()).expect_err("refused").message;
    let prefix = "Operation cannot be fulfilled on pods/binding \"p\": ";
    assert_eq!(refused(&pod, &binding), format!("{prefix}pod p is already assigned to node \"n1\""));
    let mut gated = unbound.clone();
    gated["spec"]["schedulingGates"] = json!([{"name": "g"}]);
    assert_eq!(refused(&gated, &binding), format!("{prefix}pod p has non-empty .spec.schedulingGates"));
    let mut deleting = unbound.clone();
    deleting["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:35Z".into();
    assert_eq!(refused(&deleting, &binding), format!("{prefix}pod p is being deleted, cannot be assigned to a host"));
    assert!(
        refused(&unbound, &json!({"metadata": {"uid": "x"}, "target": {"name": "n"}}))
            .contains("does not match the UID")
    );
    assert!(refused(&unbound, &json!({"target": {}})).contains("target.name: Required value"));
}

#[test]
fn warnings() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "nodeSelector": {"beta.kubernetes.io/os": "linux"},
        "containers": [{"name": "c", "env": [{"name": "A"}, {"name": "A"}],
            "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}],
            "resources": {"limits": {"memory": "100m"}}}]}});
    let strategy = strategy(kind("", "Pod"));
    assert_eq!(
        strategy.warnings(&pod, None),
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        ]
    );
    assert_eq!(strategy.warnings(&pod, Some(&pod)), Vec::<String>::new());
}

fn told(spec: Value, expected: &[&str]) {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
    for (key, value) in spec.as_object().expect("fields") {
        pod["spec"][key] = value.clone();
    }
    assert_eq!(strategy(kind("", "Pod")).warnings(&pod, None), expected, "{pod}");
}

#[test]
fn warnings_about_where_pods_may_run() {
    let os = "beta.kubernetes.io/os is deprecated since v1.14; use \"kubernetes.io/os\" instead";
    let nothing = "a null labelSelector results in matching no pod";
    let term = json!({"matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "Exists"}]});
    let node = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]});
    let pods = json!({"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a"}],
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "a"}}]});
    let at = |affinity: &str| format!("spec.affinity.{affinity}DuringSchedulingIgnoredDuringExecution");
    told(
        json!({"affinity": {"nodeAffinity": node, "podAntiAffinity": pods},
            "topologySpreadConstraints": [{"topologyKey": "beta.kubernetes.io/os"}]}),
        &[
            &format!("{}.nodeSelectorTerms[0].matchExpressions[0].key: {os}", at("nodeAffinity.required")),
            &format!("{}[0].preference.matchExpressions[0].key: {os}", at("nodeAffinity.preferred")),
            &format!("spec.topologySpreadConstraints[0].topologyKey: {os}"),
            &format!("spec.topologySpreadConstraints[0].labelSelector: {nothing}"),
            &format!("{}[0].labelSelector: {nothing}", at("podAntiAffinity.required")),
            &format!("{}[0].podAffinityTerm.labelSelector: {nothing}", at("podAntiAffinity.preferred")),
        ],
    );
}

#[test]
fn warnings_about_what_stands_twice_in_pods() {
    told(
        json!({"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}], "imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}],
            "overhead": {"memory": "1500m"}, "dnsConfig": {"nameservers": ["2001:DB8::1"]}}),
        &[
            "spec.hostAliases[1].ip: duplicate ip \"10.0.0.1\"",
            "spec.imagePullSecrets[1].name: duplicate name \"a\"",
            "spec.imagePullSecrets[2].name: invalid empty name \"\"",
            "spec.overhead[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
            "spec.dnsConfig.nameservers[0]: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
        ],
    );
    let port = |ip: &str, host: i64| json!({"containerPort": 80, "protocol": "TCP", "hostIP": ip, "hostPort": host});
    let builds_on =
        json!([{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "$(A)"}]);
    told(
        json!({"initContainers": [{"name": "i", "ports": [port("", 0), port("10.0.0.1", 0)]}],
            "containers": [{"name": "c", "env": builds_on, "ports": [port("", 90), port("10.0.0.1", 90)]}]}),
        &[
            "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.initContainers[0].ports[1]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:TCP HostIP:10.0.0.1}",
            "spec.initContainers[0].ports[1]: overlapping port definition with spec.initContainers[0].ports[0]",
            "spec.containers[0].ports[0]: overlapping port definition with spec.initContainers[0].ports[0]",
            "spec.containers[0].ports[0]: overlapping port definition with spec.initContainers[0].ports[1]",
            "spec.containers[0].ports[1]: overlapping port definition with spec.initContainers[0].ports[0]",
            "spec.containers[0].ports[1]: overlapping port definition with spec.initContainers[0].ports[1]",
            "spec.containers[0].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]",
        ],
    );
}

#[test]
fn warnings_about_volumes() {
    let items = json!([{"key": "a", "path": "x"}, {"key": "b", "path": "x/y"}]);
    let secret = json!({"secret": {"name": "s", "items": [{"key": "a", "path": "z/"}]}});
    let token = json!({"serviceAccountToken": {"path": "z"}});
    let claim = json!({"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1500m"}}}}});
    told(
        json!({"volumes": [
            {"name": "g", "gitRepo": {"repository": "r"}}, {"name": "o", "storageos": {}}, {"name": "e", "ephemeral": claim},
            {"name": "m", "configMap": {"name": "n", "items": items}}, {"name": "p", "projected": {"sources": [secret, token, {}]}}]}),
        &[
            "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            "spec.volumes[1].storageOS: deprecated in v1.22, non-functional in v1.25+",
            "spec.volumes[2].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: fractional byte value \"1500m\" is \
             invalid, must be an integer",
            "volume \"m\" (ConfigMap \"n\"): overlapping paths: \"x/y\" with \"x\"",
            "volume \"p\" (Projected ServiceAccountToken): overlapping paths: \"z\" with \"z\"",
            "volume \"p\" (Projected) has no sources provided",
        ],
    );
}

/// Each pair would have its warning, or would be compared.
#[test]
fn attack_warnings_are_so_many_and_no_more() {
    const MANY: usize = 100_000;
    let many = |make: &dyn Fn(usize) -> Value| Value::from((0..MANY).map(make).collect::<Vec<_>>());
    let warnings = |spec: Value| strategy(kind("", "Pod")).warnings(&json!({"spec": spec}), None);
    let with_ports = |ports: Value| json!({"containers": [{"name": "c", "ports": ports}]});
    let found = warnings(with_ports(many(&|_| json!({"containerPort": 80}))));
    assert!((200..300).contains(&found.len()), "{}", found.len());
    let apart =
        |n: usize| json!({"containerPort": 80, "hostPort": 90, "hostIP": format!("10.0.{}.{}", n >> 8, n & 255)});
    assert_eq!(warnings(with_ports(many(&apart))), Vec::<String>::new());
    let items = |path: &dyn Fn(usize) -> String| many(&|n| json!({"key": "k", "path": path(n)}));
    let volume = |items: Value| json!({"volumes": [{"name": "v", "configMap": {"name": "n", "items": items}}]});
    assert_eq!(warnings(volume(items(&|n| format!("p{n:06}")))), Vec::<String>::new());
    let found = warnings(volume(items(&|n| format!("p/{n}"))));
    assert!((200..300).contains(&found.len()), "{}", found.len());
    let sources = many(&|n| json!({"serviceAccountToken": {"path": format!("p{n:06}")}}));
    assert_eq!(warnings(json!({"volumes": [{"name": "v", "projected": {"sources": sources}}]})), Vec::<String>::new());
}

#[test]
fn warnings_about_paths_tell_the_first_that_collides() {
    let paths = |paths: &[&str], told: &[&str]| {
        let items: Vec<Value> = paths.iter().map(|path| json!({"key": "k", "path": path})).collect();
        let volume = json!({"volumes": [{"name": "v", "configMap": {"name": "n", "items": items}}]});
        let found = strategy(kind("", "Pod")).warnings(&json!({"spec": volume}), None);
        let told: Vec<String> =
            told.iter().map(|told| format!("volume \"v\" (ConfigMap \"n\"): overlapping paths: {told}")).collect();
        assert_eq!(found, told, "{paths:?}");
    };
    paths(&["a", "b", "c/d"], &[]);
    paths(&["a/b", "a/c", "a"], &["\"a\" with \"a/b\""]);
    paths(&["a", "a/b", "a/b/c"], &["\"a/b\" with \"a\"", "\"a/b/c\" with \"a\""]);
    paths(&["a/b", "a", "a/b/c"], &["\"a\" with \"a/b\"", "\"a/b/c\" with \"a\""]);
    paths(&["a", "a/"], &["\"a\" with \"a\""]);
    paths(&["", "a", "a"], &[]);
}

#[test]
fn warnings_about_annotations_of_templates() {
    let of = |container: &str| format!("container.{container}/c");
    let (seccomp, armor) = (of("seccomp.security.alpha.kubernetes.io"), of("apparmor.security.beta.kubernetes.io"));
    let critical = "scheduler.alpha.kubernetes.io/critical-pod";
    let template = json!({"metadata": {"annotations": {critical: "", seccomp.as_str(): "x", armor.as_str(): "y"}},
        "spec": {"containers": [{"name": "c"}]}});
    let at = |path: &str| {
        let at = format!("{path}.metadata.annotations");
        vec![
            format!("{at}[{critical}]: non-functional in v1.16+; use the \"priorityClassName\" field instead"),
            format!("{at}[{seccomp}]: non-functional in v1.27+; use the \"seccompProfile\" field instead"),
            format!("{at}[{armor}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"),
        ]
    };
    let stored = json!({"metadata": {"name": "t"}, "template": template});
    assert_eq!(strategy(kind("", "PodTemplate")).warnings(&stored, None), at("template"));
    assert_eq!(strategy(kind("", "PodTemplate")).warnings(&stored, Some(&stored)), Vec::<String>::new());
    let set = json!({"metadata": {"name": "t"}, "spec": {"template": template}});
    assert_eq!(strategy(kind("apps", "DaemonSet")).warnings(&set, None), at("spec.template"));
    let job = json!({"metadata": {"name": "t"}, "spec": {"jobTemplate": {"spec": {"template": template}}}});
    assert_eq!(strategy(kind("batch", "CronJob")).warnings(&job, None), at("spec.jobTemplate.spec.template"));
}

#[test]
fn app_armor_annotations_become_fields() {
    let key = "container.apparmor.security.beta.kubernetes.io/c";
    let why = format!("metadata.annotations[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead");
    let localhost = json!({"type": "Localhost", "localhostProfile": "p"});
    let default = json!({"type": "RuntimeDefault"});
    let cases = [
        ("localhost/p", json!({}), Some(localhost.clone()), true),
        ("unconfined", json!({}), Some(json!({"type": "Unconfined"})), true),
        // What gives no profile is only told of.
        ("localhost/", json!({}), None, true),
        ("localhost/ p", json!({}), None, true),
        // The pod's own is that of its containers.
        ("runtime/default", json!({"securityContext": {"appArmorProfile": default}}), None, false),
        ("localhost/p", json!({"securityContext": {"appArmorProfile": default}}), Some(localhost), true),
        ("runtime/default", json!({"os": {"name": "windows"}}), None, false),
    ];
    let pods = kind("", "Pod");
    for (annotation, spec, profile, told) in cases {
        let mut pod = json!({"metadata": {"name": "p", "annotations": {key: annotation}}, "spec": spec});
        pod["spec"]["containers"] = json!([{"name": "c"}]);
        let warnings = strategy(pods).outdated(&pod);
        assert_eq!(warnings, if told { vec![why.clone()] } else { Vec::new() }, "{annotation} {spec}");
        strategy(pods).prepare_create(&ctx(pods), &mut pod);
        let found = gantry_api::value::get(&pod["spec"]["containers"][0], "securityContext.appArmorProfile");
        assert_eq!(found, profile.as_ref(), "{annotation} {spec}");
    }
    let own = json!({"metadata": {"annotations": {key: "unconfined"}},
        "spec": {"containers": [{"name": "c", "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}]}});
    assert_eq!(strategy(pods).outdated(&own), Vec::<String>::new());
}

#[test]
fn warnings_about_values_of_preferred_nodes() {
    let term = json!({"matchExpressions": [{"key": "k", "operator": "In", "values": ["a b"]}]});
    let at = "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference";
    told(
        json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]}}}),
        &[&format!(
            "{at}.matchExpressions[0].values[0]: a b is invalid, a valid label must be an empty string or consist of \
             alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
             'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        )],
    );
}
