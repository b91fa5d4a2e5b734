//! Header blocks: names and values, and the zlib stream that all blocks of one direction share.

use bytes::{Buf, BufMut, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::dictionary::{CHECKSUM, dictionary};

/// Longest header block, unpacked. Kubernetes' blocks have some hundred bytes.
pub const MAX_BLOCK_BYTES: usize = 64 * 1024;
/// Most headers of one block.
pub const MAX_HEADERS: usize = 100;
/// Between two values of one name.
const SEPARATOR: char = '\0';

/// Why a header block cannot be read or sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// zlib gave up.
    #[error("the zlib stream is damaged: {0}")]
    Damaged(String),
    /// The stream starts from a dictionary that is not SPDY/3's.
    #[error("the zlib stream asks for the dictionary {0:#010x}, not the one of SPDY/3")]
    Dictionary(u32),
    /// The stream was ended; the next block could not follow.
    #[error("the zlib stream was ended")]
    Ended,
    /// A block that unpacks to too much.
    #[error("the headers have more than {MAX_BLOCK_BYTES} bytes")]
    TooLong,
    /// A block with too many headers.
    #[error("there are {0} headers, more than {MAX_HEADERS}")]
    TooMany(usize),
    /// Lengths in the block that go past its end.
    #[error("the headers are cut off")]
    CutOff,
    /// Bytes after the last header.
    #[error("{0} bytes follow the last header")]
    Trailing(usize),
    /// A name that the protocol does not allow.
    #[error("{0:?} is no header name: names are lower-case text, each given once")]
    Name(String),
    /// A value that is no text.
    #[error("the value of header {0} is not UTF-8")]
    Value(String),
}

/// Headers in the order in which they were given: names in lower case, a pair for each value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value of a name, in whatever case the name is written.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Adds a value to a name.
    pub fn insert(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The block before compression: each name once, with all its values.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let mut grouped: Vec<(&str, String)> = Vec::with_capacity(self.0.len());
        for (name, value) in self.iter() {
            if name.is_empty() {
                return Err(Error::Name(String::new()));
            }
            match grouped.iter_mut().find(|(given, _)| *given == name) {
                Some((_, values)) => {
                    values.push(SEPARATOR);
                    values.push_str(value);
                }
                None => grouped.push((name, value.to_owned())),
            }
        }
        if self.0.len() > MAX_HEADERS {
            return Err(Error::TooMany(self.0.len()));
        }
        let mut block = Vec::new();
        block.put_u32(grouped.len() as u32);
        for (name, value) in grouped {
            for text in [name, &value] {
                block.put_u32(u32::try_from(text.len()).map_err(|_| Error::TooLong)?);
                block.extend_from_slice(text.as_bytes());
            }
        }
        if block.len() > MAX_BLOCK_BYTES { Err(Error::TooLong) } else { Ok(block.into()) }
    }

    /// Reads a block that was unpacked.
    pub fn decode(mut block: &[u8]) -> Result<Self, Error> {
        let count = block.try_get_u32().map_err(|_| Error::CutOff)? as usize;
        if count > MAX_HEADERS {
            return Err(Error::TooMany(count));
        }
        let mut headers = Self::new();
        for _ in 0..count {
            let name = text(&mut block)?.map_err(|bytes| Error::Name(String::from_utf8_lossy(bytes).into_owned()))?;
            if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_uppercase()) || headers.get(name).is_some() {
                return Err(Error::Name(name.to_owned()));
            }
            let values = text(&mut block)?.map_err(|_| Error::Value(name.to_owned()))?;
            for value in values.split(SEPARATOR) {
                if headers.0.len() == MAX_HEADERS {
                    return Err(Error::TooMany(MAX_HEADERS + 1));
                }
                headers.0.push((name.to_owned(), value.to_owned()));
            }
        }
        if block.is_empty() { Ok(headers) } else { Err(Error::Trailing(block.len())) }
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.insert(name.as_ref(), value);
        }
        headers
    }
}

/// The next length and that many bytes, as text or, where they are none, as they are.
fn text<'a>(block: &mut &'a [u8]) -> Result<Result<&'a str, &'a [u8]>, Error> {
    let length = block.try_get_u32().map_err(|_| Error::CutOff)? as usize;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Error::CutOff)?;
    *block = rest;
    Ok(std::str::from_utf8(bytes).map_err(|_| bytes))
}

/// Packs the header blocks that this side sends, in the order in which they are sent.
#[derive(Debug)]
pub struct Packer(Compress);

impl Default for Packer {
    fn default() -> Self {
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(&dictionary()).expect("a fresh zlib stream takes a dictionary");
        Self(zlib)
    }
}

impl Packer {
    /// Packs one encoded block, up to a boundary that the peer can unpack to.
    pub fn pack(&mut self, block: &[u8]) -> Result<Bytes, Error> {
        let mut out = Vec::with_capacity(256 + block.len());
        let start = self.0.total_in();
        loop {
            let rest = &block[(self.0.total_in() - start) as usize..];
            self.0.compress_vec(rest, &mut out, FlushCompress::Sync).map_err(|e| Error::Damaged(e.to_string()))?;
            // Room that is left shows that all of it is out.
            if out.len() < out.capacity() && self.0.total_in() - start == block.len() as u64 {
                return Ok(out.into());
            }
            out.reserve(1024);
        }
    }
}

/// Unpacks the header blocks that the peer sends. Every block has to pass, in order, also those that nobody needs.
#[derive(Debug)]
pub struct Unpacker(Decompress);

impl Default for Unpacker {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Unpacker {
    /// Unpacks and reads one block.
    pub fn headers(&mut self, packed: &[u8]) -> Result<Headers, Error> {
        Headers::decode(&self.unpack(packed)?)
    }

    /// Unpacks one block; what comes out is never more than [`MAX_BLOCK_BYTES`].
    pub fn unpack(&mut self, packed: &[u8]) -> Result<Vec<u8>, Error> {
        let mut block = Vec::new();
        let mut piece = [0; 4096];
        let start = self.0.total_in();
        loop {
            let rest = &packed[(self.0.total_in() - start) as usize..];
            let before = self.0.total_out();
            let status = match self.0.decompress(rest, &mut piece, FlushDecompress::Sync) {
                Ok(status) => status,
                Err(error) => {
                    self.give_dictionary(&error)?;
                    continue;
                }
            };
            let made = (self.0.total_out() - before) as usize;
            if block.len() + made > MAX_BLOCK_BYTES {
                return Err(Error::TooLong);
            }
            block.extend_from_slice(&piece[..made]);
            if status == Status::StreamEnd {
                return Err(Error::Ended);
            }
            // Room that is left shows that all of it is out.
            if made < piece.len() {
                let used = (self.0.total_in() - start) as usize;
                return if used == packed.len() { Ok(block) } else { Err(Error::Damaged("it does not go on".into())) };
            }
        }
    }

    fn give_dictionary(&mut self, error: &flate2::DecompressError) -> Result<(), Error> {
        match error.needs_dictionary() {
            Some(CHECKSUM) => {
                self.0.set_dictionary(&dictionary()).map_err(|e| Error::Damaged(e.to_string()))?;
                Ok(())
            }
            Some(other) => Err(Error::Dictionary(other)),
            None => Err(Error::Damaged(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
