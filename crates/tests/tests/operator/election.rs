//! Which of several instances leads: the one whose name is in a Lease and who renews it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::Instant;

/// The lease's name.
pub(crate) const LEASE: &str = "site-operator";
/// How long a leader that is silent stays the leader.
const LASTS_SECONDS: i32 = 2;
/// A leader that could not renew for so long leads no more: before another one may.
const RENEW_LIMIT: Duration = Duration::from_millis(1300);
const RETRY: Duration = Duration::from_millis(200);

/// One candidate.
pub(crate) struct Election {
    leases: Api<Lease>,
    identity: String,
    /// The lease as it was seen last, and when it came to be so: clocks of others are not believed.
    seen: Option<(Lease, Instant)>,
}

impl Election {
    pub(crate) fn new(client: kube::Client, identity: &str) -> Self {
        Self { leases: Api::namespaced(client, "default"), identity: identity.to_owned(), seen: None }
    }

    /// Waits until this candidate leads.
    pub(crate) async fn win(&mut self) {
        while !self.try_once().await.unwrap_or(false) {
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Leads until it cannot be sure of it any more.
    pub(crate) async fn lead(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RETRY).await;
            let started = Instant::now();
            match tokio::time::timeout_at(renewed + RENEW_LIMIT, self.try_once()).await {
                Ok(Ok(true)) => renewed = started,
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(_)) if renewed.elapsed() > RENEW_LIMIT => return,
                Ok(Err(_)) => {}
            }
        }
    }

    /// Gives the lease back, so that nobody has to wait for its end.
    pub(crate) async fn resign(&mut self) {
        if let Some((mut lease, _)) = self.seen.take()
            && let Some(spec) = &mut lease.spec
        {
            (spec.holder_identity, spec.lease_duration_seconds) = (None, Some(1));
            drop(self.leases.replace(LEASE, &PostParams::default(), &lease).await);
        }
    }

    /// Takes or renews the lease if it may; whether it has it.
    async fn try_once(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(LEASE).await? else {
            let metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.record(0)) };
            return self.outcome(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let is_own = spec.holder_identity.as_ref() == Some(&self.identity);
        let is_free = spec.holder_identity.as_ref().is_none_or(String::is_empty);
        if !is_own && !is_free && !self.is_over(&lease) {
            return Ok(false);
        }
        let transitions = spec.lease_transitions.unwrap_or(0);
        let mut record = self.record(transitions + i32::from(!is_own));
        if is_own {
            record.acquire_time = spec.acquire_time;
        }
        lease.spec = Some(record);
        self.outcome(self.leases.replace(LEASE, &PostParams::default(), &lease).await)
    }

    fn record(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(LASTS_SECONDS),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// Whether another one's lease has not changed for as long as it lasts.
    fn is_over(&mut self, lease: &Lease) -> bool {
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let lasts = lease.spec.as_ref().and_then(|s| s.lease_duration_seconds).unwrap_or_default();
        match &self.seen {
            Some((known, since)) if version(known) == version(lease) => {
                since.elapsed() > Duration::from_secs(lasts.unsigned_abs().into())
            }
            _ => {
                self.seen = Some((lease.clone(), Instant::now()));
                false
            }
        }
    }

    fn outcome(&mut self, written: kube::Result<Lease>) -> kube::Result<bool> {
        match written {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            // Somebody else was faster.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
