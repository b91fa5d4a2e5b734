use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

/// What node `n1` is told: `verb Kind[/subresource] [name]`, in the namespace of leases.
fn check(text: &str, object: &Value, old: &Value) -> Result<(), String> {
    let mut words = text.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (verb, kind, name) = (word(), word(), word());
    let operation = match verb {
        "create" => Operation::Create,
        "update" => Operation::Update,
        _ => Operation::Delete,
    };
    let (kind, subresource) = kind.split_once('/').unwrap_or((kind, ""));
    let group = match kind {
        "Lease" => "coordination.k8s.io",
        "CSINode" => "storage.k8s.io",
        "ResourceSlice" => "resource.k8s.io",
        "CertificateSigningRequest" => "certificates.k8s.io",
        _ => "",
    };
    let namespace = "kube-node-lease";
    Asked { node: "n1", operation, subresource, namespace, name, object, old }.check((group, kind))
}

fn may(text: &str, object: Value, old: Value) {
    assert_eq!(check(text, &object, &old), Ok(()), "{text} {object} {old}");
}

fn may_not(text: &str, object: Value, old: Value, why: &str) {
    assert_eq!(check(text, &object, &old), Err(why.to_owned()), "{text} {object} {old}");
}

#[test]
fn a_node_writes_its_own_node() {
    let none = || Value::Null;
    may("create Node n1", json!({"spec": {"taints": [{"key": "a"}]}}), none());
    may_not("create Node n2", json!({}), none(), "node \"n1\" is not allowed to modify node \"n2\"");
    may_not("delete Node n2", none(), json!({}), "node \"n1\" is not allowed to modify node \"n2\"");
    may("delete Node n1", none(), json!({}));
    let source = json!({"spec": {"configSource": {"configMap": {}}}});
    let why = "node \"n1\" is not allowed to create pods with a non-nil configSource";
    may_not("create Node n1", source.clone(), none(), why);
    let why = "node \"n1\" is not allowed to update configSource to a new non-nil configSource";
    may_not("update Node n1", source.clone(), json!({}), why);
    may("update Node n1", source.clone(), source.clone());
    may("update Node n1", json!({}), source);
    let tainted = json!({"spec": {"taints": [{"key": "a"}]}});
    may_not("update Node n1", json!({}), tainted.clone(), "node \"n1\" is not allowed to modify taints");
    may("update Node/status n1", tainted.clone(), tainted);
    may("update Node n1", json!({"spec": {"taints": []}}), json!({}));
    let owned = json!({"metadata": {"ownerReferences": [{"name": "x"}]}});
    may("create Node n1", owned.clone(), none());
    may_not("update Node n1", owned, json!({}), "node \"n1\" is not allowed to modify ownerReferences");
}

#[test]
fn a_node_labels_itself_with_what_describes_it() {
    let labelled = |labels: Value| json!({"metadata": {"labels": labels}});
    let restricted = labelled(json!({"node-restriction.kubernetes.io/x": "y", "x.k8s.io/a": "b", "a": "b"}));
    let names = "node-restriction.kubernetes.io/x, x.k8s.io/a";
    let why = format!("node \"n1\" is not allowed to set the following labels: {names}");
    may_not("create Node n1", restricted.clone(), Value::Null, &why);
    let why = format!("is not allowed to modify labels: {names}");
    may_not("update Node n1", json!({}), restricted.clone(), &why);
    let mut kept = restricted.clone();
    kept["metadata"]["labels"]["a"] = "c".into();
    kept["metadata"]["labels"]["kubernetes.io/hostname"] = "n1".into();
    kept["metadata"]["labels"]["x.node.kubernetes.io/pool"] = "p".into();
    may("update Node n1", kept, restricted);
}

#[test]
fn a_node_tells_of_its_own_pods_only() {
    let pod = |node: &str, labels: Value, status: Value| json!({"metadata": {"labels": labels}, "spec": {"nodeName": node}, "status": status});
    let own =
        || pod("n1", json!({"app": "a"}), json!({"resourceClaimStatuses": [{"name": "a", "resourceClaimName": "b"}]}));
    may("update Pod/status p", own(), own());
    may("delete Pod p", Value::Null, own());
    let why = "node \"n1\" can only delete pods with spec.nodeName set to itself";
    may_not("delete Pod p", Value::Null, pod("n2", json!({}), json!({})), why);
    let why = "node \"n1\" can only update pod status for pods with spec.nodeName set to itself";
    may_not("update Pod/status p", own(), pod("n2", json!({}), json!({})), why);
    let status = own()["status"].clone();
    let why = "node \"n1\" cannot update labels through pod status";
    may_not("update Pod/status p", pod("n1", json!({"app": "b"}), status.clone()), own(), why);
    may_not("update Pod/status p", pod("n1", json!(null), status.clone()), own(), why);
    let why = "node \"n1\" cannot update resource claim statues";
    may_not("update Pod/status p", pod("n1", json!({"app": "a"}), json!({})), own(), why);
    let mut extended = own();
    extended["status"]["extendedResourceClaimStatus"] = json!({"resourceClaimName": "x"});
    may_not("update Pod/status p", extended, own(), "node \"n1\" cannot update extended resource claim status");
    let why = "unexpected operation \"UPDATE\", node \"n1\" can only create and delete mirror pods";
    may_not("update Pod p", own(), own(), why);
    let why = "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed";
    may_not("create Pod/binding p", json!({}), Value::Null, why);
    may("create Pod/eviction p", json!({}), Value::Null);
}

