//! The two directions of a session's stream.
//!
//! Nothing here is taken from the network before somebody asks for it, and nothing is accepted that the network has no
//! room for: flow control reaches from a container's process to the client at the other end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt, stream::BoxStream};
use gantry_proto::v1::{SessionEnd, SessionFrame, session_frame::Frame};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};
use tokio_util::sync::PollSender;

use crate::runtime::Size;

/// Bytes of one frame, as the contract has it.
pub(crate) const FRAME_BYTES: usize = 64 * 1024;
/// Frames that wait for the network.
pub(crate) const FRAMES: usize = 8;

/// What the other side sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Standard input, or bytes to the connection.
    Data(Bytes),
    /// The client's terminal has this size.
    Resize(Size),
    /// No more data will come.
    End,
    /// The session was broken off.
    Gone,
}

/// What the other side sends, in order.
pub(crate) struct Incoming {
    frames: BoxStream<'static, Result<SessionFrame, tonic::Status>>,
}

fn input(frame: SessionFrame) -> Option<Input> {
    let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    match frame.frame {
        Some(Frame::Data(bytes)) => Some(Input::Data(bytes)),
        Some(Frame::Resize(size)) => Some(Input::Resize(Size { width: short(size.width), height: short(size.height) })),
        Some(Frame::End(_)) => Some(Input::End),
        // Not for a node.
        Some(Frame::Hello(_) | Frame::Status(_) | Frame::Stderr(_) | Frame::Open(_) | Frame::Start(_)) | None => None,
    }
}

impl Incoming {
    pub(crate) fn new(frames: impl Stream<Item = Result<SessionFrame, tonic::Status>> + Send + 'static) -> Self {
        Self { frames: frames.fuse().boxed() }
    }

    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<Input> {
        loop {
            match ready!(self.frames.poll_next_unpin(context)) {
                Some(Ok(frame)) => {
                    if let Some(input) = input(frame) {
                        return Poll::Ready(input);
                    }
                }
                Some(Err(_)) | None => return Poll::Ready(Input::Gone),
            }
        }
    }

    /// Waits for the start of a session that is deferred.
    ///
    /// # Errors
    /// When the other side has left, or sends something else first.
    pub(super) async fn start(&mut self) -> Result<(), Left> {
        match self.frames.next().await {
            Some(Ok(SessionFrame { frame: Some(Frame::Start(_)) })) => Ok(()),
            _ => Err(Left),
        }
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Input {
        std::future::poll_fn(|context| self.poll_input(context)).await
    }

    /// Waits until the other side has left.
    pub(super) async fn left(&mut self) {
        while self.next().await != Input::Gone {}
    }
}

/// What is sent to the other side.
#[derive(Clone)]
pub(crate) struct Outgoing {
    frames: mpsc::Sender<SessionFrame>,
}

/// The other side has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left;

impl Outgoing {
    pub(crate) fn new(frames: mpsc::Sender<SessionFrame>) -> Self {
        Self { frames }
    }

    pub(super) async fn send(&self, frame: Frame) -> Result<(), Left> {
        self.frames.send(SessionFrame { frame: Some(frame) }).await.map_err(|_| Left)
    }

    async fn pieces(&self, mut bytes: Bytes, frame: impl Fn(Bytes) -> Frame) -> Result<(), Left> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(FRAME_BYTES));
            self.send(frame(piece)).await?;
        }
        Ok(())
    }

    /// Log text, standard output, bytes of a connection.
    pub(super) async fn data(&self, bytes: Bytes) -> Result<(), Left> {
        self.pieces(bytes, Frame::Data).await
    }

    /// Standard error.
    pub(super) async fn stderr(&self, bytes: Bytes) -> Result<(), Left> {
        self.pieces(bytes, Frame::Stderr).await
    }

    /// The connection's peer sends no more.
    pub(super) async fn end(&self) -> Result<(), Left> {
        self.send(Frame::End(SessionEnd {})).await
    }

    /// Resolves when the other side takes nothing any more.
    pub(super) async fn closed(&self) {
        self.frames.closed().await;
    }
}

/// A session's data as a stream of bytes.
pub(crate) struct Bytestream<'a> {
    incoming: &'a mut Incoming,
    rest: Bytes,
    ended: bool,
    frames: PollSender<SessionFrame>,
}

