//! Golden cells of storage, networking, scaling, certificates, flow control and devices, and what their strategies prepare.

use gantry_api::Value;
use serde_json::json;

use super::{check, ctx, headers, kind, meta};
use crate::auth::User;
use crate::registry::{Ctx, certificate, strategy};

#[test]
fn golden_object_headers() {
    for (group, kind, expected) in [
        ("", "Endpoints", "Name|Endpoints|Age"),
        ("", "LimitRange", "Name|Created At"),
        ("", "ResourceQuota", "Name|Request|Limit|Age"),
        (
            "",
            "PersistentVolume",
            "Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode*",
        ),
        (
            "",
            "PersistentVolumeClaim",
            "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode*",
        ),
        ("autoscaling", "HorizontalPodAutoscaler", "Name|Reference|Targets|MinPods|MaxPods|Replicas|Age"),
        ("policy", "PodDisruptionBudget", "Name|Min Available|Max Unavailable|Allowed Disruptions|Age"),
        ("networking.k8s.io", "NetworkPolicy", "Name|Pod-Selector|Age"),
        ("networking.k8s.io", "Ingress", "Name|Class|Hosts|Address|Ports|Age"),
        ("networking.k8s.io", "IngressClass", "Name|Controller|Parameters|Age"),
        ("networking.k8s.io", "IPAddress", "Name|ParentRef"),
        ("networking.k8s.io", "ServiceCIDR", "Name|CIDRs|Age"),
        (
            "certificates.k8s.io",
            "CertificateSigningRequest",
            "Name|Age|SignerName|Requestor|RequestedDuration|Condition",
        ),
        ("storage.k8s.io", "StorageClass", "Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age"),
        ("storage.k8s.io", "VolumeAttachment", "Name|Attacher|PV|Node|Attached|Age"),
        (
            "storage.k8s.io",
            "CSIDriver",
            "Name|AttachRequired|PodInfoOnMount|StorageCapacity|TokenRequests|RequiresRepublish|Modes|Age",
        ),
        ("storage.k8s.io", "CSINode", "Name|Drivers|Age"),
        ("storage.k8s.io", "CSIStorageCapacity", "Name|StorageClassName|Capacity"),
        ("storage.k8s.io", "VolumeAttributesClass", "Name|DriverName|Age"),
        ("node.k8s.io", "RuntimeClass", "Name|Handler|Age"),
        (
            "flowcontrol.apiserver.k8s.io",
            "FlowSchema",
            "Name|PriorityLevel|MatchingPrecedence|DistinguisherMethod|Age|MissingPL",
        ),
        (
            "flowcontrol.apiserver.k8s.io",
            "PriorityLevelConfiguration",
            "Name|Type|NominalConcurrencyShares|Queues|HandSize|QueueLengthLimit|Age",
        ),
        ("resource.k8s.io", "DeviceClass", "Name|Age"),
        ("resource.k8s.io", "ResourceClaim", "Name|State|Age"),
        ("resource.k8s.io", "ResourceSlice", "Name|Node|Driver|Pool|Age"),
        ("events.k8s.io", "Event", "Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name*"),
    ] {
        assert_eq!(headers(group, kind), expected, "{kind}");
    }
}

