//! Events expire by an etcd lease; many share one, since a lease costs etcd a write of its own.

use std::time::Duration;

use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_store::{LeaseId, Store};
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
pub(crate) struct EventLeases(Mutex<State>);

#[derive(Default)]
struct State {
    shared: Option<Shared>,
    /// When the store last refused one, and why.
    failed: Option<(Instant, Status)>,
}

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
        self.shared(&*app.store, app.config.event_ttl).await
    }

    /// The lease to use instead of one that the store does not know any more.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn instead_of(&self, app: &App, lost: LeaseId) -> Result<LeaseId, Status> {
        self.0.lock().await.shared.take_if(|shared| shared.id == lost);
        self.shared(&*app.store, app.config.event_ttl).await
    }

    async fn shared(&self, store: &dyn Store, ttl: Duration) -> Result<LeaseId, Status> {
        let came = Instant::now();
        let mut state = self.0.lock().await;
        if let Some(lease) = state.shared.as_mut()
            && lease.since.elapsed() < SHARED_FOR
            && lease.keys < KEYS_MAX
        {
            lease.keys += 1;
            return Ok(lease.id);
        }
        // Who waited for a lease that was refused was refused it, too: each would wait for one of its own in turn.
        if let Some((at, status)) = &state.failed
            && *at > came
        {
            return Err(status.clone());
        }
        match store.lease_grant(ttl + SHARED_FOR).await.map_err(store_failed) {
            Ok(id) => {
                state.shared = Some(Shared { id, since: Instant::now(), keys: 1 });
                Ok(id)
            }
            Err(status) => {
                state.failed = Some((Instant::now(), status.clone()));
                Err(status)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_store::MemoryStore;

    use super::*;

    const TTL: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_lease_that_is_refused_does_not_wait_again() {
        let (store, leases) = (MemoryStore::new(), EventLeases::default());
        let slow = Duration::from_secs(10);
        store.faults().delay(slow);
        store.faults().fail_next(1);
        let began = Instant::now();
        let asked = (0..100).map(|_| leases.shared(&store, TTL));
        let answers = futures::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(began.elapsed(), slow);
        leases.shared(&store, TTL).await.expect("the next one asks again");
    }
}
