use gantry_api::selector::FieldSelector;

use super::*;
use crate::rbac::rule::Required;

/// Everything that is called `mine` leads to n1.
struct Fixed;

impl Graph for Fixed {
    fn leads_to(&self, node: &str, vertex: Vertex, namespace: &str, name: &str) -> bool {
        let cluster = matches!(vertex, Vertex::Volume | Vertex::Attachment | Vertex::Slice);
        (node, name) == ("n1", "mine") && namespace == if cluster { "" } else { "a" }
    }
}

/// `verb [group:]resource[/subresource] [name]`, with `?node` for a selector; cluster-scoped kinds have no namespace.
fn request(text: &str) -> Attributes {
    const CLUSTER: &[&str] = &[
        "nodes",
        "persistentvolumes",
        "volumeattachments",
        "csinodes",
        "resourceslices",
        "csidrivers",
        "tokenreviews",
        "namespaces",
    ];
    let (text, node) = text.split_once('?').unwrap_or((text, ""));
    let mut words = text.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (verb, resource, name) = (word(), word(), word());
    let (group, resource) = resource.split_once(':').unwrap_or(("", resource));
    let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let namespace = if CLUSTER.contains(&resource) {
        ""
    } else if resource == "leases" {
        "kube-node-lease"
    } else {
        "a"
    };
    Attributes {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: sub.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        fields: Required::of_fields(&FieldSelector::parse(&format!("spec.nodeName={node}")).expect("a selector")),
        ..Attributes::default()
    }
}

fn may(text: &str) {
    assert_eq!(decide("n1", &request(text), &Fixed), Ok(()), "{text}");
}

fn may_not(text: &str, why: &str) {
    assert_eq!(decide("n1", &request(text), &Fixed), Err(why.to_owned()), "{text}");
}

const UNRELATED: &str = "no relationship found between node 'n1' and this object";

#[test]
fn a_node_reads_what_its_pods_need() {
    for resource in ["secrets", "configmaps"] {
        for verb in ["get", "list", "watch"] {
            may(&format!("{verb} {resource} mine"));
            may_not(&format!("{verb} {resource} other"), UNRELATED);
            may_not(&format!("{verb} {resource}"), "No Object name found");
        }
        may_not(&format!("update {resource} mine"), "can only read resources of this type");
        may_not(&format!("get {resource}/status mine"), "cannot read subresource");
    }
    let anywhere = Attributes { namespace: String::new(), ..request("list secrets mine") };
    assert_eq!(decide("n1", &anywhere, &Fixed), Err("can only read namespaced object of this type".to_owned()));
    for resource in [
        "persistentvolumeclaims",
        "persistentvolumes",
        "resource.k8s.io:resourceclaims",
        "storage.k8s.io:volumeattachments",
    ] {
        may(&format!("get {resource} mine"));
        may_not(&format!("get {resource} other"), UNRELATED);
        may_not(&format!("list {resource} mine"), "can only get individual resources of this type");
    }
    may_not("get storage.k8s.io:volumeattachments/status mine", "cannot get subresource");
    may("patch persistentvolumeclaims/status mine");
    may_not("patch persistentvolumeclaims/status other", UNRELATED);
    may_not("get persistentvolumeclaims/status mine", "can only get/update/patch this type");
}

#[test]
fn a_node_has_tokens_of_its_pods_accounts() {
    may("get serviceaccounts mine");
    may_not("get serviceaccounts other", UNRELATED);
    may("create serviceaccounts/token mine");
    may_not("create serviceaccounts/token admin", UNRELATED);
    may_not("create serviceaccounts/token", "can only create tokens for individual service accounts");
    may_not("list serviceaccounts", "can only create tokens for individual service accounts");
    may_not("create serviceaccounts mine", "can only create token subresource of serviceaccount");
}

#[test]
fn a_node_reads_its_own_node_only() {
    for verb in ["get", "list", "watch"] {
        may(&format!("{verb} nodes n1"));
        may_not(&format!("{verb} nodes n2"), "node 'n1' cannot read 'n2', only its own Node object");
    }
    may_not("list nodes", "node 'n1' cannot read all nodes, only its own Node object");
    may_not("watch nodes", "node 'n1' cannot read all nodes, only its own Node object");
    // Admission looks at the name of what is written.
    may("create nodes");
    may("patch nodes n1");
    may("patch nodes/status n1");
    may_not("get nodes/status n1", "");
    may_not("delete nodes n1", "");
    may_not("get nodes/proxy n1", "");
}

#[test]
fn a_node_reads_its_own_pods_only() {
    may("get pods mine");
    may_not("get pods theirs", UNRELATED);
    may("list pods?n1");
    may("watch pods?n1");
    may("watch pods mine");
    may_not("watch pods theirs", UNRELATED);
    may_not("list pods?n2", "can only list/watch pods with spec.nodeName field selector");
    may_not("list pods", "can only list/watch pods with spec.nodeName field selector");
    for text in ["create pods", "delete pods mine", "patch pods/status mine", "create pods/eviction mine"] {
        may(text);
    }
    for text in [
        "update pods mine",
        "create pods/binding mine",
        "get pods/log mine",
        "get pods/status mine",
        "deletecollection pods?n1",
    ] {
        may_not(text, "");
    }
}

#[test]
fn a_node_has_its_own_lease_csi_node_and_slices() {
    for (resource, words) in [("coordination.k8s.io:leases", "node lease"), ("storage.k8s.io:csinodes", "CSINode")] {
        may(&format!("update {resource} n1"));
        may(&format!("create {resource}"));
        let why = format!("can only access {words} with the same name as the requesting node");
        may_not(&format!("update {resource} n2"), &why);
        let why = format!("can only get, create, update, patch, or delete a {words}");
        may_not(&format!("list {resource} n1"), &why);
    }
    let elsewhere = Attributes { namespace: "a".to_owned(), ..request("get coordination.k8s.io:leases n1") };
    let why = "can only access leases in the \"kube-node-lease\" system namespace";
    assert_eq!(decide("n1", &elsewhere, &Fixed), Err(why.to_owned()));
    may("create resource.k8s.io:resourceslices");
    may("delete resource.k8s.io:resourceslices mine");
    may_not("delete resource.k8s.io:resourceslices theirs", UNRELATED);
    for verb in ["list", "watch", "deletecollection"] {
        may(&format!("{verb} resource.k8s.io:resourceslices?n1"));
        let why = "can only list/watch/deletecollection resourceslices with nodeName field selector";
        may_not(&format!("{verb} resource.k8s.io:resourceslices"), why);
    }
}

#[test]
fn the_rest_is_as_its_role_says() {
    for text in [
        "watch services",
        "create events",
        "patch events.k8s.io:events x",
        "create authentication.k8s.io:tokenreviews",
        "list node.k8s.io:runtimeclasses",
        "list storage.k8s.io:csidrivers",
        "get certificates.k8s.io:certificatesigningrequests x",
        "get endpoints x",
    ] {
        may(text);
    }
    for text in [
        "list namespaces",
        "get namespaces a",
        "list endpoints",
        "get rbac.authorization.k8s.io:clusterroles admin",
        "list certificates.k8s.io:podcertificaterequests?n1",
        "patch certificates.k8s.io:certificatesigningrequests/approval x",
    ] {
        may_not(text, "");
    }
    let path = Attributes { verb: "get".to_owned(), path: Some("/metrics".to_owned()), ..Attributes::default() };
    assert_eq!(decide("n1", &path, &Fixed), Err(String::new()));
}
