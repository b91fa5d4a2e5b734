//! What a kubelet may write beyond what its URL says: the object itself must be its own.

use std::collections::BTreeSet;

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, value};

use super::{Operation, Plugin, Request};
use crate::registry::certificate;

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

pub(super) struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let Some(node) = request.caller.user.node() else { return Ok(()) };
        let (kind, subresource) = (request.target.kind, request.target.subresource);
        if kind.is("", "Pod") && !matches!(subresource, "" | "status" | "eviction" | "binding") {
            let why = format!("unexpected pod subresource {subresource:?}, only 'status' and 'eviction' are allowed");
            return Err(request.forbidden(&why));
        }
        check(node, request.operation, (request.target.kind.group, request.target.kind.kind), object, request.old)
            .map_err(|why| request.forbidden(&why))
    }
}

fn check(
    node: &str,
    operation: Operation,
    (group, kind): (&str, &str),
    object: &Value,
    old: Option<&Value>,
) -> Result<(), String> {
    let name = value::str_at(object, "metadata.name").unwrap_or_default();
    match (group, kind) {
        ("", "Node") => {
            if name != node {
                return Err(format!("node {node:?} is not allowed to modify node {name:?}"));
            }
            if operation == Operation::Delete {
                return Ok(());
            }
            own_node(node, object, old)
        }
        ("coordination.k8s.io", "Lease") if name != node => {
            Err("can only access node lease with the same name as the requesting node".to_owned())
        }
        ("certificates.k8s.io", _) if operation == Operation::Create => own_certificate(node, object),
        ("", "Pod") if operation == Operation::Create => Err(format!("node {node:?} may not create pods")),
        ("", "Pod") if operation == Operation::Update && labels(Some(object)) != labels(old) => {
            // Labels choose what a pod is trusted with: which Service sends it traffic, who owns it.
            Err(format!("node {node:?} cannot update labels through pod status"))
        }
        _ => Ok(()),
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

fn labels(object: Option<&Value>) -> Option<&gantry_api::Object> {
    object.and_then(|o| value::map_at(o, "metadata.labels")).filter(|labels| !labels.is_empty())
}

fn own_node(node: &str, object: &Value, old: Option<&Value>) -> Result<(), String> {
    if let Some(old) = old
        && value::get(object, "spec.taints") != value::get(old, "spec.taints")
    {
        return Err(format!("node {node:?} is not allowed to modify taints"));
    }
    if !value::list_at(object, "metadata.ownerReferences").is_empty() {
        return Err(format!("node {node:?} is not allowed to set its owners"));
    }
    let updates = old.is_some();
    let (new, old) = (labels(Some(object)), labels(old));
    let changed: BTreeSet<&str> = new
        .into_iter()
        .chain(old)
        .flat_map(|labels| labels.keys())
        .filter(|key| new.and_then(|l| l.get(*key)) != old.and_then(|l| l.get(*key)))
        .map(String::as_str)
        .filter(|key| !is_own(key))
        .collect();
    let shown = || changed.iter().copied().collect::<Vec<_>>().join(", ");
    match (changed.is_empty(), updates) {
        (true, _) => Ok(()),
        (false, true) => Err(format!("is not allowed to modify labels: {}", shown())),
        (false, false) => Err(format!("node {node:?} is not allowed to set the following labels: {}", shown())),
    }
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
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_writes_what_is_its_own() {
        let ok = |kind, object: Value, old: Option<Value>, expected: bool| {
            let operation = if old.is_some() { Operation::Update } else { Operation::Create };
            assert_eq!(check("n1", operation, kind, &object, old.as_ref()).is_ok(), expected, "{object}");
        };
        let node = json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "a"}]}});
        ok(("", "Node"), node.clone(), None, true);
        ok(("", "Node"), json!({"metadata": {"name": "n2"}}), None, false);
        ok(("", "Node"), json!({"metadata": {"name": "n1"}}), Some(node.clone()), false);
        ok(
            ("", "Node"),
            json!({"metadata": {"name": "n1", "labels": {"node-restriction.kubernetes.io/x": "y"}}}),
            None,
            false,
        );
        let mut tagged = node.clone();
        tagged["metadata"]["labels"] = json!({"node-restriction.kubernetes.io/x": "y", "a": "b"});
        ok(("", "Node"), node, Some(tagged.clone()), false);
        let mut kept = tagged.clone();
        kept["metadata"]["labels"]["a"] = "c".into();
        ok(("", "Node"), kept, Some(tagged), true);
        ok(("coordination.k8s.io", "Lease"), json!({"metadata": {"name": "n2"}}), None, false);
        ok(("", "Pod"), json!({"metadata": {"name": "p"}}), None, false);
        let pod = |label: &str| json!({"metadata": {"name": "p", "labels": {"app": label}}});
        ok(("", "Pod"), pod("a"), Some(pod("a")), true);
        ok(("", "Pod"), pod("b"), Some(pod("a")), false);
        ok(("", "Pod"), json!({"metadata": {"name": "p"}}), Some(pod("a")), false);
        ok(("", "Event"), json!({"metadata": {"name": "e"}}), None, true);
    }

    #[test]
    fn a_node_asks_for_its_own_certificates() {
        let check = |signer: &str, name: &str, expected: Result<(), &str>| {
            let key = rcgen::KeyPair::generate().expect("a key");
            let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let pem = params.serialize_request(&key).and_then(|request| request.pem()).expect("a request");
            let object = json!({"spec": {"signerName": signer, "request": STANDARD.encode(pem)}});
            let found = super::check(
                "n",
                Operation::Create,
                ("certificates.k8s.io", "CertificateSigningRequest"),
                &object,
                None,
            );
            assert_eq!(found, expected.map_err(str::to_owned), "{signer} {name}");
        };
        let refused = Err("can only create a node CSR with CN=system:node:n");
        for signer in KUBELET_SIGNERS {
            check(signer, "system:node:n", Ok(()));
            check(signer, "system:node:m", refused);
        }
        check("kubernetes.io/kube-apiserver-client", "anybody", Ok(()));
    }
}
