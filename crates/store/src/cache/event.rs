//! What the cache holds and what it tells its watchers.

use std::ops::Deref;
use std::sync::Arc;

use crate::encoded::Encoded;
use crate::store::LeaseId;

/// One stored object, ready to be sent. Shared by GET, LIST and WATCH; dereferences to its [`Encoded`].
#[derive(Debug)]
pub struct Object {
    key: Box<str>,
    encoded: Encoded,
    create_revision: u64,
    lease: LeaseId,
    /// Values of the view's indexes, in their order.
    index_values: Box<[Option<Box<str>>]>,
}

impl Object {
    pub(crate) fn new(
        key: impl Into<Box<str>>,
        encoded: Encoded,
        create_revision: u64,
        lease: LeaseId,
        index_values: Box<[Option<Box<str>>]>,
    ) -> Self {
        Self { key: key.into(), encoded, create_revision, lease, index_values }
    }

    /// An object that is in no store: worked out for one answer.
    #[must_use]
    pub fn computed(encoded: Encoded) -> Self {
        Self::new("", encoded, 0, 0, Box::default())
    }

    /// The full key in the store.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The object's served form.
    #[must_use]
    pub fn encoded(&self) -> &Encoded {
        &self.encoded
    }

    /// The revision at which this incarnation was created.
    #[must_use]
    pub fn create_revision(&self) -> u64 {
        self.create_revision
    }

    /// The store's lease on it, 0 = none.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    pub(crate) fn index_count(&self) -> usize {
        self.index_values.len()
    }

    /// The value of the view's index number `index`.
    #[must_use]
    pub fn index_value(&self, index: usize) -> Option<&str> {
        self.index_values.get(index)?.as_deref()
    }
}

impl Deref for Object {
    type Target = Encoded;

    fn deref(&self) -> &Encoded {
        &self.encoded
    }
}

/// What happened to an object, as a watcher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It came into being, or into the watcher's scope.
    Added,
    /// It changed.
    Modified,
    /// It was deleted, or left the watcher's scope.
    Deleted,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// The resourceVersion to send: `object.write(event.revision, ..)`.
    pub revision: u64,
    /// The state to send; for `Deleted` the last state before (with the deletion's revision).
    pub object: Arc<Object>,
    /// The state before; None for `Added`.
    pub previous: Option<Arc<Object>>,
}

impl Event {
    /// This event as seen through a selector: None = it does not concern the selection. What enters the selection is
    /// `Added`; what leaves it is `Deleted` with the last state that matched.
    #[must_use]
    pub fn select(&self, matches: impl Fn(&Object) -> bool) -> Option<(Change, &Arc<Object>)> {
        let before = self.previous.as_ref().filter(|object| matches(object));
        let after = (self.change != Change::Deleted && matches(&self.object)).then_some(&self.object);
        match (before, after) {
            (None, None) => None,
            (None, Some(object)) => Some((Change::Added, object)),
            (Some(_), Some(object)) => Some((Change::Modified, object)),
            (Some(object), None) => Some((Change::Deleted, object)),
        }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        // Most previous states are in the ring already as the object of an earlier event: count an event's own object.
        self.object.size_bytes() + self.object.key.len() + 512
    }
}

/// Which objects of a view a watcher hears of. The narrower, the cheaper: a watcher of one object or one index value
/// costs nothing for events of others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All objects.
    All,
    /// The objects of one namespace.
    Namespace(Box<str>),
    /// The object of this name; in any namespace (or of a cluster-scoped kind) when `namespace` is None.
    Name {
        /// Its namespace.
        namespace: Option<Box<str>>,
        /// Its name.
        name: Box<str>,
    },
    /// The objects whose index number `index` (order of [`super::ViewSpec::indexes`]) has this value. An object whose
    /// value changes is seen as `Deleted` or `Added`.
    Index {
        /// Which index.
        index: usize,
        /// The value.
        value: Box<str>,
    },
}

impl Scope {
    /// Whether the object is in the scope.
    #[must_use]
    pub fn contains(&self, object: &Object) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => object.meta().namespace == *namespace,
            Self::Name { namespace, name } => {
                object.meta().name == *name
                    && namespace.as_ref().is_none_or(|wanted| object.meta().namespace == *wanted)
            }
            Self::Index { index, value } => object.index_value(*index) == Some(value),
        }
    }

    /// The event as a watcher of this scope sees it.
    pub(crate) fn narrow(&self, event: &Arc<Event>) -> Option<Arc<Event>> {
        let (change, object) = event.select(|object| self.contains(object))?;
        if change == event.change {
            return Some(event.clone());
        }
        let previous = (change != Change::Added).then(|| object.clone());
        Some(Arc::new(Event { change, revision: event.revision, object: object.clone(), previous }))
    }
}
