//! The client's end of a session, whatever it speaks: a source of input and a sink of output.

use std::future::Future;

use bytes::Bytes;
use gantry_api::status::Status;

/// What the client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Standard input, or bytes to the connection; at most [`super::FRAME_BYTES_MAX`].
    Data(Bytes),
    /// No more data will come.
    End,
    /// The client's terminal has another size.
    Resize { width: u32, height: u32 },
}

/// What the client is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output, log text, bytes of the connection.
    Data(Bytes),
    Stderr(Bytes),
    /// No more data will come.
    End,
}

/// The client's side is at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "made once per session")]
pub(crate) enum Gone {
    /// It left.
    Left,
    /// It broke the rules and is told so.
    Refused(Status),
}

/// Where input comes from.
pub(crate) trait Source: Send {
    /// The next piece, as soon as there is one. After [`Input::End`] it waits until the client leaves.
    fn next(&mut self) -> impl Future<Output = Result<Input, Gone>> + Send;

    /// After the goodbye: takes what the client still sends until it has closed. A connection that is dropped with bytes
    /// unread is reset, and its last words with it.
    fn leave(self) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        async {}
    }
}

/// Where output goes.
pub(crate) trait Sink: Send {
    /// Takes a piece; waits while the client is behind. What was taken may be held back until [`Sink::flush`].
    fn send(&mut self, output: Output) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Lets go of everything that was taken.
    fn flush(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Runs while there is nothing to send: keeps the connection alive and ends when the client has left. It may be
    /// dropped at any point.
    fn idle(&mut self) -> impl Future<Output = Gone> + Send;

    /// Says how the session ended, and closes.
    fn finish(self, status: &Status) -> impl Future<Output = ()> + Send;
}

/// The source of a client that has nothing to say.
pub(crate) struct Silent;

impl Source for Silent {
    async fn next(&mut self) -> Result<Input, Gone> {
        std::future::pending().await
    }
}

/// A Status that says that all went well.
#[cfg(test)]
pub(crate) fn success() -> Status {
    Status { status: "Success".to_owned(), ..Status::failure(200, "", "") }
}

/// Whether a session ended well.
pub(crate) fn is_success(status: &Status) -> bool {
    status.status == "Success"
}
