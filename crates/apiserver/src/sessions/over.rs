//! Sessions that are open, for a node that cannot say on a session's own stream that it is over: nobody takes what is on it.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_api::status::Status;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Resolves when the node has said that a session is over.
#[derive(Debug, Clone)]
pub(crate) struct Over(watch::Receiver<Option<Status>>);

impl Over {
    /// Waits for what the node says; for ever where the session's stream itself says how it ended.
    pub(crate) async fn wait(&self) -> Status {
        let mut told = self.0.clone();
        let status = told.wait_for(Option::is_some).await.ok().and_then(|status| status.clone());
        match status {
            Some(status) => status,
            None => std::future::pending().await,
        }
    }
}

#[derive(Debug)]
struct Entry {
    node: String,
    told: watch::Sender<Option<Status>>,
}

/// The open sessions by their ids.
#[derive(Debug, Default)]
pub(crate) struct Open(Mutex<HashMap<String, Entry>>);

/// Takes a session off the list when its stream has ended.
#[derive(Debug)]
pub(crate) struct Listed {
    open: Arc<Open>,
    id: String,
}

impl Open {
    /// Lists a session of a node.
    pub(crate) fn list(self: &Arc<Self>, id: &str, node: &str) -> (Over, Listed) {
        let (told, over) = watch::channel(None);
        self.0.lock().insert(id.to_owned(), Entry { node: node.to_owned(), told });
        (Over(over), Listed { open: self.clone(), id: id.to_owned() })
    }

    /// Ends a session on its own node's word; any other changes nothing.
    pub(crate) fn end(&self, id: &str, node: &str, status: Status) {
        if let Some(entry) = self.0.lock().get(id).filter(|entry| entry.node == node) {
            entry.told.send_replace(Some(status));
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.0.lock().remove(&self.id);
    }
}
