//! The kinds of other API servers (APIService): discovery says which there are, and they are asked what they have.
//!
//! Upstream's collector looks at discovery as often (cmd/kube-controller-manager, 30 s) and then watches. Here nothing is watched
//! that is not in this cluster's store: their objects are listed, a little more often.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use gantry_api::{
    custom::{self, Definition},
    kinds::{KindInfo, Kinds},
    value::{list_at, str_at},
};
use gantry_client::{Client, ListParams, ResourceId, Result, View};
use serde_json::{Value, json};

use super::{Catalog, Meta, watch};

/// How often discovery is looked at.
const LOOK: Duration = Duration::from_secs(30);
/// How often the objects are listed where there are any kinds.
const LIST: Duration = Duration::from_secs(10);
/// How long the list of one kind may take: others wait for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Objects of a page.
const PAGE: i64 = 500;

/// Kinds of other servers, by `plural.group`.
#[derive(Debug, Clone, Default)]
struct Found(BTreeMap<String, Foreign>);

#[derive(Debug, Clone)]
struct Foreign {
    /// With one version, which is served.
    definition: Arc<Definition>,
    /// Whether its objects are looked after, as upstream's: they can be listed, watched and deleted.
    is_followed: bool,
}

impl Foreign {
    /// Reads a resource of an `APIGroupDiscoveryList`.
    fn read(group: &str, version: &str, resource: &Value) -> Option<Self> {
        let does = |verb: &str| list_at(resource, "verbs").iter().any(|known| known == verb);
        let kind = str_at(resource, "responseKind.kind")?;
        let definition = custom::definition(&json!({
            "spec": {
                "group": group, "scope": str_at(resource, "scope")?,
                "versions": [{"name": version, "served": true, "storage": true}],
            },
            "status": {"acceptedNames": {
                "plural": str_at(resource, "resource")?, "singular": str_at(resource, "singularResource"), "kind": kind,
            }},
        }));
        let is_followed = ["list", "watch", "delete"].into_iter().all(does);
        does("get").then_some(Self { definition: definition?, is_followed })
    }

    fn kind(&self) -> Option<&KindInfo> {
        self.definition.served().next()
    }
}

impl Found {
    /// Reads an `APIGroupDiscoveryList`. What is among `known` is looked after anyway. What was there `before` of a group version of
    /// which nobody can say now what it has, is taken to be there still.
    fn read(list: &Value, known: &Kinds, before: &Self) -> Self {
        let mut found = Self::default();
        let is_known = |group: &str, name: &str| known.all().any(|k| k.group == group && k.resource == name);
        for group in list_at(list, "items") {
            let name = str_at(group, "metadata.name").unwrap_or_default();
            // The best version comes first; all of them show the same objects.
            for version in list_at(group, "versions") {
                let number = str_at(version, "version").unwrap_or_default();
                let of_version: Vec<Foreign> = if str_at(version, "freshness") == Some("Stale") {
                    let is_of = |f: &&Foreign| f.kind().is_some_and(|k| (k.group, k.version) == (name, number));
                    before.0.values().filter(is_of).cloned().collect()
                } else {
                    let resources = list_at(version, "resources").iter();
                    let unknown = resources.filter(|r| !is_known(name, str_at(r, "resource").unwrap_or_default()));
                    unknown.filter_map(|r| Foreign::read(name, number, r)).collect()
                };
                for foreign in of_version.into_iter().filter(|f| !is_known(name, f.definition.plural())) {
                    found.0.entry(foreign.definition.name.clone()).or_insert(foreign);
                }
            }
        }
        found
    }

    fn definitions(&self) -> Vec<Arc<Definition>> {
        self.0.values().map(|foreign| Arc::clone(&foreign.definition)).collect()
    }

    fn followed(&self) -> impl Iterator<Item = &KindInfo> {
        self.0.values().filter(|foreign| foreign.is_followed).filter_map(Foreign::kind)
    }
}

/// Follows the kinds of other servers.
pub(super) struct Others {
    client: Client,
    catalog: Arc<Catalog>,
    found: Found,
}

impl Others {
    pub(super) fn new(client: Client, catalog: Arc<Catalog>) -> Self {
        Self { client, catalog, found: Found::default() }
    }

    pub(super) async fn run(mut self) {
        let mut looked = self.look().await;
        self.list().await;
        // Whatever came of it: what cannot be asked holds up nothing.
        self.catalog.kind_is_synced();
        loop {
            tokio::time::sleep(if self.found.followed().next().is_some() { LIST } else { LOOK }).await;
            if looked.elapsed() >= LOOK {
                looked = self.look().await;
            }
            self.list().await;
        }
    }

    /// Takes over what discovery says now; when that was.
    async fn look(&mut self) -> tokio::time::Instant {
        match self.client.resources().await {
            Ok(list) => self.take(Found::read(&list, &self.catalog.kinds(), &self.found)),
            Err(error) => {
                let error = gantry_common::error_chain(&error);
                tracing::debug!(error, "discovery does not answer, the kinds of other API servers stay as they are");
            }
        }
        tokio::time::Instant::now()
    }

    fn take(&mut self, found: Found) {
        let stays = |kind: &KindInfo| found.followed().any(|now| now.type_name == kind.type_name);
        for gone in self.found.followed().filter(|kind| !stays(kind)) {
            tracing::info!(
                kind = gone.type_name,
                "an API server that is no more had it, nothing of it is looked after"
            );
            self.catalog.replace_foreign(gone, Vec::new());
        }
        self.catalog.define_others(found.definitions());
        self.found = found;
    }

