//! A protobuf body: the envelope as it comes, or the message of one of the kinds in a good one. What was read can be written,
//! read again, and written the same.

use gantry_api::{decode, encode};

use crate::body;

pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let mut whole = decode::PROTOBUF_MAGIC.to_vec();
    if *choice < 16 {
        whole.extend_from_slice(bytes);
    } else {
        let kind = body::kind(choice - 16);
        let mut meta = Vec::new();
        field(&mut meta, 1, kind.api_version.as_bytes());
        field(&mut meta, 2, kind.kind.as_bytes());
        field(&mut whole, 1, &meta);
        field(&mut whole, 2, bytes);
    }
    let Ok(object) = decode::protobuf(&whole) else { return };
    // Not the same object: a time that is empty is read as null, and null is not written.
    let written = encode::protobuf(&object).expect("a message that was read can be written");
    let again = decode::protobuf(&written).expect("what was written can be read");
    assert_eq!(encode::protobuf(&again), Some(written), "written twice");
    if let Some(kind) = body::kind_of(&object) {
        body::conformed(kind, object);
    }
}

/// A field of bytes.
fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
}
