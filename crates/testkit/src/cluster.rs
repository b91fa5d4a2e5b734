//! The whole control plane in one process, on the in-memory store, with daemons that can die, freeze and come back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use gantry_apiserver::testing::{Builder as ApiServer, Pki};
use gantry_client::{Client, Config, ResourceId};
use gantry_common::daemon::Context;
use gantry_common::shutdown::Shutdown;
use gantry_common::task::Group;
use gantry_common::{clock, tls};
use gantry_store::MemoryStore;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::component::Component;
use crate::history::World;
use crate::node::{Capacity, FakeNode};
use crate::object;
use crate::recorder::Recorder;
use crate::watching::Watcher;

mod role;

pub use role::Role;

/// How long the API server may take to start.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Where this process listens.
const LOOPBACK: &str = "127.0.0.0/8";
/// What clients watch: group, version, resource.
const WATCHED: &[(&str, &str, &str)] = &[
    ("", "v1", "namespaces"),
    ("", "v1", "nodes"),
    ("", "v1", "pods"),
    ("", "v1", "services"),
    ("apps", "v1", "deployments"),
    ("apps", "v1", "replicasets"),
    ("discovery.k8s.io", "v1", "endpointslices"),
];

/// What a cluster is made of.
pub struct Builder {
    nodes: usize,
    capacity: Capacity,
    instances: usize,
    seed: u64,
}

impl Default for Builder {
    fn default() -> Self {
        Self { nodes: 3, capacity: Capacity::default(), instances: 1, seed: 0 }
    }
}

impl Builder {
    /// This many nodes, `n0` and so on.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// What each node offers.
    #[must_use]
    pub fn capacity(mut self, capacity: Capacity) -> Self {
        self.capacity = capacity;
        self
    }

    /// This many instances of the scheduler and of the controller manager, of which one leads.
    #[must_use]
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances;
        self
    }

    /// Seed of whatever the daemons choose by chance.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts everything on free ports of the loopback interface.
    ///
    /// # Errors
    /// When the API server does not start.
    pub async fn start(self) -> anyhow::Result<Cluster> {
        tls::install_provider();
        let mut cluster = Cluster {
            folder: tempfile::Builder::new().prefix("gantry-sim-").tempdir()?,
            pki: Arc::new(Pki::new()),
            store: MemoryStore::new(),
            recorder: None,
            watchers: Vec::new(),
            api: None,
            port: gantry_store::testing::free_port()?,
            daemons: Vec::new(),
            started: 0,
            nodes: Vec::new(),
            seed: self.seed,
            group: Group::new(Shutdown::new()),
        };
        cluster.recorder = Some(Recorder::start(cluster.store.clone(), &cluster.group));
        cluster.start_api().await?;
        std::fs::write(cluster.folder.path().join("root-ca.crt"), cluster.pki.ca_pem())?;
        for (group, version, resource) in WATCHED {
            let resource = ResourceId::new(*group, *version, *resource);
            let watcher = Watcher::start(cluster.admin("watcher"), resource, &cluster.group);
            cluster.watchers.push(watcher);
        }
        for role in Role::ALL {
            for _ in 0..self.instances {
                cluster.start_daemon(role);
            }
        }
        for number in 0..self.nodes {
            cluster.add_node(&format!("n{number}"), self.capacity.clone());
        }
        Ok(cluster)
    }
}

/// One instance of a daemon.
struct Daemon {
    role: Role,
    component: Component,
}

/// A running control plane. Dropping it ends everything.
pub struct Cluster {
    // Dropped first: daemons end before what they talk to.
    daemons: Vec<Daemon>,
    api: Option<Component>,
    port: u16,
    pki: Arc<Pki>,
    store: MemoryStore,
    recorder: Option<Recorder>,
    watchers: Vec<Watcher>,
    nodes: Vec<FakeNode>,
    started: usize,
    seed: u64,
    group: Group,
    folder: TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.group.shutdown().trigger();
    }
}

