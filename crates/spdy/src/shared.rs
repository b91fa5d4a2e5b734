//! What the driver and all handles of a connection share: the streams and what waits to be written.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Headers, Status,
    pipe::{End, INBOX_BYTES, Local, Pipe, cost},
};

/// Most streams of one connection at a time.
pub(crate) const MAX_STREAMS: usize = 2048;
/// How much data waits for readers, over all streams.
const ALL_INBOXES_BYTES: usize = 8 * 1024 * 1024;
/// How much waits to be written, over all streams. Room is given out in the order in which it is asked for, one frame
/// at a time, which is what makes streams take turns.
pub(crate) const OUTBOX_BYTES: usize = 256 * 1024;
/// What a frame takes of the outbox beside its data.
const FRAME_COST: usize = 64;
/// Frames that wait to be written before nothing more is read: a peer that asks and does not listen has to wait.
const MAX_BACKLOG: usize = 4096;
const MAX_ID: u32 = 0x7fff_ffff;

/// Which ids a side gives to the streams that it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Odd.
    Client,
    /// Even.
    Server,
}

/// Something to write.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    /// What it holds of the outbox.
    pub(crate) room: usize,
}

/// A frame, its headers not packed yet: packing has to happen in the order of writing.
#[derive(Debug)]
pub(crate) enum Message {
    Syn { stream: u32, block: Bytes, fin: bool },
    Reply { stream: u32, block: Bytes },
    Data { stream: u32, data: Bytes, fin: bool },
    Reset { stream: u32, status: Status },
    Ping(u32),
}

#[derive(Debug)]
struct Table {
    streams: HashMap<u32, Arc<Pipe>>,
    next_own: u32,
    last_peer: u32,
    /// The peer sent GOAWAY.
    going_away: bool,
    ended: bool,
}

/// The state of a connection. Locks are taken in the order table, pipe, outbox, and none across an await.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) side: Side,
    table: Mutex<Table>,
    outbox: Mutex<VecDeque<Outgoing>>,
    room: Semaphore,
    /// Something is in the outbox.
    pub(crate) queued: Notify,
    /// The outbox got shorter.
    written: Notify,
    buffered: AtomicUsize,
    /// An inbox got shorter.
    read: Notify,
    /// The last stream ended, or the peer sent GOAWAY.
    fewer: Notify,
    pub(crate) closing: CancellationToken,
}

impl Shared {
    pub(crate) fn new(side: Side) -> Self {
        let next_own = if side == Side::Client { 1 } else { 2 };
        let table = Table { streams: HashMap::new(), next_own, last_peer: 0, going_away: false, ended: false };
        Self {
            side,
            table: Mutex::new(table),
            outbox: Mutex::new(VecDeque::new()),
            room: Semaphore::new(OUTBOX_BYTES),
            queued: Notify::new(),
            written: Notify::new(),
            buffered: AtomicUsize::new(0),
            read: Notify::new(),
            fewer: Notify::new(),
            closing: CancellationToken::new(),
        }
    }

    // The streams.

    /// Gives out an id and queues the frame that opens it, at once: ids must rise in the order of writing.
    pub(crate) fn open(&self, block: Bytes, room: usize, fin: bool) -> Result<Arc<Pipe>, Error> {
        let mut table = self.table.lock();
        if table.ended {
            return Err(Error::Gone);
        }
        if table.going_away {
            return Err(Error::GoingAway);
        }
        if table.streams.len() >= MAX_STREAMS {
            return Err(Error::TooManyStreams(MAX_STREAMS));
        }
        let stream = table.next_own;
        if stream > MAX_ID {
            return Err(Error::OutOfIds);
        }
        table.next_own += 2;
        let local = if fin { Local::Finished } else { Local::Open };
        let pipe = Arc::new(Pipe::new(stream, true, None, local));
        table.streams.insert(stream, Arc::clone(&pipe));
        self.queue(Message::Syn { stream, block, fin }, room);
        Ok(pipe)
    }

