//! Every pod runs as a service account and finds its token, the cluster's CA and its namespace in a volume.

use std::collections::HashSet;

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, containers, kinds, names, value};
use serde::Deserialize;
use serde_json::json;

use super::{Plugin, Request};
use crate::pipeline::current;
use crate::rbac::references;
use crate::request::Target;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Upstream's odd number marks tokens of this volume, see `pipeline::token`.
const TOKEN_SECONDS: i64 = 3607;

pub(super) struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if !request.creates("Pod") || references::is_mirror(object) {
            return Ok(());
        }
        value::set_default(object, "spec.serviceAccountName", "default");
        let name = value::str_at(object, "spec.serviceAccountName").unwrap_or_default();
        let name = if name.is_empty() { "default" } else { name }.to_owned();
        value::set(object, "spec.serviceAccountName", name.as_str());
        value::set(object, "spec.serviceAccount", name.as_str());
        let kind = kinds::by_resource("", "v1", "serviceaccounts").ok_or_else(Status::no_such_resource)?;
        let account = Target::new(kind, &request.target.namespace, &name);
        let gives = match request.app.view(kind).get(&account.namespace, &name) {
            Some(known) => Gives::read(known.json())?,
            None => {
                let found = current::load(request.app, &account).await?.ok_or_else(|| {
                    request.forbidden(&format!(
                        "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
                        request.target.namespace
                    ))
                })?;
                Gives::of(&found.value)
            }
        };
        complete(object, gives, &names::suffix(5, &mut rand::rng()));
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let guests = request.adds_ephemeral_containers();
        if !request.creates("Pod") && !guests {
            return Ok(());
        }
        if references::is_mirror(object) && !guests {
            return mirrors(object).map_err(|why| request.forbidden(why));
        }
        let kind = kinds::by_resource("", "v1", "serviceaccounts").ok_or_else(Status::no_such_resource)?;
        let name = value::str_at(object, "spec.serviceAccountName").unwrap_or_default();
        if name.is_empty() {
            return Ok(());
        }
        let account = Target::new(kind, &request.target.namespace, name);
        let known = request.app.view(kind).get(&account.namespace, name);
        if known.is_some_and(|known| !is_enforced(known.scalar_at(&["metadata", "annotations", ENFORCE]).as_deref())) {
            return Ok(());
        }
        let Some(found) = current::load(request.app, &account).await? else { return Ok(()) };
        mountable(object, &found.value, guests).map_err(|why| request.forbidden(&why))
    }
}

/// What a node runs by itself was given nothing of the cluster's: a pod that says it is such may name nothing of it, or it
/// would get around its account.
fn mirrors(pod: &Value) -> Result<(), &'static str> {
    let account = value::str_at(pod, "spec.serviceAccountName").is_some_and(|name| !name.is_empty());
    let mut sources = value::list_at(pod, "spec.volumes").iter().flat_map(|v| value::list_at(v, "projected.sources"));
    let is_token = |source: &Value| source.get("serviceAccountToken").is_some_and(|token| !token.is_null());
    match () {
        () if account => Err("a mirror pod may not reference service accounts"),
        () if references::secrets(pod).next().is_some() => Err("a mirror pod may not reference secrets"),
        () if references::config_maps(pod).next().is_some() => Err("a mirror pod may not reference configmaps"),
        () if sources.any(is_token) => Err("a mirror pod may not use service account token volume projections"),
        () => Ok(()),
    }
}

/// Limits a pod to the secrets that its account names, where the account asks for it.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

