//! From bytes to frames, in bounded memory whatever lengths the peer gives.

use bytes::{Buf, Bytes, BytesMut};

use super::{Error, FLAG_FIN, FLAG_UNIDIRECTIONAL, Frame, ID_MASK, MAX_CONTROL_BYTES, Setting, Status, VERSION};

/// Bytes before every frame's body.
const HEAD: usize = 8;
/// Data of a frame that is longer than this is shared with the read buffer instead of copied. Less would let a byte
/// that nobody reads keep a whole buffer alive.
const SHARE_FROM_BYTES: usize = 8 * 1024;
/// How much is read at once.
pub(super) const READ_BYTES: usize = 32 * 1024;

/// What the decoder is in the middle of.
#[derive(Debug, Clone, Copy)]
enum Within {
    /// Between frames.
    Nothing,
    /// In the data of a frame.
    Data { stream: u32, left: usize, fin: bool },
    /// In a frame that is skipped.
    Skipped { left: usize },
}

/// Makes frames of bytes.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    within: Within,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), within: Within::Nothing }
    }
}

impl Decoder {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The place to read into, with room.
    pub fn space(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < SHARE_FROM_BYTES {
            self.buffer.reserve(READ_BYTES);
        }
        &mut self.buffer
    }

    /// Whether the bytes so far end between two frames.
    pub fn is_between_frames(&self) -> bool {
        self.buffer.is_empty() && matches!(self.within, Within::Nothing)
    }

    /// The next frame, or nothing until there are more bytes. After an error there is no way on.
    #[expect(clippy::should_implement_trait, reason = "an iterator's None is the end; here it is a pause")]
    pub fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            match self.within {
                Within::Nothing => {}
                Within::Data { stream, left, fin } => return Ok(self.data(stream, left, fin)),
                Within::Skipped { left } => {
                    let skipped = left.min(self.buffer.len());
                    self.buffer.advance(skipped);
                    if skipped < left {
                        self.within = Within::Skipped { left: left - skipped };
                        return Ok(None);
                    }
                    self.within = Within::Nothing;
                }
            }
            let Some(head) = Head::peek(&self.buffer) else { return Ok(None) };
            match head.control()? {
                None => {
                    self.buffer.advance(HEAD);
                    if head.id() == 0 {
                        return Err(Error::ZeroId("DATA"));
                    }
                    self.within = Within::Data { stream: head.id(), left: head.length, fin: head.fin() };
                    if head.length == 0 {
                        return Ok(self.data(head.id(), 0, head.fin()));
                    }
                }
                Some(kind) => {
                    let Some(name) = control_name(kind) else {
                        self.buffer.advance(HEAD);
                        self.within = Within::Skipped { left: head.length };
                        return Ok(Some(Frame::Unknown(kind)));
                    };
                    if head.length > MAX_CONTROL_BYTES {
                        return Err(Error::TooLong { kind: name, length: head.length });
                    }
                    if self.buffer.len() < HEAD + head.length {
                        return Ok(None);
                    }
                    self.buffer.advance(HEAD);
                    // Copied: a header block is short, and must not keep the read buffer.
                    let body = Bytes::copy_from_slice(&self.buffer[..head.length]);
                    self.buffer.advance(head.length);
                    return control(kind, name, &head, body).map(Some);
                }
            }
        }
    }

    fn data(&mut self, stream: u32, left: usize, fin: bool) -> Option<Frame> {
        let length = left.min(self.buffer.len());
        if length == 0 && left > 0 {
            return None;
        }
        let data = if length < SHARE_FROM_BYTES {
            let copy = Bytes::copy_from_slice(&self.buffer[..length]);
            self.buffer.advance(length);
            copy
        } else {
            self.buffer.split_to(length).freeze()
        };
        let last = length == left;
        self.within = if last { Within::Nothing } else { Within::Data { stream, left: left - length, fin } };
        Some(Frame::Data { stream, data, last, fin: fin && last })
    }
}

/// The eight bytes before a body.
struct Head {
    word: u32,
    flags: u8,
    length: usize,
}

impl Head {
    fn peek(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEAD {
            return None;
        }
        let word = bytes.get_u32();
        let rest = bytes.get_u32();
        Some(Self { word, flags: (rest >> 24) as u8, length: (rest & 0x00ff_ffff) as usize })
    }

    /// The type of a control frame, nothing for data.
    fn control(&self) -> Result<Option<u16>, Error> {
        if self.word & !ID_MASK == 0 {
            return Ok(None);
        }
        match (self.word >> 16) as u16 & 0x7fff {
            VERSION => Ok(Some(self.word as u16)),
            other => Err(Error::Version(other)),
        }
    }

    fn id(&self) -> u32 {
        self.word & ID_MASK
    }

    fn fin(&self) -> bool {
        self.flags & FLAG_FIN != 0
    }
}

fn control_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        1 => "SYN_STREAM",
        2 => "SYN_REPLY",
        3 => "RST_STREAM",
        4 => "SETTINGS",
        6 => "PING",
        7 => "GOAWAY",
        8 => "HEADERS",
        9 => "WINDOW_UPDATE",
        _ => return None,
    })
}

fn control(kind: u16, name: &'static str, head: &Head, mut body: Bytes) -> Result<Frame, Error> {
    let (shortest, longest) = match kind {
        1 => (10, usize::MAX),
        2 | 8 => (4, usize::MAX),
        3 | 7 | 9 => (8, 8),
        4 => (4, usize::MAX),
        _ => (4, 4),
    };
    if body.len() < shortest || body.len() > longest {
        return Err(Error::Length { kind: name, length: body.len() });
    }
    if kind == 4 {
        return settings(head, body);
    }
    let word = body.get_u32();
    let stream = word & ID_MASK;
    // A window update of stream 0 and a goaway that took no stream are meant so.
    if stream == 0 && !matches!(kind, 7 | 9) {
        return Err(Error::ZeroId(name));
    }
    Ok(match kind {
        1 => {
            let associated = body.get_u32() & ID_MASK;
            let priority = body.get_u8() >> 5;
            // The slot of a client certificate, which SPDY/3.1 no longer has.
            body.advance(1);
            let unidirectional = head.flags & FLAG_UNIDIRECTIONAL != 0;
            Frame::SynStream { stream, associated, priority, fin: head.fin(), unidirectional, headers: body }
        }
        2 => Frame::SynReply { stream, fin: head.fin(), headers: body },
        3 => match body.get_u32() {
            0 => return Err(Error::ZeroStatus(stream)),
            status => Frame::RstStream { stream, status: Status(status) },
        },
        6 => Frame::Ping(word),
        7 => Frame::GoAway { last_good: stream, status: body.get_u32() },
        8 => Frame::Headers { stream, fin: head.fin(), headers: body },
        _ => Frame::WindowUpdate { stream, delta: body.get_u32() & ID_MASK },
    })
}

fn settings(head: &Head, mut body: Bytes) -> Result<Frame, Error> {
    let length = body.len();
    let count = body.get_u32() as usize;
    if count.checked_mul(8) != Some(body.len()) {
        return Err(Error::Length { kind: "SETTINGS", length });
    }
    let entry = |body: &mut Bytes| {
        let word = body.get_u32();
        Setting { flags: (word >> 24) as u8, id: word & 0x00ff_ffff, value: body.get_u32() }
    };
    Ok(Frame::Settings { clear: head.fin(), entries: (0..count).map(|_| entry(&mut body)).collect() })
}
