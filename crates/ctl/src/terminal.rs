//! The user's terminal: raw mode that is always given back, its size, and what is typed.

use std::{
    io::{IsTerminal, Read},
    sync::{Mutex, Once, PoisonError},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use nix::sys::termios::{self, SetArg, Termios};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Bytes of standard input that are read at once.
const READ_BYTES: usize = 32 << 10;
/// Pieces of standard input that may wait.
const PIECES: usize = 2;

/// The settings to go back to, while the terminal is raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Every key goes to the session, none to this program, until this is dropped.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Makes the terminal of standard input raw.
    ///
    /// # Errors
    /// When it is no terminal, or belongs to another job.
    pub(crate) fn enter() -> Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            // The message of a panic must not be printed on a raw terminal; and another thread may go on after it.
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                previous(info);
            }));
        });
        let before = termios::tcgetattr(std::io::stdin()).context("cannot read the settings of the terminal")?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).context("cannot make the terminal raw")?;
        Ok(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was, if it is raw. For every way out that runs no destructors.
pub(crate) fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that went away needs nothing any more.
        let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &before);
    }
}

/// Whether standard input is a terminal.
#[must_use]
pub(crate) fn is_input() -> bool {
    std::io::stdin().is_terminal()
}

/// Columns and rows of the terminal that the user looks at.
#[must_use]
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = terminal_size::terminal_size_of(std::io::stdout());
    let (width, height) = size.or_else(|| terminal_size::terminal_size_of(std::io::stdin()))?;
    Some((width.0, height.0))
}

/// Resolves with the number of the first signal that ends a program.
///
/// # Errors
/// When the process may not handle signals.
pub(crate) fn ending_signal() -> Result<impl Future<Output = i32>> {
    let install = |kind| signal(kind).context("cannot handle signals");
    let (mut hup, mut int) = (install(SignalKind::hangup())?, install(SignalKind::interrupt())?);
    let (mut quit, mut term) = (install(SignalKind::quit())?, install(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = hup.recv() => 1,
            _ = int.recv() => 2,
            _ = quit.recv() => 3,
            _ = term.recv() => 15,
        }
    })
}

/// What is typed or piped in; ends with standard input. Read by a thread of its own that nobody waits for: a read of a
/// terminal cannot be cancelled.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn input() -> Result<mpsc::Receiver<Bytes>> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let read = move || {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match std::io::stdin().lock().read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    if sender.blocking_send(Bytes::copy_from_slice(&buffer[..length])).is_err() {
                        return;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    crate::output::note(&format!("standard input cannot be read any further: {error}"));
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(read).context("cannot start a thread")?;
    Ok(receiver)
}
