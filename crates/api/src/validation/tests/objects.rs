//! Limits, quotas, volumes, networking, scaling, certificates, flow control and devices.

use serde_json::json;

use super::{SUBDOMAIN, check, check_update, kind, object, texts};
use crate::validation::{approval_update, status_update};
use crate::{Value, canon, defaults, flow, value};

/// `base` with `change` at `path`.
fn with(base: &Value, path: &str, change: Value) -> Value {
    let mut object = base.clone();
    value::set(&mut object, path, change);
    object
}

#[test]
fn limit_ranges() {
    let item = |item: Value, expected: &[&str]| check("LimitRange", json!({"spec": {"limits": [item]}}), expected);
    item(json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "default": {"cpu": "1500m"}}), &[]);
    item(
        json!({"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "2"}}),
        &["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
    );
    item(
        json!({"type": "Pod", "default": {"cpu": "1"}}),
        &["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
    );
    item(
        json!({"type": "PersistentVolumeClaim"}),
        &[
            "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
        ],
    );
    item(
        json!({"type": "Sidecar"}),
        &["spec.limits[0].type: Invalid value: \"Sidecar\": must be a standard limit type or fully qualified"],
    );
    item(
        json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "500m"}}),
        &["spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1"],
    );
    item(
        json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "3"}}),
        &["spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000"],
    );
    let twice = json!({"type": "Pod"});
    check(
        "LimitRange",
        json!({"spec": {"limits": [twice, twice]}}),
        &["spec.limits[1].type: Duplicate value: \"Pod\""],
    );
}

#[test]
fn resource_quotas() {
    let spec = |spec: Value, expected: &[&str]| check("ResourceQuota", json!({"spec": spec}), expected);
    spec(json!({"hard": {"pods": "5", "requests.cpu": "1500m", "count/jobs.batch": "2", "example.com/gpu": "1"}}), &[]);
    spec(json!({"hard": {"pods": "5.5"}}), &["spec.hard[pods]: Invalid value: \"5500m\": must be an integer"]);
    spec(
        json!({"hard": {"pods": "-1"}}),
        &["spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"],
    );
    spec(
        json!({"hard": {"pots": "1"}}),
        &[
            "spec.hard[pots]: Invalid value: \"pots\": must be a standard resource type or fully qualified",
            "spec.hard[pots]: Invalid value: \"pots\": must be a standard resource for quota",
        ],
    );
    spec(
        json!({"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}),
        &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
    );
    spec(
        json!({"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}),
        &["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"],
    );
    spec(
        json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}),
        &[
            "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
        ],
    );
    check_update(
        "ResourceQuota",
        json!({"spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}}),
        json!({"spec": {"hard": {"pods": "1"}}}),
        &["scopes: Invalid value: [\"BestEffort\"]: field is immutable"],
    );
}

#[test]
fn volumes() {
    let base =
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}});
    let spec =
        |path: &str, change: Value, expected: &[&str]| check("PersistentVolume", with(&base, path, change), expected);
    check("PersistentVolume", base.clone(), &[]);
    spec("spec.accessModes", json!([]), &["spec.accessModes: Required value"]);
    spec(
        "spec.accessModes",
        json!(["Any"]),
        &[
            "spec.accessModes: Unsupported value: \"Any\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
        ],
    );
    spec(
        "spec.capacity",
        json!({}),
        &["spec.capacity: Required value", "spec.capacity: Unsupported value: {}: supported values: \"storage\""],
    );
    spec("spec.accessModes", json!(["ReadWriteOncePod", "ReadWriteOncePod"]), &[]);
    let azure = with(&base, "spec.azureFile", json!({"secretName": "s", "shareName": "s", "secretNamespace": ""}));
    let azure = with(&azure, "spec.hostPath", json!(null));
    check("PersistentVolume", azure, &["spec.azureFile.secretNamespace: Required value"]);
    spec(
        "spec.volumeAttributesClassName",
        json!(""),
        &[
            "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
            "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
        ],
    );
    spec(
        "spec.capacity.storage",
        json!("0"),
        &["spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"],
    );
    spec(
        "spec.nfs",
        json!({"server": "s", "path": "/"}),
        &["spec.nfs: Forbidden: may not specify more than 1 volume type"],
    );
    let recycled =
        with(&with(&base, "spec.hostPath.path", json!("/")), "spec.persistentVolumeReclaimPolicy", json!("Recycle"));
    check(
        "PersistentVolume",
        recycled,
        &["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
    );
    let local =
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "local": {"path": "/x"}}});
    check("PersistentVolume", local, &["spec.nodeAffinity: Required value: Local volume requires node affinity"]);
}

