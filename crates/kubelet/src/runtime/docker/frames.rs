//! Docker's form of several streams in one connection: each piece after a header of eight bytes, which says whose it is
//! and how long. With a terminal there is one stream, without headers.
//!
//! Pieces are passed on as they arrive: what a container announces to write takes no memory before it is written.

use bytes::{Buf, Bytes, BytesMut};
use futures::stream;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::runtime::{Chunk, Error, Output};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;
const HEADER_BYTES: usize = 8;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    stderr: bool,
    left: usize,
    /// Nothing of it was passed on yet.
    fresh: bool,
}

/// Takes the streams apart.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    raw: bool,
    piece: Option<Piece>,
}

impl Decoder {
    /// For a process with a terminal or without one.
    pub(super) fn new(tty: bool) -> Self {
        Self { raw: tty, piece: None }
    }

    /// The next chunk of what has arrived, and whether a piece begins with it.
    fn next(&mut self, from: &mut BytesMut) -> Result<Option<(Chunk, bool)>, Error> {
        if self.raw {
            return Ok((!from.is_empty()).then(|| (Chunk::Out(from.split().freeze()), false)));
        }
        loop {
            match &mut self.piece {
                Some(piece) if piece.left == 0 => self.piece = None,
                Some(_) if from.is_empty() => return Ok(None),
                Some(piece) => {
                    let bytes = from.split_to(piece.left.min(from.len())).freeze();
                    piece.left -= bytes.len();
                    let begins = std::mem::take(&mut piece.fresh);
                    return Ok(Some((if piece.stderr { Chunk::Err(bytes) } else { Chunk::Out(bytes) }, begins)));
                }
                None => {
                    let Some(header) = from.get(..HEADER_BYTES) else { return Ok(None) };
                    self.piece = Some(header_of(header)?);
                    from.advance(HEADER_BYTES);
                }
            }
        }
    }
}

fn header_of(bytes: &[u8]) -> Result<Piece, Error> {
    let [kind @ 0..=2, 0, 0, 0, length @ ..] = bytes else {
        return Err(Error::Incomplete { what: "a joined stream", field: "header of a piece of output" });
    };
    let length = <[u8; 4]>::try_from(length).map(u32::from_be_bytes).unwrap_or(0);
    Ok(Piece { stderr: *kind == 2, left: usize::try_from(length).unwrap_or(usize::MAX), fresh: true })
}

/// Docker's lines with their times, where a line that was written in pieces has a time only at its beginning.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Whether the last piece of standard output and of standard error ended in the middle of a line.
    open: [bool; 2],
    /// What is still to be taken away is a time and the blank after it.
    cutting: bool,
}

impl Times {
    fn chunk(&mut self, chunk: Chunk, begins: bool) -> Chunk {
        let (mut bytes, stderr) = match chunk {
            Chunk::Out(bytes) => (bytes, false),
            Chunk::Err(bytes) => (bytes, true),
        };
        let open = &mut self.open[usize::from(stderr)];
        if begins {
            self.cutting = *open;
        }
        if self.cutting {
            match bytes.iter().position(|byte| *byte == b' ') {
                Some(blank) => {
                    bytes.advance(blank + 1);
                    self.cutting = false;
                }
                None => bytes.clear(),
            }
        }
        if let Some(last) = bytes.last() {
            *open = *last != b'\n';
        }
        if stderr { Chunk::Err(bytes) } else { Chunk::Out(bytes) }
    }
}

/// The output that a reader carries.
pub(super) fn output<R>(reader: R, arrived: Bytes, tty: bool, times: Option<Times>) -> Output
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    buffer.extend_from_slice(&arrived);
    let state = (reader, buffer, Decoder::new(tty), times);
    Box::pin(stream::try_unfold(state, |(mut reader, mut buffer, mut decoder, mut times)| async move {
        loop {
            if let Some((chunk, begins)) = decoder.next(&mut buffer)? {
                let chunk = match &mut times {
                    Some(times) => times.chunk(chunk, begins),
                    None => chunk,
                };
                return Ok(Some((chunk, (reader, buffer, decoder, times))));
            }
            buffer.reserve(READ_BYTES);
            let read = reader.read_buf(&mut buffer).await;
            if read.map_err(|source| Error::Stream { source })? == 0 {
                return Ok(None);
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    fn piece(kind: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0][..], &length, text.as_bytes()].concat()
    }

    /// Reads the bytes in pieces of `step`; neighbours of one stream become one again.
    async fn read(bytes: &[u8], step: usize, tty: bool, times: Option<Times>) -> Result<Vec<(bool, String)>, Error> {
        let steps: Vec<std::io::Result<Bytes>> =
            bytes.chunks(step).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let reader = tokio_util::io::StreamReader::new(futures::stream::iter(steps));
        let chunks: Vec<Chunk> = output(reader, Bytes::new(), tty, times).try_collect().await?;
        let mut found: Vec<(bool, String)> = Vec::new();
        for chunk in chunks {
            let stderr = matches!(chunk, Chunk::Err(_));
            let text = String::from_utf8(chunk.into_bytes().to_vec()).unwrap();
            match found.last_mut() {
                Some((last, before)) if *last == stderr => before.push_str(&text),
                _ => found.push((stderr, text)),
            }
        }
        Ok(found)
    }

    #[tokio::test]
    async fn streams_are_taken_apart_wherever_they_are_cut() {
        let bytes = [piece(1, "one "), piece(2, "bad"), piece(1, ""), piece(1, "two"), piece(1, "!")].concat();
        for step in 1..bytes.len() {
            let found = read(&bytes, step, false, None).await.unwrap();
            let expected = [(false, "one "), (true, "bad"), (false, "two!")];
            assert_eq!(found, expected.map(|(stderr, text)| (stderr, text.to_owned())), "in steps of {step}");
        }
    }

    #[tokio::test]
    async fn a_terminal_is_passed_on_as_it_is() {
        let found = read(b"\x01\x02 prompt", 3, true, None).await.unwrap();
        assert_eq!(found, [(false, "\x01\x02 prompt".to_owned())]);
    }

    #[tokio::test]
    async fn what_is_no_stream_is_an_error() {
        assert!(read(b"HTTP/1.1 500", 4, false, None).await.is_err());
    }

    #[tokio::test]
    async fn an_announced_piece_takes_no_memory() {
        let mut decoder = Decoder::new(false);
        let mut bytes = BytesMut::from(&[1u8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, b'x'][..]);
        assert_eq!(decoder.next(&mut bytes).unwrap(), Some((Chunk::Out(Bytes::from_static(b"x")), true)));
        assert_eq!(decoder.next(&mut bytes).unwrap(), None);
        assert!(bytes.is_empty());
    }

    #[tokio::test]
    async fn a_long_line_has_one_time() {
        let bytes = [piece(1, "T1 aaa"), piece(2, "T1 x\n"), piece(1, "T2 bbb\n"), piece(1, "T3 c\n")].concat();
        for step in 1..bytes.len() {
            let found = read(&bytes, step, false, Some(Times::default())).await.unwrap();
            let expected = [(false, "T1 aaa"), (true, "T1 x\n"), (false, "bbb\nT3 c\n")];
            assert_eq!(found, expected.map(|(stderr, text)| (stderr, text.to_owned())), "in steps of {step}");
        }
    }
}
