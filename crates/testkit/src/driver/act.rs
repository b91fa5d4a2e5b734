//! Carries actions out.

use std::time::Duration;

use gantry_client::{Client, DeleteParams, Error, Patch, ResourceId, WriteParams};
use serde_json::{Value, json};

use super::plan::{Action, App, Strategy};
use crate::cluster::Cluster;
use crate::history::World;
use crate::invariants::BY_USER;
use crate::object::{self, Object, text};

/// A user gives up on a call that keeps failing after this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts of a user.
const RETRY: Duration = Duration::from_millis(30);

/// A user of the cluster, and its fate.
pub struct Driver {
    pub(super) cluster: Cluster,
    pub(super) client: Client,
    pub(super) ambiguous: bool,
}

impl Driver {
    /// Drives this cluster.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        let client = cluster.admin("user");
        Self { cluster, client, ambiguous: false }
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The cluster, to be changed.
    pub fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// Carries the action out. A user's call that the server refuses is no failure: users err, and namespaces go away.
    ///
    /// # Errors
    /// When the cluster does not come to rest after faults have ended, or an invariant was violated.
    pub async fn act(&mut self, action: &Action) -> anyhow::Result<()> {
        self.cluster.tend();
        match action {
            Action::Heal => return self.heal().await,
            Action::RestartApi => {
                self.set_ambiguous();
                self.cluster.restart_api().await?;
            }
            Action::CrashLeader(role) => self.cluster.crash_leader(*role),
            Action::PauseLeader(role) => drop(self.cluster.pause_leader(*role)),
            Action::CrashContainer { node } => self.cluster.nodes()[*node].set(|m| m.crashes += 1),
            Action::SlowNode { node, stop_millis } => {
                self.cluster.nodes()[*node].set(|m| m.stop = Duration::from_millis(*stop_millis));
            }
            Action::SilenceNode { node } => self.cluster.nodes()[*node].set(|m| m.silent = true),
            Action::DropWatches => self.cluster.store().faults().drop_watches(),
            Action::SilenceWatches => self.cluster.store().faults().silence_watches(true),
            Action::FailWrites { calls } => self.cluster.store().faults().fail_next(*calls),
            Action::LoseReplies { writes } => {
                self.set_ambiguous();
                self.cluster.store().faults().lose_replies(*writes);
            }
            Action::DelayStore { millis } => {
                self.cluster.store().faults().delay(Duration::from_millis(*millis));
            }
            user => {
                if let Err(error) = self.user(user).await {
                    tracing::debug!(?user, error = gantry_common::error_chain(&error), "refused");
                }
            }
        }
        Ok(())
    }

    /// From here on, writers may be told that a write failed which did not.
    fn set_ambiguous(&mut self) {
        self.ambiguous = true;
        self.cluster.recorder().ambiguous(true);
    }

    async fn user(&self, action: &Action) -> Result<(), Error> {
        match action {
            Action::Create { app, replicas, strategy } => self.create(app, *replicas, *strategy).await,
            Action::Scale { app, replicas } => {
                self.patch(&deployments(), app, json!({"spec": {"replicas": replicas}})).await
            }
            Action::Roll { app, version } => {
                let container = json!({"name": "main", "image": format!("app:{version}")});
                let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
                self.patch(&deployments(), app, patch).await
            }
            Action::Pause { app, paused } => self.patch(&deployments(), app, json!({"spec": {"paused": paused}})).await,
            Action::Undo { app } => self.undo(app).await,
            Action::Delete { app, propagation } => {
                let params = DeleteParams::default().propagation(propagation);
                self.delete(&deployments(), &app.namespace, &app.name, &params).await
            }
            Action::Expose { app, node_port } => {
                self.write(&services(), &app.namespace, service(app, *node_port)).await
            }
            Action::Unexpose { app } => {
                self.delete(&services(), &app.namespace, &app.name, &DeleteParams::default()).await
            }
            Action::LooseAPod { app } => {
                let Some(pod) = self.a_pod(app) else { return Ok(()) };
                self.patch(&pods(), &pod, json!({"metadata": {"labels": {"app": "loose"}}})).await
            }
            Action::DeleteAPod { app } => {
                let Some(pod) = self.a_pod(app) else { return Ok(()) };
                self.patch(&pods(), &pod, json!({"metadata": {"annotations": {BY_USER: "true"}}})).await?;
                self.delete(&pods(), &pod.namespace, &pod.name, &DeleteParams::default().grace(1)).await
            }
            Action::DeleteNamespace { namespace } => {
                self.delete(&namespaces(), "", namespace, &DeleteParams::default()).await
            }
            _ => Ok(()),
        }
    }

