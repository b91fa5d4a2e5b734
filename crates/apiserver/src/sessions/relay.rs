//! Frames between a client and a node, until one of them ends it or the right to it ends.
//!
//! Nothing is stored here beyond the frame in hand: a client that is behind holds the node back by the bounded channel from
//! it, and a process that does not read holds the client back in the same way.

use std::future::Future;
use std::time::Duration;

use gantry_api::status::Status;
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::{SessionEnd, SessionFrame, TerminalSize};
use tokio::sync::mpsc;

use super::channel::{Gone, Input, Output, Sink, Source};
use super::record::Counts;
use super::{Opened, Received};

/// How long a client may take to hear how its session ended.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);
/// How long it may take to close its side after that.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Passes frames both ways. When `ended` comes first, the session ends with that. Gives what the client was told; nothing
/// when it left first.
pub(crate) async fn relay(
    opened: Opened,
    counts: &Counts,
    ended: impl Future<Output = Status>,
    mut source: impl Source,
    mut sink: impl Sink,
) -> Option<Status> {
    let Opened { mut from_node, to_node, over, .. } = opened;
    // No order: with a preferred arm, a busy session would never look at the others.
    let gone = tokio::select! {
        status = down(&mut from_node, &mut sink, counts) => status,
        gone = up(&mut source, &to_node, counts) => Err(gone),
        status = ended => Ok(status),
        // A client that takes nothing does not keep what its node has ended.
        status = over.wait() => Ok(status),
    };
    // The node's side ends here, whatever the client does.
    drop((from_node, to_node));
    let status = match gone {
        Ok(status) | Err(Gone::Refused(status)) => status,
        Err(Gone::Left) => return None,
    };
    if tokio::time::timeout(FAREWELL, sink.finish(&status)).await.is_ok() {
        drop(tokio::time::timeout(LINGER, source.leave()).await);
    } else {
        tracing::debug!("a client did not take the end of its session in time");
    }
    Some(status)
}

/// From the node to the client, until the node says how it ended.
async fn down(from_node: &mut mpsc::Receiver<Received>, sink: &mut impl Sink, counts: &Counts) -> Result<Status, Gone> {
    loop {
        let received = match from_node.try_recv() {
            Ok(received) => received,
            Err(_) => {
                sink.flush().await?;
                tokio::select! {
                    received = from_node.recv() => received.unwrap_or_else(|| Received::Done(broke_off())),
                    gone = sink.idle() => return Err(gone),
                }
            }
        };
        match received {
            Received::Data(bytes) => {
                counts.received(bytes.len());
                sink.send(Output::Data(bytes)).await?;
            }
            Received::Stderr(bytes) => {
                counts.received(bytes.len());
                sink.send(Output::Stderr(bytes)).await?;
            }
            Received::End => sink.send(Output::End).await?,
            Received::Done(status) => return Ok(status),
        }
    }
}

/// From the client to the node, until the client leaves.
async fn up(source: &mut impl Source, to_node: &mpsc::Sender<SessionFrame>, counts: &Counts) -> Gone {
    loop {
        let frame = match source.next().await {
            Ok(Input::Data(bytes)) => {
                counts.sent(bytes.len());
                Frame::Data(bytes)
            }
            Ok(Input::End) => Frame::End(SessionEnd {}),
            Ok(Input::Resize { width, height }) => Frame::Resize(TerminalSize { width, height }),
            Err(gone) => return gone,
        };
        if to_node.send(SessionFrame { frame: Some(frame) }).await.is_err() {
            // The node's stream is gone: the other direction says why. Until then the client may still leave.
            loop {
                if let Err(gone) = source.next().await {
                    return gone;
                }
            }
        }
    }
}

/// The node's stream has ended without a word.
pub(super) fn broke_off() -> Status {
    Status::unavailable("the session with the node broke off")
}
