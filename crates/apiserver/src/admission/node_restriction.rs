//! What a kubelet may write beyond what its URL says: the object itself must be its own.

use std::collections::BTreeSet;

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};

use super::{Operation, Plugin, Request};
use crate::pipeline::current;
use crate::rbac::references;
use crate::registry::certificate;
use crate::request::Target;

/// Labels that say what may run on a node are not the node's to set.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Labels that describe a node.
const DESCRIBING: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Who signs what a kubelet identifies itself by.
const KUBELET_SIGNERS: &[&str] = &["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"];

/// Parts of a claim's status that tell how far its node has come with resizing it.
const RESIZING: &[&str] = &["allocatedResourceStatuses", "allocatedResources", "capacity", "conditions"];
/// The plugin's name.
const NAME: &str = "NodeRestriction";

pub(super) struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sees_unstored(&self) -> bool {
        true
    }

    /// Nothing is changed; but what a node asks for is looked at before the kind leaves out what may not be asked for.
    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        let Some(node) = request.caller.user.node().filter(|_| request.operation != Operation::Connect) else {
            return Ok(());
        };
        let kind = &request.target.kind;
        let asked = Asked {
            node,
            operation: request.operation,
            subresource: request.target.subresource,
            namespace: &request.target.namespace,
            // A name that the server made up is no name yet, and of a list no object is meant by name.
            name: if request.nameless { "" } else { &request.target.name },
            object,
            old: request.old.unwrap_or(&Value::Null),
        };
        asked.check((kind.group, kind.kind)).map_err(|why| request.forbidden(&why))?;
        if request.creates("Pod") {
            return owned_by_this_node(request, node, object).await;
        }
        Ok(())
    }
}

/// Whether a node may evict the pod that the request names: one that is its own.
///
/// # Errors
/// 403 in upstream's words, 404.
pub(crate) async fn may_evict(request: &Request<'_>) -> Result<(), Status> {
    let Some(node) = request.caller.user.node().filter(|_| request.app.admission.has(NAME)) else { return Ok(()) };
    let pod = Target { subresource: "", ..request.target.clone() };
    let found = current::load(request.app, &pod).await?.ok_or_else(|| pod.not_found())?;
    if node_of(&found.value) == node {
        return Ok(());
    }
    Err(request.forbidden(&format!("node {node} can only evict pods with spec.nodeName set to itself")))
}

/// Whether the pod's owner, which says that it is this node, is the one that is there now.
async fn owned_by_this_node(request: &Request<'_>, node: &str, pod: &Value) -> Result<(), Status> {
    let kind = kinds::by_resource("", "v1", "nodes").ok_or_else(Status::no_such_resource)?;
    let target = Target::new(kind, "", node);
    let found = current::load(request.app, &target).await?.ok_or_else(|| target.not_found())?;
    let there = value::str_at(&found.value, "metadata.uid").unwrap_or_default();
    let owner = value::list_at(pod, "metadata.ownerReferences").first().and_then(|owner| value::str_at(owner, "uid"));
    let said = owner.unwrap_or_default();
    if said == there {
        return Ok(());
    }
    Err(request.forbidden(&format!("node {node} UID mismatch: expected {said} got {there}")))
}

fn node_of(object: &Value) -> &str {
    value::str_at(object, "spec.nodeName").unwrap_or_default()
}

fn unless(condition: bool, why: String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(why) }
}

/// What a node asks for.
struct Asked<'a> {
    node: &'a str,
    operation: Operation,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
    object: &'a Value,
    /// Null where there is none.
    old: &'a Value,
}

