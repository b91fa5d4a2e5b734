//! What subscribers see: per object the change since they last looked.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Key;

/// The change of one object.
#[derive(Debug)]
pub struct Change<K> {
    /// Which object.
    pub key: Key,
    /// What the subscriber knew before; `None` for a new object.
    pub old: Option<Arc<K>>,
    /// What it is now; `None` for one that is gone.
    pub new: Option<Arc<K>>,
}

/// What the subscriber knows, and what is.
struct Span<K> {
    old: Option<Arc<K>>,
    new: Option<Arc<K>>,
}

struct Pending<K> {
    order: VecDeque<Key>,
    changes: HashMap<Key, Span<K>>,
}

pub(super) struct Queue<K> {
    pending: Mutex<Pending<K>>,
    wake: Notify,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        let pending = Pending { order: VecDeque::new(), changes: HashMap::new() };
        Self { pending: Mutex::new(pending), wake: Notify::new() }
    }
}

impl<K> Queue<K> {
    pub(super) fn push(&self, key: &Key, old: Option<Arc<K>>, new: Option<Arc<K>>) {
        let mut pending = self.pending.lock();
        match pending.changes.get_mut(key) {
            // Not yet taken: the first old and the last new tell all.
            Some(span) => span.new = new,
            None => {
                pending.changes.insert(key.clone(), Span { old, new });
                pending.order.push_back(key.clone());
            }
        }
        drop(pending);
        self.wake.notify_one();
    }

    fn pop(&self) -> Option<Change<K>> {
        let mut pending = self.pending.lock();
        while let Some(key) = pending.order.pop_front() {
            if let Some(Span { old, new }) = pending.changes.remove(&key) {
                // Came and went unseen.
                if old.is_some() || new.is_some() {
                    return Some(Change { key, old, new });
                }
            }
        }
        None
    }
}

/// Changes of an informer's copy, merged per object.
pub struct Subscription<K> {
    queue: Arc<Queue<K>>,
}

impl<K> Subscription<K> {
    pub(super) fn new(queue: Arc<Queue<K>>) -> Self {
        Self { queue }
    }

    /// The next change; waits for one. Safe to use in `select!`.
    pub async fn next(&mut self) -> Change<K> {
        loop {
            if let Some(change) = self.queue.pop() {
                return change;
            }
            self.queue.wake.notified().await;
        }
    }

    /// The next change if there is one now.
    pub fn try_next(&mut self) -> Option<Change<K>> {
        self.queue.pop()
    }
}
