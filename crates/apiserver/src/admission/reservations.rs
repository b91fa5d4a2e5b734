//! What a request has reserved of quotas before its own transaction, so that it need not be reserved twice, nor stay reserved
//! when the request fails.
//!
//! A count of a quota knows nothing of what is only reserved. Each count changes the quota's epoch, a key of its own, in the
//! same transaction; the transaction that stores the object requires the epoch in which it reserved. Other reservations leave
//! the epoch alone, so writers do not get into each other's way because of it. The object's transaction also changes the
//! quota's progress, another key, which a count requires to be what it was when it began to look: an object that is stored
//! while others are counted is not missed.

use std::collections::BTreeMap;

use gantry_api::quota::Usage;
use parking_lot::Mutex;

use crate::request::Target;

/// What is reserved of one quota.
#[derive(Debug, Clone)]
pub(super) struct Reservation {
    pub(super) quota: Target,
    /// The revision of the quota's epoch; 0: it was never counted.
    pub(super) epoch: u64,
    pub(super) usage: Usage,
}

/// What one request has reserved, by the quota's key.
#[derive(Debug, Default)]
pub(crate) struct Reserved(Mutex<BTreeMap<String, Reservation>>);

impl Reserved {
    pub(super) fn of(&self, quota: &Target) -> Option<Reservation> {
        self.0.lock().get(&quota.key()).cloned()
    }

    pub(super) fn note(&self, reservation: Reservation) {
        self.0.lock().insert(reservation.quota.key(), reservation);
    }

    pub(super) fn forget(&self, quota: &Target) {
        self.0.lock().remove(&quota.key());
    }

    /// All of it; nothing is left.
    pub(super) fn take(&self) -> Vec<Reservation> {
        std::mem::take(&mut *self.0.lock()).into_values().collect()
    }
}

/// The key that each count of a quota changes.
pub(super) fn epoch_key(quota: &Target) -> String {
    format!("/registry/gantry.dev/quota-epochs/{}/{}", quota.namespace, quota.name)
}

/// The key that each object changes which is stored after a reservation.
pub(super) fn progress_key(quota: &Target) -> String {
    format!("/registry/gantry.dev/quota-progress/{}/{}", quota.namespace, quota.name)
}

/// All keys of a quota beside the quota itself.
pub(crate) fn keys(quota: &Target) -> [String; 2] {
    [epoch_key(quota), progress_key(quota)]
}
