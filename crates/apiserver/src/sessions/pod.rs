//! A session's pod, looked at from here: a port-forward is open while no connection is, and its node knows nothing of it then.

use std::time::Duration;

use gantry_api::status::Status;
use gantry_store::cache::{Object, Scope, View, WatchError};

use crate::app::App;
use crate::request::Target;

/// Between two attempts to watch.
const PAUSE: Duration = Duration::from_secs(1);

/// The pod that a session was granted for.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) target: Target,
    pub(super) uid: String,
    /// Where it was seen.
    pub(super) revision: u64,
}

impl Pod {
    /// Waits until the pod is gone, and says so in the words that its node has for it.
    pub(super) async fn gone(&self, app: &App) -> Status {
        let view = app.view(&self.target.kind);
        let mut from = self.revision;
        loop {
            // What the cache had already when the pod was found need not be told again.
            from = from.max(app.cache.revision());
            let (namespace, name) = (Some(self.target.namespace.as_str().into()), self.target.name.as_str().into());
            match view.watch(from, Scope::Name { namespace, name }).await {
                Ok(mut changes) => loop {
                    if let Some(why) = self.end(&view) {
                        return self.ended(why);
                    }
                    if changes.next().await.is_err() {
                        break;
                    }
                },
                // The server ends, and every session with it.
                Err(WatchError::Closed) => std::future::pending().await,
                Err(error) => tracing::debug!(%error, pod = self.target.name, "the pod of a session cannot be watched"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn end(&self, view: &View) -> Option<&'static str> {
        let found = view.get(&self.target.namespace, &self.target.name);
        let text = |pod: &Object, path: &[&str]| pod.encoded().scalar_at(path).unwrap_or_default().into_owned();
        match found.filter(|pod| text(pod, &["metadata", "uid"]) == self.uid) {
            None => Some("it was deleted"),
            Some(pod) if matches!(text(&pod, &["status", "phase"]).as_str(), "Succeeded" | "Failed") => {
                Some("it has ended")
            }
            Some(_) => None,
        }
    }

    fn ended(&self, why: &str) -> Status {
        let name = &self.target.name;
        let message = format!("the session has ended because pod \"{name}\" is gone: {why}");
        Status::failure(404, "NotFound", message).about("", "pods", name)
    }
}
