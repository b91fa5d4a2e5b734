//! The objects that a pod or a persistent volume names, as upstream's visitors find them.

use gantry_api::{Value, containers, value};

/// Set on a pod that shows what a node runs by itself.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";

/// Where a pod's volume names a secret.
const SECRETS_OF_VOLUMES: &[&str] = &[
    "azureFile.secretName",
    "cephfs.secretRef.name",
    "cinder.secretRef.name",
    "csi.nodePublishSecretRef.name",
    "flexVolume.secretRef.name",
    "iscsi.secretRef.name",
    "rbd.secretRef.name",
    "scaleIO.secretRef.name",
    "secret.secretName",
    "storageos.secretRef.name",
];

/// Where a persistent volume names a secret that the kubelet needs. Without a namespace of its own it is in the claim's,
/// where the second says so.
const SECRETS_OF_PERSISTENT_VOLUMES: &[(&str, bool)] = &[
    ("cephfs.secretRef", true),
    ("cinder.secretRef", false),
    ("csi.nodeExpandSecretRef", false),
    ("csi.nodePublishSecretRef", false),
    ("csi.nodeStageSecretRef", false),
    ("flexVolume.secretRef", true),
    ("iscsi.secretRef", true),
    ("rbd.secretRef", true),
    ("scaleIO.secretRef", true),
    ("storageos.secretRef", false),
];

/// Volumes that need nothing but the node.
const PLAIN_VOLUMES: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "cephfs",
    "cinder",
    "downwardAPI",
    "emptyDir",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// Volumes that need an object of the API, and what upstream calls it.
const NEEDY_VOLUMES: &[(&str, &str)] = &[
    ("configMap", "configmaps (via configmap volumes)"),
    ("secret", "secrets (via secret volumes)"),
    ("csi", "csidrivers (via CSI volumes)"),
    ("glusterfs", "endpoints (via glusterFS volumes)"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
    ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ("azureFile", "secrets (via azureFile volumes)"),
];

/// As [`NEEDY_VOLUMES`], of the sources of a projected volume.
const NEEDY_SOURCES: &[(&str, &str)] = &[
    ("configMap", "configmaps (via projected volumes)"),
    ("secret", "secrets (via projected volumes)"),
    ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
    ("clusterTrustBundle", "clustertrustbundles"),
    ("podCertificate", "podcertificates"),
];

fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    value::str_at(object, path).filter(|text| !text.is_empty())
}

fn has(object: &Value, key: &str) -> bool {
    object.get(key).is_some_and(|found| !found.is_null())
}

/// Whether the pod says that it shows what a node runs by itself.
pub(crate) fn is_mirror(pod: &Value) -> bool {
    value::map_at(pod, "metadata.annotations").is_some_and(|a| a.contains_key(MIRROR))
}

/// What the environment of any container names: `env[].valueFrom.<key>.name` and `envFrom[].<from>.name`.
fn in_environments<'a>(pod: &'a Value, key: &'static str, from: &'static str) -> impl Iterator<Item = &'a str> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    containers::all(spec).flat_map(move |(_, container)| {
        let one = move |env| text(env, &format!("valueFrom.{key}.name"));
        let all = move |source| text(source, &format!("{from}.name"));
        let env = value::list_at(container, "env").iter().filter_map(one);
        env.chain(value::list_at(container, "envFrom").iter().filter_map(all))
    })
}

fn projected<'a>(pod: &'a Value, source: &'static str) -> impl Iterator<Item = &'a str> {
    let volumes = value::list_at(pod, "spec.volumes").iter();
    let sources = volumes.flat_map(|volume| value::list_at(volume, "projected.sources"));
    sources.filter_map(move |found| text(found, &format!("{source}.name")))
}

/// The secrets of its namespace that a pod names itself.
pub(crate) fn secrets(pod: &Value) -> impl Iterator<Item = &str> {
    let pulls = value::list_at(pod, "spec.imagePullSecrets").iter().filter_map(|secret| text(secret, "name"));
    let volumes = value::list_at(pod, "spec.volumes").iter();
    let in_volumes = volumes.flat_map(|volume| SECRETS_OF_VOLUMES.iter().filter_map(|path| text(volume, path)));
    pulls.chain(in_environments(pod, "secretKeyRef", "secretRef")).chain(projected(pod, "secret")).chain(in_volumes)
}

/// The config maps of its namespace that a pod names.
pub(crate) fn config_maps(pod: &Value) -> impl Iterator<Item = &str> {
    let in_volumes = value::list_at(pod, "spec.volumes").iter().filter_map(|volume| text(volume, "configMap.name"));
    let environments = in_environments(pod, "configMapKeyRef", "configMapRef");
    environments.chain(projected(pod, "configMap")).chain(in_volumes)
}

