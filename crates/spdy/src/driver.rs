//! Moves bytes between a connection's streams and the byte stream below it.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
    time::timeout,
};

use crate::{
    Error, Incoming, Status,
    frame::{Decoder, Frame, GOAWAY_OK, GOAWAY_PROTOCOL_ERROR},
    headers::{Headers, Packer, Unpacker},
    pipe::{End, Local, Pipe},
    shared::{EndOnDrop, Handle, Message, Shared, Side},
};

/// Frames are put together up to this size before they are written.
const BATCH_BYTES: usize = 64 * 1024;
/// How long an end may take to write what is queued.
const LAST_WRITES: Duration = Duration::from_secs(10);
/// How long the peer has to close its side after this side closed: closing on unread bytes would take away from the
/// peer what was written last.
const LINGER: Duration = Duration::from_secs(1);

/// Any byte stream. Boxed, so that a connection's code exists once, whatever it runs over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Runs a connection. The owner has to poll [`Driver::run`] to its end for what was written to go out.
pub struct Driver {
    io: Box<dyn Io>,
    shared: EndOnDrop,
    offer: mpsc::Sender<Incoming>,
    alive: mpsc::WeakSender<Infallible>,
    dropped: mpsc::Receiver<Infallible>,
    ping_after: Option<Duration>,
}

/// Why a connection stopped without an error.
enum Stop {
    /// The peer closed its side.
    PeerLeft,
    /// This side is done.
    Done,
}

impl Driver {
    pub(crate) fn new(
        io: Box<dyn Io>,
        shared: Arc<Shared>,
        offer: mpsc::Sender<Incoming>,
        alive: mpsc::WeakSender<Infallible>,
        dropped: mpsc::Receiver<Infallible>,
    ) -> Self {
        Self { io, shared: EndOnDrop(shared), offer, alive, dropped, ping_after: None }
    }

    /// Pings a peer that has sent nothing for that long, and ends with [`Error::Silent`] when it stays silent as long
    /// again. Time in which this side did not read, because a stream is full, does not count; it pings then, too, since
    /// only a write that fails shows that the peer has left.
    #[must_use]
    pub fn ping_after(mut self, silence: Duration) -> Self {
        self.ping_after = Some(silence);
        self
    }

    /// Runs until the peer goes away, [`crate::Connection::close`] is called, or the connection and all streams are
    /// dropped. In the last two cases everything that was written goes out before it returns.
    pub async fn run(self) -> Result<(), Error> {
        let Self { io, shared, offer, alive, mut dropped, ping_after } = self;
        let (read, write) = tokio::io::split(io);
        let shared = &shared.0;
        let mut reader = Inbound {
            io: read,
            shared: Arc::clone(shared),
            decoder: Decoder::default(),
            unpacker: Unpacker::default(),
            offer: Some(offer),
            alive,
            ping_after,
            next_ping: if shared.side == Side::Client { 1 } else { 2 },
        };
        let mut writer = Outbound { io: write, shared, batch: BytesMut::new(), packer: Packer::default() };
        let outcome = tokio::select! {
            biased;
            outcome = reader.run() => outcome.map(|()| Stop::PeerLeft),
            error = writer.run() => Err(error),
            () = shared.closing.cancelled() => Ok(Stop::Done),
            _ = dropped.recv() => Ok(Stop::Done),
            () = shared.is_done() => Ok(Stop::Done),
        };
        shared.end();
        let status = match &outcome {
            Ok(Stop::Done) => GOAWAY_OK,
            Ok(Stop::PeerLeft) | Err(Error::Io { .. } | Error::CutOff | Error::Silent(_)) => {
                // Nobody listens; the error, if any, has been told.
                let _ = timeout(LINGER, writer.io.shutdown()).await;
                return outcome.map(|_| ());
            }
            Err(_) => GOAWAY_PROTOCOL_ERROR,
        };
        let said = timeout(LAST_WRITES, writer.say_goodbye(status)).await;
        if matches!(said, Ok(Ok(()))) {
            let _ = timeout(LINGER, reader.until_the_peer_closes()).await;
        }
        outcome.map(|_| ())
    }
}

/// The reading side.
struct Inbound {
    io: ReadHalf<Box<dyn Io>>,
    shared: Arc<Shared>,
    decoder: Decoder,
    unpacker: Unpacker,
    /// Gone once the peer opens no more streams.
    offer: Option<mpsc::Sender<Incoming>>,
    alive: mpsc::WeakSender<Infallible>,
    ping_after: Option<Duration>,
    next_ping: u32,
}

