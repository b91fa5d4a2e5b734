use proptest::{collection::vec, prelude::*};

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn block(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = (pairs.len() as u32).to_be_bytes().to_vec();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        block.extend((text.len() as u32).to_be_bytes());
        block.extend(*text);
    }
    block
}

fn packed(block: &[u8]) -> Bytes {
    Packer::default().pack(block).unwrap()
}

#[test]
fn blocks_read_back_in_order_over_one_zlib_stream() {
    let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
    for count in [0, 1, 3, 50, 100] {
        let headers: Headers = (0..count).map(|n| (format!("Name-{n}"), format!("value {n} of {count}"))).collect();
        let sent = packer.pack(&headers.encode().unwrap()).unwrap();
        assert_eq!(unpacker.headers(&sent), Ok(headers), "{count}");
    }
}

#[test]
fn names_are_found_in_any_case_and_keep_all_their_values() {
    let headers: Headers = [("streamType", "error"), ("Port", "80"), ("port", "81")].into_iter().collect();
    assert_eq!(headers.get("StreamType"), Some("error"));
    assert_eq!(headers.get("PORT"), Some("80"));
    assert_eq!(headers.get("requestid"), None);
    let encoded = headers.encode().unwrap();
    assert_eq!(encoded, block(&[(b"streamtype", b"error"), (b"port", b"80\x0081")]));
    assert_eq!(Headers::decode(&encoded), Ok(headers));
}

#[test]
fn what_is_wrong_with_a_block_is_named() {
    let many: Vec<(&[u8], &[u8])> = vec![(b"a", b""); 101];
    let mut trailing = block(&[(b"a", b"b")]);
    trailing.push(0);
    for (block, expected) in [
        (vec![0, 0, 0], Error::CutOff),
        (vec![0, 0, 0, 1], Error::CutOff),
        (vec![0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 1], Error::CutOff),
        (block(&[(b"a", b"b")])[..11].to_vec(), Error::CutOff),
        (vec![0xff, 0xff, 0xff, 0xff], Error::TooMany(u32::MAX as usize)),
        (block(&many), Error::TooMany(101)),
        (block(&[(b"a", &[0; 100])]), Error::TooMany(101)),
        (trailing, Error::Trailing(1)),
        (block(&[(b"", b"b")]), Error::Name(String::new())),
        (block(&[(b"Ab", b"b")]), Error::Name("Ab".into())),
        (block(&[(b"a", b"b"), (b"a", b"c")]), Error::Name("a".into())),
        (block(&[(&[0xff], b"b")]), Error::Name("\u{fffd}".into())),
        (block(&[(b"a", &[0xff])]), Error::Value("a".into())),
    ] {
        assert_eq!(Unpacker::default().headers(&packed(&block)), Err(expected), "{block:?}");
    }
}

#[test]
fn headers_past_a_limit_are_not_sent() {
    let long: Headers = [("a", "x".repeat(MAX_BLOCK_BYTES))].into_iter().collect();
    assert_eq!(long.encode(), Err(Error::TooLong));
    let many: Headers = (0..101).map(|n| (n.to_string(), "")).collect();
    assert_eq!(many.encode(), Err(Error::TooMany(101)));
    let nameless: Headers = [("", "a")].into_iter().collect();
    assert_eq!(nameless.encode(), Err(Error::Name(String::new())));
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let bomb = packed(&vec![0; 60 * 1024 * 1024]);
    assert!(bomb.len() < crate::frame::MAX_CONTROL_BYTES, "it would pass as a frame: {} bytes", bomb.len());
    assert_eq!(Unpacker::default().unpack(&bomb), Err(Error::TooLong));
    let most = vec![0; MAX_BLOCK_BYTES];
    assert_eq!(Unpacker::default().unpack(&packed(&most)), Ok(most));
}

#[test]
fn a_zlib_stream_that_cannot_go_on_is_refused() {
    let mut ended = Compress::new(Compression::default(), true);
    ended.set_dictionary(&dictionary()).unwrap();
    let mut out = Vec::with_capacity(1000);
    ended.compress_vec(&[0; 4], &mut out, FlushCompress::Finish).unwrap();
    assert_eq!(Unpacker::default().unpack(&out), Err(Error::Ended));

    let mut other = Compress::new(Compression::default(), true);
    other.set_dictionary(b"another dictionary").unwrap();
    let mut out = Vec::with_capacity(1000);
    other.compress_vec(&[0; 4], &mut out, FlushCompress::Sync).unwrap();
    assert!(matches!(Unpacker::default().unpack(&out), Err(Error::Dictionary(_))));

    assert!(matches!(Unpacker::default().unpack(b"no zlib at all"), Err(Error::Damaged(_))));
    assert_eq!(Unpacker::default().headers(b""), Err(Error::CutOff));
}

/// Made with Python's zlib (level 9, window of 2 KiB, this dictionary): the peer chooses level and window.
#[test]
fn a_stream_of_another_zlib_is_read() {
    let mut unpacker = Unpacker::default();
    for (kind, sent) in [
        (
            "error",
            "38eae3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e01c6061606100a4398b20d198094ade8c0600000000ffff",
        ),
        ("data", "c2aa19540e2512d60b000000ffff"),
    ] {
        let expected = [("streamtype", kind), ("port", "8080"), ("requestid", "0")].into_iter().collect();
        assert_eq!(unpacker.headers(&bytes(sent)), Ok(expected));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn headers_survive_packing(pairs in vec(("[a-z:-]{1,20}", "[^\0]{0,100}"), 0..30)) {
        let mut headers = Headers::new();
        for (name, value) in pairs {
            // Values of one name move together.
            if headers.get(&name).is_none() {
                headers.insert(&name, value);
            }
        }
        let sent = packed(&headers.encode().unwrap());
        prop_assert_eq!(Unpacker::default().headers(&sent), Ok(headers));
    }

    #[test]
    fn no_bytes_make_the_unpacker_panic(mut bytes in vec(any::<u8>(), 0..200)) {
        let _ = Headers::decode(&bytes);
        let _ = Unpacker::default().unpack(&bytes);
        bytes.splice(0..0, [0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);
        let _ = Unpacker::default().unpack(&bytes);
    }
}