#[test]
fn a_node_makes_mirror_pods_only() {
    let check = |change: &dyn Fn(&mut Value), expected: Option<&str>| {
        let mut pod = json!({
            "metadata": {
                "annotations": {references::MIRROR: "x"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "controller": true}],
            },
            "spec": {"nodeName": "n1", "volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
        });
        change(&mut pod);
        assert_eq!(super::mirror_pod("n1", &pod).err().as_deref(), expected, "{pod}");
    };
    check(&|_| {}, None);
    let why = "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods";
    check(&|pod| pod["metadata"]["annotations"] = json!({}), Some(why));
    let why = "node \"n1\" can only create pods with spec.nodeName set to itself";
    check(&|pod| pod["spec"]["nodeName"] = "n2".into(), Some(why));
    let owners = |change: &dyn Fn(&mut Vec<Value>), expected: &str| {
        let change = |pod: &mut Value| {
            if let Some(owners) = pod["metadata"]["ownerReferences"].as_array_mut() {
                change(owners);
            }
        };
        check(&change, Some(expected));
    };
    let of = |what: &str| format!("node \"n1\" can only create pods with {what} owner reference set to itself");
    owners(&Vec::clear, &of("an"));
    owners(&|owners| owners.push(owners[0].clone()), &of("a single"));
    owners(&|owners| owners[0]["name"] = "n2".into(), &of("an"));
    owners(&|owners| owners[0]["controller"] = false.into(), &of("a controller"));
    let why = "node \"n1\" must not set blockOwnerDeletion on an owner reference";
    owners(&|owners| owners[0]["blockOwnerDeletion"] = true.into(), why);
    let why = "node \"n1\" can not create pods that reference serviceaccounts";
    check(&|pod| pod["spec"]["serviceAccountName"] = "a".into(), Some(why));
    let why = "node \"n1\" can not create pods that reference persistentvolumeclaims";
    check(
        &|pod| pod["spec"]["volumes"][0] = json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}),
        Some(why),
    );
}

#[test]
fn a_node_tells_how_far_a_claim_is_resized() {
    let claim =
        |status: Value| json!({"metadata": {"name": "c", "resourceVersion": "1"}, "spec": {"a": 1}, "status": status});
    let old = || claim(json!({"phase": "Bound", "capacity": {"storage": "1Gi"}}));
    let resized = json!({
        "phase": "Bound", "capacity": {"storage": "2Gi"}, "conditions": [{"type": "x"}],
        "allocatedResources": {"storage": "2Gi"}, "allocatedResourceStatuses": {"storage": "x"},
    });
    may("update PersistentVolumeClaim/status c", claim(resized), old());
    let why = "node \"n1\" is not allowed to update fields other than status.quantity and status.conditions: metadata.labels, status.phase";
    let mut other = claim(json!({"phase": "Lost", "accessModes": []}));
    other["metadata"]["labels"] = json!({"a": "b"});
    may_not("update PersistentVolumeClaim/status c", other, old(), why);
    may_not("update PersistentVolumeClaim c", old(), old(), "may only update PVC status");
}

#[test]
fn a_node_has_its_own_lease_csi_node_and_slices() {
    for (kind, words) in [("Lease", "node lease"), ("CSINode", "CSINode")] {
        may(&format!("create {kind} n1"), json!({}), Value::Null);
        let why = format!("can only access {words} with the same name as the requesting node");
        may_not(&format!("create {kind} n2"), json!({}), Value::Null, &why);
        may_not(&format!("delete {kind} "), Value::Null, json!({}), &why);
    }
    let elsewhere = Asked {
        node: "n1",
        operation: Operation::Create,
        subresource: "",
        namespace: "a",
        name: "n1",
        object: &Value::Null,
        old: &Value::Null,
    };
    let why = "can only access leases in the \"kube-node-lease\" system namespace";
    assert_eq!(elsewhere.check(("coordination.k8s.io", "Lease")), Err(why.to_owned()));
    let of = |node: &str| json!({"spec": {"nodeName": node}});
    may("create ResourceSlice x", of("n1"), Value::Null);
    may("delete ResourceSlice x", Value::Null, of("n1"));
    for verb in ["create", "delete"] {
        let why = format!("can only {verb} ResourceSlice with the same NodeName as the requesting node");
        may_not(&format!("{verb} ResourceSlice x"), of("n2"), of("n2"), &why);
    }
    may("create Event e", json!({}), Value::Null);
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
        let found = check("create CertificateSigningRequest x", &object, &Value::Null);
        assert_eq!(found, expected.map_err(str::to_owned), "{signer} {name}");
    };
    let refused = Err("can only create a node CSR with CN=system:node:n1");
    for signer in KUBELET_SIGNERS {
        check(signer, "system:node:n1", Ok(()));
        check(signer, "system:node:m", refused);
    }
    check("kubernetes.io/kube-apiserver-client", "anybody", Ok(()));
}
