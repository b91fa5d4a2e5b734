//! Port-forwards in the channels of a WebSocket: port number i of the query is channel 2i, its errors channel 2i + 1.
//!
//! The protocol has one connection per port and no way to close one side of it: once the pod sends no more, the
//! connection is over. All ports share the WebSocket, so a pod that does not read holds up the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_common::task;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::AbortOnDropHandle;

use super::channel::{Decoded, Protocol};
use super::forward::{failed, port};
use super::websocket::{Io, Reader, Writer, accept, split};
use crate::sessions::channel::{Gone, Input, Output, Sink, Source, is_success};
use crate::sessions::grant::Connector;
use crate::sessions::{FRAME_BYTES_MAX, FRAMES};

/// Each port has two of the 256 channels; the last pair is left free, since 255 means something in some protocols.
const PORTS_MAX: usize = 127;
/// In text a channel is one digit.
const TEXT_PORTS_MAX: usize = 5;

/// How long the client may take for what it was sent last.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// The ports of the query: repeated, or separated by commas.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn of(values: &[String], in_text: bool) -> Result<Vec<u16>, Status> {
    let most = if in_text { TEXT_PORTS_MAX } else { PORTS_MAX };
    let texts = values.iter().flat_map(|value| value.split(','));
    let ports: Vec<u16> = texts.map(port).collect::<Result<_, _>>().map_err(Status::bad_request)?;
    match ports.len() {
        0 => Err(Status::bad_request("query parameter \"ports\" is required")),
        n if n > most => Err(Status::bad_request(format!("{n} ports are asked for, but at most {most} can be"))),
        _ => Ok(ports),
    }
}

/// The channels of port number `index`.
fn channels(index: usize) -> (u8, u8) {
    let data = u8::try_from(index * 2).unwrap_or(u8::MAX - 1);
    (data, data + 1)
}

/// Serves a port-forward.
pub(crate) async fn serve<T: Io>(io: T, protocol: Protocol, ports: Vec<u16>, connector: Connector) {
    let (reader, writer) = split(accept(io).await);
    let (messages, outgoing) = mpsc::channel(FRAMES);
    // Ends with this: a client that takes nothing more would hold it for ever.
    let writing = AbortOnDropHandle::new(task::spawn("port-forward", write(writer, outgoing)));
    let mut running = JoinSet::new();
    let mut inputs = Vec::new();
    for (index, port) in ports.into_iter().enumerate() {
        let (input, received) = mpsc::channel(FRAMES);
        let (data, error) = channels(index);
        let ended = Arc::new(Notify::new());
        let source = Channel { received, ended: ended.clone(), is_over: false };
        let sink = Channels { messages: messages.clone(), protocol, data, error, port, pod: connector.pod(), ended };
        inputs.push(input);
        let connector = connector.clone();
        drop(running.spawn(async move { connect(connector, port, source, sink).await }));
    }
    drop(messages);
    let over = async { while running.join_next().await.is_some() {} };
    tokio::select! {
        () = over => {}
        () = distribute(reader, protocol, inputs) => {}
    }
    drop(running);
    drop(tokio::time::timeout(LAST_WRITES, writing).await);
}

async fn connect(connector: Connector, port: u16, source: Channel, sink: Channels) {
    let number = Bytes::copy_from_slice(&port.to_le_bytes());
    for channel in [sink.data, sink.error] {
        if sink.put(channel, &number).await.is_err() {
            return;
        }
    }
    match connector.open(port).await {
        Ok((_bound, opened)) => connector.run(opened, source, sink).await,
        Err(status) => sink.finish(&status).await,
    }
}

/// Writes what the connections say, until all of them are over.
async fn write<T: Io>(mut writer: Writer<T>, mut outgoing: mpsc::Receiver<Message>) {
    loop {
        let message = match outgoing.try_recv() {
            Ok(message) => Some(message),
            Err(_) => {
                if writer.flush().await.is_err() {
                    return;
                }
                tokio::select! {
                    message = outgoing.recv() => message,
                    _ = writer.keep_alive() => return,
                }
            }
        };
        let Some(message) = message else { break };
        if writer.feed(message).await.is_err() {
            return;
        }
    }
    writer.close().await;
}

/// Hands the client's messages to their connections, until the client leaves.
async fn distribute<T: Io>(mut reader: Reader<T>, protocol: Protocol, inputs: Vec<mpsc::Sender<Bytes>>) {
    while let Ok(message) = reader.next().await {
        match protocol.decode(message) {
            Ok(Decoded::Data { channel, mut bytes }) if channel % 2 == 0 => {
                let Some(input) = inputs.get(usize::from(channel / 2)) else { continue };
                while !bytes.is_empty() {
                    // A connection that is over takes nothing.
                    drop(input.send(bytes.split_to(bytes.len().min(FRAME_BYTES_MAX))).await);
                }
            }
            Ok(Decoded::Goodbye) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// What the client sends on a connection.
struct Channel {
    received: mpsc::Receiver<Bytes>,
    /// The pod sends no more.
    ended: Arc<Notify>,
    is_over: bool,
}

impl Source for Channel {
    async fn next(&mut self) -> Result<Input, Gone> {
        tokio::select! {
            bytes = self.received.recv() => bytes.map(Input::Data).ok_or(Gone::Left),
            () = self.ended.notified(), if !self.is_over => {
                self.is_over = true;
                Ok(Input::End)
            }
        }
    }
}

/// What the client gets on a connection.
struct Channels {
    messages: mpsc::Sender<Message>,
    protocol: Protocol,
    data: u8,
    error: u8,
    port: u16,
    pod: String,
    ended: Arc<Notify>,
}

impl Channels {
    async fn put(&self, channel: u8, bytes: &Bytes) -> Result<(), Gone> {
        self.messages.send(self.protocol.encode(channel, bytes)).await.map_err(|_| Gone::Left)
    }
}

impl Sink for Channels {
    async fn send(&mut self, output: Output) -> Result<(), Gone> {
        match output {
            Output::Data(bytes) => self.put(self.data, &bytes).await,
            Output::End => {
                self.ended.notify_one();
                Ok(())
            }
            Output::Stderr(_) => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        Ok(())
    }

    async fn idle(&mut self) -> Gone {
        self.messages.closed().await;
        Gone::Left
    }

    async fn finish(self, status: &Status) {
        if !is_success(status) {
            let text = failed(self.port, &self.pod, status);
            drop(self.put(self.error, &Bytes::from(text)).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        let check = |values: &[&str], expected: Result<&[u16], &str>| {
            let values: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
            let got = of(&values, false).map_err(|s| s.message);
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{values:?}");
        };
        check(&["80"], Ok(&[80]));
        check(&["80,81", "82"], Ok(&[80, 81, 82]));
        check(&[], Err("query parameter \"ports\" is required"));
        check(&["0"], Err("port \"0\" must be > 0"));
        check(&["http"], Err("unable to parse \"http\" as a port"));
        let many: Vec<String> = (1..=128).map(|n| n.to_string()).collect();
        assert!(of(&many, false).is_err());
        assert!(of(&many[..6], true).is_err() && of(&many[..5], true).is_ok());
        assert_eq!((channels(0), channels(126)), ((0, 1), (252, 253)));
    }
}
