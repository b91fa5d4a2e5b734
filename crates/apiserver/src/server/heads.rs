//! Time for the heads of HTTP/1.1 requests: a head that was begun has half a minute, a connection that waits for its next
//! request much longer. hyper has one timer for both, so it times the waiting, and this the heads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::{Response, held};

/// How long a client may take to send its request line and headers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Nothing of a request has come.
const IDLE: u8 = 0;
/// A head has begun.
const HEAD: u8 = 1;
/// A request is worked on.
const BUSY: u8 = 2;
/// This is no HTTP/1.1 (any more).
const OFF: u8 = 3;

/// Where a connection is, told by whoever serves its requests.
#[derive(Debug, Clone)]
pub(crate) struct Heads(Arc<AtomicU8>);

impl Heads {
    /// A request's head has come.
    pub(crate) fn came(&self, version: http::Version) {
        let next = if version > http::Version::HTTP_11 { OFF } else { BUSY };
        self.0.store(next, Ordering::Relaxed);
    }

    /// The request is answered; once the answer's body has left, the connection waits for the next head.
    pub(crate) fn answered(&self, response: Response) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.0.store(OFF, Ordering::Relaxed);
        }
        if self.0.load(Ordering::Relaxed) == OFF {
            return response;
        }
        held::until_left(response, Idle(self.clone()))
    }
}

struct Idle(Heads);

impl Drop for Idle {
    fn drop(&mut self) {
        // Only from BUSY: what was switched off stays off.
        let _ = self.0.0.compare_exchange(BUSY, IDLE, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A connection whose heads are timed.
pub(crate) struct Timed<S> {
    stream: S,
    state: Arc<AtomicU8>,
    timeout: Pin<Box<Sleep>>,
}

impl<S> Timed<S> {
    /// `on`: the connection speaks HTTP/1.1, and the first head has begun with the connection.
    pub(crate) fn new(stream: S, on: bool) -> (Self, Heads) {
        let state = Arc::new(AtomicU8::new(if on { HEAD } else { OFF }));
        let timeout = Box::pin(tokio::time::sleep(HEAD_TIMEOUT));
        (Self { stream, state: state.clone(), timeout }, Heads(state))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, into);
        match this.state.load(Ordering::Relaxed) {
            IDLE if read.is_ready() && into.filled().len() > before => {
                this.timeout.as_mut().reset(Instant::now() + HEAD_TIMEOUT);
                this.state.store(HEAD, Ordering::Relaxed);
            }
            HEAD if read.is_pending() && this.timeout.as_mut().poll(cx).is_ready() => {
                let why = "the head of a request did not arrive in time";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            _ => {}
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use gantry_common::task;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::server::Body;

    fn serve(code: u16) -> DuplexStream {
        let (near, far) = tokio::io::duplex(4096);
        let (timed, heads) = Timed::new(near, true);
        let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            let heads = heads.clone();
            async move {
                heads.came(request.version());
                // Without this the connection would end with the answer.
                let upgrade = hyper::upgrade::on(&mut request);
                drop(task::spawn("upgraded", async move {
                    let Ok(io) = upgrade.await else { return };
                    let mut io = TokioIo::new(io);
                    let mut byte = [0];
                    while io.read_exact(&mut byte).await.is_ok() && io.write_all(&byte).await.is_ok() {}
                }));
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::from_u16(code).expect("a code");
                Ok::<_, Infallible>(heads.answered(response))
            }
        });
        let connection = super::super::connection::builder(0)
            .serve_connection_with_upgrades(TokioIo::new(timed), service)
            .into_owned();
        drop(task::spawn("connection", async move { drop(connection.await) }));
        far
    }

    async fn head(stream: &mut DuplexStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(head).expect("text")
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";

    async fn wait(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_wait_longer_than_a_head() {
        let mut stream = serve(200);
        for _ in 0..3 {
            stream.write_all(REQUEST).await.expect("open");
            assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
            wait(90).await;
        }
        wait(10).await;
        assert_eq!(head(&mut stream).await, "", "but not for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_was_begun_has_its_time() {
        for first in [true, false] {
            let mut stream = serve(200);
            if !first {
                stream.write_all(REQUEST).await.expect("open");
                assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
                wait(60).await;
            }
            let began = Instant::now();
            let dripping = async {
                for byte in REQUEST {
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    wait(1).await;
                }
            };
            dripping.await;
            let took = began.elapsed();
            assert!(took >= HEAD_TIMEOUT && took < HEAD_TIMEOUT * 2, "first={first}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_http_any_more_has_all_the_time() {
        let mut stream = serve(101);
        stream.write_all(REQUEST).await.expect("open");
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 101"));
        for _ in 0..3 {
            stream.write_all(b"x").await.expect("open");
            assert_eq!(stream.read_u8().await.expect("open"), b'x');
            wait(600).await;
        }
    }
}
