//! How many of something that lasts there may be: per user, so that one cannot use up the server, and altogether.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_api::status::Status;
use parking_lot::Mutex;
use tokio::sync::watch;

/// What there may be so many of, and what says how many.
struct Words {
    what: &'static str,
    per_user: &'static str,
    all: &'static str,
}

/// Places for sessions, or for streams.
pub(crate) struct Places {
    words: Words,
    per_user: usize,
    all: usize,
    taken: Mutex<HashMap<String, usize>>,
    open: watch::Sender<usize>,
}

/// Held as long as what it is for lasts.
pub(crate) struct Place {
    places: Arc<Places>,
    user: String,
}

impl Places {
    /// For sessions.
    pub(crate) fn sessions(per_user: usize, all: usize) -> Self {
        let words = Words { what: "sessions", per_user: "--max-sessions-per-user is", all: "--max-sessions is" };
        Self::new(words, per_user, all)
    }

    /// For batches over gRPC, of which any number of users may have theirs.
    pub(crate) fn batches(per_user: usize) -> Self {
        let words = Words { what: "batches", per_user: "a user may have", all: "there may be" };
        Self::new(words, per_user, usize::MAX)
    }

    fn new(words: Words, per_user: usize, all: usize) -> Self {
        Self { words, per_user, all, taken: Mutex::default(), open: watch::Sender::new(0) }
    }

    /// Takes a place for a user.
    ///
    /// # Errors
    /// 429 that names the bound which is reached.
    pub(crate) fn take(self: &Arc<Self>, user: &str) -> Result<Place, Status> {
        let mut taken = self.taken.lock();
        let Words { what, per_user: of_user, all: of_all } = self.words;
        let (all, own) = (*self.open.borrow(), taken.get(user).copied().unwrap_or(0));
        if own >= self.per_user {
            let why = format!("user {user:?} has {own} {what} open, and {of_user} {}", self.per_user);
            return Err(Status::too_many_requests(&why, 1));
        }
        if all >= self.all {
            let why = format!("{all} {what} are open on this API server, and {of_all} {}", self.all);
            return Err(Status::too_many_requests(&why, 1));
        }
        taken.insert(user.to_owned(), own + 1);
        self.open.send_replace(all + 1);
        Ok(Place { places: self.clone(), user: user.to_owned() })
    }

    /// Waits until nothing is open.
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
        let places = Arc::new(Places::sessions(2, 3));
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
