//! The wires: informers mark services dirty, the dirty ones are compiled, and their difference becomes one transaction.
//!
//! While nft runs, further changes gather and go with the next transaction. The kernel is listed at start, after a
//! refusal and every few minutes, never on the way of a change. Nothing is removed at start or stop.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gantry_client::{Key as Name, Reader, Subscription};
use gantry_common::backoff::Backoff;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tracing::{debug, error, info, warn};

use crate::backends::Backend;
use crate::compile::{View, compile};
use crate::element::Elements;
use crate::flows;
use crate::intent::{Change, Intent, difference};
use crate::kernel::{Error, Kernel, Present};
use crate::probe::Prober;
use crate::rules;

/// How often the kernel is compared with the intent.
const AUDIT_INTERVAL: Duration = Duration::from_secs(300);
/// Delays between attempts after nft refused.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// The EndpointSlice label that names the service; also the name of the informer's index.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Keeps the kernel as the services want it.
pub(crate) struct Shell {
    pub(crate) node: String,
    pub(crate) cluster_cidr: Option<Ipv4Net>,
    pub(crate) kernel: Arc<dyn Kernel>,
    pub(crate) services: Reader<Service>,
    pub(crate) slices: Reader<EndpointSlice>,
    pub(crate) prober: Prober,
    pub(crate) intent: Intent,
    pub(crate) dirty: BTreeSet<Name>,
    pub(crate) silent: BTreeSet<Backend>,
}

impl Shell {
    /// Takes over what the kernel holds, brings it to the intent, calls `ready`, and follows changes from then on.
    pub(crate) async fn serve(mut self, ready: impl FnOnce()) {
        let mut services = self.services.subscribe();
        let mut slices = self.slices.subscribe();
        self.take(&mut services, &mut slices);
        self.repair_until_done(true).await;
        ready();
        let mut audit = tokio::time::interval_at(tokio::time::Instant::now() + AUDIT_INTERVAL, AUDIT_INTERVAL);
        loop {
            tokio::select! {
                change = services.next() => self.on_service(change.key),
                change = slices.next() => self.on_slice(change.old.as_deref(), change.new.as_deref()),
                silent = self.prober.changed() => self.on_silent(silent),
                _ = audit.tick() => { self.repair_until_done(false).await; continue }
            }
            self.take(&mut services, &mut slices);
            self.sync().await;
        }
    }

    fn take(&mut self, services: &mut Subscription<Service>, slices: &mut Subscription<EndpointSlice>) {
        while let Some(change) = services.try_next() {
            self.on_service(change.key);
        }
        while let Some(change) = slices.try_next() {
            self.on_slice(change.old.as_deref(), change.new.as_deref());
        }
    }

    fn on_service(&mut self, key: Name) {
        self.dirty.insert(key);
    }

    fn on_slice(&mut self, old: Option<&EndpointSlice>, new: Option<&EndpointSlice>) {
        self.dirty.extend([old, new].into_iter().flatten().filter_map(service_of));
    }

    /// A node-local endpoint fell silent or came back: the services that prefer it are compiled anew.
    fn on_silent(&mut self, silent: BTreeSet<Backend>) {
        info!(?silent, "endpoints on this node that do not answer");
        self.silent = silent;
        self.dirty.extend(self.prober.services());
    }

    /// Compiles what is dirty. `present` is where endpoints keep their slots: the intent, or at start the kernel.
    fn compile_dirty(&mut self, kernel: Option<&Elements>) -> Change {
        let mut change = Change::default();
        for key in std::mem::take(&mut self.dirty) {
            let elements = self.services.get(&key).map_or_else(Elements::new, |service| {
                let slices = self.slices.by_index(SERVICE_LABEL, &key.to_string());
                self.prober.watch(&key, &service, &slices, &self.node);
                let present = kernel.unwrap_or_else(|| self.intent.elements());
                compile(&service, &slices, View { node: &self.node, silent: &self.silent, present })
            });
            if elements.is_empty() {
                self.prober.forget(&key);
            }
            self.intent.set(&key, elements, &mut change);
        }
        change
    }

    async fn sync(&mut self) {
        let change = self.compile_dirty(None);
        if change.is_empty() {
            return;
        }
        match self.kernel.apply(rules::transaction(&change)).await {
            Ok(()) => self.applied(&change).await,
            Err(error) => {
                // Somebody else touched the table, or it is gone: look and repair.
                warn!(
                    error = gantry_common::error_chain(&error),
                    "the kernel refused a change, comparing it with the intent"
                );
                self.repair_until_done(false).await;
            }
        }
    }

    async fn applied(&self, change: &Change) {
        debug!(deleted = change.delete.len(), added = change.add.len(), "changed the rules");
        let stale = flows::stale(change);
        if stale.is_empty() {
            return;
        }
        if let Err(error) = flows::forget(stale).await {
            warn!(error = gantry_common::error_chain(&error), "stale UDP flows stay until they time out");
        }
    }

    async fn repair_until_done(&mut self, first: bool) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        while let Err(error) = self.repair(first).await {
            error!(error = gantry_common::error_chain(&error), "cannot bring the kernel to the intent, trying again");
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Compares the kernel with the intent and corrects it in one transaction.
    async fn repair(&mut self, first: bool) -> Result<(), Error> {
        let present = self.kernel.inspect(self.cluster_cidr).await?;
        let empty = Elements::new();
        let in_kernel = match &present {
            Present::Ours(elements) => elements,
            Present::Foreign => &empty,
        };
        let before = if first { Some(in_kernel) } else { None };
        // The intent takes the change in; what the kernel needs is found by comparison below.
        self.compile_dirty(before);
        let services = self.intent.services();
        match present {
            Present::Foreign => {
                info!(services, elements = self.intent.elements().len(), "making the table");
                self.kernel.apply(rules::replacement(self.intent.elements(), self.cluster_cidr)).await?;
            }
            Present::Ours(elements) => {
                let change = difference(&elements, self.intent.elements());
                if change.is_empty() {
                    debug!(services, "the kernel is as intended");
                    return Ok(());
                }
                info!(services, deleted = change.delete.len(), added = change.add.len(), "correcting the kernel");
                self.kernel.apply(rules::transaction(&change)).await?;
                self.applied(&change).await;
            }
        }
        Ok(())
    }
}

/// The service that a slice belongs to.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<Name> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some(Name::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name))
}
