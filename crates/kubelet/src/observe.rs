//! The kubelet's picture of the runtime: all its containers, kept up to date by the runtime's events.
//!
//! An event only says where to look; what counts is what the inspection then finds. Everything is listed anew only when
//! events may have been missed: at the start and after the stream broke.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use gantry_common::backoff::Backoff;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::runtime::{Container, Error, Event, Runtime};

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Containers looked at at once; past it events wait.
const LOOKS_MAX: usize = 16;

/// How the runtime is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing is known yet.
    Unknown,
    /// It answers, and the picture is complete.
    Up,
    /// It does not answer, and why.
    Down(String),
}

type Pods = BTreeMap<String, BTreeMap<String, Container>>;

/// Containers that are being looked at because of an event: many at once, since the runtime answers for a container that is
/// being started only once it has started; each once, and once more where another event came meanwhile.
#[derive(Default)]
struct Looks<'a> {
    running: FuturesUnordered<BoxFuture<'a, (String, Result<(), Error>)>>,
    again: BTreeMap<String, bool>,
}

impl<'a> Looks<'a> {
    fn add(&mut self, observed: &'a Observed, id: String) {
        match self.again.get_mut(&id) {
            Some(again) => *again = true,
            None => {
                self.again.insert(id.clone(), false);
                self.running.push(observed.look(id).boxed());
            }
        }
    }

    fn done(&mut self, observed: &'a Observed, id: String) {
        if self.again.remove(&id) == Some(true) {
            self.add(observed, id);
        }
    }
}

/// The picture.
pub(crate) struct Observed {
    runtime: Arc<dyn Runtime>,
    pods: Mutex<Pods>,
    health: watch::Sender<Health>,
    changed: mpsc::Sender<String>,
    version: watch::Sender<u64>,
}

impl Observed {
    /// An empty picture; the UIDs of pods whose containers changed are sent to `changed`.
    pub(crate) fn new(runtime: Arc<dyn Runtime>, changed: mpsc::Sender<String>) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            pods: Mutex::default(),
            health: watch::channel(Health::Unknown).0,
            changed,
            version: watch::channel(0).0,
        })
    }

    /// A pod's containers.
    pub(crate) fn of(&self, uid: &str) -> Vec<Container> {
        self.pods.lock().get(uid).map(|pod| pod.values().cloned().collect()).unwrap_or_default()
    }

    /// The pods that have containers.
    pub(crate) fn uids(&self) -> Vec<String> {
        self.pods.lock().keys().cloned().collect()
    }

    /// Changes with the picture, from now on.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// How the runtime is, from now on.
    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Looks at one container now.
    pub(crate) async fn refresh(&self, id: &str) -> Result<(), Error> {
        match self.runtime.inspect(id).await? {
            Some(container) => self.put(container).await,
            None => self.drop_container(id).await,
        }
        Ok(())
    }

    async fn put(&self, container: Container) {
        let uid = container.pod.uid.clone();
        let news = {
            let mut pods = self.pods.lock();
            let pod = pods.entry(uid.clone()).or_default();
            let fits = pod.get(&container.id).is_none_or(|before| container.state.supersedes(&before.state));
            fits && pod.insert(container.id.clone(), container.clone()).as_ref() != Some(&container)
        };
        if news {
            self.tell(uid).await;
        }
    }

    /// A container is gone.
    pub(crate) async fn drop_container(&self, id: &str) {
        let uid = {
            let mut pods = self.pods.lock();
            let uid = pods.iter().find(|(_, pod)| pod.contains_key(id)).map(|(uid, _)| uid.clone());
            if let Some(pod) = uid.as_ref().and_then(|uid| pods.get_mut(uid)) {
                pod.remove(id);
            }
            pods.retain(|_, pod| !pod.is_empty());
            uid
        };
        if let Some(uid) = uid {
            self.tell(uid).await;
        }
    }

    /// The receiver ends only with the kubelet.
    async fn tell(&self, uid: String) {
        self.version.send_modify(|version| *version += 1);
        drop(self.changed.send(uid).await);
    }

    /// Follows the runtime for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let reason = match self.follow(&mut backoff).await {
                Ok(()) => "its stream of events ended".to_owned(),
                Err(error) => gantry_common::error_chain(&error),
            };
            let before = self.health.send_replace(Health::Down(reason.clone()));
            if !matches!(before, Health::Down(_)) {
                tracing::warn!(reason, "container runtime is down, trying again");
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn follow(&self, backoff: &mut Backoff) -> Result<(), Error> {
        // Subscribed before the list, so that nothing is missed between the two.
        let mut events = self.runtime.events().await?;
        let listed = self.runtime.list().await?;
        self.replace(listed).await;
        backoff.reset();
        if self.health.send_replace(Health::Up) != Health::Up {
            tracing::info!(pods = self.pods.lock().len(), "container runtime is up");
        }
        let mut looks = Looks::default();
        loop {
            tokio::select! {
                event = events.next(), if looks.running.len() < LOOKS_MAX => {
                    let Some(event) = event else { return Ok(()) };
                    let Event { id, removed } = event?;
                    if removed { self.drop_container(&id).await } else { looks.add(self, id) }
                }
                Some((id, looked)) = looks.running.next() => {
                    looked?;
                    looks.done(self, id);
                }
            }
        }
    }

    async fn look(&self, id: String) -> (String, Result<(), Error>) {
        let looked = self.refresh(&id).await;
        (id, looked)
    }

    async fn replace(&self, listed: Vec<Container>) {
        let mut fresh = Pods::new();
        for container in listed {
            fresh.entry(container.pod.uid.clone()).or_default().insert(container.id.clone(), container);
        }
        let touched: Vec<String> = {
            let mut pods = self.pods.lock();
            let mut uids: Vec<String> = pods.keys().chain(fresh.keys()).cloned().collect();
            uids.sort();
            uids.dedup();
            uids.retain(|uid| pods.get(uid) != fresh.get(uid));
            *pods = fresh;
            uids
        };
        for uid in touched {
            self.tell(uid).await;
        }
    }
}
