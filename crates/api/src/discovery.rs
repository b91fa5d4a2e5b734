//! Discovery documents, made from the registry of kinds: the aggregated form and the older per-group form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::Value;
use crate::kinds::{KindInfo, Kinds, Subresource, api_version};

mod text;

pub use text::text;

/// The content type of [`aggregated`], which clients compare byte by byte.
pub const AGGREGATED_CONTENT_TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Which half of the API a discovery document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `/api`: the core group.
    Api,
    /// `/apis`: the named groups.
    Apis,
}

/// The named groups with their versions, preferred version first, in discovery's order.
fn groups(kinds: &Kinds) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for (group, version) in kinds.group_versions() {
        match found.iter_mut().find(|(g, _)| *g == group) {
            Some((_, versions)) => versions.push(version),
            None => found.push((group, vec![version])),
        }
    }
    found
}

/// `APIGroupDiscoveryList` (apidiscovery.k8s.io/v2).
#[must_use]
pub fn aggregated(kinds: &Kinds, root: Root) -> Value {
    let wanted = |group: &str| group.is_empty() == (root == Root::Api);
    let items: Vec<Value> =
        groups(kinds).into_iter().filter(|(g, _)| wanted(g)).map(|(g, v)| aggregated_group(kinds, g, &v)).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_group(kinds: &Kinds, group: &str, versions: &[&str]) -> Value {
    let version = |version: &&str| {
        let resources: Vec<Value> = kinds.of(group, version).map(aggregated_resource).collect();
        json!({"version": version, "freshness": "Current", "resources": resources})
    };
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions.iter().map(version).collect::<Vec<_>>()})
}

fn aggregated_resource(kind: &KindInfo) -> Value {
    let mut resource = json!({
        "resource": kind.resource,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": verbs(kind),
    });
    names(&mut resource, kind);
    if !kind.subresources.is_empty() {
        let sub = |s: &Subresource| json!({"subresource": s.name, "responseKind": {"group": s.group, "version": s.version, "kind": s.kind}, "verbs": s.verbs});
        resource["subresources"] = kind.subresources.iter().map(sub).collect();
    }
    resource
}

/// What clients are told that they can do. Objects of a kind that goes can still be changed, so that whoever holds them lets
/// go, but nobody is told; custom kinds have their own order.
fn verbs(kind: &KindInfo) -> &[&'static str] {
    match (&kind.custom, kind.supports("create")) {
        (None, _) => &kind.verbs,
        (Some(_), true) => &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
        (Some(_), false) => &["delete", "deletecollection", "get", "list", "watch"],
    }
}

fn names(resource: &mut Value, kind: &KindInfo) {
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
}

/// `APIVersions`, the older answer to `/api`; `server_address` is `host:port` as clients reach it.
#[must_use]
pub fn api_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    })
}

/// `APIGroupList`, the older answer to `/apis`.
#[must_use]
pub fn group_list(kinds: &Kinds) -> Value {
    let named: Vec<Value> =
        groups(kinds).into_iter().filter(|(g, _)| !g.is_empty()).map(|(g, v)| group_body(g, &v)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": named})
}

/// `APIGroup`, the answer to `/apis/{group}`.
#[must_use]
pub fn group(kinds: &Kinds, name: &str) -> Option<Value> {
    let (name, versions) = groups(kinds).into_iter().find(|(g, _)| *g == name && !g.is_empty())?;
    let mut body = group_body(name, &versions);
    body["kind"] = Value::from("APIGroup");
    body["apiVersion"] = Value::from("v1");
    Some(body)
}

fn group_body(group: &str, versions: &[&str]) -> Value {
    let version = |v: &&str| json!({"groupVersion": api_version(group, v), "version": v});
    let versions: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": group, "preferredVersion": versions[0], "versions": versions})
}

/// `APIResourceList`, the answer to `/api/v1` and `/apis/{group}/{version}`.
#[must_use]
pub fn resource_list(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in kinds.of(group, version) {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|s| subresource(kind, s)));
    }
    if resources.is_empty() {
        return None;
    }
    let mut list = json!({
        "kind": "APIResourceList",
        "groupVersion": api_version(group, version),
        "resources": resources,
    });
    // Upstream's core group has none, from its first days on.
    if !group.is_empty() {
        list["apiVersion"] = Value::from("v1");
    }
    Some(list)
}

fn resource(kind: &KindInfo) -> Value {
    let mut resource = json!({
        "name": kind.resource,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs(kind),
    });
    names(&mut resource, kind);
    if kind.stored() {
        resource["storageVersionHash"] = Value::from(storage_version_hash(kind));
    }
    resource
}

fn subresource(kind: &KindInfo, sub: &Subresource) -> Value {
    let mut resource = json!({
        "name": format!("{}/{}", kind.resource, sub.name),
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": sub.kind,
        "verbs": sub.verbs,
    });
    if sub.foreign {
        resource["group"] = Value::from(sub.group);
        resource["version"] = Value::from(sub.version);
    }
    resource
}

