//! Between our types and etcd's.

use std::error::Error as _;

use bytes::Bytes;
use etcd_client::proto::PbKeyValue;
use etcd_client::{Compare as EtcdCompare, CompareOp, PutOptions, ResponseHeader, Txn as EtcdTxn, TxnOp};
use tonic::{Code, Status};

use crate::error::Error;
use crate::store::{Compare, Form, KeyValue, Op, Range, Txn};

pub(super) fn revision(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, |header| unsigned(header.revision()))
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// Takes the buffers over. A key that is not UTF-8 is foreign: it is shown as well as it goes.
pub(super) fn key_value(kv: PbKeyValue) -> KeyValue {
    let key = String::from_utf8(kv.key).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    KeyValue {
        key,
        value: Bytes::from(kv.value),
        create_revision: unsigned(kv.create_revision),
        mod_revision: unsigned(kv.mod_revision),
        version: unsigned(kv.version),
        lease: kv.lease,
        form: Form::Current,
    }
}

/// The end of the range that holds all keys with this prefix.
pub(super) fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0] // etcd's "to the end of the key space"
}

/// The first key of a range.
pub(super) fn range_start(range: &Range) -> Vec<u8> {
    match &range.after {
        Some(after) if after.as_str() >= range.prefix.as_str() => [after.as_bytes(), &[0]].concat(),
        _ if range.prefix.is_empty() => vec![0],
        _ => range.prefix.as_bytes().to_vec(),
    }
}

pub(super) fn txn(txn: Txn) -> EtcdTxn {
    let read = |key: &str| TxnOp::get(key, None);
    let keys = txn.compares.iter().map(Compare::key).chain(txn.read_on_conflict.iter().map(String::as_str));
    let reads: Vec<TxnOp> = keys.map(read).collect();
    let compares: Vec<EtcdCompare> = txn.compares.into_iter().map(compare).collect();
    let ops: Vec<TxnOp> = txn.ops.into_iter().map(op).collect();
    EtcdTxn::new().when(compares).and_then(ops).or_else(reads)
}

fn compare(compare: Compare) -> EtcdCompare {
    match compare {
        Compare::Absent(key) => EtcdCompare::create_revision(key, CompareOp::Equal, 0),
        Compare::Exists(key) => EtcdCompare::create_revision(key, CompareOp::Greater, 0),
        Compare::ModRevision { key, revision } => {
            EtcdCompare::mod_revision(key, CompareOp::Equal, i64::try_from(revision).unwrap_or(i64::MAX))
        }
    }
}

fn op(op: Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = (lease != 0).then(|| PutOptions::new().with_lease(lease));
            TxnOp::put(key, Vec::from(value), options)
        }
        Op::Delete { key } => TxnOp::delete(key, None),
    }
}

/// Whether a read may be tried again.
pub(super) fn is_transient(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            matches!(status.code(), Code::Unavailable | Code::Aborted)
                || (status.code() == Code::Unknown && !is_etcd(status))
        }
        etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => true,
        _ => false,
    }
}

/// Whether a write has certainly not been made: no connection, or refused before it was proposed.
pub(super) fn is_not_sent(error: &etcd_client::Error) -> bool {
    let etcd_client::Error::GRpcStatus(status) = error else { return false };
    if status.code() != Code::Unavailable {
        return false;
    }
    if status.message() == "etcdserver: no leader" {
        return true;
    }
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            // Nobody listens; or there is no such socket, which etcd makes when it starts.
            return matches!(io.kind(), std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound);
        }
        source = error.source();
    }
    false
}

fn is_etcd(status: &Status) -> bool {
    status.message().starts_with("etcdserver:")
}

/// Sorts etcd's errors into ours.
pub(super) fn failure(error: etcd_client::Error, doing: &'static str) -> Error {
    let status = match error {
        etcd_client::Error::GRpcStatus(status) => status,
        etcd_client::Error::LeaseKeepAliveError(_) => return Error::LeaseNotFound { id: 0 },
        error => return Error::Unavailable { doing, source: Box::new(error) },
    };
    let message = status.message();
    let detail = || message.to_owned();
    if message.contains("has been compacted") {
        Error::Compacted { requested: 0, oldest: 0 }
    } else if message.contains("is a future revision") {
        Error::FutureRevision { requested: 0, current: 0 }
    } else if message.contains("database space exceeded") {
        Error::NoSpace { doing }
    } else if message.contains("lease not found") {
        Error::LeaseNotFound { id: 0 }
    } else if message.contains("too large") || message.contains("larger than max") {
        Error::TooLarge { doing, detail: detail() }
    } else if matches!(status.code(), Code::InvalidArgument | Code::Unimplemented) {
        Error::Invalid { doing, detail: detail() }
    } else {
        Error::Unavailable { doing, source: Box::new(status) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_where_the_next_begins() {
        let check = |prefix: &str, expected: &[u8]| assert_eq!(prefix_end(prefix), expected, "{prefix}");
        check("/registry/", b"/registry0");
        check("a", b"b");
        check("", &[0]);
        check("\u{7f}", &[0x80]);
    }

    #[test]
    fn ranges_start_after_a_key_but_never_before_the_prefix() {
        let check = |range: Range, expected: &[u8]| assert_eq!(range_start(&range), expected);
        check(Range::prefix("/a/"), b"/a/");
        check(Range::prefix("/a/").after("/a/x"), b"/a/x\0");
        check(Range::prefix("/b/").after("/a/x"), b"/b/");
        check(Range::prefix(""), &[0]);
    }

    #[test]
    fn etcd_errors_become_ours() {
        let check =
            |code, message: &str| failure(etcd_client::Error::GRpcStatus(Status::new(code, message)), "testing");
        let compacted = check(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
        assert!(compacted.is_compacted());
        let future = check(Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision");
        assert!(matches!(future, Error::FutureRevision { .. }));
        assert!(matches!(check(Code::InvalidArgument, "etcdserver: request is too large"), Error::TooLarge { .. }));
        assert!(matches!(
            check(Code::OutOfRange, "Error, decoded message length too large: found 9"),
            Error::TooLarge { .. }
        ));
        assert!(matches!(
            check(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            Error::NoSpace { .. }
        ));
        assert!(matches!(
            check(Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
            Error::Invalid { .. }
        ));
        assert!(matches!(check(Code::Unavailable, "etcdserver: leader changed"), Error::Unavailable { .. }));
    }

    #[test]
    fn only_unsent_writes_are_repeated() {
        let status = |code, message: &str| etcd_client::Error::GRpcStatus(Status::new(code, message));
        assert!(is_not_sent(&status(Code::Unavailable, "etcdserver: no leader")));
        assert!(!is_not_sent(&status(Code::Unavailable, "etcdserver: request timed out")));
        assert!(!is_not_sent(&status(Code::Unknown, "transport error")));
        assert!(is_transient(&status(Code::Unavailable, "etcdserver: leader changed")));
        assert!(!is_transient(&status(Code::InvalidArgument, "etcdserver: key is not provided")));
    }
}