impl Cluster {
    /// The store underneath, and its faults.
    #[must_use]
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// What happened.
    ///
    /// # Panics
    /// Never: it is there from the start.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        self.recorder.as_ref().expect("made by the builder")
    }

    /// The clients that watch.
    #[must_use]
    pub fn watchers(&self) -> &[Watcher] {
        &self.watchers
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[FakeNode] {
        &self.nodes
    }

    /// A client with an administrator's rights.
    ///
    /// # Panics
    /// Never: the certificates are ours.
    #[must_use]
    pub fn admin(&self, agent: &str) -> Client {
        let config = self.connection("admin", &["system:masters"], agent);
        Client::new(&config).expect("our own certificates are usable")
    }

    /// A serving certificate of the cluster's CA.
    #[must_use]
    pub fn serving(&self, names: &[&str]) -> tls::Identity {
        let identity = self.pki.serving_for("backend", names);
        tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() }
    }

    /// How a user connects, with a client certificate.
    #[must_use]
    pub fn connection(&self, user: &str, groups: &[&str], agent: &str) -> Config {
        let identity = self.pki.client(user, groups);
        Config {
            servers: vec![format!("https://127.0.0.1:{}", self.port)],
            ca_pem: self.pki.ca_pem().into_bytes(),
            tls_server_name: None,
            identity: Some(tls::Identity {
                cert_pem: identity.cert_pem.into_bytes(),
                key_pem: identity.key_pem.into_bytes(),
            }),
            token: None,
            user_agent: format!("{agent}/test"),
        }
    }

    /// Adds a node.
    pub fn add_node(&mut self, name: &str, capacity: Capacity) {
        let config = self.connection(&format!("system:node:{name}"), &["system:nodes"], "kubelet");
        let client = Client::new(&config).expect("our own certificates are usable");
        self.nodes.push(FakeNode::start(name, capacity, client, &self.group));
    }

    async fn start_api(&mut self) -> anyhow::Result<()> {
        let (told, started) = oneshot::channel();
        let (folder, pki, store) = (self.folder.path().to_owned(), Arc::clone(&self.pki), self.store.clone());
        let port = self.port;
        let component = Component::start("api", move |shutdown| async move {
            match serve(&folder, pki, store, port).await {
                Ok(server) => {
                    drop(told.send(Ok(server.url())));
                    shutdown.requested().await;
                    server.stop().await;
                }
                Err(error) => drop(told.send(Err(error))),
            }
        });
        let url = tokio::time::timeout(START_LIMIT, started).await.context("the API server does not start")???;
        let port = url.rsplit(':').next().and_then(|p| p.parse().ok());
        self.port = port.ok_or_else(|| anyhow!("{url} has no port"))?;
        self.api = Some(component);
        Ok(())
    }

    /// Kills the API server and starts it again on the same port and store.
    ///
    /// # Errors
    /// When it does not start again.
    pub async fn restart_api(&mut self) -> anyhow::Result<()> {
        if let Some(api) = self.api.take() {
            api.crash();
        }
        self.start_api().await
    }

    /// Starts one more instance of a daemon.
    pub fn start_daemon(&mut self, role: Role) {
        self.started += 1;
        let name = format!("{}-{}", role.name(), self.started);
        let config = self.connection(role.user(), &[], &name);
        let (folder, seed) = (self.folder.path().to_owned(), self.seed);
        let component = Component::start(&name, move |shutdown| async move {
            let context = Context { shutdown, clock: clock::system() };
            if let Err(error) = role.run(&config, &folder, seed, context).await {
                tracing::info!("a daemon ended: {error:#}");
            }
        });
        self.daemons.push(Daemon { role, component });
    }

    /// Starts again what has ended, as a supervisor does.
    pub fn tend(&mut self) {
        let (ended, alive): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.daemons).into_iter().partition(|d| d.component.has_ended());
        self.daemons = alive;
        for daemon in ended {
            self.start_daemon(daemon.role);
        }
    }

    /// The instance that leads, by name.
    #[must_use]
    pub fn leader(&self, role: Role) -> Option<String> {
        self.recorder().with(|world| leader(world, role.name()))
    }

    fn position(&self, instance: &str) -> Option<usize> {
        self.daemons.iter().position(|d| d.component.name() == instance)
    }

    /// Kills the leading instance; another one takes its place on the bench.
    pub fn crash_leader(&mut self, role: Role) {
        if let Some(at) = self.leader(role).and_then(|name| self.position(&name)) {
            self.daemons.swap_remove(at).component.crash();
            self.start_daemon(role);
        }
    }

    /// Freezes the leading instance; returns its name.
    pub fn pause_leader(&mut self, role: Role) -> Option<String> {
        let name = self.leader(role)?;
        let at = self.position(&name)?;
        self.daemons[at].component.pause();
        Some(name)
    }

    /// Lets all frozen instances go on.
    pub fn resume(&mut self) {
        self.daemons.iter_mut().for_each(|d| d.component.resume());
    }

    /// Whether this instance still runs.
    #[must_use]
    pub fn is_running(&self, instance: &str) -> bool {
        self.position(instance).is_some_and(|at| !self.daemons[at].component.has_ended())
    }
}

async fn serve(
    folder: &Path,
    pki: Arc<Pki>,
    store: MemoryStore,
    port: u16,
) -> anyhow::Result<gantry_apiserver::testing::TestServer> {
    let builder = ApiServer::default().store(Arc::new(store)).pki(pki).configure(move |config| {
        config.secure_port = port;
        // Webhooks of a test run in its own process.
        config.webhook_allowed_cidrs = vec![LOOPBACK.parse().expect("a network")];
    });
    Ok(builder.start(folder).await?)
}

/// The field manager that last wrote the component's lease.
fn leader(world: &World, component: &str) -> Option<String> {
    let lease = world.find("Lease", "kube-system", component)?;
    let entries = gantry_api::value::list_at(lease, "metadata.managedFields").iter();
    let newest = entries.max_by_key(|e| object::text(e, "time").to_owned())?;
    Some(object::text(newest, "manager").to_owned())
}
