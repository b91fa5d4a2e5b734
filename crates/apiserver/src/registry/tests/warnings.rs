//! What writers of services, policies, slices and sets are told, and what slices drop.

use gantry_api::Value;
use serde_json::json;

use super::{ctx, kind};
use crate::registry::strategy;

/// The warnings of creating an object of the kind.
fn told(group: &str, name: &str, object: Value, expected: &[&str]) {
    assert_eq!(strategy(kind(group, name)).warnings(&object, None), expected, "{object}");
}

#[test]
fn services() {
    let ignored = "spec.externalIPs is ignored for headless services";
    let deprecated = "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
    for (spec, expected) in [
        (json!({"type": "ClusterIP", "sessionAffinity": "None"}), &[][..]),
        (json!({"type": "ClusterIP", "externalIPs": ["192.0.2.1"]}), &[deprecated]),
        (
            json!({"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "None", "externalIPs": ["192.0.2.1"]}),
            &[ignored],
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.b", "externalIPs": ["192.0.2.1"]}),
            &["spec.externalIPs is ignored when spec.type is \"ExternalName\""],
        ),
        (
            json!({"type": "NodePort", "externalName": "a.b"}),
            &["spec.externalName is ignored when spec.type is not \"ExternalName\""],
        ),
        (
            json!({"type": "ClusterIP", "trafficDistribution": "PreferClose"}),
            &["spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""],
        ),
        (
            json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.1.2.3/8"]}),
            &["spec.loadBalancerSourceRanges[0]: CIDR value \"10.1.2.3/8\" is ambiguous in this context (should be \
               \"10.0.0.0/8\" or \"10.1.2.3/32\"?)"],
        ),
        (
            json!({"type": "LoadBalancer", "loadBalancerIP": "2001:DB8::1"}),
            &[
                "spec.loadBalancerIP: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
            ],
        ),
    ] {
        told("", "Service", json!({"spec": spec}), expected);
    }
    told(
        "",
        "Service",
        json!({"metadata": {"annotations": {"service.kubernetes.io/topology-aware-hints": "auto"}}}),
        &["annotation service.kubernetes.io/topology-aware-hints is deprecated, please use \
           service.kubernetes.io/topology-mode instead"],
    );
}

#[test]
fn policies_slices_and_sets() {
    let block = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.2.3/16"]}});
    told(
        "networking.k8s.io",
        "NetworkPolicy",
        json!({"spec": {"egress": [{"to": [{"podSelector": {}}, block]}]}}),
        &[
            "spec.egress[0].to[1].ipBlock.except[0]: CIDR value \"10.1.2.3/16\" is ambiguous in this context (should be \
           \"10.1.0.0/16\" or \"10.1.2.3/32\"?)",
        ],
    );
    let slice = |kind: &str, address: &str, manager: &str| {
        json!({"metadata": {"labels": {"endpointslice.kubernetes.io/managed-by": manager}}, "addressType": kind,
            "endpoints": [{"addresses": [address]}]})
    };
    let odd = "endpoints[0].addresses[0]: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format \
        (\"2001:db8::1\")";
    let group = "discovery.k8s.io";
    told(group, "EndpointSlice", slice("IPv6", "2001:DB8::1", "me"), &[odd]);
    told(group, "EndpointSlice", slice("IPv6", "2001:DB8::1", "endpointslice-controller.k8s.io"), &[]);
    told(group, "EndpointSlice", slice("FQDN", "a.b", "me"), &["spec.addressType: FQDN endpoints are deprecated"]);
    let set = |limit: i64, expected: &[&str]| {
        told("apps", "StatefulSet", json!({"spec": {"revisionHistoryLimit": limit}}), expected);
    };
    set(0, &[]);
    set(
        -1,
        &["spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"],
    );
}

#[test]
fn volumes_claims_nodes_and_endpoints() {
    let terms =
        json!([{"matchExpressions": [{"key": "node-role.kubernetes.io/master", "operator": "In", "values": ["a b"]}]}]);
    told(
        "",
        "PersistentVolume",
        json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/mount-options": "ro"}},
            "spec": {"storageos": {}, "rbd": {}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}}),
        &[
            "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use \"mountOptions\" \
             attribute instead",
            "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: node-role.kubernetes.io/master is use \
             \"node-role.kubernetes.io/control-plane\" instead",
            "spec.storageOS: deprecated in v1.22, non-functional in v1.25+",
            "spec.rbd: deprecated in v1.28, non-functional in v1.31+",
        ],
    );
    let set = json!({"spec": {"volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "1500m"}}}}]}});
    let fraction = |at: &str| {
        format!(
            "spec.volumeClaimTemplates[0]{at}.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer"
        )
    };
    told("apps", "StatefulSet", set.clone(), &[&fraction("")]);
    assert_eq!(strategy(kind("apps", "StatefulSet")).warnings(&set, Some(&set)), [fraction(".Spec")]);
    told(
        "",
        "Node",
        json!({"spec": {"podCIDRs": ["10.1.2.3/8", "10.0.0.0/24"]}}),
        &["spec.podCIDRs[0]: CIDR value \"10.1.2.3/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \
           \"10.1.2.3/32\"?)"],
    );
    let endpoints = |manager: &str| {
        json!({"metadata": {"labels": {"endpoints.kubernetes.io/managed-by": manager}},
            "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "notReadyAddresses": [{"ip": "2001:DB8::1"}]}]})
    };
    let odd = "subsets[0].notReadyAddresses[0].ip: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format \
        (\"2001:db8::1\")";
    told("", "Endpoints", endpoints("me"), &[odd]);
    told("", "Endpoints", endpoints("endpoint-controller"), &[]);
}

#[test]
fn jobs_of_many_indexes() {
    let why = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes \
        might not be able to track completedIndexes when a big number of indexes fail";
    let spec =
        |parallelism: i64| json!({"completionMode": "Indexed", "completions": 100_001, "parallelism": parallelism});
    let job = |parallelism: i64| json!({"metadata": {"name": "j"}, "spec": spec(parallelism)});
    let of_job = format!("spec: {why}");
    told("batch", "Job", job(10_001), &[&of_job]);
    told("batch", "Job", job(10_000), &[]);
    let kind = kind("batch", "Job");
    assert_eq!(strategy(kind).warnings(&job(10_001), Some(&job(10_001))), [""; 0]);
    assert_eq!(strategy(kind).warnings(&job(10_001), Some(&job(2))), [of_job]);
    told(
        "batch",
        "CronJob",
        json!({"metadata": {"name": "j"}, "spec": {"jobTemplate": {"spec": spec(10_001)}}}),
        &[&format!("spec.jobTemplate.spec: {why}")],
    );
}

#[test]
fn slices_drop_what_only_old_versions_wrote() {
    let kind = kind("discovery.k8s.io", "EndpointSlice");
    let slice = |node: &str, more: Value| {
        let topology = json!({"kubernetes.io/hostname": node});
        json!({"endpoints": [{"addresses": ["10.0.0.1"], "deprecatedTopology": topology, "conditions": more}]})
    };
    let mut made = slice("n", json!({}));
    strategy(kind).prepare_create(&ctx(kind), &mut made);
    assert_eq!(made, json!({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {}}]}));
    let old = slice("n", json!({}));
    for (mut new, expected) in [
        (slice("n", json!({})), old.clone()),
        (
            slice("n", json!({"ready": true})),
            json!({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "nodeName": "n"}]}),
        ),
        (slice("m", json!({})), json!({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {}}]})),
    ] {
        strategy(kind).prepare_update(&ctx(kind), &mut new, &old);
        assert_eq!(new, expected);
    }
}

