//! The details of a failed call: a `google.rpc.Status` that holds a [`Failure`], as gRPC libraries expect them.

use bytes::Bytes;
use prost::Message;

use crate::v1::Failure;

const TYPE_URL: &str = "type.googleapis.com/gantry.v1.Failure";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The details of a call that failed with `code` and `message`; `status` is a Kubernetes Status as JSON.
#[must_use]
pub fn pack(code: i32, message: &str, status: Bytes) -> Bytes {
    let failure = Failure { status }.encode_to_vec();
    let any = Any { type_url: TYPE_URL.to_owned(), value: Bytes::from(failure) };
    Bytes::from(RpcStatus { code, message: message.to_owned(), details: vec![any] }.encode_to_vec())
}

/// The Kubernetes Status in the details of a failed call, as JSON. Bare JSON is taken too.
#[must_use]
pub fn unpack(details: &[u8]) -> Option<Bytes> {
    if details.first() == Some(&b'{') {
        return Some(Bytes::copy_from_slice(details));
    }
    let status = RpcStatus::decode(details).ok()?;
    let any = status.details.into_iter().find(|any| any.type_url == TYPE_URL)?;
    Failure::decode(any.value).ok().map(|failure| failure.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out() {
        let packed = pack(5, "gone", Bytes::from_static(b"{\"a\":1}"));
        assert_eq!(unpack(&packed).as_deref(), Some(&b"{\"a\":1}"[..]));
        let start = b"\x08\x05\x12\x04gone\x1a\x32\x0a\x25type.googleapis.com/gantry.v1.Failure\x12\x09";
        assert_eq!(&packed[..start.len()], start);
        assert_eq!(unpack(b"{\"kind\":\"Status\"}").as_deref(), Some(&b"{\"kind\":\"Status\"}"[..]));
        assert_eq!((unpack(b""), unpack(b"\xff"), unpack(b"\x08\x05")), (None, None, None));
    }
}
