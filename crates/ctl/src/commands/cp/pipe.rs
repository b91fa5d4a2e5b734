//! Between a session, which is asynchronous, and the archive code, which is not: bounded pipes.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use gantry_client::session::DATA_BYTES_MAX;
use tokio::sync::mpsc;

/// Pieces that may wait in a pipe.
const PIECES: usize = 4;

/// Reads what the other end sends; ends with it.
#[derive(Debug)]
pub(super) struct Reader {
    pieces: mpsc::Receiver<Bytes>,
    present: Bytes,
}

/// Gathers what is written into pieces of one frame each.
#[derive(Debug)]
pub(super) struct Writer {
    pieces: mpsc::Sender<Bytes>,
    gathered: BytesMut,
}

/// A pipe whose reading end is not asynchronous.
pub(super) fn reader() -> (mpsc::Sender<Bytes>, Reader) {
    let (sender, pieces) = mpsc::channel(PIECES);
    (sender, Reader { pieces, present: Bytes::new() })
}

/// A pipe whose writing end is not asynchronous.
pub(super) fn writer() -> (Writer, mpsc::Receiver<Bytes>) {
    let (pieces, receiver) = mpsc::channel(PIECES);
    (Writer { pieces, gathered: BytesMut::with_capacity(DATA_BYTES_MAX) }, receiver)
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.present.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.present = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.present.len());
        self.present.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(DATA_BYTES_MAX - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..length]);
        if self.gathered.len() == DATA_BYTES_MAX {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.gathered, BytesMut::with_capacity(DATA_BYTES_MAX)).freeze();
        let ended = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the container takes no more");
        self.pieces.blocking_send(piece).map_err(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_pieces_of_a_frame() {
        let (mut writer, mut pieces) = writer();
        let all: Vec<u8> = (0..DATA_BYTES_MAX + 10).map(|i| u8::try_from(i % 251).expect("small")).collect();
        writer.write_all(&all).expect("there is room");
        writer.flush().expect("there is room");
        drop(writer);
        let (sender, mut reader) = reader();
        let mut lengths = Vec::new();
        while let Some(piece) = pieces.blocking_recv() {
            lengths.push(piece.len());
            sender.blocking_send(piece).expect("there is room");
        }
        drop(sender);
        assert_eq!(lengths, [DATA_BYTES_MAX, 10]);
        let mut out = Vec::new();
        reader.read_to_end(&mut out).expect("it ends");
        assert_eq!(out, all);
    }

    #[test]
    fn a_writer_notices_that_nobody_reads() {
        let (mut writer, pieces) = writer();
        drop(pieces);
        writer.write_all(b"x").expect("it is gathered");
        assert_eq!(writer.flush().expect_err("nobody reads").kind(), io::ErrorKind::BrokenPipe);
    }
}
