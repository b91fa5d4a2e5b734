//! Answers to pings, held back for a moment.
//!
//! etcd's server (grpc-go) measures the way to its clients: it pings whenever it is sent data, unless its last ping is still
//! unanswered. Answered with the next call, that is a ping for each call of a client that makes one after the other: a TLS record, a
//! system call and a wake-up of a thread on either side. Answered a little later, it is one for as long as that takes.
//! What it measures is how much a connection's window should hold for the way's length, where more than the usual 64 KiB are sent
//! in that time: a way that is said to be longer than it is gets no smaller a window.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long an answer waits: far less than the 20 s (`--grpc-keepalive-timeout`) after which etcd takes a client for dead.
const DELAY: Duration = Duration::from_millis(25);

/// Bytes of a PING frame: nine of the head, eight of its own (RFC 9113, 6.7).
const PING_BYTES: usize = 17;
/// The head of its answer: eight bytes of type 6 with the flag ACK, on stream 0.
const ACK_HEAD: [u8; 9] = [0, 0, 8, 6, 1, 0, 0, 0, 0];

/// What a client says before its first frame (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;
/// Bytes of a frame's head; the first three are its length.
const HEAD_BYTES: usize = ACK_HEAD.len();

/// Where in the frames that are written one is: an answer may neither be seen in another frame's bytes nor stand among them.
struct Place {
    /// Bytes that are left of a frame whose head is known.
    left: usize,
    head: [u8; HEAD_BYTES],
    /// Bytes of the next head that are known.
    known: usize,
}

impl Place {
    /// At the begin of a connection.
    fn new() -> Self {
        Self { left: PREFACE_BYTES, head: [0; HEAD_BYTES], known: 0 }
    }

    fn is_between_frames(&self) -> bool {
        self.left == 0 && self.known == 0
    }

    /// Goes on behind these bytes.
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let of_frame = self.left.min(bytes.len());
            self.left -= of_frame;
            bytes = &bytes[of_frame..];
            let of_head = (HEAD_BYTES - self.known).min(bytes.len());
            self.head[self.known..self.known + of_head].copy_from_slice(&bytes[..of_head]);
            self.known += of_head;
            bytes = &bytes[of_head..];
            if self.known == HEAD_BYTES {
                self.known = 0;
                self.left =
                    usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2]);
            }
        }
    }
}

/// A connection of HTTP/2 that holds back answers to pings.
pub(super) struct Unhurried<T> {
    stream: T,
    place: Place,
    /// The answer that waits, and from where on it has not been written yet.
    held: Option<([u8; PING_BYTES], usize)>,
    until: Pin<Box<Sleep>>,
}

