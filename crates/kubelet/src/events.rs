//! Events about pods, for `kubectl describe`.

use gantry_client::events::{EventType, Recorder, reference};
use k8s_openapi::api::core::v1::{Container as Spec, ObjectReference, Pod};

use crate::pod;

/// Takes an event: about what, how bad, reason, message.
type Sink = dyn Fn(&ObjectReference, EventType, &str, &str) + Send + Sync;

/// Writes events down; nothing waits for it.
pub(crate) struct Events {
    sink: Box<Sink>,
}

impl Events {
    /// Events that go to the API server.
    pub(crate) fn recorded(recorder: Recorder) -> Self {
        Self { sink: Box::new(move |about, kind, reason, message| recorder.event(about, kind, reason, message)) }
    }

    /// Events that go to a function.
    #[cfg(test)]
    pub(crate) fn to(sink: impl Fn(&ObjectReference, EventType, &str, &str) + Send + Sync + 'static) -> Self {
        Self { sink: Box::new(sink) }
    }

    fn about(pod: &Pod, spec: Option<&Spec>) -> ObjectReference {
        let field_path =
            spec.and_then(|spec| pod::find(pod, &spec.name)).map(|(kind, c)| pod::field_path(kind, &c.name));
        ObjectReference { field_path, ..reference(pod) }
    }

    /// About a container: as it should be.
    pub(crate) fn normal(&self, pod: &Pod, spec: &Spec, reason: &str, message: &str) {
        (self.sink)(&Self::about(pod, Some(spec)), EventType::Normal, reason, message);
    }

    /// About a container: somebody may have to look.
    pub(crate) fn warning(&self, pod: &Pod, spec: &Spec, reason: &str, message: &str) {
        (self.sink)(&Self::about(pod, Some(spec)), EventType::Warning, reason, message);
    }

    /// About the pod as a whole: somebody may have to look.
    pub(crate) fn pod_warning(&self, pod: &Pod, reason: &str, message: &str) {
        (self.sink)(&Self::about(pod, None), EventType::Warning, reason, message);
    }
}