impl Asked<'_> {
    fn check(&self, kind: (&str, &str)) -> Result<(), String> {
        let named = |words: &str| {
            let why = format!("can only access {words} with the same name as the requesting node");
            unless(self.name == self.node, why)
        };
        match kind {
            ("", "Pod") => self.pod(),
            ("", "Node") => self.own_node(),
            ("", "PersistentVolumeClaim") => self.claim(),
            ("coordination.k8s.io", "Lease") => {
                let here = self.namespace == "kube-node-lease";
                unless(here, "can only access leases in the \"kube-node-lease\" system namespace".to_owned())?;
                named("node lease")
            }
            ("storage.k8s.io", "CSINode") => named("CSINode"),
            ("resource.k8s.io", "ResourceSlice") => self.slice(),
            ("certificates.k8s.io", "CertificateSigningRequest") if self.operation == Operation::Create => {
                own_certificate(self.node, self.object)
            }
            _ => Ok(()),
        }
    }

    /// As upstream prints it.
    fn operation(&self) -> &'static str {
        match self.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }

    fn pod(&self) -> Result<(), String> {
        let node = self.node;
        match (self.subresource, self.operation) {
            ("", Operation::Create) => mirror_pod(node, self.object),
            ("", Operation::Delete) => {
                let why = format!("node {node:?} can only delete pods with spec.nodeName set to itself");
                unless(node_of(self.old) == node, why)
            }
            ("", _) => {
                let operation = self.operation();
                Err(format!("unexpected operation {operation:?}, node {node:?} can only create and delete mirror pods"))
            }
            // See `may_evict`.
            ("eviction", _) => Ok(()),
            ("status", Operation::Update) => self.pod_status(),
            ("status", _) => Err(format!("unexpected operation {:?}", self.operation())),
            (other, _) => {
                Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
            }
        }
    }

    fn pod_status(&self) -> Result<(), String> {
        let (node, object, old) = (self.node, self.object, self.old);
        let why = format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself");
        unless(node_of(old) == node, why)?;
        // Labels choose what a pod is trusted with: which Service sends it traffic, who owns it.
        let same = labels(object) == labels(old);
        unless(same, format!("node {node:?} cannot update labels through pod status"))?;
        // Claims say which devices a node may hear of.
        let made = |pod| {
            let statuses = value::list_at(pod, "status.resourceClaimStatuses").iter();
            let pairs = statuses.map(|s| ["name", "resourceClaimName"].map(|key| value::str_at(s, key)));
            pairs.collect::<Vec<_>>()
        };
        unless(made(object) == made(old), format!("node {node:?} cannot update resource claim statues"))?;
        let extended = |pod| value::get(pod, "status.extendedResourceClaimStatus").filter(|status| !status.is_null());
        let same = extended(object) == extended(old);
        unless(same, format!("node {node:?} cannot update extended resource claim status"))
    }

    fn claim(&self) -> Result<(), String> {
        unless(self.subresource == "status", "may only update PVC status".to_owned())?;
        unless(self.operation == Operation::Update, format!("unexpected operation {:?}", self.operation()))?;
        let rest = |claim: &Value| {
            let mut rest = claim.clone();
            let noted = ["resourceVersion", "managedFields"].map(|key| format!("metadata.{key}"));
            for path in RESIZING.iter().map(|key| format!("status.{key}")).chain(noted) {
                value::remove(&mut rest, &path);
            }
            rest
        };
        let (new, old) = (rest(self.object), rest(self.old));
        let changed: Vec<String> = differing(&new, &old);
        let why = format!(
            "node {:?} is not allowed to update fields other than status.quantity and status.conditions: {}",
            self.node,
            changed.join(", ")
        );
        unless(changed.is_empty(), why)
    }

    fn slice(&self) -> Result<(), String> {
        let (verb, slice) = match self.operation {
            Operation::Create => ("create", self.object),
            Operation::Delete => ("delete", self.old),
            _ => return Ok(()),
        };
        let why = format!("can only {verb} ResourceSlice with the same NodeName as the requesting node");
        unless(node_of(slice) == self.node, why)
    }

    fn own_node(&self) -> Result<(), String> {
        let node = self.node;
        unless(self.name == node, format!("node {node:?} is not allowed to modify node {:?}", self.name))?;
        let source = |object| value::get(object, "spec.configSource").filter(|source| !source.is_null());
        match self.operation {
            Operation::Create => {
                let why = format!("node {node:?} is not allowed to create pods with a non-nil configSource");
                unless(source(self.object).is_none(), why)?;
                let set = forbidden_labels(self.object, &Value::Null);
                let why = format!("node {node:?} is not allowed to set the following labels: {set}");
                unless(set.is_empty(), why)
            }
            Operation::Update => {
                let given = source(self.object);
                let why = format!("node {node:?} is not allowed to update configSource to a new non-nil configSource");
                unless(given.is_none() || given == source(self.old), why)?;
                let same = |path| value::list_at(self.object, path) == value::list_at(self.old, path);
                unless(same("spec.taints"), format!("node {node:?} is not allowed to modify taints"))?;
                let why = format!("node {node:?} is not allowed to modify ownerReferences");
                unless(same("metadata.ownerReferences"), why)?;
                let changed = forbidden_labels(self.object, self.old);
                unless(changed.is_empty(), format!("is not allowed to modify labels: {changed}"))
            }
            _ => Ok(()),
        }
    }
}

