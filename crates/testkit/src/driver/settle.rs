//! The end of all faults: the cluster comes to rest and is looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use gantry_client::DeleteParams;
use tokio::time::{Instant, timeout};

use super::act::{Driver, namespaces};
use crate::history::{Step, World};
use crate::invariants::settled;
use crate::node::Mood;
use crate::object;

/// How long the cluster may take to come to rest.
const LIMIT: Duration = Duration::from_secs(30);
/// At rest means that nothing but signs of life is written for this long.
const QUIET: Duration = Duration::from_millis(600);
/// Daemons that ended are started again this often.
const TEND: Duration = Duration::from_millis(100);

impl Driver {
    /// Lets the cluster make some progress: this many revisions, or none for as long as nothing happens.
    pub async fn pace(&mut self, revisions: u64) {
        let progress = self.cluster.recorder().revisions(revisions);
        // No progress within this time is what it is: the next action comes.
        drop(timeout(Duration::from_millis(200), progress).await);
    }

    /// Ends all faults and waits until the cluster is as declared, quiet, and known to all watchers.
    ///
    /// # Errors
    /// What is not as it should be, and which invariants were violated.
    pub async fn heal(&mut self) -> anyhow::Result<()> {
        let faults = self.cluster.store().faults();
        faults.fail_next(0);
        faults.lose_replies(0);
        faults.delay(Duration::ZERO);
        faults.silence_watches(false);
        for node in self.cluster.nodes() {
            node.set(|mood| *mood = Mood { crashes: mood.crashes, ..Mood::default() });
        }
        self.cluster.resume();
        self.rest(|_| Vec::new()).await?;
        if std::mem::take(&mut self.ambiguous) {
            self.cluster.recorder().ambiguous(false);
        }
        Ok(())
    }

    /// Removes everything that the user made and waits until nothing of it is left.
    ///
    /// # Errors
    /// As [`Driver::heal`].
    pub async fn clear(&mut self) -> anyhow::Result<()> {
        let mine = |name: &&str| name.starts_with("ns");
        let names: Vec<String> = self.cluster.recorder().with(|world| {
            let names = world.all("Namespace").map(|n| object::text(n, "metadata.name"));
            names.filter(mine).map(str::to_owned).collect()
        });
        for name in names {
            self.delete(&namespaces(), "", &name, &DeleteParams::default()).await?;
        }
        self.rest(|world| {
            let left = world.all("Namespace").map(|n| object::text(n, "metadata.name")).filter(mine);
            left.map(|name| format!("namespace {name} is still there")).chain(settled::leaks(world)).collect()
        })
        .await
    }

    async fn rest(&mut self, more: impl Fn(&World) -> Vec<String>) -> anyhow::Result<()> {
        let give_up = Instant::now() + LIMIT;
        let faults = |world: &World| [settled::faults(world), more(world)].concat();
        loop {
            self.cluster.tend();
            self.check()?;
            let recorder = self.cluster.recorder().clone();
            let looked = recorder.until(|world| faults(world).is_empty().then_some(()));
            let settled = timeout(TEND, looked).await.is_ok();
            if settled && self.is_quiet().await {
                break;
            }
            if Instant::now() > give_up {
                let faults = recorder.with(faults).join("\n  ");
                bail!("the cluster does not come to rest:\n  {faults}\nlast writes:\n  {}", self.last_writes());
            }
        }
        self.check()?;
        self.check_watchers().await
    }

    /// Whether nothing is written for a while but signs of life.
    async fn is_quiet(&self) -> bool {
        let recorder = self.cluster.recorder();
        let before = recorder.history().len();
        tokio::time::sleep(QUIET).await;
        recorder.history()[before..].iter().all(is_sign_of_life)
    }

    fn last_writes(&self) -> String {
        let history = self.cluster.recorder().history();
        let all = history.iter().rev().filter(|s| !is_sign_of_life(s)).take(12).map(describe);
        all.collect::<Vec<_>>().join("\n  ")
    }

