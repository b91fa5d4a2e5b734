//! The handles of a connection and of streams that the peer wants to open.

use std::{convert::Infallible, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use crate::{
    Driver, Error, Headers, Status, Stream,
    driver::Io,
    pipe::{End, Pipe},
    shared::{Handle, MAX_STREAMS, Message, Shared, Side, encode},
};

/// A connection for a side that was connected to.
pub fn server<T: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: T) -> (Connection, Driver) {
    connection(Box::new(io), Side::Server)
}

/// A connection for the side that connected.
pub fn client<T: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: T) -> (Connection, Driver) {
    connection(Box::new(io), Side::Client)
}

fn connection(io: Box<dyn Io>, side: Side) -> (Connection, Driver) {
    let shared = Arc::new(Shared::new(side));
    let (offer, incoming) = mpsc::channel(MAX_STREAMS);
    let (alive, dropped) = mpsc::channel(1);
    let driver = Driver::new(io, Arc::clone(&shared), offer, alive.downgrade(), dropped);
    (Connection { shared, incoming, alive }, driver)
}

/// Accepts and opens streams. Nothing happens unless the connection's [`Driver`] runs.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    incoming: mpsc::Receiver<Incoming>,
    alive: mpsc::Sender<Infallible>,
}

impl Connection {
    /// The next stream that the peer opens, not yet replied to. Nothing once the peer opens no more.
    pub async fn accept(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    /// Opens a stream and waits for the peer's reply. With `fin` this side sends nothing on it.
    pub async fn open(&self, headers: Headers, fin: bool) -> Result<Stream, Error> {
        let block = encode(&headers)?;
        let room = self.shared.room(block.len()).await?;
        let pipe = self.shared.open(block, room, fin).inspect_err(|_| self.shared.give_back(room))?;
        let handle = Handle::new(Arc::clone(&pipe), Arc::clone(&self.shared), self.alive.clone());
        answered(&pipe).await?;
        Ok(Stream::new(handle))
    }

    /// Ends the connection: what was written goes out, then GOAWAY; every stream ends.
    pub fn close(&self) {
        self.shared.closing.cancel();
    }
}

async fn answered(pipe: &Pipe) -> Result<(), Error> {
    loop {
        {
            let state = pipe.state();
            match state.remote {
                _ if state.answered => break,
                Some(End::Reset(status)) => return Err(Error::Reset { stream: pipe.id, status }),
                Some(_) => return Err(Error::Gone),
                None => {}
            }
        }
        pipe.changed.notified().await;
    }
    // The note may have been about data too; whoever reads first looks before it waits.
    Ok(())
}

/// A stream that the peer wants to open. Dropping it refuses it.
#[derive(Debug)]
pub struct Incoming {
    headers: Headers,
    handle: Option<Handle>,
}

impl Incoming {
    pub(crate) fn new(headers: Headers, handle: Handle) -> Self {
        Self { headers, handle: Some(handle) }
    }

    /// The headers that it was opened with.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The number of the stream in its connection.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.handle.as_ref().map_or(0, |handle| handle.pipe.id)
    }

    /// Accepts the stream.
    pub async fn reply(mut self, headers: Headers) -> Result<Stream, Error> {
        let block = encode(&headers)?;
        let handle = self.handle.as_ref().ok_or(Error::Gone)?;
        let room = handle.room(block.len()).await?;
        handle.shared.queue(Message::Reply { stream: handle.pipe.id, block }, room);
        let handle = self.handle.take().ok_or(Error::Gone)?;
        Ok(Stream::new(handle))
    }

    /// Turns the stream down with REFUSED_STREAM.
    pub async fn refuse(self) {
        drop(self);
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle
            && !handle.pipe.over.is_cancelled()
        {
            handle.shared.reset(&handle.pipe, Status::REFUSED_STREAM);
        }
    }
}
