//! One watcher's place in a crowd: what it is told goes through its connection's door, or waits for the body of its answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use gantry_store::cache::WatchError;
use parking_lot::Mutex;

use super::batch::Batch;
use crate::server::door::{Door, Passed};

/// So many events may wait for a client; then its watch ends, and it goes on from its last event (as the cache's own bound).
const WAITING_EVENTS_MAX: usize = 4_096;
/// So many bytes may be held for all slow clients of the server together; then those that are slow are cut off.
const HELD_BYTES_MAX: usize = 64 << 20;

/// A watcher of a crowd. Its lock comes before the crowd's.
pub(super) struct Seat {
    door: Option<Arc<dyn Door>>,
    /// Everything up to this revision was told before the seat was taken. What the crowd is told from then on is all new: many
    /// events may share a revision.
    start: u64,
    inbox: Mutex<Inbox>,
    /// The body of the answer.
    body: AtomicWaker,
}

struct Inbox {
    /// What the body has to say next.
    frames: VecDeque<Arc<Batch>>,
    events: usize,
    /// The watch is over once the inbox is empty.
    end: Option<WatchError>,
}

/// What the body of an answer does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Say(Bytes),
    End(WatchError),
}

impl Seat {
    /// `start`: the watcher was told everything up to this revision.
    pub(super) fn new(start: u64, door: Option<Arc<dyn Door>>) -> Self {
        let inbox = Inbox { frames: VecDeque::new(), events: 0, end: None };
        Self { door, start, inbox: Mutex::new(inbox), body: AtomicWaker::new() }
    }

    /// Tells the watcher of events, without those that it was told of before it took its seat. `after` writes those of them that
    /// are later than a revision.
    pub(super) fn tell(&self, batch: &Arc<Batch>, after: impl Fn(u64) -> Option<Batch>) {
        let rest = (batch.first() <= self.start).then(|| after(self.start).map(Arc::new));
        let batch = match &rest {
            None => batch,
            Some(Some(rest)) => rest,
            Some(None) => return,
        };
        let mut inbox = self.inbox.lock();
        if inbox.end.is_some() {
            return;
        }
        match self.door.as_ref().filter(|_| inbox.frames.is_empty()).map(|door| door.pass(batch.chunk())) {
            Some(Passed::Sent) => return,
            Some(Passed::Kept) => {}
            // hyper finds out by itself what is wrong with the connection.
            Some(Passed::Broken) => inbox.end = Some(WatchError::Closed),
            Some(Passed::Shut) | None => inbox.put(batch),
        }
        drop(inbox);
        self.body.wake();
    }

    /// Ends the watch.
    pub(super) fn end(&self, error: &WatchError) {
        self.inbox.lock().end.get_or_insert_with(|| error.clone());
        self.body.wake();
    }

    /// The watcher leaves: from now on nothing reaches its connection.
    pub(super) fn leave(&self) {
        let mut inbox = self.inbox.lock();
        inbox.end = Some(WatchError::Closed);
        inbox.frames.clear();
        self.shut();
    }

    /// What the body has to say. While it has nothing to say, the door is open.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Step> {
        let mut inbox = self.inbox.lock();
        if let Some(frame) = inbox.take() {
            self.shut();
            return Poll::Ready(Step::Say(frame));
        }
        if let Some(end) = &inbox.end {
            self.shut();
            return Poll::Ready(Step::End(end.clone()));
        }
        self.body.register(cx.waker());
        if let Some(door) = &self.door {
            door.wait();
        }
        Poll::Pending
    }

    /// The revision of a bookmark that the body says next, unless there is more to say. `crowd`: the revision up to which
    /// everybody in the crowd was told everything, unless somebody is being told.
    pub(super) fn bookmark(&self, crowd: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let inbox = self.inbox.lock();
        if !inbox.frames.is_empty() || inbox.end.is_some() {
            return None;
        }
        let revision = crowd()?.max(self.start);
        self.shut();
        Some(revision)
    }

    fn shut(&self) {
        if let Some(door) = &self.door {
            door.shut();
        }
    }
}

impl Inbox {
    /// Events that do not fit end the watch after those that did.
    fn put(&mut self, batch: &Arc<Batch>) {
        let is_slow = !self.frames.is_empty();
        if self.events + batch.len() > WAITING_EVENTS_MAX || (is_slow && batch.held_bytes() > HELD_BYTES_MAX) {
            self.end = Some(WatchError::Overflow { revision: batch.first() });
            return;
        }
        self.events += batch.len();
        self.frames.push_back(batch.clone());
    }

