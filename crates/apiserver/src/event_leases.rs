//! Events expire by an etcd lease; many share one, since a lease costs etcd a write of its own.

use std::time::Duration;

use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_store::LeaseId;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::app::App;
use crate::pipeline::current::store_failed;

/// A lease is handed out for this long; its events live that much longer than they must.
const SHARED_FOR: Duration = Duration::from_secs(60);
/// Keys per lease at most: the end of a lease deletes them all at once.
const KEYS_MAX: usize = 1000;

struct Shared {
    id: LeaseId,
    since: Instant,
    keys: usize,
}

/// The lease that is being handed out.
#[derive(Default)]
pub(crate) struct EventLeases(Mutex<Option<Shared>>);

/// Whether objects of this kind expire: events, in both of their forms.
pub(crate) fn expires(kind: &KindInfo) -> bool {
    kind.is("", "Event") || kind.is("events.k8s.io", "Event")
}

impl EventLeases {
    /// The lease for a new object of `kind`; 0 for kinds that do not expire.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn lease_for(&self, app: &App, kind: &KindInfo) -> Result<LeaseId, Status> {
        if !expires(kind) {
            return Ok(0);
        }
        let mut shared = self.0.lock().await;
        if let Some(lease) = shared.as_mut()
            && lease.since.elapsed() < SHARED_FOR
            && lease.keys < KEYS_MAX
        {
            lease.keys += 1;
            return Ok(lease.id);
        }
        let ttl = app.config.event_ttl + SHARED_FOR;
        let id = app.store.lease_grant(ttl).await.map_err(store_failed)?;
        *shared = Some(Shared { id, since: Instant::now(), keys: 1 });
        Ok(id)
    }
}
