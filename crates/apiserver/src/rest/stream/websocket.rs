//! The channels of exec and attach in the messages of a WebSocket.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use gantry_api::status::Status;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{self, Message};

use super::Streams;
use super::channel::{self, Decoded, Protocol};
use crate::sessions::FRAME_BYTES_MAX;
use crate::sessions::channel::{Gone, Input, Output, Sink, Source};

/// Bytes of one message of a client: some send a whole file as one.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes that are collected before they are written, and that may wait while the client does not read.
const WRITE_BYTES: usize = 64 << 10;
const WRITE_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 32 << 10;
/// How often the client is asked whether it is there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(60);
/// How long a client that only listens may take to answer the goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(10);

/// A connection that may become a WebSocket.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Serves a WebSocket on a connection whose handshake is done.
pub(crate) async fn accept<T: Io>(io: T) -> WebSocketStream<T> {
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config())).await
}

/// As [`accept`], for messages of any size to the client; one at a time is held.
pub(crate) async fn accept_for_events<T: Io>(io: T) -> WebSocketStream<T> {
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config().max_write_buffer_size(usize::MAX))).await
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(WRITE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// The reading half; it notices a client that no longer answers.
pub(crate) struct Reader<T> {
    messages: SplitStream<WebSocketStream<T>>,
    /// When the ping was sent that has no answer yet.
    asked: watch::Sender<Option<Instant>>,
}

/// The writing half; it asks now and then whether the client is there.
pub(crate) struct Writer<T> {
    messages: SplitSink<WebSocketStream<T>, Message>,
    asked: watch::Sender<Option<Instant>>,
    ping: Interval,
}

/// Splits a WebSocket.
pub(crate) fn split<T: Io>(socket: WebSocketStream<T>) -> (Reader<T>, Writer<T>) {
    let (sink, stream) = socket.split();
    let asked = watch::Sender::new(None);
    let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    (Reader { messages: stream, asked: asked.clone() }, Writer { messages: sink, asked, ping })
}

impl<T: Io> Reader<T> {
    /// The next message. Time counts only while this waits: a client is not dead because nobody listens to it.
    ///
    /// # Errors
    /// When the client is gone or sends what is no WebSocket.
    pub(crate) async fn next(&mut self) -> Result<Message, Gone> {
        let waiting = Instant::now();
        let message = tokio::select! {
            message = self.messages.next() => message,
            () = unanswered(self.asked.subscribe(), waiting) => return Err(Gone::Left),
        };
        self.asked.send_if_modified(|asked| asked.take().is_some());
        match message {
            Some(Ok(message)) => Ok(message),
            Some(Err(tungstenite::Error::Capacity(_))) => Err(Gone::Refused(Status::bad_request(format!(
                "a message of the WebSocket is longer than the {MESSAGE_BYTES_MAX} bytes that it may have"
            )))),
            Some(Err(_)) | None => Err(Gone::Left),
        }
    }
}

/// Waits until a ping has gone without an answer for too long.
async fn unanswered(mut asked: watch::Receiver<Option<Instant>>, waiting: Instant) {
    loop {
        let since = *asked.borrow_and_update();
        let overdue = async {
            match since {
                Some(since) => tokio::time::sleep_until(since.max(waiting) + PONG_WITHIN).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = overdue => return,
            changed = asked.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

impl<T: Io> Writer<T> {
    /// Takes a message; it may wait for others until the flush.
    pub(crate) async fn feed(&mut self, message: Message) -> Result<(), Gone> {
        self.messages.feed(message).await.map_err(|_| Gone::Left)
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        self.messages.flush().await.map_err(|_| Gone::Left)
    }

    /// Asks the client now and then whether it is there; ends when that cannot be sent. It may be dropped at any point.
    pub(crate) async fn keep_alive(&mut self) -> Gone {
        loop {
            self.ping.tick().await;
            if self.messages.send(Message::Ping(Bytes::new())).await.is_err() {
                return Gone::Left;
            }
            self.asked.send_if_modified(|asked| {
                let first = asked.is_none();
                if first {
                    *asked = Some(Instant::now());
                }
                first
            });
        }
    }

    /// Says goodbye. The other half reads on until the client has answered that.
    pub(crate) async fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: tungstenite::Utf8Bytes::default() };
        drop(self.messages.send(Message::Close(Some(frame))).await);
    }
}

/// What there is to tell a client that only listens.
pub(crate) trait Tale: Send {
    /// The next message, as soon as there is one; nothing at the end. It may be dropped when the client has left.
    fn next(&mut self) -> impl Future<Output = Option<Message>> + Send;

    /// A message that is there already.
    fn try_next(&mut self) -> Option<Message>;
}

/// Sends messages until there are no more or the client leaves, and closes. What the client sends is not heeded.
pub(crate) async fn tell<T: Io>(socket: WebSocketStream<T>, mut tale: impl Tale) {
    let (mut reader, mut writer) = split(socket);
    // The client has nothing to say but goodbye.
    let mut leaving = pin!(async { while reader.next().await.is_ok() {} });
    let has_ended = tokio::select! {
        () = &mut leaving => false,
        has_ended = send_on(&mut tale, &mut writer) => has_ended,
    };
    if has_ended {
        writer.close().await;
        drop(tokio::time::timeout(GOODBYE_WITHIN, leaving).await);
    }
}

/// Whether the tale has come to its end, and the client has been told everything.
async fn send_on<T: Io>(tale: &mut impl Tale, writer: &mut Writer<T>) -> bool {
    loop {
        let message = tokio::select! {
            message = tale.next() => message,
            _ = writer.keep_alive() => return false,
        };
        let Some(mut message) = message else { return true };
        loop {
            if writer.feed(message).await.is_err() {
                return false;
            }
            match tale.try_next() {
                Some(next) => message = next,
                None => break,
            }
        }
        if writer.flush().await.is_err() {
            return false;
        }
    }
}

/// What the client sends: standard input and the size of its terminal.
pub(crate) struct Channels<T> {
    reader: Reader<T>,
    protocol: Protocol,
    /// What is left of a message that is longer than a frame.
    left: Bytes,
    /// No more standard input is taken.
    ended: bool,
}

/// What the client is sent: output, and at the end how it went.
pub(crate) struct Outputs<T> {
    writer: Writer<T>,
    protocol: Protocol,
}

/// The two ends of a session for a WebSocket. An empty message on the lowest channel that the server writes to says that
/// the session is there, as upstream does it.
pub(crate) async fn channels<T: Io>(io: T, protocol: Protocol, streams: Streams) -> Option<(Channels<T>, Outputs<T>)> {
    let (reader, mut writer) = split(accept(io).await);
    writer.feed(protocol.encode(streams.first(), b"")).await.ok()?;
    writer.flush().await.ok()?;
    let source = Channels { reader, protocol, left: Bytes::new(), ended: !streams.stdin };
    Some((source, Outputs { writer, protocol }))
}

impl<T: Io> Source for Channels<T> {
    async fn next(&mut self) -> Result<Input, Gone> {
        loop {
            if !self.left.is_empty() {
                let piece = self.left.split_to(self.left.len().min(FRAME_BYTES_MAX));
                return Ok(Input::Data(piece));
            }
            let decoded = self.protocol.decode(self.reader.next().await?).map_err(|why| {
                Gone::Refused(Status::bad_request(format!("a message of the WebSocket cannot be read: {why}")))
            })?;
            match decoded {
                Decoded::Data { channel: channel::STDIN, bytes } if !self.ended => self.left = bytes,
                Decoded::Data { channel: channel::RESIZE, bytes } => {
                    if let Some((width, height)) = channel::size(&bytes) {
                        return Ok(Input::Resize { width, height });
                    }
                }
                Decoded::Close { channel: channel::STDIN } if !self.ended => {
                    self.ended = true;
                    return Ok(Input::End);
                }
                Decoded::Goodbye => return Err(Gone::Left),
                // Channels that nobody reads, as upstream has it.
                Decoded::Data { .. } | Decoded::Close { .. } | Decoded::Nothing => {}
            }
        }
    }

    async fn leave(mut self) {
        while self.reader.next().await.is_ok() {}
    }
}

impl<T: Io> Sink for Outputs<T> {
    async fn send(&mut self, output: Output) -> Result<(), Gone> {
        let (channel, bytes) = match output {
            Output::Data(bytes) => (channel::STDOUT, bytes),
            Output::Stderr(bytes) => (channel::STDERR, bytes),
            Output::End => return Ok(()),
        };
        self.writer.feed(self.protocol.encode(channel, &bytes)).await
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.writer.flush().await
    }

    async fn idle(&mut self) -> Gone {
        self.writer.keep_alive().await
    }

    async fn finish(mut self, status: &Status) {
        if let Some(last) = self.protocol.farewell(status)
            && self.writer.feed(self.protocol.encode(channel::ERROR, &last)).await.is_err()
        {
            return;
        }
        self.writer.close().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    async fn pair() -> (Reader<DuplexStream>, Writer<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (near, far) = tokio::io::duplex(4096);
        let (reader, writer) = split(accept(near).await);
        (reader, writer, WebSocketStream::from_raw_socket(far, Role::Client, None).await)
    }

    struct Told(Vec<Message>);

    impl Tale for Told {
        async fn next(&mut self) -> Option<Message> {
            self.try_next()
        }

        fn try_next(&mut self) -> Option<Message> {
            (!self.0.is_empty()).then(|| self.0.remove(0))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tale_is_told_to_its_end() {
        let (near, far) = tokio::io::duplex(4096);
        let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        let listening = async {
            let mut heard = Vec::new();
            while let Some(Ok(message)) = client.next().await {
                heard.push(message);
            }
            heard
        };
        let texts = ["a", "b"].map(Message::text);
        let telling = async { tell(accept(near).await, Told(texts.to_vec())).await };
        let ((), heard) = tokio::join!(telling, listening);
        let (last, heard) = heard.split_last().expect("a goodbye");
        assert_eq!(heard, texts);
        assert!(matches!(last, Message::Close(Some(frame)) if frame.code == CloseCode::Normal), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_answer_is_gone() {
        let (mut reader, mut writer, _client) = pair().await;
        let began = Instant::now();
        let gone = tokio::select! {
            message = reader.next() => message.expect_err("nobody is there"),
            gone = writer.keep_alive() => gone,
        };
        assert_eq!(gone, Gone::Left);
        assert_eq!(began.elapsed().as_secs(), (PING_EVERY + PONG_WITHIN).as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_stays() {
        let (mut reader, mut writer, mut client) = pair().await;
        let answering = async {
            // Reading answers pings by itself.
            while let Some(Ok(_)) = client.next().await {}
        };
        let listening = async { while reader.next().await.is_ok() {} };
        tokio::select! {
            () = listening => panic!("the client answers"),
            _ = writer.keep_alive() => panic!("the client is there"),
            () = answering => panic!("the server is there"),
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_nobody_listens_to_is_not_gone() {
        let (mut reader, mut writer, mut client) = pair().await;
        let mute = async {
            tokio::select! {
                _ = writer.keep_alive() => panic!("the client is there"),
                () = tokio::time::sleep(Duration::from_secs(600)) => {}
            }
        };
        mute.await;
        client.send(Message::text("here")).await.expect("sent");
        assert_eq!(reader.next().await, Ok(Message::text("here")));
    }
}