impl Inbound {
    /// Reads until the peer closes its side.
    async fn run(&mut self) -> Result<(), Error> {
        loop {
            while let Some(frame) = self.decoder.next()? {
                self.handle(frame).await?;
            }
            self.shared.caught_up().await;
            if self.fill().await? == 0 {
                return if self.decoder.is_between_frames() { Ok(()) } else { Err(Error::CutOff) };
            }
        }
    }

    async fn fill(&mut self) -> Result<usize, Error> {
        let failed = |source: io::Error| match source.kind() {
            // TLS and tunnels end without a goodbye when a process ends; that is going away, too.
            io::ErrorKind::UnexpectedEof => Ok(0),
            _ => Err(Error::Io { doing: "read from", source }),
        };
        let Some(silence) = self.ping_after else {
            return self.io.read_buf(self.decoder.space()).await.or_else(failed);
        };
        if let Ok(read) = timeout(silence, self.io.read_buf(self.decoder.space())).await {
            return read.or_else(failed);
        }
        self.ping();
        match timeout(silence, self.io.read_buf(self.decoder.space())).await {
            Ok(read) => read.or_else(failed),
            Err(_) => Err(Error::Silent(silence)),
        }
    }

    fn ping(&mut self) {
        self.shared.queue(Message::Ping(self.next_ping), 0);
        self.next_ping = if self.next_ping > 0x7fff_fff0 { self.next_ping % 2 + 2 } else { self.next_ping + 2 };
    }

    async fn until_the_peer_closes(&mut self) {
        let mut scrap = [0; 4096];
        while matches!(self.io.read(&mut scrap).await, Ok(1..)) {}
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), Error> {
        match frame {
            Frame::SynStream { stream, fin, unidirectional, headers, .. } => {
                let headers = self.unpack(stream, &headers)?;
                self.opened(stream, fin, unidirectional, headers)?;
            }
            Frame::SynReply { stream, fin, headers } => {
                self.unpack(stream, &headers)?;
                self.answered(stream, fin);
            }
            Frame::Headers { stream, fin, headers } => {
                // Kubernetes' clients send none; they still have to pass the unpacker, and may carry a FIN.
                self.unpack(stream, &headers)?;
                if fin {
                    self.finished(stream);
                }
            }
            Frame::Data { stream, data, last, fin } => self.data(stream, data, last, fin).await,
            Frame::RstStream { stream, status } => {
                if let Some(pipe) = self.shared.find(stream) {
                    pipe.end(End::Reset(status), false);
                    self.shared.settle(&pipe);
                }
            }
            Frame::Ping(id) => {
                let own = (id % 2 == 1) == (self.shared.side == Side::Client);
                if !own {
                    self.shared.queue(Message::Ping(id), 0);
                }
            }
            Frame::GoAway { .. } => {
                self.offer = None;
                self.shared.go_away();
            }
            // No windows (see the crate's page), and nothing in SETTINGS that this side would do otherwise.
            Frame::WindowUpdate { .. } | Frame::Settings { .. } | Frame::Unknown(_) => {}
        }
        Ok(())
    }

    fn unpack(&mut self, stream: u32, block: &Bytes) -> Result<Headers, Error> {
        self.unpacker.headers(block).map_err(|source| Error::Headers { stream, source })
    }

    fn opened(&mut self, stream: u32, fin: bool, unidirectional: bool, headers: Headers) -> Result<(), Error> {
        let pipe = match self.shared.take(stream, fin, unidirectional)? {
            Ok(pipe) => pipe,
            Err(status) => {
                match self.shared.find(stream) {
                    Some(open) => self.shared.reset(&open, status),
                    None => self.shared.queue(Message::Reset { stream, status }, 0),
                }
                return Ok(());
            }
        };
        match (&self.offer, self.alive.upgrade()) {
            (Some(offer), Some(alive)) => {
                let incoming = Incoming::new(headers, Handle::new(pipe, Arc::clone(&self.shared), alive));
                // Where nobody accepts, or too slowly, it comes back and is refused as it is dropped.
                drop(offer.try_send(incoming));
            }
            _ => self.shared.reset(&pipe, Status::REFUSED_STREAM),
        }
        Ok(())
    }

    fn answered(&self, stream: u32, fin: bool) {
        let Some(pipe) = self.shared.find(stream) else { return };
        if !pipe.own || pipe.state().answered {
            return self.shared.reset(&pipe, Status::STREAM_IN_USE);
        }
        pipe.state().answered = true;
        pipe.changed.notify_one();
        if fin {
            self.finished(stream);
        }
    }

