//! Views that come and go while the cache runs: those of kinds that are defined at run time.
//!
//! A new view is known to the driver before it is filled. Until its list is there it keeps the events that arrive, so
//! none is lost, whatever the list's revision is: it is asked for after the driver can see the view.

use std::sync::Arc;

use super::state::Prepared;
use super::{Cache, Error, Slot, View, ViewSpec, Views, driver};
use crate::store::Range;

/// Keys read per call.
const PAGE_KEYS: usize = 1_500;

impl Cache {
    /// Adds a view and fills it. Where there is one of the prefix it is read until the new one is full, and takes its
    /// place then; watches of the old one end with `Closed`. So what is served is what the normaliser makes now.
    ///
    /// # Errors
    /// `Store`, `TooLarge`, `Closed`: what was served before still is. `Overlaps` for a prefix that begins like another.
    pub async fn add_view(&self, spec: ViewSpec) -> Result<(), Error> {
        let prefix = spec.prefix.clone();
        let view = View::pending(spec, self.core.clone());
        self.begin(&view)?;
        let filled = self.fill(&view).await;
        self.change(|views| {
            let Some(slot) = views.get_mut(&prefix) else { return };
            let is_ours = slot.filling.as_ref().is_some_and(|filling| filling.is(&view));
            let before = match &filled {
                _ if !is_ours => Some(view.clone()),
                Ok(()) => std::mem::replace(&mut slot.served, slot.filling.take()),
                Err(_) => slot.filling.take(),
            };
            before.iter().for_each(View::close);
        });
        filled
    }

    /// Takes a view away; its watches end with `Closed`. Nothing happens where there is none.
    pub fn remove_view(&self, prefix: &str) {
        self.change(|views| {
            if let Some(slot) = views.remove(prefix) {
                slot.each().for_each(View::close);
            }
        });
    }

    /// A view that holds nothing and serves no watch: what is left of one that was removed.
    #[must_use]
    pub fn empty_view(&self, spec: ViewSpec) -> View {
        let view = View::new(spec, self.core.clone());
        view.close();
        view
    }

    /// Changes the set of views. What leaves it is closed in `change`: the driver must not go on without it before.
    fn change(&self, change: impl FnOnce(&mut Views)) {
        let mut now = self.views.write();
        let mut views = Views::clone(&now);
        change(&mut views);
        *now = Arc::new(views);
    }

    fn begin(&self, view: &View) -> Result<(), Error> {
        let prefix = view.prefix();
        let overlaps =
            |other: &String| other != prefix && (other.starts_with(prefix) || prefix.starts_with(other.as_str()));
        let is_free = prefix.starts_with(&self.core.config.prefix) && !self.present().keys().any(overlaps);
        if !is_free {
            return Err(Error::Overlaps { prefix: prefix.to_owned() });
        }
        self.change(|views| {
            views.entry(prefix.to_owned()).or_insert(Slot { served: None, filling: None }).filling = Some(view.clone());
        });
        Ok(())
    }

    async fn fill(&self, view: &View) -> Result<(), Error> {
        // Batches that the driver took before it could see the view are not newer than this.
        let revision = self.consistent_revision().await?;
        let mut listed: Vec<Prepared> = Vec::new();
        let mut range = Range::prefix(view.prefix()).limit(PAGE_KEYS).at(revision);
        loop {
            let page = self.core.store.range(range.clone()).await?;
            listed.extend(page.kvs.iter().map(|kv| driver::prepare_put(view, kv)));
            let Some(last) = page.kvs.last() else { break };
            range.after = Some(last.key.clone());
        }
        view.fill(listed, revision);
        // Readers trust a view as far as the cache's revision goes.
        self.wait_for(revision).await
    }
}
