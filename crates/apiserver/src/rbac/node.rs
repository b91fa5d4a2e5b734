//! The node authoriser: a kubelet may read what its own pods need and write what is its own, as upstream's.
//!
//! Upstream's `system:node` role says which kinds; of some only those objects count that lead to the node: over the pods that are
//! bound to it, the claims that these use, and the volumes that are bound to those. What the request's object looks like
//! is not known here: NodeRestriction (`admission/node_restriction.rs`) looks at what is written.

use std::sync::LazyLock;

use super::bootstrap;
use super::rule::{Attributes, Rule};

/// What an object is that a node may be related to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vertex {
    Secret,
    ConfigMap,
    Claim,
    Volume,
    ResourceClaim,
    Account,
    Pod,
    Attachment,
    Slice,
}

/// What the authoriser has to know of the cluster.
pub(crate) trait Graph {
    /// Whether the object is the node's, or something that is the node's needs it. `namespace` "" = cluster-scoped.
    fn leads_to(&self, node: &str, vertex: Vertex, namespace: &str, name: &str) -> bool;
}

/// Yes, or no and why.
type Decision = Result<(), String>;

/// What a node may do with kinds of which all objects are alike to it.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let objects = bootstrap::objects();
    let role = objects.iter().find(|o| o["kind"] == "ClusterRole" && o["metadata"]["name"] == "system:node");
    role.map(Rule::of_role).unwrap_or_default()
});

fn unless(condition: bool, why: &str) -> Decision {
    if condition { Ok(()) } else { Err(why.to_owned()) }
}

fn one_of(verb: &str, verbs: &[&str], why: &str) -> Decision {
    unless(verbs.contains(&verb), why)
}

/// Decides for the kubelet of `node`.
pub(crate) fn decide(node: &str, request: &Attributes, graph: &dyn Graph) -> Decision {
    let asked = Asked { node, request, graph };
    let subdivided = request.path.is_none().then(|| asked.subdivided()).flatten();
    subdivided.unwrap_or_else(|| unless(RULES.iter().any(|rule| rule.allows(request)), ""))
}

struct Asked<'a> {
    node: &'a str,
    request: &'a Attributes,
    graph: &'a dyn Graph,
}