    /// Takes a stream that the peer opens, or says why it is refused. An id that the peer does not own is an error.
    pub(crate) fn take(
        &self,
        stream: u32,
        fin: bool,
        unidirectional: bool,
    ) -> Result<Result<Arc<Pipe>, Status>, Error> {
        let rule = match (self.side, stream % 2) {
            (Side::Server, 0) => Some("a client's ids are odd"),
            (Side::Client, 1) => Some("a server's ids are even"),
            _ => None,
        };
        if let Some(rule) = rule {
            return Err(Error::StreamId { stream, rule });
        }
        let mut table = self.table.lock();
        // Old spdystreams give out ids and write them without one lock over both, so this ends the stream alone.
        if stream <= table.last_peer {
            return Ok(Err(Status::PROTOCOL_ERROR));
        }
        table.last_peer = stream;
        if table.going_away || table.streams.len() >= MAX_STREAMS {
            return Ok(Err(Status::REFUSED_STREAM));
        }
        let local = if unidirectional { Local::Finished } else { Local::Open };
        let pipe = Arc::new(Pipe::new(stream, false, fin.then_some(End::Finished), local));
        table.streams.insert(stream, Arc::clone(&pipe));
        Ok(Ok(pipe))
    }

    pub(crate) fn find(&self, stream: u32) -> Option<Arc<Pipe>> {
        self.table.lock().streams.get(&stream).cloned()
    }

    /// Whether a stream with this id has ever been open.
    pub(crate) fn was_open(&self, stream: u32) -> bool {
        let table = self.table.lock();
        let own = (stream % 2 == 1) == (self.side == Side::Client);
        if own { stream < table.next_own } else { stream <= table.last_peer }
    }

    pub(crate) fn last_peer(&self) -> u32 {
        self.table.lock().last_peer
    }

    /// Forgets a stream whose both sides have ended.
    pub(crate) fn settle(&self, pipe: &Pipe) {
        if pipe.state().is_over() {
            // Nothing will come for it any more, not even the end of the connection.
            pipe.over.cancel();
            self.table.lock().streams.remove(&pipe.id);
            self.fewer.notify_one();
        }
    }

    /// The peer takes no more streams.
    pub(crate) fn go_away(&self) {
        self.table.lock().going_away = true;
        self.fewer.notify_one();
    }

    /// Waits until the peer has sent GOAWAY and no stream is left: it now waits for this side to close.
    pub(crate) async fn is_done(&self) {
        loop {
            {
                let table = self.table.lock();
                if table.going_away && table.streams.is_empty() {
                    return;
                }
            }
            self.fewer.notified().await;
        }
    }

    /// Tells every handle that nothing more comes.
    pub(crate) fn end(&self) {
        let streams = {
            let mut table = self.table.lock();
            table.ended = true;
            std::mem::take(&mut table.streams)
        };
        self.room.close();
        for pipe in streams.into_values() {
            pipe.end(End::Gone, false);
        }
    }

    /// Ends a stream both ways and tells the peer.
    pub(crate) fn reset(&self, pipe: &Pipe, status: Status) {
        // What waits to be read is of no use to a side that ends the stream itself.
        let freed = pipe.end(End::Reset(status), true);
        self.release(freed);
        self.queue(Message::Reset { stream: pipe.id, status }, 0);
        self.settle(pipe);
    }

    // What was read.

    /// Puts a piece into a stream's inbox once there is room, or drops it when nobody wants it.
    pub(crate) async fn deliver(&self, pipe: &Pipe, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        loop {
            {
                let mut state = pipe.state();
                if state.unread || state.local == Local::Over {
                    return;
                }
                let all = self.buffered.load(Ordering::Relaxed);
                if state.waiting < INBOX_BYTES && all < ALL_INBOXES_BYTES {
                    state.waiting += cost(&piece);
                    self.buffered.fetch_add(cost(&piece), Ordering::Relaxed);
                    state.inbox.push_back(piece);
                    break;
                }
            }
            self.read.notified().await;
        }
        pipe.changed.notify_one();
    }

