use proptest::{collection::vec, prelude::*};

use super::{decode::READ_BYTES, *};

fn decode_all(bytes: &[u8], chunk: usize) -> Result<Vec<Frame>, Error> {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(chunk) {
        decoder.push(piece);
        while let Some(frame) = decoder.next()? {
            frames.push(frame);
        }
    }
    assert!(decoder.is_between_frames(), "what was encoded is whole");
    Ok(joined(frames))
}

/// Data frames as they were before the decoder gave their data in pieces.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut whole: Vec<Frame> = Vec::new();
    for frame in frames {
        if let (
            Some(Frame::Data { stream, data, last: before @ false, fin }),
            Frame::Data { stream: s, data: d, last, fin: f },
        ) = (whole.last_mut(), &frame)
        {
            assert_eq!(stream, s, "pieces of one frame follow each other");
            *data = [data.as_ref(), d].concat().into();
            *before = *last;
            *fin = *f;
            continue;
        }
        whole.push(frame);
    }
    whole
}

fn check(bytes: &[u8], expected: Frame) {
    assert_eq!(decode_all(bytes, usize::MAX).as_deref(), Ok([expected.clone()].as_slice()));
    let mut out = BytesMut::new();
    expected.encode(&mut out);
    assert_eq!(out, bytes);
}

#[test]
fn every_frame_has_the_bytes_of_the_specification() {
    check(
        &[0x80, 3, 0, 1, 3, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 9, 0xe0, 0, 7, 8],
        Frame::SynStream {
            stream: 1,
            associated: 9,
            priority: 7,
            fin: true,
            unidirectional: true,
            headers: Bytes::from_static(&[7, 8]),
        },
    );
    check(
        &[0x80, 3, 0, 2, 1, 0, 0, 5, 0, 0, 0, 1, 7],
        Frame::SynReply { stream: 1, fin: true, headers: Bytes::from_static(&[7]) },
    );
    check(&[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 5], Frame::RstStream { stream: 5, status: Status::CANCEL });
    let entries = vec![Setting { flags: 1, id: 7, value: 0x1_0000 }];
    check(&[0x80, 3, 0, 4, 1, 0, 0, 12, 0, 0, 0, 1, 1, 0, 0, 7, 0, 1, 0, 0], Frame::Settings { clear: true, entries });
    check(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 1, 1], Frame::Ping(257));
    check(
        &[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 1],
        Frame::GoAway { last_good: 3, status: GOAWAY_PROTOCOL_ERROR },
    );
    check(&[0x80, 3, 0, 8, 0, 0, 0, 4, 0, 0, 0, 2], Frame::Headers { stream: 2, fin: false, headers: Bytes::new() });
    check(&[0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 0], Frame::WindowUpdate { stream: 0, delta: 256 });
    check(
        &[0, 0, 0, 1, 1, 0, 0, 2, b'h', b'i'],
        Frame::Data { stream: 1, data: Bytes::from_static(b"hi"), last: true, fin: true },
    );
    check(&[0, 0, 0, 1, 0, 0, 0, 0], Frame::Data { stream: 1, data: Bytes::new(), last: true, fin: false });
    check(&[0x80, 3, 0, 10, 0, 0, 0, 0], Frame::Unknown(10));
}

#[test]
fn what_breaks_the_framing_is_named() {
    for (bytes, expected) in [
        (&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1][..], Error::Version(2)),
        (&[0, 0, 0, 0, 0, 0, 0, 0], Error::ZeroId("DATA")),
        (&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 0], Error::ZeroId("PING")),
        (&[0x80, 3, 0, 1, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Error::ZeroId("SYN_STREAM")),
        (&[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0], Error::ZeroStatus(1)),
        (&[0x80, 3, 0, 6, 0, 0, 0, 3, 0, 0, 1], Error::Length { kind: "PING", length: 3 }),
        (&[0x80, 3, 0, 7, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0], Error::Length { kind: "GOAWAY", length: 9 }),
        (&[0x80, 3, 0, 1, 0, 0, 0, 1, 0], Error::Length { kind: "SYN_STREAM", length: 1 }),
        (&[0x80, 3, 0, 4, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff], Error::Length { kind: "SETTINGS", length: 4 }),
        (&[0x80, 3, 0, 1, 0, 1, 0, 1], Error::TooLong { kind: "SYN_STREAM", length: 0x1_0001 }),
    ] {
        let mut decoder = Decoder::default();
        decoder.push(bytes);
        assert_eq!(decoder.next(), Err(expected), "{bytes:?}");
    }
}

