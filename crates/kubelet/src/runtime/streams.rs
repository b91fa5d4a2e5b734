//! Commands in containers, and the streams of processes.

use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::io::AsyncWrite;

use super::Error;

/// A command to run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it is given a standard input.
    pub stdin: bool,
    /// Whether its standard output is wanted.
    pub stdout: bool,
    /// Whether its standard error is wanted.
    pub stderr: bool,
    /// Whether it is given a terminal; its outputs are one then.
    pub tty: bool,
}

/// Which streams of a container's first process are joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachSpec {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Whether the container has a terminal.
    pub tty: bool,
}

/// How a command is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExecState {
    /// It has been started and has not ended.
    pub running: bool,
    /// Its process as the node sees it; `None` until it has one.
    pub pid: Option<u32>,
    /// Its exit code, once it has ended (or could not be started).
    pub code: Option<i64>,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A piece of a process's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Of its standard output, or its terminal.
    Out(Bytes),
    /// Of its standard error.
    Err(Bytes),
}

impl Chunk {
    /// The bytes, whichever they are.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Out(bytes) | Self::Err(bytes) => bytes,
        }
    }
}

/// What a process says. Nothing more is read from it than is taken from here.
pub type Output = BoxStream<'static, Result<Chunk, Error>>;

/// Joined streams; dropping them leaves the process alone.
pub struct Streams {
    /// Ends when the process has closed its outputs.
    pub output: Output,
    /// The standard input: shutting it down closes it.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
}
