//! Empties namespaces that are on their way out, then lets them go.

mod others;
mod plan;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use gantry_api::kinds::{Kind, KindInfo};
use gantry_client::{Client, DeleteParams, Key, ListParams, Object, ResourceId, View};
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use std::time::Duration;

use self::{
    others::{Discovered, Discovery, Left},
    plan::Found,
};
use crate::context::Context;

const FINALIZER: &str = "kubernetes";
/// How long to wait where no change will tell that an object is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What discovery said is good for so long, as long as the namespace is not let go because of it.
const DISCOVERY_AGE: Duration = Duration::from_secs(5);

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    context.catalog.synced().await;
    let runner = Runner::new("namespace", context.options.concurrent_namespace_syncs, context.stop.clone());
    let (queue, readers) = (runner.queue(), Arc::clone(&context.readers));
    // A change inside a namespace that is on its way out concerns it.
    let changes = context.catalog.subscribe().follow(move |id, _| {
        let namespace = Key::cluster(id.key.namespace.clone());
        if readers.namespaces.get(&namespace).is_some_and(|n| is_terminating(&n)) {
            queue.add(namespace);
        }
    });
    let runner = runner.watch_keys(&context.readers.namespaces).feed(changes);
    let client = context.client.clone();
    runner.run(Arc::new(Controller { context, client, discovery: Discovery::default() })).await;
}

fn is_terminating(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
}

fn is_held(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.as_ref());
    finalizers.into_iter().flatten().any(|f| f == FINALIZER)
}

struct Controller {
    context: Context,
    client: Client,
    discovery: Discovery,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let namespace = self.context.readers.namespaces.get(key);
        let Some(namespace) = namespace.filter(|n| is_terminating(n) && is_held(n)) else { return Ok(Outcome::Done) };
        let mut content = self.context.catalog.in_namespace(&key.name);
        let kinds = self.context.catalog.kinds();
        // What others keep there is asked of them below.
        let is_own = |k: &KindInfo| k.custom.is_none() || kinds.by_kind(k.group, k.version, k.kind).is_some();
        content.retain(|meta| is_own(&meta.kind));
        let mut failures = self.delete(&key.name, &plan::to_delete(&content)).await;
        let age = if content.is_empty() { Duration::ZERO } else { DISCOVERY_AGE };
        let discovered = self.discovery.ask(&self.client, &kinds, age).await;
        let others = match &discovered {
            Ok(discovered) if !plan::has_pods(&content) => self.empty(&key.name, discovered, &mut failures).await,
            _ => Vec::new(),
        };
        let undiscovered = discovered.as_ref().map_or_else(|e| Some(gantry_common::error_chain(e)), |d| d.failure());
        let found = Found {
            content: &content,
            others: &others,
            undiscovered: undiscovered.clone(),
            failures: failures.iter().map(|f| gantry_common::error_chain(f)).collect(),
        };
        let reported = self.report(&namespace, &found).await?;
        if let Some(first) = failures.into_iter().next() {
            return Err(first);
        }
        discovered?;
        if let Some(why) = undiscovered {
            tracing::debug!(namespace = %key, why, "a namespace stays, for it may hold more than is known");
            return Ok(Outcome::After(DISCOVERY_AGE));
        }
        if !others.is_empty() {
            return Ok(Outcome::After(LOOK_AGAIN));
        }
        if !content.is_empty() {
            // Each object that goes brings the key back.
            return Ok(Outcome::Done);
        }
        if let Some(kind) = self.remainder(&key.name).await? {
            tracing::debug!(namespace = %key, resource = kind.resource, "objects remain that were not seen before");
            return Ok(Outcome::After(LOOK_AGAIN));
        }
        self.finalize(reported).await.map(|()| Outcome::Done)
    }
}

impl Controller {
    async fn delete(&self, namespace: &str, kinds: &[Kind]) -> Vec<Error> {
        let results = join_all(kinds.iter().map(|kind| self.delete_all(namespace, kind))).await;
        results.into_iter().filter_map(Result::err).collect()
    }

    /// Asks what others keep in the namespace to go; what is left of it.
    async fn empty(&self, namespace: &str, discovered: &Discovered, failures: &mut Vec<Error>) -> Vec<Left> {
        let emptied = join_all(discovered.resources.iter().map(|foreign| foreign.empty(&self.client, namespace))).await;
        let mut left = Vec::new();
        for result in emptied {
            match result {
                Ok(rest) => left.extend(rest),
                Err(error) => failures.push(error),
            }
        }
        left
    }

    async fn delete_all(&self, namespace: &str, kind: &KindInfo) -> Result<(), Error> {
        let api = self.client.dynamic(ResourceId::new(kind.group, kind.version, kind.resource), namespace);
        let params = DeleteParams::default().propagation("Background");
        let deleted = match api.delete_collection(&ListParams::default(), &params).await {
            Err(error) if error.is_unserved() => return Ok(()),
            deleted => deleted,
        };
        deleted.doing(|| format!("delete all {} of namespace {namespace}", kind.resource)).map(drop)
    }

    /// Writes the conditions; returns the namespace as it is then.
    async fn report(&self, namespace: &Arc<Namespace>, found: &Found<'_>) -> Result<Namespace, Error> {
        let old = namespace.status.clone().unwrap_or_default();
        let now = self.context.clock.now();
        let conditions = plan::conditions(old.conditions.as_deref().unwrap_or_default(), found, now);
        let status = NamespaceStatus { phase: Some("Terminating".to_owned()), conditions: Some(conditions) };
        if status == old {
            return Ok(Namespace::clone(namespace));
        }
        let changed = Namespace { status: Some(status), ..Namespace::clone(namespace) };
        let written = self.client.api::<Namespace>().update_status(&changed).await;
        written.doing(|| format!("write the status of namespace {}", namespace.key()))
    }

    /// A kind of which the namespace still holds something, by the API server's word. Events are deleted here: they are in no
    /// catalog.
    async fn remainder(&self, namespace: &str) -> Result<Option<Kind>, Error> {
        let stored = |k: &&KindInfo| k.namespaced && k.supports("list") && k.supports("deletecollection");
        let kinds: Vec<Kind> = self.context.catalog.kinds().distinct().filter(stored).map(KindInfo::held).collect();
        for kind in kinds.iter().filter(|k| k.kind == "Event") {
            self.delete_all(namespace, kind).await?;
        }
        let one = ListParams { limit: 1, ..ListParams::default() };
        for kind in kinds {
            let api = self.client.dynamic(ResourceId::new(kind.group, kind.version, kind.resource), namespace);
            let found = api.list(&one, View::Metadata).await;
            let found = match found {
                // A custom kind that has just gone, or one that is switched off: as for upstream, it holds nothing.
                Err(error) if error.is_unserved() => continue,
                found => found.doing(|| format!("look for {} in namespace {namespace}", kind.resource))?,
            };
            if !found.items.is_empty() {
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }

    async fn finalize(&self, mut namespace: Namespace) -> Result<(), Error> {
        if let Some(finalizers) = namespace.spec.get_or_insert_default().finalizers.as_mut() {
            finalizers.retain(|f| f != FINALIZER);
        }
        match self.client.api::<Namespace>().update_subresource(&namespace, "finalize").await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error).doing(|| format!("finalize namespace {}", namespace.key())),
        }
    }
}