/// Says which form is stored: eight bytes of the hash of group, version and kind, as upstream.
fn storage_version_hash(kind: &KindInfo) -> String {
    let definition = kind.custom.as_ref().map(|custom| custom.definition());
    let stored = definition.as_ref().and_then(|definition| definition.storage()).unwrap_or_else(|| kind.hub());
    let hash = Sha256::digest(format!("{}/{}/{}", stored.group, stored.version, stored.kind));
    STANDARD.encode(&hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    fn builtin() -> Kinds {
        Kinds::builtin()
    }

    #[test]
    fn both_forms_say_the_same() {
        let aggregated = [aggregated(&builtin(), Root::Api), aggregated(&builtin(), Root::Apis)];
        let groups: Vec<&Value> = aggregated.iter().flat_map(|a| a["items"].as_array().expect("a list")).collect();
        assert_eq!(groups.len(), 1 + group_list(&builtin())["groups"].as_array().map_or(0, Vec::len));
        assert_eq!(groups[0]["metadata"].get("name"), None);
        for entry in groups {
            let group = entry["metadata"]["name"].as_str().unwrap_or_default();
            for version in entry["versions"].as_array().expect("a list") {
                let old = resource_list(&builtin(), group, version["version"].as_str().expect("text")).expect("served");
                let mut count = 0;
                for resource in version["resources"].as_array().expect("a list") {
                    count += 1 + resource["subresources"].as_array().map_or(0, Vec::len);
                }
                assert_eq!(old["resources"].as_array().map(Vec::len), Some(count), "{group}");
            }
        }
    }

    #[test]
    fn groups_come_in_upstreams_order() {
        let list = group_list(&builtin());
        let names: Vec<&str> =
            list["groups"].as_array().into_iter().flatten().filter_map(|g| g["name"].as_str()).collect();
        let upstream = [
            "apiregistration.k8s.io",
            "apps",
            "events.k8s.io",
            "authentication.k8s.io",
            "authorization.k8s.io",
            "autoscaling",
            "batch",
            "certificates.k8s.io",
            "networking.k8s.io",
            "policy",
            "rbac.authorization.k8s.io",
            "storage.k8s.io",
            "admissionregistration.k8s.io",
            "apiextensions.k8s.io",
            "scheduling.k8s.io",
            "coordination.k8s.io",
            "node.k8s.io",
            "discovery.k8s.io",
            "resource.k8s.io",
            "flowcontrol.apiserver.k8s.io",
        ];
        let served: Vec<&str> = upstream.into_iter().filter(|name| names.contains(name)).collect();
        assert_eq!(names.into_iter().filter(|name| upstream.contains(name)).collect::<Vec<_>>(), served);
    }

    /// Clients compare these hashes with those of other servers of the same cluster, so they must be upstream's.
    #[test]
    fn storage_versions_hash_as_upstream() {
        let check = |group: &str, resource: &str, hash: &str| {
            let kind = kinds::by_resource(group, "v1", resource).expect("served");
            assert_eq!(storage_version_hash(kind), hash, "{resource}");
        };
        check("", "configmaps", "qFsyl6wFWjQ=");
        check("", "events", "r2yiGXH7wu8=");
        check("", "nodes", "XwShjMxG9Fs=");
        check("", "secrets", "S6u1pOWzb84=");
        check("apps", "deployments", "8aSe+NMegvE=");
        check("apps", "replicasets", "P1RzHs8/mWQ=");
    }

    #[test]
    fn subresources_say_what_they_answer() {
        let roots = [aggregated(&builtin(), Root::Api), aggregated(&builtin(), Root::Apis)];
        let resources = || {
            let groups = roots.iter().flat_map(|root| root["items"].as_array().expect("a list"));
            let versions = groups.flat_map(|group| group["versions"].as_array().expect("a list"));
            versions
                .inspect(|v| assert_eq!(v["freshness"], "Current"))
                .flat_map(|v| v["resources"].as_array().expect("a list"))
        };
        let check = |resource: &str, subresource: &str, group: &str, version: &str, kind: &str| {
            let found = resources().find(|r| r["resource"] == resource).expect("served");
            let subresources = found["subresources"].as_array().expect("a list");
            let sub = subresources.iter().find(|s| s["subresource"] == subresource).expect("served");
            assert_eq!(sub["responseKind"], json!({"group": group, "version": version, "kind": kind}));
        };
        check("deployments", "scale", "autoscaling", "v1", "Scale");
        check("deployments", "status", "apps", "v1", "Deployment");
        check("pods", "binding", "", "v1", "Binding");
        check("pods", "log", "", "v1", "Pod");
        check("serviceaccounts", "token", "authentication.k8s.io", "v1", "TokenRequest");
        // The metrics server of upstream gives its resources no singular either.
        let named = |r: &&Value| r["responseKind"]["group"] != "metrics.k8s.io";
        assert!(resources().filter(named).all(|r| r["singularResource"].as_str().is_some_and(|s| !s.is_empty())));
    }

    #[test]
    fn entries_are_upstreams() {
        let find = |list: &Value, name: &str| {
            list["resources"].as_array().expect("a list").iter().find(|r| r["name"] == name).expect("served").clone()
        };
        let core = resource_list(&builtin(), "", "v1").expect("served");
        assert_eq!(
            find(&core, "pods"),
            json!({"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "shortNames": ["po"], "categories": ["all"],
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"], "storageVersionHash": "xPOwRZ+Yhw8="})
        );
        assert_eq!(
            find(&core, "serviceaccounts/token"),
            json!({"name": "serviceaccounts/token", "singularName": "", "namespaced": true, "kind": "TokenRequest",
                "group": "authentication.k8s.io", "version": "v1", "verbs": ["create"]})
        );
        assert_eq!(group(&builtin(), "apps").expect("served")["preferredVersion"]["groupVersion"], "apps/v1");
        assert_eq!(
            (group(&builtin(), ""), group(&builtin(), "nope"), resource_list(&builtin(), "nope", "v1")),
            (None, None, None)
        );
    }
}
