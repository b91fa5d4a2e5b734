//! Everything that requests need, made once at start.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::kinds::{self, KindInfo};
use gantry_api::status::Status;
use gantry_common::clock::SharedClock;
use gantry_common::shutdown::Shutdown;
use gantry_common::token_keys::Keys;
use gantry_store::Store;
use gantry_store::cache::{Cache, View, ViewSpec};
use http::HeaderValue;
use jiff::Timestamp;
use rand::Rng;
use tokio::sync::watch;

use crate::admission::Chain;
use crate::aggregate::Aggregator;
use crate::audit;
use crate::auth::MASTERS;
use crate::auth::authenticator::Authenticator;
use crate::config::Config;
use crate::custom::form::Forms;
use crate::dial;
use crate::encryption::Keyring;
use crate::event_leases::EventLeases;
use crate::flows::Flows;
use crate::grpc::answers::Answers;
use crate::metrics::Metrics;
use crate::pipeline::turns::Turns;
use crate::rbac::authorizer::Authorizer;
use crate::request::Caller;
use crate::rest::health::Asked;
use crate::rest::watch::crowd::Crowds;
use crate::served::Registry;
use crate::server::limits::{Limits, Slot};
use crate::sessions::Sessions;
use crate::sessions::bounds::Places;
use crate::stats::Stats;
use crate::webhooks::Webhooks;

/// One running server.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) clock: SharedClock,
    /// When the server was started.
    pub(crate) born: Timestamp,
    pub(crate) store: Arc<dyn Store>,
    /// What is stored encrypted, where anything is.
    pub(crate) keyring: Option<Arc<Keyring>>,
    pub(crate) cache: Cache,
    pub(crate) authenticator: Authenticator,
    pub(crate) authorizer: Authorizer,
    pub(crate) admission: Chain,
    pub(crate) keys: Arc<Keys>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) event_leases: EventLeases,
    pub(crate) sessions: Sessions,
    pub(crate) places: Arc<Places>,
    /// Of batches that are open.
    pub(crate) batches: Arc<Places>,
    /// Answers of other API servers to calls of gRPC.
    pub(crate) answers: Arc<Answers>,
    pub(crate) audit: audit::Log,
    /// What browsers are told of TLS.
    pub(crate) transport_security: Option<HeaderValue>,
    pub(crate) stats: Stats,
    /// The kinds that are served now.
    pub(crate) kinds: Arc<Registry>,
    /// How stored custom objects are read.
    pub(crate) forms: Arc<Forms>,
    /// Who serves what besides this server.
    pub(crate) aggregator: Aggregator,
    /// Watchers that get the same bytes.
    pub(crate) crowds: Arc<Crowds>,
    pub(crate) flows: Flows,
    pub(crate) turns: Turns,
    pub(crate) webhooks: Webhooks,
    /// What health checks know of the store.
    pub(crate) health: Asked,
    pub(crate) shutdown: Shutdown,
    /// Whether the bootstrap objects are there.
    pub(crate) started: watch::Sender<bool>,
    /// Whether what this server serves stands in APIServices.
    pub(crate) registered: watch::Sender<bool>,
    /// Whether other API servers can read whom to believe.
    pub(crate) introduced: watch::Sender<bool>,
}

impl App {
    /// The cache's view of a stored kind. That of a custom kind which has just gone is empty, and serves no watch.
    pub(crate) fn view(&self, kind: &KindInfo) -> View {
        let found = self.cache.view(&kind.storage_prefix);
        found.unwrap_or_else(|| self.cache.empty_view(ViewSpec::new(kind.storage_prefix.clone())))
    }

    /// A place among the requests in flight, which both edges take before a body is read: bodies are what takes most memory.
    /// Members of system:masters need none, so that an administrator gets through a flood.
    ///
    /// # Errors
    /// 429 when all places are taken.
    pub(crate) async fn place(&self, caller: &Caller, write: bool) -> Result<Slot, Status> {
        let flow = caller.flow.as_ref();
        if caller.user.in_group(MASTERS) {
            return Ok(self.limits.exempt(write, flow));
        }
        self.limits.enter(write, flow, &caller.notes).await.inspect_err(|_| self.metrics.refused.add(1))
    }

    /// How long a watch without a wish of its own lives: spread, so that clients do not come back all at once.
    pub(crate) fn watch_lifetime(&self) -> Duration {
        let least = self.config.min_request_timeout_seconds.max(1);
        Duration::from_secs(rand::rng().random_range(least..=least * 2))
    }
}

/// The views of the cache: one per stored kind.
pub(crate) fn views() -> Vec<ViewSpec> {
    let stored = kinds::all().iter().filter(|kind| kind.stored());
    let mut views: Vec<ViewSpec> = Vec::new();
    for kind in stored {
        let mut view = ViewSpec::new(kind.storage_prefix.clone());
        if kind.is("", "Pod") {
            view = view.index(|pod| Some(pod.scalar_at(&["spec", "nodeName"])?.as_ref().into()));
        }
        if kind.is("", "PersistentVolume") {
            view = view.index(|volume| {
                let [namespace, name] = ["namespace", "name"].map(|key| volume.scalar_at(&["spec", "claimRef", key]));
                Some(format!("{}/{}", namespace?, name?).into())
            });
        }
        if kind.is("discovery.k8s.io", "EndpointSlice") {
            view = view.index(dial::service_of);
        }
        if !views.iter().any(|v| v.prefix == view.prefix) {
            views.push(view);
        }
    }
    views
}
