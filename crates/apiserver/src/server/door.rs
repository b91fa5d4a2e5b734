//! A way past hyper, for bytes that many connections get alike.
//!
//! A watch is an answer whose body goes on for minutes. To hand hyper a piece of it, its task has to be woken, polls everything that
//! a connection consists of, and then writes. While such a body has nothing to say, hyper has nothing to write either: then
//! whoever tells a crowd of watchers the same writes to each connection itself, one after the other, without waking anybody.
//!
//! hyper keeps the connection all the time: heads, the end of the body, and the end of the connection are its own. A door is open
//! only between two writes of hyper: the body says that it waits ([`Door::wait`]), hyper then flushes what it has, and the door
//! opens when nothing is left. The body shuts it again before it gives hyper anything.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection as the bodies of its answers see it.
pub(crate) trait Door: Send + Sync {
    /// The body has nothing to say for now: the door opens once everything has left that it said before.
    fn wait(&self);

    /// The body goes on, or has ended: nothing passes any more.
    fn shut(&self);

    /// Sends bytes that are whole chunks of HTTP/1.1 (RFC 9112, 7.1).
    fn pass(&self, chunks: &Bytes) -> Passed;
}

/// What became of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// They are with the kernel.
    Sent,
    /// They will be sent when the connection's task is polled next: it has to be woken. The door has closed until then.
    Kept,
    /// The door is shut: nothing was taken.
    Shut,
    /// The connection is broken.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Shut,
    /// Opens with the next flush.
    Ajar,
    Open,
}

struct Doorway<S> {
    stream: S,
    leaf: Leaf,
    /// What came through the door and the stream has not taken yet.
    rest: Bytes,
    /// Something that came through the door may have left in part: nothing may follow it.
    broken: bool,
}

impl<S: AsyncWrite + Unpin> Doorway<S> {
    /// Hands what came through the door to the stream.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.leaf == Leaf::Ajar {
            self.leaf = Leaf::Open;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin + Send> Door for Mutex<Doorway<S>> {
    fn wait(&self) {
        let mut doorway = self.lock();
        if doorway.leaf == Leaf::Shut {
            doorway.leaf = Leaf::Ajar;
        }
    }

    fn shut(&self) {
        self.lock().leaf = Leaf::Shut;
    }

    fn pass(&self, chunks: &Bytes) -> Passed {
        let mut doorway = self.lock();
        if doorway.leaf != Leaf::Open {
            return Passed::Shut;
        }
        doorway.rest = chunks.clone();
        // Whoever stands here cannot be woken by one of a thousand sockets: what does not go at once is left to the connection's
        // task. That many writes in one go are meant, so the budget that tokio gives a task does not count.
        let flushed = {
            let flushing = std::future::poll_fn(|cx| doorway.poll_flush(cx));
            pin!(tokio::task::unconstrained(flushing)).poll(&mut Context::from_waker(Waker::noop()))
        };
        match flushed {
            Poll::Ready(Ok(())) => Passed::Sent,
            Poll::Ready(Err(_)) => {
                doorway.leaf = Leaf::Shut;
                doorway.broken = true;
                Passed::Broken
            }
            Poll::Pending => {
                doorway.leaf = Leaf::Ajar;
                Passed::Kept
            }
        }
    }
}

/// A connection with a door, for hyper.
pub(crate) struct Doored<S>(Arc<Mutex<Doorway<S>>>);

impl<S: AsyncWrite + Unpin + Send + 'static> Doored<S> {
    pub(crate) fn new(stream: S) -> (Self, Arc<dyn Door>) {
        let doorway = Arc::new(Mutex::new(Doorway { stream, leaf: Leaf::Shut, rest: Bytes::new(), broken: false }));
        (Self(doorway.clone()), doorway)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Doored<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Doored<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut doorway = self.0.lock();
        ready!(doorway.poll_rest(cx))?;
        Pin::new(&mut doorway.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut doorway = self.0.lock();
        ready!(doorway.poll_rest(cx))?;
        Pin::new(&mut doorway.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut doorway = self.0.lock();
        ready!(doorway.poll_rest(cx))?;
        Pin::new(&mut doorway.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    const PIPE_BYTES: usize = 16;

    fn doored() -> (Doored<DuplexStream>, Arc<dyn Door>, DuplexStream) {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let (stream, door) = Doored::new(near);
        (stream, door, far)
    }

    async fn read(far: &mut DuplexStream, bytes: usize) -> String {
        let mut text = vec![0; bytes];
        far.read_exact(&mut text).await.expect("open");
        String::from_utf8(text).expect("text")
    }

    fn pass(door: &Arc<dyn Door>, text: &'static str) -> Passed {
        door.pass(&Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_door_opens_when_what_was_said_before_has_left() {
        let (mut stream, door, mut far) = doored();
        assert_eq!(pass(&door, "early"), Passed::Shut);
        door.wait();
        assert_eq!(pass(&door, "early"), Passed::Shut, "hyper may hold bytes");
        stream.write_all(b"head ").await.expect("open");
        assert_eq!(pass(&door, "early"), Passed::Shut);
        stream.flush().await.expect("open");
        assert_eq!(pass(&door, "one "), Passed::Sent);
        assert_eq!(pass(&door, "two "), Passed::Sent);
        assert_eq!(read(&mut far, 13).await, "head one two ");
        door.shut();
        assert_eq!(pass(&door, "late"), Passed::Shut);
        stream.flush().await.expect("open");
        assert_eq!(pass(&door, "late"), Passed::Shut, "a flush opens no door that nobody asked to open");
    }

    #[tokio::test]
    async fn what_does_not_go_at_once_goes_first() {
        let (mut stream, door, mut far) = doored();
        door.wait();
        stream.flush().await.expect("open");
        assert_eq!(pass(&door, "0123456789abcdefghij"), Passed::Kept);
        assert_eq!(pass(&door, "more"), Passed::Shut);
        // The body goes on before the rest has left.
        door.shut();
        let writing = async {
            stream.write_all(b"end").await.expect("open");
            stream.flush().await.expect("open");
        };
        let ((), text) = tokio::join!(writing, read(&mut far, 23));
        assert_eq!(text, "0123456789abcdefghijend");
    }

    #[tokio::test]
    async fn a_door_opens_again_when_the_rest_has_left() {
        let (mut stream, door, mut far) = doored();
        door.wait();
        stream.flush().await.expect("open");
        assert_eq!(pass(&door, "0123456789abcdefghij"), Passed::Kept);
        let (flushed, _) = tokio::join!(stream.flush(), read(&mut far, 20));
        flushed.expect("open");
        assert_eq!(pass(&door, "k"), Passed::Sent);
        assert_eq!(read(&mut far, 1).await, "k");
    }

    #[tokio::test]
    async fn a_broken_connection_is_told() {
        let (mut stream, door, far) = doored();
        door.wait();
        stream.flush().await.expect("open");
        drop(far);
        assert_eq!(pass(&door, "x"), Passed::Broken);
        assert_eq!(pass(&door, "x"), Passed::Shut);
        assert!(
            stream.write_all(b"end").await.is_err(),
            "an answer that lacks a part must not end as if it were whole"
        );
    }
}
