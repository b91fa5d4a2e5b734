//! One stream's state, between the driver and the handles.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{Error, Status};

/// How much of a stream's data waits for its reader before the connection is no longer read.
pub(crate) const INBOX_BYTES: usize = 256 * 1024;
/// What a waiting piece costs beside its bytes, so that many small ones are bounded too.
const PIECE_COST: usize = 64;

/// How the peer's side of a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer said that it sends no more.
    Finished,
    /// The stream was reset, by either side.
    Reset(Status),
    /// The connection ended.
    Gone,
}

/// How far this side is with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Local {
    /// It may send.
    Open,
    /// It has sent FIN.
    Finished,
    /// The stream was reset or the connection has ended.
    Over,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) inbox: VecDeque<Bytes>,
    /// What `inbox` costs; see [`cost`].
    pub(crate) waiting: usize,
    /// Set once; later ends of the same stream change nothing.
    pub(crate) remote: Option<End>,
    pub(crate) local: Local,
    /// Nobody reads: what arrives is dropped.
    pub(crate) unread: bool,
    /// The stream was replied to.
    pub(crate) answered: bool,
}

/// A stream, shared by the driver and its handles.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) id: u32,
    /// This side opened it.
    pub(crate) own: bool,
    state: Mutex<State>,
    /// Data or an end came, or the reply did. One task waits at a time.
    pub(crate) changed: Notify,
    /// Writing has become pointless.
    pub(crate) over: CancellationToken,
}

/// What a piece of data counts as.
pub(crate) fn cost(piece: &Bytes) -> usize {
    piece.len() + PIECE_COST
}

impl Pipe {
    pub(crate) fn new(id: u32, own: bool, remote: Option<End>, local: Local) -> Self {
        let state = State { inbox: VecDeque::new(), waiting: 0, remote, local, unread: false, answered: !own };
        Self { id, own, state: Mutex::new(state), changed: Notify::new(), over: CancellationToken::new() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Ends both sides. `drop_inbox` is for a reader that has lost interest. Gives back what the inbox held.
    pub(crate) fn end(&self, end: End, drop_inbox: bool) -> usize {
        let mut state = self.state();
        state.remote = match (state.remote, end) {
            // A reset after the peer's FIN still says that the stream did not end well.
            (None | Some(End::Finished), End::Reset(_)) | (None, _) => Some(end),
            (before, _) => before,
        };
        state.local = Local::Over;
        let freed = if drop_inbox { state.discard() } else { 0 };
        drop(state);
        self.over.cancel();
        self.changed.notify_one();
        freed
    }

    /// Why nothing can be written any more.
    pub(crate) fn why_over(&self) -> Error {
        let state = self.state();
        match (state.local, state.remote) {
            (_, Some(End::Reset(status))) => Error::Reset { stream: self.id, status },
            (Local::Finished, _) => Error::Finished(self.id),
            _ => Error::Gone,
        }
    }
}

impl State {
    /// Drops what waits and whatever will come. Gives back what it cost.
    pub(crate) fn discard(&mut self) -> usize {
        self.unread = true;
        self.inbox.clear();
        std::mem::take(&mut self.waiting)
    }

    /// Both sides have ended: the connection can forget the stream.
    pub(crate) fn is_over(&self) -> bool {
        self.remote.is_some() && self.local != Local::Open
    }
}
