//! What a proxied request holds as long as it lasts: a place among all sessions, and a right that is looked at again.

use std::sync::Arc;

use gantry_api::status::Status;

use crate::app::App;
use crate::auth::credential::Credential;
use crate::rbac::rule::Attributes;
use crate::rest::handler::Incoming;
use crate::sessions::bounds::Place;
use crate::sessions::right::Right;

/// Held by a proxied request.
pub(super) struct Guard {
    app: Arc<App>,
    right: Right,
    _place: Place,
}

impl Guard {
    /// Takes a place for a request whose right has been checked.
    ///
    /// # Errors
    /// 429 when there is none.
    pub(super) fn take(app: &Arc<App>, request: &Incoming, needed: Attributes) -> Result<Self, Status> {
        let place = app.places.take(&request.caller.user.name)?;
        let credential = Credential::of(request.origin.as_ref(), &request.headers);
        let right = Right::new(app, credential, vec![needed])?;
        let kept = app.metrics.sessions("proxy");
        kept.opened.add(1);
        kept.open.add(1);
        Ok(Self { app: app.clone(), right, _place: place })
    }

    /// Waits until the request may not go on, and says why: its right has ended, or the server stops.
    pub(super) async fn ends(self) -> Status {
        self.right.ends().await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.app.metrics.sessions("proxy").open.sub(1);
    }
}