/// The claims for volumes that a pod uses; those of ephemeral volumes are named after it.
pub(crate) fn claims(pod: &Value) -> impl Iterator<Item = String> {
    let name = text(pod, "metadata.name").unwrap_or_default();
    value::list_at(pod, "spec.volumes").iter().filter_map(move |volume| {
        if has(volume, "ephemeral") {
            return Some(format!("{name}-{}", text(volume, "name")?));
        }
        text(volume, "persistentVolumeClaim.claimName").map(str::to_owned)
    })
}

/// The claims for devices that a pod uses: named by it, or made for it, as its status tells.
pub(crate) fn resource_claims(pod: &Value) -> impl Iterator<Item = &str> {
    let made = value::list_at(pod, "status.resourceClaimStatuses");
    let claims = value::list_at(pod, "spec.resourceClaims").iter().filter_map(move |claim| {
        if let Some(name) = text(claim, "resourceClaimName") {
            return Some(name);
        }
        let template = text(claim, "resourceClaimTemplateName").and_then(|_| text(claim, "name"))?;
        made.iter().find(|status| text(status, "name") == Some(template)).and_then(|s| text(s, "resourceClaimName"))
    });
    claims.chain(text(pod, "status.extendedResourceClaimStatus.resourceClaimName"))
}

/// The secrets that a kubelet needs for a persistent volume, with their namespaces.
pub(crate) fn secrets_of_volume(volume: &Value) -> Vec<(&str, &str)> {
    let of_claim = text(volume, "spec.claimRef.namespace").unwrap_or_default();
    let spec = volume.get("spec").unwrap_or(&Value::Null);
    let named = SECRETS_OF_PERSISTENT_VOLUMES.iter().filter_map(|(path, in_claims)| {
        let reference = value::get(spec, path)?;
        let fallback = if *in_claims { of_claim } else { "" };
        Some((text(reference, "namespace").unwrap_or(fallback), text(reference, "name")?))
    });
    let azure = value::get(spec, "azureFile")
        .and_then(|azure| Some((text(azure, "secretNamespace").unwrap_or(of_claim), text(azure, "secretName")?)));
    named.chain(azure).collect()
}

