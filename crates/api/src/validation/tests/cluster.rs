//! Kinds that administrators and drivers write: each row is one object and what upstream says of it.

use serde_json::json;

use super::{check, check_update, kind, object, texts};
use crate::validation::status_update;
use crate::{Value, names};

/// Checks the create of each row's object.
fn rows(kind: &str, rows: &[(Value, &[&str])]) {
    for (content, expected) in rows {
        check(kind, content.clone(), expected);
    }
}

#[test]
fn nodes() {
    let families = |cidrs: &str| {
        format!("spec.podCIDRs: Invalid value: {cidrs}: may specify no more than one CIDR for each IP family")
    };
    let (two, three) =
        (families(r#"["10.0.0.0/24","10.0.1.0/24"]"#), families(r#"["10.0.0.0/24","fd00::/64","fd01::/64"]"#));
    rows(
        "Node",
        &[
            (json!({"spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}}), &[]),
            (json!({"spec": {"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}}), &[&two]),
            (json!({"spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64", "fd01::/64"]}}), &[&three]),
            (json!({"status": {"capacity": {"any": "1500m", "a/b": "1"}}}), &[]),
            (
                json!({"status": {"capacity": {"pods": "1500m"}, "allocatable": {"any": "-1"}}}),
                &[
                    "status.capacity.pods: Invalid value: \"1500m\": must be an integer",
                    "status.allocatable.any: Invalid value: \"-1\": must be greater than or equal to 0",
                ],
            ),
            (
                json!({"status": {"nodeInfo": {"swap": {"capacity": 0}}}}),
                &["metadata.nodeSwapStatus.capacity: Invalid value: 0: must be greater than zero"],
            ),
            (json!({"status": {"declaredFeatures": ["A", "B/c1", "B/d"]}}), &[]),
            (
                json!({"status": {"declaredFeatures": ["B", "B", "A", "C//a"]}}),
                &[
                    "status.declaredFeatures[1]: Duplicate value: \"B\"",
                    "status.declaredFeatures[2]: Invalid value: \"A\": list must be sorted alphabetically",
                    "status.declaredFeatures[3]: Invalid value: \"C//a\": invalid feature name \"C//a\": must start with an \
                     UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or \
                     MyFeature/mySubFeature), and contain only alphanumeric characters and slashes",
                ],
            ),
        ],
    );
    let twice =
        json!({"status": {"addresses": [{"type": "Hostname", "address": "a"}, {"type": "Hostname", "address": "a"}]}});
    check("Node", twice.clone(), &[]);
    check_update(
        "Node",
        twice,
        json!({}),
        &["status.addresses[1]: Duplicate value: {\"Type\":\"Hostname\",\"Address\":\"a\"}"],
    );
    check_update(
        "Node",
        json!({"spec": {"externalID": "b"}}),
        json!({"spec": {"externalID": "a"}}),
        &["spec.externalID: Forbidden: may not be updated"],
    );
}

#[test]
fn classes_of_storage() {
    let class = |topologies: Value| json!({"provisioner": "a/b", "allowedTopologies": topologies});
    let zone = json!({"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]});
    let upper = format!("provisioner: Invalid value: \"a/b/c\": {}", names::qualified_name("a/b/c")[0]);
    rows(
        "StorageClass",
        &[
            (json!({"provisioner": "A/B/c"}), &[&upper]),
            (class(json!([zone])), &[]),
            (class(json!([zone, zone])), &["allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""]),
            (class(json!([{}])), &["allowedTopologies[0].matchLabelExpressions: Duplicate value: \"\""]),
            (
                class(json!([{"matchLabelExpressions": [{"key": "zone", "values": ["a", "a"]}]}])),
                &["allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\""],
            ),
        ],
    );
    rows(
        "VolumeAttributesClass",
        &[
            (json!({"driverName": "a/B_c", "parameters": {"a": "b"}}), &[]),
            (
                json!({}),
                &["driverName: Required value", "parameters: Required value: must contain at least one key/value pair"],
            ),
        ],
    );
    check("CSIStorageCapacity", json!({"storageClassName": "a", "maximumVolumeSize": "-1"}), &[]);
}

#[test]
fn drivers_and_attachments() {
    let long = "a".repeat(70);
    let token = |audience: &str, seconds: i64| json!({"audience": audience, "expirationSeconds": seconds});
    rows(
        "CSIDriver",
        &[
            (json!({"metadata": {"name": long}}), &[]),
            (
                json!({"spec": {"serviceAccountTokenInSecrets": true}}),
                &[
                    "spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no \
                   tokenRequests are specified",
                ],
            ),
            (
                json!({"spec": {"tokenRequests": [token("a", 600), token("a", 1)], "volumeLifecycleModes": ["x"], "fsGroupPolicy": ""}}),
                &[
                    "spec.fsGroupPolicy: Unsupported value: \"\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
                    "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
                    "spec.volumeLifecycleModes: Unsupported value: \"x\": supported values: \"Ephemeral\", \"Persistent\"",
                ],
            ),
        ],
    );
    check_update(
        "CSIDriver",
        json!({"spec": {"attachRequired": true}}),
        json!({"spec": {"attachRequired": false}}),
        &["spec.attachedRequired: Invalid value: true: field is immutable"],
    );
    let driver = json!({"name": "a", "nodeID": "n", "topologyKeys": ["k", "k"]});
    check("CSINode", json!({"spec": {"drivers": [driver]}}), &["spec.drivers[0]: Duplicate value: \"k\""]);
    let spec = json!({"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}});
    let attachment = |status: Value| object("VolumeAttachment", json!({"spec": spec, "status": status}));
    let info = kind("VolumeAttachment");
    for (status, expected) in [
        (json!({"attached": true, "attachError": {"message": "m", "errorCode": 1}}), None),
        (
            json!({"detachError": {"message": "m".repeat(1025)}}),
            Some("status.detachError.message: Too long: may not be more than 262144 bytes"),
        ),
        (
            json!({"attachError": {"errorCode": -1}}),
            Some("status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive"),
        ),
        (
            json!({"attachmentMetadata": {"k": "v".repeat(256 * 1024)}}),
            Some("status.attachmentMetadata: Too long: may not be more than 262144 bytes"),
        ),
    ] {
        let errors = status_update(info, &attachment(status), &attachment(json!({})));
        assert_eq!(texts(&errors), expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn rules_of_flows() {
    let rule = |more: Value| {
        let mut rule = json!({"subjects": [{"kind": "User", "user": {"name": "u"}}]});
        rule.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        json!({"spec": {"priorityLevelConfiguration": {"name": "l"}, "matchingPrecedence": 2, "rules": [rule]}})
    };
    let url = |url: &str| rule(json!({"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": [url]}]}));
    let wrong = |url: &str, why: &str| {
        format!("spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"{url}\": {why}")
    };
    let suffix = "wildcard can only do suffix matching";
    for (path, why) in [
        ("/", None),
        ("*", None),
        ("/a/*", None),
        ("", Some("must not be empty")),
        ("a", Some("must start with slash")),
        ("/a b", Some("must not contain white-space")),
        ("/a//b", Some("must not contain double slash")),
        ("/a*", Some(suffix)),
        ("/*/a/*", Some(suffix)),
    ] {
        let expected: Vec<String> = why.iter().map(|why| wrong(path, why)).collect();
        check("FlowSchema", url(path), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
    rows(
        "FlowSchema",
        &[
            (
                rule(json!({"nonResourceRules": [{"verbs": ["get", "head"], "nonResourceURLs": ["/"]}]})),
                &["spec.rules[0].nonResourceRules[0].verbs: Unsupported value: [\"get\",\"head\"]: supported values: \
                   \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \
                   \"watch\""],
            ),
            (
                rule(json!({"subjects": [{"kind": "User", "serviceAccount": {}}],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]})),
                &[
                    "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                    "spec.rules[0].subjects[0].serviceAccount: Forbidden: serviceAccount is forbidden when subject kind \
                     is not 'ServiceAccount'",
                ],
            ),
        ],
    );
    let errors = |namespace: &str| {
        let rules = json!({"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
            "namespaces": [namespace]}]});
        texts(&crate::validation::create(kind("FlowSchema"), &object("FlowSchema", rule(rules))))
    };
    assert_eq!(errors("*"), Vec::<String>::new());
    let told = "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: \"A\": each member of this list must be '*' \
        or a DNS-1123 label; a lowercase";
    assert!(errors("A")[0].starts_with(told), "{:?}", errors("A"));
    rows(
        "PriorityLevelConfiguration",
        &[(
            json!({"spec": {"type": "Exempt", "limited": {"limitResponse": {"type": "Reject"}}}}),
            &[
                "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
                "spec.limited: Forbidden: must be nil if the type is not Limited",
            ],
        )],
    );
    let level = |conditions: Value| json!({"metadata": {"name": "l"}, "status": {"conditions": conditions}});
    let update = |new: Value| texts(&status_update(kind("PriorityLevelConfiguration"), &new, &level(json!([]))));
    assert_eq!(update(level(json!([{}]))), ["status.conditions[0].type: Required value: must not be empty"]);
}

#[test]
fn who_may_and_who_tells() {
    let account = json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "a"}]});
    check("RoleBinding", account.clone(), &[]);
    check("ClusterRoleBinding", account, &["subjects[0].namespace: Required value"]);
    check(
        "ClusterRole",
        json!({"aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}}),
        &[
            "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].values: Required value: must be specified when \
             `operator` is 'In' or 'NotIn'",
            "aggregationRule.clusterRoleSelectors[0]: Invalid value: \"null\": invalid label selector.",
        ],
    );
    let event = |namespace: &str, message: &str| {
        json!({"metadata": {"name": "Any_name", "namespace": namespace, "finalizers": ["own"]},
            "eventTime": "2026-01-02T03:04:05.000000Z", "reportingComponent": "a.b/c", "reportingInstance": "i",
            "action": "a", "reason": "r", "message": message})
    };
    let about = |namespace: &str| {
        let mut event = event("ns", "");
        event["involvedObject"] = json!({"namespace": namespace});
        event
    };
    rows(
        "Event",
        &[
            (event("kube-system", ""), &[]),
            (event("ns", ""), &["involvedObject.namespace: Invalid value: \"\": does not match event.namespace"]),
            (about("other"), &[]),
            (event("default", &"m".repeat(1025)), &["message: Invalid value: \"\": can have at most 1024 characters"]),
        ],
    );
    check(
        "CertificateSigningRequest",
        json!({"metadata": {"name": "Any_name"}, "spec": {"signerName": "a.b/c",
        "usages": ["any"]}}),
        &[],
    );
    let toleration = json!({"key": "k", "operator": "Exists"});
    check(
        "RuntimeClass",
        json!({"handler": "h", "overhead": {"podFixed": {"cpu": "-1"}}, "scheduling": {"tolerations": [toleration, toleration]}}),
        &[
            "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            "scheduling.tolerations[1]: Duplicate value: {\"Key\":\"k\",\"Operator\":\"Exists\",\"Value\":\"\",\"Effect\":\"\",\"TolerationSeconds\":null}",
        ],
    );
}

#[test]
fn limits_and_quotas() {
    let limits = |kind: &str, name: &str| {
        let amounts: Value = [(name.to_owned(), json!("-1"))].into_iter().collect();
        json!({"spec": {"limits": [{"type": kind, "min": amounts}]}})
    };
    let told = |name: &str, why: &str| format!("spec.limits[0].min[{name}]: Invalid value: \"{name}\": {why}");
    for (kind, name, expected) in [
        ("Pod", "cpu", vec![]),
        ("Container", "hugepages-2Mi", vec![]),
        ("Pod", "requests.a.b/c", vec!["doesn't follow extended resource name standard"]),
        ("Pod", "pods", vec!["must be a standard resource for containers"]),
        (
            "Pod",
            "pots",
            vec!["must be a standard resource type or fully qualified", "must be a standard resource for containers"],
        ),
        ("a.b/c", "pods", vec![]),
        ("a.b/c", "pots", vec!["must be a standard resource type or fully qualified"]),
    ] {
        let expected: Vec<String> = expected.iter().map(|why| told(name, why)).collect();
        check("LimitRange", limits(kind, name), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let quota = |hard: Value| json!({"spec": {"hard": hard, "scopes": ["BestEffort"]}});
    let unfit = "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource";
    check("ResourceQuota", quota(json!({"cpu": "1", "memory": "1"})), &[unfit, unfit]);
    check("ResourceQuota", json!({"spec": {"hard": {"requests.a.b/c": "500m"}}}), &[]);
}
