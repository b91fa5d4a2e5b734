//! Where pods may run: selectors that their namespace adds, spreading over nodes alone, and the labels of a pod's node.

use std::collections::BTreeMap;

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Object, Value, kinds, value};

use super::{Operation, Plugin, Request};

/// Pods that must not share a zone with others could keep everybody out of it.
pub(super) struct LimitPodHardAntiAffinityTopology;
/// A namespace's pods select its nodes.
pub(super) struct PodNodeSelector {
    /// By namespace what may be selected; `clusterDefaultNodeSelector` is what the others select.
    pub(super) selectors: BTreeMap<String, String>,
}
/// A pod carries the zone and region of its node.
pub(super) struct PodTopologyLabels;

const HOST: &str = "kubernetes.io/hostname";
const SELECTOR: &str = "scheduler.alpha.kubernetes.io/node-selector";
const CLUSTER: &str = "clusterDefaultNodeSelector";
const TOPOLOGY: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// Whether the pod itself is written.
fn writes_pod(request: &Request<'_>) -> bool {
    request.target.kind.is("", "Pod")
        && request.target.subresource.is_empty()
        && matches!(request.operation, Operation::Create | Operation::Update)
}

#[async_trait]
impl Plugin for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if !writes_pod(request) {
            return Ok(());
        }
        let terms = "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution";
        let mut keys = value::list_at(object, terms).iter().filter_map(|term| value::str_at(term, "topologyKey"));
        keys.find(|key| *key != HOST).map_or(Ok(()), |key| {
            Err(request.forbidden(&format!(
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOST} is allowed"
            )))
        })
    }
}

type Labels = BTreeMap<String, String>;

/// `a=b,c=d`
fn labels(text: &str) -> Result<Labels, String> {
    let mut out = Labels::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let mut sides = part.split('=');
        match (sides.next(), sides.next(), sides.next()) {
            (Some(key), Some(value), None) if !key.trim().is_empty() => {
                out.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            _ => return Err(format!("invalid selector: {part}")),
        }
    }
    Ok(out)
}