    async fn list(&self) {
        join_all(self.found.followed().map(|kind| self.list_kind(kind))).await;
    }

    /// Takes over what there is of a kind now. What cannot be listed stays as it is, unless its server says that there is no such thing.
    async fn list_kind(&self, kind: &KindInfo) {
        match tokio::time::timeout(PATIENCE, self.present(kind)).await {
            Ok(Ok(present)) => self.catalog.replace_foreign(kind, present),
            Ok(Err(error)) if error.is_unserved() => self.catalog.replace_foreign(kind, Vec::new()),
            Ok(Err(error)) => {
                let (kind, error) = (kind.type_name.as_str(), gantry_common::error_chain(&error));
                tracing::debug!(kind, error, "another API server does not list its objects");
            }
            Err(_) => tracing::debug!(kind = kind.type_name, "another API server takes too long to list its objects"),
        }
    }

    async fn present(&self, kind: &KindInfo) -> Result<Vec<Meta>> {
        let api = self.client.dynamic(ResourceId::new(kind.group, kind.version, kind.resource), "");
        let (held, mut present) = (kind.held(), Vec::new());
        let mut params = ListParams { limit: PAGE, ..ListParams::default() };
        loop {
            let page = api.list(&params, View::Metadata).await?;
            for object in page.items {
                present.push(watch::meta(&held, object)?);
            }
            if page.continue_token.is_empty() {
                return Ok(present);
            }
            params.continue_token = page.continue_token;
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_client::Key;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn resource(name: &str, kind: &str, verbs: &[&str]) -> Value {
        json!({"resource": name, "singularResource": "one", "scope": "Namespaced", "responseKind": {"kind": kind}, "verbs": verbs})
    }

    fn group(name: &str, versions: &[(&str, &str, Value)]) -> Value {
        let version = |(version, freshness, resources): &(&str, &str, Value)| json!({"version": version, "freshness": freshness, "resources": resources});
        json!({"metadata": {"name": name}, "versions": versions.iter().map(version).collect::<Vec<_>>()})
    }

    const ALL: [&str; 4] = ["get", "list", "watch", "delete"];

    fn followed(found: &Found) -> Vec<&str> {
        found.followed().map(|kind| kind.type_name.as_str()).collect()
    }

    #[test]
    fn others_kinds_are_followed_as_far_as_they_can_be_and_for_as_long_as_they_may_be_there() {
        let gadgets = resource("gadgets", "Gadget", &ALL);
        let list = json!({"items": [
            group("", &[("v1", "Current", json!([resource("pods", "Pod", &ALL)]))]),
            group("a.b", &[
                ("v2", "Current", json!([gadgets, resource("views", "View", &["get", "list"]), resource("acts", "Act", &["create"])])),
                ("v1", "Current", json!([gadgets, resource("olds", "Old", &ALL)]))]),
            group("c.d", &[("v1", "Current", json!([resource("knobs", "Knob", &ALL)]))]),
        ]});
        let found = Found::read(&list, &Kinds::builtin(), &Found::default());
        assert_eq!(followed(&found), ["a.b/v2.Gadget", "c.d/v1.Knob", "a.b/v1.Old"]);
        // An owner may be of a kind that is not followed.
        let kinds = Kinds::with(found.definitions());
        assert!(kinds.by_api_version("a.b/v2", "View").is_some() && kinds.by_api_version("a.b/v2", "Act").is_none());
        // Nobody can say what is in c.d now, and a.b has gone.
        let stale = json!({"items": [group("c.d", &[("v1", "Stale", json!([]))])]});
        let later = Found::read(&stale, &Kinds::builtin(), &found);
        assert_eq!(followed(&later), ["c.d/v1.Knob"]);
        // What is defined here is no other server's.
        assert_eq!(
            followed(&Found::read(&list, &Kinds::with(later.definitions()), &found)),
            ["a.b/v2.Gadget", "a.b/v1.Old"]
        );
    }

    #[test]
    fn what_goes_is_let_go_unless_it_is_defined_here_by_now() {
        let definition = |found: &Found| found.definitions();
        let list = json!({"items": [group("a.b", &[("v1", "Current", json!([resource("gadgets", "Gadget", &ALL)]))])]});
        let found = Found::read(&list, &Kinds::builtin(), &Found::default());
        let kind = found.followed().next().expect("followed");
        let meta = ObjectMeta { namespace: Some("ns".to_owned()), name: Some("g".to_owned()), ..ObjectMeta::default() };
        let gadget = Meta::new(kind, meta);
        let catalog = Catalog::empty(0);
        catalog.define_others(definition(&found));
        catalog.replace_foreign(kind, vec![gadget.clone()]);
        assert!(catalog.get(&gadget.id()).is_some());
        assert!(catalog.kinds().by_api_version("a.b/v1", "Gadget").is_none(), "it is not of this server");
        assert!(catalog.all_kinds().by_api_version("a.b/v1", "Gadget").is_some());
        catalog.define(definition(&found));
        catalog.replace_foreign(kind, Vec::new());
        assert!(catalog.get(&gadget.id()).is_some(), "whoever watches it here says what there is");
        catalog.define(Vec::new());
        catalog.replace_foreign(kind, Vec::new());
        assert_eq!(catalog.get(&gadget.id()), None);
        assert_eq!(gadget.id().key, Key::new("ns", "g"));
    }
}
