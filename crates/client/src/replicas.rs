//! One or more API servers as one service: calls stay with a server until it cannot be reached, then go to another.
//!
//! A call is only ever sent again when no byte of its body has left: without a message no API server does anything.
//! Staying with one server keeps what a client reads in step with what it wrote; each client begins at a random one, so
//! that many clients spread over the servers.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::poll_fn;
use gantry_common::backoff::Backoff;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tonic::{
    ConnectError,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::{BoxError, Service};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// How long a server may take until a call has begun: connection, TLS, a free stream. A server that is stopped in the
/// middle of its work (or a machine that is gone) accepts connections for a while and says nothing.
const BEGIN_LIMIT: Duration = Duration::from_secs(7);
/// How long a server that could not be reached is left alone while there are others: doubles up to the maximum.
const AVOID_MIN: Duration = Duration::from_secs(1);
const AVOID_MAX: Duration = Duration::from_secs(10);

/// Where calls go.
#[derive(Clone)]
pub struct Replicas(Arc<Shared>);

struct Shared {
    all: Vec<Replica>,
    /// The one that answered last.
    current: AtomicUsize,
    begin_limit: Duration,
}

struct Replica {
    endpoint: Endpoint,
    channel: Mutex<Channel>,
    avoided: Mutex<Avoided>,
    /// Told when a call has found the server unreachable, for the calls that still wait for it.
    lost: Notify,
}

struct Avoided {
    until: Option<Instant>,
    backoff: Backoff,
}

impl Replica {
    fn is_avoided(&self, now: Instant) -> bool {
        self.avoided.lock().until.is_some_and(|until| now < until)
    }

    fn failed(&self) {
        let mut avoided = self.avoided.lock();
        if avoided.until.is_none_or(|until| Instant::now() >= until) {
            avoided.until = Some(Instant::now() + avoided.backoff.next());
        }
        drop(avoided);
        self.lost.notify_waiters();
    }

    fn answered(&self) {
        let mut avoided = self.avoided.lock();
        if avoided.until.take().is_some() {
            avoided.backoff.reset();
        }
    }
}

impl Replicas {
    /// Calls begin at the replica with the index `first`. Connects when there is a call.
    pub(crate) fn new(endpoints: Vec<Endpoint>, first: usize) -> Self {
        Self::with_limit(endpoints, first, BEGIN_LIMIT)
    }

    fn with_limit(endpoints: Vec<Endpoint>, first: usize, begin_limit: Duration) -> Self {
        let replica = |endpoint: Endpoint| Replica {
            channel: Mutex::new(endpoint.connect_lazy()),
            endpoint,
            avoided: Mutex::new(Avoided { until: None, backoff: Backoff::new(AVOID_MIN, AVOID_MAX) }),
            lost: Notify::new(),
        };
        let all = endpoints.into_iter().map(replica).collect();
        Self(Arc::new(Shared { all, current: AtomicUsize::new(first), begin_limit }))
    }
}

impl Shared {
    /// The order in which to try: the current one first, those that could not be reached a moment ago last.
    fn order(&self) -> Vec<usize> {
        let (count, now) = (self.all.len(), Instant::now());
        let first = self.current.load(Ordering::Relaxed) % count;
        let mut order: Vec<usize> = (0..count).map(|n| (first + n) % count).collect();
        order.sort_by_key(|i| self.all[*i].is_avoided(now));
        order
    }

    async fn send(&self, request: Request) -> Result<Response, BoxError> {
        let (head, mut body) = request.into_parts();
        let order = self.order();
        let mut rest = order.iter().peekable();
        loop {
            let index = *rest.next().expect("a client has at least one server, and the last one's answer is returned");
            let (parcel, body_again) = Parcel::pack(body);
            let request = Request::from_parts(head.clone(), parcel);
            let others = rest.peek().is_some();
            let failure = match self.attempt(index, request, &body_again, others).await {
                Some(Ok(response)) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(response);
                }
                Some(Err(failure)) => Some(failure),
                None => None,
            };
            match (body_again.lock().take(), failure) {
                (Some(untouched), failure) if others => {
                    if let Some(failure) = failure {
                        tracing::debug!(%failure, "an API server cannot be reached, the call goes to another");
                    }
                    body = untouched;
                }
                (_, Some(failure)) => return Err(failure),
                (_, None) => unreachable!("a call is only given up for another server while its body is untouched"),
            }
        }
    }

    /// One call to one server. `None` when the server is known to be unreachable before the call has begun.
    async fn attempt(
        &self,
        index: usize,
        request: Request,
        slot: &Slot,
        others: bool,
    ) -> Option<Result<Response, BoxError>> {
        let replica = &self.all[index];
        let mut lost = std::pin::pin!(replica.lost.notified());
        lost.as_mut().enable();
        let mut call = std::pin::pin!(async {
            let mut channel = replica.channel.lock().clone();
            poll_fn(|cx| channel.poll_ready(cx)).await?;
            channel.call(request).await
        });
        let late = tokio::time::sleep(self.begin_limit);
        let result = tokio::select! {
            result = &mut call => result,
            () = lost, if others => {
                if slot.lock().is_some() {
                    return None;
                }
                call.await
            }
            () = late => {
                if slot.lock().is_some() {
                    // What hangs there would hang the next call too.
                    *replica.channel.lock() = replica.endpoint.connect_lazy();
                    replica.failed();
                    let why = format!("no connection within {} s", self.begin_limit.as_secs_f32());
                    return Some(Err(Box::new(ConnectError(why.into()))));
                }
                call.await
            }
        };
        match &result {
            Ok(_) => replica.answered(),
            Err(failure) if is_connect(failure) => replica.failed(),
            Err(_) => {}
        }
        Some(result.map_err(BoxError::from))
    }
}

/// Whether the error is that no connection could be made.
fn is_connect(failure: &tonic::transport::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(failure);
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

impl Service<Request> for Replicas {
    type Response = Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Each call waits for the channel that it goes to.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { shared.send(request).await })
    }
}

/// A body until it is first asked for data; then it is no longer in here.
type Slot = Arc<Mutex<Option<Body>>>;

/// A body that can be had back as long as nobody has asked it for data.
struct Parcel {
    slot: Slot,
    taken: Option<Body>,
}

impl Parcel {
    fn pack(body: Body) -> (Body, Slot) {
        let slot = Arc::new(Mutex::new(Some(body)));
        (Body::new(Self { slot: Arc::clone(&slot), taken: None }), slot)
    }
}

impl http_body::Body for Parcel {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if self.taken.is_none() {
            let body = self.slot.lock().take();
            self.taken = body;
        }
        match &mut self.taken {
            Some(body) => Pin::new(body).poll_frame(cx),
            // It went to another server.
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        // Asking does not count as taking: a body that is empty from the start has nothing to send twice.
        match &self.taken {
            Some(body) => body.is_end_stream(),
            None => self.slot.lock().as_ref().is_none_or(http_body::Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.taken {
            Some(body) => body.size_hint(),
            None => self.slot.lock().as_ref().map(http_body::Body::size_hint).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
