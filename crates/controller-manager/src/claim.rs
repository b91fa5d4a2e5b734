//! Taking possession: an owner adopts matching orphans and lets go of what no longer matches.

use std::sync::Arc;

use gantry_client::{Client, Key, Object};
use gantry_controller::{
    Doing, Error, Failures, Pending,
    owner::{self, Claim},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::selector;

/// The candidates that `owner` owns. When one had to be adopted or released, `None`: the change brings the key back.
///
/// # Errors
/// When a write fails, or the owner is gone and may not adopt.
pub async fn claim<O: Object, K: Object>(
    client: &Client,
    pending: &Pending,
    owner: &O,
    wanted: &LabelSelector,
    candidates: Vec<Arc<K>>,
) -> Result<Option<Vec<Arc<K>>>, Error> {
    let key = owner.key();
    let mut owned = Vec::with_capacity(candidates.len());
    let (mut changed, mut failures) = (false, Failures::default());
    for candidate in candidates {
        let meta = candidate.metadata();
        let patch = match owner::claim(owner.metadata(), meta, selector::matches(wanted, meta.labels.as_ref())) {
            Claim::Owned => {
                owned.push(candidate);
                continue;
            }
            Claim::Ignore => continue,
            Claim::Adopt => {
                if let Err(error) = still_there(client, owner).await {
                    failures.note(Err(error))?;
                    continue;
                }
                owner::adopt(owner, candidate.uid())
            }
            Claim::Release => owner::release(owner.uid(), candidate.uid()),
        };
        let Key { namespace, name } = candidate.key();
        match client.namespaced::<K>(&namespace).patch(&name, &patch, None).await {
            Ok(patched) => pending.wrote(&key, &patched),
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                failures.note(Err(error).doing(|| format!("adopt or release {} {namespace}/{name}", K::KIND)))?;
            }
        }
        changed = true;
    }
    failures.first()?;
    Ok((!changed).then_some(owned))
}

/// Asks the API server whether `owner` still exists and is not on its way out: only then may it adopt.
async fn still_there<K: Object>(client: &Client, owner: &K) -> Result<(), Error> {
    let key = owner.key();
    let live = client.namespaced::<K>(&key.namespace).get(&key.name).await;
    let live = live.doing(|| format!("read {} {key} before it adopts", K::KIND))?;
    if live.uid() == owner.uid() && live.metadata().deletion_timestamp.is_none() {
        return Ok(());
    }
    Err(Error::Refused(format!("{} {key} was deleted meanwhile, it adopts nothing", K::KIND)))
}
