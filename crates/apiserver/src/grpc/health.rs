//! `grpc.health.v1`: whether the server can serve, for load balancers and probes; read without credentials, as `/readyz` is.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use gantry_api::status::Status;
use gantry_proto::v1::{cluster_server, nodes_server, objects_server, sessions_server};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::{Request, Response};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as Service, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::convert;
use crate::app::App;
use crate::rest::health;
use crate::server::connection::Origin;
use crate::server::standing::Allowed;

/// All services are served or none is; `""` stands for the server.
const SERVICES: &[&str] = &[
    "",
    objects_server::SERVICE_NAME,
    nodes_server::SERVICE_NAME,
    sessions_server::SERVICE_NAME,
    cluster_server::SERVICE_NAME,
];
/// An answer of the checks is good for this long: whoever asks needs no credentials, and must not keep etcd busy.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// How often watchers look whether etcd still answers.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Watches at once.
const WATCHES_MAX: usize = 1000;

/// Serves the state of the server.
#[derive(Clone)]
pub(crate) struct Health {
    app: Arc<App>,
    checked: Arc<Mutex<Option<(Instant, bool)>>>,
    watches: Arc<Semaphore>,
}

pub(crate) fn service(app: &Arc<App>) -> HealthServer<Health> {
    let (checked, watches) = (Arc::default(), Arc::new(Semaphore::new(WATCHES_MAX)));
    HealthServer::new(Health { app: app.clone(), checked, watches })
}

impl Health {
    async fn status(&self) -> ServingStatus {
        if self.app.shutdown.is_requested() {
            return ServingStatus::NotServing;
        }
        let mut checked = self.checked.lock().await;
        let ready = match *checked {
            // What is not ready yet may be so in a moment.
            Some((at, true)) if at.elapsed() < GOOD_FOR => true,
            _ => {
                let ready = health::is_ready(&self.app).await;
                *checked = Some((Instant::now(), ready));
                ready
            }
        };
        if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
    }

    /// Returns when the state may have changed.
    async fn changed(&self) {
        let mut started = self.app.started.subscribe();
        let begun = *started.borrow();
        tokio::select! {
            _ = started.wait_for(|now| *now != begun) => {}
            () = self.app.shutdown.requested() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// A watch between two of its messages.
struct Watching {
    health: Health,
    known: bool,
    last: Option<ServingStatus>,
    _place: OwnedSemaphorePermit,
    /// Its connection stays although nobody has said who he is.
    _allowed: Option<Allowed>,
}

impl Watching {
    /// The next state that differs from the one before; the end when the server stops, so that draining need not wait.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, tonic::Status>, Self)> {
        loop {
            let stopping = self.health.app.shutdown.is_requested();
            let now = if self.known { self.health.status().await } else { ServingStatus::ServiceUnknown };
            if self.last != Some(now) {
                self.last = Some(now);
                return Some((Ok(HealthCheckResponse { status: now.into() }), self));
            }
            if stopping {
                return None;
            }
            self.health.changed().await;
        }
    }
}

#[tonic::async_trait]
impl Service for Health {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, tonic::Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, tonic::Status> {
        let service = request.into_inner().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(tonic::Status::not_found(format!("there is no service {service:?} here")));
        }
        Ok(Response::new(HealthCheckResponse { status: self.status().await.into() }))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, tonic::Status> {
        let place = self.watches.clone().try_acquire_owned().map_err(|_| {
            let why = format!("{WATCHES_MAX} watches of the server's health are open already, please try again later");
            convert::failed(Status::too_many_requests(&why, 1))
        })?;
        let allowed = request.extensions().get::<Arc<Origin>>().map(|origin| origin.standing.allow());
        let known = SERVICES.contains(&request.into_inner().service.as_str());
        let watching = Watching { health: self.clone(), known, last: None, _place: place, _allowed: allowed };
        Ok(Response::new(Box::pin(futures::stream::unfold(watching, Watching::next))))
    }
}
