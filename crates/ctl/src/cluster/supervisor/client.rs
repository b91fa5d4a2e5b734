//! The other end of the supervisor's socket.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context, bail};

use super::protocol::{Reply, Request, Status};
use crate::cluster::layout::Layout;

/// Asks the supervisor; `None` when none runs.
///
/// # Errors
/// What the supervisor answered, or that it does not answer.
pub fn ask(layout: &Layout, request: &Request) -> anyhow::Result<Option<Vec<Status>>> {
    let socket = layout.supervisor_socket();
    let mut stream = match UnixStream::connect(&socket) {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("cannot reach the supervisor at {}", socket.display())),
    };
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).context("cannot ask the supervisor")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("the supervisor does not answer")?;
    let reply: Reply = serde_json::from_slice(&answer).context("the supervisor's answer cannot be read")?;
    match reply.error {
        Some(error) => bail!("{error}"),
        None => Ok(Some(reply.services)),
    }
}
