//! Marks tokens in Secrets that were made for their accounts and that nobody uses, and deletes what nobody has missed.
//!
//! Secrets that users have made stay: their accounts do not list them.

mod plan;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use gantry_api::legacy_token::{INVALID_SINCE, TRACKED_SINCE, TRACKING, start_of};
use gantry_client::{DeleteParams, Object, Patch, Preconditions};
use gantry_controller::{Doing, Error};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use serde_json::json;

use self::plan::{Period, Step};
use super::{
    cleaner::{self, Cleaner},
    tokens::settled,
};
use crate::{context::Context, readers::account_of};

const SYSTEM: &str = "kube-system";

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    cleaner::run(context.stop.clone(), Controller { context }).await;
}

struct Controller {
    context: Context,
}

#[async_trait]
impl Cleaner for Controller {
    const NAME: &'static str = "legacy-token-cleaner";
    /// Upstream's interval.
    const EVERY: Duration = Duration::from_secs(24 * 60 * 60);
    type Object = Secret;
    type Round = Period;

    async fn begin(&self) -> Result<Option<Period>, Error> {
        let now = self.context.clock.now();
        let unused = self.context.options.legacy_service_account_token_clean_up_period;
        Ok(Period::new(now, unused, self.tracked_since().await?))
    }

    fn objects(&self) -> Vec<Arc<Secret>> {
        self.context.readers.token_secrets.list()
    }

    async fn clean(&self, period: &Period, secret: &Secret) -> Result<(), Error> {
        let Some(account) = self.account(secret) else { return Ok(()) };
        let pods = self.context.readers.pods.in_namespace(&secret.key().namespace);
        let Some(step) = period.step(secret, &account, &pods) else { return Ok(()) };
        self.take(secret, step).await
    }
}

impl Controller {
    /// The first day all of whose uses have been noted begins after this one.
    async fn tracked_since(&self) -> Result<Timestamp, Error> {
        let api = self.context.client.namespaced::<ConfigMap>(SYSTEM);
        let map = api.get(TRACKING).await.doing(|| format!("get config map {SYSTEM}/{TRACKING}"))?;
        let since = map.data.as_ref().and_then(|data| data.get(TRACKED_SINCE)).map_or("", String::as_str);
        start_of(since).ok_or_else(|| {
            let why = format!("{TRACKED_SINCE} of config map {SYSTEM}/{TRACKING} is no day: {since:?}");
            Error::Refused(why)
        })
    }

    /// The account that the Secret is for.
    fn account(&self, secret: &Secret) -> Option<Arc<ServiceAccount>> {
        self.context.readers.service_accounts.get(&account_of(secret)?)
    }

    async fn take(&self, secret: &Secret, step: Step) -> Result<(), Error> {
        let (api, key) = (self.context.client.namespaced::<Secret>(&secret.key().namespace), secret.key());
        match step {
            Step::Mark(day) => {
                tracing::info!(secret = %key, day, "marking an unused token that was made for its account as invalid");
                let patch = json!({"metadata": {"uid": secret.uid(), "labels": {INVALID_SINCE: day}}});
                api.patch(&key.name, &Patch::Merge(patch), None).await.map(drop).doing(|| format!("label secret {key}"))
            }
            Step::Delete => {
                tracing::info!(secret = %key, "deleting an unused token that was made for its account");
                let resource_version = secret.metadata.resource_version.clone();
                let preconditions = Some(Preconditions { uid: None, resource_version });
                let params = DeleteParams { preconditions, ..DeleteParams::default() };
                settled(api.delete(&key.name, &params).await).doing(|| format!("delete secret {key}"))
            }
        }
    }
}
