//! Golden defaults: object in, object out, and nothing more on the second application.

use serde_json::json;

use super::fill_in as apply;
use crate::{Value, canon, kinds};

fn check(group: &str, kind: &str, mut input: Value, expected: Value) {
    let kind = kinds::by_kind(group, "v1", kind).expect("a served kind");
    apply(kind, &mut input);
    assert_eq!(input, expected);
    apply(kind, &mut input);
    assert_eq!(input, expected, "not idempotent");
}

#[test]
fn secrets_take_plain_strings() {
    check(
        "",
        "Secret",
        json!({"data": {"a": "AA==", "b": "AA=="}, "stringData": {"b": "hi", "c": ""}}),
        json!({"data": {"a": "AA==", "b": "aGk=", "c": ""}, "type": "Opaque"}),
    );
    check("", "Secret", json!({"stringData": {}, "type": "t"}), json!({"type": "t"}));
}

#[test]
fn a_small_pod() {
    check(
        "",
        "Pod",
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}),
        json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "c", "image": "nginx:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30}}),
    );
}

#[test]
fn a_full_pod() {
    check(
        "",
        "Pod",
        json!({"spec": {"hostNetwork": true, "serviceAccount": "sa", "containers": [{
            "name": "c", "image": "i",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
            "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5},
            "startupProbe": {"grpc": {"port": 90}},
            "lifecycle": {"preStop": {"httpGet": {"port": 80, "path": "/q"}}}}],
            "volumes": [{"name": "e"}, {"name": "c", "configMap": {"name": "m"}}, {"name": "h", "hostPath": {"path": "/x"}},
                {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
                    {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}]},
            "status": {"podIP": "10.0.0.1", "hostIPs": [{"ip": "10.1.0.1"}]}}),
        json!({"spec": {"hostNetwork": true, "serviceAccount": "sa", "serviceAccountName": "sa", "containers": [{
            "name": "c", "image": "i", "imagePullPolicy": "Always",
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "periodSeconds": 5,
                "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
            "startupProbe": {"grpc": {"port": 90, "service": ""}, "periodSeconds": 10,
                "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
            "lifecycle": {"preStop": {"httpGet": {"port": 80, "path": "/q", "scheme": "HTTP"}}}}],
            "volumes": [{"name": "e", "emptyDir": {}}, {"name": "c", "configMap": {"name": "m", "defaultMode": 420}},
                {"name": "h", "hostPath": {"path": "/x", "type": ""}},
                {"name": "p", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
                    {"downwardAPI": {"items": [{"path": "n",
                        "fieldRef": {"fieldPath": "metadata.namespace", "apiVersion": "v1"}}]}}]}}],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30},
            "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
                "hostIP": "10.1.0.1", "hostIPs": [{"ip": "10.1.0.1"}]}}),
    );
}

#[test]
fn workloads() {
    let template = json!({"spec": {"containers": [], "hostNetwork": true}});
    let defaulted = json!({"spec": {"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always", "schedulerName": "default-scheduler", "securityContext": {},
        "terminationGracePeriodSeconds": 30}});
    check(
        "apps",
        "Deployment",
        json!({"spec": {"template": template}}),
        json!({"spec": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": defaulted}}),
    );
    check(
        "apps",
        "Deployment",
        json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}}),
        json!({"spec": {"replicas": 0, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "Recreate"}}}),
    );
    check(
        "apps",
        "ReplicaSet",
        json!({"spec": {"template": template}}),
        json!({"spec": {"replicas": 1, "template": defaulted}}),
    );
    let spec = json!({"revisionHistoryLimit": 10, "template": defaulted,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}});
    for (given, counted) in [(Value::Null, "0"), (json!({"deprecated.daemonset.template.generation": "4"}), "4")] {
        check(
            "apps",
            "DaemonSet",
            json!({"metadata": {"annotations": given}, "spec": {"template": template}}),
            json!({"metadata": {"annotations": {"deprecated.daemonset.template.generation": counted}}, "spec": spec}),
        );
    }
}

#[test]
fn services() {
    check(
        "",
        "Service",
        json!({"spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "targetPort": "dns"}]}}),
        json!({"spec": {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80},
                {"port": 53, "protocol": "UDP", "targetPort": "dns"}]}}),
    );
    check(
        "",
        "Service",
        json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
        json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "allocateLoadBalancerNodePorts": true,
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
            "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster"},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}]}}}),
    );
    check(
        "",
        "Service",
        json!({"spec": {"type": "ExternalName", "externalName": "a.b"}}),
        json!({"spec": {"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"}}),
    );
}