/// A node makes pods only to show what it runs by itself, and none that would open objects of the API to it. Whether the owner's
/// UID is right is asked elsewhere.
fn mirror_pod(node: &str, pod: &Value) -> Result<(), String> {
    let why =
        format!("pod does not have {:?} annotation, node {node:?} can only create mirror pods", references::MIRROR);
    unless(references::is_mirror(pod), why)?;
    unless(node_of(pod) == node, format!("node {node:?} can only create pods with spec.nodeName set to itself"))?;
    let of_itself =
        |what: &str| format!("node {node:?} can only create pods with {what} owner reference set to itself");
    let owner = match value::list_at(pod, "metadata.ownerReferences") {
        [] => return Err(of_itself("an")),
        [owner] => owner,
        _ => return Err(of_itself("a single")),
    };
    let says = |key: &str, wanted: &str| value::str_at(owner, key) == Some(wanted);
    unless(says("apiVersion", "v1") && says("kind", "Node") && says("name", node), of_itself("an"))?;
    unless(owner["controller"] == true, of_itself("a controller"))?;
    let why = format!("node {node:?} must not set blockOwnerDeletion on an owner reference");
    unless(owner["blockOwnerDeletion"] != true, why)?;
    match references::needs(pod)? {
        None => Ok(()),
        Some(resource) => Err(format!("node {node:?} can not create pods that reference {resource}")),
    }
}

/// The fields in which two objects differ, two levels deep.
fn differing(new: &Value, old: &Value) -> Vec<String> {
    let keys = |a: &Value, b: &Value| {
        let of = |value: &Value| value.as_object().into_iter().flat_map(|o| o.keys().cloned()).collect::<Vec<_>>();
        of(a).into_iter().chain(of(b)).collect::<BTreeSet<_>>()
    };
    let mut found = Vec::new();
    for part in keys(new, old) {
        let (new, old) = (&new[&part], &old[&part]);
        let inner = keys(new, old);
        if inner.is_empty() && new != old && !(is_empty(new) && is_empty(old)) {
            found.push(part);
            continue;
        }
        let differs = |key: &String| new[key] != old[key] && !(is_empty(&new[key]) && is_empty(&old[key]));
        found.extend(inner.iter().filter(|key| differs(key)).map(|key| format!("{part}.{key}")));
    }
    found
}

/// Absent, as Go has it.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// A node asks for certificates that a kubelet identifies itself by in its own name only. The rest of such a request is up to whoever
/// signs it.
fn own_certificate(node: &str, object: &Value) -> Result<(), String> {
    let signer = value::str_at(object, "spec.signerName").unwrap_or_default();
    if !KUBELET_SIGNERS.contains(&signer) {
        return Ok(());
    }
    let name = format!("system:node:{node}");
    let is_own = certificate::read(object, |request| {
        let names = request.certification_request_info.subject.iter_common_name();
        // Go takes the last one.
        Ok(names.last().and_then(|found| found.as_str().ok()) == Some(name.as_str()))
    });
    match is_own {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("can only create a node CSR with CN={name}")),
        Err(why) => Err(format!("unable to parse csr: {why}")),
    }
}

fn labels(object: &Value) -> Option<&gantry_api::Object> {
    value::map_at(object, "metadata.labels").filter(|labels| !labels.is_empty())
}

/// The labels that differ and that a node may not give itself, in order.
fn forbidden_labels(object: &Value, old: &Value) -> String {
    let (new, old) = (labels(object), labels(old));
    let all = new.into_iter().chain(old).flat_map(|labels| labels.keys());
    let changed = all.filter(|key| new.and_then(|l| l.get(*key)) != old.and_then(|l| l.get(*key)));
    let forbidden: BTreeSet<&str> = changed.map(String::as_str).filter(|key| !is_own(key)).collect();
    forbidden.into_iter().collect::<Vec<_>>().join(", ")
}

/// Whether a node may label itself so: not with what says what it may be trusted with, and of Kubernetes' own labels only
/// with those that describe it.
fn is_own(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return true };
    let within = |of: &str| domain == of || domain.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'));
    if within(RESTRICTED) {
        return false;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    !kubernetes || DESCRIBING.contains(&key) || within("kubelet.kubernetes.io") || within("node.kubernetes.io")
}

#[cfg(test)]
mod tests;