    fn take(&mut self) -> Option<Bytes> {
        let batch = self.frames.pop_front()?;
        self.events -= batch.len();
        Some(batch.payload())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::rest::watch::batch::Store;
    use crate::rest::watch::batch::testing::{batch, batch_of, form};

    /// Keeps what passes; says what it is told to say.
    struct Gate {
        says: Mutex<Passed>,
        passed: Mutex<Vec<Bytes>>,
    }

    impl Door for Gate {
        fn wait(&self) {
            let mut says = self.says.lock();
            if *says == Passed::Shut {
                *says = Passed::Sent;
            }
        }

        fn shut(&self) {
            *self.says.lock() = Passed::Shut;
        }

        fn pass(&self, chunks: &Bytes) -> Passed {
            let says = *self.says.lock();
            if says != Passed::Shut {
                self.passed.lock().push(chunks.clone());
            }
            says
        }
    }

    fn gate() -> Arc<Gate> {
        Arc::new(Gate { says: Mutex::new(Passed::Shut), passed: Mutex::default() })
    }

    fn tell(seat: &Seat, revisions: &[u64]) {
        let batch = Arc::new(batch(revisions));
        seat.tell(&batch, |told| batch.after(told, &form()));
    }

    fn poll(seat: &Seat) -> Poll<Step> {
        seat.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn says(revisions: &[u64]) -> Poll<Step> {
        Poll::Ready(Step::Say(batch(revisions).payload()))
    }

    #[test]
    fn events_pass_while_the_body_waits_and_stay_in_order() {
        let gate = gate();
        let seat = Seat::new(0, Some(gate.clone()));
        tell(&seat, &[1, 2]);
        assert_eq!(poll(&seat), says(&[1, 2]), "the body had not waited yet");
        tell(&seat, &[3]);
        assert!(gate.passed.lock().is_empty(), "the body may not have sent what it took");
        assert_eq!(poll(&seat), says(&[3]));
        assert_eq!(poll(&seat), Poll::Pending);
        tell(&seat, &[4]);
        tell(&seat, &[5]);
        assert_eq!(*gate.passed.lock(), [batch(&[4]).chunk().clone(), batch(&[5]).chunk().clone()]);
        assert_eq!(poll(&seat), Poll::Pending);
        gate.shut();
        tell(&seat, &[6]);
        *gate.says.lock() = Passed::Sent;
        tell(&seat, &[7]);
        assert_eq!(gate.passed.lock().len(), 2, "nothing overtakes what waits");
        assert_eq!((poll(&seat), poll(&seat)), (says(&[6]), says(&[7])));
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let seat = Seat::new(5, None);
        tell(&seat, &[4, 5]);
        tell(&seat, &[5, 6, 7]);
        assert_eq!(poll(&seat), says(&[6, 7]));
        tell(&seat, &[8]);
        assert_eq!(poll(&seat), says(&[8]));
        assert_eq!(poll(&seat), Poll::Pending);
    }

    #[test]
    fn events_of_one_revision_are_all_told() {
        let seat = Seat::new(4, None);
        for _ in 0..2 {
            tell(&seat, &[5, 5]);
            assert_eq!(poll(&seat), says(&[5, 5]));
        }
    }

    #[test]
    fn a_bookmark_does_not_overtake() {
        let gate = gate();
        let seat = Seat::new(3, Some(gate.clone()));
        assert_eq!(poll(&seat), Poll::Pending);
        assert_eq!(seat.bookmark(|| None), None, "somebody is being told");
        assert_eq!(seat.bookmark(|| Some(2)), Some(3), "a watch does not go back");
        assert_eq!(seat.bookmark(|| Some(9)), Some(9));
        tell(&seat, &[10]);
        assert_eq!(gate.passed.lock().len(), 0, "the bookmark comes first");
        assert_eq!(seat.bookmark(|| Some(10)), None, "an event waits");
        assert_eq!(poll(&seat), says(&[10]));
    }

    #[test]
    fn slow_clients_hold_so_many_bytes_together() {
        let store = Store::default();
        let (slow, fast) = (Seat::new(0, None), Seat::new(0, None));
        let large = |revision| Arc::new(batch_of(&[revision], &"x".repeat(HELD_BYTES_MAX / 4), &store));
        for revision in 1..=3 {
            let batch = large(revision);
            slow.tell(&batch, |_| None);
            fast.tell(&batch, |_| None);
            assert!(matches!(poll(&fast), Poll::Ready(Step::Say(_))));
        }
        let fourth = large(4);
        slow.tell(&fourth, |_| None);
        fast.tell(&fourth, |_| None);
        assert!(matches!(poll(&fast), Poll::Ready(Step::Say(_))), "who keeps up is told");
        for _ in 0..3 {
            assert!(matches!(poll(&slow), Poll::Ready(Step::Say(_))));
        }
        assert_eq!(poll(&slow), Poll::Ready(Step::End(WatchError::Overflow { revision: 4 })));
    }

    #[test]
    fn who_takes_nothing_is_cut_off_after_what_fitted() {
        let seat = Seat::new(0, None);
        for revision in 1..=WAITING_EVENTS_MAX as u64 + 2 {
            tell(&seat, &[revision]);
        }
        for revision in 1..=WAITING_EVENTS_MAX as u64 {
            assert_eq!(poll(&seat), says(&[revision]));
        }
        let revision = WAITING_EVENTS_MAX as u64 + 1;
        assert_eq!(poll(&seat), Poll::Ready(Step::End(WatchError::Overflow { revision })));
    }

    #[test]
    fn nothing_reaches_who_has_left_or_broke() {
        let gate = gate();
        let seat = Seat::new(0, Some(gate.clone()));
        assert_eq!(poll(&seat), Poll::Pending);
        seat.leave();
        *gate.says.lock() = Passed::Sent;
        tell(&seat, &[1]);
        assert!(gate.passed.lock().is_empty());

        let seat = Seat::new(0, Some(gate.clone()));
        *gate.says.lock() = Passed::Broken;
        tell(&seat, &[1]);
        assert_eq!(poll(&seat), Poll::Ready(Step::End(WatchError::Closed)));
    }
}
