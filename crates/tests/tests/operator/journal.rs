//! Who worked on which object, and when: what shows that there is one leader.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

#[derive(Debug, Clone)]
struct Entry {
    instance: String,
    object: String,
    from: Instant,
    to: Option<Instant>,
}

/// Everything that all instances did, and what went wrong last.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: Mutex<Vec<Entry>>,
    failure: Mutex<String>,
}

/// Work that goes on until this is dropped.
pub(crate) struct Turn {
    journal: Arc<Journal>,
    number: usize,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.journal.entries.lock()[self.number].to = Some(Instant::now());
    }
}

impl Journal {
    /// An instance begins to work on an object.
    pub(crate) fn turn(self: &Arc<Self>, instance: &str, object: &str) -> Turn {
        let mut entries = self.entries.lock();
        let (instance, object) = (instance.to_owned(), object.to_owned());
        entries.push(Entry { instance, object, from: Instant::now(), to: None });
        Turn { journal: Arc::clone(self), number: entries.len() - 1 }
    }

    /// The instances that worked on an object, in the order in which they took it up.
    pub(crate) fn instances(&self, object: &str) -> Vec<String> {
        let entries = self.entries.lock();
        let mut found: Vec<String> =
            entries.iter().filter(|e| e.object == object).map(|e| e.instance.clone()).collect();
        found.dedup();
        found
    }

    /// Notes what went wrong: it is told when a test fails.
    pub(crate) fn failed(&self, why: String) {
        *self.failure.lock() = why;
    }

    /// What went wrong last.
    pub(crate) fn failure(&self) -> String {
        self.failure.lock().clone()
    }

    /// How often an object was taken up.
    pub(crate) fn turns(&self, object: &str) -> usize {
        self.entries.lock().iter().filter(|e| e.object == object).count()
    }

    /// Objects that two instances worked on at the same time.
    pub(crate) fn conflicts(&self) -> Vec<String> {
        let entries = self.entries.lock();
        let mut found = Vec::new();
        for (at, one) in entries.iter().enumerate() {
            for other in entries[at + 1..].iter().filter(|e| e.object == one.object && e.instance != one.instance) {
                if one.to.is_none_or(|end| end > other.from) && other.to.is_none_or(|end| end > one.from) {
                    found.push(format!("{}: {} and {}", one.object, one.instance, other.instance));
                }
            }
        }
        found
    }
}

#[test]
fn work_at_the_same_time_is_noticed() {
    let journal = Arc::new(Journal::default());
    let first = journal.turn("one", "a");
    drop(journal.turn("one", "a"));
    drop(journal.turn("two", "b"));
    drop(first);
    drop(journal.turn("two", "a"));
    assert_eq!((journal.conflicts(), journal.instances("a")), (vec![], vec!["one".to_owned(), "two".to_owned()]));
    let _second = journal.turn("two", "a");
    drop(journal.turn("one", "a"));
    assert_eq!(journal.conflicts(), ["a: two and one"]);
}