#[test]
fn volume_updates() {
    let base =
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}});
    check_update(
        "PersistentVolume",
        with(&base, "spec.hostPath.path", json!("/y")),
        base.clone(),
        &[
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n@@ -2,7 +2,7 @@\n  \"GCEPersistentDisk\": null,\n  \"AWSElasticBlockStore\": null,\n  \"HostPath\": {\n-  \"Path\": \"/x\",\n+  \"Path\": \"/y\",\n   \"Type\": \"\"\n  },\n  \"Glusterfs\": null,\n",
        ],
    );
    check_update("PersistentVolume", with(&base, "spec.capacity.storage", json!("2Gi")), base.clone(), &[]);
    check_update(
        "PersistentVolume",
        with(&base, "spec.volumeMode", json!("Block")),
        base.clone(),
        &["volumeMode: Invalid value: \"Block\": field is immutable"],
    );
    let placed = |node: &str| {
        let terms = json!([{"matchExpressions": [{"key": "h", "operator": "In", "values": [node]}]}]);
        with(&base, "spec.nodeAffinity", json!({"required": {"nodeSelectorTerms": terms}}))
    };
    check_update("PersistentVolume", placed("a"), base.clone(), &[]);
    check_update(
        "PersistentVolume",
        placed("b"),
        placed("a"),
        &[
            r#"nodeAffinity: Invalid value: {"Required":{"NodeSelectorTerms":[{"MatchExpressions":[{"Key":"h","Operator":"In","Values":["b"]}],"MatchFields":null}]}}: field is immutable, except for updating from beta label to GA"#,
        ],
    );
    let driven = |secret: Value| {
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": "a.b", "volumeHandle": "h", "controllerExpandSecretRef": secret}}})
    };
    let secret = |name: &str| driven(json!({"name": name, "namespace": "n"}));
    check_update("PersistentVolume", secret("a"), driven(json!(null)), &[]);
    check_update(
        "PersistentVolume",
        secret("b"),
        secret("a"),
        &[
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n@@ -30,7 +30,7 @@\n   \"NodeStageSecretRef\": null,\n   \"NodePublishSecretRef\": null,\n   \"ControllerExpandSecretRef\": {\n-   \"Name\": \"a\",\n+   \"Name\": \"b\",\n    \"Namespace\": \"n\"\n   },\n   \"NodeExpandSecretRef\": null\n",
        ],
    );
}

