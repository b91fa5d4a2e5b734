//! Fills the Secrets that hold service-account tokens, and deletes those whose account is gone.
//!
//! The key is an account. What refers to it by name is looked up in the index of token Secrets.

mod plan;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use gantry_client::{Change, DeleteParams, Key, Object};
use gantry_common::token_keys::Keys;
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use parking_lot::Mutex;

use super::root_ca;
use crate::{
    context::Context,
    readers::{TOKEN_ACCOUNT, account_of},
};

/// Starts the controller; resolves when it stopped. Without `--service-account-private-key-file` it has nothing to do.
pub(super) async fn run(context: Context) {
    let Some(keys) = context.token_keys.clone() else {
        tracing::warn!("--service-account-private-key-file is not given, so no Secret is filled with a token");
        return context.stop.cancelled().await;
    };
    let gone = Arc::new(Gone::default());
    let noted = Arc::clone(&gone);
    let workers = context.options.concurrent_serviceaccount_token_syncs;
    let runner = Runner::new("serviceaccount-token", workers, context.stop.clone())
        .watch_keys(&context.readers.service_accounts)
        .watch(&context.readers.token_secrets, move |change| noted.note(change));
    let root_ca = context.options.root_ca_file.clone();
    runner.run(Arc::new(Controller { context, keys, root_ca, gone })).await;
}

/// Token Secrets that went, by their account: name, and the uid of the account that they were for. Accounts that list them
/// forget them.
#[derive(Default)]
struct Gone(Mutex<BTreeMap<Key, BTreeMap<String, String>>>);

impl Gone {
    /// Notes what went; the accounts that the change is about.
    fn note(&self, change: &Change<Secret>) -> Vec<Key> {
        let account = |secret: Option<&Arc<Secret>>| secret.and_then(|s| account_of(s));
        let (old, new) = (account(change.old.as_ref()), account(change.new.as_ref()));
        let went = change.old.as_ref().filter(|old| change.new.as_ref().is_none_or(|new| new.uid() != old.uid()));
        if let (Some(secret), Some(account)) = (went, &old) {
            let uid = plan::account_uid(secret).to_owned();
            self.0.lock().entry(account.clone()).or_default().insert(change.key.name.clone(), uid);
        }
        old.into_iter().chain(new).collect()
    }
}

struct Controller {
    context: Context,
    keys: Arc<Keys>,
    root_ca: Option<PathBuf>,
    gone: Arc<Gone>,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let mut failed = self.forget_gone(key).await.err();
        for secret in self.context.readers.token_secrets.by_index(TOKEN_ACCOUNT, &key.to_string()) {
            // One that cannot be written does not keep the others empty.
            failed = self.settle(key, &secret).await.err().or(failed);
        }
        failed.map_or(Ok(Outcome::Done), Err)
    }
}

impl Controller {
    /// The account that a Secret is for: the informer's, or if that does not know it (yet), the API server's.
    async fn account(&self, key: &Key, uid: &str) -> Result<Option<Arc<ServiceAccount>>, Error> {
        let is_it = |account: &Arc<ServiceAccount>| uid.is_empty() || account.uid() == uid;
        if let Some(known) = self.context.readers.service_accounts.get(key).filter(is_it) {
            return Ok(Some(known));
        }
        let api = self.context.client.namespaced::<ServiceAccount>(&key.namespace);
        let found = api.get_opt(&key.name).await.doing(|| format!("get service account {key}"))?;
        Ok(found.map(Arc::new).filter(is_it))
    }

    /// Fills or deletes a Secret.
    async fn settle(&self, key: &Key, secret: &Secret) -> Result<(), Error> {
        let (api, name) = (self.context.client.namespaced::<Secret>(&key.namespace), secret.key().name);
        let Some(account) = self.account(key, plan::account_uid(secret)).await? else {
            tracing::info!(secret = %secret.key(), account = %key, "the account of the token is gone, deleting its secret");
            let params = DeleteParams::default().uid(secret.uid());
            return settled(api.delete(&name, &params).await).doing(|| format!("delete secret {}", secret.key()));
        };
        let root_ca = match &self.root_ca {
            Some(file) => Some(root_ca::bundle(file).await?),
            None => None,
        };
        let filled = plan::filled(secret, &account, root_ca.as_deref(), &self.keys);
        let filled = filled.map_err(|why| Error::Refused(format!("signing a token for {key} failed: {why}")))?;
        let Some(filled) = filled else { return Ok(()) };
        settled(api.update(&filled).await.map(drop)).doing(|| format!("fill secret {}", secret.key()))
    }

    /// Takes Secrets that went out of the account's list.
    async fn forget_gone(&self, key: &Key) -> Result<(), Error> {
        let Some(names) = self.gone.0.lock().get(key).cloned() else { return Ok(()) };
        let api = self.context.client.namespaced::<ServiceAccount>(&key.namespace);
        let account = api.get_opt(&key.name).await.doing(|| format!("get service account {key}"))?;
        if let Some(shorter) = account.and_then(|account| plan::without(account, &names)) {
            match api.update(&shorter).await {
                Err(error) if error.is_not_found() => {}
                other => drop(other.doing(|| format!("take deleted secrets out of service account {key}"))?),
            }
        }
        let mut gone = self.gone.0.lock();
        if let Some(left) = gone.get_mut(key) {
            left.retain(|name, _| !names.contains_key(name));
            if left.is_empty() {
                gone.remove(key);
            }
        }
        Ok(())
    }
}

/// Who came first tells of it by another change.
pub(super) fn settled(result: gantry_client::Result<()>) -> gantry_client::Result<()> {
    match result {
        Err(error) if error.is_not_found() || (error.is_conflict() && !error.is_fenced()) => Ok(()),
        other => other,
    }
}