#[test]
fn storage() {
    check(
        "",
        "PersistentVolume",
        &json!({"metadata": meta("v"), "spec": {"capacity": {"storage": "5Gi"}, "storageClassName": "fast",
            "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": "n", "name": "c"}, "volumeMode": "Block"}, "status": {"phase": "Bound"}}),
        &json!(["v", "5Gi", "RWO,RWX", "Retain", "Bound", "n/c", "fast", "<unset>", "", "4m5s", "Block"]),
    );
    let mut claim = json!({"metadata": meta("c"), "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
        "storageClassName": "fast"}, "status": {"phase": "Pending"}});
    check(
        "",
        "PersistentVolumeClaim",
        &claim,
        &json!(["c", "Pending", "", "", "", "fast", "<unset>", "4m5s", "Filesystem"]),
    );
    claim["spec"]["volumeName"] = "v".into();
    claim["status"] = json!({"phase": "Bound", "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"]});
    check(
        "",
        "PersistentVolumeClaim",
        &claim,
        &json!(["c", "Bound", "v", "5Gi", "RWO", "fast", "<unset>", "4m5s", "Filesystem"]),
    );
    claim["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z".into();
    let row = strategy(kind("", "PersistentVolumeClaim")).row(&claim, super::now());
    assert_eq!(row.cells[1], "Terminating");
    let mut class = json!({"metadata": meta("s"), "provisioner": "a.b/c", "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer"});
    check(
        "storage.k8s.io",
        "StorageClass",
        &class,
        &json!(["s", "a.b/c", "Delete", "WaitForFirstConsumer", false, "4m5s"]),
    );
    class["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    class["allowVolumeExpansion"] = true.into();
    check(
        "storage.k8s.io",
        "StorageClass",
        &class,
        &json!(["s (default)", "a.b/c", "Delete", "WaitForFirstConsumer", true, "4m5s"]),
    );
    check(
        "storage.k8s.io",
        "VolumeAttachment",
        &json!({"metadata": meta("a"), "spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
            "status": {"attached": true}}),
        &json!(["a", "d", "v", "n", true, "4m5s"]),
    );
    check(
        "storage.k8s.io",
        "CSIDriver",
        &json!({"metadata": meta("d"), "spec": {"attachRequired": false, "tokenRequests": [{"audience": "a"}, {"audience": "b"}],
            "volumeLifecycleModes": ["Persistent"]}}),
        &json!(["d", false, false, false, "a,b", false, "Persistent", "4m5s"]),
    );
    check(
        "storage.k8s.io",
        "CSINode",
        &json!({"metadata": meta("n"), "spec": {"drivers": [{}, {}]}}),
        &json!(["n", 2, "4m5s"]),
    );
}

#[test]
fn networking() {
    let addresses = |n: usize| (1..=n).map(|i| json!({"ip": format!("10.0.0.{i}")})).collect::<Vec<_>>();
    let endpoints = |subsets: Value| json!({"metadata": meta("e"), "subsets": subsets});
    let check_endpoints = |subsets: Value, shown: &str| {
        check("", "Endpoints", &endpoints(subsets), &json!(["e", shown, "4m5s"]));
    };
    check_endpoints(json!([]), "<none>");
    check_endpoints(json!([{"addresses": addresses(1)}]), "10.0.0.1");
    check_endpoints(json!([{"addresses": addresses(2), "ports": [{"port": 80}]}]), "10.0.0.1:80,10.0.0.2:80");
    // What is not shown is not made.
    let ports: Vec<Value> = (1..=50_000).map(|port| json!({"port": port})).collect();
    check_endpoints(
        json!([{"addresses": addresses(50_000), "ports": ports}]),
        "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1 + 2499999997 more...",
    );
    check_endpoints(
        json!([{"addresses": addresses(5), "ports": [{"port": 80}]}]),
        "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...",
    );
    let mut ingress = json!({"metadata": meta("i"), "spec": {"rules": [{"host": "a.b"}, {"host": "c.d"}, {}]}});
    check("networking.k8s.io", "Ingress", &ingress, &json!(["i", "<none>", "a.b,c.d", "", "80", "4m5s"]));
    ingress["spec"] = json!({"ingressClassName": "web", "tls": [{}]});
    ingress["status"] =
        json!({"loadBalancer": {"ingress": [{"hostname": "h"}, {"ip": "192.0.2.1"}, {"hostname": "h"}]}});
    check("networking.k8s.io", "Ingress", &ingress, &json!(["i", "web", "*", "192.0.2.1,h", "80, 443", "4m5s"]));
    check(
        "networking.k8s.io",
        "IngressClass",
        &json!({"metadata": meta("c"), "spec": {"controller": "a/b", "parameters": {"apiGroup": "k.io", "kind": "P", "name": "p"}}}),
        &json!(["c", "a/b", "P.k.io/p", "4m5s"]),
    );
    check(
        "networking.k8s.io",
        "NetworkPolicy",
        &json!({"metadata": meta("p"), "spec": {"podSelector": {"matchLabels": {"a": "b"}}}}),
        &json!(["p", "a=b", "4m5s"]),
    );
    check(
        "networking.k8s.io",
        "IPAddress",
        &json!({"metadata": meta("10.0.0.1"), "spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "s"}}}),
        &json!(["10.0.0.1", "services/n/s"]),
    );
    check(
        "networking.k8s.io",
        "ServiceCIDR",
        &json!({"metadata": meta("r"), "spec": {"cidrs": ["10.0.0.0/16", "2001:db8::/64"]}}),
        &json!(["r", "10.0.0.0/16,2001:db8::/64", "4m5s"]),
    );
}

#[test]
fn scaling() {
    let scaler = |metrics: Value, current: Value, targets: &str| {
        check(
            "autoscaling",
            "HorizontalPodAutoscaler",
            &json!({"metadata": meta("h"), "spec": {"minReplicas": 1, "maxReplicas": 5, "metrics": metrics,
                "scaleTargetRef": {"kind": "Deployment", "name": "d"}},
                "status": {"currentReplicas": 2, "currentMetrics": current}}),
            &json!(["h", "Deployment/d", targets, "1", 5, 2, "4m5s"]),
        );
    };
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}});
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}});
    scaler(json!([]), json!([]), "<none>");
    scaler(json!([cpu]), json!([]), "cpu: <unknown>/80%");
    scaler(
        json!([cpu, pods]),
        json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40}}}]),
        "cpu: 40%/80%, <unknown>/5",
    );
    scaler(json!([cpu, pods, pods]), json!([]), "cpu: <unknown>/80%, <unknown>/5 + 1 more...");
    check(
        "policy",
        "PodDisruptionBudget",
        &json!({"metadata": meta("b"), "spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 2}}),
        &json!(["b", "50%", "N/A", 2, "4m5s"]),
    );
    check(
        "",
        "ResourceQuota",
        &json!({"metadata": meta("q"), "status": {"hard": {"limits.cpu": "2", "pods": "5", "requests.cpu": "1"},
            "used": {"pods": "3"}}}),
        &json!(["q", "pods: 3/5, requests.cpu: 0/1", "limits.cpu: 0/2", "4m5s"]),
    );
    check(
        "node.k8s.io",
        "RuntimeClass",
        &json!({"metadata": meta("r"), "handler": "runc"}),
        &json!(["r", "runc", "4m5s"]),
    );
}

#[test]
fn certificates() {
    let row = |status: Value, condition: &str| {
        check(
            "certificates.k8s.io",
            "CertificateSigningRequest",
            &json!({"metadata": meta("c"), "spec": {"signerName": "a.b/c", "username": "u", "expirationSeconds": 3600},
                "status": status}),
            &json!(["c", "4m5s", "a.b/c", "u", "60m", condition]),
        );
    };
    row(json!({}), "Pending");
    row(json!({"conditions": [{"type": "Approved"}], "certificate": "AAAA"}), "Approved,Issued");
    row(json!({"conditions": [{"type": "Denied"}, {"type": "Failed"}]}), "Denied,Failed");
    let mut request = json!({"spec": {"username": "root", "groups": ["system:masters"]}});
    certificate::identify(&mut request, &User::new("u", &["g"]));
    assert_eq!(request["spec"]["username"], "u");
    assert_eq!(request["spec"]["groups"], json!(["g", "system:authenticated"]));
    let old = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "lastTransitionTime": "then"}]}});
    let mut new = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"}]}});
    certificate::note_times(&mut new, &old, super::now());
    assert_eq!(new["status"]["conditions"][0]["lastTransitionTime"], "then");
    assert_eq!(new["status"]["conditions"][1]["lastTransitionTime"], super::NOW);
    // A signer sends decisions back as it knows them; only approvers change them.
    let kind = kind("certificates.k8s.io", "CertificateSigningRequest");
    let old = json!({"status": {"conditions": [
        {"type": "Approved", "status": "True", "message": "by hand", "lastUpdateTime": "then", "lastTransitionTime": "then"}]}});
    for (subresource, expected) in [("status", &old), ("approval", &Value::Null)] {
        let mut new = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}]}});
        strategy(kind).prepare_status_update(&Ctx { subresource, ..ctx(kind) }, &mut new, &old);
        assert_eq!(new == *expected, expected.is_object(), "{subresource}: {new}");
    }
}

