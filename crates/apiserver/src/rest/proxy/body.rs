//! The body of a proxied answer, passed on as it comes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gantry_api::status::Status;
use http_body::{Body as _, Frame};
use hyper::body::Incoming as HttpBody;

use super::guard::Guard;
use super::html::Rewriter;
use crate::server::Body;

/// Bytes that go into the rewriter at once: a packed page may be a thousand times as long.
const PIECE: usize = 4 * 1024;

/// A body that ends with the right to it.
struct Passed {
    body: HttpBody,
    rewriter: Option<Rewriter>,
    /// Received and not rewritten yet.
    waiting: Bytes,
    ends: Pin<Box<dyn Future<Output = Status> + Send>>,
}

/// The answer's body for the client.
pub(super) fn passed(body: HttpBody, rewriter: Option<Rewriter>, guard: Guard) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    Body::new(Passed { body, rewriter, waiting: Bytes::new(), ends: Box::pin(async move { guard.ends().await }) })
}

impl Passed {
    fn poll_rewritten(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            let Some(rewriter) = &mut self.rewriter else { return Poll::Ready(None) };
            if !self.waiting.is_empty() {
                let piece = self.waiting.split_to(PIECE.min(self.waiting.len()));
                let out = rewriter.push(&piece)?;
                if !out.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(out))));
                }
                continue;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.waiting = data;
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                None => {
                    let rest = self.rewriter.take().map(Rewriter::finish).transpose()?;
                    return Poll::Ready(rest.filter(|rest| !rest.is_empty()).map(|rest| Ok(Frame::data(rest))));
                }
            }
        }
    }
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if let Poll::Ready(status) = this.ends.as_mut().poll(cx) {
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionAborted, status.message))));
        }
        if this.rewriter.is_some() {
            return this.poll_rewritten(cx);
        }
        Pin::new(&mut this.body).poll_frame(cx).map_err(io::Error::other)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        // What is rewritten has another length.
        if self.rewriter.is_some() { http_body::SizeHint::default() } else { self.body.size_hint() }
    }
}