#[test]
fn small_kinds() {
    check(
        "",
        "Namespace",
        json!({"metadata": {"name": "n"}}),
        json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}}, "status": {"phase": "Active"}}),
    );
    check(
        "",
        "Node",
        json!({"status": {"capacity": {"cpu": "2"}}}),
        json!({"status": {"capacity": {"cpu": "2"}, "allocatable": {"cpu": "2"}}}),
    );
    check("", "Secret", json!({}), json!({"type": "Opaque"}));
    check("", "ConfigMap", json!({"data": {}}), json!({"data": {}}));
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({"ports": [{"port": 80}]}),
        json!({"ports": [{"port": 80, "name": "", "protocol": "TCP"}]}),
    );
    check(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}),
        json!({"roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}),
    );
    check(
        "scheduling.k8s.io",
        "PriorityClass",
        json!({"value": 1}),
        json!({"value": 1, "preemptionPolicy": "PreemptLowerPriority"}),
    );
}

/// What defaulting wrote has to be there when the object is read back.
#[test]
fn defaults_survive_the_canonical_form() {
    let check = |name: &str, input: Value| {
        let kind = kinds::all().iter().find(|k| k.kind == name).expect("a served kind");
        let mut defaulted = input;
        apply(kind, &mut defaulted);
        let mut canonical = defaulted.clone();
        canon::canonical(&mut canonical, &kind.type_name).expect("of the type");
        assert_eq!(canonical, defaulted);
    };
    check(
        "Pod",
        json!({"metadata": {"name": "p"}, "spec": {"hostNetwork": true, "containers": [{"name": "c", "image": "i",
            "ports": [{"containerPort": 80}],
            "startupProbe": {"grpc": {"port": 90}},
            "resources": {"limits": {"cpu": "1"}}}],
            "volumes": [{"name": "e"}, {"name": "h", "hostPath": {"path": "/x"}},
                {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}}),
    );
    check("Service", json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}));
    check(
        "EndpointSlice",
        json!({"metadata": {"name": "e"}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {}}], "ports": [{"port": 80}]}),
    );
    check(
        "Deployment",
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
    );
}

#[test]
fn webhooks_and_policies() {
    let group = "admissionregistration.k8s.io";
    let given = json!({"webhooks": [{"clientConfig": {"service": {"name": "s"}}, "rules": [{}]}]});
    let mut expected = json!({"webhooks": [{
        "clientConfig": {"service": {"name": "s", "port": 443}}, "rules": [{"scope": "*"}], "failurePolicy": "Fail",
        "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "timeoutSeconds": 10}]});
    check(group, "ValidatingWebhookConfiguration", given.clone(), expected.clone());
    expected["webhooks"][0]["reinvocationPolicy"] = "Never".into();
    check(group, "MutatingWebhookConfiguration", given, expected);
    let matched = json!({"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": [{"scope": "*"}]});
    check(
        group,
        "ValidatingAdmissionPolicy",
        json!({"spec": {"matchConstraints": {"resourceRules": [{}]}}}),
        json!({"spec": {"matchConstraints": matched, "failurePolicy": "Fail"}}),
    );
    check(
        group,
        "MutatingAdmissionPolicyBinding",
        json!({"spec": {"matchResources": {"resourceRules": [{}]}}}),
        json!({"spec": {"matchResources": matched}}),
    );
}

#[test]
fn a_stateful_set_that_names_its_strategy_says_what_it_has() {
    let check = |given: Value, expected: Value| {
        let mut set = json!({"metadata": {"name": "s"}, "spec": {"updateStrategy": given}});
        apply(kinds::by_kind("apps", "v1", "StatefulSet").unwrap(), &mut set);
        assert_eq!(set["spec"]["updateStrategy"], expected);
    };
    check(json!({}), json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
    check(json!({"type": "RollingUpdate"}), json!({"type": "RollingUpdate"}));
    let filled = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    check(json!({"type": "RollingUpdate", "rollingUpdate": {}}), filled);
    check(json!({"type": "OnDelete"}), json!({"type": "OnDelete"}));
}

#[test]
fn jobs_say_that_their_selector_is_not_their_owners() {
    let policy = json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]});
    let mut job = json!({"metadata": {"name": "j"}, "spec": {"podFailurePolicy": policy}});
    let mut cron = json!({"metadata": {"name": "j"}, "spec": {"jobTemplate": {"spec": {"podFailurePolicy": policy}}}});
    apply(kinds::by_kind("batch", "v1", "Job").unwrap(), &mut job);
    apply(kinds::by_kind("batch", "v1", "CronJob").unwrap(), &mut cron);
    let of_cron = &cron["spec"]["jobTemplate"]["spec"];
    assert_eq!((&job["spec"]["manualSelector"], of_cron.get("manualSelector")), (&json!(false), None));
    for spec in [&job["spec"], of_cron] {
        assert_eq!(spec["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"], "True");
    }
}

#[test]
fn pods_request_as_a_whole_what_their_containers_do() {
    let whole = |resources: Value, containers: Value| {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"resources": resources, "containers": containers}});
        pod["spec"]["initContainers"] = json!([{"name": "i", "image": "i:1", "resources": {"requests": {"cpu": "3"}}}]);
        apply(kinds::by_kind("", "v1", "Pod").unwrap(), &mut pod);
        pod["spec"]["resources"].clone()
    };
    let containers = json!([
        {"name": "a", "image": "i:1", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}},
        {"name": "b", "image": "i:1", "resources": {"requests": {"memory": "1Gi"}, "limits": {"hugepages-2Mi": "4Mi"}}},
    ]);
    let limits = json!({"cpu": "4", "memory": "4Gi", "hugepages-2Mi": "4Mi"});
    assert_eq!(
        whole(json!({"limits": {"cpu": "4", "memory": "4Gi"}}), containers.clone()),
        json!({"limits": limits, "requests": {"cpu": "3", "memory": "2Gi", "hugepages-2Mi": "4Mi"}})
    );
    let none = json!([{"name": "a", "image": "i:1"}]);
    let of_limits = json!({"limits": {"memory": "4Gi"}, "requests": {"cpu": "3", "memory": "4Gi"}});
    assert_eq!(whole(json!({"limits": {"memory": "4Gi"}}), none.clone()), of_limits);
    let stated = json!({"requests": {"memory": "1Gi"}});
    assert_eq!(whole(stated.clone(), none), stated, "what does not limit itself is left alone");
}

