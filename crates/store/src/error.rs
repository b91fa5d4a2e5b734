//! What can go wrong between the API server and its store.
//!
//! The variants are the cases that a caller treats differently; everything else is `Unavailable`.

use std::time::Duration;

/// A failed store call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The revision asked for is older than the last compaction.
    #[error("revision {requested} has been compacted; the oldest readable revision is {oldest}")]
    Compacted {
        /// What the caller asked for.
        requested: u64,
        /// The oldest revision that can be read; 0 = the store did not say.
        oldest: u64,
    },
    /// The revision asked for does not exist yet.
    #[error("revision {requested} is ahead of the store, which is at {current}")]
    FutureRevision {
        /// What the caller asked for.
        requested: u64,
        /// Where the store is; 0 = the store did not say.
        current: u64,
    },
    /// The store could not be reached or refused to serve. A write may or may not have been made.
    #[error("the store was unavailable while {doing}")]
    Unavailable {
        /// What was being done, e.g. "committing a transaction".
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store could not be reached, or refused before it began. Nothing was written.
    #[error("the store could not be reached while {doing}")]
    NotSent {
        /// What was to be done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer within the deadline. A write may or may not have been made.
    #[error("the store did not answer within {after:?} while {doing}")]
    Timeout {
        /// What was being done.
        doing: &'static str,
        /// The deadline that passed.
        after: Duration,
    },
    /// A request or an answer is larger than the store's limit. Nothing was written.
    #[error("{doing}: {detail}")]
    TooLarge {
        /// What was being done.
        doing: &'static str,
        /// The store's words, which name the limit.
        detail: String,
    },
    /// The store's quota is used up: it accepts deletes and compaction only.
    #[error("the store has no space left while {doing}: compact and defragment it, or raise its quota")]
    NoSpace {
        /// What was being done.
        doing: &'static str,
    },
    /// The lease has expired or never existed.
    #[error("lease {id:x} does not exist")]
    LeaseNotFound {
        /// The lease asked for.
        id: i64,
    },
    /// The request can never succeed as it is; nothing was written.
    #[error("the store refused the request while {doing}: {detail}")]
    Invalid {
        /// What was being done.
        doing: &'static str,
        /// The store's words.
        detail: String,
    },
    /// A watch ended without a reason given; watch again from the last revision seen + 1.
    #[error("the watch ended")]
    WatchEnded,
}

impl Error {
    /// Whether the same request can succeed later without a change. After a write whose outcome is unknown: read first.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NotSent { .. } | Self::WatchEnded) || self.leaves_outcome_open()
    }

    /// Whether a write that failed so may have been made, or may yet be.
    #[must_use]
    pub fn leaves_outcome_open(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Timeout { .. })
    }

    /// Whether the revision asked for is gone for good.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        matches!(self, Self::Compacted { .. })
    }
}

/// `Result` of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;
