//! The handles of a stream.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Error, Status,
    pipe::{End, cost},
    shared::{Handle, Message},
};

/// Most data of one frame, so that a stream with much to say lets others speak.
const MAX_FRAME_BYTES: usize = 32 * 1024;

/// An open stream. When its handles are dropped before both sides have finished, it is reset with CANCEL.
#[derive(Debug)]
pub struct Stream {
    reader: Reader,
    writer: Writer,
}

/// The reading half. When it is dropped, what the peer still sends is thrown away.
#[derive(Debug)]
pub struct Reader(Arc<Handle>);

/// The writing half. Dropping it alone sends nothing: an end that nobody meant must not look like a clean one.
#[derive(Debug)]
pub struct Writer(Arc<Handle>);

impl Stream {
    pub(crate) fn new(handle: Handle) -> Self {
        let handle = Arc::new(handle);
        Self { reader: Reader(Arc::clone(&handle)), writer: Writer(handle) }
    }

    /// The number of the stream in its connection.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.writer.id()
    }

    /// See [`Reader::read`].
    pub async fn read(&mut self) -> Option<Bytes> {
        self.reader.read().await
    }

    /// See [`Reader::end`].
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.reader.end()
    }

    /// See [`Reader::was_reset`].
    #[must_use]
    pub fn was_reset(&self) -> bool {
        self.reader.was_reset()
    }

    /// See [`Writer::write`].
    pub async fn write(&self, data: Bytes) -> Result<(), Error> {
        self.writer.write(data).await
    }

    /// See [`Writer::finish`].
    pub async fn finish(&self) -> Result<(), Error> {
        self.writer.finish().await
    }

    /// See [`Writer::reset`].
    pub async fn reset(&self, status: Status) -> Result<(), Error> {
        self.writer.reset(status).await
    }

    /// The two halves, for two tasks.
    #[must_use]
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl Reader {
    /// The number of the stream in its connection.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.pipe.id
    }

    /// The next bytes; nothing after the peer's FIN, a reset, or the end of the connection. What came before the end is
    /// given first. May be cancelled: nothing is lost.
    pub async fn read(&mut self) -> Option<Bytes> {
        let pipe = &self.0.pipe;
        loop {
            {
                let mut state = pipe.state();
                if let Some(piece) = state.inbox.pop_front() {
                    state.waiting -= cost(&piece);
                    drop(state);
                    self.0.shared.release(cost(&piece));
                    return Some(piece);
                }
                if state.remote.is_some() {
                    return None;
                }
            }
            pipe.changed.notified().await;
        }
    }

    /// How the peer's side ended, if it has. There may still be something to read.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.0.pipe.state().remote
    }

    /// Whether the stream was reset, by either side.
    #[must_use]
    pub fn was_reset(&self) -> bool {
        matches!(self.end(), Some(End::Reset(_)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let freed = self.0.pipe.state().discard();
        self.0.shared.release(freed);
    }
}

impl Writer {
    /// The number of the stream in its connection.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.pipe.id
    }

    /// Waits until the stream is over: reset, finished by both sides, or its connection has ended. For a writer that has
    /// nothing to write.
    pub async fn closed(&self) {
        self.0.pipe.over.cancelled().await;
    }

    /// Queues bytes for the peer, waiting for room. When it is cancelled, some of them may have been queued.
    pub async fn write(&self, mut data: Bytes) -> Result<(), Error> {
        while !data.is_empty() {
            let frame = data.split_to(data.len().min(MAX_FRAME_BYTES));
            let room = self.0.room(frame.len()).await?;
            self.0.send(Message::Data { stream: self.id(), data: frame, fin: false }, room)?;
        }
        Ok(())
    }

    /// Tells the peer that nothing more comes. The peer may go on sending.
    pub async fn finish(&self) -> Result<(), Error> {
        let room = self.0.room(0).await?;
        self.0.send(Message::Data { stream: self.id(), data: Bytes::new(), fin: true }, room)
    }

    /// Ends the stream at once, both ways. What was written before still goes out first.
    pub async fn reset(&self, status: Status) -> Result<(), Error> {
        if self.0.pipe.over.is_cancelled() {
            return Err(self.0.pipe.why_over());
        }
        self.0.shared.reset(&self.0.pipe, status);
        Ok(())
    }
}