#[test]
fn writes_of_statuses_are_told_of_odd_addresses() {
    let odd = |at: &str| format!("{at}: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")");
    let addresses = json!([{"ip": "10.0.0.1"}, {"ip": "FD00::1"}]);
    let pod = json!({"status": {"podIPs": addresses, "hostIPs": addresses}});
    let told = strategy(kind("", "Pod")).status_warnings(&pod);
    assert_eq!(told, [odd("status.podIPs[1].ip"), odd("status.hostIPs[1].ip")]);
    let service = json!({"status": {"loadBalancer": {"ingress": [{"hostname": "a.b"}, {"ip": "FD00::1"}]}}});
    assert_eq!(strategy(kind("", "Service")).status_warnings(&service), [odd("status.loadBalancer.ingress[1]")]);
}

#[test]
fn small_oddities_are_told() {
    let zoned = json!({"metadata": {"name": "c"}, "spec": {"schedule": "TZ=UTC 0 * * * *"}});
    let told = "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
                https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";
    assert_eq!(strategy(kind("batch", "CronJob")).warnings(&zoned, Some(&zoned)), [told]);
    let slice = |driver: &str| json!({"spec": {"driver": driver}});
    let why = "spec.driver: driver names should be lowercase; \"GPU.example\" contains uppercase characters";
    self::told("resource.k8s.io", "ResourceSlice", slice("GPU.example"), &[why]);
    self::told("resource.k8s.io", "ResourceSlice", slice("gpu.example"), &[]);
    let half = |part: &str| {
        format!("spec.resources.{part}[storage]: fractional byte value \"500m\" is invalid, must be an integer")
    };
    let resources = json!({"requests": {"storage": "500m"}, "limits": {"storage": "500m"}});
    let claim = json!({"spec": {"resources": resources}});
    self::told("", "PersistentVolumeClaim", claim, &[&half("requests"), &half("limits")]);
}