fn is_enforced(annotation: Option<&str>) -> bool {
    annotation.is_some_and(|v| matches!(v, "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// Whether the account lets the pod have the secrets that it names. `guests`: ephemeral containers come to a pod that was
/// looked at before.
fn mountable(pod: &Value, account: &Value, guests: bool) -> Result<(), String> {
    let annotations = value::map_at(account, "metadata.annotations");
    if !is_enforced(annotations.and_then(|a| a.get(ENFORCE)?.as_str())) {
        return Ok(());
    }
    let name = value::str_at(account, "metadata.name").unwrap_or_default();
    let names = |list| -> HashSet<&str> {
        value::list_at(account, list).iter().filter_map(|secret| secret["name"].as_str()).collect()
    };
    let (secrets, pull_secrets) = (names("secrets"), names("imagePullSecrets"));
    let refused = |what: String| {
        Err(format!("{what} is not allowed because service account {name} does not reference that secret"))
    };
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    for (sort, container) in containers::all(spec).filter(|(sort, _)| !guests || *sort == containers::Sort::Ephemeral) {
        let of = format!("{} {}", sort.words(), value::str_at(container, "name").unwrap_or_default());
        for env in value::list_at(container, "env") {
            if let Some(secret) = value::str_at(env, "valueFrom.secretKeyRef.name").filter(|s| !secrets.contains(s)) {
                let variable = value::str_at(env, "name").unwrap_or_default();
                return refused(format!("{of} with envVar {variable} referencing secret.secretName=\"{secret}\""));
            }
        }
        for from in value::list_at(container, "envFrom") {
            if let Some(secret) = value::str_at(from, "secretRef.name").filter(|s| !secrets.contains(s)) {
                return refused(format!("{of} with envFrom referencing secret.secretName=\"{secret}\""));
            }
        }
    }
    if guests {
        return Ok(());
    }
    for volume in value::list_at(pod, "spec.volumes") {
        if let Some(secret) = value::str_at(volume, "secret.secretName").filter(|s| !secrets.contains(s)) {
            return refused(format!("volume with secret.secretName=\"{secret}\""));
        }
    }
    for (at, secret) in value::list_at(pod, "spec.imagePullSecrets").iter().enumerate() {
        let secret = value::str_at(secret, "name").unwrap_or_default();
        if !pull_secrets.contains(secret) {
            return Err(format!(
                "imagePullSecrets[{at}].name=\"{secret}\" is not allowed because service account {name} does not reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}

/// What an account gives its pods.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gives {
    #[serde(default)]
    image_pull_secrets: Option<Value>,
    #[serde(default)]
    automount_service_account_token: Option<bool>,
}

impl Gives {
    /// Reads a stored account, without making a tree of all the rest.
    fn read(account: &[u8]) -> Result<Self, Status> {
        serde_json::from_slice(account)
            .map_err(|e| Status::internal(format!("the service account cannot be read: {e}")))
    }

    fn of(account: &Value) -> Self {
        Self {
            image_pull_secrets: value::get(account, "imagePullSecrets").cloned(),
            automount_service_account_token: value::get(account, "automountServiceAccountToken")
                .and_then(Value::as_bool),
        }
    }
}

/// Adds the account's pull secrets and, where wanted, the token's volume and its mounts.
fn complete(pod: &mut Value, account: Gives, suffix: &str) {
    if value::list_at(pod, "spec.imagePullSecrets").is_empty()
        && let Some(secrets) = account.image_pull_secrets
    {
        value::set(pod, "spec.imagePullSecrets", secrets);
    }
    let own = value::get(pod, "spec.automountServiceAccountToken").map(Value::as_bool);
    let wanted = own.unwrap_or(account.automount_service_account_token).unwrap_or(true);
    if !wanted {
        return;
    }
    let volumes = value::list_at(pod, "spec.volumes");
    let existing = volumes.iter().filter_map(|v| value::str_at(v, "name")).find(|n| n.starts_with("kube-api-access-"));
    let name = existing.map_or_else(|| format!("kube-api-access-{suffix}"), str::to_owned);
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let Some(Value::Array(containers)) = value::get_mut(pod, &format!("spec.{list}")) else { continue };
        for container in containers {
            mounted |= mount(container, &name);
        }
    }
    let has = value::list_at(pod, "spec.volumes").iter().any(|v| v["name"] == name.as_str());
    if mounted
        && !has
        && let Some(spec) = value::object_mut(pod, "spec")
    {
        let list = spec.entry("volumes").or_insert_with(|| json!([]));
        if list.is_null() {
            *list = json!([]);
        }
        if let Some(list) = list.as_array_mut() {
            list.push(volume(&name));
        }
    }
}

/// Mounts the volume unless something else is mounted there; says whether it did.
fn mount(container: &mut Value, name: &str) -> bool {
    let taken = value::list_at(container, "volumeMounts").iter().any(|m| m["mountPath"] == MOUNT_PATH);
    let Some(container) = container.as_object_mut().filter(|_| !taken) else { return false };
    let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
    if mounts.is_null() {
        *mounts = json!([]);
    }
    let Some(mounts) = mounts.as_array_mut() else { return false };
    mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
    true
}

fn volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_mounted_once_into_every_container() {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}]}});
        complete(&mut pod, Gives::of(&json!({"imagePullSecrets": [{"name": "s"}]})), "abcde");
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], "kube-api-access-abcde");
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"].as_array().map(Vec::len), Some(1));
        assert_eq!(pod["spec"]["volumes"].as_array().map(Vec::len), Some(1));
        assert_eq!(pod["spec"]["imagePullSecrets"][0]["name"], "s");
    }

    #[test]
    fn no_sort_of_container_gets_around_the_accounts_secrets() {
        let account = json!({"metadata": {"name": "a", "annotations": {ENFORCE: "true"}}, "secrets": [{"name": "ok"}]});
        let check = |list: &str, secret: &str, guests: bool, expected: Option<&str>| {
            let env = json!([{"name": "V", "valueFrom": {"secretKeyRef": {"name": secret}}}]);
            let pod = json!({"spec": {list: [{"name": "c", "env": env}]}});
            assert_eq!(mountable(&pod, &account, guests).err().as_deref(), expected, "{list}");
        };
        let refused = |what: &str| {
            format!(
                "{what} c with envVar V referencing secret.secretName=\"no\" is not allowed because service account a does not reference that secret"
            )
        };
        check("containers", "ok", false, None);
        check("containers", "no", false, Some(&refused("container")));
        check("initContainers", "no", false, Some(&refused("init container")));
        check("ephemeralContainers", "no", true, Some(&refused("ephemeral container")));
        // What was there before the guest came is not judged again.
        check("containers", "no", true, None);
        let from =
            json!({"spec": {"ephemeralContainers": [{"name": "c", "envFrom": [{"secretRef": {"name": "no"}}]}]}});
        assert!(mountable(&from, &account, true).is_err());
        assert_eq!(mountable(&from, &json!({"metadata": {"name": "a"}}), true), Ok(()));
        let volume = json!({"spec": {"volumes": [{"name": "v", "secret": {"secretName": "no"}}]}});
        assert!(mountable(&volume, &account, false).is_err_and(|why| why.starts_with("volume with")));
    }

    #[test]
    fn mirror_pods_name_nothing_of_the_cluster() {
        let check = |spec: Value, expected: Option<&str>| {
            let pod = json!({"metadata": {"annotations": {references::MIRROR: "x"}}, "spec": spec});
            assert!(references::is_mirror(&pod));
            assert_eq!(mirrors(&pod).err(), expected, "{pod}");
        };
        let secrets = Some("a mirror pod may not reference secrets");
        check(json!({"containers": [{"name": "c"}], "volumes": [{"hostPath": {"path": "/x"}}]}), None);
        check(json!({"serviceAccountName": "a"}), Some("a mirror pod may not reference service accounts"));
        check(json!({"imagePullSecrets": [{"name": "s"}]}), secrets);
        check(json!({"volumes": [{"secret": {"secretName": "s"}}]}), secrets);
        check(json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "s"}}]}}]}), secrets);
        check(json!({"initContainers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}), secrets);
        let configmaps = Some("a mirror pod may not reference configmaps");
        check(json!({"containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "m"}}}]}]}), configmaps);
        check(json!({"volumes": [{"configMap": {"name": "m"}}]}), configmaps);
        check(
            json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
            Some("a mirror pod may not use service account token volume projections"),
        );
    }

    #[test]
    fn who_wants_none_gets_none() {
        for (pod, account) in [
            (json!({"spec": {"automountServiceAccountToken": false, "containers": [{}]}}), json!({})),
            (json!({"spec": {"containers": [{}]}}), json!({"automountServiceAccountToken": false})),
        ] {
            let mut pod = pod;
            complete(&mut pod, Gives::of(&account), "abcde");
            assert!(pod["spec"].get("volumes").is_none());
        }
    }
}
