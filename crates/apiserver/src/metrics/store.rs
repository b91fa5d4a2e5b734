//! Figures of calls to etcd, with upstream's names: a layer over the store that takes the time of each.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gantry_api::kinds::{self, KindInfo};
use gantry_common::metrics::{Histogram, Page, Snapshot, float};
use gantry_store::{
    Compare, KeyValue, LeaseId, Op, Previous, Range, RangeResult, Result, Store, StoreStatus, Txn, TxnOutcome,
    WatchStream,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Number;
use super::requests::SECONDS;
use super::series::bounded;

/// What all keys of objects begin with.
const ROOT: &str = "/registry/";
/// The group of keys that hold no objects.
const OWN: &str = "gantry.dev";

/// What is asked of etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Create,
    Delete,
    Get,
    List,
    Update,
}

/// Operations, as they are shown.
const OPERATIONS: [&str; 5] = ["create", "delete", "get", "list", "update"];

/// Figures of one operation on one resource.
#[derive(Debug)]
struct Calls {
    took: Histogram,
    failed: Number,
}

impl Calls {
    fn new() -> Self {
        Self { took: Histogram::seconds(&SECONDS), failed: Number::default() }
    }

    fn count(&self, took: Duration, failed: bool) {
        self.took.observe(took);
        if failed {
            self.failed.add(1);
        }
    }
}

/// Group and resource.
type Names = (String, String);

/// What a key belongs to.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Builtin(&'static KindInfo),
    Custom(Names),
    /// No resource.
    Nothing,
}

impl Place {
    /// Keys of custom objects begin with their group, which has a dot.
    fn of(key: &str) -> Self {
        if let Some(kind) = kinds::by_storage_key(key) {
            return Self::Builtin(kind);
        }
        let mut segments = key.strip_prefix(ROOT).unwrap_or_default().split('/');
        match (segments.next(), segments.next(), segments.next()) {
            (Some(group), Some(resource), Some(_)) if group.contains('.') && group != OWN => {
                Self::Custom((group.to_owned(), resource.to_owned()))
            }
            _ => Self::Nothing,
        }
    }
}

/// Figures of one built-in kind.
type Builtin = [OnceLock<Box<Calls>>; OPERATIONS.len()];

/// Figures of all calls.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// By the addresses of built-in kinds.
    builtin: HashMap<usize, (&'static KindInfo, Builtin)>,
    custom: Mutex<BTreeMap<(Names, Operation), Arc<Calls>>>,
}

impl Figures {
    fn new() -> Self {
        let stored = kinds::all().iter().filter(|kind| kind.stored() && !kind.is_converted());
        let builtin = stored.map(|kind| (std::ptr::from_ref(kind).addr(), (kind, Builtin::default())));
        Self { builtin: builtin.collect(), custom: Mutex::default() }
    }

    fn count(&self, place: Place, operation: Operation, took: Duration, failed: bool) {
        match place {
            Place::Builtin(kind) => {
                if let Some((_, calls)) = self.builtin.get(&std::ptr::from_ref(kind).addr()) {
                    calls[operation as usize].get_or_init(|| Box::new(Calls::new())).count(took, failed);
                }
            }
            Place::Custom(names) => {
                if let Some(calls) = bounded(&mut self.custom.lock(), (names, operation), || Arc::new(Calls::new())) {
                    calls.count(took, failed);
                }
            }
            Place::Nothing => {}
        }
    }

    /// Forgets a resource that is not served any more.
    pub(super) fn forget(&self, group: &str, resource: &str) {
        self.custom.lock().retain(|(names, _), _| (names.0.as_str(), names.1.as_str()) != (group, resource));
    }

    pub(super) fn render(&self, page: &mut Page) {
        let mut all: Vec<([&str; 3], Snapshot, u64)> = Vec::new();
        for (kind, calls) in self.builtin.values() {
            for (operation, calls) in OPERATIONS.iter().zip(calls) {
                let Some(calls) = calls.get() else { continue };
                all.push(([operation, kind.group, kind.resource], calls.took.snapshot(), calls.failed.get()));
            }
        }
        let custom: Vec<_> = self.custom.lock().iter().map(|(key, calls)| (key.clone(), calls.clone())).collect();
        for (((group, resource), operation), calls) in &custom {
            let names = [OPERATIONS[*operation as usize], group.as_str(), resource.as_str()];
            all.push((names, calls.took.snapshot(), calls.failed.get()));
        }
        all.sort_by_key(|(names, ..)| *names);
        let labels =
            |[operation, group, resource]: [_; 3]| [("group", group), ("operation", operation), ("resource", resource)];
        let mut total =
            page.family("etcd_requests_total", "counter", "[ALPHA] Calls to etcd, by operation and resource.");
        all.iter().for_each(|(names, took, _)| total.sample(&labels(*names), float(took.total())));
        drop(total);
        let help = "[ALPHA] Calls to etcd that failed, by operation and resource.";
        let mut errors = page.family("etcd_request_errors_total", "counter", help);
        let failed = all.iter().filter(|(_, _, failed)| *failed > 0);
        failed.for_each(|(names, _, failed)| errors.sample(&labels(*names), float(*failed)));
        drop(errors);
        let help = "[ALPHA] Time of calls to etcd, in seconds, by operation and resource.";
        let mut durations = page.family("etcd_request_duration_seconds", "histogram", help);
        all.iter().for_each(|(names, took, _)| durations.histogram(&labels(*names), took));
    }
}

