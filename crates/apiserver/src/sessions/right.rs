//! The right to a session: what the caller showed and what it must be allowed, looked at again while the session lasts.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::Status;

use crate::app::App;
use crate::auth::User;
use crate::auth::credential::{Credential, Shown};
use crate::rbac::rule::Attributes;

/// However short the period is set, checking must not become all that the server does.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// A right that was there when it was made.
pub(crate) struct Right {
    app: Arc<App>,
    credential: Credential,
    needed: Vec<Attributes>,
}

impl Right {
    /// Looks for the first time.
    ///
    /// # Errors
    /// 401 and 403.
    pub(crate) async fn new(app: &Arc<App>, credential: Credential, needed: Vec<Attributes>) -> Result<Self, Status> {
        Ok(Self::recorded(app, credential, needed, |_| ()).await?.0)
    }

    /// As [`Right::new`], with who has the right: the very one whom the decision was about. `record` is told who asks before it is
    /// known whether they may.
    ///
    /// # Errors
    /// As [`Right::new`].
    pub(crate) async fn recorded(
        app: &Arc<App>,
        credential: Credential,
        needed: Vec<Attributes>,
        record: impl FnOnce(&Shown),
    ) -> Result<(Self, User), Status> {
        let right = Self { app: app.clone(), credential, needed };
        let shown = right.shown().await?;
        record(&shown);
        right.require(&shown.acting).await?;
        Ok((right, shown.acting))
    }

    async fn shown(&self) -> Result<Shown, Status> {
        self.credential.show(&self.app, self.needed.first()).await
    }

    async fn require(&self, user: &User) -> Result<(), Status> {
        for needed in &self.needed {
            self.app.authorizer.require(&self.app, user, needed).await?;
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), Status> {
        self.require(&self.shown().await?.acting).await
    }

    /// How long the credential may go unchecked.
    fn pause(&self) -> Duration {
        let most = self.app.config.session_check_period.max(PAUSE_MIN);
        let Some(expires) = self.credential.expires(&self.app) else { return most };
        // It is good in the whole second that it names.
        let left = (expires - self.app.clock.now().as_second()).saturating_add(1).max(1);
        most.min(Duration::from_secs(left.unsigned_abs()))
    }

    /// Waits until the right ends, and says why in the words that a new request would get. Whenever roles or bindings change
    /// it looks again; a credential may also end by itself, so it looks at its expiry, and every now and then.
    pub(crate) async fn ends(&self) -> Status {
        let mut roles = self.app.authorizer.changes();
        loop {
            if let Err(status) = self.check().await {
                return status;
            }
            tokio::select! {
                changed = roles.changed() => {
                    if changed.is_err() {
                        return stopping();
                    }
                }
                () = tokio::time::sleep(self.pause()) => {}
                () = self.app.shutdown.requested() => return stopping(),
            }
        }
    }
}

fn stopping() -> Status {
    Status::unavailable("the API server is shutting down").retry_after(1)
}
