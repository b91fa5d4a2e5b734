//! A double of the kubelet: a node that registers, renews its lease and pretends to run pods.
//!
//! What it does with a pod is decided in [`pods`], purely; here are its wires. It talks as the kubelet does, with a node's
//! certificate and a node's rights.

mod pods;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gantry_client::{Client, DeleteParams, Error, Informer, Object, Patch, Reader};
use gantry_common::clock::{self, Clock};
use gantry_common::task::{Group, OnExit};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use self::pods::{Act, Local};

/// The lease is renewed this often.
const LEASE_PERIOD: Duration = Duration::from_millis(400);
/// After a failed call.
const RETRY: Duration = Duration::from_millis(50);

/// How the node behaves; changed by the test while it runs.
#[derive(Debug, Clone)]
pub struct Mood {
    /// Says and does nothing, as behind a broken network.
    pub silent: bool,
    /// From when a pod is seen until it is ready.
    pub start: Duration,
    /// From when a pod is to end until it has.
    pub stop: Duration,
    /// Each time this grows, a container of the node's first pod crashes and comes back.
    pub crashes: u64,
}

impl Default for Mood {
    fn default() -> Self {
        Self { silent: false, start: Duration::from_millis(20), stop: Duration::from_millis(20), crashes: 0 }
    }
}

/// What the node offers.
#[derive(Debug, Clone)]
pub struct Capacity {
    /// CPUs, as a quantity.
    pub cpu: String,
    /// Memory, as a quantity.
    pub memory: String,
    /// Number of pods.
    pub pods: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { cpu: "2".to_owned(), memory: "4Gi".to_owned(), pods: 30 }
    }
}

/// A node that runs as tasks of a group.
pub struct FakeNode {
    name: String,
    mood: watch::Sender<Mood>,
}

