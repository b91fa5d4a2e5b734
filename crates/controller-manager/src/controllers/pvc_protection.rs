//! Lets claims go that are to be deleted, once no pod uses them.

mod usage;

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{Change, Client, Key, ListParams, Object};
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use parking_lot::Mutex;

use crate::{
    context::Context,
    pods,
    protection::{self, Need},
    readers::{self, Readers},
};

const FINALIZER: &str = "kubernetes.io/pvc-protection";

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    // One worker, as upstream's: the claims of a namespace that goes share a look at its pods.
    let runner = Runner::new("pvc-protection", 1, context.stop.clone())
        .watch(&readers.claims, for_claim)
        .watch(&readers.pods, for_pod);
    let controller = Controller { client: context.client.clone(), readers, live: Mutex::default() };
    runner.run(Arc::new(controller)).await;
}

fn for_claim(change: &Change<PersistentVolumeClaim>) -> Vec<Key> {
    protection::asking(change, |claim| protection::need(&claim.metadata, FINALIZER))
}

/// The claims that a change of a pod may have freed: those of a pod that is gone, has ended, or has no node.
fn for_pod(change: &Change<Pod>) -> Vec<Key> {
    let freed = |pod: &Pod| pods::is_terminal(pod) || pods::node(pod).is_empty() || usage::is_shut_down(pod);
    let mut keys = Vec::new();
    match (&change.old, &change.new) {
        (Some(old), None) => keys.extend(usage::claims(old)),
        // A namesake may stand where the pod was.
        (Some(old), Some(new)) if old.uid() != new.uid() => keys.extend(usage::claims(old)),
        _ => {}
    }
    if let Some(new) = change.new.as_deref().filter(|p| freed(p)) {
        keys.extend(usage::claims(new));
    }
    keys
}

/// The pods of a namespace, by the API server's word.
struct Live {
    namespace: String,
    revision: u64,
    pods: Arc<Vec<Pod>>,
}

struct Controller {
    client: Client,
    readers: Arc<Readers>,
    /// The last look.
    live: Mutex<Option<Live>>,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(claim) = self.readers.claims.get(key) else { return Ok(Outcome::Done) };
        let settle = match protection::need(&claim.metadata, FINALIZER) {
            Need::Nothing => false,
            Need::Hold => true,
            Need::Release => !self.is_used(&claim).await?,
        };
        if settle {
            protection::settle(&self.client, &*claim, FINALIZER).await?;
        }
        Ok(Outcome::Done)
    }
}

impl Controller {
    async fn is_used(&self, claim: &PersistentVolumeClaim) -> Result<bool, Error> {
        let key = claim.key();
        let seen = self.readers.pods.by_index(readers::CLAIM, &key.to_string());
        if seen.iter().any(|pod| usage::uses(pod, claim)) {
            return Ok(true);
        }
        // The copy may lack the pod that uses it.
        if let Some(pods) = self.known(&key.namespace, claim.revision())
            && !pods.iter().any(|pod| usage::uses(pod, claim))
        {
            return Ok(false);
        }
        Ok(self.look(&key.namespace).await?.iter().any(|pod| usage::uses(pod, claim)))
    }

    /// The last look at the namespace's pods, if it is no older than `revision`: who comes to use a claim after it was asked
    /// to go is not let.
    fn known(&self, namespace: &str, revision: u64) -> Option<Arc<Vec<Pod>>> {
        let live = self.live.lock();
        let live = live.as_ref().filter(|live| live.namespace == namespace && live.revision >= revision)?;
        Some(Arc::clone(&live.pods))
    }

    async fn look(&self, namespace: &str) -> Result<Arc<Vec<Pod>>, Error> {
        let listed = self.client.namespaced::<Pod>(namespace).list(&ListParams::default()).await;
        let listed = listed.doing(|| format!("look for pods of namespace {namespace} that use a claim"))?;
        let pods: Vec<Pod> = listed.items.into_iter().filter(|pod| !usage::claims(pod).is_empty()).collect();
        let pods = Arc::new(pods);
        let revision = listed.resource_version.parse().unwrap_or(0);
        *self.live.lock() = Some(Live { namespace: namespace.to_owned(), revision, pods: Arc::clone(&pods) });
        Ok(pods)
    }
}

#[cfg(test)]
mod tests;
