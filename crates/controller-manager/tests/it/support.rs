//! A cluster in one process: API server, controllers, and a pretender that binds pods and makes them ready.

use std::{sync::Arc, time::Duration};

use clap::Parser;
use gantry_apiserver::testing::{Builder, TestServer};
use gantry_client::{Client, DeleteParams, Informer, Key, Object, Patch, Reader};
use gantry_common::{
    clock,
    shutdown::Shutdown,
    task::{self, Group, OnExit},
};
use gantry_controller_manager::options::Options;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{Container, Namespace, Node, Pod, PodSpec, PodTemplateSpec, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use serde_json::json;
use tokio::task::JoinHandle;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

/// A running cluster.
pub(crate) struct World {
    pub(crate) server: TestServer,
    /// The administrator's.
    pub(crate) client: Client,
    pub(crate) group: Group,
    pub(crate) folder: tempfile::TempDir,
}

/// A running controller manager.
pub(crate) struct Manager {
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Manager {
    /// Stops it in good order.
    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.expect("no panic").expect("an orderly stop");
    }

    /// Its end, when it ends by itself.
    pub(crate) async fn ended(self) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, self.task).await.expect("it must end").expect("no panic")
    }
}

/// A controller manager that can be killed: it has a runtime of its own.
pub(crate) struct Mortal(Option<tokio::runtime::Runtime>);

impl Mortal {
    /// Ends it wherever it stands; nothing is given back.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl World {
    /// Starts a controller manager that can be killed; the next one takes over within a second or two.
    pub(crate) fn mortal(&self) -> Mortal {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("the machine has threads");
        let _inside = runtime.enter();
        drop(self.manager(&[
            "--leader-elect-lease-duration=1s",
            "--leader-elect-renew-deadline=900ms",
            "--leader-elect-retry-period=100ms",
        ]));
        Mortal(Some(runtime))
    }

    pub(crate) async fn start() -> Self {
        Self::with(Builder::default()).await
    }

    pub(crate) async fn with(builder: Builder) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = builder.start(folder.path()).await.expect("the server starts");
        let kubeconfig = server.kubeconfig("admin", &["system:masters"]);
        let client = Client::from_kubeconfig(&kubeconfig, "admin/test").expect("a client");
        let group = Group::new(Shutdown::new());
        Self { server, client, group, folder }
    }

    /// Starts a controller manager under its own user, which RBAC knows.
    pub(crate) fn manager(&self, flags: &[&str]) -> Manager {
        let kubeconfig = self.server.kubeconfig("system:kube-controller-manager", &[]);
        let client = Client::from_kubeconfig(&kubeconfig, "kube-controller-manager/test").expect("a client");
        let ca = self.folder.path().join("ca.crt");
        let ca = format!("--root-ca-file={}", ca.display());
        let fixed = ["manager", "--cluster-cidr=10.244.0.0/16", &ca];
        let retry = "--leader-elect-retry-period=200ms";
        let retry = (!flags.iter().any(|f| f.contains("retry-period"))).then_some(retry);
        let options = Command::parse_from(fixed.iter().chain(flags).copied().chain(retry)).options;
        let shutdown = Shutdown::new();
        let run = gantry_controller_manager::run(client, options, clock::system(), shutdown.clone());
        Manager { shutdown, task: task::spawn("manager", run) }
    }

    pub(crate) fn reader<K: Object>(&self) -> Reader<K> {
        Informer::builder(self.client.api::<K>()).start(&self.group)
    }

    /// Makes the node n1 and pretends to be its kubelet, and the scheduler.
    pub(crate) async fn pretend_node(&self) {
        self.node("n1").await;
        let (client, pods) = (self.client.clone(), self.reader::<Pod>());
        self.group.spawn("pretender", OnExit::Ignore, async move {
            let mut changes = pods.subscribe();
            let mut counter = 0u8;
            loop {
                if let Some(pod) = changes.next().await.new {
                    counter = counter.wrapping_add(1);
                    pretend(&client, &pod, counter).await;
                }
            }
        });
    }

    pub(crate) async fn node(&self, name: &str) -> Node {
        let meta = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        self.client.api().create(&Node { metadata: meta, ..Node::default() }).await.expect("the node is made")
    }

    /// Waits for what pods of `default` need.
    pub(crate) async fn ready_for_pods(&self) {
        let accounts = self.reader::<ServiceAccount>();
        until(&accounts, "the account", |_| accounts.get(&key("default")).is_some()).await;
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let meta = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata: meta, ..Namespace::default() };
        self.client.api().create(&namespace).await.expect("the namespace is made");
    }

    pub(crate) async fn patch<K: Object>(&self, key: &Key, patch: serde_json::Value) -> K {
        let api = self.client.namespaced::<K>(&key.namespace);
        api.patch(&key.name, &Patch::Strategic(patch), None).await.expect("the patch is taken")
    }

    pub(crate) async fn delete<K: Object>(&self, key: &Key, policy: &str) {
        let params = DeleteParams::default().propagation(policy);
        self.client.namespaced::<K>(&key.namespace).delete(&key.name, &params).await.expect("the deletion is taken");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.group.shutdown().trigger();
    }
}

/// What a scheduler and a kubelet would do with the pod, at once.
async fn pretend(client: &Client, pod: &Pod, counter: u8) {
    let key = pod.key();
    let api = client.namespaced::<Pod>(&key.namespace);
    let phase = pod.status.as_ref().and_then(|s| s.phase.clone()).unwrap_or_default();
    // Whatever fails has been overtaken: the next change tells.
    if pod.metadata.deletion_timestamp.is_some() {
        drop(api.delete(&key.name, &DeleteParams::default().grace(0).uid(pod.uid())).await);
    } else if pod.spec.as_ref().is_none_or(|s| s.node_name.is_none()) {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": key.name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "n1"},
        });
        drop(api.create_subresource(&key.name, "binding", &binding).await);
    } else if phase != "Running" {
        let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).expect("in range").to_string();
        let status = json!({"status": {
            "phase": "Running", "podIP": format!("10.244.0.{counter}"), "podIPs": [{"ip": format!("10.244.0.{counter}")}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        }});
        drop(api.patch(&key.name, &Patch::Strategic(status), Some("status")).await);
    }
}

/// Waits until `wanted` holds of the reader's objects.
pub(crate) async fn until<K: Object>(reader: &Reader<K>, what: &str, wanted: impl Fn(&[Arc<K>]) -> bool) {
    let wait = async {
        let mut changes = reader.subscribe();
        reader.synced().await;
        while !wanted(&reader.list()) {
            changes.next().await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        let state = serde_json::to_string_pretty(&reader.list().iter().map(|o| &**o).collect::<Vec<_>>());
        panic!("{what}: not so after {PATIENCE:?}; the state is {}", state.unwrap_or_default());
    }
}

/// A deployment of `name` in `default`.
pub(crate) fn deployment(name: &str, replicas: i32, image: &str) -> Deployment {
    let labels = Some([("app".to_owned(), name.to_owned())].into());
    let container = Container { name: "c".to_owned(), image: Some(image.to_owned()), ..Container::default() };
    Deployment {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: LabelSelector { match_labels: labels.clone(), match_expressions: None },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels, ..ObjectMeta::default() }),
                spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::new("default", name)
}

/// Makes an object of type `K` from JSON.
pub(crate) async fn make<K: Object>(world: &World, object: serde_json::Value) -> K {
    let object: K = serde_json::from_value(object).expect("well formed");
    world.client.api().create(&object).await.expect("made")
}
