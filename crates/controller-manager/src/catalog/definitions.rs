//! The kinds that are defined at run time: their objects are looked after as those of all others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use gantry_api::{
    custom::{self, Definition},
    kinds::{Kind, KindInfo},
    value,
};
use gantry_client::{Client, DynApi, ListParams, ResourceId, Result, View, watch::EventKind};
use gantry_common::{
    backoff::Backoff,
    task::{Group, OnExit},
};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Catalog, watch::Watch};

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// A kind whose objects are watched until this is dropped.
struct Watched {
    kind: Kind,
    watch: Running,
}

/// A task that can be ended; dropping this only asks it to end.
struct Running {
    stop: DropGuard,
    /// Its other end goes when nothing is left of the task.
    ended: oneshot::Receiver<()>,
}

impl Running {
    fn start(group: &Group, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Self {
        let stop = CancellationToken::new();
        let (runs, ended) = oneshot::channel::<()>();
        let stopped = stop.clone();
        group.spawn(name, OnExit::Ignore, async move {
            let _runs = runs;
            stopped.run_until_cancelled(task).await;
        });
        Self { stop: stop.drop_guard(), ended }
    }

    /// Ends the task. It does nothing any more once this resolves.
    async fn end(self) {
        drop(self.stop);
        // Nothing is ever sent.
        drop(self.ended.await);
    }
}

/// Follows the definitions, and has the objects of their kinds watched.
pub(super) struct Definitions {
    api: DynApi,
    client: Client,
    group: Group,
    catalog: Arc<Catalog>,
    known: BTreeMap<String, Arc<Definition>>,
    watched: BTreeMap<String, Watched>,
    synced: bool,
}

/// What a definition defines, once its names are accepted.
fn defined(object: &Value) -> Option<Arc<Definition>> {
    let accepted = |c: &Value| {
        matches!(value::str_at(c, "type"), Some("NamesAccepted" | "Established"))
            && value::str_at(c, "status") == Some("True")
    };
    value::list_at(object, "status.conditions").iter().any(accepted).then(|| custom::definition(object)).flatten()
}

impl Definitions {
    pub(super) fn new(client: Client, group: Group, catalog: Arc<Catalog>) -> Self {
        let resource = ResourceId::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");
        let api = client.dynamic(resource, "");
        Self { api, client, group, catalog, known: BTreeMap::new(), watched: BTreeMap::new(), synced: false }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        loop {
            match self.stream().await {
                Ok(()) => backoff.reset(),
                // Switched off: there are no custom kinds, and nobody need wait for them.
                Err(error) if error.is_unserved() => {
                    self.known.clear();
                    self.apply().await;
                }
                Err(error) => {
                    let error = gantry_common::error_chain(&error);
                    tracing::debug!(error, "the watch of definitions broke, trying again");
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// One watch from the present definitions on. They are few, and change seldom.
    async fn stream(&mut self) -> Result<()> {
        let mut stream = self.api.watch(&ListParams::default(), true, View::Full).await?;
        let mut present: Option<BTreeSet<String>> = Some(BTreeSet::new());
        while let Some(event) = stream.next().await? {
            if let EventKind::Bookmark { initial_events_end: true } = event.kind {
                if let Some(present) = present.take() {
                    self.known.retain(|name, _| present.contains(name));
                    self.apply().await;
                }
                continue;
            }
            if matches!(event.kind, EventKind::Bookmark { .. }) {
                continue;
            }
            let object: Value = serde_json::from_slice(&event.object).unwrap_or_default();
            let name = value::str_at(&object, "metadata.name").unwrap_or_default().to_owned();
            match defined(&object).filter(|_| !matches!(event.kind, EventKind::Deleted)) {
                Some(definition) => drop(self.known.insert(name.clone(), definition)),
                None => drop(self.known.remove(&name)),
            }
            match &mut present {
                Some(present) => drop(present.insert(name)),
                None => self.apply().await,
            }
        }
        Ok(())
    }

    /// Watches what is defined now, and nothing else.
    async fn apply(&mut self) {
        self.catalog.define(self.known.values().cloned().collect());
        let wanted: BTreeMap<&String, &KindInfo> =
            self.known.iter().filter_map(|(name, definition)| Some((name, definition.canonical()?))).collect();
        let is_wanted = |name: &String, watched: &Watched| {
            wanted.get(name).is_some_and(|kind| kind.type_name == watched.kind.type_name)
        };
        let gone: Vec<String> = self.watched.iter().filter(|(n, w)| !is_wanted(n, w)).map(|(n, _)| n.clone()).collect();
        for name in gone {
            if let Some(Watched { kind, watch }) = self.watched.remove(&name) {
                // An event that it is about to take would stay in the catalog for ever.
                watch.end().await;
                self.catalog.forget(&kind);
            }
        }
        for (name, kind) in wanted {
            if !self.watched.contains_key(name) {
                self.watched.insert(name.clone(), self.watch(kind));
            }
        }
        if !std::mem::replace(&mut self.synced, true) {
            self.catalog.kind_is_synced();
        }
    }

    fn watch(&self, kind: &KindInfo) -> Watched {
        let watch = Watch::additional(self.client.clone(), kind.held(), Arc::clone(&self.catalog));
        Watched { kind: kind.held(), watch: Running::start(&self.group, "catalog", watch.run()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use gantry_common::shutdown::Shutdown;

    use super::*;

    /// Tells when it is dropped.
    struct Told(Arc<AtomicBool>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_task_that_was_ended() {
        let group = Group::new(Shutdown::new());
        let gone = Arc::new(AtomicBool::new(false));
        let told = Told(Arc::clone(&gone));
        let started = Arc::new(tokio::sync::Notify::new());
        let starts = Arc::clone(&started);
        let running = Running::start(&group, "test", async move {
            let _told = told;
            starts.notify_one();
            std::future::pending().await
        });
        started.notified().await;
        assert!(!gone.load(Ordering::Relaxed));
        running.end().await;
        assert!(gone.load(Ordering::Relaxed));
        // One that ended with the daemon does not hold up anybody.
        let running = Running::start(&group, "test", std::future::pending());
        group.shutdown().trigger();
        running.end().await;
        group.join().await;
    }
}
