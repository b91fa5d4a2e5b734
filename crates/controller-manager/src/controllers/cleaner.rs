//! Controllers that look at all objects of a kind from time to time and clean up some of them. What cannot be cleaned up is left
//! to the next round, and keeps nothing else from being cleaned up.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use gantry_client::{Key, Object};
use gantry_common::error_chain;
use gantry_controller::{Error, Outcome, Reconciler, Runner};
use tokio_util::sync::CancellationToken;

/// What is cleaned up, and when.
#[async_trait]
pub(super) trait Cleaner: Send + Sync + 'static {
    /// The controller's name in its log.
    const NAME: &'static str;
    /// From the end of one round to the next.
    const EVERY: Duration;
    /// What is looked at.
    type Object: Object;
    /// What is the same for all objects of a round.
    type Round: Send + Sync;

    /// Begins a round; None = there is nothing to do in it.
    ///
    /// # Errors
    /// What is needed cannot be read: it is tried again soon.
    async fn begin(&self) -> Result<Option<Self::Round>, Error>;

    /// All objects.
    fn objects(&self) -> Vec<Arc<Self::Object>>;

    /// Cleans an object up, if it is to be.
    ///
    /// # Errors
    /// The object stays for the next round.
    async fn clean(&self, round: &Self::Round, object: &Self::Object) -> Result<(), Error>;
}

/// Runs a cleaner until `stop`.
pub(super) async fn run<C: Cleaner>(stop: CancellationToken, cleaner: C) {
    let runner = Runner::new(C::NAME, 1, stop);
    runner.queue().add(Key::cluster("all"));
    runner.run(Arc::new(Rounds(cleaner))).await;
}

struct Rounds<C>(C);

#[async_trait]
impl<C: Cleaner> Reconciler for Rounds<C> {
    async fn reconcile(&self, _: &Key) -> Result<Outcome, Error> {
        if let Some(round) = self.0.begin().await? {
            for object in self.0.objects() {
                let Err(error) = self.0.clean(&round, &object).await else { continue };
                if error.is_fenced() {
                    return Err(error);
                }
                let (controller, object, error) = (C::NAME, object.key(), error_chain(&error));
                tracing::warn!(controller, %object, error, "cannot clean up, the next round tries again");
            }
        }
        Ok(Outcome::After(C::EVERY))
    }
}
