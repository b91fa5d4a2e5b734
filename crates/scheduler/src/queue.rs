//! Which pods wait for what: active, backing off, or unschedulable until an event that can help.
//!
//! Pure: time is an argument. An unschedulable pod is tried again only when a plugin that refused it says that an event
//! may change its mind; there is no periodic retry.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gantry_client::Key;
use jiff::{SignedDuration, Timestamp};

use crate::decide::Diagnosis;
use crate::plugins::{Event, Plugin};
use crate::pod::PodInfo;

/// Delay after the first failed attempt; doubles with each (upstream's value).
pub const INITIAL_BACKOFF: SignedDuration = SignedDuration::from_secs(1);
/// The longest delay between attempts (upstream's value).
pub const MAX_BACKOFF: SignedDuration = SignedDuration::from_secs(10);

/// Where a pending pod stands.
#[derive(Clone, Debug)]
pub enum State {
    /// Held by scheduling gates; only its own update frees it.
    Gated,
    /// To be tried as soon as its turn comes.
    Active,
    /// To be tried when the time has come.
    BackingOff {
        /// That time.
        until: Timestamp,
    },
    /// Refused; waits for an event that helps.
    Unschedulable {
        /// Why, per node and plugin.
        diagnosis: Arc<Diagnosis>,
        /// The earliest time of the next attempt.
        not_before: Timestamp,
    },
    /// Taken out for an attempt or a binding that is on its way.
    InFlight,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<PodInfo>,
    state: State,
    attempts: u32,
}

/// Order of turns: priority, then age, then name.
type Turn = (Reverse<i32>, Timestamp, Key);

/// The pending pods.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<Key, Entry>,
    active: BTreeSet<Turn>,
    timers: BTreeSet<(Timestamp, Key)>,
    unschedulable: BTreeSet<Key>,
}

fn turn(pod: &PodInfo) -> Turn {
    (Reverse(pod.priority), pod.created, pod.key.clone())
}

impl Queue {
    /// Adds a pending pod, or takes in its new version.
    ///
    /// A new version of an unschedulable pod is tried again only if something that scheduling reads has changed.
    pub fn upsert(&mut self, pod: Arc<PodInfo>) {
        let gated = !pod.gates.is_empty();
        let Some(old) = self.take(&pod.key) else {
            let state = if gated { State::Gated } else { State::Active };
            return self.put(Entry { pod, state, attempts: 0 });
        };
        if old.pod.uid != pod.uid {
            let state = if gated { State::Gated } else { State::Active };
            return self.put(Entry { pod, state, attempts: 0 });
        }
        let state = match old.state {
            State::InFlight => State::InFlight,
            _ if gated => State::Gated,
            State::Gated => State::Active,
            State::Unschedulable { .. } if asks_differently(&old.pod, &pod) => State::Active,
            other => other,
        };
        self.put(Entry { pod, state, attempts: old.attempts });
    }

    /// Forgets the pod: assigned, deleted, or no longer ours.
    pub fn remove(&mut self, key: &Key) {
        self.take(key);
    }

    /// The next pod to try; it stays known as in flight.
    pub fn pop(&mut self) -> Option<Arc<PodInfo>> {
        let (_, _, key) = self.active.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        entry.state = State::InFlight;
        entry.attempts += 1;
        Some(Arc::clone(&entry.pod))
    }

    /// The attempt found no node.
    pub fn unschedulable(&mut self, key: &Key, diagnosis: Diagnosis, now: Timestamp) {
        self.settle(key, |attempts| State::Unschedulable {
            diagnosis: Arc::new(diagnosis),
            not_before: later(now, backoff(attempts)),
        });
    }

    /// The attempt or the binding failed for a reason that time may heal.
    pub fn failed(&mut self, key: &Key, now: Timestamp) {
        self.settle(key, |attempts| State::BackingOff { until: later(now, backoff(attempts)) });
    }

    fn settle(&mut self, key: &Key, state: impl FnOnce(u32) -> State) {
        if let Some(mut entry) = self.take(key) {
            entry.state = if entry.pod.gates.is_empty() { state(entry.attempts) } else { State::Gated };
            self.put(entry);
        }
    }

    /// Something happened: moves the pods that it may help. Returns how many.
    pub fn on_event(&mut self, event: Event<'_>, plugins: &[Box<dyn Plugin>], now: Timestamp) -> usize {
        let helps = |entry: &Entry| match &entry.state {
            State::Unschedulable { diagnosis, .. } => {
                // Without any node no plugin was asked; the first node is what the pod waits for.
                let never_asked = diagnosis.nodes == 0 && matches!(event, Event::NodeAdded(_));
                never_asked
                    || plugins.iter().any(|p| diagnosis.plugins.contains(p.name()) && p.unblocks(&entry.pod, event))
            }
            _ => false,
        };
        let waits = |key: &&Key| self.entries.get(*key).is_some_and(helps);
        let helped: Vec<Key> = self.unschedulable.iter().filter(waits).cloned().collect();
        for key in &helped {
            if let Some(mut entry) = self.take(key) {
                if let State::Unschedulable { not_before, .. } = entry.state {
                    entry.state =
                        if not_before <= now { State::Active } else { State::BackingOff { until: not_before } };
                }
                self.put(entry);
            }
        }
        helped.len()
    }

    /// Makes active what has backed off long enough.
    pub fn wake(&mut self, now: Timestamp) {
        while let Some((until, key)) = self.timers.first().cloned() {
            if until > now {
                return;
            }
            if let Some(mut entry) = self.take(&key) {
                entry.state = State::Active;
                self.put(entry);
            }
        }
    }

    /// When [`Queue::wake`] next has something to do.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.timers.first().map(|(until, _)| *until)
    }

    /// Whether a pod is waiting for its turn.
    #[must_use]
    pub fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// The pod and where it stands.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<(&Arc<PodInfo>, &State, u32)> {
        self.entries.get(key).map(|e| (&e.pod, &e.state, e.attempts))
    }

    /// How many pods are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no pod is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn take(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        match entry.state {
            State::Active => {
                self.active.remove(&turn(&entry.pod));
            }
            State::BackingOff { until } => {
                self.timers.remove(&(until, key.clone()));
            }
            State::Unschedulable { .. } => {
                self.unschedulable.remove(key);
            }
            State::Gated | State::InFlight => {}
        }
        Some(entry)
    }

    fn put(&mut self, entry: Entry) {
        let key = entry.pod.key.clone();
        match entry.state {
            State::Active => {
                self.active.insert(turn(&entry.pod));
            }
            State::BackingOff { until } => {
                self.timers.insert((until, key.clone()));
            }
            State::Unschedulable { .. } => {
                self.unschedulable.insert(key.clone());
            }
            State::Gated | State::InFlight => {}
        }
        self.entries.insert(key, entry);
    }
}

/// Whether anything that a decision reads differs; a status or label update does not.
fn asks_differently(old: &PodInfo, new: &PodInfo) -> bool {
    old.requests != new.requests
        || old.tolerations != new.tolerations
        || old.node_selector != new.node_selector
        || old.required_terms != new.required_terms
        || old.host_ports != new.host_ports
}

fn backoff(attempts: u32) -> SignedDuration {
    let doublings = attempts.saturating_sub(1).min(16);
    INITIAL_BACKOFF.saturating_mul(1 << doublings).min(MAX_BACKOFF)
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
