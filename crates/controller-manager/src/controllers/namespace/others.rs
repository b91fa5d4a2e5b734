//! What other API servers keep in a namespace. No catalog shows it: discovery says what there may be, and they are asked.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use gantry_api::{
    kinds::{Kinds, api_version},
    value::{list_at, str_at},
};
use gantry_client::{Client, DeleteParams, DynApi, ListParams, ResourceId, View};
use gantry_controller::{Doing, Error, Failures};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

/// A resource of others of which a namespace may hold something that can be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    group: String,
    version: String,
    resource: String,
    lists: bool,
    deletes_collections: bool,
}

/// What discovery says of others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Discovered {
    pub(super) resources: Vec<Foreign>,
    /// The group versions of which nobody can say now what they have.
    stale: BTreeSet<String>,
}

/// What is left of a resource in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    /// `resource.group`.
    pub(super) what: String,
    pub(super) count: usize,
    pub(super) finalizers: Vec<String>,
}

impl Discovered {
    /// Reads an `APIGroupDiscoveryList`. What is among `known` is looked after anyway.
    pub(super) fn read(list: &Value, known: &Kinds) -> Self {
        let mut found = Self::default();
        let is_known = |group: &str, name: &str| known.all().any(|k| k.group == group && k.resource == name);
        for group in list_at(list, "items") {
            let name = str_at(group, "metadata.name").unwrap_or_default();
            let mut seen = BTreeSet::new();
            // The best version comes first; all of them show the same objects.
            for version in list_at(group, "versions") {
                let number = str_at(version, "version").unwrap_or_default();
                if str_at(version, "freshness") == Some("Stale") {
                    found.stale.insert(api_version(name, number));
                    continue;
                }
                for resource in list_at(version, "resources") {
                    let foreign = Foreign::read(name, number, resource);
                    let foreign = foreign.filter(|f| !is_known(name, &f.resource) && seen.insert(f.resource.clone()));
                    found.resources.extend(foreign);
                }
            }
        }
        found
    }

    /// Why it is not known what a namespace may hold, in upstream's words.
    pub(super) fn failure(&self) -> Option<String> {
        let one = |version: &String| format!("{version}: stale GroupVersion discovery: {version}");
        let all: Vec<String> = self.stale.iter().map(one).collect();
        let (count, all) = (all.len(), all.join(", "));
        (count > 0).then(|| {
            let why = "unable to retrieve the complete list of server APIs";
            format!("Discovery failed for some groups, {count} failing: {why}: {all}")
        })
    }
}

impl Foreign {
    fn read(group: &str, version: &str, resource: &Value) -> Option<Self> {
        let does = |verb: &str| list_at(resource, "verbs").iter().any(|known| known == verb);
        (str_at(resource, "scope") == Some("Namespaced") && does("delete")).then(|| Self {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: str_at(resource, "resource").unwrap_or_default().to_owned(),
            lists: does("list"),
            deletes_collections: does("deletecollection"),
        })
    }

    fn api(&self, client: &Client, namespace: &str) -> DynApi {
        client.dynamic(ResourceId::new(&self.group, &self.version, &self.resource), namespace)
    }

    /// Asks all of it in the namespace to go; what is left then.
    pub(super) async fn empty(&self, client: &Client, namespace: &str) -> Result<Option<Left>, Error> {
        let (api, what) = (self.api(client, namespace), format!("{}.{}", self.resource, self.group));
        let params = DeleteParams::default().propagation("Background");
        let is_asked = self.deletes_collections && {
            let deleted = api.delete_collection(&ListParams::default(), &params).await;
            supported(deleted).doing(|| format!("delete all {what} of namespace {namespace}"))?.is_some()
        };
        if !is_asked && self.lists {
            let mut failures = Failures::default();
            for object in self.present(&api, namespace).await? {
                let name = str_at(&object, "metadata.name").unwrap_or_default();
                let deleted = match api.delete(name, &params).await {
                    Err(error) if !error.is_not_found() => Err(error),
                    _ => Ok(()),
                };
                failures.note(deleted.doing(|| format!("delete {what} {namespace}/{name}")))?;
            }
            failures.first()?;
        }
        // What cannot be listed is not waited for, as upstream does it.
        let left = if self.lists { self.present(&api, namespace).await? } else { Vec::new() };
        let finalizers = left.iter().flat_map(|object| list_at(object, "metadata.finalizers"));
        let finalizers = finalizers.filter_map(Value::as_str).map(str::to_owned).collect();
        Ok((!left.is_empty()).then_some(Left { what, count: left.len(), finalizers }))
    }

