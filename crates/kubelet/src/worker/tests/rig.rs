//! A node without Docker, network and API server.

use std::{sync::Arc, time::Duration};

use gantry_client::{Client, Config};
use gantry_common::{
    clock::{Clock, SharedClock},
    shutdown::Shutdown,
    task,
};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    events::Events,
    exec::Commands,
    images::Images,
    network::{self, PodNetwork},
    objects::Objects,
    observe::Observed,
    pod::{files::Dns, status::Host},
    probe,
    runtime::{Fake, Runtime},
    volumes::{Tokens, Volumes},
    worker::{self, Deps, Handle, Input, PodApi, Settings},
};

/// Wall time that follows tokio's, so that paused time moves both.
struct Follows(tokio::time::Instant);

impl Clock for Follows {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + self.0.elapsed()
    }
}

/// The API server's side: one pod, its status as patched, what was asked.
#[derive(Clone, Default)]
pub(super) struct Api {
    pod: Arc<Mutex<Option<Pod>>>,
    /// The pod as it was when it was deleted.
    pub(super) last: Arc<Mutex<Option<Pod>>>,
    pub(super) deleted: Arc<Mutex<bool>>,
    pub(super) writes: Arc<Mutex<usize>>,
}

#[async_trait::async_trait]
impl PodApi for Api {
    async fn patch_status(&self, _pod: &Pod, patch: Value) -> Result<Option<Pod>, String> {
        *self.writes.lock() += 1;
        let mut slot = self.pod.lock();
        let Some(present) = slot.as_ref() else { return Ok(None) };
        let before = serde_json::to_value(present).unwrap();
        let mut after = gantry_api::patch::strategic(&before, &patch, "core/v1.Pod").map_err(|s| s.message)?;
        let revision: u64 = before["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        after["metadata"]["resourceVersion"] = (revision + 1).to_string().into();
        let after: Pod = serde_json::from_value(after).unwrap();
        *slot = Some(after.clone());
        Ok(Some(after))
    }

    async fn delete(&self, _pod: &Pod) -> Result<(), String> {
        *self.last.lock() = self.pod.lock().take();
        *self.deleted.lock() = true;
        Ok(())
    }
}

impl Api {
    pub(super) fn with(pod: Pod) -> Self {
        let api = Self::default();
        *api.pod.lock() = Some(pod);
        api
    }

    pub(super) fn pod(&self) -> Pod {
        self.pod.lock().clone().unwrap()
    }

    /// Changes the object as the API server does on a client's word.
    pub(super) fn change(&self, change: impl FnOnce(&mut Pod)) -> Pod {
        let mut slot = self.pod.lock();
        let pod = slot.as_mut().unwrap();
        let revision: u64 = pod.metadata.resource_version.as_ref().unwrap().parse().unwrap();
        pod.metadata.resource_version = Some((revision + 1).to_string());
        change(pod);
        pod.clone()
    }

    pub(super) fn mark_deleted(&self, grace: i64) -> Pod {
        let mut slot = self.pod.lock();
        let pod = slot.as_mut().unwrap();
        let revision: u64 = pod.metadata.resource_version.as_ref().unwrap().parse().unwrap();
        pod.metadata.resource_version = Some((revision + 1).to_string());
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(1_800_000_000).unwrap()));
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        pod.clone()
    }

    /// The reason or state that `kubectl get` shows for the first container, and its restarts.
    pub(super) fn shown(&self) -> (String, i32) {
        let status = self.pod.lock().as_ref().and_then(|p| p.status.clone());
        let first = status.and_then(|s| s.container_statuses).and_then(|list| list.into_iter().next());
        let Some(c) = first else { return (String::new(), 0) };
        let state = c.state.clone().unwrap_or_default();
        let text = match (state.waiting, state.running, state.terminated) {
            (Some(w), ..) => w.reason.unwrap_or_default(),
            (_, Some(_), _) if c.ready => "Ready".into(),
            (_, Some(_), _) => "Running".into(),
            (.., Some(t)) => t.reason.unwrap_or_default(),
            _ => String::new(),
        };
        (text, c.restart_count)
    }
}

pub(super) struct Rig {
    pub(super) fake: Fake,
    pub(super) api: Api,
    pub(super) events: Arc<Mutex<Vec<String>>>,
    pub(super) deps: Arc<Deps>,
    pub(super) handle: Arc<Mutex<Option<Handle>>>,
    pub(super) ended: mpsc::Receiver<String>,
    ended_in: mpsc::Sender<String>,
    _root: tempfile::TempDir,
}

/// A client that reaches nothing.
pub(super) fn no_client() -> Client {
    let config = Config {
        servers: vec!["https://127.0.0.1:1".into()],
        ca_pem: Vec::new(),
        tls_server_name: None,
        identity: None,
        token: None,
        user_agent: "test".into(),
    };
    Client::new(&config).unwrap()
}

