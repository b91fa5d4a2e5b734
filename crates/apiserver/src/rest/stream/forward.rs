//! Port-forwards over SPDY: each connection is a data and an error stream, and a session with the node of its own.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_spdy::{Connection, End, Headers, Incoming, Reader, Stream, Writer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::spdy::{STREAMS_WITHIN, drive};
use super::websocket::Io;
use crate::sessions::FRAME_BYTES_MAX;
use crate::sessions::channel::{Gone, Input, Output, Sink, Source, is_success};
use crate::sessions::grant::Connector;
use crate::sessions::relay::LINGER;

/// Connections at once in one port-forward.
const CONNECTIONS_MAX: usize = 512;

/// What a stream's headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    port: u16,
    is_error: bool,
    /// Names the connection; both its streams have the same.
    request: String,
}

impl Label {
    /// Reads the headers of the stream with this number.
    ///
    /// # Errors
    /// What is wrong with them, in upstream's words.
    fn read(headers: &Headers, id: u32) -> Result<Self, String> {
        let text = headers.get("port").filter(|t| !t.is_empty()).ok_or("\"port\" header is required")?;
        let port = port(text)?;
        let is_error = match headers.get("streamtype").unwrap_or_default() {
            "" => return Err("\"streamType\" header is required".to_owned()),
            "error" => true,
            "data" => false,
            other => return Err(format!("invalid stream type {other:?}")),
        };
        let request = match headers.get("requestid") {
            Some(request) if !request.is_empty() => request.to_owned(),
            // Clients from before there were request IDs open the error stream and at once the data stream.
            _ if is_error => id.to_string(),
            _ => id.saturating_sub(2).to_string(),
        };
        Ok(Self { port, is_error, request })
    }
}

/// A port's number.
///
/// # Errors
/// In upstream's words.
pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(0) => Err(format!("port {text:?} must be > 0")),
        Ok(port) => Ok(port),
        Err(_) => Err(format!("unable to parse {text:?} as a port")),
    }
}

/// What the client reads of a connection that failed. A node says itself which one it was.
pub(super) fn failed(port: u16, pod: &str, status: &Status) -> String {
    let (which, why) = (format!("error forwarding port {port} to pod {pod}"), &status.message);
    if why.starts_with(&which) { why.clone() } else { format!("{which}: {why}") }
}

/// A connection of which one stream has come.
struct Half {
    label: Label,
    stream: Stream,
    until: Instant,
}

/// Serves a port-forward over SPDY, on the connection itself or in a tunnel.
pub(crate) async fn serve<T: Io>(io: T, connector: Connector) {
    let (connection, driver) = gantry_spdy::server(io);
    let mut driver = drive(driver);
    let mut forward = Forward {
        connection,
        connector: connector.clone(),
        halves: HashMap::new(),
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        running: JoinSet::new(),
    };
    tokio::select! {
        () = forward.accept() => {}
        _ = connector.ends() => {}
        _ = &mut driver => return,
    }
    // The connections that are open end by themselves, as their node or the connector has it.
    while forward.running.join_next().await.is_some() {}
    forward.connection.close();
    drop(forward);
    drop(driver.await);
}

struct Forward {
    connection: Connection,
    connector: Connector,
    /// By request.
    halves: HashMap<String, Half>,
    places: Arc<Semaphore>,
    running: JoinSet<()>,
}

impl Forward {
    /// Takes streams until the client opens no more.
    async fn accept(&mut self) {
        loop {
            let until = self.halves.values().map(|half| half.until).min();
            let overdue = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                incoming = self.connection.accept() => match incoming {
                    Some(incoming) => self.take(incoming).await,
                    None => return,
                },
                Some(_) = self.running.join_next() => {}
                () = overdue => self.give_up().await,
            }
        }
    }

    async fn take(&mut self, incoming: Incoming) {
        let label = match Label::read(incoming.headers(), incoming.id()) {
            Ok(label) => label,
            Err(why) => {
                debug!(why, "a stream of a port-forward is refused");
                incoming.refuse().await;
                return;
            }
        };
        let fits = self.halves.get(&label.request).is_none_or(|h| h.label.is_error != label.is_error);
        if !fits || self.halves.len() >= CONNECTIONS_MAX {
            incoming.refuse().await;
            return;
        }
        let Ok(stream) = incoming.reply(Headers::new()).await else { return };
        match self.halves.remove(&label.request) {
            Some(other) => {
                let port = if label.is_error { other.label.port } else { label.port };
                let (data, error) = if label.is_error { (other.stream, stream) } else { (stream, other.stream) };
                self.start(port, data, error).await;
            }
            None => {
                let until = Instant::now() + STREAMS_WITHIN;
                self.halves.insert(label.request.clone(), Half { label, stream, until });
            }
        }
    }

    async fn start(&mut self, port: u16, data: Stream, error: Stream) {
        let (data_reader, data) = data.split();
        let (error_reader, error) = error.split();
        let mut sink = Connected { data, error, port, pod: self.connector.pod(), finished: false };
        let source = Sent { data: Some(data_reader), error: error_reader, left: Bytes::new() };
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let why = format!("this port-forward has {CONNECTIONS_MAX} connections already");
            sink.tell(&Status::too_many_requests(why, 1)).await;
            return;
        };
        let connector = self.connector.clone();
        self.running.spawn(async move {
            let _place = place;
            match connector.open(port).await {
                Ok((_bound, opened)) => connector.run(opened, source, sink).await,
                Err(status) => {
                    sink.tell(&status).await;
                    drop(tokio::time::timeout(LINGER, source.leave()).await);
                }
            }
        });
    }

    /// Tells connections whose other stream has not come in time.
    async fn give_up(&mut self) {
        let now = Instant::now();
        let late: Vec<String> =
            self.halves.iter().filter(|(_, half)| half.until <= now).map(|(request, _)| request.clone()).collect();
        for half in late.iter().filter_map(|request| self.halves.remove(request)).collect::<Vec<_>>() {
            if half.label.is_error {
                let why = "timed out waiting for the data stream of the connection";
                drop(half.stream.write(Bytes::from_static(why.as_bytes())).await);
                drop(half.stream.finish().await);
            }
        }
    }
}