#[test]
fn flow_and_devices() {
    check(
        "flowcontrol.apiserver.k8s.io",
        "FlowSchema",
        &json!({"metadata": meta("f"), "spec": {"priorityLevelConfiguration": {"name": "l"}, "matchingPrecedence": 7},
            "status": {"conditions": [{"type": "Dangling", "status": "False"}]}}),
        &json!(["f", "l", 7, "<none>", "4m5s", "False"]),
    );
    check(
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        &json!({"metadata": meta("l"), "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 5,
            "limitResponse": {"type": "Reject"}}}}),
        &json!(["l", "Limited", 5, "<none>", "<none>", "<none>", "4m5s"]),
    );
    let claim = |status: Value, state: &str| {
        check(
            "resource.k8s.io",
            "ResourceClaim",
            &json!({"metadata": meta("c"), "status": status}),
            &json!(["c", state, "4m5s"]),
        );
    };
    claim(json!({}), "pending");
    claim(json!({"allocation": {}, "reservedFor": [{}]}), "allocated,reserved");
    let kind = kind("resource.k8s.io", "ResourceSlice");
    let slice = || json!({"spec": {"devices": [{"name": "d", "taints": [{"key": "k", "effect": "NoSchedule"}]}]}});
    let mut made = slice();
    strategy(kind).prepare_create(&ctx(kind), &mut made);
    let at = |slice: &Value| slice["spec"]["devices"][0]["taints"][0]["timeAdded"].clone();
    assert_eq!(at(&made), super::NOW);
    made["spec"]["devices"][0]["taints"][0]["timeAdded"] = "2020-01-01T00:00:00Z".into();
    let mut again = slice();
    strategy(kind).prepare_update(&ctx(kind), &mut again, &made);
    assert_eq!(at(&again), "2020-01-01T00:00:00Z", "a taint that was there keeps its time");
}

