//! The one path of every request of every kind: decode, default, admit, prepare, validate, stamp, store, answer.

pub(crate) mod apply;
pub(crate) mod binding;
pub(crate) mod change;
pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod current;
pub(crate) mod decode;
pub(crate) mod delete;
pub(crate) mod delete_collection;
pub(crate) mod eviction;
pub(crate) mod metadata;
pub(crate) mod options;
pub(crate) mod patch;
mod patch_errors;
pub(crate) mod read;
pub(crate) mod review;
pub(crate) mod scale;
pub(crate) mod selection;
pub(crate) mod token;
pub(crate) mod turns;
pub(crate) mod update;
pub(crate) mod watch;

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_store::encoded::Encoded;
use http::StatusCode;

/// What a write ended in.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The object as it is now, with the revision to show.
    Object { encoded: Encoded, revision: u64 },
    /// A finished answer that is not a stored object (reviews, scales, tokens).
    Plain(Bytes),
    /// A Status.
    Status(Box<Status>),
}

/// The answer to a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) outcome: Outcome,
    /// 200, or how the answer differs: 201 for what is new, 202 for what is still to go.
    pub(crate) code: StatusCode,
    pub(crate) warnings: Vec<String>,
}

impl Written {
    pub(crate) fn plain(bytes: Vec<u8>, code: StatusCode) -> Self {
        Self { outcome: Outcome::Plain(Bytes::from(bytes)), code, warnings: Vec::new() }
    }

    pub(crate) fn status(status: Status) -> Self {
        Self { outcome: Outcome::Status(Box::new(status)), code: StatusCode::OK, warnings: Vec::new() }
    }
}
