//! Workers that take keys from a queue and reconcile them, and the watches that put keys into it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
};
use gantry_client::{Change, Key, Object, Reader};
use tokio_util::sync::CancellationToken;

use crate::{Error, Outcome, Queue, Reconciler};

/// One controller's queue and workers.
pub struct Runner {
    workers: usize,
    worker: Worker,
    feeds: Vec<BoxFuture<'static, ()>>,
}

/// What all workers of a controller share.
struct Worker {
    name: &'static str,
    queue: Queue<Key>,
    stop: CancellationToken,
}

impl Runner {
    /// A controller called `name` that ends with `stop`. `stop` is also cancelled by the runner itself when the API server
    /// says that another leader has taken over.
    #[must_use]
    pub fn new(name: &'static str, workers: usize, stop: CancellationToken) -> Self {
        Self { workers: workers.max(1), worker: Worker { name, queue: Queue::new(), stop }, feeds: Vec::new() }
    }

    /// The queue, for those who notice changes.
    #[must_use]
    pub fn queue(&self) -> Queue<Key> {
        self.worker.queue.clone()
    }

    /// Adds the keys that `keys_of` finds in each change of `reader`'s objects, the present ones first.
    #[must_use]
    pub fn watch<K: Object>(
        mut self,
        reader: &Reader<K>,
        keys_of: impl Fn(&Change<K>) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        let (reader, queue) = (reader.clone(), self.queue());
        self.feeds.push(Box::pin(async move {
            let mut changes = reader.subscribe();
            loop {
                let change = changes.next().await;
                keys_of(&change).into_iter().for_each(|key| queue.add(key));
            }
        }));
        self
    }

    /// Runs `feed` beside the workers: a source of keys that is no informer. It should never end.
    #[must_use]
    pub fn feed(mut self, feed: impl Future<Output = ()> + Send + 'static) -> Self {
        self.feeds.push(Box::pin(feed));
        self
    }

    /// Adds the key of each object of `reader` that changes.
    #[must_use]
    pub fn watch_keys<K: Object>(self, reader: &Reader<K>) -> Self {
        self.watch(reader, |change| vec![change.key.clone()])
    }

    /// Reconciles until `stop`; whatever runs then is dropped at its next await.
    pub async fn run(self, reconciler: Arc<dyn Reconciler>) {
        let Self { workers, worker, feeds } = self;
        let workers: FuturesUnordered<_> = (0..workers).map(|_| worker.work(reconciler.as_ref())).collect();
        let work = async { tokio::join!(join_all(feeds), workers.for_each(|()| async {})) };
        tokio::select! {
            _ = work => {}
            () = worker.stop.cancelled() => {}
        }
        worker.queue.close();
    }
}

impl Worker {
    async fn work(&self, reconciler: &dyn Reconciler) {
        while let Some(key) = self.queue.next().await {
            // One object that trips a bug must not take the others down with it.
            let result = AssertUnwindSafe(reconciler.reconcile(&key)).catch_unwind().await;
            self.settle(&key, result.unwrap_or_else(|_| Err(Error::Refused("the controller panicked".to_owned()))));
            self.queue.done(&key);
        }
    }

    fn settle(&self, key: &Key, result: Result<Outcome, Error>) {
        match result {
            Ok(outcome) => {
                self.queue.forget(key);
                if let Outcome::After(delay) = outcome {
                    self.queue.add_after(key.clone(), delay);
                }
            }
            Err(error) => {
                self.report(key, &error);
                self.queue.add_rate_limited(key.clone());
            }
        }
    }

    fn report(&self, key: &Key, error: &Error) {
        let controller = self.name;
        if error.is_fenced() {
            tracing::error!(controller, %key, "another leader has taken over, stopping");
            self.stop.cancel();
        } else if error.is_conflict() {
            tracing::debug!(controller, %key, "the object changed meanwhile, trying again");
        } else {
            let attempt = self.queue.failures(key) + 1;
            let error = gantry_common::error_chain(error);
            tracing::warn!(controller, %key, attempt, error, "cannot reconcile, trying again");
        }
    }
}

#[cfg(test)]
mod tests;