    /// Room came back to the inboxes.
    pub(crate) fn release(&self, cost: usize) {
        self.buffered.fetch_sub(cost, Ordering::Relaxed);
        self.read.notify_one();
    }

    // What is to be written.

    /// Waits for room for a frame with that many bytes of its own.
    pub(crate) async fn room(&self, bytes: usize) -> Result<usize, Error> {
        let room = (bytes + FRAME_COST).min(OUTBOX_BYTES);
        let permit = self.room.acquire_many(room as u32).await.map_err(|_| Error::Gone)?;
        permit.forget();
        Ok(room)
    }

    pub(crate) fn give_back(&self, room: usize) {
        self.room.add_permits(room);
    }

    pub(crate) fn queue(&self, message: Message, room: usize) {
        self.outbox.lock().push_back(Outgoing { message, room });
        self.queued.notify_one();
    }

    pub(crate) fn next_outgoing(&self) -> Option<Outgoing> {
        let (next, left) = {
            let mut outbox = self.outbox.lock();
            (outbox.pop_front(), outbox.len())
        };
        if left < MAX_BACKLOG {
            self.written.notify_one();
        }
        next
    }

    /// Whether the writer has taken everything that was queued.
    pub(crate) fn nothing_is_queued(&self) -> bool {
        self.outbox.lock().is_empty()
    }

    /// Waits while too much waits to be written.
    pub(crate) async fn caught_up(&self) {
        while self.outbox.lock().len() >= MAX_BACKLOG {
            self.written.notified().await;
        }
    }
}

/// Ends the connection when its driver goes, however it goes.
#[derive(Debug)]
pub(crate) struct EndOnDrop(pub(crate) Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The last of a stream's handles to go resets a stream that has not ended both ways.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) pipe: Arc<Pipe>,
    pub(crate) shared: Arc<Shared>,
    /// While one of these exists, the driver runs.
    _alive: mpsc::Sender<Infallible>,
}

impl Handle {
    pub(crate) fn new(pipe: Arc<Pipe>, shared: Arc<Shared>, alive: mpsc::Sender<Infallible>) -> Self {
        Self { pipe, shared, _alive: alive }
    }

    /// Queues a frame of a stream that is still open for writing. `room` was taken from the outbox.
    pub(crate) fn send(&self, message: Message, room: usize) -> Result<(), Error> {
        let mut state = self.pipe.state();
        if state.local != Local::Open {
            drop(state);
            self.shared.give_back(room);
            return Err(self.pipe.why_over());
        }
        if matches!(message, Message::Data { fin: true, .. }) {
            state.local = Local::Finished;
        }
        // Under the stream's lock, so that nothing follows a FIN.
        self.shared.queue(message, room);
        drop(state);
        self.shared.settle(&self.pipe);
        Ok(())
    }

    /// Waits for room, or until there is nothing left to write to.
    pub(crate) async fn room(&self, bytes: usize) -> Result<usize, Error> {
        tokio::select! {
            biased;
            () = self.pipe.over.cancelled() => Err(self.pipe.why_over()),
            room = self.shared.room(bytes) => room,
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let (is_over, freed) = {
            let mut state = self.pipe.state();
            let freed = state.discard();
            (state.is_over(), freed)
        };
        self.shared.release(freed);
        if is_over {
            self.shared.settle(&self.pipe);
        } else {
            self.shared.reset(&self.pipe, Status::CANCEL);
        }
    }
}

/// Encodes headers, or says which limit of this side they are past.
pub(crate) fn encode(headers: &Headers) -> Result<Bytes, Error> {
    headers.encode().map_err(Error::OwnHeaders)
}
