//! All objects of a view at one revision.

use std::sync::Arc;

use super::event::Object;
use super::map::{Map, Place};

/// An immutable state of a view. Holding it costs writers a little copying, readers nothing.
#[derive(Clone, Debug)]
pub struct Snapshot {
    prefix: Box<str>,
    map: Map,
    revision: u64,
}

/// Part of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The state's revision: the list's resourceVersion.
    pub revision: u64,
    /// The objects in key order.
    pub items: Vec<Arc<Object>>,
    /// How many objects follow the last one.
    pub remaining: usize,
}

impl Snapshot {
    pub(crate) fn new(prefix: Box<str>, map: Map, revision: u64) -> Self {
        Self { prefix, map, revision }
    }

    /// Every event up to this revision is in, none after it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Objects in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One object; `namespace` "" = cluster-scoped.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        let slash = if namespace.is_empty() { "" } else { "/" };
        self.map.get(&format!("{}{namespace}{slash}{name}", self.prefix))
    }

    /// The objects in key order, of one namespace or of all; `after` is a key relative to the view's prefix
    /// (`namespace/name` or `name`, see [`Snapshot::relative_key`]) and is left out itself.
    pub fn list(&self, namespace: Option<&str>, after: Option<&str>) -> impl Iterator<Item = &Arc<Object>> + Clone {
        let (from, to) = self.bounds(namespace, after);
        self.map.between(from, to)
    }

    /// How many objects [`Snapshot::list`] gives.
    #[must_use]
    pub fn count(&self, namespace: Option<&str>, after: Option<&str>) -> usize {
        let (from, to) = self.bounds(namespace, after);
        self.map.count(from, to)
    }

    /// At most `limit` objects (0 = all) of [`Snapshot::list`].
    #[must_use]
    pub fn page(&self, namespace: Option<&str>, after: Option<&str>, limit: usize) -> Page {
        let count = self.count(namespace, after);
        let limit = if limit == 0 { count } else { limit.min(count) };
        let items: Vec<_> = self.list(namespace, after).take(limit).cloned().collect();
        Page { revision: self.revision, remaining: count - items.len(), items }
    }

    /// The object's key relative to the view's prefix: what continue tokens hold.
    #[must_use]
    pub fn relative_key<'a>(&self, object: &'a Object) -> &'a str {
        object.key().strip_prefix(&*self.prefix).unwrap_or_else(|| object.key())
    }

    fn bounds(&self, namespace: Option<&str>, after: Option<&str>) -> (Place, Place) {
        let (start, end) = match namespace {
            // '0' follows '/': the first key that no name in the namespace can reach.
            Some(name) => (
                self.map.lower_bound(&format!("{}{name}/", self.prefix)),
                self.map.lower_bound(&format!("{}{name}0", self.prefix)),
            ),
            None => (self.map.lower_bound(&self.prefix), self.map.end()),
        };
        let after = after.map(|after| self.map.upper_bound(&format!("{}{after}", self.prefix)));
        (after.map_or(start, |after| after.max(start)), end)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.map.iter()
    }
}
