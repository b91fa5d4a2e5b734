//! The node authoriser: a kubelet may reach what its own pods need and write what is its own.
//!
//! Upstream's `system:node` role says which kinds; this narrows it to the node's own objects.

use super::rule::Attributes;

/// What the authoriser has to know of the cluster.
pub(crate) trait Graph {
    /// Whether a pod that is bound to `node` mounts or otherwise names this secret, configmap or claim.
    fn pod_refers_to(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool;
    /// Whether a pod that is bound to `node` runs as this service account.
    fn pod_runs_as(&self, node: &str, namespace: &str, account: &str) -> bool;
    /// The node that a pod is bound to; `None` when there is no such pod.
    fn node_of_pod(&self, namespace: &str, name: &str) -> Option<String>;
}

fn unless(condition: bool, why: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(why.to_owned()) }
}

fn is_read(verb: &str) -> bool {
    matches!(verb, "get" | "list" | "watch")
}

/// Decides for the kubelet of `node`.
pub(crate) fn decide(node: &str, request: &Attributes, graph: &dyn Graph) -> Result<(), String> {
    if request.path.is_some() {
        return Err(String::new());
    }
    let (verb, sub) = (request.verb.as_str(), request.subresource.as_str());
    match (request.group.as_str(), request.resource.as_str()) {
        ("", resource @ ("secrets" | "configmaps" | "persistentvolumeclaims")) => {
            unless(is_read(verb) && sub.is_empty(), "a node may only read secrets, configmaps and claims")?;
            unless(!request.name.is_empty(), "a node may read only individual, named objects of this type")?;
            let refers = graph.pod_refers_to(node, resource, &request.namespace, &request.name);
            unless(refers, &format!("no relationship found between node '{node}' and this object"))
        }
        ("", "serviceaccounts") => account(node, request, graph),
        ("", "nodes") => own_node(node, request),
        ("", "pods") => pod(node, request, graph),
        ("coordination.k8s.io", "leases") => {
            unless(
                request.namespace == "kube-node-lease",
                "can only access leases in the \"kube-node-lease\" namespace",
            )?;
            // A create has no name in its URL; admission looks at the object.
            let own = request.name == node || (verb == "create" && request.name.is_empty());
            unless(
                own && !matches!(verb, "list" | "watch" | "deletecollection"),
                "can only access node lease with the same name as the requesting node",
            )
        }
        ("" | "events.k8s.io", "events") => unless(matches!(verb, "create" | "update" | "patch"), ""),
        ("", "services" | "namespaces") => unless(is_read(verb) && sub.is_empty(), ""),
        ("node.k8s.io", "runtimeclasses") => unless(is_read(verb), ""),
        ("authentication.k8s.io", "tokenreviews") => unless(verb == "create", ""),
        ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews") => unless(verb == "create", ""),
        ("certificates.k8s.io", "certificatesigningrequests") => {
            unless(sub.is_empty() && (verb == "create" || is_read(verb)), "")
        }
        _ => Err(String::new()),
    }
}

fn account(node: &str, request: &Attributes, graph: &dyn Graph) -> Result<(), String> {
    let allowed = match request.subresource.as_str() {
        "" => request.verb == "get",
        "token" => request.verb == "create",
        _ => false,
    };
    unless(allowed, "a node may only get service accounts and create their tokens")?;
    let runs = graph.pod_runs_as(node, &request.namespace, &request.name);
    unless(runs, &format!("no relationship found between node '{node}' and this object"))
}

fn own_node(node: &str, request: &Attributes) -> Result<(), String> {
    match (request.verb.as_str(), request.subresource.as_str()) {
        ("list" | "watch" | "create", "") => Ok(()),
        ("get", "" | "status") => Ok(()),
        ("update" | "patch" | "delete", "") | ("update" | "patch", "status") => {
            unless(request.name == node, &format!("node \"{node}\" is not allowed to modify node \"{}\"", request.name))
        }
        _ => Err(String::new()),
    }
}

fn pod(node: &str, request: &Attributes, graph: &dyn Graph) -> Result<(), String> {
    match (request.verb.as_str(), request.subresource.as_str()) {
        ("list" | "watch", "") => {
            unless(request.node_selector == node, "can only list/watch pods with spec.nodeName field selector")
        }
        ("get", "" | "status") => {
            let of = graph.node_of_pod(&request.namespace, &request.name);
            let own = of.as_deref().is_none_or(|of| of == node);
            unless(own, &format!("no relationship found between node '{node}' and this object"))
        }
        ("delete", "") | ("update" | "patch", "status") => {
            // A pod that is gone is answered 404 by the pipeline.
            let of = graph.node_of_pod(&request.namespace, &request.name);
            unless(
                of.as_deref().is_none_or(|of| of == node),
                &format!("node \"{node}\" can only change pods with spec.nodeName set to itself"),
            )
        }
        _ => Err(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Graph for Fixed {
        fn pod_refers_to(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
            (node, resource, namespace, name) == ("n1", "secrets", "a", "mounted")
        }
        fn pod_runs_as(&self, node: &str, namespace: &str, account: &str) -> bool {
            (node, namespace, account) == ("n1", "a", "web")
        }
        fn node_of_pod(&self, _namespace: &str, name: &str) -> Option<String> {
            match name {
                "mine" => Some("n1".to_owned()),
                "theirs" => Some("n2".to_owned()),
                _ => None,
            }
        }
    }

    fn check(verb: &str, resource: &str, name: &str, expected: bool) {
        let (group, resource) = resource.split_once(':').unwrap_or(("", resource));
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let namespace = if group == "coordination.k8s.io" { "kube-node-lease" } else { "a" };
        let request = Attributes {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: sub.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        assert_eq!(decide("n1", &request, &Fixed).is_ok(), expected, "{verb} {group}:{resource}/{sub} {name}");
    }

    #[test]
    fn a_node_reaches_its_own_things_only() {
        check("get", "secrets", "mounted", true);
        check("watch", "secrets", "mounted", true);
        check("get", "secrets", "other", false);
        check("list", "secrets", "", false);
        check("update", "secrets", "mounted", false);
        check("create", "serviceaccounts/token", "web", true);
        check("create", "serviceaccounts/token", "admin", false);
        check("patch", "nodes/status", "n1", true);
        check("patch", "nodes/status", "n2", false);
        check("patch", "pods/status", "mine", true);
        check("patch", "pods/status", "theirs", false);
        check("delete", "pods", "mine", true);
        check("delete", "pods", "theirs", false);
        check("create", "pods/binding", "mine", false);
        check("get", "pods", "mine", true);
        check("get", "pods", "theirs", false);
        check("list", "pods", "", false);
        check("update", "coordination.k8s.io:leases", "n1", true);
        check("update", "coordination.k8s.io:leases", "n2", false);
        check("create", "coordination.k8s.io:leases", "", true);
        check("get", "rbac.authorization.k8s.io:clusterroles", "admin", false);
    }
}