impl<'a> Bytestream<'a> {
    pub(super) fn new(incoming: &'a mut Incoming, outgoing: &Outgoing) -> Self {
        Self { incoming, rest: Bytes::new(), ended: false, frames: PollSender::new(outgoing.frames.clone()) }
    }

    fn poll_send(&mut self, context: &mut Context<'_>, frame: impl FnOnce() -> Frame) -> Poll<io::Result<()>> {
        let left = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.frames.poll_reserve(context)).map_err(left)?;
        Poll::Ready(self.frames.send_item(SessionFrame { frame: Some(frame()) }).map_err(left))
    }
}

impl AsyncRead for Bytestream<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() && !self.ended {
            match ready!(self.incoming.poll_input(context)) {
                Input::Data(bytes) => self.rest = bytes,
                Input::End => self.ended = true,
                Input::Resize(_) => {}
                Input::Gone => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(self.rest.get(..length).unwrap_or_default());
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bytestream<'_> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let piece = bytes.get(..bytes.len().min(FRAME_BYTES)).unwrap_or_default();
        ready!(self.poll_send(context, || Frame::Data(Bytes::copy_from_slice(piece))))?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frames.is_closed() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(context, || Frame::End(SessionEnd {})))?;
        self.frames.close();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use gantry_proto::v1::{SessionStart, TerminalSize};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn data(text: &'static str) -> Result<SessionFrame, tonic::Status> {
        Ok(SessionFrame { frame: Some(Frame::Data(Bytes::from_static(text.as_bytes()))) })
    }

    #[tokio::test]
    async fn frames_become_inputs() {
        let end = Ok(SessionFrame { frame: Some(Frame::End(SessionEnd {})) });
        let size = Frame::Resize(TerminalSize { width: 80, height: 100_000 });
        let frames = [data("a"), Ok(SessionFrame { frame: Some(size) }), Ok(SessionFrame { frame: None }), end];
        let mut incoming = Incoming::new(stream::iter(frames));
        assert_eq!(incoming.next().await, Input::Data("a".into()));
        assert_eq!(incoming.next().await, Input::Resize(Size { width: 80, height: u16::MAX }));
        assert_eq!(incoming.next().await, Input::End);
        assert_eq!(incoming.next().await, Input::Gone);
        assert_eq!(incoming.next().await, Input::Gone, "and it stays so");
    }

    #[tokio::test]
    async fn only_a_start_starts() {
        let start = || Ok(SessionFrame { frame: Some(Frame::Start(SessionStart {})) });
        let mut incoming = Incoming::new(stream::iter([start(), data("a"), start(), data("b")]));
        assert_eq!(incoming.start().await, Ok(()));
        assert_eq!((incoming.next().await, incoming.next().await), (Input::Data("a".into()), Input::Data("b".into())));
        assert_eq!(Incoming::new(stream::iter([data("a"), start()])).start().await, Err(Left));
        assert_eq!(Incoming::new(stream::iter([])).start().await, Err(Left));
    }

    #[tokio::test]
    async fn a_session_reads_and_writes_like_a_socket() {
        let end = Ok(SessionFrame { frame: Some(Frame::End(SessionEnd {})) });
        let mut incoming = Incoming::new(stream::iter([data("hel"), data(""), data("lo"), end]));
        let (frames, mut sent) = mpsc::channel(FRAMES);
        let mut bytes = Bytestream::new(&mut incoming, &Outgoing::new(frames));
        let mut text = String::new();
        bytes.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        let big = vec![7u8; FRAME_BYTES + 1];
        bytes.write_all(&big).await.unwrap();
        bytes.shutdown().await.unwrap();
        let mut lengths = Vec::new();
        while let Some(frame) = sent.recv().await {
            match frame.frame {
                Some(Frame::Data(data)) => lengths.push(data.len()),
                Some(Frame::End(_)) => lengths.push(0),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(lengths, [FRAME_BYTES, 1, 0]);
    }

    #[tokio::test]
    async fn a_session_that_breaks_off_is_no_end_of_file() {
        let mut incoming = Incoming::new(stream::iter([data("x")]));
        let mut bytes = Bytestream::new(&mut incoming, &Outgoing::new(mpsc::channel(1).0));
        let mut text = String::new();
        assert_eq!(bytes.read_to_string(&mut text).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(bytes.write_all(b"x").await.is_err());
    }
}