    /// # Errors
    /// The violations so far.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let mut found: Vec<String> = self.cluster.recorder().violations().iter().map(ToString::to_string).collect();
        found.extend(self.cluster.watchers().iter().flat_map(crate::watching::Watcher::faults));
        if !found.is_empty() {
            bail!("{} violations:\n  {}\n{}", found.len(), found.join("\n  "), self.story());
        }
        Ok(())
    }

    /// The history around the first violation.
    fn story(&self) -> String {
        let Some(first) = self.cluster.recorder().violations().first().map(|v| v.revision) else {
            return String::new();
        };
        let near = |step: &&Step| matches!(step, Step::Changes { revision, .. } if revision.abs_diff(first) <= 40);
        let history = self.cluster.recorder().history();
        let lines: Vec<_> =
            history.iter().filter(near).filter(|s| !is_sign_of_life(s) || is_of_leaders(s)).map(describe).collect();
        format!("what happened around it:\n  {}", lines.join("\n  "))
    }

    /// Every watching client knows exactly what is stored.
    async fn check_watchers(&self) -> anyhow::Result<()> {
        for watcher in self.cluster.watchers() {
            let known = || {
                self.cluster.recorder().with(|world| {
                    let kind = gantry_api::kinds::by_resource(
                        &watcher.resource.group,
                        &watcher.resource.version,
                        &watcher.resource.resource,
                    );
                    stored(world, kind.map_or("", |k| k.kind))
                })
            };
            let deadline = Instant::now() + Duration::from_secs(5);
            // Signs of life go on: what is expected moves while the client catches up.
            while timeout(TEND, watcher.until_knows(&known())).await.is_err() {
                if Instant::now() > deadline {
                    bail!("a client that watches {} does not know what is stored", watcher.resource.resource);
                }
            }
        }
        Ok(())
    }
}

fn stored(world: &World, kind: &str) -> BTreeMap<String, (String, u64)> {
    let entry = |o: &object::Object| {
        let key = format!("{}/{}", object::namespace(o), object::text(o, "metadata.name"));
        let revision = object::text(o, "metadata.resourceVersion").parse().unwrap_or(0);
        (key, (object::uid(o).to_owned(), revision))
    };
    world.all(kind).map(entry).collect()
}

fn is_sign_of_life(step: &Step) -> bool {
    let Step::Changes { changes, .. } = step else { return true };
    changes.iter().all(|c| matches!(c.kind(), "Lease" | "Event" | "") || !c.key.starts_with("/registry/"))
}

/// Whether it is about the lease of a component.
fn is_of_leaders(step: &Step) -> bool {
    let Step::Changes { changes, .. } = step else { return false };
    changes.iter().any(|c| c.key.starts_with("/registry/leases/kube-system/"))
}

fn describe(step: &Step) -> String {
    let Step::Changes { revision, changes } = step else {
        return "the writers' answers became (un)reliable".to_owned();
    };
    let one = |c: &crate::history::Change| {
        let verb = match (&c.before, &c.after) {
            (None, _) => "made",
            (_, None) => "removed",
            _ => "changed",
        };
        let object = c.newest();
        let details = match c.kind() {
            "Pod" => format!(
                " ready={} terminating={} node={}",
                object::condition(object, "Ready"),
                object::is_terminating(object),
                object::text(object, "spec.nodeName")
            ),
            "Lease" => {
                let entries = gantry_api::value::list_at(object, "metadata.managedFields").iter();
                let writers = entries.map(|e| format!("{} {}", object::text(e, "manager"), object::text(e, "time")));
                format!(" holder={} {:?}", object::text(object, "spec.holderIdentity"), writers.collect::<Vec<_>>())
            }
            "ReplicaSet" | "Deployment" => format!(
                " generation={}/{} replicas={} status={}/{}/{}",
                object::number(object, "metadata.generation"),
                object::number(object, "status.observedGeneration"),
                object::number(object, "spec.replicas"),
                object::number(object, "status.replicas"),
                object::number(object, "status.readyReplicas"),
                object::number(object, "status.availableReplicas"),
            ),
            _ => String::new(),
        };
        format!("{verb} {}{details}", object::title(object))
    };
    format!("{revision}: {}", changes.iter().map(one).collect::<Vec<_>>().join(", "))
}
