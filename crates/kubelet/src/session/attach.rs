//! The streams of a container's first process. Leaving does nothing to the container.

use std::sync::Arc;

use gantry_api::status::Status;
use gantry_proto::v1::AttachRequest;

use super::{
    Context, Work,
    answer::{self, Ended},
    exec::{Stdin, Terminal, listen, speak},
    link::{Incoming, Outgoing},
    target::Target,
};
use crate::runtime::{AttachSpec, Error, Runtime, Streams};

const WHAT: &str = "error attaching to container";

/// A container that is to be joined.
pub(super) struct Attach {
    runtime: Arc<dyn Runtime>,
    id: String,
    /// Whether the client's input is passed on, and whether its end is.
    types: bool,
    closes: bool,
    spec: AttachSpec,
    /// Once it is joined.
    streams: Option<Streams>,
}

/// Joins the container, so that nothing that it says after the answer is missed; with a `deferred` session it is joined when
/// that begins, since leaving may close its input.
pub(super) async fn prepare(
    context: &Context,
    request: AttachRequest,
    deferred: bool,
) -> Result<(Box<dyn Work>, Target), Status> {
    let deps = &context.deps;
    let pod = (request.namespace.as_str(), request.pod.as_str(), request.pod_uid.as_str());
    let pods = context.pods.as_ref();
    let (target, container, spec) = Target::with_container(pods, &deps.observed, pod, &request.container)?;
    // Whether there is a terminal, and whether anything reads, was decided when the container was made.
    let tty = spec.tty == Some(true);
    let once = spec.stdin_once == Some(true);
    let types = request.stdin && spec.stdin == Some(true);
    let spec = AttachSpec {
        // Docker sees by the standard input that a client has left; without one it holds on until the container says
        // something or ends. Where a client's leaving closes the container's input, looking must not.
        stdin: types || (spec.stdin == Some(true) && !once),
        stdout: request.stdout || tty,
        stderr: request.stderr && !tty,
        tty,
    };
    // Otherwise Docker takes the end of the input for the client's leaving, and what the container answers would be lost.
    let closes = once && !tty;
    let runtime = Arc::clone(&deps.runtime);
    let mut attach = Attach { runtime, id: container.id, types, closes, spec, streams: None };
    if !deferred {
        attach.streams = Some(attach.join().await.map_err(|error| answer::internal(WHAT, &error))?);
    }
    Ok((Box::new(attach), target))
}

impl Attach {
    async fn join(&mut self) -> Result<Streams, Error> {
        self.runtime.attach(&self.id, &self.spec).await
    }
}

#[async_trait::async_trait]
impl Work for Attach {
    async fn run(mut self: Box<Self>, incoming: &mut Incoming, outgoing: &Outgoing) -> Ended {
        let joined = match self.streams.take() {
            Some(streams) => Ok(streams),
            None => self.join().await,
        };
        let Streams { mut output, input } = match joined {
            Ok(streams) => streams,
            Err(error) => return answer::broken(WHAT, &error),
        };
        let Self { runtime, id, types, closes, .. } = *self;
        // An input that is not passed on is held all the same: see above.
        let (writer, _held) = if types { (Some(input), None) } else { (None, Some(input)) };
        let mut stdin = Stdin { writer, closes };
        let terminal = Terminal::Container(Arc::clone(&runtime), id);
        let spoken = tokio::select! {
            spoken = speak(&mut output, outgoing) => spoken,
            () = listen(incoming, &mut stdin, &terminal) => return Ended::Left,
        };
        match spoken {
            Err(ended) => ended,
            Ok(Err(error)) => answer::broken(WHAT, &error),
            // Whatever the container's exit code, as upstream: clients read it from the pod's status, and take a failure
            // here for one of the connection.
            Ok(Ok(())) => match runtime.info().await {
                Ok(_) => answer::success(),
                Err(error) => answer::broken(WHAT, &error),
            },
        }
    }
}
