//! Bytes into the unpacking of SPDY header blocks: what comes out is bounded, and what can be read can be sent and read again.

use gantry_spdy::headers::{Error, Headers, MAX_BLOCK_BYTES, MAX_HEADERS, Packer, Unpacker};

pub(crate) fn run(mut data: &[u8]) {
    // The zlib stream goes on from block to block, so a few blocks are taken from the input, each with its length before it.
    let (mut unpacker, mut packer, mut other_end) = (Unpacker::default(), Packer::default(), Unpacker::default());
    while let Some(([high, low], rest)) = data.split_first_chunk() {
        let (block, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes([*high, *low]))));
        data = rest;
        let Ok(unpacked) = unpacker.unpack(block) else { return };
        assert!(unpacked.len() <= MAX_BLOCK_BYTES, "{} bytes came out", unpacked.len());
        let Ok(headers) = Headers::decode(&unpacked) else { continue };
        assert!(headers.iter().count() <= MAX_HEADERS, "{headers:?}");
        for (name, _) in headers.iter() {
            assert!(headers.get(&name.to_ascii_uppercase()).is_some(), "{name:?} of {headers:?}");
        }
        let sent = match headers.encode() {
            Ok(sent) => sent,
            Err(error) => panic!("{headers:?} cannot be sent: {error}"),
        };
        let packed = packer.pack(&sent).expect("zlib packs");
        let read: Result<Headers, Error> = other_end.headers(&packed);
        assert_eq!(read.as_ref(), Ok(&headers));
    }
}