#[test]
fn claims_name_their_source_in_both_ways() {
    let kind = kind("", "PersistentVolumeClaim");
    let prepared = |spec: Value| {
        let mut claim = json!({"spec": spec});
        strategy(kind).prepare_create(&ctx(kind), &mut claim);
        claim["spec"].clone()
    };
    let other = json!({"kind": "PersistentVolumeClaim", "name": "c"});
    assert_eq!(prepared(json!({"dataSource": other})), json!({"dataSource": other, "dataSourceRef": other}));
    assert_eq!(prepared(json!({"dataSourceRef": other})), json!({"dataSource": other, "dataSourceRef": other}));
    assert_eq!(prepared(json!({"dataSource": {"kind": "Pod", "name": "p"}})), json!({}));
    // A client that knows only the older name sends back what there is.
    let custom = json!({"apiGroup": "example.com", "kind": "Backup", "name": "b"});
    let old = json!({"metadata": {"name": "c"}, "spec": {"dataSource": custom, "dataSourceRef": custom}});
    let mut new = json!({"metadata": {"name": "c"}, "spec": {"dataSource": custom}});
    strategy(kind).prepare_update(&ctx(kind), &mut new, &old);
    assert_eq!(new, old);
}

#[test]
fn webhooks_and_policies() {
    let group = "admissionregistration.k8s.io";
    assert_eq!(super::headers(group, "MutatingWebhookConfiguration"), "Name|Webhooks|Age");
    assert_eq!(super::headers(group, "ValidatingAdmissionPolicy"), "Name|Validations|ParamKind|Age");
    assert_eq!(super::headers(group, "MutatingAdmissionPolicy"), "Name|Mutations|ParamKind|Age");
    assert_eq!(super::headers(group, "ValidatingAdmissionPolicyBinding"), "Name|PolicyName|ParamRef|Age");
    check(
        group,
        "ValidatingWebhookConfiguration",
        &json!({"metadata": meta("w"), "webhooks": [{}, {}]}),
        &json!(["w", 2, "4m5s"]),
    );
    let kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    check(
        group,
        "ValidatingAdmissionPolicy",
        &json!({"metadata": meta("p"), "spec": {"validations": [{}], "paramKind": kind}}),
        &json!(["p", 1, "v1/ConfigMap", "4m5s"]),
    );
    check(
        group,
        "MutatingAdmissionPolicy",
        &json!({"metadata": meta("p"), "spec": {"mutations": [{}, {}]}}),
        &json!(["p", 2, "<unset>", "4m5s"]),
    );
    for (param, shown) in
        [(json!(null), "<unset>"), (json!({"name": "a"}), "a"), (json!({"name": "a", "namespace": "n"}), "n/a")]
    {
        check(
            group,
            "MutatingAdmissionPolicyBinding",
            &json!({"metadata": meta("b"), "spec": {"policyName": "p", "paramRef": param}}),
            &json!(["b", "p", shown, "4m5s"]),
        );
    }
}

