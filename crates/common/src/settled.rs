//! A future that wakes itself is polled again at once.
//!
//! tokio puts a task that is woken while it runs at the end of its queue, and wakes another worker for it, which finds nothing
//! to do: a fifth of what a small write costs a server that has little to do. hyper hands a request's body to its handler through a channel, both ends of which are in the task of the connection: each
//! request with a body wakes the task that is running. So does a stream of HTTP/2 that is let go in its connection's task.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// So often in a row; then other tasks have their turn.
const ROUNDS: usize = 4;

/// Nobody polls: who rings wakes the task.
const RESTING: u8 = 0;
/// The future is being polled.
const POLLING: u8 = 1;
/// Somebody rang since the poll began.
const RUNG: u8 = 2;

/// The future, polled until it has nothing more to do by itself.
pub struct Settled<F> {
    future: F,
    bell: Arc<Bell>,
    waker: Waker,
}

struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(RUNG, Ordering::AcqRel) == RESTING {
            self.task.wake();
        }
    }
}

impl<F> Settled<F> {
    /// Wraps a future.
    pub fn new(future: F) -> Self {
        let bell = Arc::new(Bell { state: AtomicU8::new(RESTING), task: AtomicWaker::new() });
        Self { future, waker: Waker::from(Arc::clone(&bell)), bell }
    }
}

impl<F: Future + Unpin> Future for Settled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, bell, waker } = &mut *self;
        bell.task.register(context.waker());
        for _ in 0..ROUNDS {
            // A swap, not a store: what a bell was rung for must be seen by the poll that follows it.
            bell.state.swap(POLLING, Ordering::AcqRel);
            if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut Context::from_waker(waker)) {
                return Poll::Ready(output);
            }
            if bell.state.compare_exchange(POLLING, RESTING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        bell.state.swap(RESTING, Ordering::AcqRel);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often it was rung.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A future that wakes itself in its first polls and keeps its waker.
    struct Restless {
        polls: usize,
        wakes: usize,
        done_at: usize,
        kept: Option<Waker>,
    }

    impl Future for Restless {
        type Output = usize;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<usize> {
            self.polls += 1;
            self.kept = Some(context.waker().clone());
            if self.polls <= self.wakes {
                context.waker().wake_by_ref();
            }
            if self.polls >= self.done_at { Poll::Ready(self.polls) } else { Poll::Pending }
        }
    }

    fn polled(wakes: usize, done_at: usize) -> (Settled<Restless>, Arc<Count>, Poll<usize>) {
        let count = Arc::new(Count::default());
        let mut settled = Settled::new(Restless { polls: 0, wakes, done_at, kept: None });
        let outcome = Pin::new(&mut settled).poll(&mut Context::from_waker(&Waker::from(Arc::clone(&count))));
        (settled, count, outcome)
    }

    #[test]
    fn what_wakes_itself_is_polled_again_and_the_task_is_not_woken() {
        let (settled, count, outcome) = polled(2, usize::MAX);
        assert!(outcome.is_pending());
        assert_eq!((settled.future.polls, count.0.load(Ordering::Relaxed)), (3, 0));
        let (settled, count, outcome) = polled(2, 3);
        assert_eq!((outcome, settled.future.polls, count.0.load(Ordering::Relaxed)), (Poll::Ready(3), 3, 0));
    }

    #[test]
    fn what_never_rests_lets_others_run() {
        let (settled, count, outcome) = polled(usize::MAX, usize::MAX);
        assert!(outcome.is_pending());
        assert_eq!((settled.future.polls, count.0.load(Ordering::Relaxed)), (ROUNDS, 1));
    }

    #[test]
    fn a_bell_between_polls_wakes_the_task_once() {
        let (settled, count, _) = polled(0, usize::MAX);
        let waker = settled.future.kept.clone().unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let (settled, count, _) = polled(usize::MAX, usize::MAX);
        settled.future.kept.clone().unwrap().wake();
        assert!(count.0.load(Ordering::Relaxed) >= 1, "a bell after the last round is heard");
    }
}
