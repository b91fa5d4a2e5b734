//! A session that the user takes part in: their terminal and standard streams joined to a container's.

use std::io::Write;

use anyhow::{Context, Result, anyhow};
use gantry_api::status::Status;
use gantry_client::{
    Client,
    session::{self, Event, Input, Output},
};
use gantry_common::task;
use gantry_proto::v1::open_session::Kind;
use tokio::signal::unix::{SignalKind, signal};

use crate::{CommandFailed, Interrupted, output, terminal};

/// What of the user's side takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side {
    /// Standard input is sent.
    pub(crate) stdin: bool,
    /// The terminal is the container's, raw.
    pub(crate) tty: bool,
}

impl Side {
    /// As kubectl: a terminal needs standard input, and standard input must be one; the user is told otherwise.
    #[must_use]
    pub(crate) fn new(stdin: bool, tty: bool, quiet: bool) -> Self {
        if !(stdin && tty) {
            return Self { stdin, tty: false };
        }
        let tty = terminal::is_input();
        if !tty && !quiet {
            output::note("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        Self { stdin, tty }
    }
}

/// Opens the session and stays until it ends.
///
/// # Errors
/// Why it was refused or broke off; [`Interrupted`] when a signal ended it. The terminal is as it was before.
pub(crate) async fn run(client: &Client, kind: Kind, side: Side, greeting: Option<&str>) -> Result<Status> {
    let (input, mut output) = client.open_session(kind).await?;
    let raw = if side.tty { Some(terminal::Raw::enter()?) } else { None };
    let ending = if side.tty { Some(terminal::ending_signal()?) } else { None };
    if let Some(greeting) = greeting {
        output::note(greeting);
    }
    if side.tty {
        task::spawn("resize", follow_size(input.clone()));
    }
    if side.stdin {
        let pieces = terminal::input()?;
        task::spawn("stdin", send_input(pieces, input));
    }
    let ended = async {
        match ending {
            Some(ending) => ending.await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = copy(&mut output) => result,
        signal = ended => Err(Interrupted { signal }.into()),
    };
    drop(raw);
    result
}

/// What the result of a command means for gantryctl.
///
/// # Errors
/// [`CommandFailed`] with the command's exit code, or the message.
pub(crate) fn outcome(result: &Status) -> Result<()> {
    match session::exit_code(result) {
        Some(0) => Ok(()),
        Some(code) => Err(CommandFailed { code }.into()),
        None => Err(anyhow!(result.message.clone())),
    }
}

async fn send_input(mut pieces: tokio::sync::mpsc::Receiver<bytes::Bytes>, input: Input) {
    while let Some(piece) = pieces.recv().await {
        if input.data(piece).await.is_err() {
            return;
        }
    }
    // Where the session has ended, its output says so.
    drop(input.end().await);
}

/// Tells the session the terminal's size, now and when it changes.
async fn follow_size(input: Input) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((columns, rows)) = terminal::size()
            && input.resize(columns, rows).await.is_err()
        {
            return;
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

async fn copy(output: &mut Output) -> Result<Status> {
    loop {
        match output.next().await? {
            Event::Data(bytes) => output::write(&bytes)?,
            Event::Stderr(bytes) => {
                let mut err = std::io::stderr().lock();
                err.write_all(&bytes).and_then(|()| err.flush()).context("cannot write to standard error")?;
            }
            Event::End => {}
            Event::Done(status) => return Ok(status),
        }
    }
}
