//! Acquiring, renewing and releasing one Lease.

use std::{fmt, time::Duration};

use gantry_common::clock::SharedClock;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use rand::Rng;
use tokio::time::{Instant, sleep, timeout};

use super::{Config, Leases};

/// Asks the API server to keep a fence beside the Lease.
const FENCED: &str = "gantry.dev/fenced";

/// How a reign ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Renewal {
    /// Someone else holds the lease.
    Taken(String),
    /// The API server did not confirm a renewal in time.
    TooLate(String),
}

impl fmt::Display for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(who) => f.write_str(who),
            Self::TooLate(why) => write!(f, "the lease could not be renewed in time ({why})"),
        }
    }
}

/// The result of one attempt.
enum Attempt {
    /// We hold the lease.
    Held,
    /// This one does.
    HeldBy(String),
}

pub(super) struct Election<'a> {
    leases: &'a dyn Leases,
    config: Config,
    clock: SharedClock,
    /// The lease as last seen, and when we saw it change: other machines' clocks do not matter.
    observed: Option<(Lease, Instant)>,
    /// The resource version of the write with which we took over, 0 while it is not known.
    fence: u64,
    confirmed: Instant,
}

impl<'a> Election<'a> {
    pub(super) fn new(leases: &'a dyn Leases, config: Config, clock: SharedClock) -> Self {
        Self { leases, config, clock, observed: None, fence: 0, confirmed: Instant::now() }
    }

    /// Tries until we hold the lease; returns the fence revision.
    pub(super) async fn acquire(&mut self) -> u64 {
        loop {
            match self.attempt().await {
                Ok(Attempt::Held) => return self.fence,
                Ok(Attempt::HeldBy(other)) => tracing::debug!(other, "another process leads"),
                Err(error) => {
                    let error = gantry_common::error_chain(&error);
                    tracing::warn!(lease = self.config.lease(), error, "cannot acquire the lease, trying again");
                }
            }
            sleep(self.config.retry_period.mul_f64(jitter())).await;
        }
    }

    /// Renews until that fails for too long or someone else holds the lease.
    pub(super) async fn hold(&mut self) -> Renewal {
        let mut why = "no answer".to_owned();
        loop {
            sleep(self.config.retry_period.min(self.left())).await;
            match timeout(self.left(), self.attempt()).await {
                Ok(Ok(Attempt::Held)) => continue,
                Ok(Ok(Attempt::HeldBy(other))) => return Renewal::Taken(format!("{other} holds the lease")),
                Ok(Err(error)) => {
                    why = gantry_common::error_chain(&error);
                    tracing::warn!(lease = self.config.lease(), error = why, "cannot renew the lease, trying again");
                }
                Err(_) => {}
            }
            if self.left().is_zero() {
                return Renewal::TooLate(why);
            }
        }
    }

    /// Gives the lease back, so that the next leader need not wait.
    pub(super) async fn release(&mut self) {
        let Some(lease) = self.held() else { return };
        match timeout(self.config.retry_period, self.leases.update(&self.vacated(lease))).await {
            Ok(Ok(_)) => tracing::info!(lease = self.config.lease(), "gave the lease back"),
            _ => tracing::warn!(lease = self.config.lease(), "could not give the lease back, the next leader waits"),
        }
    }

    fn left(&self) -> Duration {
        self.config.renew_deadline.saturating_sub(self.confirmed.elapsed())
    }

    async fn attempt(&mut self) -> gantry_client::Result<Attempt> {
        let started = Instant::now();
        if let Some(lease) = self.held().filter(|_| self.fence != 0) {
            match self.leases.update(&self.claim(Some(lease))).await {
                Ok(updated) => return Ok(self.confirm(updated, started, false)),
                // Someone else wrote it: look who.
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let Some(found) = self.leases.get().await? else {
            let created = self.leases.create(&self.claim(None)).await?;
            return Ok(self.confirm(created, started, true));
        };
        let seen_at = self.observe(&found);
        let spec = found.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let mine = holder == self.config.identity;
        let valid_for = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0));
        if !mine && !holder.is_empty() && seen_at.elapsed() < valid_for {
            return Ok(Attempt::HeldBy(holder));
        }
        // The answer to a takeover got lost, and with it the revision without which nothing can be written: it is made again.
        let unfenced = mine && self.fence == 0;
        let found = if unfenced { self.leases.update(&self.vacated(found)).await? } else { found };
        let updated = self.leases.update(&self.claim(Some(found))).await?;
        Ok(self.confirm(updated, started, unfenced || !mine))
    }

    /// The lease as we wrote it last, if we hold it: renewing it needs no reading.
    fn held(&self) -> Option<Lease> {
        let (lease, _) = self.observed.as_ref()?;
        let holder = lease.spec.as_ref()?.holder_identity.as_ref()?;
        (*holder == self.config.identity).then(|| lease.clone())
    }

    /// Notes the lease; returns when it last changed.
    fn observe(&mut self, found: &Lease) -> Instant {
        match &self.observed {
            Some((known, at)) if known.spec == found.spec => *at,
            _ => {
                let now = Instant::now();
                self.observed = Some((found.clone(), now));
                now
            }
        }
    }

    fn confirm(&mut self, written: Lease, started: Instant, took_over: bool) -> Attempt {
        if took_over {
            self.fence = written.metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0);
        }
        self.observed = Some((written, started));
        // Counted from before the call: others count from when they see it, which is later.
        self.confirmed = started;
        Attempt::Held
    }

    /// The lease, held by nobody.
    fn vacated(&self, mut lease: Lease) -> Lease {
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(self.clock.now()));
        lease
    }

    /// The lease as we want it to be.
    fn claim(&self, found: Option<Lease>) -> Lease {
        let now = MicroTime(self.clock.now());
        let mut lease = found.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                namespace: Some(self.config.namespace.clone()),
                name: Some(self.config.name.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        lease.metadata.annotations.get_or_insert_default().insert(FENCED.to_owned(), "true".to_owned());
        let old = lease.spec.take();
        let mine = old.as_ref().is_some_and(|s| s.holder_identity.as_ref() == Some(&self.config.identity));
        let transitions = old.as_ref().map_or(0, |s| s.lease_transitions.unwrap_or(0) + i32::from(!mine));
        let acquired = old.filter(|_| mine).and_then(|s| s.acquire_time);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.config.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.config.lease_duration.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: acquired.or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        });
        lease
    }
}

/// Spreads waiting candidates: 1 to 2.2 periods, as upstream.
fn jitter() -> f64 {
    rand::rng().random_range(1.0..=2.2)
}
