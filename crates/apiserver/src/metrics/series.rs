//! Series by what they are about: looked up without a lock, made when first asked for, and so many at most.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::SERIES_MAX;

/// Series that requests look up. It is copied when one is added or goes, which is rare.
#[derive(Debug)]
pub(super) struct Table<K, V>(ArcSwap<HashMap<K, Arc<V>>>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<K: Copy + Eq + Hash + Ord, V> Table<K, V> {
    /// The series of `key`, made if need be; nothing where there are as many as there may be.
    pub(super) fn get_or_make(&self, key: K, make: impl FnOnce() -> V) -> Option<Arc<V>> {
        if let Some(found) = self.0.load().get(&key) {
            return Some(found.clone());
        }
        let made = Arc::new(make());
        self.0.rcu(|known| {
            if known.len() >= SERIES_MAX || known.contains_key(&key) {
                return known.clone();
            }
            let mut more = (**known).clone();
            more.insert(key, made.clone());
            Arc::new(more)
        });
        self.0.load().get(&key).cloned()
    }

    /// Keeps what `stays`.
    pub(super) fn retain(&self, stays: impl Fn(&K) -> bool) {
        self.0.rcu(|known| -> HashMap<K, Arc<V>> {
            known.iter().filter(|(key, _)| stays(key)).map(|(key, series)| (*key, series.clone())).collect()
        });
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> Vec<(K, Arc<V>)> {
        let mut all: Vec<_> = self.0.load().iter().map(|(key, series)| (*key, series.clone())).collect();
        all.sort_by_key(|(key, _)| *key);
        all
    }
}

/// The series of `key` in a map whose keys users choose, made if need be; nothing where there are as many as there may be.
pub(super) fn bounded<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
    (map.len() < SERIES_MAX || map.contains_key(&key)).then(|| map.entry(key).or_insert_with(make))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_at_most_and_those_stay() {
        let table = Table::default();
        for key in 0..SERIES_MAX + 2 {
            assert_eq!(table.get_or_make(key, || key).is_some(), key < SERIES_MAX, "{key}");
        }
        assert_eq!(table.get_or_make(1, || 7).as_deref(), Some(&1), "made once");
        table.retain(|key| *key < 3);
        assert_eq!(table.all().into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [0, 1, 2]);
        let mut map: BTreeMap<usize, ()> = (0..SERIES_MAX).map(|key| (key, ())).collect();
        assert!(bounded(&mut map, 0, || ()).is_some() && bounded(&mut map, SERIES_MAX, || ()).is_none());
    }
}
