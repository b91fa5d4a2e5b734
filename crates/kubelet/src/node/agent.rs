//! Registers the node, renews its lease, reports its status.

use std::{sync::Arc, time::Duration};

use gantry_client::{Client, Error, Key, Patch, Reader};
use gantry_common::{backoff::Backoff, clock::SharedClock};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    Machine,
    lease::Renewal,
    report::{self, Facts},
};
use crate::{
    network::PodNetwork,
    observe::Health,
    runtime::{Image, Info, Runtime},
};

/// The lease is renewed, and the status looked at, this often.
const PERIOD: Duration = Duration::from_secs(10);
/// A runtime that takes longer to say how it is does not work.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Images are listed this often.
const IMAGES_EVERY: Duration = Duration::from_secs(60);
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(7);

/// Speaks for the node.
pub(crate) struct Agent {
    pub(crate) client: Client,
    /// Holds the node's own object, while there is one.
    pub(crate) own_node: Reader<Node>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) network: Arc<dyn PodNetwork>,
    pub(crate) health: watch::Receiver<Health>,
    pub(crate) network_changed: Arc<Notify>,
    pub(crate) clock: SharedClock,
    pub(crate) machine: Machine,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) register: bool,
}

#[derive(Default)]
struct Seen {
    info: Option<Info>,
    /// The runtime is there but does not answer.
    stuck: bool,
    images: Vec<Image>,
    images_at: Option<Instant>,
}

impl Agent {
    /// Speaks for ever.
    pub(crate) async fn run(mut self) {
        let mut seen = Seen::default();
        self.look(&mut seen).await;
        let mut node = self.registered(&seen).await;
        let mut lease = Renewal::new(self.client.clone());
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let renewed = lease.renew(&node, self.clock.now()).await;
                    if let Err(error) = renewed {
                        tracing::warn!(error = gantry_common::error_chain(&error), "node lease could not be renewed");
                    }
                }
                changed = self.health.changed() => if changed.is_err() { return },
                () = self.network_changed.notified() => {}
            }
            self.look(&mut seen).await;
            if self.was_deleted(&node) {
                node = self.registered(&seen).await;
                lease = Renewal::new(self.client.clone());
            }
            match self.report(&node, &seen).await {
                Ok(Some(newest)) => node = newest,
                Ok(None) => {}
                // Somebody deleted the object: the node is there all the same.
                Err(error) if error.is_not_found() => {
                    node = self.registered(&seen).await;
                    lease = Renewal::new(self.client.clone());
                }
                Err(error) => {
                    tracing::warn!(error = gantry_common::error_chain(&error), "node status could not be written");
                }
            }
        }
    }

    /// Whether somebody deleted the node's object, which the watch had told of before.
    fn was_deleted(&self, node: &Node) -> bool {
        let revision = |node: &Node| node.metadata.resource_version.as_deref().and_then(|v| v.parse::<u64>().ok());
        self.register
            && self.own_node.is_synced()
            && Some(self.own_node.revision()) > revision(node)
            && self.own_node.get(&Key::cluster(&self.name)).is_none()
    }

    async fn look(&self, seen: &mut Seen) {
        let up = *self.health.borrow() == Health::Up;
        if !up {
            seen.images_at = None;
            seen.stuck = false;
            return;
        }
        match tokio::time::timeout(ANSWER_TIMEOUT, self.runtime.info()).await {
            Ok(Ok(info)) => {
                seen.info = Some(info);
                seen.stuck = false;
            }
            // The stream of events ends too, and says why.
            Ok(Err(_)) => return,
            Err(_) => {
                seen.stuck = true;
                return;
            }
        }
        if seen.images_at.is_none_or(|at| at.elapsed() >= IMAGES_EVERY)
            && let Ok(images) = self.runtime.images().await
        {
            seen.images = images;
            seen.images_at = Some(Instant::now());
        }
    }

    /// What keeps the node from running pods.
    fn problems(&self, seen: &Seen) -> Vec<String> {
        let runtime = match &*self.health.borrow() {
            Health::Up if seen.stuck => {
                Some(format!("container runtime is down: it gave no answer within {}s", ANSWER_TIMEOUT.as_secs()))
            }
            Health::Up => None,
            Health::Unknown => Some("container runtime status check may not have completed yet".to_owned()),
            Health::Down(why) => Some(format!("container runtime is down: {why}")),
        };
        let network = self.network.problem().map(|why| {
            format!(
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{why}"
            )
        });
        runtime.into_iter().chain(network).collect()
    }

    fn facts<'a>(&'a self, seen: &'a Seen, problems: &'a [String]) -> Facts<'a> {
        Facts {
            name: &self.name,
            address: &self.address,
            machine: &self.machine,
            runtime: seen.info.as_ref(),
            images: &seen.images,
            problems,
            now: self.clock.now(),
        }
    }

    /// The node's object, made if need be; tries until it is there.
    async fn registered(&self, seen: &Seen) -> Node {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            match self.register_once(seen).await {
                Ok(node) => {
                    tracing::info!(node = self.name, "node is registered");
                    return node;
                }
                Err(error) => {
                    tracing::warn!(
                        node = self.name,
                        error = gantry_common::error_chain(&error),
                        "node could not be registered, trying again"
                    );
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn register_once(&self, seen: &Seen) -> Result<Node, Error> {
        let nodes = self.client.api::<Node>();
        if self.register {
            let problems = self.problems(seen);
            let wanted = report::object(&self.facts(seen, &problems), &self.labels);
            match nodes.create(&wanted).await {
                Err(error) if error.is_already_exists() => {}
                other => return other,
            }
        }
        // It was there before: only the labels are put right, the status follows with the first report.
        let found = nodes.get(&self.name).await?;
        let wanted = report::labels(&self.name, &self.labels);
        let present = found.metadata.labels.clone().unwrap_or_default();
        if wanted.iter().all(|(key, value)| present.get(key) == Some(value)) {
            return Ok(found);
        }
        let patch = Patch::Strategic(json!({"metadata": {"labels": wanted}}));
        nodes.patch(&self.name, &patch, None).await
    }

    /// Writes the status if it is due.
    async fn report(&self, node: &Node, seen: &Seen) -> Result<Option<Node>, Error> {
        let problems = self.problems(seen);
        let old = node.status.clone().unwrap_or_default();
        let status = report::status(&self.facts(seen, &problems), Some(&old));
        if !report::due(&old, &status) {
            return Ok(None);
        }
        let patch = Patch::Strategic(json!({"status": status}));
        self.client.api::<Node>().patch(&self.name, &patch, Some("status")).await.map(Some)
    }
}