#[test]
fn claims() {
    let base = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let spec = |path: &str, change: Value, expected: &[&str]| {
        check("PersistentVolumeClaim", with(&base, path, change), expected)
    };
    check("PersistentVolumeClaim", base.clone(), &[]);
    spec("spec.accessModes", json!([]), &["spec.accessModes: Required value: at least 1 access mode is required"]);
    spec("spec.resources", json!({}), &["spec.resources[storage]: Required value"]);
    spec(
        "spec.accessModes",
        json!(["ReadWriteOncePod", "ReadWriteOnce"]),
        &["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
    );
    spec(
        "spec.dataSource",
        json!({"name": "d"}),
        &[
            "spec.dataSource.kind: Required value",
            "spec.dataSource: Invalid value: \"\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        ],
    );
    let source = json!({"name": "d", "kind": "PersistentVolumeClaim"});
    let two = |change: Value| with(&with(&base, "spec.dataSource", source.clone()), "spec.dataSourceRef", change);
    check("PersistentVolumeClaim", two(source.clone()), &[]);
    check(
        "PersistentVolumeClaim",
        two(json!({"name": "e", "kind": "PersistentVolumeClaim"})),
        &["spec: Invalid value: \"spec.dataSource\": must match dataSourceRef"],
    );
    let immutable = |hunk: &str| {
        format!(
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName \
             for bound claims\n{hunk}"
        )
    };
    let size = "@@ -6,7 +6,7 @@\n  \"Resources\": {\n   \"Limits\": null,\n   \"Requests\": {\n-   \"storage\": \"1Gi\"\n\
        +   \"storage\": \"2Gi\"\n   }\n  },\n  \"VolumeName\": \"\",\n";
    let modes = "@@ -1,6 +1,6 @@\n {\n  \"AccessModes\": [\n-  \"ReadWriteOnce\"\n+  \"ReadOnlyMany\"\n  ],\n  \"Selector\": null,\n  \"Resources\": {\n";
    let name = "@@ -9,7 +9,7 @@\n    \"storage\": \"1Gi\"\n   }\n  },\n- \"VolumeName\": \"v\",\n+ \"VolumeName\": \"w\",\n  \"StorageClassName\": null,\n  \"VolumeMode\": \"Filesystem\",\n  \"DataSource\": null,\n";
    let change = |path: &str, change: Value, status: Value, expected: &[&str]| {
        let old = with(&base, "status", status);
        check_update("PersistentVolumeClaim", with(&old, path, change), old, expected);
    };
    let bound = || json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    change("spec.volumeName", json!("v"), json!({"phase": "Pending"}), &[]);
    change("spec.resources.requests.storage", json!("2Gi"), bound(), &[]);
    change("spec.resources.requests.storage", json!("2Gi"), json!({"phase": "Pending"}), &[&immutable(size)]);
    change("spec.accessModes", json!(["ReadOnlyMany"]), bound(), &[&immutable(modes)]);
    change(
        "spec.resources.requests.storage",
        json!("500Mi"),
        bound(),
        &["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"],
    );
    let bounded = with(&base, "spec.volumeName", json!("v"));
    check_update("PersistentVolumeClaim", with(&bounded, "spec.volumeName", json!("w")), bounded, &[&immutable(name)]);
}

#[test]
fn storage() {
    let class = json!({"provisioner": "a.b/c"});
    check("StorageClass", class.clone(), &[]);
    check("StorageClass", json!({}), &["provisioner: Required value"]);
    check(
        "StorageClass",
        with(&class, "reclaimPolicy", json!("Keep")),
        &["reclaimPolicy: Unsupported value: \"Keep\": supported values: \"Delete\", \"Retain\""],
    );
    check_update(
        "StorageClass",
        with(&class, "parameters", json!({"a": "b"})),
        class,
        &["parameters: Forbidden: updates to parameters are forbidden."],
    );
    let attachment = json!({"spec": {"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "v"}}});
    check("VolumeAttachment", attachment.clone(), &[]);
    check(
        "VolumeAttachment",
        with(&attachment, "spec.source", json!({})),
        &["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
    );
    let moved = with(&attachment, "spec.nodeName", json!("m"));
    let found = texts(&crate::validation::update(
        kind("VolumeAttachment"),
        &object("VolumeAttachment", moved),
        &object("VolumeAttachment", attachment),
    ));
    assert!(found[0].starts_with("spec: Invalid value: ") && found[0].ends_with("field is immutable"), "{found:?}");
    check("CSIDriver", json!({"spec": {}}), &[]);
    check(
        "CSIDriver",
        json!({"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 5}, {"audience": "a"}]}}),
        &[
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
            "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
        ],
    );
    let node = json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "1"}]}});
    check("CSINode", node.clone(), &[]);
    check("CSINode", json!({"spec": {"drivers": [{"name": "a.b"}]}}), &["spec.drivers[0].nodeID: Required value"]);
    check_update(
        "CSINode",
        json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "2"}]}}),
        node,
        &[
            "spec.drivers: Invalid value: {\"Name\":\"a.b\",\"NodeID\":\"2\",\"TopologyKeys\":null,\"Allocatable\":null}: field is immutable",
        ],
    );
    check(
        "VolumeAttributesClass",
        json!({"driverName": "a.b"}),
        &["parameters: Required value: must contain at least one key/value pair"],
    );
    check("CSIStorageCapacity", json!({}), &[&format!("storageClassName: Invalid value: \"\": {SUBDOMAIN}")]);
}