#[test]
fn what_is_out_of_date_is_told() {
    let old = "beta.kubernetes.io/os";
    let why = "deprecated since v1.14; use \"kubernetes.io/os\" instead";
    let enforced = json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}});
    let no_enforcement = "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer \
                          separate namespaces to isolate access to mounted secrets";
    let cases: [(&str, &str, Value, Vec<String>); 5] = [
        ("", "ServiceAccount", enforced.clone(), vec![no_enforcement.to_owned()]),
        (
            "",
            "Node",
            json!({"spec": {"externalID": "a", "configSource": {}}}),
            vec![
                "spec.configSource: the feature is removed".to_owned(),
                "spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned(),
            ],
        ),
        (
            "node.k8s.io",
            "RuntimeClass",
            json!({"scheduling": {"nodeSelector": {old: "linux", "a": "b"}}}),
            vec![format!("scheduling.nodeSelector: {why}")],
        ),
        (
            "storage.k8s.io",
            "StorageClass",
            json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "a"}, {"key": old}]}]}),
            vec![format!("allowedTopologies[0].matchLabelExpressions[1].key: {why}")],
        ),
        (
            "storage.k8s.io",
            "CSIStorageCapacity",
            json!({"nodeTopology": {"matchExpressions": [{"key": old}], "matchLabels": {old: "linux"}}}),
            vec![
                format!("nodeTopology.matchExpressions[0].key: {old} is {why}"),
                format!("nodeTopology.matchLabels.{old}: {why}"),
            ],
        ),
    ];
    for (group, name, object, expected) in cases {
        assert_eq!(strategy(kind(group, name)).warnings(&object, None), expected, "{name}");
    }
    assert!(strategy(kind("", "ServiceAccount")).warnings(&enforced, Some(&enforced)).is_empty());
}

#[test]
fn statuses_of_devices_go_with_their_allocation() {
    let kind = kind("resource.k8s.io", "ResourceClaim");
    let device = |name: &str| json!({"driver": "d", "pool": "p", "device": name});
    let status = |allocated: &[&str], told: &[&str]| {
        let results: Vec<Value> = allocated.iter().map(|name| device(name)).collect();
        let told: Vec<Value> = told.iter().map(|name| device(name)).collect();
        json!({"status": {"allocation": {"devices": {"results": results}}, "devices": told}})
    };
    let old = status(&["a", "b"], &["a", "b"]);
    for (allocated, told, left) in [
        (vec!["a"], vec!["a", "b"], json!([device("a")])),
        (vec![], vec!["a", "b"], json!(null)),
        (vec![], vec!["c"], json!([device("c")])),
    ] {
        let mut new = status(&allocated, &told);
        strategy(kind).prepare_status_update(&ctx(kind), &mut new, &old);
        assert_eq!(new["status"]["devices"], left);
    }
}
