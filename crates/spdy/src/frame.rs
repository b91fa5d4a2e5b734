//! Frames and their bytes. Nothing here waits, keeps streams or unpacks headers.

mod decode;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

pub use decode::Decoder;

/// The version in every control frame; SPDY/3.1 did not change it.
const VERSION: u16 = 3;
/// Longest body of a control frame that is looked at. Header blocks are the longest, and unpack to 64 KiB at most.
pub const MAX_CONTROL_BYTES: usize = 64 * 1024;
const ID_MASK: u32 = 0x7fff_ffff;
const FLAG_FIN: u8 = 1;
const FLAG_UNIDIRECTIONAL: u8 = 2;

/// Bytes that are no SPDY/3.1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A control frame of another version.
    #[error("a control frame has version {0}, not 3")]
    Version(u16),
    /// A control frame longer than any that means something here.
    #[error("a {kind} frame has {length} bytes, more than {MAX_CONTROL_BYTES}")]
    TooLong {
        /// Its name.
        kind: &'static str,
        /// What it says its body has.
        length: usize,
    },
    /// A control frame whose body has the wrong size.
    #[error("a {kind} frame cannot have {length} bytes")]
    Length {
        /// Its name.
        kind: &'static str,
        /// What its body has.
        length: usize,
    },
    /// A frame for stream 0, or a ping without a number.
    #[error("a {0} frame has the id 0")]
    ZeroId(&'static str),
    /// A reset without a reason.
    #[error("the reset of stream {0} has the status 0")]
    ZeroStatus(u32),
}

/// The reason in a RST_STREAM.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// The peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// A frame for a stream that is not open.
    pub const INVALID_STREAM: Self = Self(2);
    /// The stream was not taken; nothing was done with it.
    pub const REFUSED_STREAM: Self = Self(3);
    /// The opener does not want the stream any more.
    pub const CANCEL: Self = Self(5);
    /// The end that says so failed.
    pub const INTERNAL_ERROR: Self = Self(6);
    /// A second reply to a stream.
    pub const STREAM_IN_USE: Self = Self(8);
    /// Data after the end of data.
    pub const STREAM_ALREADY_CLOSED: Self = Self(9);

    fn name(self) -> &'static str {
        let names = [
            "PROTOCOL_ERROR",
            "INVALID_STREAM",
            "REFUSED_STREAM",
            "UNSUPPORTED_VERSION",
            "CANCEL",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "STREAM_IN_USE",
            "STREAM_ALREADY_CLOSED",
            "INVALID_CREDENTIALS",
            "FRAME_TOO_LARGE",
        ];
        (self.0 as usize).checked_sub(1).and_then(|at| names.get(at)).unwrap_or(&"unknown status")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The reason in a GOAWAY: nothing was wrong.
pub const GOAWAY_OK: u32 = 0;
/// The reason in a GOAWAY: the peer broke a rule.
pub const GOAWAY_PROTOCOL_ERROR: u32 = 1;

/// One entry of a SETTINGS frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Whether to keep it, and whether it was kept.
    pub flags: u8,
    /// What it sets; 24 bits.
    pub id: u32,
    /// To what.
    pub value: u32,
}

/// A frame. Header blocks are as they were sent: compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    SynStream {
        /// The new stream.
        stream: u32,
        /// A stream that it belongs to, or 0.
        associated: u32,
        /// 0 is the highest, 7 the lowest.
        priority: u8,
        /// The opener sends nothing more.
        fin: bool,
        /// The other side sends nothing.
        unidirectional: bool,
        /// The header block.
        headers: Bytes,
    },
    /// Accepts a stream.
    SynReply {
        /// The stream.
        stream: u32,
        /// The side that accepts sends nothing.
        fin: bool,
        /// The header block.
        headers: Bytes,
    },
    /// Ends a stream at once, both ways.
    RstStream {
        /// The stream.
        stream: u32,
        /// Why.
        status: Status,
    },
    /// Tells about the sender.
    Settings {
        /// What was set before is to be forgotten.
        clear: bool,
        /// The entries.
        entries: Vec<Setting>,
    },
    /// Asks for the same frame back.
    Ping(u32),
    /// The sender takes no new streams.
    GoAway {
        /// The last stream that it took.
        last_good: u32,
        /// Why.
        status: u32,
    },
    /// More headers for a stream.
    Headers {
        /// The stream.
        stream: u32,
        /// The sender sends nothing more.
        fin: bool,
        /// The header block.
        headers: Bytes,
    },
    /// The sender can take more data.
    WindowUpdate {
        /// The stream, or 0 for the connection.
        stream: u32,
        /// How much more.
        delta: u32,
    },
    /// Data. The decoder gives a frame's data in pieces, as it arrives.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes, or some of them.
        data: Bytes,
        /// This piece is the last of its frame.
        last: bool,
        /// The sender sends nothing more; only on a last piece.
        fin: bool,
    },
    /// A control frame of a type that SPDY/3.1 does not have; its body was skipped.
    Unknown(u16),
}

impl Frame {
    /// Appends the frame's bytes. What a caller puts into a frame fits its fields: ids have 31 bits, bodies 24.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::SynStream { stream, associated, priority, fin, unidirectional, headers } => {
                let flags = (u8::from(*fin) * FLAG_FIN) | (u8::from(*unidirectional) * FLAG_UNIDIRECTIONAL);
                put_head(out, 1, flags, 10 + headers.len());
                out.put_u32(*stream);
                out.put_u32(*associated);
                out.put_u8(priority << 5);
                out.put_u8(0);
                out.put_slice(headers);
            }
            Self::SynReply { stream, fin, headers } => put_headers(out, 2, *stream, *fin, headers),
            Self::RstStream { stream, status } => put_pair(out, 3, *stream, status.0),
            Self::Settings { clear, entries } => {
                put_head(out, 4, u8::from(*clear), 4 + 8 * entries.len());
                out.put_u32(entries.len() as u32);
                for entry in entries {
                    out.put_u32(u32::from(entry.flags) << 24 | entry.id);
                    out.put_u32(entry.value);
                }
            }
            Self::Ping(id) => {
                put_head(out, 6, 0, 4);
                out.put_u32(*id);
            }
            Self::GoAway { last_good, status } => put_pair(out, 7, *last_good, *status),
            Self::Headers { stream, fin, headers } => put_headers(out, 8, *stream, *fin, headers),
            Self::WindowUpdate { stream, delta } => put_pair(out, 9, *stream, *delta),
            Self::Data { stream, data, fin, .. } => {
                out.put_u32(*stream);
                out.put_u32(u32::from(*fin) << 24 | data.len() as u32);
                out.put_slice(data);
            }
            Self::Unknown(kind) => put_head(out, *kind, 0, 0),
        }
    }
}

fn put_head(out: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    debug_assert!(length < 1 << 24, "a frame's length has 24 bits");
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    out.put_u32(u32::from(flags) << 24 | length as u32);
}

fn put_headers(out: &mut BytesMut, kind: u16, stream: u32, fin: bool, headers: &[u8]) {
    put_head(out, kind, u8::from(fin), 4 + headers.len());
    out.put_u32(stream);
    out.put_slice(headers);
}

fn put_pair(out: &mut BytesMut, kind: u16, first: u32, second: u32) {
    put_head(out, kind, 0, 8);
    out.put_u32(first);
    out.put_u32(second);
}

#[cfg(test)]
mod tests;
