//! Discovery with the remote group versions in it: groups by priority, versions of a group by theirs, as upstream sorts them.

use std::cmp::Reverse;
use std::sync::Arc;

use gantry_api::Value;
use gantry_api::kinds::api_version;
use gantry_api::priorities;
use gantry_api::value::{list_at, str_at};
use serde_json::json;

use super::{Aggregator, Remote};

/// What one remote group version adds.
struct Addition {
    remote: Arc<Remote>,
    /// Its entry in aggregated discovery.
    entry: Value,
}

impl Aggregator {
    fn additions(&self) -> Vec<Addition> {
        let entry = |remote: &Remote| {
            let said = self.said(&remote.name);
            // What does not answer is listed as it was known last, and marked.
            let freshness = if remote.available && said.is_some() { "Current" } else { "Stale" };
            let resources = said.map(|lists| lists.resources.clone()).unwrap_or_default();
            json!({"version": remote.version, "freshness": freshness, "resources": resources})
        };
        self.remotes().into_iter().map(|remote| Addition { entry: entry(&remote), remote }).collect()
    }

    /// An `APIGroupDiscoveryList` of `/apis` with everything; `None` where there is nothing to add.
    pub(crate) fn aggregated(&self, local: &[u8]) -> Option<Value> {
        let additions = self.additions();
        if additions.is_empty() {
            return None;
        }
        let mut list: Value = serde_json::from_slice(local).ok()?;
        let groups = merged(
            list_at(&list, "items"),
            &additions,
            "metadata.name",
            |group| json!({"metadata": {"name": group}, "versions": []}),
        );
        list["items"] = groups.into();
        Some(list)
    }

    /// The index of OpenAPI documents of version 3, with links to those of others in place of ours.
    pub(crate) fn openapi(&self, mut index: Value) -> Value {
        for remote in self.remotes() {
            let path = format!("apis/{}/{}", remote.group, remote.version);
            let Some(paths) = index.get_mut("paths").and_then(Value::as_object_mut) else { break };
            match self.said(&remote.name).and_then(|lists| lists.openapi.clone()) {
                Some(link) => drop(paths.insert(path, json!({"serverRelativeURL": link}))),
                None => drop(paths.remove(&path)),
            }
        }
        index
    }

    /// An `APIGroupList` with everything.
    pub(crate) fn group_list(&self, mut local: Value) -> Value {
        let groups: Vec<Value> =
            list_at(&local, "groups").iter().filter_map(|group| self.group(group.clone())).collect();
        let known = |name: &str| groups.iter().any(|group| group["name"] == name);
        let mut names: Vec<String> = self.remotes().into_iter().map(|remote| remote.group.clone()).collect();
        names.dedup();
        let fresh: Vec<Value> =
            names.iter().filter(|name| !known(name)).filter_map(|name| self.group(bare_group(name))).collect();
        let mut all: Vec<Value> = groups.into_iter().chain(fresh).collect();
        let remotes = self.remotes();
        all.sort_by_key(|group| place(str_at(group, "name").unwrap_or_default(), &remotes));
        local["groups"] = all.into();
        local
    }

    /// An `APIGroup` with everything; `None` where nobody serves it.
    pub(crate) fn group(&self, mut local: Value) -> Option<Value> {
        let name = str_at(&local, "name").unwrap_or_default().to_owned();
        let remotes: Vec<_> = self.remotes().into_iter().filter(|remote| remote.group == name).collect();
        if !remotes.is_empty() {
            let mut versions = list_at(&local, "versions").to_vec();
            for remote in &remotes {
                let version = json!({"groupVersion": api_version(&name, &remote.version), "version": remote.version});
                if !versions.iter().any(|known| known["version"] == remote.version) {
                    versions.push(version);
                }
            }
            versions.sort_by_key(|v| Reverse(version_place(&name, str_at(v, "version").unwrap_or_default(), &remotes)));
            local["versions"] = versions.into();
        }
        let first = list_at(&local, "versions").first()?.clone();
        local["preferredVersion"] = first;
        Some(local)
    }
}

/// An `APIGroup` without versions.
pub(crate) fn bare_group(name: &str) -> Value {
    json!({"name": name, "versions": []})
}

/// Groups with the additions in their places.
fn merged(local: &[Value], additions: &[Addition], name: &str, empty: impl Fn(&str) -> Value) -> Vec<Value> {
    let mut groups = local.to_vec();
    let remotes: Vec<Arc<Remote>> = additions.iter().map(|addition| addition.remote.clone()).collect();
    for addition in additions {
        let group = &addition.remote.group;
        let at = groups.iter().position(|known| str_at(known, name) == Some(group)).unwrap_or_else(|| {
            groups.push(empty(group));
            groups.len() - 1
        });
        let Some(versions) = groups[at].get_mut("versions").and_then(Value::as_array_mut) else { continue };
        versions.retain(|known| known["version"] != addition.remote.version);
        versions.push(addition.entry.clone());
        versions.sort_by_key(|v| Reverse(version_place(group, str_at(v, "version").unwrap_or_default(), &remotes)));
    }
    groups.sort_by_key(|group| place(str_at(group, name).unwrap_or_default(), &remotes));
    groups
}

