//! Storage of the API server: etcd behind a small trait, and the watch cache that serves every read.
//!
//! * [`Store`]: compare-and-swap transactions, ranges, one watch, leases. [`EtcdStore`] is the real one,
//!   [`MemoryStore`]
//!   the double for tests and simulation; the [`conformance`] suite holds both to the same behaviour.
//! * [`cache::Cache`]: one watch over the whole key space keeps every object ready to send ([`Encoded`]).
#![warn(missing_docs)]

pub mod cache;
pub mod compact;
pub mod conformance;
pub mod encoded;
pub mod error;
pub mod etcd;
pub mod memory;
mod scan;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use encoded::{Encoded, Meta};
pub use error::{Error, Result};
pub use etcd::{EtcdConfig, EtcdStore, EtcdTls};
pub use memory::MemoryStore;
pub use store::{
    Compare, EventKind, Form, KeyValue, LeaseId, Op, Previous, Range, RangeResult, Store, StoreEvent, StoreStatus, Txn,
    TxnOutcome, WatchBatch, WatchStream,
};
