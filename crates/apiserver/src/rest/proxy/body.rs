//! The body of a proxied answer, passed on as it comes.
//!
//! A task of its own holds the backend and the guard: a client that takes nothing polls nothing either, and the end of its
//! right has to be noticed all the same.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gantry_common::task;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming as HttpBody;
use tokio::sync::mpsc;

use super::guard::Guard;
use super::html::Rewriter;
use crate::server::Body;

/// Bytes that go into the rewriter at once: a packed page may be a thousand times as long.
const PIECE: usize = 4 * 1024;

/// A piece of the answer, or its good end.
type Piece = Option<Frame<Bytes>>;

/// What the client takes.
struct Passed {
    pieces: mpsc::Receiver<io::Result<Piece>>,
    hint: SizeHint,
}

/// The answer's body for the client.
pub(super) fn passed(body: HttpBody, rewriter: Option<Rewriter>, guard: Guard) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    // What is rewritten has another length.
    let hint = if rewriter.is_some() { SizeHint::default() } else { body.size_hint() };
    let (sender, pieces) = mpsc::channel(1);
    drop(task::spawn("proxied-body", async move {
        let mut ended = pin!(guard.ends());
        let why = tokio::select! {
            passed = pass(body, rewriter, &sender) => passed.err(),
            () = sender.closed() => None,
            status = &mut ended => Some(io::Error::new(io::ErrorKind::ConnectionAborted, status.message)),
        };
        // Where there is no room, the end without a good end says it.
        drop(why.map(|why| sender.try_send(Err(why))));
    }));
    Body::new(Passed { pieces, hint })
}

/// Passes everything on, to the good end. When the client has left it just ends.
async fn pass(
    mut body: HttpBody,
    mut rewriter: Option<Rewriter>,
    sender: &mpsc::Sender<io::Result<Piece>>,
) -> io::Result<()> {
    let put = async |piece: Piece| drop(sender.send(Ok(piece)).await);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        let Some(rewriter) = &mut rewriter else {
            put(Some(frame)).await;
            continue;
        };
        let Ok(mut waiting) = frame.into_data() else { continue };
        while !waiting.is_empty() {
            let out = rewriter.push(&waiting.split_to(PIECE.min(waiting.len())))?;
            if !out.is_empty() {
                put(Some(Frame::data(out))).await;
            }
        }
    }
    let rest = rewriter.map(Rewriter::finish).transpose()?.unwrap_or_default();
    if !rest.is_empty() {
        put(Some(Frame::data(rest))).await;
    }
    put(None).await;
    Ok(())
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let cut_off = || io::Error::new(io::ErrorKind::ConnectionAborted, "the answer was cut off");
        Poll::Ready(match ready!(self.get_mut().pieces.poll_recv(cx)) {
            Some(piece) => piece.transpose(),
            None => Some(Err(cut_off())),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}