#[test]
fn ingresses() {
    let path = |path: Value| json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [path]}}]}});
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let at = "spec.rules[0].http.paths[0]";
    check("Ingress", path(json!({"path": "/x", "pathType": "Prefix", "backend": backend})), &[]);
    check(
        "Ingress",
        json!({"spec": {}}),
        &["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
    );
    check(
        "Ingress",
        path(json!({"path": "/x", "backend": backend})),
        &[&format!("{at}.pathType: Required value: pathType must be specified")],
    );
    check(
        "Ingress",
        path(json!({"path": "x//y", "pathType": "Exact", "backend": backend})),
        &[
            &format!("{at}.path: Invalid value: \"x//y\": must be an absolute path"),
            &format!("{at}.path: Invalid value: \"x//y\": must not contain '//'"),
        ],
    );
    check(
        "Ingress",
        path(
            json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 1, "name": "n"}}}}),
        ),
        &[&format!("{at}.backend: Invalid value: \"\": cannot set both port name & port number")],
    );
    check(
        "Ingress",
        json!({"spec": {"rules": [{"host": "10.0.0.1"}]}}),
        &["spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address"],
    );
    check("Ingress", json!({"spec": {"rules": [{"host": "*.a.b"}]}}), &[]);
    check("IngressClass", json!({"spec": {"controller": "a.b/c"}}), &[]);
    check(
        "IngressClass",
        json!({"spec": {"controller": "abc"}}),
        &["spec.controller: Invalid value: \"abc\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
    );
    check_update(
        "IngressClass",
        json!({"spec": {"controller": "a.b/d"}}),
        json!({"spec": {"controller": "a.b/c"}}),
        &["spec.controller: Invalid value: \"a.b/d\": field is immutable"],
    );
}

#[test]
fn network_policies() {
    let rule = |rule: Value, expected: &[&str]| {
        check("NetworkPolicy", json!({"spec": {"podSelector": {}, "ingress": [rule]}}), expected);
    };
    let at = "spec.ingress[0]";
    rule(
        json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80, "endPort": 90}]}),
        &[],
    );
    rule(json!({"from": [{}]}), &[&format!("{at}.from[0]: Required value: must specify a peer")]);
    rule(
        json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}),
        &[&format!(
            "{at}.from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`"
        )],
    );
    rule(
        json!({"ports": [{"port": "web", "endPort": 90}]}),
        &[&format!("{at}.ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric")],
    );
    rule(
        json!({"ports": [{"endPort": 90, "protocol": "X"}]}),
        &[
            &format!("{at}.ports[0].protocol: Unsupported value: \"X\": supported values: \"TCP\", \"UDP\", \"SCTP\""),
            &format!("{at}.ports[0].endPort: Invalid value: 90: may not be specified when `port` is not specified"),
        ],
    );
    check(
        "NetworkPolicy",
        json!({"spec": {"policyTypes": ["Sideways"]}}),
        &["spec.policyTypes[0]: Unsupported value: \"Sideways\": supported values: \"Ingress\", \"Egress\""],
    );
}