impl<T> Unhurried<T> {
    /// Wraps a connection.
    pub(super) fn new(stream: T) -> Self {
        Self { stream, place: Place::new(), held: None, until: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }

    /// Takes an answer to a ping out of what is to be written, if it begins with one.
    fn hold(&mut self, written: &[u8]) -> bool {
        if self.held.is_some() || !written.starts_with(&ACK_HEAD) || !self.place.is_between_frames() {
            return false;
        }
        let Some(answer) = written.first_chunk::<PING_BYTES>() else { return false };
        self.held = Some((*answer, 0));
        self.until.as_mut().reset(Instant::now() + DELAY);
        true
    }
}

impl<T: AsyncWrite + Unpin> Unhurried<T> {
    /// Writes what waits, whatever the time.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((answer, from)) = &mut self.held {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &answer[*from..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *from += written;
            if *from == PING_BYTES {
                self.held = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what has waited long enough, between frames; what has been begun is not interrupted by anything else.
    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((_, from)) = self.held.filter(|_| self.place.is_between_frames()) else {
            return Poll::Ready(Ok(()));
        };
        if from == 0 && self.until.as_mut().poll(context).is_pending() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_held(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Unhurried<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Reading is what a connection always waits for. An answer that does not go out now goes with the next thing that is written.
        if let Poll::Ready(Err(error)) = self.poll_due(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Unhurried<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.hold(bytes) {
            return Poll::Ready(Ok(PING_BYTES));
        }
        ready!(self.poll_due(context))?;
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.place.pass(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if parts.first().is_some_and(|part| self.hold(part)) {
            return Poll::Ready(Ok(PING_BYTES));
        }
        ready!(self.poll_due(context))?;
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, parts))?;
        let mut left = written;
        for part in parts {
            let of_part = left.min(part.len());
            self.place.pass(&part[..of_part]);
            left -= of_part;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.place.is_between_frames() {
            ready!(self.poll_held(context))?;
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn answer(to: u8) -> [u8; PING_BYTES] {
        let mut frame = [to; PING_BYTES];
        frame[..ACK_HEAD.len()].copy_from_slice(&ACK_HEAD);
        frame
    }

    const PREFACE: &[u8; PREFACE_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn data(content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        [&[0, 0, length, 0, 0, 0, 0, 0, 1], content].concat()
    }

    /// Both ends of a connection with room for so many bytes, behind its preface.
    async fn connected(room: usize) -> (Unhurried<DuplexStream>, DuplexStream) {
        let (near, mut far) = duplex(room);
        let mut near = Unhurried::new(near);
        let mut preface = [0; PREFACE_BYTES];
        let (sent, got) = tokio::join!(near.write_all(PREFACE), far.read_exact(&mut preface));
        sent.unwrap();
        got.unwrap();
        assert_eq!(&preface, PREFACE);
        (near, far)
    }

    /// What has arrived by now.
    fn arrived(far: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = [0; 1 << 10];
        let mut into = ReadBuf::new(&mut bytes);
        drop(Pin::new(far).poll_read(&mut Context::from_waker(std::task::Waker::noop()), &mut into));
        into.filled().to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_and_goes_out_by_itself() {
        let (mut near, mut far) = connected(1 << 10).await;
        near.write_all(&answer(1)).await.unwrap();
        near.flush().await.unwrap();
        assert!(arrived(&mut far).is_empty());
        let begun = Instant::now();
        let mut byte = [0; 1];
        let got = async {
            let mut frame = [0; PING_BYTES];
            far.read_exact(&mut frame).await.unwrap();
            far.write_all(b"!").await.unwrap();
            frame
        };
        let (frame, read) = tokio::join!(got, near.read_exact(&mut byte));
        read.unwrap();
        assert_eq!((frame, begun.elapsed()), (answer(1), DELAY));
    }

    #[tokio::test(start_paused = true)]
    async fn other_frames_do_not_wait_and_do_not_hurry_it() {
        let (mut near, mut far) = connected(1 << 10).await;
        near.write_all(&[&answer(1)[..], &data(b"with it")].concat()).await.unwrap();
        assert_eq!(arrived(&mut far), data(b"with it"), "a frame behind an answer");
        let mut ping = answer(2);
        ping[4] = 0;
        for (frame, what) in [
            (&ping[..], "our own ping"),
            (&answer(3), "an answer while another waits"),
            (&data(b"content"), "any frame"),
        ] {
            near.write_all(frame).await.unwrap();
            assert_eq!(arrived(&mut far), frame, "{what}");
        }
        tokio::time::advance(DELAY).await;
        near.write_all(&data(b"next")).await.unwrap();
        assert_eq!(arrived(&mut far), [&answer(1)[..], &data(b"next")].concat(), "once it is due it goes first");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_begun_is_not_interrupted() {
        let (mut near, mut far) = connected(10).await;
        near.write_all(&answer(7)).await.unwrap();
        tokio::time::advance(DELAY).await;
        let mut into = [0; 1];
        let due = poll_fn(|context| {
            let mut into = ReadBuf::new(&mut into);
            assert!(Pin::new(&mut near).poll_read(context, &mut into).is_pending());
            Poll::Ready(())
        });
        due.await;
        let (sent, all) = tokio::join!(near.write_all(b"next"), async {
            let mut all = [0; PING_BYTES + 4];
            far.read_exact(&mut all).await.unwrap();
            all
        });
        sent.unwrap();
        assert_eq!(all[..], [&answer(7)[..], b"next"].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn what_looks_like_an_answer_in_another_frame_is_none() {
        let (mut near, mut far) = connected(1 << 10).await;
        let frame = data(&[&b"x"[..], &answer(9)].concat());
        near.write_all(&frame[..10]).await.unwrap();
        near.write_all(&frame[10..]).await.unwrap();
        assert_eq!(arrived(&mut far), frame);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_does_not_stand_in_another_frame() {
        let (mut near, mut far) = connected(1 << 10).await;
        let frame = data(b"content");
        near.write_all(&answer(1)).await.unwrap();
        for cut in [4, 9, 12] {
            near.write_all(&frame[..cut]).await.unwrap();
            tokio::time::advance(DELAY).await;
            let mut byte = [0; 1];
            assert!(futures::poll!(std::pin::pin!(near.read(&mut byte))).is_pending());
            near.write_all(&frame[cut..]).await.unwrap();
            assert_eq!(arrived(&mut far), frame, "cut after {cut}");
            assert!(futures::poll!(std::pin::pin!(near.read(&mut byte))).is_pending());
            assert_eq!(arrived(&mut far), answer(1), "cut after {cut}");
            near.write_all(&answer(1)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_end_takes_along_what_waits() {
        let (mut near, mut far) = connected(1 << 10).await;
        near.write_all(&answer(1)).await.unwrap();
        near.shutdown().await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, answer(1));
    }
}
