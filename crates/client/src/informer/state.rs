//! The copy itself: objects, indexes and subscribers behind one lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Weak},
};

use parking_lot::RwLock;

use super::subscription::{Queue, Subscription};
use crate::{Key, Object};

pub(super) type IndexFn<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

struct Index<K> {
    name: &'static str,
    values_of: IndexFn<K>,
    keys: HashMap<String, BTreeSet<Key>>,
}

struct Inner<K> {
    objects: BTreeMap<Key, Arc<K>>,
    indexes: Vec<Index<K>>,
    subscribers: Vec<Weak<Queue<K>>>,
}

pub(super) struct State<K>(RwLock<Inner<K>>);

impl<K: Object> Inner<K> {
    fn reindex(&mut self, key: &Key, old: Option<&K>, new: Option<&K>) {
        for index in &mut self.indexes {
            let before = old.map(&index.values_of).unwrap_or_default();
            let after = new.map(&index.values_of).unwrap_or_default();
            for value in before.iter().filter(|v| !after.contains(v)) {
                if let Some(keys) = index.keys.get_mut(value) {
                    keys.remove(key);
                    if keys.is_empty() {
                        index.keys.remove(value);
                    }
                }
            }
            for value in after {
                index.keys.entry(value).or_default().insert(key.clone());
            }
        }
    }

    fn set(&mut self, key: Key, new: Option<Arc<K>>) {
        let old = match &new {
            Some(object) => self.objects.insert(key.clone(), Arc::clone(object)),
            None => self.objects.remove(&key),
        };
        if old.is_none() && new.is_none() {
            return;
        }
        self.reindex(&key, old.as_deref(), new.as_deref());
        self.subscribers.retain(|s| s.strong_count() > 0);
        for queue in self.subscribers.iter().filter_map(Weak::upgrade) {
            queue.push(&key, old.clone(), new.clone());
        }
    }
}

impl<K: Object> State<K> {
    pub(super) fn new(indexes: Vec<(&'static str, IndexFn<K>)>) -> Self {
        let indexes =
            indexes.into_iter().map(|(name, values_of)| Index { name, values_of, keys: HashMap::new() }).collect();
        Self(RwLock::new(Inner { objects: BTreeMap::new(), indexes, subscribers: Vec::new() }))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.0.read().objects.get(key).cloned()
    }

    pub(super) fn list(&self) -> Vec<Arc<K>> {
        self.0.read().objects.values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().objects.len()
    }

    pub(super) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let inner = self.0.read();
        let from = Key::new(namespace, "");
        inner.objects.range(from..).take_while(|(k, _)| k.namespace == namespace).map(|(_, o)| Arc::clone(o)).collect()
    }

    pub(super) fn by_index(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        let inner = self.0.read();
        let Some(index) = inner.indexes.iter().find(|i| i.name == name) else { return Vec::new() };
        let keys = index.keys.get(value);
        keys.into_iter().flatten().filter_map(|k| inner.objects.get(k).cloned()).collect()
    }

    pub(super) fn upsert(&self, object: Arc<K>) {
        self.0.write().set(object.key(), Some(object));
    }

    pub(super) fn remove(&self, key: &Key) {
        self.0.write().set(key.clone(), None);
    }

    /// Makes the copy equal to `present`, telling subscribers only what differs; all of it, if it is of another history.
    pub(super) fn replace(&self, present: Vec<Arc<K>>, other_history: bool) {
        let mut inner = self.0.write();
        let keys: BTreeSet<Key> = present.iter().map(|o| o.key()).collect();
        let gone: Vec<Key> = inner.objects.keys().filter(|k| !keys.contains(k)).cloned().collect();
        for key in gone {
            inner.set(key, None);
        }
        for object in present {
            let key = object.key();
            let same = !other_history && inner.objects.get(&key).is_some_and(|o| o.revision() == object.revision());
            if !same {
                inner.set(key, Some(object));
            }
        }
    }

    pub(super) fn subscribe(&self) -> Subscription<K> {
        let mut inner = self.0.write();
        let queue = Arc::new(Queue::default());
        for (key, object) in &inner.objects {
            queue.push(key, None, Some(Arc::clone(object)));
        }
        inner.subscribers.push(Arc::downgrade(&queue));
        Subscription::new(queue)
    }
}
