//! What a remote group version serves: its `APIResourceList`, in the form of aggregated discovery too.

use std::sync::Arc;

use gantry_api::Value;
use gantry_api::value::{list_at, str_at};
use serde_json::json;

use super::swagger::Swagger;

/// The resources of one remote group version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lists {
    /// `resources` of the group version in aggregated discovery (apidiscovery.k8s.io/v2).
    pub(crate) resources: Vec<Value>,
    /// Where its OpenAPI document of version 3 is, with its hash; `None` where it has none.
    pub(crate) openapi: Option<String>,
    /// What its OpenAPI document of version 2 says; `None` where it has none.
    pub(super) swagger: Option<Arc<Swagger>>,
}

impl Lists {
    /// Reads the answer to `/apis/{group}/{version}`.
    pub(crate) fn read(answer: &Value, group: &str, version: &str) -> Option<Self> {
        if str_at(answer, "kind") != Some("APIResourceList") {
            return None;
        }
        let mut resources: Vec<Value> = Vec::new();
        let (whole, parts): (Vec<&Value>, Vec<&Value>) =
            list_at(answer, "resources").iter().partition(|r| !str_at(r, "name").unwrap_or_default().contains('/'));
        for one in whole {
            resources.push(resource(one, group, version));
        }
        for part in parts {
            let (parent, name) = str_at(part, "name").and_then(|name| name.split_once('/')).unwrap_or_default();
            let sub = json!({
                "subresource": name,
                "responseKind": response_kind(part, group, version),
                "verbs": list_at(part, "verbs"),
            });
            let scope = scope(part);
            let known = resources.iter().position(|r| r["resource"] == parent);
            let at = known.unwrap_or_else(|| {
                // A subresource of what cannot be had itself.
                resources.push(json!({"resource": parent, "scope": scope, "singularResource": "", "verbs": []}));
                resources.len() - 1
            });
            match resources[at].get_mut("subresources").and_then(Value::as_array_mut) {
                Some(subs) => subs.push(sub),
                None => resources[at]["subresources"] = json!([sub]),
            }
        }
        Some(Self { resources, openapi: None, swagger: None })
    }
}

/// The link to a group version's document in the answer to `/openapi/v3`.
pub(super) fn openapi(index: &Value, group: &str, version: &str) -> Option<String> {
    let link = index.get("paths")?.get(format!("apis/{group}/{version}"))?;
    let link = str_at(link, "serverRelativeURL")?;
    // A link elsewhere would lead clients to somebody else's document.
    link.starts_with(&format!("/openapi/v3/apis/{group}/{version}")).then(|| link.to_owned())
}

fn scope(resource: &Value) -> &'static str {
    if resource["namespaced"] == true { "Namespaced" } else { "Cluster" }
}

/// Group and version of a resource are those of the list unless it states others.
fn response_kind(resource: &Value, group: &str, version: &str) -> Value {
    let text = |key: &str| str_at(resource, key).filter(|text| !text.is_empty());
    json!({
        "group": text("group").unwrap_or(group),
        "version": text("version").unwrap_or(version),
        "kind": text("kind").unwrap_or_default(),
    })
}

fn resource(one: &Value, group: &str, version: &str) -> Value {
    let mut made = json!({
        "resource": str_at(one, "name").unwrap_or_default(),
        "responseKind": response_kind(one, group, version),
        "scope": scope(one),
        "singularResource": str_at(one, "singularName").unwrap_or_default(),
        "verbs": list_at(one, "verbs"),
    });
    for key in ["shortNames", "categories"] {
        if !list_at(one, key).is_empty() {
            made[key] = one[key].clone();
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_aggregated_discovery() {
        let answer = json!({"kind": "APIResourceList", "groupVersion": "a.b/v1", "resources": [
            {"name": "widgets", "singularName": "widget", "namespaced": true, "kind": "Widget", "verbs": ["get"], "shortNames": ["w"]},
            {"name": "widgets/scale", "singularName": "", "namespaced": true, "kind": "Scale", "group": "autoscaling", "version": "v1", "verbs": ["get"]},
            {"name": "ghosts/status", "singularName": "", "namespaced": false, "kind": "Ghost", "verbs": ["get"]},
        ]});
        let lists = Lists::read(&answer, "a.b", "v1").expect("a list");
        assert_eq!(
            lists.resources[0],
            json!({"resource": "widgets", "responseKind": {"group": "a.b", "version": "v1", "kind": "Widget"},
                "scope": "Namespaced", "singularResource": "widget", "verbs": ["get"], "shortNames": ["w"],
                "subresources": [{"subresource": "scale", "verbs": ["get"],
                    "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}}]})
        );
        assert_eq!(
            (&lists.resources[1]["resource"], &lists.resources[1]["scope"]),
            (&json!("ghosts"), &json!("Cluster"))
        );
        assert_eq!(Lists::read(&json!({"kind": "Status"}), "a.b", "v1"), None);
    }
}
