//! The queue between what changed and who acts on it.
//!
//! It holds keys, never events: a key that is added twice before a worker takes it is handed out once, and a key that is
//! added while a worker has it is handed out again when that worker is done, so no key has two workers. Its length is
//! bounded by the number of distinct keys, that is of objects that exist or just ceased to.

mod limiter;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use self::limiter::Limiter;

/// What a queue can hold.
pub trait Item: Ord + Clone + Send + fmt::Debug + 'static {}
impl<T: Ord + Clone + Send + fmt::Debug + 'static> Item for T {}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    /// Keys that must be handed out (again): those in `ready`, and those added while being worked on.
    dirty: BTreeSet<K>,
    working: BTreeSet<K>,
    /// Keys by due time; the number keeps keys of one instant apart.
    delayed: BTreeMap<(Instant, u64), K>,
    due: BTreeMap<K, (Instant, u64)>,
    sequence: u64,
    limiter: Limiter<K>,
    closed: bool,
}

/// A keyed queue; clones share it.
#[derive(Debug)]
pub struct Queue<K> {
    state: Arc<Mutex<State<K>>>,
    wake: Arc<Notify>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), wake: Arc::clone(&self.wake) }
    }
}

impl<K: Item> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Item> Queue<K> {
    /// An empty queue with upstream's back-off: 5 ms, doubled per failure of a key, up to 1000 s.
    #[must_use]
    pub fn new() -> Self {
        Self::with_backoff(Duration::from_millis(5), Duration::from_secs(1000))
    }

    /// An empty queue whose failed keys wait `min`, then twice as long each time, up to `max`.
    #[must_use]
    pub fn with_backoff(min: Duration, max: Duration) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: BTreeSet::new(),
            working: BTreeSet::new(),
            delayed: BTreeMap::new(),
            due: BTreeMap::new(),
            sequence: 0,
            limiter: Limiter::new(min, max),
            closed: false,
        };
        Self { state: Arc::new(Mutex::new(state)), wake: Arc::new(Notify::new()) }
    }

    /// Asks for `key` to be handed out as soon as possible.
    pub fn add(&self, key: K) {
        self.state.lock().add(key);
        self.wake.notify_one();
    }

    /// Asks for `key` to be handed out after `delay`. Of several delays of one key the earliest counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.state.lock().add_at(key, Instant::now() + delay);
        self.wake.notify_one();
    }

    /// Asks for `key` after its own back-off, which grows with each call until [`Queue::forget`].
    pub fn add_rate_limited(&self, key: K) {
        let delay = self.state.lock().limiter.next(&key);
        self.add_after(key, delay);
    }

    /// `key` succeeded: its back-off starts anew.
    pub fn forget(&self, key: &K) {
        self.state.lock().limiter.forget(key);
    }

    /// How often `key` was added rate-limited since it was last forgotten.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        self.state.lock().limiter.failures(key)
    }

    /// The next key; `None` once the queue is closed. Each key must be given back with [`Queue::done`].
    pub async fn next(&self) -> Option<K> {
        loop {
            // Registered before looking, so that an addition in between is not missed.
            let woken = self.wake.notified();
            let next_due = {
                let mut state = self.state.lock();
                if state.closed {
                    return None;
                }
                state.promote(Instant::now());
                if let Some(key) = state.take() {
                    if !state.ready.is_empty() {
                        self.wake.notify_one();
                    }
                    return Some(key);
                }
                state.next_due()
            };
            match next_due {
                Some(at) => tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => woken.await,
            }
        }
    }

    /// The worker has finished with `key`; if it was added meanwhile it is handed out again.
    pub fn done(&self, key: &K) {
        let again = {
            let mut state = self.state.lock();
            let worked = state.working.remove(key);
            debug_assert!(worked, "{key:?} was given back but not taken");
            let again = state.dirty.contains(key);
            if again {
                state.ready.push_back(key.clone());
            }
            again
        };
        if again {
            self.wake.notify_one();
        }
    }

    /// Ends every [`Queue::next`], now and later.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_waiters();
        self.wake.notify_one();
    }

    /// Whether the queue was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// How many keys wait for a worker now (delayed ones not counted).
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().ready.len()
    }

    /// Whether no key waits for a worker now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Item> State<K> {
    fn add(&mut self, key: K) {
        if self.closed {
            return;
        }
        if let Some(slot) = self.due.remove(&key) {
            self.delayed.remove(&slot);
        }
        if !self.dirty.insert(key.clone()) || self.working.contains(&key) {
            return;
        }
        self.ready.push_back(key);
    }

    fn add_at(&mut self, key: K, at: Instant) {
        // A key that is ready anyway needs no timer, one that is being worked on does: the work may have begun too early.
        let waiting = self.dirty.contains(&key);
        let earlier = self.due.get(&key).is_some_and(|(due, _)| *due <= at);
        if self.closed || waiting || earlier {
            return;
        }
        self.sequence += 1;
        let slot = (at, self.sequence);
        if let Some(old) = self.due.insert(key.clone(), slot) {
            self.delayed.remove(&old);
        }
        self.delayed.insert(slot, key);
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    fn next_due(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests;