    async fn create(&self, app: &App, replicas: u32, strategy: Strategy) -> Result<(), Error> {
        self.write(&namespaces(), "", json!({"metadata": {"name": app.namespace}})).await?;
        self.write(&deployments(), &app.namespace, deployment(app, replicas, strategy)).await
    }

    /// Back to the template before the present one, as `rollout undo` does.
    async fn undo(&self, app: &App) -> Result<(), Error> {
        let Some(mut template) = self.cluster.recorder().with(|world| previous(world, app)) else { return Ok(()) };
        if let Some(labels) = gantry_api::value::object_mut(&mut template, "metadata.labels") {
            labels.remove("pod-template-hash");
        }
        let patch = Patch::Json(json!([{"op": "replace", "path": "/spec/template", "value": template}]));
        let api = self.client.dynamic(deployments(), &app.namespace);
        patiently(async || api.patch(&app.name, "", &patch, &WriteParams::default()).await.map(drop)).await
    }

    /// A pod of the app, the first by name.
    fn a_pod(&self, app: &App) -> Option<App> {
        self.cluster.recorder().with(|world| {
            let ours = |p: &&Object| {
                object::namespace(p) == app.namespace && object::labels(p).get("app") == Some(&app.name.as_str())
            };
            let pod = world.all("Pod").filter(|p| object::is_active(p)).find(ours)?;
            Some(App { namespace: app.namespace.clone(), name: text(pod, "metadata.name").to_owned() })
        })
    }

    async fn write(&self, resource: &ResourceId, namespace: &str, object: Value) -> Result<(), Error> {
        let api = self.client.dynamic(resource.clone(), namespace);
        let result = patiently(async || api.create("", "", &object, &WriteParams::default()).await.map(drop)).await;
        // It may be from an attempt whose answer was lost.
        result.or_else(|e| if e.is_already_exists() { Ok(()) } else { Err(e) })
    }

    async fn patch(&self, resource: &ResourceId, target: &App, patch: Value) -> Result<(), Error> {
        let api = self.client.dynamic(resource.clone(), &target.namespace);
        let patch = Patch::Strategic(patch);
        patiently(async || api.patch(&target.name, "", &patch, &WriteParams::default()).await.map(drop)).await
    }

    pub(super) async fn delete(
        &self,
        resource: &ResourceId,
        namespace: &str,
        name: &str,
        params: &DeleteParams,
    ) -> Result<(), Error> {
        let api = self.client.dynamic(resource.clone(), namespace);
        let result = patiently(async || api.delete(name, params).await.map(drop)).await;
        result.or_else(|e| if e.is_not_found() { Ok(()) } else { Err(e) })
    }
}

/// Repeats a call while trying again may help.
async fn patiently(mut call: impl AsyncFnMut() -> Result<(), Error>) -> Result<(), Error> {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        match call().await {
            Err(error) if (error.is_transient() || error.is_conflict()) && tokio::time::Instant::now() < give_up => {
                tokio::time::sleep(RETRY).await;
            }
            other => return other,
        }
    }
}

pub(super) fn namespaces() -> ResourceId {
    ResourceId::new("", "v1", "namespaces")
}

fn pods() -> ResourceId {
    ResourceId::new("", "v1", "pods")
}

fn services() -> ResourceId {
    ResourceId::new("", "v1", "services")
}

fn deployments() -> ResourceId {
    ResourceId::new("apps", "v1", "deployments")
}

fn deployment(app: &App, replicas: u32, strategy: Strategy) -> Value {
    // Pods of lost nodes are given up after a second.
    let toleration = |key: &str| {
        json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": 1})
    };
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": app.name, "namespace": app.namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app.name}},
            "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": strategy.surge, "maxUnavailable": strategy.unavailable}},
            "template": {
                "metadata": {"labels": {"app": app.name}},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "tolerations": [toleration("not-ready"), toleration("unreachable")],
                    "containers": [{"name": "main", "image": "app:0",
                        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}],
                },
            },
        },
    })
}

fn service(app: &App, node_port: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": app.name, "namespace": app.namespace},
        "spec": {
            "type": if node_port { "NodePort" } else { "ClusterIP" },
            "selector": {"app": app.name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81}],
        },
    })
}

/// The template of the revision before the newest.
fn previous(world: &World, app: &App) -> Option<Value> {
    let deployment = world.find("Deployment", &app.namespace, &app.name)?;
    let revision = |set: &&Object| {
        let annotations = object::strings(set, "metadata.annotations");
        annotations.get("deployment.kubernetes.io/revision").and_then(|r| r.parse::<u64>().ok())
    };
    let mut sets: Vec<_> = world.controlled("ReplicaSet", object::uid(deployment)).collect();
    sets.sort_by_key(revision);
    let set = sets.iter().rev().nth(1)?;
    gantry_api::value::get(set, "spec.template").cloned()
}