impl Asked<'_> {
    fn verb(&self) -> &str {
        &self.request.verb
    }

    fn subresource(&self) -> &str {
        &self.request.subresource
    }

    /// The decision on kinds of which not all objects are alike.
    fn subdivided(&self) -> Option<Decision> {
        Some(match (self.request.group.as_str(), self.request.resource.as_str()) {
            ("", "secrets") => self.read_namespaced(Vertex::Secret),
            ("", "configmaps") => self.read_namespaced(Vertex::ConfigMap),
            ("", "persistentvolumeclaims") if self.subresource() == "status" => self.claim_status(),
            ("", "persistentvolumeclaims") => self.get(Vertex::Claim),
            ("", "persistentvolumes") => self.get(Vertex::Volume),
            ("resource.k8s.io", "resourceclaims") => self.get(Vertex::ResourceClaim),
            ("storage.k8s.io", "volumeattachments") => self.get(Vertex::Attachment),
            ("", "serviceaccounts") => self.account(),
            ("coordination.k8s.io", "leases") => self.lease(),
            ("storage.k8s.io", "csinodes") => self.csi_node(),
            ("resource.k8s.io", "resourceslices") => self.slice(),
            ("", "nodes") => self.own_node(),
            ("", "pods") => self.pod(),
            _ => return None,
        })
    }

    fn related(&self, vertex: Vertex) -> Decision {
        unless(!self.request.name.is_empty(), "No Object name found")?;
        self.leads_here(vertex)
    }

    fn leads_here(&self, vertex: Vertex) -> Decision {
        let leads = self.graph.leads_to(self.node, vertex, &self.request.namespace, &self.request.name);
        unless(leads, &format!("no relationship found between node '{}' and this object", self.node))
    }

    fn get(&self, vertex: Vertex) -> Decision {
        one_of(self.verb(), &["get"], "can only get individual resources of this type")?;
        unless(self.subresource().is_empty(), "cannot get subresource")?;
        self.related(vertex)
    }

    /// Reads, also by a list or watch of the one name.
    fn read_namespaced(&self, vertex: Vertex) -> Decision {
        one_of(self.verb(), &["get", "list", "watch"], "can only read resources of this type")?;
        unless(self.subresource().is_empty(), "cannot read subresource")?;
        unless(!self.request.namespace.is_empty(), "can only read namespaced object of this type")?;
        self.related(vertex)
    }

    fn claim_status(&self) -> Decision {
        one_of(self.verb(), &["update", "patch"], "can only get/update/patch this type")?;
        self.related(Vertex::Claim)
    }

    fn account(&self) -> Decision {
        if self.verb() == "get" && self.subresource().is_empty() {
            return self.read_namespaced(Vertex::Account);
        }
        let names = self.verb() == "create" && !self.request.name.is_empty();
        unless(names, "can only create tokens for individual service accounts")?;
        unless(self.subresource() == "token", "can only create token subresource of serviceaccount")?;
        self.leads_here(Vertex::Account)
    }

    fn lease(&self) -> Decision {
        const VERBS: &[&str] = &["get", "create", "update", "patch", "delete"];
        one_of(self.verb(), VERBS, "can only get, create, update, patch, or delete a node lease")?;
        let here = self.request.namespace == "kube-node-lease";
        unless(here, "can only access leases in the \"kube-node-lease\" system namespace")?;
        // A create has no name in its URL; admission looks at the object.
        let own = self.verb() == "create" || self.request.name == self.node;
        unless(own, "can only access node lease with the same name as the requesting node")
    }

    fn csi_node(&self) -> Decision {
        const VERBS: &[&str] = &["get", "create", "update", "patch", "delete"];
        one_of(self.verb(), VERBS, "can only get, create, update, patch, or delete a CSINode")?;
        unless(self.subresource().is_empty(), "cannot authorize CSINode subresources")?;
        let own = self.verb() == "create" || self.request.name == self.node;
        unless(own, "can only access CSINode with the same name as the requesting node")
    }

    fn slice(&self) -> Decision {
        unless(self.subresource().is_empty(), "cannot authorize ResourceSlice subresources")?;
        match self.verb() {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(Vertex::Slice),
            "watch" | "list" | "deletecollection" => unless(
                self.request.is_on(self.node),
                "can only list/watch/deletecollection resourceslices with nodeName field selector",
            ),
            _ => Err("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection".to_owned()),
        }
    }

    /// The name is compared, not looked for: a kubelet reads its Node before it makes it.
    fn own_node(&self) -> Decision {
        let (node, name) = (self.node, self.request.name.as_str());
        match (self.verb(), self.subresource()) {
            ("create" | "update" | "patch", "") | ("update" | "patch", "status") => Ok(()),
            ("get" | "list" | "watch", "") if name == node => Ok(()),
            ("get" | "list" | "watch", "") if name.is_empty() => {
                Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
            }
            ("get" | "list" | "watch", "") => {
                Err(format!("node '{node}' cannot read '{name}', only its own Node object"))
            }
            _ => Err(String::new()),
        }
    }

    fn pod(&self) -> Decision {
        match (self.verb(), self.subresource()) {
            ("get", "") => self.get(Vertex::Pod),
            ("list" | "watch", "") if self.request.is_on(self.node) => Ok(()),
            ("list" | "watch", "") if !self.request.name.is_empty() => self.related(Vertex::Pod),
            ("list" | "watch", "") => Err("can only list/watch pods with spec.nodeName field selector".to_owned()),
            ("create" | "delete", "") | ("update" | "patch", "status") | ("create", "eviction") => Ok(()),
            _ => Err(String::new()),
        }
    }
}

#[cfg(test)]
mod tests;