/// What the client sends on a connection.
struct Sent {
    data: Option<Reader>,
    /// Clients send nothing on it, but they close it.
    error: Reader,
    left: Bytes,
}

impl Source for Sent {
    async fn next(&mut self) -> Result<Input, Gone> {
        loop {
            if !self.left.is_empty() {
                return Ok(Input::Data(self.left.split_to(self.left.len().min(FRAME_BYTES_MAX))));
            }
            // After its end the writing half notices a client that leaves.
            let Some(data) = &mut self.data else { return std::future::pending().await };
            match data.read().await {
                Some(bytes) => self.left = bytes,
                None => {
                    let end = data.end();
                    self.data = None;
                    return if end == Some(End::Finished) { Ok(Input::End) } else { Err(Gone::Left) };
                }
            }
        }
    }

    /// Both streams end well when the client closes its side too; otherwise they are reset.
    async fn leave(mut self) {
        if let Some(data) = &mut self.data {
            while data.read().await.is_some() {}
        }
        while self.error.read().await.is_some() {}
    }
}

/// What the client gets on a connection.
struct Connected {
    data: Writer,
    error: Writer,
    port: u16,
    pod: String,
    /// Data has come to its end.
    finished: bool,
}

impl Connected {
    /// Says how it ended: an error as text, in upstream's words.
    async fn tell(&mut self, status: &Status) {
        if self.finished {
            return;
        }
        if !is_success(status) {
            let text = failed(self.port, &self.pod, status);
            drop(self.error.write(Bytes::from(text)).await);
        }
        drop(self.error.finish().await);
        drop(self.data.finish().await);
    }
}

impl Sink for Connected {
    async fn send(&mut self, output: Output) -> Result<(), Gone> {
        match output {
            Output::Data(bytes) => self.data.write(bytes).await.map_err(|_| Gone::Left),
            Output::End if !self.finished => {
                self.finished = true;
                // kubectl lets go of a connection only once both streams have ended: nothing more can go wrong on this one.
                drop(self.error.finish().await);
                self.data.finish().await.map_err(|_| Gone::Left)
            }
            Output::End | Output::Stderr(_) => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        Ok(())
    }

    async fn idle(&mut self) -> Gone {
        self.data.closed().await;
        Gone::Left
    }

    async fn finish(mut self, status: &Status) {
        self.tell(status).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_failed_is_named_once() {
        let check = |message: &str, expected: &str| {
            assert_eq!(failed(80, "p", &Status::failure(500, "InternalError", message)), expected);
        };
        check("no room", "error forwarding port 80 to pod p: no room");
        let own = "error forwarding port 80 to pod p, uid u: refused";
        check(own, own);
    }

    #[test]
    fn streams_are_labelled() {
        let check = |pairs: &[(&str, &str)], id: u32, expected: Result<(u16, bool, &str), &str>| {
            let mut headers = Headers::new();
            for (name, value) in pairs {
                headers.insert(name, *value);
            }
            let got = Label::read(&headers, id);
            let got = got.as_ref().map(|l| (l.port, l.is_error, l.request.as_str())).map_err(String::as_str);
            assert_eq!(got, expected, "{pairs:?}");
        };
        let port = ("port", "80");
        check(&[port, ("streamtype", "data"), ("requestid", "7")], 1, Ok((80, false, "7")));
        check(&[port, ("streamtype", "error")], 5, Ok((80, true, "5")));
        check(&[port, ("streamtype", "data")], 7, Ok((80, false, "5")));
        check(&[("streamtype", "data")], 1, Err("\"port\" header is required"));
        check(&[("port", "0"), ("streamtype", "data")], 1, Err("port \"0\" must be > 0"));
        check(&[("port", "70000"), ("streamtype", "data")], 1, Err("unable to parse \"70000\" as a port"));
        check(&[port], 1, Err("\"streamType\" header is required"));
        check(&[port, ("streamtype", "x")], 1, Err("invalid stream type \"x\""));
    }
}
