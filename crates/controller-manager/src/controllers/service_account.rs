//! Gives each namespace the service account that pods use when they name none.

use async_trait::async_trait;
use gantry_client::{Change, Key, Object};
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::sync::Arc;

use crate::context::Context;

/// The account of pods that name none.
const DEFAULT: &str = "default";

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let workers = context.options.concurrent_serviceaccount_token_syncs;
    let runner = Runner::new("serviceaccount", workers, context.stop.clone())
        .watch_keys(&context.readers.namespaces)
        .watch(&context.readers.service_accounts, |change| {
            if change.key.name == DEFAULT { namespace_of(change) } else { Vec::new() }
        });
    runner.run(Arc::new(Controller { context })).await;
}

/// The key of the namespace that an object lives in.
pub(super) fn namespace_of<K: Object>(change: &Change<K>) -> Vec<Key> {
    vec![Key::cluster(change.key.namespace.clone())]
}

/// Whether objects can be made in the namespace.
pub(super) fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
}

struct Controller {
    context: Context,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        let wanted = readers.namespaces.get(key).is_some_and(|n| is_active(&n));
        if !wanted || readers.service_accounts.get(&Key::new(key.name.clone(), DEFAULT)).is_some() {
            return Ok(Outcome::Done);
        }
        let account = ServiceAccount {
            metadata: ObjectMeta {
                name: Some(DEFAULT.to_owned()),
                namespace: Some(key.name.clone()),
                ..ObjectMeta::default()
            },
            ..ServiceAccount::default()
        };
        match self.context.client.api::<ServiceAccount>().create(&account).await {
            Ok(_) => Ok(Outcome::Done),
            Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(Outcome::Done),
            Err(error) => Err(error).doing(|| format!("create service account {}/{DEFAULT}", key.name)),
        }
    }
}
