//! The streams of exec and attach in a SPDY connection: one per channel, each named by its `streamType`.

use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gantry_api::status::Status;
use gantry_common::task;
use gantry_spdy::{Connection, Driver, End, Headers, Incoming, Reader, Writer};
use tokio::task::JoinHandle;
use tracing::debug;

use super::Streams;
use super::channel::{farewell, size};
use crate::sessions::FRAME_BYTES_MAX;
use crate::sessions::channel::{Gone, Input, Output, Sink, Source};
use crate::sessions::relay::FAREWELL;

/// How long a client may take to open all its streams (upstream's time).
pub(crate) const STREAMS_WITHIN: Duration = Duration::from_secs(30);
/// A silent client is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(30);
/// Bytes of terminal sizes that may wait for their end.
const SIZES_BYTES_MAX: usize = 4096;

/// Runs a connection's driver in a task of its own.
pub(crate) fn drive(driver: Driver) -> JoinHandle<()> {
    task::spawn("spdy", async move {
        if let Err(error) = driver.ping_after(PING_AFTER).run().await {
            debug!(%error, "a SPDY connection ended");
        }
    })
}

/// What a version of the protocol has.
#[derive(Debug, Clone, Copy)]
struct Version {
    /// The error stream carries a Status; else text.
    status: bool,
    /// There is a stream for the terminal's size.
    resize: bool,
}

impl Version {
    fn of(protocol: &str) -> Self {
        let number = protocol.strip_prefix('v').and_then(|p| p.split('.').next()).and_then(|n| n.parse::<u8>().ok());
        let number = number.unwrap_or(1);
        Self { status: number >= 4, resize: number >= 3 }
    }
}

/// The streams that the client has opened.
#[derive(Default)]
struct Open {
    stdin: Option<gantry_spdy::Stream>,
    stdout: Option<gantry_spdy::Stream>,
    stderr: Option<gantry_spdy::Stream>,
    error: Option<gantry_spdy::Stream>,
    resize: Option<gantry_spdy::Stream>,
}

impl Open {
    fn slot(&mut self, name: &str) -> Option<&mut Option<gantry_spdy::Stream>> {
        let slot = match name {
            "stdin" => &mut self.stdin,
            "stdout" => &mut self.stdout,
            "stderr" => &mut self.stderr,
            "error" => &mut self.error,
            "resize" => &mut self.resize,
            _ => return None,
        };
        slot.is_none().then_some(slot)
    }

    /// Takes a stream; one of an unknown kind, or the second of a kind, is refused.
    async fn take(&mut self, incoming: Incoming) {
        let name = incoming.headers().get("streamtype").unwrap_or_default().to_owned();
        match self.slot(&name) {
            Some(slot) => *slot = incoming.reply(Headers::new()).await.ok(),
            None => incoming.refuse().await,
        }
    }

    fn is_complete(&self, wanted: Streams, version: Version) -> bool {
        let there = |wanted: bool, stream: &Option<gantry_spdy::Stream>| !wanted || stream.is_some();
        self.error.is_some()
            && there(wanted.stdin, &self.stdin)
            && there(wanted.stdout, &self.stdout)
            && there(wanted.stderr, &self.stderr)
            && there(wanted.tty && version.resize, &self.resize)
    }
}

/// What the client sends.
pub(crate) struct Inputs {
    stdin: Option<Reader>,
    resize: Option<Reader>,
    sizes: BytesMut,
    left: Bytes,
    driver: JoinHandle<()>,
}

/// What the client is sent. Every writer is kept to the end: a client that sees its standard input closed from here closes
/// it too.
pub(crate) struct Outputs {
    connection: Connection,
    stdin: Option<Writer>,
    stdout: Option<Writer>,
    stderr: Option<Writer>,
    resize: Option<Writer>,
    error: Writer,
    version: Version,
}

/// Waits for the client's streams.
///
/// # Errors
/// When they do not all come in time, or `lost` says that there is nothing to wait for any more; a client with an error
/// stream has been told.
pub(crate) async fn channels<T: super::websocket::Io>(
    io: T,
    protocol: &str,
    wanted: Streams,
    lost: impl Future<Output = Status>,
) -> Result<(Inputs, Outputs), Status> {
    let version = Version::of(protocol);
    let (mut connection, driver) = gantry_spdy::server(io);
    let driver = drive(driver);
    let mut open = Open::default();
    let all = async {
        while !open.is_complete(wanted, version) {
            match connection.accept().await {
                Some(incoming) => open.take(incoming).await,
                None => return false,
            }
        }
        true
    };
    let late = |why| Status::failure(408, "Timeout", why);
    let refused = tokio::select! {
        all = all => (!all).then(|| late("the client left before it had created its streams")),
        () = tokio::time::sleep(STREAMS_WITHIN) => Some(late("timed out waiting for client to create streams")),
        status = lost => Some(status),
    };
    let error = match (open.error.take(), refused) {
        (Some(error), None) => error,
        (error, refused) => {
            let status = refused.unwrap_or_else(|| late("the client created no error stream"));
            refuse(connection, error, version, &status).await;
            return Err(status);
        }
    };
    let (stdin_reader, stdin) = open.stdin.map(gantry_spdy::Stream::split).unzip();
    let (resize_reader, resize) = open.resize.map(gantry_spdy::Stream::split).unzip();
    // Nobody reads the others; without a reader what comes on them is thrown away.
    let writer = |stream: gantry_spdy::Stream| stream.split().1;
    let outputs = Outputs {
        connection,
        stdin,
        stdout: open.stdout.map(writer),
        stderr: open.stderr.map(writer),
        resize,
        error: writer(error),
        version,
    };
    let inputs =
        Inputs { stdin: stdin_reader, resize: resize_reader, sizes: BytesMut::new(), left: Bytes::new(), driver };
    Ok((inputs, outputs))
}