    async fn present(&self, api: &DynApi, namespace: &str) -> Result<Vec<Value>, Error> {
        let listed = supported(api.list(&ListParams::default(), View::Metadata).await);
        let listed = listed.doing(|| format!("list {}.{} of namespace {namespace}", self.resource, self.group))?;
        Ok(listed.map_or_else(Vec::new, |listed| listed.items))
    }
}

/// Discovery may promise what a server does not do: then there is nothing to be done that way, as upstream takes it.
fn supported<T>(answer: gantry_client::Result<T>) -> gantry_client::Result<Option<T>> {
    match answer {
        Err(error) if error.status().is_some_and(|status| matches!(status.code, 404 | 405)) => Ok(None),
        other => other.map(Some),
    }
}

/// Asks for discovery, and keeps what it said for a while.
#[derive(Debug, Default)]
pub(super) struct Discovery(Mutex<Option<(Instant, Arc<Discovered>)>>);

impl Discovery {
    /// What discovery says now, or said not longer ago than `age`.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(super) async fn ask(&self, client: &Client, known: &Kinds, age: Duration) -> Result<Arc<Discovered>, Error> {
        if let Some((at, found)) = &*self.0.lock()
            && at.elapsed() < age
        {
            return Ok(Arc::clone(found));
        }
        let list = client.resources().await.doing(|| "ask which resources are served".to_owned())?;
        let found = Arc::new(Discovered::read(&list, known));
        *self.0.lock() = Some((Instant::now(), Arc::clone(&found)));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(name: &str, scope: &str, verbs: &[&str]) -> Value {
        json!({"resource": name, "scope": scope, "verbs": verbs})
    }

    #[test]
    fn what_a_server_does_not_do_is_no_failure() {
        let refused = |code: u16| {
            let status = gantry_api::status::Status::failure(code, "", "no");
            supported::<()>(Err(gantry_client::Error::Api(Box::new(status)))).ok()
        };
        assert_eq!([404, 405, 403, 503].map(refused), [Some(None), Some(None), None, None]);
        assert_eq!(supported(Ok(1)).ok(), Some(Some(1)));
    }

    #[test]
    fn what_others_serve_is_told_from_what_is_known_and_from_what_nobody_can_say() {
        let all = ["delete", "deletecollection", "list"];
        let version = |name: &str, freshness: &str, resources: Value| json!({"version": name, "freshness": freshness, "resources": resources});
        let widgets = resource("widgets", "Namespaced", &all);
        let list = json!({"items": [
            {"metadata": {}, "versions": [version("v1", "Current", json!([resource("pods", "Namespaced", &all)]))]},
            {"metadata": {"name": "a.b"}, "versions": [
                version("v2", "Current", json!([widgets, resource("globes", "Cluster", &all), resource("views", "Namespaced", &["list"])])),
                version("v1", "Current", json!([widgets, resource("olds", "Namespaced", &["delete"])])),
                version("v0", "Stale", json!([resource("ghosts", "Namespaced", &all)]))]},
            {"metadata": {"name": "c.d"}, "versions": [version("v1", "Stale", json!([]))]},
        ]});
        let found = Discovered::read(&list, &Kinds::default());
        let foreign = |version: &str, resource: &str, whole: bool| Foreign {
            group: "a.b".to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
            lists: whole,
            deletes_collections: whole,
        };
        assert_eq!(found.resources, [foreign("v2", "widgets", true), foreign("v1", "olds", false)]);
        let why = "Discovery failed for some groups, 2 failing: unable to retrieve the complete list of server APIs: \
                   a.b/v0: stale GroupVersion discovery: a.b/v0, c.d/v1: stale GroupVersion discovery: c.d/v1";
        assert_eq!(found.failure().as_deref(), Some(why));
        assert_eq!(Discovered::default().failure(), None);
    }
}
