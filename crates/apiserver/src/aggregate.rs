//! Group versions that other API servers serve: APIService objects (KEP-263) say which, this server is in front of them.
//!
//! * [`Aggregator`]: who serves what, taken up whenever an APIService changes. `rest/proxy/aggregated.rs` passes requests on.
//! * `register`: APIServices of what this server serves itself. `availability`: whether the others answer.
//! * `lists`: what they say that they serve. `documents`, `swagger`: discovery and OpenAPI with all of it.
//! * `authentication`: the ConfigMap from which they learn whom to believe.

pub(crate) mod authentication;
mod availability;
pub(crate) mod documents;
mod follow;
mod lists;
mod register;
pub(crate) mod remote;
mod swagger;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gantry_api::kinds::{self, KindInfo};
use parking_lot::Mutex;

pub(crate) use self::follow::run;
pub(crate) use self::lists::Lists;
pub(crate) use self::remote::Remote;
use crate::app::App;

/// The remote group versions by group and version.
type Table = BTreeMap<(String, String), Arc<Remote>>;

/// Who serves what besides this server.
#[derive(Default)]
pub(crate) struct Aggregator {
    table: ArcSwap<Table>,
    /// What each remote group version said last, by the APIService's name.
    said: Mutex<BTreeMap<String, Arc<Lists>>>,
    merged: swagger::Last,
}

/// The kind APIService.
pub(crate) fn kind() -> &'static KindInfo {
    kinds::by_kind("apiregistration.k8s.io", "v1", "APIService").expect("APIService is a built-in kind")
}

impl Aggregator {
    /// The server of a path below `/apis/{group}/{version}` or of its OpenAPI document, if it is another one.
    pub(crate) fn serving(&self, path: &str) -> Option<Arc<Remote>> {
        let path = path.strip_prefix("/openapi/v3").unwrap_or(path);
        let mut segments = path.strip_prefix("/apis/")?.split('/');
        let (group, version) = (segments.next()?, segments.next()?);
        self.version(group, version)
    }

    /// The remote that serves this group version, if one does. Asked for each request: where there is none it costs no memory.
    pub(crate) fn version(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        let table = self.table.load();
        if table.is_empty() {
            return None;
        }
        table.get(&(group.to_owned(), version.to_owned())).cloned()
    }

    /// All remote group versions.
    pub(crate) fn remotes(&self) -> Vec<Arc<Remote>> {
        self.table.load().values().cloned().collect()
    }

    /// Takes up the APIServices as they are now.
    pub(crate) fn rebuild(&self, app: &App) {
        let mut table = Table::new();
        for object in app.view(kind()).snapshot().list(None, None) {
            let Ok(object) = serde_json::from_slice(object.json()) else { continue };
            if let Some(remote) = Remote::read(&object) {
                table.insert((remote.group.clone(), remote.version.clone()), Arc::new(remote));
            }
        }
        self.said.lock().retain(|name, _| table.values().any(|remote| remote.name == *name));
        self.table.store(Arc::new(table));
    }

    /// What a remote group version said last.
    pub(crate) fn said(&self, name: &str) -> Option<Arc<Lists>> {
        self.said.lock().get(name).cloned()
    }

    /// Keeps what a remote group version says.
    fn hear(&self, name: &str, lists: Lists) {
        self.said.lock().insert(name.to_owned(), Arc::new(lists));
    }
}