#[test]
fn types_of_other_versions_are_skipped_however_long_they_are() {
    let mut bytes = vec![0x80, 3, 0, 10, 0, 1, 0x11, 0x70];
    bytes.extend(vec![1; 70_000]);
    bytes.extend([0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]);
    assert_eq!(decode_all(&bytes, 1_000).as_deref(), Ok([Frame::Unknown(10), Frame::Ping(1)].as_slice()));
}

#[test]
fn the_buffer_does_not_grow_with_the_length_of_a_data_frame() {
    let mut decoder = Decoder::default();
    decoder.push(&[0, 0, 0, 1, 1, 0xff, 0xff, 0xff]);
    let mut left = 0x00ff_ffff;
    while left > 0 {
        let space = decoder.space();
        let room = (space.capacity() - space.len()).min(left);
        space.put_bytes(7, room);
        assert!(space.capacity() <= 2 * READ_BYTES, "{} bytes are held", space.capacity());
        left -= room;
        let Ok(Some(Frame::Data { data, last, fin, .. })) = decoder.next() else { panic!("data is given as it comes") };
        assert_eq!((data.len(), last, fin), (room, left == 0, left == 0));
    }
}

fn any_id() -> impl Strategy<Value = u32> {
    1..=ID_MASK
}

fn any_bytes(longest: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..longest).prop_map(Bytes::from)
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let setting =
        (any::<u8>(), 0..1_u32 << 24, any::<u32>()).prop_map(|(flags, id, value)| Setting { flags, id, value });
    prop_oneof![
        (any_id(), 0..=ID_MASK, 0..8_u8, any::<bool>(), any::<bool>(), any_bytes(200)).prop_map(
            |(stream, associated, priority, fin, unidirectional, headers)| Frame::SynStream {
                stream,
                associated,
                priority,
                fin,
                unidirectional,
                headers
            }
        ),
        (any_id(), any::<bool>(), any_bytes(200)).prop_map(|(stream, fin, headers)| Frame::SynReply {
            stream,
            fin,
            headers
        }),
        (any_id(), 1..=u32::MAX).prop_map(|(stream, status)| Frame::RstStream { stream, status: Status(status) }),
        (any::<bool>(), vec(setting, 0..5)).prop_map(|(clear, entries)| Frame::Settings { clear, entries }),
        any_id().prop_map(Frame::Ping),
        (0..=ID_MASK, any::<u32>()).prop_map(|(last_good, status)| Frame::GoAway { last_good, status }),
        (any_id(), any::<bool>(), any_bytes(200)).prop_map(|(stream, fin, headers)| Frame::Headers {
            stream,
            fin,
            headers
        }),
        (0..=ID_MASK, 0..=ID_MASK).prop_map(|(stream, delta)| Frame::WindowUpdate { stream, delta }),
        (any_id(), any::<bool>(), any_bytes(20_000)).prop_map(|(stream, fin, data)| Frame::Data {
            stream,
            data,
            last: true,
            fin
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_survive_their_encoding_however_it_is_cut(frames in vec(any_frame(), 1..8), chunk in 1..5_000_usize) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        prop_assert_eq!(decode_all(&bytes, chunk), Ok(frames));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..400), chunk in 1..50_usize) {
        let mut decoder = Decoder::default();
        for piece in bytes.chunks(chunk) {
            decoder.push(piece);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }
}
