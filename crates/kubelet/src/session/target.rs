//! What a session is about, checked before it begins. The words are upstream's.

use std::sync::Arc;

use gantry_api::status::Status;
use gantry_client::{Key, Reader};
use k8s_openapi::api::core::v1::{Container as Spec, Pod};

use crate::{
    observe::Observed,
    pod,
    runtime::{Container, Role},
};

/// Which container `kubectl` means when it names none.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The node's pods, as the API server has them. The seam for tests.
#[async_trait::async_trait]
pub(crate) trait Pods: Send + Sync + 'static {
    /// The pod of that name.
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<Pod>>;
    /// All of them.
    fn list(&self) -> Vec<Arc<Pod>>;
    /// Resolves once the pod of that name is another one than `uid`, or none.
    async fn gone(&self, namespace: &str, name: &str, uid: &str);
}

#[async_trait::async_trait]
impl Pods for Reader<Pod> {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        Self::get(self, &Key::new(namespace, name))
    }

    fn list(&self) -> Vec<Arc<Pod>> {
        Self::list(self)
    }

    async fn gone(&self, namespace: &str, name: &str, uid: &str) {
        let mut changes = self.subscribe();
        while Pods::get(self, namespace, name).is_some_and(|pod| pod.metadata.uid.as_deref() == Some(uid)) {
            changes.next().await;
        }
    }
}

/// A running pod.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) pod: Arc<Pod>,
    pub(crate) sandbox: Container,
}

fn refused(message: String) -> Status {
    Status::failure(500, "InternalError", message)
}

/// The pod, if it is the one that is meant. An empty UID means any.
pub(super) fn pod(pods: &dyn Pods, namespace: &str, name: &str, uid: &str) -> Result<Arc<Pod>, Status> {
    let fits = |pod: &Arc<Pod>| uid.is_empty() || pod.metadata.uid.as_deref() == Some(uid);
    pods.get(namespace, name).filter(fits).ok_or_else(|| Status::not_found("", "pods", name))
}

fn newest(containers: &[Container], wanted: impl Fn(&Container) -> bool) -> Option<&Container> {
    let running = containers.iter().filter(|c| wanted(c) && c.running());
    let any = || containers.iter().filter(|c| wanted(c));
    let order = |c: &&Container| (c.attempt, c.created);
    running.max_by_key(order).or_else(|| any().max_by_key(order))
}

fn sandbox(containers: &[Container]) -> Option<Container> {
    newest(containers, |c| c.role == Role::Sandbox).filter(|c| c.running()).cloned()
}

impl Target {
    /// A pod whose sandbox runs, and its container of that name ("" = the pod's default) with what the pod's spec says of it.
    /// Upstream knows a container only as long as it runs.
    pub(super) fn with_container(
        pods: &dyn Pods,
        observed: &Observed,
        (namespace, pod, uid): (&str, &str, &str),
        name: &str,
    ) -> Result<(Self, Container, Spec), Status> {
        let found = self::pod(pods, namespace, pod, uid)?;
        let name = if name.is_empty() { default_container(&found) } else { name.to_owned() };
        let missing = || refused(format!("container not found (\"{name}\")"));
        let (_, spec) = pod::find(&found, &name).ok_or_else(missing)?;
        let containers = observed.of(&pod::reference(&found).uid);
        let container = newest(&containers, |c| c.role == Role::Container && c.name == name);
        let container = container.filter(|c| c.running()).cloned().ok_or_else(missing)?;
        let sandbox = sandbox(&containers).ok_or_else(missing)?;
        let spec = spec.into_owned();
        Ok((Self { pod: found, sandbox }, container, spec))
    }

    /// A pod whose sandbox runs.
    pub(super) fn find(
        pods: &dyn Pods,
        observed: &Observed,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Self, Status> {
        let pod = pod(pods, namespace, name, uid)?;
        let containers = observed.of(&pod::reference(&pod).uid);
        let sandbox = sandbox(&containers).ok_or_else(|| refused(format!("pod not found (\"{name}_{namespace}\")")))?;
        Ok(Self { pod, sandbox })
    }

    /// Resolves once the pod is gone, with what a session is told then.
    pub(super) async fn gone(&self, pods: &dyn Pods, observed: &Observed) -> Status {
        let reference = pod::reference(&self.pod);
        let stopped = async {
            let mut version = observed.version();
            let runs = || observed.of(&reference.uid).iter().any(|c| c.id == self.sandbox.id && c.running());
            while runs() && version.changed().await.is_ok() {}
        };
        tokio::select! {
            status = deleted(pods, &self.pod) => status,
            () = stopped => ended(&reference.name, "its sandbox has ended"),
        }
    }
}

fn ended(pod: &str, why: &str) -> Status {
    let message = format!("the session has ended because pod \"{pod}\" is gone: {why}");
    Status::failure(404, "NotFound", message).about("", "pods", pod)
}

/// Resolves once the pod's object is gone, with what a session is told then.
pub(super) async fn deleted(pods: &dyn Pods, pod: &Pod) -> Status {
    let reference = pod::reference(pod);
    pods.gone(&reference.namespace, &reference.name, &reference.uid).await;
    ended(&reference.name, "it was deleted")
}

fn default_container(pod: &Pod) -> String {
    let annotated = pod.metadata.annotations.as_ref().and_then(|a| a.get(DEFAULT_CONTAINER));
    let named = annotated.filter(|name| pod::find(pod, name).is_some());
    named.cloned().or_else(|| pod::spec(pod).containers.first().map(|c| c.name.clone())).unwrap_or_default()
}