/// Amounts below a thousandth are rounded up to one (`SetDefaults_ResourceList`), wherever core/v1 lists resources.
#[test]
fn amounts_are_whole_thousandths() {
    let given = || json!({"cpu": "1n", "memory": "1500u", "c": "-1u", "d": "1e-6", "e": "5m", "f": "1Ki"});
    let rounded = || json!({"cpu": "1m", "memory": "2m", "c": "-1m", "d": "1e-3", "e": "5m", "f": "1Ki"});
    let all = || json!({"limits": given(), "requests": given()});
    let made = |group: &str, kind: &str, mut object: Value| {
        apply(kinds::by_kind(group, "v1", kind).expect("a served kind"), &mut object);
        object
    };
    let pods = |spec: &Value| {
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            assert_eq!(spec[list][0]["resources"]["limits"], rounded(), "{list}");
            assert_eq!(spec[list][0]["resources"]["requests"], rounded(), "{list}");
        }
        assert_eq!(spec["resources"]["requests"], rounded());
        assert_eq!(spec["overhead"], rounded());
        assert_eq!(spec["volumes"][0]["ephemeral"]["volumeClaimTemplate"]["spec"]["resources"]["limits"], rounded());
    };
    let list = || json!([{"name": "a", "image": "i", "resources": all()}]);
    let spec = json!({
        "containers": list(), "initContainers": list(), "ephemeralContainers": list(), "resources": all(), "overhead": given(),
        "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"resources": all()}}}}],
    });
    let status =
        json!({"containerStatuses": [{"allocatedResources": given(), "resources": all()}], "resources": all()});
    let pod = made("", "Pod", json!({"spec": spec, "status": status}));
    pods(&pod["spec"]);
    assert_eq!(pod["status"]["containerStatuses"][0]["allocatedResources"], rounded());
    assert_eq!(pod["status"]["containerStatuses"][0]["resources"]["requests"], rounded());
    assert_eq!(pod["status"]["resources"]["limits"], rounded());
    let claims = json!([{"spec": {"resources": all()}, "status": {"capacity": given()}}]);
    let set = json!({"spec": {"template": {"spec": spec}, "volumeClaimTemplates": claims}});
    let set = made("apps", "StatefulSet", set);
    pods(&set["spec"]["template"]["spec"]);
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"], rounded());
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["status"]["capacity"], rounded());
    for (group, kind, path) in [
        ("", "Node", "status.allocatable"),
        ("", "PersistentVolume", "spec.capacity"),
        ("", "PersistentVolumeClaim", "spec.resources.requests"),
        ("", "PersistentVolumeClaim", "status.allocatedResources"),
        ("", "ResourceQuota", "spec.hard"),
        ("", "ResourceQuota", "status.used"),
        ("node.k8s.io", "RuntimeClass", "overhead.podFixed"),
        ("storage.k8s.io", "VolumeAttachment", "spec.source.inlineVolumeSpec.capacity"),
    ] {
        let mut object = json!({});
        crate::value::set(&mut object, path, given());
        assert_eq!(crate::value::get(&made(group, kind, object), path), Some(&rounded()), "{kind} {path}");
    }
    let limits = made("", "LimitRange", json!({"spec": {"limits": [{"type": "Pod", "max": given()}]}}));
    assert_eq!(limits["spec"]["limits"][0]["max"], rounded());
}