impl FakeNode {
    /// Starts a node; `client` must have its certificate.
    #[must_use]
    pub fn start(name: &str, capacity: Capacity, client: Client, group: &Group) -> Self {
        let (mood, seen) = watch::channel(Mood::default());
        let fields = format!("spec.nodeName={name}");
        let informed = Informer::<Pod>::builder(client.api()).fields(&fields).start(group);
        let own = Informer::<Node>::builder(client.api()).fields(&format!("metadata.name={name}")).start(group);
        let kubelet = Kubelet { name: name.to_owned(), client, capacity, pods: informed, own, mood: seen };
        group.spawn("node", OnExit::ShutDown, kubelet.run());
        Self { name: name.to_owned(), mood }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes how it behaves from now on.
    pub fn set(&self, change: impl FnOnce(&mut Mood)) {
        self.mood.send_modify(change);
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.mood.borrow().silent
    }
}

struct Kubelet {
    name: String,
    client: Client,
    capacity: Capacity,
    pods: Reader<Pod>,
    own: Reader<Node>,
    mood: watch::Receiver<Mood>,
}

impl Kubelet {
    async fn run(mut self) {
        let (mut changes, mut nodes) = (self.pods.subscribe(), self.own.subscribe());
        let mut local = Local::default();
        let mut lease_due = Instant::now();
        let mut crashes = 0;
        loop {
            while changes.try_next().is_some() {}
            while nodes.try_next().is_some() {}
            let mood = self.mood.borrow_and_update().clone();
            let mut wake = None;
            if !mood.silent {
                let crash = mood.crashes > crashes;
                crashes = mood.crashes;
                wake = match self.work(&mut local, &mut lease_due, &mood, crash).await {
                    Ok(next) => Some(next.map_or(lease_due, |n| n.min(lease_due))),
                    Err(error) => {
                        tracing::debug!(node = self.name, error = gantry_common::error_chain(&error), "trying again");
                        Some(Instant::now() + RETRY)
                    }
                };
            }
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                _ = changes.next(), if !mood.silent => {}
                _ = nodes.next(), if !mood.silent => {}
                changed = self.mood.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One look at everything; returns when to look again, if nothing changes before.
    async fn work(
        &self,
        local: &mut Local,
        lease_due: &mut Instant,
        mood: &Mood,
        crash: bool,
    ) -> Result<Option<Instant>, Error> {
        if *lease_due <= Instant::now() {
            self.renew().await?;
            *lease_due = Instant::now() + LEASE_PERIOD;
        }
        self.own.synced().await;
        let Some(node) = self.own.get(&gantry_client::Key::cluster(&self.name)) else {
            self.register().await?;
            return Ok(None);
        };
        if !is_ready(&node) {
            self.report().await?;
        }
        self.pods.synced().await;
        let pods = self.pods.list();
        let uids: BTreeSet<&str> = pods.iter().map(|p| p.uid()).collect();
        local.forget_all_but(&uids);
        if crash && let Some(pod) = pods.first() {
            local.crash(pod.uid(), Instant::now() + mood.start * 2);
        }
        let cidr = node.spec.as_ref().and_then(|s| s.pod_cidr.as_deref());
        let mut next: Option<Instant> = None;
        for pod in pods {
            match local.act(&pod, cidr, mood, Instant::now()) {
                Act::Nothing => {}
                Act::Wait(until) => next = Some(next.map_or(until, |n| n.min(until))),
                Act::Report(status) => self.report_pod(&pod, status).await?,
                Act::Remove => self.remove(&pod).await?,
            }
        }
        Ok(next)
    }

    async fn register(&self) -> Result<(), Error> {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}},
            "status": self.status(),
        });
        let node: Node = serde_json::from_value(node).map_err(|source| decode("a node", source))?;
        match self.client.api::<Node>().create(&node).await {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        }
    }

    fn status(&self) -> Value {
        let now = now();
        let offer =
            json!({"cpu": self.capacity.cpu, "memory": self.capacity.memory, "pods": self.capacity.pods.to_string()});
        json!({
            "capacity": offer, "allocatable": offer,
            "addresses": [{"type": "InternalIP", "address": "10.200.0.11"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
                "lastHeartbeatTime": now, "lastTransitionTime": now}],
        })
    }

    async fn report(&self) -> Result<(), Error> {
        let patch = Patch::Strategic(json!({"status": self.status()}));
        self.client.api::<Node>().patch(&self.name, &patch, Some("status")).await.map(drop)
    }

    async fn renew(&self) -> Result<(), Error> {
        let leases = self.client.namespaced::<Lease>("kube-node-lease");
        let spec = json!({"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": clock::System.now()});
        match leases.patch(&self.name, &Patch::Merge(json!({"spec": spec})), None).await {
            Err(error) if error.is_not_found() => {
                let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": self.name, "namespace": "kube-node-lease"}, "spec": spec});
                let lease: Lease = serde_json::from_value(lease).map_err(|source| decode("a lease", source))?;
                leases.create(&lease).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    async fn report_pod(&self, pod: &Arc<Pod>, status: Value) -> Result<(), Error> {
        let key = pod.key();
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid()}, "status": status}));
        let result = self.client.namespaced::<Pod>(&key.namespace).patch(&key.name, &patch, Some("status")).await;
        unless_gone(result.map(drop))
    }

    async fn remove(&self, pod: &Arc<Pod>) -> Result<(), Error> {
        let key = pod.key();
        let params = DeleteParams::default().grace(0).uid(pod.uid());
        unless_gone(self.client.namespaced::<Pod>(&key.namespace).delete(&key.name, &params).await)
    }
}

/// A pod that is gone, or is another by now, is news that the informer brings.
fn unless_gone(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other,
    }
}

fn decode(what: &str, source: serde_json::Error) -> Error {
    Error::Decode { what: what.to_owned(), source }
}

fn now() -> String {
    jiff::Timestamp::from_second(clock::System.now().as_second()).unwrap_or_default().to_string()
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}
