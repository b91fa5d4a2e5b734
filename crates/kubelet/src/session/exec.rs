//! A command in a container.

use std::sync::Arc;

use futures::StreamExt;
use gantry_api::status::Status;
use gantry_proto::v1::ExecRequest;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{
    Context, Work,
    answer::{self, Ended},
    link::{Incoming, Input, Left, Outgoing},
    target::Target,
};
use crate::{
    exec::{Command, GRACE, Started},
    runtime::{Chunk, Error, ExecSpec, Output, Runtime, Size, Streams},
};

const WHAT: &str = "error executing command in container";

/// A command that is to be run.
pub(super) struct Exec {
    command: Command,
    spec: ExecSpec,
    /// The container's name, for the errors.
    container: String,
}

/// Checks that the command can be run, and prepares it.
pub(super) async fn prepare(context: &Context, request: ExecRequest) -> Result<(Box<dyn Work>, Target), Status> {
    let deps = &context.deps;
    let pod = (request.namespace.as_str(), request.pod.as_str(), request.pod_uid.as_str());
    let pods = context.pods.as_ref();
    let (target, container, _) = Target::with_container(pods, &deps.observed, pod, &request.container)?;
    if request.command.is_empty() {
        return Err(Status::bad_request("you must specify at least one command for the container"));
    }
    let spec = ExecSpec {
        command: request.command,
        stdin: request.stdin,
        stdout: request.stdout || request.tty,
        stderr: request.stderr && !request.tty,
        tty: request.tty,
    };
    // Docker keeps what is made and never started until the container goes: it is made when it starts.
    let command = deps.commands.prepare(&container.id, spec.clone(), GRACE);
    Ok((Box::new(Exec { command, spec, container: container.name }), target))
}

/// Why a command could not be started, in upstream's words for a container that has just ended.
fn unstarted(error: &Error, container: &str) -> Ended {
    let gone = |message| answer::failure(&Status::failure(500, "InternalError", message));
    match error {
        Error::Refused { code: 404 | 409, .. } => gone(format!("container not found (\"{container}\")")),
        other => answer::broken(WHAT, other),
    }
}

#[async_trait::async_trait]
impl Work for Exec {
    async fn run(mut self: Box<Self>, incoming: &mut Incoming, outgoing: &Outgoing) -> Ended {
        let Self { command, spec, container } = &mut *self;
        let streams = match command.start().await {
            Ok(Started::Running(streams)) => streams,
            Ok(Started::Refused { code, message }) => return refused(outgoing, spec, code, &message).await,
            Err(error) => return unstarted(&error, container),
        };
        let Streams { mut output, input } = streams;
        // A terminal is not closed by whoever types no more; Docker would close its output instead.
        let mut stdin = Stdin { writer: spec.stdin.then_some(input), closes: !spec.tty };
        let terminal = command.terminal().map_or(Terminal::None, Terminal::Command);
        // A process that has closed its outputs may still read.
        tokio::select! {
            ended = follow(command, &spec.command, &mut output, outgoing) => ended,
            () = listen(incoming, &mut stdin, &terminal) => Ended::Left,
        }
    }
}

/// Passes on what the command says, and how it ended.
async fn follow(command: &mut Command, words: &[String], output: &mut Output, outgoing: &Outgoing) -> Ended {
    match speak(output, outgoing).await {
        Err(ended) => return ended,
        Ok(Err(error)) => return answer::broken(WHAT, &error),
        Ok(Ok(())) => {}
    }
    match command.code().await {
        Ok(0) => answer::success(),
        Ok(code) => answer::exit(code, &format!("error executing command [{}], exit code {code}", words.join(" "))),
        Err(error) => answer::broken(WHAT, &error),
    }
}

/// A program that does not exist or cannot be run: its user reads why, and gets the code that a shell would give.
async fn refused(outgoing: &Outgoing, spec: &ExecSpec, code: i64, message: &str) -> Ended {
    let line = bytes::Bytes::from(format!("{message}{}", if spec.tty { "\r\n" } else { "\n" }));
    let told = if spec.stderr { outgoing.stderr(line).await } else { outgoing.data(line).await };
    match told {
        Ok(()) => answer::exit(code, message),
        Err(left) => left.into(),
    }
}

/// Passes on what a process says, to its end.
pub(super) async fn speak(output: &mut Output, outgoing: &Outgoing) -> Result<Result<(), Error>, Ended> {
    while let Some(chunk) = output.next().await {
        let sent = match chunk {
            Ok(Chunk::Out(bytes)) => outgoing.data(bytes).await,
            Ok(Chunk::Err(bytes)) => outgoing.stderr(bytes).await,
            Err(error) => return Ok(Err(error)),
        };
        sent.map_err(|Left| Ended::Left)?;
    }
    Ok(Ok(()))
}

/// Whose size the client may set.
pub(super) enum Terminal {
    Command(crate::exec::Terminal),
    Container(Arc<dyn Runtime>, String),
    None,
}

impl Terminal {
    async fn resize(&self, size: Size) {
        let resized = match self {
            Self::Command(terminal) => terminal.resize(size).await,
            Self::Container(runtime, id) => runtime.resize(id, size).await,
            Self::None => Ok(()),
        };
        // What has just ended has no terminal any more.
        if let Err(error) = resized {
            tracing::debug!(error = gantry_common::error_chain(&error), "terminal could not be resized");
        }
    }
}

/// Where the client's input goes.
pub(super) struct Stdin {
    pub(super) writer: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Whether the process is told when no more comes.
    pub(super) closes: bool,
}

/// Passes on what the client says, until it has left. Input that the process does not want any more is dropped.
pub(super) async fn listen(incoming: &mut Incoming, stdin: &mut Stdin, terminal: &Terminal) {
    loop {
        match incoming.next().await {
            Input::Data(bytes) => {
                if let Some(open) = &mut stdin.writer
                    && open.write_all(&bytes).await.is_err()
                {
                    stdin.writer = None;
                }
            }
            Input::End => {
                if let Some(open) = &mut stdin.writer
                    && stdin.closes
                {
                    // A process that has ended does not need to be told.
                    drop(open.shutdown().await);
                }
            }
            Input::Resize(size) => terminal.resize(size).await,
            Input::Gone => return,
        }
    }
}