/// The place of a group: the highest number that any of its versions gives it, then its name.
fn place(group: &str, remotes: &[Arc<Remote>]) -> (Reverse<i64>, String) {
    let said = remotes.iter().filter(|remote| remote.group == group).map(|remote| remote.group_priority).max();
    let local = priorities::group(group);
    let is_custom = local == priorities::CUSTOM.group;
    // A group that only others serve has no place here.
    let best = match said {
        Some(said) if is_custom => said,
        Some(said) => said.max(local),
        None => local,
    };
    (Reverse(best), group.to_owned())
}

fn version_place(group: &str, version: &str, remotes: &[Arc<Remote>]) -> i64 {
    let said = remotes.iter().find(|remote| remote.group == group && remote.version == version);
    said.map_or_else(
        || priorities::builtin(group, version).unwrap_or(priorities::CUSTOM).version,
        |remote| remote.version_priority,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Lists;

    fn aggregator(services: &[(&str, &str, i64, i64, bool)]) -> Aggregator {
        let aggregator = Aggregator::default();
        let mut table = super::super::Table::new();
        for (group, version, first, second, available) in services {
            let condition = if *available { "True" } else { "False" };
            let object = json!({"metadata": {"name": format!("{version}.{group}")}, "spec": {"group": group, "version": version,
                "groupPriorityMinimum": first, "versionPriority": second, "service": {"namespace": "n", "name": "s"}},
                "status": {"conditions": [{"type": "Available", "status": condition}]}});
            let remote = Remote::read(&object).expect("remote");
            let answer = json!({"kind": "APIResourceList", "resources": [{"name": "things", "kind": "Thing", "verbs": ["get"]}]});
            aggregator.hear(&remote.name, Lists::read(&answer, group, version).expect("a list"));
            table.insert((remote.group.clone(), remote.version.clone()), Arc::new(remote));
        }
        aggregator.table.store(Arc::new(table));
        aggregator
    }

    fn local() -> Value {
        json!({"items": [
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "freshness": "Current", "resources": []}]},
            {"metadata": {"name": "crd.example"}, "versions": [{"version": "v1", "freshness": "Current", "resources": []}]},
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1beta1", "freshness": "Current", "resources": []}]},
        ]})
    }

    #[test]
    fn aggregated_discovery_holds_all_in_order() {
        let aggregator = aggregator(&[
            ("a.example", "v1", 2000, 10, true),
            ("a.example", "v2", 2000, 20, false),
            ("crd.example", "v2", 1000, 200, true),
            ("metrics.k8s.io", "v1beta1", 100, 100, true),
        ]);
        let all = aggregator.aggregated(local().to_string().as_bytes()).expect("something to add");
        let shown: Vec<String> = list_at(&all, "items")
            .iter()
            .flat_map(|group| {
                let name = str_at(group, "metadata.name").unwrap_or_default();
                let show = move |v: &Value| {
                    format!("{name}/{} {} {}", v["version"], v["freshness"], list_at(v, "resources").len())
                };
                list_at(group, "versions").iter().map(show).collect::<Vec<_>>()
            })
            .map(|line| line.replace('"', ""))
            .collect();
        assert_eq!(
            shown,
            [
                "apps/v1 Current 0",
                "a.example/v2 Stale 1",
                "a.example/v1 Current 1",
                "crd.example/v2 Current 1",
                "crd.example/v1 Current 0",
                "metrics.k8s.io/v1beta1 Current 1",
            ]
        );
        assert_eq!(Aggregator::default().aggregated(local().to_string().as_bytes()), None);
    }

    #[test]
    fn the_older_form_holds_all_in_order() {
        let aggregator = aggregator(&[("a.example", "v1", 2000, 10, true), ("apps", "v2", 1, 99, true)]);
        let group =
            |name: &str| json!({"name": name, "versions": [{"groupVersion": format!("{name}/v1"), "version": "v1"}]});
        let all = aggregator.group_list(json!({"groups": [group("apps"), group("batch")]}));
        let names: Vec<_> =
            list_at(&all, "groups").iter().map(|g| (&g["name"], &g["preferredVersion"]["version"])).collect();
        let expected = [("apps", "v2"), ("batch", "v1"), ("a.example", "v1")].map(|(name, v)| (json!(name), json!(v)));
        assert_eq!(names, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
        assert_eq!(aggregator.group(bare_group("nobody")), None);
    }
}
