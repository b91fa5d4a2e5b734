//! What every `Store` must do: one list of cases, run against etcd and against the double.
//!
//! A case gets a store and a key prefix of its own; cases run one after another, so revisions of a case follow each
//! other. They panic where the store deviates.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

use crate::error::Error;
use crate::store::{EventKind, KeyValue, Op, Previous, Range, Store, StoreEvent, Txn, TxnOutcome, WatchStream};

mod history;
mod leases;
mod transactions;

/// One case.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Runs it on a store under a prefix that nothing else uses.
    pub run: fn(Arc<dyn Store>, String) -> BoxFuture<'static, ()>,
}

macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// All cases, in the order to run them.
        pub const CASES: &[Case] =
            &[$(Case { name: stringify!($name), run: |store, prefix| $module::$name(store, prefix).boxed() }),*];
    };
}

cases![
    transactions::writes_raise_the_revision,
    transactions::conditions_decide,
    transactions::a_conflict_tells_what_is_there,
    transactions::one_transaction_is_one_revision,
    transactions::bad_requests_change_nothing,
    transactions::concurrent_increments_are_all_counted,
    history::ranges_are_cut_and_continued,
    history::ranges_show_old_revisions,
    history::large_ranges_are_complete,
    history::watches_tell_all_changes_in_order,
    history::a_watch_of_everything_sees_every_revision,
    history::a_large_revision_arrives_whole,
    history::compaction_hides_the_past,
    leases::a_revoked_lease_takes_its_keys,
    leases::an_ended_lease_takes_its_keys,
];

/// Runs all cases.
///
/// # Panics
/// When the store deviates.
pub async fn run_all(store: Arc<dyn Store>) {
    for case in CASES {
        tracing::info!(case = case.name, "conformance");
        (case.run)(store.clone(), format!("/conformance/{}/", case.name)).await;
    }
}

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn commit(store: &Arc<dyn Store>, txn: Txn) -> u64 {
    match store.txn(txn).await.expect("the store answers") {
        TxnOutcome::Committed { revision } => revision,
        TxnOutcome::Conflict { current, .. } => panic!("unexpected conflict: {current:?}"),
    }
}

async fn put(store: &Arc<dyn Store>, key: &str, text: &str) -> u64 {
    commit(store, Txn::new().put(key, value(text))).await
}

/// The next `count` events of a watch.
async fn events(watch: &mut WatchStream, count: usize) -> Vec<StoreEvent> {
    let mut events = Vec::new();
    while events.len() < count {
        let batch = watch.next().await.expect("the watch goes on").expect("the watch works");
        assert!(batch.events.is_sorted_by_key(|event| event.kv.mod_revision));
        assert_eq!(batch.events.last().map(|event| event.kv.mod_revision), Some(batch.revision));
        events.extend(batch.events);
    }
    assert_eq!(events.len(), count, "{events:?}");
    events
}