#[test]
fn addresses() {
    check("Endpoints", json!({"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]}), &[]);
    check(
        "Endpoints",
        json!({"subsets": [{}]}),
        &["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
    );
    check(
        "Endpoints",
        json!({"subsets": [{"addresses": [{"ip": "127.0.0.1"}]}]}),
        &[
            "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ],
    );
    let named = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let parent = json!({"parentRef": {"resource": "services", "namespace": "n", "name": "s"}});
    check("IPAddress", named("10.0.0.1", parent.clone()), &[]);
    check("IPAddress", named("2001:db8::1", parent.clone()), &[]);
    check(
        "IPAddress",
        named("2001:DB8::1", parent.clone()),
        &["metadata.name: Invalid value: \"2001:DB8::1\": must be in canonical form (\"2001:db8::1\")"],
    );
    check(
        "IPAddress",
        named("::ffff:1.2.3.4", parent.clone()),
        &["metadata.name: Invalid value: \"::ffff:1.2.3.4\": must not be an IPv4-mapped IPv6 address"],
    );
    check(
        "IPAddress",
        named("a", parent),
        &["metadata.name: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"],
    );
    check("IPAddress", named("10.0.0.1", json!({"parentRef": {"resource": "r", "name": "n"}})), &[]);
    check("IPAddress", named("10.0.0.1", json!({})), &["spec.parentRef: Required value"]);
    let ranges = |cidrs: Value| json!({"spec": {"cidrs": cidrs}});
    check("ServiceCIDR", ranges(json!(["10.0.0.0/16", "2001:db8::/64"])), &[]);
    check("ServiceCIDR", ranges(json!([])), &["spec.cidrs: Required value: at least one CIDR required"]);
    check(
        "ServiceCIDR",
        ranges(json!(["10.0.0.1/16"])),
        &["spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits set beyond the prefix length"],
    );
    check_update("ServiceCIDR", ranges(json!(["10.0.0.0/16", "2001:db8::/64"])), ranges(json!(["10.0.0.0/16"])), &[]);
    check_update(
        "ServiceCIDR",
        ranges(json!(["10.1.0.0/16"])),
        ranges(json!(["10.0.0.0/16"])),
        &["spec.cidrs[0]: Invalid value: \"10.1.0.0/16\": field is immutable"],
    );
}

#[test]
fn autoscalers_and_budgets() {
    let base = json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}});
    let spec = |path: &str, change: Value, expected: &[&str]| {
        check("HorizontalPodAutoscaler", with(&base, path, change), expected)
    };
    check("HorizontalPodAutoscaler", base.clone(), &[]);
    spec("spec.minReplicas", json!(0), &["spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"]);
    spec(
        "spec.minReplicas",
        json!(4),
        &["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
    );
    spec("spec.scaleTargetRef", json!({"kind": "Deployment"}), &["spec.scaleTargetRef.name: Required value"]);
    spec(
        "spec.metrics",
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]),
        &[
            "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
        ],
    );
    spec(
        "spec.metrics",
        json!([{"type": "Pods"}]),
        &["spec.metrics[0].pods: Required value: must populate information for the given metric source"],
    );
    spec(
        "spec.behavior",
        json!({"scaleDown": {"stabilizationWindowSeconds": 5000, "policies": []}}),
        &[
            "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 5000: must be less than or equal to 3600",
            "spec.behavior.scaleDown.policies: Required value: must specify at least one Policy",
        ],
    );
    check("PodDisruptionBudget", json!({"spec": {"minAvailable": "50%"}}), &[]);
    check(
        "PodDisruptionBudget",
        json!({"spec": {"minAvailable": 1, "maxUnavailable": 1}}),
        &[
            "spec: Invalid value: {\"MinAvailable\":1,\"Selector\":null,\"MaxUnavailable\":1,\"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set",
        ],
    );
    check(
        "PodDisruptionBudget",
        json!({"spec": {"maxUnavailable": "120%"}}),
        &["spec.maxUnavailable: Invalid value: \"120%\": must not be greater than 100%"],
    );
}

#[test]
fn signing_requests() {
    let request = json!({"spec": {"request": "AAAA", "signerName": "a.b/c", "usages": ["client auth"]}});
    let spec = |path: &str, change: Value, expected: &[&str]| {
        check("CertificateSigningRequest", with(&request, path, change), expected)
    };
    check("CertificateSigningRequest", request.clone(), &[]);
    spec("spec.usages", json!([]), &["spec.usages: Required value"]);
    spec(
        "spec.signerName",
        json!("abc"),
        &[
            "spec.signerName: Invalid value: \"abc\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ],
    );
    spec(
        "spec.signerName",
        json!("abc/d"),
        &["spec.signerName: Invalid value: \"abc\": should be a domain with at least two segments separated by dots"],
    );
    spec(
        "spec.signerName",
        json!("kubernetes.io/legacy-unknown"),
        &[
            "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
        ],
    );
    spec(
        "spec.expirationSeconds",
        json!(5),
        &["spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)"],
    );
    let condition = |kind: &str| json!({"type": kind, "status": "True"});
    let of = |conditions: Value, certificate: &str| {
        let status = json!({"conditions": conditions, "certificate": certificate});
        object("CertificateSigningRequest", with(&request, "status", status))
    };
    let kind = kind("CertificateSigningRequest");
    let approved = || of(json!([condition("Approved")]), "");
    assert_eq!(texts(&approval_update(&approved(), &of(json!([]), ""))), Vec::<String>::new());
    assert_eq!(
        texts(&status_update(kind, &approved(), &of(json!([]), ""))),
        ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
    );
    assert_eq!(
        texts(&approval_update(&of(json!([]), ""), &approved())),
        ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
    );
    assert_eq!(
        texts(&approval_update(&of(json!([condition("Approved"), condition("Denied")]), ""), &approved())),
        ["status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"]
    );
    assert_eq!(
        texts(&approval_update(&of(json!([condition("Approved")]), "AAAA"), &approved())),
        ["status.certificate: Forbidden: updates may not set certificate content"]
    );
    assert_eq!(
        texts(&status_update(kind, &of(json!([]), "BBBB"), &of(json!([]), "AAAA"))),
        ["status.certificate: Forbidden: updates may not modify existing certificate content"]
    );
}

#[test]
fn flow_control() {
    for object in flow::mandatory().into_iter().chain(flow::suggested()) {
        let kind = kind(object["kind"].as_str().expect("a kind"));
        let mut defaulted = object.clone();
        defaults::apply(kind, &mut defaulted).expect("of a usual size");
        canon::canonical(&mut defaulted, &kind.type_name).expect("of the type");
        assert_eq!(defaulted, object, "what is shipped is complete and canonical");
        assert_eq!(texts(&crate::validation::create(kind, &object)), Vec::<String>::new(), "{object}");
    }
    assert_eq!((flow::mandatory().len(), flow::suggested().len()), (4, 17));
    let mut exempt = flow::mandatory().remove(0);
    exempt["spec"]["exempt"]["lendablePercent"] = 5.into();
    assert_eq!(texts(&crate::validation::create(kind("PriorityLevelConfiguration"), &exempt)), Vec::<String>::new());
    exempt["spec"]["limited"] = json!({});
    let found = texts(&crate::validation::create(kind("PriorityLevelConfiguration"), &exempt));
    let detail = "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value";
    assert!(found[1].ends_with(detail), "{found:?}");
    let rules = json!([{"subjects": [{"kind": "User", "user": {"name": "u"}}]}]);
    check(
        "FlowSchema",
        json!({"spec": {"priorityLevelConfiguration": {"name": "l"}, "rules": rules}}),
        &["spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"],
    );
    check(
        "FlowSchema",
        json!({"spec": {"matchingPrecedence": 1}}),
        &[
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
        ],
    );
    let queue = |queuing: Value| json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": queuing}}}});
    check("PriorityLevelConfiguration", queue(json!({})), &[]);
    check(
        "PriorityLevelConfiguration",
        queue(json!({"queues": 4, "handSize": 5})),
        &["spec.limited.limitResponse.queuing.handSize: Invalid value: 5: should not be greater than queues (4)"],
    );
    check(
        "PriorityLevelConfiguration",
        queue(json!({"queues": 512, "handSize": 8})),
        &[
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 should not be greater than 60",
        ],
    );
}

#[test]
fn devices() {
    let claim = |request: Value| json!({"spec": {"devices": {"requests": [request]}}});
    let at = "spec.devices.requests[0]";
    check("ResourceClaim", claim(json!({"name": "r", "exactly": {"deviceClassName": "c"}})), &[]);
    check(
        "ResourceClaim",
        claim(json!({"name": "r"})),
        &[&format!("{at}: Required value: exactly one of `exactly` or `firstAvailable` is required")],
    );
    check(
        "ResourceClaim",
        claim(json!({"name": "r", "exactly": {"deviceClassName": "c", "allocationMode": "All", "count": 2}})),
        &[&format!("{at}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'")],
    );
    let slice = json!({"spec": {"driver": "a.b", "allNodes": true, "pool": {"name": "p", "resourceSliceCount": 1}}});
    check("ResourceSlice", slice.clone(), &[]);
    check(
        "ResourceSlice",
        with(&slice, "spec.allNodes", json!(false)),
        &[
            "spec.allNodes: Invalid value: false: must be either unset or set to true",
            "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
        ],
    );
    check_update(
        "ResourceSlice",
        with(&slice, "spec.driver", json!("c.d")),
        slice,
        &["spec.driver: Invalid value: \"c.d\": field is immutable"],
    );
    check("RuntimeClass", json!({"handler": "runc"}), &[]);
    check_update(
        "RuntimeClass",
        json!({"handler": "b"}),
        json!({"handler": "a"}),
        &["handler: Invalid value: \"b\": field is immutable"],
    );
}

#[test]
fn newer_events() {
    let newer = crate::kinds::by_kind("events.k8s.io", "v1", "Event").expect("served");
    let event = |rest: Value| {
        let mut event = json!({"metadata": {"name": "e", "namespace": "default"}, "involvedObject": {"namespace": "default"},
            "eventTime": "2026-01-02T03:04:05.000000Z", "reportingComponent": "a.b/c", "reportingInstance": "i",
            "action": "A", "reason": "R", "type": "Normal"});
        for (key, value) in rest.as_object().into_iter().flatten() {
            event[key] = value.clone();
        }
        event
    };
    let check = |rest: Value, expected: &[&str]| {
        assert_eq!(texts(&crate::validation::create(newer, &event(rest))), expected);
    };
    check(json!({}), &[]);
    check(json!({"eventTime": null}), &["eventTime: Required value"]);
    check(json!({"count": 2}), &["count: Invalid value: \"\": needs to be unset"]);
    check(json!({"type": "Odd"}), &["type: Invalid value: \"\": has invalid value: Odd"]);
    check(
        json!({"series": {"count": 1}}),
        &["series.count: Invalid value: \"\": should be at least 2", "series.lastObservedTime: Required value"],
    );
    let empty = crate::names::qualified_name("");
    let empty = empty.iter().map(|why| format!("reportingController: Invalid value: \"\": {why}"));
    let nobody: Vec<String> = ["reportingController: Required value".to_owned()].into_iter().chain(empty).collect();
    check(json!({"reportingComponent": ""}), &nobody.iter().map(String::as_str).collect::<Vec<_>>());
    let changed = texts(&crate::validation::update(newer, &event(json!({"reason": "S"})), &event(json!({}))));
    assert_eq!(changed, ["reason: Invalid value: \"S\": field is immutable"]);
}