/// A store whose calls are counted.
pub(crate) struct Metered {
    inner: Arc<dyn Store>,
    figures: Arc<Figures>,
}

/// Puts the layer over a store.
pub(crate) fn over(inner: Arc<dyn Store>) -> (Arc<dyn Store>, Arc<Figures>) {
    let figures = Arc::new(Figures::new());
    (Arc::new(Metered { inner, figures: figures.clone() }), figures)
}

/// What a transaction does to its first key.
fn operation(txn: &Txn) -> Option<(Place, Operation)> {
    let first = txn.ops.first()?;
    let created = || txn.compares.iter().any(|c| matches!(c, Compare::Absent(key) if key == first.key()));
    let operation = match first {
        Op::Delete { .. } => Operation::Delete,
        Op::Put { .. } if created() => Operation::Create,
        Op::Put { .. } => Operation::Update,
    };
    Some((Place::of(first.key()), operation))
}

#[async_trait::async_trait]
impl Store for Metered {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        let began = Instant::now();
        let result = self.inner.get(key).await;
        self.figures.count(Place::of(key), Operation::Get, began.elapsed(), result.is_err());
        result
    }

    async fn range(&self, range: Range) -> Result<RangeResult> {
        let (began, place) = (Instant::now(), Place::of(&range.prefix));
        let result = self.inner.range(range).await;
        self.figures.count(place, Operation::List, began.elapsed(), result.is_err());
        result
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        let (began, what) = (Instant::now(), operation(&txn));
        let result = self.inner.txn(txn).await;
        if let Some((place, operation)) = what {
            self.figures.count(place, operation, began.elapsed(), result.is_err());
        }
        result
    }

    async fn watch(&self, prefix: &str, from: u64, previous: Previous) -> Result<WatchStream> {
        self.inner.watch(prefix, from, previous).await
    }

    async fn compact(&self, revision: u64) -> Result<()> {
        self.inner.compact(revision).await
    }

    async fn revision(&self) -> Result<u64> {
        self.inner.revision().await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId> {
        self.inner.lease_grant(ttl).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.inner.lease_keep_alive(lease).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.inner.lease_revoke(lease).await
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.inner.status().await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gantry_store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn calls_are_counted_by_what_they_are_about() {
        let (store, figures) = over(Arc::new(MemoryStore::new()));
        let value = || Bytes::from_static(b"{}");
        let pod = "/registry/pods/default/p";
        store.txn(Txn::create(pod, value())).await.expect("made");
        let revision = store.get(pod).await.expect("read").expect("there").mod_revision;
        store.txn(Txn::update(pod, revision, value())).await.expect("made");
        store.txn(Txn::create("/registry/services/specs/default/s", value())).await.expect("made");
        store.txn(Txn::create("/registry/example.com/widgets/default/w", value())).await.expect("made");
        store.txn(Txn::create("/registry/gantry.dev/fences/a/b", value())).await.expect("made");
        store.range(Range::prefix("/registry/pods/")).await.expect("read");
        store.range(Range::prefix("/registry/")).await.expect("read");
        let mut page = Page::default();
        figures.render(&mut page);
        let text = page.text();
        let totals: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("etcd_requests_total")).collect();
        let line = |group: &str, operation: &str, resource: &str| {
            format!("{{group=\"{group}\",operation=\"{operation}\",resource=\"{resource}\"}} 1")
        };
        let mut expected = vec![
            line("", "create", "pods"),
            line("", "create", "services"),
            line("", "get", "pods"),
            line("", "list", "pods"),
            line("", "update", "pods"),
            line("example.com", "create", "widgets"),
        ];
        let mut found: Vec<String> = totals.into_iter().map(str::to_owned).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        assert!(text.contains("etcd_request_duration_seconds_count{group=\"\",operation=\"get\",resource=\"pods\"} 1"));
    }
}
