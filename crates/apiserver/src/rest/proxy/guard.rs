//! What a proxied request holds as long as it lasts: a place among the others, and a right that is looked at again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::Status;
use http::HeaderMap;
use parking_lot::Mutex;

use crate::app::App;
use crate::rbac::rule::Attributes;
use crate::rest::handler::{self, Incoming};
use crate::server::connection::Origin;

/// Proxied requests at once, of one user and of all.
const PER_USER: usize = 512;
const ALL: usize = 4096;
/// How often the right is looked at again.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// Places for proxied requests.
#[derive(Default)]
pub(crate) struct Places(Mutex<(usize, HashMap<String, usize>)>);

struct Place {
    places: Arc<Places>,
    user: String,
}

impl Places {
    /// Proxied requests that are open.
    pub(crate) fn open(&self) -> usize {
        self.0.lock().0
    }

    fn take(self: &Arc<Self>, user: &str) -> Result<Place, Status> {
        let mut taken = self.0.lock();
        let (all, own) = (taken.0, taken.1.get(user).copied().unwrap_or(0));
        if own >= PER_USER || all >= ALL {
            let why =
                format!("user {user:?} has {own} of {PER_USER} proxied requests open, all together {all} of {ALL}");
            return Err(Status::too_many_requests(why, 1));
        }
        taken.0 = all + 1;
        taken.1.insert(user.to_owned(), own + 1);
        Ok(Place { places: self.clone(), user: user.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        taken.0 -= 1;
        if let Some(own) = taken.1.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.1.remove(&self.user);
            }
        }
    }
}

/// Held by a proxied request.
pub(super) struct Guard {
    app: Arc<App>,
    origin: Option<Arc<Origin>>,
    headers: HeaderMap,
    needed: Attributes,
    _place: Place,
}

impl Guard {
    /// Takes a place for a request whose right has been checked.
    ///
    /// # Errors
    /// 429 when there is none.
    pub(super) fn take(app: &Arc<App>, request: &Incoming, needed: Attributes) -> Result<Self, Status> {
        let place = app.proxied.take(&request.caller.user.name)?;
        let (origin, headers) = (request.origin.clone(), request.headers.clone());
        Ok(Self { app: app.clone(), origin, headers, needed, _place: place })
    }

    fn check(&self) -> Result<(), Status> {
        let caller = handler::caller(&self.app, self.origin.as_ref(), &self.headers)?;
        self.app.authorizer.require(&caller.user, &self.needed)
    }

    /// Waits until the request may not go on, and says why: its right has ended, or the server stops.
    pub(super) async fn ends(self) -> Status {
        loop {
            tokio::select! {
                () = tokio::time::sleep(CHECK_EVERY) => {}
                () = self.app.shutdown.requested() => {
                    return Status::unavailable("the API server is shutting down").retry_after(1);
                }
            }
            if let Err(status) = self.check() {
                return status;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_per_user_and_given_back() {
        let places = Arc::new(Places::default());
        let mut held: Vec<Place> = (0..PER_USER).map(|_| places.take("alice").expect("free")).collect();
        assert_eq!(places.take("alice").map(drop).expect_err("her bound").code, 429);
        held.push(places.take("bob").expect("he has his own"));
        drop(held);
        let taken = places.0.lock();
        assert_eq!((taken.0, taken.1.len()), (0, 0));
    }
}