/// The parent of the control groups of a node whose folder this is: each node has its own, and takes it away again.
pub(super) fn cgroup_root(root: &std::path::Path) -> String {
    let name = root.parent().and_then(std::path::Path::file_name).unwrap_or_default();
    format!("/gt-kubelet-test/{}", name.to_string_lossy().trim_start_matches('.'))
}

pub(super) fn deps(
    runtime: Arc<dyn Runtime>,
    network: Arc<dyn PodNetwork>,
    root: &std::path::Path,
    clock: &SharedClock,
    api: &Api,
    changed: mpsc::Sender<String>,
) -> (Arc<Deps>, Arc<Mutex<Vec<String>>>) {
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&log);
    let events = Arc::new(Events::to(move |_, _, reason, message| sink.lock().push(format!("{reason}: {message}"))));
    let client = no_client();
    let objects = Objects::new(client.clone(), Shutdown::new(), mpsc::channel(8).0);
    let observed = Observed::new(Arc::clone(&runtime), changed);
    task::spawn("observed", Arc::clone(&observed).run());
    let settings = Settings {
        node: "n1".into(),
        host: Host { ip: "127.0.0.1".into() },
        dns: Dns::default(),
        hosts: String::new(),
        cgroup_root: cgroup_root(root),
        systemd_cgroups: false,
        cpu_milli: 2000,
        memory_bytes: 1 << 30,
    };
    let commands = Commands::new(Arc::clone(&runtime), root);
    let deps = Arc::new(Deps {
        grants: crate::worker::Grants::default(),
        volumes: Volumes::new(root, Arc::clone(&objects), Tokens::new(client, Arc::clone(clock))),
        images: Images::new(Arc::clone(&runtime), Arc::clone(&objects)),
        probes: Arc::new(probe::Context {
            commands: Arc::clone(&commands),
            events: Arc::clone(&events),
            clock: Arc::clone(clock),
            figures: probe::Figures::default(),
        }),
        runtime,
        commands,
        network,
        objects,
        observed,
        events,
        api: Box::new(api.clone()),
        services: None,
        clock: Arc::clone(clock),
        settings,
    });
    (deps, log)
}

pub(super) fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "uid": "11111111-2222-3333-4444-555555555555", "resourceVersion": "1"},
        "spec": spec,
    }))
    .unwrap()
}

impl Rig {
    pub(super) fn new(spec: Value) -> Self {
        Self::with(pod(spec))
    }

    pub(super) fn with(pod: Pod) -> Self {
        let clock: SharedClock = Arc::new(Follows(tokio::time::Instant::now()));
        let fake = Fake::new(Arc::clone(&clock));
        let root = tempfile::tempdir().unwrap();
        let api = Api::with(pod);
        let (changed, mut changes) = mpsc::channel(64);
        let network = Arc::new(network::Fake::default());
        let (deps, events) = deps(Arc::new(fake.clone()), network, root.path(), &clock, &api, changed);
        let handle: Arc<Mutex<Option<Handle>>> = Arc::default();
        let wake = Arc::clone(&handle);
        task::spawn("wake", async move {
            while changes.recv().await.is_some() {
                if let Some(handle) = &*wake.lock() {
                    handle.wake();
                }
            }
        });
        let (ended_in, ended) = mpsc::channel(4);
        Self { fake, api, events, deps, handle, ended, ended_in, _root: root }
    }

    /// Starts the worker; as a restarted kubelet would if it ran before.
    pub(super) async fn start(&self) {
        drop(self.handle.lock().take());
        let mut health = self.deps.observed.health();
        drop(health.wait_for(|h| *h == crate::observe::Health::Up).await);
        let pod = Arc::new(self.pod());
        *self.handle.lock() = Some(worker::spawn(&self.deps, &pod, false, self.ended_in.clone()));
    }

    pub(super) fn send(&self, input: Input) {
        if let Some(handle) = &*self.handle.lock() {
            handle.send(input);
        }
    }

    pub(super) fn pod(&self) -> Pod {
        self.api.pod()
    }

    /// Asks for deletion as the API server does.
    pub(super) fn delete(&self, grace: i64) {
        let pod = Arc::new(self.api.mark_deleted(grace));
        self.send(Input::Present(pod));
    }

    pub(super) fn shown(&self) -> (String, i32) {
        self.api.shown()
    }

    /// Waits, in paused time, until the first container is shown so.
    pub(super) async fn until(&self, text: &str, restarts: i32) {
        let wanted = (text.to_owned(), restarts);
        for _ in 0..20_000 {
            if self.shown() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "never {wanted:?}, last {:?}; calls {:?}; events {:?}",
            self.shown(),
            self.fake.calls(),
            self.events.lock()
        );
    }

    pub(super) fn said(&self, start: &str) -> usize {
        self.events.lock().iter().filter(|line| line.starts_with(start)).count()
    }

    pub(super) fn called(&self, start: &str) -> usize {
        self.fake.calls().iter().filter(|line| line.starts_with(start)).count()
    }
}
