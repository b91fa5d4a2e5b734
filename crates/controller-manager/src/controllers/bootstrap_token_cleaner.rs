//! Deletes the Secrets of bootstrap tokens that are over.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{DeleteParams, Key, Object};
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::Secret;

use super::tokens::settled;
use crate::{
    bootstrap_token::{self, Expiry},
    context::Context,
};

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let runner = Runner::new("token-cleaner", 1, context.stop.clone()).watch_keys(&context.readers.bootstrap_tokens);
    runner.run(Arc::new(Controller { context })).await;
}

struct Controller {
    context: Context,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(secret) = self.context.readers.bootstrap_tokens.get(key) else { return Ok(Outcome::Done) };
        match bootstrap_token::expiry(&secret, self.context.clock.now()) {
            Expiry::Never => Ok(Outcome::Done),
            Expiry::In(left) => Ok(Outcome::After(left)),
            Expiry::Over => {
                tracing::info!(secret = %key, "deleting a bootstrap token that is over");
                let api = self.context.client.namespaced::<Secret>(&key.namespace);
                let deleted = settled(api.delete(&key.name, &DeleteParams::default().uid(secret.uid())).await);
                deleted.doing(|| format!("delete secret {key}")).map(|()| Outcome::Done)
            }
        }
    }
}
