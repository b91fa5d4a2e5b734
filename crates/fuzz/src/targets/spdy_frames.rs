//! Bytes into the SPDY decoder: they read the same however they are cut, and what was read encodes to what reads the same.

use bytes::BytesMut;
use gantry_spdy::frame::{Decoder, Error, Frame};

pub(crate) fn run(data: &[u8]) {
    let Some((chunk, bytes)) = data.split_first() else { return };
    let (whole, outcome) = decode(bytes, usize::MAX);
    let cut = decode(bytes, usize::from(*chunk).max(1));
    assert_eq!((&whole, &outcome), (&cut.0, &cut.1), "the same bytes, in pieces of {chunk}");

    let mut again = BytesMut::new();
    whole.iter().for_each(|frame| frame.encode(&mut again));
    assert_eq!(decode(&again, usize::MAX), (whole, Ok(())), "what was encoded");
}

/// The whole frames among the bytes, and what ended them.
fn decode(bytes: &[u8], chunk: usize) -> (Vec<Frame>, Result<(), Error>) {
    let mut decoder = Decoder::default();
    let mut frames: Vec<Frame> = Vec::new();
    let mut outcome = Ok(());
    'pieces: for piece in bytes.chunks(chunk) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => add(&mut frames, frame),
                Ok(None) => break,
                Err(error) => {
                    outcome = Err(error);
                    break 'pieces;
                }
            }
        }
    }
    if matches!(frames.last(), Some(Frame::Data { last: false, .. })) {
        frames.pop();
    }
    (frames, outcome)
}

/// Adds a frame, or a piece of data to the frame that it is a piece of.
fn add(frames: &mut Vec<Frame>, frame: Frame) {
    if let Some(Frame::Data { stream, data, last: unfinished @ false, fin }) = frames.last_mut() {
        let Frame::Data { stream: same, data: more, last, fin: ends } = frame else {
            panic!("{frame:?} stands between the pieces of a data frame");
        };
        assert_eq!(*stream, same, "pieces of one frame follow each other");
        *data = [data.as_ref(), &more].concat().into();
        (*unfinished, *fin) = (last, ends);
    } else {
        frames.push(frame);
    }
}
