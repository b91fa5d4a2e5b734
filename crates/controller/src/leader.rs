//! Leader election on a Lease, with a fence.
//!
//! The timing is upstream's (client-go tools/leaderelection): a lease of 15 s, renewed every 2 s; a leader that could not
//! renew for 10 s stops. That alone does not keep a paused leader from writing when it wakes up, so every write carries
//! the revision at which its leader took over, and the API server refuses it once another one has (`Fenced`).

mod election;

use std::{future::Future, time::Duration};

use async_trait::async_trait;
use gantry_client::{Api, Client, Fence};
use gantry_common::{clock::SharedClock, shutdown::Shutdown};
use k8s_openapi::api::coordination::v1::Lease;
use tokio_util::sync::CancellationToken;

use self::election::{Election, Renewal};

/// Why the election ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process leads, or the lease could not be renewed in time.
    #[error("leadership of {lease} was lost: {why}")]
    Lost {
        /// `namespace/name`.
        lease: String,
        /// What happened.
        why: String,
    },
}

/// What is elected for, and how long things take.
#[derive(Debug, Clone)]
pub struct Config {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name, the component's.
    pub name: String,
    /// Who we are; unique per process start.
    pub identity: String,
    /// Others wait this long after the last renewal that they saw.
    pub lease_duration: Duration,
    /// The leader stops when it could not renew for this long.
    pub renew_deadline: Duration,
    /// Between attempts.
    pub retry_period: Duration,
}

impl Config {
    /// Upstream's timing for `component` in `kube-system`, with a fresh identity.
    #[must_use]
    pub fn new(component: &str) -> Self {
        // Where the kernel hides its name the random part alone identifies us.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            namespace: "kube-system".to_owned(),
            name: component.to_owned(),
            identity: format!("{}_{}", host.trim(), uuid::Uuid::new_v4()),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }

    fn lease(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// What a leader holds while it leads.
#[derive(Clone)]
pub struct Leadership {
    /// Writes through this client are refused once another leader has taken over.
    pub client: Client,
    /// Who took over when.
    pub fence: Fence,
    /// Cancelled when leadership ends, for whatever reason. Whatever writes must stop with it at once; it may also be
    /// cancelled by those who learn that another leader has taken over.
    pub lost: CancellationToken,
}

/// Where the lease is kept.
#[async_trait]
trait Leases: Send + Sync {
    async fn get(&self) -> gantry_client::Result<Option<Lease>>;
    async fn create(&self, lease: &Lease) -> gantry_client::Result<Lease>;
    async fn update(&self, lease: &Lease) -> gantry_client::Result<Lease>;
}

struct Remote {
    api: Api<Lease>,
    name: String,
}

#[async_trait]
impl Leases for Remote {
    async fn get(&self) -> gantry_client::Result<Option<Lease>> {
        self.api.get_opt(&self.name).await
    }

    async fn create(&self, lease: &Lease) -> gantry_client::Result<Lease> {
        self.api.create(lease).await
    }

    async fn update(&self, lease: &Lease) -> gantry_client::Result<Lease> {
        self.api.update(lease).await
    }
}

/// Waits to become leader, then runs `body` until it ends, shutdown is asked for or leadership is lost; gives the lease back
/// unless it is lost. A daemon that lost its lease exits and starts anew, so that nothing of the old reign lives on.
///
/// # Errors
/// When leadership was lost.
pub async fn run<F, Fut>(
    client: &Client,
    config: Config,
    clock: SharedClock,
    shutdown: &Shutdown,
    body: F,
) -> Result<(), Error>
where
    F: FnOnce(Leadership) -> Fut,
    Fut: Future<Output = ()>,
{
    let leases = Remote { api: client.namespaced::<Lease>(&config.namespace), name: config.name.clone() };
    let lease = config.lease();
    let lead = |revision, lost| {
        let fence = Fence { lease, revision };
        body(Leadership { client: client.with_fence(&fence), fence, lost })
    };
    serve(&leases, config, clock, shutdown, lead).await
}

async fn serve<F, Fut>(
    leases: &dyn Leases,
    config: Config,
    clock: SharedClock,
    shutdown: &Shutdown,
    lead: F,
) -> Result<(), Error>
where
    F: FnOnce(u64, CancellationToken) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut election = Election::new(leases, config.clone(), clock);
    tracing::info!(lease = config.lease(), identity = config.identity, "waiting to become leader");
    let revision = tokio::select! {
        revision = election.acquire() => revision,
        () = shutdown.requested() => return Ok(()),
    };
    tracing::info!(lease = config.lease(), revision, "became leader");
    let lost = CancellationToken::new();
    let ended = {
        let body = lead(revision, lost.clone());
        tokio::pin!(body);
        let ended = tokio::select! {
            ended = election.hold() => Err(ended),
            () = lost.cancelled() => Err(Renewal::Taken("another leader fenced this one off".to_owned())),
            () = shutdown.requested() => Ok(()),
            () = &mut body => Ok(()),
        };
        // Everything that the reign started stops before the lease is given back.
        lost.cancel();
        ended
    };
    match ended {
        Ok(()) => {
            election.release().await;
            Ok(())
        }
        Err(renewal) => Err(Error::Lost { lease: config.lease(), why: renewal.to_string() }),
    }
}

#[cfg(test)]
mod tests;
