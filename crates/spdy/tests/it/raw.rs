//! A peer made of the codec alone: it sends what a test tells it to, right or wrong.

use bytes::{Bytes, BytesMut};
use gantry_spdy::{
    Headers,
    frame::{Decoder, Frame},
    headers::{Packer, Unpacker},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(crate) struct Raw {
    pub(crate) io: DuplexStream,
    decoder: Decoder,
    packer: Packer,
    unpacker: Unpacker,
}

impl Raw {
    pub(crate) fn new(io: DuplexStream) -> Self {
        Self { io, decoder: Decoder::default(), packer: Packer::default(), unpacker: Unpacker::default() }
    }

    pub(crate) fn pack(&mut self, headers: &Headers) -> Bytes {
        self.packer.pack(&headers.encode().expect("the test's headers are short")).expect("zlib packs")
    }

    pub(crate) fn syn(&mut self, stream: u32, fin: bool) -> Frame {
        let headers = self.pack(&super::kind("raw"));
        Frame::SynStream { stream, associated: 0, priority: 0, fin, unidirectional: false, headers }
    }

    pub(crate) fn reply(&mut self, stream: u32) -> Frame {
        Frame::SynReply { stream, fin: false, headers: self.pack(&Headers::new()) }
    }

    /// Sends frames; a peer that has closed its side has no use for them.
    pub(crate) async fn send(&mut self, frames: &[Frame]) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        let _ = self.io.write_all(&bytes).await;
    }

    /// The next frame, with the size of its headers checked by unpacking them; nothing at the end of the bytes.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next().expect("the server sends frames") {
                if let Frame::SynStream { headers, .. } | Frame::SynReply { headers, .. } = &frame {
                    self.unpacker.headers(headers).expect("its headers can be read");
                }
                return Some(frame);
            }
            if super::soon(self.io.read_buf(self.decoder.space())).await.expect("a pipe can be read") == 0 {
                assert!(self.decoder.is_between_frames(), "the server ended in the middle of a frame");
                return None;
            }
        }
    }

    /// Everything up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}

pub(crate) fn data(stream: u32, data: &'static [u8], fin: bool) -> Frame {
    Frame::Data { stream, data: Bytes::from_static(data), last: true, fin }
}
