//! Deletes what nobody owns any more, and lets go of what its owner leaves behind.

mod decide;
mod graph;
mod live;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use gantry_client::{
    Key,
    events::{EventType, Recorder},
};
use gantry_controller::{Error, Failures, Outcome, Queue, Reconciler, Runner};
use k8s_openapi::api::core::v1::ObjectReference;
use parking_lot::Mutex;

use self::{
    decide::{Decision, decide},
    graph::{Graph, Work, is_foreground},
    live::Live,
};
use crate::{catalog::Meta, context::Context};

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    context.catalog.synced().await;
    let runner = Runner::new("garbage-collector", context.options.concurrent_gc_syncs, context.stop.clone());
    let graph = Arc::new(Mutex::new(Graph::default()));
    let (queue, shared) = (runner.queue(), Arc::clone(&graph));
    let changes = context.catalog.subscribe();
    let runner = runner.feed(changes.follow(move |id, now| {
        let work = shared.lock().update(id, now);
        add_all(&queue, work);
    }));
    let controller = Controller {
        graph,
        queue: runner.queue(),
        live: Live::new(context.client.clone(), Arc::clone(&context.catalog)),
        recorder: context.recorder("garbage-collector-controller"),
    };
    runner.run(Arc::new(controller)).await;
}

/// Work as a key of the queue: what to do stands where the namespace would.
fn key_of(work: &Work) -> Key {
    match work {
        Work::Delete(uid) => Key::new("delete", uid.clone()),
        Work::Orphan(uid) => Key::new("orphan", uid.clone()),
        Work::Complain(uid) => Key::new("complain", uid.clone()),
    }
}

fn add_all(queue: &Queue<Key>, work: BTreeSet<Work>) {
    work.iter().for_each(|w| queue.add(key_of(w)));
}

struct Controller {
    graph: Arc<Mutex<Graph>>,
    queue: Queue<Key>,
    live: Live,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let uid = &key.name;
        match key.namespace.as_str() {
            "orphan" => self.orphan(uid).await?,
            "complain" => self.complain(uid),
            _ => self.consider(uid).await?,
        }
        Ok(Outcome::Done)
    }
}

impl Controller {
    async fn consider(&self, uid: &str) -> Result<(), Error> {
        let (known, named) = {
            let graph = self.graph.lock();
            (graph.get(uid).cloned(), graph.get_virtual(uid).cloned())
        };
        if let Some(named) = named {
            // Where it does exist, the catalog will show it.
            if !self.live.exists(&named.reference, &named.namespace).await? {
                let work = self.graph.lock().absent(uid);
                add_all(&self.queue, work);
            }
            return Ok(());
        }
        let Some(known) = known else { return Ok(()) };
        if known.deleting && !is_foreground(&known) {
            return Ok(());
        }
        let Some(item) = self.live.get(&known.kind, &known.key).await?.filter(|m| m.uid == known.uid) else {
            // The catalog will show that it is gone.
            return Ok(());
        };
        let mut owners = Vec::with_capacity(item.owners.len());
        if !item.deleting {
            for owner in &item.owners {
                owners.push((owner.clone(), self.live.owner(owner, &item).await?));
            }
        }
        let (dependents, in_circle) = {
            let graph = self.graph.lock();
            (graph.dependents(uid), graph.waits_for_itself(uid))
        };
        match decide(&item, &owners, &dependents, in_circle) {
            Decision::Keep => Ok(()),
            Decision::Strike(uids) => self.live.strike(&item, &uids).await,
            Decision::Delete { policy, unblock } => {
                if unblock {
                    self.live.unblock(&item).await?;
                }
                self.live.delete(&item, policy).await
            }
            Decision::Unblock => self.live.unblock(&item).await,
            Decision::Release => self.live.remove_finalizer(&item, graph::FOREGROUND).await,
            Decision::Wait(uids) => {
                uids.into_iter().for_each(|uid| self.queue.add(key_of(&Work::Delete(uid))));
                Ok(())
            }
        }
    }

    /// Frees the dependents of an object that is deleted with `Orphan`, then lets it go.
    async fn orphan(&self, uid: &str) -> Result<(), Error> {
        let (known, dependents) = {
            let graph = self.graph.lock();
            (graph.get(uid).cloned(), graph.dependents(uid))
        };
        let Some(known) = known else { return Ok(()) };
        let mut failures = Failures::default();
        for dependent in dependents {
            failures.note(self.live.strike(&dependent, &[uid.to_owned()]).await)?;
        }
        // As long as one of them names the object, it stays: without it that one would be collected.
        failures.first()?;
        let Some(item) = self.live.get(&known.kind, &known.key).await?.filter(|m| m.uid == known.uid) else {
            return Ok(());
        };
        self.live.remove_finalizer(&item, graph::ORPHAN).await
    }

    fn complain(&self, uid: &str) {
        let (item, owners) = {
            let graph = self.graph.lock();
            let Some(item) = graph.get(uid).cloned() else { return };
            let owners: Vec<Arc<Meta>> = item.owners.iter().filter_map(|o| graph.get(&o.uid).cloned()).collect();
            (item, owners)
        };
        let abroad = |o: &&Arc<Meta>| o.kind.namespaced && o.key.namespace != item.key.namespace;
        for owner in owners.iter().filter(abroad) {
            let about = ObjectReference {
                api_version: Some(item.kind.api_version.clone()),
                kind: Some(item.kind.kind.to_owned()),
                namespace: Some(item.key.namespace.clone()).filter(|n| !n.is_empty()),
                name: Some(item.key.name.clone()),
                uid: Some(item.uid.clone()),
                ..ObjectReference::default()
            };
            let message = format!(
                "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] does not exist in namespace \"{}\"",
                owner.kind.api_version,
                owner.kind.kind,
                item.key.namespace,
                owner.key.name,
                owner.uid,
                item.key.namespace
            );
            self.recorder.event(&about, EventType::Warning, "OwnerRefInvalidNamespace", message);
        }
    }
}
