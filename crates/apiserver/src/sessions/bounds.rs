//! How many sessions there may be: per user, so that one cannot use up the server, and altogether.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_api::status::Status;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Places for sessions.
pub(crate) struct Places {
    per_user: usize,
    all: usize,
    taken: Mutex<HashMap<String, usize>>,
    open: watch::Sender<usize>,
}

/// Held as long as a session lasts.
pub(crate) struct Place {
    places: Arc<Places>,
    user: String,
}

impl Places {
    pub(crate) fn new(per_user: usize, all: usize) -> Self {
        Self { per_user, all, taken: Mutex::default(), open: watch::Sender::new(0) }
    }

    /// Takes a place for a user.
    ///
    /// # Errors
    /// 429 that names the bound which is reached.
    pub(crate) fn take(self: &Arc<Self>, user: &str) -> Result<Place, Status> {
        let mut taken = self.taken.lock();
        let (all, own) = (*self.open.borrow(), taken.get(user).copied().unwrap_or(0));
        if own >= self.per_user {
            let limit = self.per_user;
            let why = format!("user {user:?} has {own} sessions open, and --max-sessions-per-user is {limit}");
            return Err(Status::too_many_requests(&why, 1));
        }
        if all >= self.all {
            let why = format!("{all} sessions are open on this API server, and --max-sessions is {}", self.all);
            return Err(Status::too_many_requests(&why, 1));
        }
        taken.insert(user.to_owned(), own + 1);
        self.open.send_replace(all + 1);
        Ok(Place { places: self.clone(), user: user.to_owned() })
    }

    /// Waits until no session is open.
    pub(crate) async fn empty(&self) {
        // The sender is this very object: it cannot be gone.
        drop(self.open.subscribe().wait_for(|open| *open == 0).await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.user);
            }
        }
        self.places.open.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn both_bounds_hold_and_are_named() {
        let places = Arc::new(Places::new(2, 3));
        let refused = |user: &str| places.take(user).map(drop).map_err(|s| (s.code, s.message));
        let first = [places.take("alice").expect("free"), places.take("alice").expect("free")];
        let (code, why) = refused("alice").expect_err("her bound");
        assert_eq!((code, why.contains("--max-sessions-per-user is 2")), (429, true), "{why}");
        let bob = places.take("bob").expect("he has his own");
        let (code, why) = refused("carol").expect_err("the server's bound");
        assert_eq!((code, why.contains("--max-sessions is 3")), (429, true), "{why}");
        assert!(places.empty().now_or_never().is_none());
        drop(first);
        assert!(refused("alice").is_ok());
        drop(bob);
        assert!(places.empty().now_or_never().is_some());
        assert!(places.taken.lock().is_empty(), "users without sessions are forgotten");
    }
}
