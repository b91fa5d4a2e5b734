//! A dialled connection as a stream of bytes, whichever way it goes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::{SessionEnd, SessionFrame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use crate::sessions::over::Over;
use crate::sessions::{Opened, Received};

/// Bytes of one frame.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// A connection. Each direction ends by itself; dropping it ends both.
#[derive(Debug)]
pub(crate) enum DialStream {
    /// Through a node.
    Session(SessionStream),
    /// From here.
    Direct(TcpStream),
}

impl DialStream {
    pub(super) fn session(opened: Opened) -> Self {
        Self::Session(SessionStream::new(opened))
    }

    pub(super) fn direct(stream: TcpStream) -> Self {
        Self::Direct(stream)
    }

    /// Resolves when the node has ended the connection while nobody reads it; nothing for one from here.
    pub(crate) fn over(&self) -> Option<Over> {
        match self {
            Self::Session(stream) => Some(stream.over.clone()),
            Self::Direct(_) => None,
        }
    }
}

/// The bytes of a session. The session's bounded channels hold back whoever is too fast.
pub(crate) struct SessionStream {
    from_node: mpsc::Receiver<Received>,
    to_node: PollSender<SessionFrame>,
    over: Over,
    /// Received and not read yet.
    unread: Bytes,
    /// The peer has sent all.
    ended: bool,
    /// This side has sent all.
    shut: bool,
}

impl std::fmt::Debug for SessionStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionStream").field("ended", &self.ended).field("shut", &self.shut).finish_non_exhaustive()
    }
}

fn frame(frame: Frame) -> SessionFrame {
    SessionFrame { frame: Some(frame) }
}

fn gone<E>(_: E) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the node has ended the connection")
}

impl SessionStream {
    pub(super) fn new(opened: Opened) -> Self {
        let Opened { from_node, to_node, over, .. } = opened;
        let to_node = PollSender::new(to_node);
        Self { from_node, to_node, over, unread: Bytes::new(), ended: false, shut: false }
    }

    /// Sends what `take` takes once there is room for a frame.
    fn poll_send(&mut self, cx: &mut Context<'_>, take: impl FnOnce() -> Bytes) -> Poll<io::Result<usize>> {
        if self.shut {
            return Poll::Ready(Err(gone(())));
        }
        ready!(self.to_node.poll_reserve(cx)).map_err(gone)?;
        let bytes = take();
        let sent = bytes.len();
        self.to_node.send_item(frame(Frame::Data(bytes))).map_err(gone)?;
        Poll::Ready(Ok(sent))
    }
}

impl AsyncRead for SessionStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() && !self.ended {
            match ready!(self.from_node.poll_recv(cx)) {
                Some(Received::Data(bytes)) => self.unread = bytes,
                Some(Received::Stderr(_)) => {}
                Some(Received::End) => self.ended = true,
                Some(Received::Done(status)) => {
                    self.ended = true;
                    if status.status != "Success" {
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, status.message)));
                    }
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
            }
        }
        let bytes = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..bytes]);
        self.unread.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SessionStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_send(cx, || Bytes::copy_from_slice(&buf[..buf.len().min(FRAME_BYTES_MAX)]))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = bufs.iter().map(|b| b.len()).sum::<usize>().min(FRAME_BYTES_MAX);
        if bytes == 0 {
            return Poll::Ready(Ok(0));
        }
        self.poll_send(cx, || {
            let mut gathered = BytesMut::with_capacity(bytes);
            for buf in bufs {
                let room = bytes - gathered.len();
                gathered.extend_from_slice(&buf[..buf.len().min(room)]);
            }
            gathered.freeze()
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            // A node that has ended the session needs no end from here.
            if ready!(self.to_node.poll_reserve(cx)).is_ok() {
                drop(self.to_node.send_item(frame(Frame::End(SessionEnd {}))));
            }
            self.shut = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for DialStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Session(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Direct(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for DialStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Session(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Direct(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Session(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Direct(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Session(stream) => Pin::new(stream).poll_flush(cx),
            Self::Direct(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Session(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Direct(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use gantry_api::status::Status;
    use gantry_proto::v1::StatsRequest;
    use gantry_proto::v1::control_command::Command;
    use gantry_proto::v1::open_session::Kind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::sessions::{Accepted, Sessions, Start};

    async fn pair() -> (DialStream, Accepted) {
        let sessions = Sessions::default();
        let (_, mut commands) = sessions.register("n1");
        let opening = sessions.open("n1", Kind::Stats(StatsRequest::default()), Start::AtOnce);
        let accepting = async {
            let Some(Command::Open(open)) = commands.recv().await.and_then(|c| c.command) else { panic!("a command") };
            sessions.accept(&open.session, "n1").expect("accepted")
        };
        let (opened, accepted) = tokio::join!(opening, accepting);
        (DialStream::session(opened.expect("opened")), accepted)
    }

    #[tokio::test]
    async fn each_direction_ends_by_itself() {
        let (mut stream, mut node) = pair().await;
        stream.write_all(b"ping").await.expect("room");
        stream.shutdown().await.expect("room");
        assert!(matches!(node.to_node.recv().await.and_then(|f| f.frame), Some(Frame::Data(b)) if b == "ping"));
        assert!(matches!(node.to_node.recv().await.and_then(|f| f.frame), Some(Frame::End(_))));
        assert_eq!(stream.write(b"x").await.expect_err("shut").kind(), io::ErrorKind::BrokenPipe);
        // The answer still comes, in pieces of whatever size.
        node.from_node.send(Received::Data(Bytes::from_static(b"po"))).await.expect("room");
        node.from_node.send(Received::Data(Bytes::from_static(b"ng"))).await.expect("room");
        node.from_node.send(Received::End).await.expect("room");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("text");
        assert_eq!(text, "pong");
        drop(stream);
        assert!(node.from_node.is_closed() && node.to_node.recv().await.is_none());
    }

    #[tokio::test]
    async fn who_is_too_fast_waits() {
        let (mut stream, mut node) = pair().await;
        let data = vec![7; 100 * FRAME_BYTES_MAX];
        let mut sending = Box::pin(stream.write_all(&data));
        assert!((&mut sending).now_or_never().is_none(), "the session's bound holds");
        let receiving = async {
            let mut bytes = 0;
            while bytes < data.len() {
                let Some(Frame::Data(piece)) = node.to_node.recv().await.and_then(|f| f.frame) else { panic!("data") };
                assert!(piece.len() <= FRAME_BYTES_MAX);
                bytes += piece.len();
            }
        };
        let (sent, ()) = tokio::join!(sending, receiving);
        sent.expect("all of it");
    }

    #[tokio::test]
    async fn what_the_node_says_last_is_the_error() {
        let (mut stream, node) = pair().await;
        node.from_node.send(Received::Data(Bytes::from_static(b"half"))).await.expect("room");
        node.from_node.send(Received::Done(Status::unavailable("the pod is gone"))).await.expect("room");
        let mut bytes = Vec::new();
        let error = stream.read_to_end(&mut bytes).await.expect_err("broken off");
        assert_eq!((bytes.as_slice(), error.to_string().as_str()), (&b"half"[..], "the pod is gone"));
        let (mut stream, node) = pair().await;
        drop(node);
        assert!(stream.read_to_end(&mut bytes).await.is_err(), "an end without a word is no end");
    }
}