fn selected(pod: &Value) -> Labels {
    let own = value::map_at(pod, "spec.nodeSelector").into_iter().flatten();
    own.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

impl PodNodeSelector {
    /// What the namespace's pods select.
    fn wanted(&self, namespace: &Value) -> Result<Labels, String> {
        let annotations = value::map_at(namespace, "metadata.annotations");
        let stated = annotations.and_then(|annotations| annotations.get(SELECTOR)).and_then(Value::as_str);
        labels(stated.or_else(|| self.selectors.get(CLUSTER).map(String::as_str)).unwrap_or_default())
    }

    /// The pod's selector with that of its namespace.
    fn merged(&self, pod: &Value, namespace: &Value) -> Result<Labels, Refusal> {
        let mut all = self.wanted(namespace).map_err(Refusal::Broken)?;
        let own = selected(pod);
        if own.iter().any(|(key, value)| all.get(key).is_some_and(|wanted| wanted != value)) {
            let why = "pod node label selector conflicts with its namespace node label selector";
            return Err(Refusal::Forbidden(why));
        }
        all.extend(own);
        Ok(all)
    }

    fn check(&self, pod: &Value, namespace: &Value, name: &str) -> Result<(), Refusal> {
        self.merged(pod, namespace)?;
        let allowed = labels(self.selectors.get(name).map_or("", String::as_str)).map_err(Refusal::Broken)?;
        if !allowed.is_empty() && selected(pod).iter().any(|(key, value)| allowed.get(key) != Some(value)) {
            return Err(Refusal::Forbidden("pod node label selector labels conflict with its namespace whitelist"));
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Forbidden(&'static str),
    /// What an administrator wrote cannot be read.
    Broken(String),
}

impl Refusal {
    fn status(&self, request: &Request<'_>) -> Status {
        match self {
            Self::Forbidden(why) => request.forbidden(why),
            Self::Broken(why) => Status::failure(500, "", why.as_str()),
        }
    }
}

#[async_trait]
impl Plugin for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if !request.creates("Pod") {
            return Ok(());
        }
        let namespace = request.load_namespace().await?;
        let all = self.merged(object, &namespace).map_err(|refusal| refusal.status(request))?;
        if !all.is_empty() {
            let all: Object = all.into_iter().map(|(key, value)| (key, value.into())).collect();
            value::set(object, "spec.nodeSelector", all);
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if !request.creates("Pod") {
            return Ok(());
        }
        let namespace = request.load_namespace().await?;
        let checked = self.check(object, &namespace, &request.target.namespace);
        checked.map_err(|refusal| refusal.status(request))
    }
}

#[async_trait]
impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    /// A pod gets its node by a binding, which is no stored object.
    fn is_dynamic(&self) -> bool {
        true
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        let target = request.target;
        if request.operation != Operation::Create || !target.kind.is("", "Pod") {
            return Ok(());
        }
        let path = match target.subresource {
            "" => "spec.nodeName",
            "binding" if value::str_at(object, "target.kind") == Some("Node") => "target.name",
            _ => return Ok(()),
        };
        let name = value::str_at(object, path).unwrap_or_default();
        if name.is_empty() {
            return Ok(());
        }
        let nodes = kinds::by_resource("", "v1", "nodes").ok_or_else(Status::no_such_resource)?;
        // A node that is not known has no labels to copy.
        let Some(node) = request.app.view(nodes).get("", name) else { return Ok(()) };
        let node: Value = serde_json::from_slice(node.json()).unwrap_or_default();
        label(object, &node);
        Ok(())
    }
}

/// Copies the node's place; what the object says itself stays.
fn label(object: &mut Value, node: &Value) {
    let known = value::map_at(node, "metadata.labels");
    for key in TOPOLOGY {
        let Some(found) = known.and_then(|labels| labels.get(key)) else { continue };
        if let Some(labels) = value::object_mut(object, "metadata.labels") {
            labels.entry(key).or_insert_with(|| found.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn namespaces_select_nodes() {
        let selectors = [(CLUSTER, "pool=main"), ("small", "pool=main, size=s")];
        let selectors = selectors.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let plugin = PodNodeSelector { selectors };
        let pod = |selector: Value| json!({"spec": {"nodeSelector": selector}});
        let plain = json!({"metadata": {"name": "n"}});
        let annotated = json!({"metadata": {"annotations": {SELECTOR: "pool=gpu"}}});
        let merged = |pod: &Value, namespace: &Value| plugin.merged(pod, namespace).map(|all| json!(all));
        assert_eq!(merged(&pod(json!({"a": "b"})), &plain), Ok(json!({"a": "b", "pool": "main"})));
        assert_eq!(merged(&pod(json!({})), &annotated), Ok(json!({"pool": "gpu"})));
        let conflict = "pod node label selector conflicts with its namespace node label selector";
        assert_eq!(merged(&pod(json!({"pool": "other"})), &plain), Err(Refusal::Forbidden(conflict)));
        assert_eq!(plugin.check(&pod(json!({"pool": "main", "size": "s"})), &plain, "small"), Ok(()));
        let beyond = "pod node label selector labels conflict with its namespace whitelist";
        assert_eq!(plugin.check(&pod(json!({"a": "b"})), &plain, "small"), Err(Refusal::Forbidden(beyond)));
        let broken = json!({"metadata": {"annotations": {SELECTOR: "pool"}}});
        assert_eq!(merged(&pod(json!({})), &broken), Err(Refusal::Broken("invalid selector: pool".to_owned())));
    }

    #[test]
    fn the_place_of_the_node_is_copied() {
        let node = json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "a": "b"}}});
        let mut binding = json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "own"}}});
        label(&mut binding, &node);
        assert_eq!(
            binding["metadata"]["labels"],
            json!({"topology.kubernetes.io/zone": "own", "topology.kubernetes.io/region": "r"})
        );
        let mut bare = json!({"metadata": {}});
        label(&mut bare, &json!({"metadata": {}}));
        assert_eq!(bare, json!({"metadata": {}}));
    }
}