    async fn data(&mut self, stream: u32, data: Bytes, last: bool, fin: bool) {
        let Some(pipe) = self.shared.find(stream) else {
            // What is under way when a stream ends is thrown away; once per frame, where there never was one.
            if last && !self.shared.was_open(stream) {
                self.shared.queue(Message::Reset { stream, status: Status::INVALID_STREAM }, 0);
            }
            return;
        };
        let (answered, ended) = {
            let state = pipe.state();
            (state.answered, state.remote.is_some())
        };
        if !answered {
            return self.shared.reset(&pipe, Status::PROTOCOL_ERROR);
        }
        if ended {
            return self.shared.reset(&pipe, Status::STREAM_ALREADY_CLOSED);
        }
        self.deliver(&pipe, data).await;
        if fin {
            self.finished(stream);
        }
    }

    /// Waits until a stream takes a piece. Nothing is read meanwhile, neither answers to pings nor the peer's end, so the
    /// pings are there to be written: that fails once the peer has left, and ends the connection.
    async fn deliver(&mut self, pipe: &Pipe, piece: Bytes) {
        let shared = Arc::clone(&self.shared);
        let mut delivery = pin!(shared.deliver(pipe, piece));
        let Some(silence) = self.ping_after else { return delivery.await };
        while timeout(silence, delivery.as_mut()).await.is_err() {
            // What waits to be written does as well, and pings must not pile up for a peer that does not listen.
            if shared.nothing_is_queued() {
                self.ping();
            }
        }
    }

    fn finished(&self, stream: u32) {
        let Some(pipe) = self.shared.find(stream) else { return };
        {
            let mut state = pipe.state();
            if state.local == Local::Over || state.remote.is_some() {
                return;
            }
            state.remote = Some(End::Finished);
        }
        pipe.changed.notify_one();
        self.shared.settle(&pipe);
    }
}

/// The writing side. What it has begun to write is in `batch`, so that it can be stopped and go on.
struct Outbound<'a> {
    io: WriteHalf<Box<dyn Io>>,
    shared: &'a Shared,
    batch: BytesMut,
    packer: Packer,
}

impl Outbound<'_> {
    /// Writes whatever is queued, for ever; returns why it cannot.
    async fn run(&mut self) -> Error {
        loop {
            if let Err(error) = self.write_queued().await {
                return error;
            }
            self.shared.queued.notified().await;
        }
    }

    async fn write_queued(&mut self) -> Result<(), Error> {
        let failed = |source| Error::Io { doing: "write to", source };
        loop {
            self.fill()?;
            if self.batch.is_empty() {
                return self.io.flush().await.map_err(failed);
            }
            while !self.batch.is_empty() {
                if self.io.write_buf(&mut self.batch).await.map_err(failed)? == 0 {
                    return Err(failed(io::ErrorKind::WriteZero.into()));
                }
            }
        }
    }

    /// Puts queued frames together.
    fn fill(&mut self) -> Result<(), Error> {
        while self.batch.len() < BATCH_BYTES {
            let Some(next) = self.shared.next_outgoing() else { break };
            self.encode(next.message)?;
            self.shared.give_back(next.room);
        }
        Ok(())
    }

    fn encode(&mut self, message: Message) -> Result<(), Error> {
        let mut pack = |block: Bytes| self.packer.pack(&block).map_err(Error::OwnHeaders);
        let frame = match message {
            Message::Syn { stream, block, fin } => {
                let headers = pack(block)?;
                Frame::SynStream { stream, associated: 0, priority: 0, fin, unidirectional: false, headers }
            }
            Message::Reply { stream, block } => Frame::SynReply { stream, fin: false, headers: pack(block)? },
            Message::Data { stream, data, fin } => Frame::Data { stream, data, last: true, fin },
            Message::Reset { stream, status } => Frame::RstStream { stream, status },
            Message::Ping(id) => Frame::Ping(id),
        };
        frame.encode(&mut self.batch);
        Ok(())
    }

    async fn say_goodbye(&mut self, status: u32) -> Result<(), Error> {
        self.write_queued().await?;
        Frame::GoAway { last_good: self.shared.last_peer(), status }.encode(&mut self.batch);
        self.write_queued().await?;
        self.io.shutdown().await.map_err(|source| Error::Io { doing: "close", source })
    }
}