/// Says why there is no session, where there is a stream for that, and closes.
async fn refuse(connection: Connection, error: Option<gantry_spdy::Stream>, version: Version, status: &Status) {
    let told = async {
        let Some(error) = error else { return };
        if let Some(last) = farewell(version.status, status) {
            drop(error.write(last).await);
        }
        drop(error.finish().await);
        connection.close();
        error.split().1.closed().await;
    };
    if tokio::time::timeout(FAREWELL, told).await.is_err() {
        debug!("a client did not take the refusal of its session in time");
    }
}

async fn read(reader: &mut Option<Reader>) -> Option<Bytes> {
    match reader {
        Some(reader) => reader.read().await,
        None => std::future::pending().await,
    }
}

/// Takes the first size out of what has come.
fn next_size(sizes: &mut BytesMut) -> Option<(u32, u32)> {
    loop {
        let end = sizes.iter().position(|byte| *byte == b'}')?;
        let one = sizes.split_to(end + 1);
        if let Some(size) = size(&one) {
            return Some(size);
        }
    }
}

impl Source for Inputs {
    async fn next(&mut self) -> Result<Input, Gone> {
        loop {
            if !self.left.is_empty() {
                return Ok(Input::Data(self.left.split_to(self.left.len().min(FRAME_BYTES_MAX))));
            }
            if let Some((width, height)) = next_size(&mut self.sizes) {
                return Ok(Input::Resize { width, height });
            }
            tokio::select! {
                bytes = read(&mut self.stdin) => match bytes {
                    Some(bytes) => self.left = bytes,
                    None => {
                        let end = self.stdin.take().and_then(|stdin| stdin.end());
                        if end == Some(End::Finished) {
                            return Ok(Input::End);
                        }
                        return Err(Gone::Left);
                    }
                },
                bytes = read(&mut self.resize) => match bytes {
                    Some(bytes) if self.sizes.len() + bytes.len() <= SIZES_BYTES_MAX => {
                        self.sizes.extend_from_slice(&bytes);
                    }
                    Some(_) => self.sizes.clear(),
                    None => self.resize = None,
                },
                _ = &mut self.driver => return Err(Gone::Left),
            }
        }
    }

    async fn leave(self) {
        drop(self.stdin);
        drop(self.resize);
        // It has ended already where the client went first.
        if !self.driver.is_finished() {
            drop(self.driver.await);
        }
    }
}

impl Sink for Outputs {
    async fn send(&mut self, output: Output) -> Result<(), Gone> {
        let (writer, bytes) = match output {
            Output::Data(bytes) => (&self.stdout, bytes),
            Output::Stderr(bytes) => (&self.stderr, bytes),
            Output::End => return Ok(()),
        };
        match writer {
            Some(writer) => writer.write(bytes).await.map_err(|_| Gone::Left),
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        Ok(())
    }

    async fn idle(&mut self) -> Gone {
        self.error.closed().await;
        Gone::Left
    }

    async fn finish(self, status: &Status) {
        if let Some(last) = farewell(self.version.status, status) {
            // A client that has left hears nothing more.
            drop(self.error.write(last).await);
        }
        let others = [&self.stdout, &self.stderr, &self.stdin, &self.resize];
        for writer in others.into_iter().flatten().chain([&self.error]) {
            drop(writer.finish().await);
        }
        self.connection.close();
        // A stream that is let go before its end has left would be reset.
        self.error.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_taken_one_by_one() {
        let mut sizes = BytesMut::from(&b"{\"Width\":80,\"Height\":24}\n{\"Width\":0,\"Height\":0}{\"Width\":1,"[..]);
        assert_eq!(next_size(&mut sizes), Some((80, 24)));
        assert_eq!(next_size(&mut sizes), None);
        sizes.extend_from_slice(b"\"Height\":2}");
        assert_eq!(next_size(&mut sizes), Some((1, 2)));
    }

    #[test]
    fn versions_differ() {
        let check = |protocol: &str, status: bool, resize: bool| {
            let version = Version::of(protocol);
            assert_eq!((version.status, version.resize), (status, resize), "{protocol}");
        };
        check("v5.channel.k8s.io", true, true);
        check("v4.channel.k8s.io", true, true);
        check("v3.channel.k8s.io", false, true);
        check("v2.channel.k8s.io", false, false);
        check("channel.k8s.io", false, false);
    }
}
