//! A session from its begin to its end, which comes in bounded time whatever its reader does.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{FusedFuture, FutureExt};
use gantry_api::status::Status;
use gantry_common::shutdown::Shutdown;
use gantry_proto::v1::session_frame::Frame;
use k8s_openapi::api::core::v1::Pod;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Context, Sessions, Work,
    answer::{self, Ended},
    control,
    link::{Incoming, Outgoing},
    stopping,
    target::{self, Target},
};

/// How long the other side may take to start a deferred session; the API server itself waits 30 s for its client.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long a reader has to take what is left of a log whose pod is gone.
const LOG_REST: Duration = Duration::from_secs(30);
/// How long a reader has to take what is on its way, once a session may not last.
const PATIENCE: Duration = Duration::from_secs(5);

/// With what a session ends.
pub(super) enum With {
    /// With itself.
    Nothing,
    /// With the pod's sandbox and its object.
    Sandbox(Box<Target>),
    /// Soon after the pod's object: what it said is there for a little longer.
    Log(Arc<Pod>),
}

impl With {
    /// Resolves once the session may not last, with what it is told.
    async fn gone(&self, context: &Context) -> Status {
        let pods = context.pods.as_ref();
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Sandbox(target) => target.gone(pods, &context.deps.observed).await,
            Self::Log(pod) => {
                let status = target::deleted(pods, pod).await;
                sleep(LOG_REST).await;
                status
            }
        }
    }
}

/// A session that the node has accepted.
pub(crate) struct Session {
    pub(super) work: Box<dyn Work>,
    pub(super) with: With,
    pub(super) deferred: bool,
    pub(super) sessions: Arc<Sessions>,
    pub(super) place: OwnedSemaphorePermit,
}

impl Session {
    /// Serves to the end, whoever brings it about, and says how it ended: where the stream is full and nobody takes what is
    /// on it, by `past` it. `closed` says, past the stream as well, that the other side has left.
    pub(crate) async fn run<F>(
        self,
        mut incoming: Incoming,
        outgoing: Outgoing,
        closed: CancellationToken,
        past: impl FnOnce(Bytes) -> F,
    ) where
        F: Future<Output = ()>,
    {
        let Self { work, with, deferred, sessions, place: _place } = self;
        let context = &sessions.context;
        let over = async {
            tokio::select! {
                status = with.gone(context) => status,
                () = context.shutdown.requested() => stopping(),
            }
        };
        let mut over = pin!(over.fuse());
        let ended = tokio::select! {
            biased;
            ended = serve(work, deferred, &mut incoming, &outgoing) => ended,
            () = outgoing.closed() => Ended::Left,
            () = closed.cancelled() => Ended::Left,
            status = &mut over => answer::failure(&status),
        };
        let Ended::Status(status) = ended else { return };
        let patience = async {
            if !over.is_terminated() {
                over.await;
            }
            patience(&context.shutdown).await;
        };
        let told = tokio::select! {
            () = tell(status.clone(), &mut incoming, outgoing) => true,
            () = patience => false,
            () = closed.cancelled() => true,
        };
        if !told && !context.shutdown.is_requested() {
            let past = async {
                past(status).await;
                incoming.left().await;
            };
            drop(timeout(PATIENCE, past).await);
        }
    }
}

async fn serve(work: Box<dyn Work>, deferred: bool, incoming: &mut Incoming, outgoing: &Outgoing) -> Ended {
    if deferred && !matches!(timeout(START_WITHIN, incoming.start()).await, Ok(Ok(()))) {
        return Ended::Left;
    }
    work.run(incoming, outgoing).await
}

/// Says how the session ended, and waits until the other side has taken everything: leaving earlier would lose what is
/// still on its way.
async fn tell(status: Bytes, incoming: &mut Incoming, outgoing: Outgoing) {
    if outgoing.send(Frame::Status(status)).await.is_ok() {
        drop(outgoing);
        incoming.left().await;
    }
}

/// As long as the other side may take; less when the kubelet stops.
async fn patience(shutdown: &Shutdown) {
    let stopping = async {
        shutdown.requested().await;
        sleep(control::FAREWELL).await;
    };
    tokio::select! {
        () = sleep(PATIENCE) => {}
        () = stopping => {}
    }
}
