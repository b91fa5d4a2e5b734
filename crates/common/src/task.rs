//! Tasks with a name and an owner.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::shutdown::Shutdown;

/// Spawns a task whose name is in every log line that it writes.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the one place that the ban points to")]
    tokio::spawn(future.instrument(tracing::info_span!("task", name)))
}

/// What the end of a task means for the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExit {
    /// The task may end whenever it likes.
    Ignore,
    /// The daemon cannot go on without it.
    ShutDown,
}

/// Tasks that live as long as a daemon.
#[derive(Debug, Clone)]
pub struct Group {
    tracker: TaskTracker,
    shutdown: Shutdown,
}

impl Group {
    /// An empty group that ends with `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { tracker: TaskTracker::new(), shutdown }
    }

    /// The signal that this group ends with.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Runs `future` until it ends or the daemon does. A panic asks for shutdown: half a daemon is worse than none.
    pub fn spawn<F>(&self, name: &'static str, on_exit: OnExit, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        let inner = spawn(name, async move {
            tokio::select! {
                () = future => {}
                () = shutdown.requested() => {}
            }
        });
        let shutdown = self.shutdown.clone();
        let watch = async move {
            let ended = inner.await;
            let panicked = ended.as_ref().is_err_and(tokio::task::JoinError::is_panic);
            if shutdown.is_requested() {
                return;
            }
            if panicked {
                tracing::error!(task = name, "task panicked, stopping the daemon");
                shutdown.trigger();
            } else if on_exit == OnExit::ShutDown {
                tracing::error!(task = name, "task ended though the daemon needs it, stopping");
                shutdown.trigger();
            }
        };
        #[expect(clippy::disallowed_methods, reason = "owned and joined by this group's tracker")]
        drop(tokio::spawn(self.tracker.track_future(watch)));
    }

    /// Waits until every task has ended; call after shutdown was asked for.
    pub async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_needed_task_that_ends_stops_the_daemon() {
        let shutdown = Shutdown::new();
        let group = Group::new(shutdown.clone());
        group.spawn("ignored", OnExit::Ignore, async {});
        group.spawn("forever", OnExit::ShutDown, std::future::pending());
        group.spawn("needed", OnExit::ShutDown, async {});
        shutdown.requested().await;
        group.join().await;
    }

    #[tokio::test]
    async fn a_panic_stops_the_daemon() {
        let shutdown = Shutdown::new();
        let group = Group::new(shutdown.clone());
        group.spawn("panics", OnExit::Ignore, async { panic!("on purpose") });
        shutdown.requested().await;
    }
}
