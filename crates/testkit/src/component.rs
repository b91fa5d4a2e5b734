//! One daemon in a thread and a runtime of its own, so that it can die or freeze like a process.
//!
//! A crash drops the runtime: every task ends where it stands and every connection breaks, nothing is said to anybody. A
//! pause blocks the thread, as SIGSTOP does: timers run on, and all that was due happens at once when it wakes up.

use std::future::Future;
use std::sync::mpsc as blocking;
use std::thread;

use gantry_common::shutdown::Shutdown;
use tokio::sync::mpsc;

enum Order {
    Pause(blocking::Receiver<()>),
    Crash,
}

/// A running daemon. Dropping it crashes it.
pub struct Component {
    name: String,
    orders: mpsc::Sender<Order>,
    shutdown: Shutdown,
    paused: Option<blocking::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Component {
    /// Starts `body` in a new thread.
    ///
    /// # Panics
    /// When the machine has no thread or no runtime to give.
    #[must_use]
    pub fn start<F, Fut>(name: &str, body: F) -> Self
    where
        F: FnOnce(Shutdown) -> Fut + Send + 'static,
        Fut: Future<Output = ()>,
    {
        let (orders, received) = mpsc::channel(4);
        let shutdown = Shutdown::new();
        let given = shutdown.clone();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("the machine has descriptors");
            runtime.block_on(obey(received, body(given)));
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run).expect("the machine has threads");
        Self { name: name.to_owned(), orders, shutdown, paused: None, thread: Some(thread) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Whether it is frozen.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Freezes it until [`Component::resume`].
    pub fn pause(&mut self) {
        let (resume, resumed) = blocking::channel();
        // A component that has ended does not move anyway.
        if self.paused.is_none() && self.orders.try_send(Order::Pause(resumed)).is_ok() {
            self.paused = Some(resume);
        }
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        drop(self.paused.take());
    }

    /// Asks it to stop in good order and waits for its end.
    pub fn stop(mut self) {
        self.resume();
        self.shutdown.trigger();
        self.join();
    }

    /// Ends it at once, as SIGKILL does.
    pub fn crash(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        drop(self.orders.try_send(Order::Crash));
        self.resume();
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(component = self.name, "panicked");
        }
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn obey(mut orders: mpsc::Receiver<Order>, body: impl Future<Output = ()>) {
    tokio::pin!(body);
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                // Blocking is the point: nothing else of this runtime may run meanwhile. It ends when the sender is gone.
                Some(Order::Pause(resumed)) => drop(resumed.recv()),
                Some(Order::Crash) | None => return,
            },
            () = &mut body => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_freezes_wakes_up_and_dies() {
        let (beats, count) = (Arc::new(AtomicU64::new(0)), blocking::channel::<u64>());
        let (seen, beat) = (Arc::clone(&beats), count.0);
        let mut component = Component::start("heart", move |_| async move {
            loop {
                beat.send(seen.fetch_add(1, Ordering::Relaxed)).expect("the test listens");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let beats_again = || count.1.recv_timeout(Duration::from_secs(10)).expect("it beats");
        beats_again();
        component.pause();
        // What was on its way arrives, then nothing: a closed gate cannot be waited for in any other way.
        while count.1.recv_timeout(Duration::from_millis(200)).is_ok() {}
        assert!(component.is_paused() && !component.has_ended());
        component.resume();
        beats_again();
        component.crash();
        while count.1.recv().is_ok() {}
        assert!(beats.load(Ordering::Relaxed) > 1);
    }

    #[test]
    fn it_stops_when_asked() {
        Component::start("polite", |shutdown| async move { shutdown.requested().await }).stop();
    }
}