/// What of the API a pod needs, in upstream's words; the first that is found.
///
/// # Errors
/// For a volume whose needs are not known.
pub(crate) fn needs(pod: &Value) -> Result<Option<&'static str>, String> {
    if text(pod, "spec.serviceAccountName").is_some() {
        return Ok(Some("serviceaccounts"));
    }
    if secrets(pod).next().is_some() {
        return Ok(Some("secrets"));
    }
    if config_maps(pod).next().is_some() {
        return Ok(Some("configmaps"));
    }
    if !value::list_at(pod, "spec.resourceClaims").is_empty() {
        return Ok(Some("resourceclaims"));
    }
    let named = |list: &'static [(&str, &str)], object: &Value| {
        list.iter().find(|(key, _)| has(object, key)).map(|(_, words)| *words)
    };
    for volume in value::list_at(pod, "spec.volumes") {
        let name = text(volume, "name").unwrap_or_default();
        if PLAIN_VOLUMES.iter().any(|key| has(volume, key)) {
            continue;
        }
        if let Some(words) = named(NEEDY_VOLUMES, volume) {
            return Ok(Some(words));
        }
        if !has(volume, "projected") {
            return Err(format!("unknown volume type for volume  {name:?}"));
        }
        for source in value::list_at(volume, "projected.sources") {
            if let Some(words) = named(NEEDY_SOURCES, source) {
                return Ok(Some(words));
            }
            if !has(source, "downwardAPI") {
                return Err(format!("unknown source for projected volume {name:?}"));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_that_names_an_object_counts() {
        let check = |spec: Value, in_secrets: &[&str], in_config_maps: &[&str]| {
            let pod = json!({ "spec": spec });
            assert_eq!(secrets(&pod).collect::<Vec<_>>(), in_secrets, "{pod}");
            assert_eq!(config_maps(&pod).collect::<Vec<_>>(), in_config_maps, "{pod}");
        };
        let volume = |source: Value| json!({"volumes": [source]});
        check(volume(json!({"secret": {"secretName": "x"}})), &["x"], &[]);
        check(volume(json!({"projected": {"sources": [{"secret": {"name": "x"}}]}})), &["x"], &[]);
        check(volume(json!({"projected": {"sources": [{"configMap": {"name": "x"}}]}})), &[], &["x"]);
        check(volume(json!({"configMap": {"name": "x"}})), &[], &["x"]);
        check(volume(json!({"azureFile": {"secretName": "x"}})), &["x"], &[]);
        check(volume(json!({"csi": {"nodePublishSecretRef": {"name": "x"}}})), &["x"], &[]);
        for old in ["cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"] {
            check(volume(json!({old: {"secretRef": {"name": "x"}}})), &["x"], &[]);
        }
        check(volume(json!({"nfs": {"server": "x"}})), &[], &[]);
        check(json!({"imagePullSecrets": [{"name": "x"}, {"name": ""}, {}]}), &["x"], &[]);
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            check(json!({list: [{"envFrom": [{"secretRef": {"name": "x"}}]}]}), &["x"], &[]);
            check(json!({list: [{"envFrom": [{"configMapRef": {"name": "x"}}]}]}), &[], &["x"]);
            check(json!({list: [{"env": [{"valueFrom": {"secretKeyRef": {"name": "x"}}}]}]}), &["x"], &[]);
            check(json!({list: [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "x"}}}]}]}), &[], &["x"]);
        }
    }

    #[test]
    fn claims_are_named_or_made() {
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {
                "volumes": [
                    {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "b", "ephemeral": {"volumeClaimTemplate": {}}},
                    {"name": "c", "emptyDir": {}},
                ],
                "resourceClaims": [
                    {"name": "one", "resourceClaimName": "gpu"},
                    {"name": "two", "resourceClaimTemplateName": "t"},
                    {"name": "not-yet", "resourceClaimTemplateName": "t"},
                    {"name": "needs-none", "resourceClaimTemplateName": "t"},
                ],
            },
            "status": {
                "resourceClaimStatuses": [{"name": "two", "resourceClaimName": "p-two-x"}, {"name": "needs-none"}],
                "extendedResourceClaimStatus": {"resourceClaimName": "p-extended"},
            },
        });
        assert_eq!(claims(&pod).collect::<Vec<_>>(), ["data", "p-b"]);
        assert_eq!(resource_claims(&pod).collect::<Vec<_>>(), ["gpu", "p-two-x", "p-extended"]);
    }

    #[test]
    fn a_volume_names_what_its_node_needs() {
        let check = |source: Value, expected: &[(&str, &str)]| {
            let mut volume = json!({"spec": source});
            volume["spec"]["claimRef"] = json!({"namespace": "claims", "name": "c"});
            assert_eq!(secrets_of_volume(&volume), expected, "{volume}");
        };
        let own = json!({"name": "s", "namespace": "own"});
        for old in ["cephfs", "flexVolume", "iscsi", "rbd", "scaleIO"] {
            check(json!({old: {"secretRef": own}}), &[("own", "s")]);
            check(json!({old: {"secretRef": {"name": "s"}}}), &[("claims", "s")]);
        }
        for key in ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"] {
            check(json!({"csi": {key: own}}), &[("own", "s")]);
        }
        for key in ["controllerPublishSecretRef", "controllerExpandSecretRef"] {
            check(json!({"csi": {key: own}}), &[]);
        }
        check(json!({"cinder": {"secretRef": own}}), &[("own", "s")]);
        check(json!({"azureFile": {"secretName": "s"}}), &[("claims", "s")]);
        check(json!({"azureFile": {"secretName": "s", "secretNamespace": "own"}}), &[("own", "s")]);
    }

    #[test]
    fn what_a_pod_needs_of_the_api_has_upstreams_words() {
        let check = |spec: Value, expected: Result<Option<&str>, &str>| {
            let pod = json!({ "spec": spec });
            assert_eq!(needs(&pod), expected.map_err(str::to_owned), "{pod}");
        };
        let volume = |source: Value| {
            let mut source = source;
            source["name"] = "v".into();
            json!({"volumes": [{"name": "e", "emptyDir": {}}, source]})
        };
        check(json!({}), Ok(None));
        check(json!({"serviceAccountName": "a"}), Ok(Some("serviceaccounts")));
        check(json!({"imagePullSecrets": [{"name": "x"}]}), Ok(Some("secrets")));
        check(volume(json!({"configMap": {"name": "x"}})), Ok(Some("configmaps")));
        check(json!({"resourceClaims": [{"name": "x"}]}), Ok(Some("resourceclaims")));
        check(volume(json!({"hostPath": {"path": "/"}})), Ok(None));
        check(volume(json!({"csi": {"driver": "d"}})), Ok(Some("csidrivers (via CSI volumes)")));
        check(volume(json!({"persistentVolumeClaim": {"claimName": "c"}})), Ok(Some("persistentvolumeclaims")));
        check(volume(json!({"ephemeral": {}})), Ok(Some("persistentvolumeclaims (via ephemeral volumes)")));
        let sources = |source: Value| volume(json!({"projected": {"sources": [{"downwardAPI": {}}, source]}}));
        check(sources(json!({"downwardAPI": {}})), Ok(None));
        let token = json!({"serviceAccountToken": {"path": "t"}});
        check(sources(token), Ok(Some("serviceaccounts (via projected volumes)")));
        check(sources(json!({"clusterTrustBundle": {"path": "t"}})), Ok(Some("clustertrustbundles")));
        check(sources(json!({"new": {}})), Err("unknown source for projected volume \"v\""));
        check(volume(json!({"new": {}})), Err("unknown volume type for volume  \"v\""));
    }
}
