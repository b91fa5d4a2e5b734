//! What the kernel should hold: the elements of all services together, and the difference that a change makes.

use std::collections::BTreeMap;

use gantry_client::Key as Name;

use crate::element::{Data, Elements, Key};

/// The elements that turn one rule set into another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Elements that go, or that change (then they are in `add` too), with what they were.
    pub delete: Elements,
    /// Elements that come.
    pub add: Elements,
}

impl Change {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.add.is_empty()
    }

    /// Carries the change out on `elements`, as the kernel does.
    pub fn apply_to(&self, elements: &mut Elements) {
        for key in self.delete.keys() {
            elements.remove(key);
        }
        elements.extend(self.add.iter().map(|(k, d)| (*k, *d)));
    }

    fn record(&mut self, key: Key, old: Option<Data>, new: Option<Data>) {
        if old == new {
            return;
        }
        self.delete.extend(old.map(|data| (key, data)));
        self.add.extend(new.map(|data| (key, data)));
    }
}

/// The change from `old` to `new`.
#[must_use]
pub fn difference(old: &Elements, new: &Elements) -> Change {
    let mut change = Change::default();
    for (key, data) in old {
        change.record(*key, Some(*data), new.get(key).copied());
    }
    for (key, data) in new.iter().filter(|(key, _)| !old.contains_key(key)) {
        change.record(*key, None, Some(*data));
    }
    change
}

/// The elements of every service. An element that several services need (a pod behind two of them) is counted.
#[derive(Debug, Default)]
pub struct Intent {
    services: BTreeMap<Name, Elements>,
    elements: Elements,
    users: BTreeMap<Key, usize>,
}

impl Intent {
    /// All elements.
    #[must_use]
    pub fn elements(&self) -> &Elements {
        &self.elements
    }

    /// How many services have elements.
    #[must_use]
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// Replaces what one service needs and adds to `change` what that means for the kernel. Costs the size of the
    /// service, not of the cluster.
    pub fn set(&mut self, service: &Name, wanted: Elements, change: &mut Change) {
        let had = self.services.remove(service).unwrap_or_default();
        for key in had.keys().filter(|key| !wanted.contains_key(key)) {
            let users = self.users.get_mut(key).expect("a service's elements are counted");
            *users -= 1;
            if *users == 0 {
                self.users.remove(key);
                self.put(*key, None, change);
            }
        }
        for (key, data) in &wanted {
            if !had.contains_key(key) {
                *self.users.entry(*key).or_insert(0) += 1;
            }
            self.put(*key, Some(*data), change);
        }
        if !wanted.is_empty() {
            self.services.insert(service.clone(), wanted);
        }
    }

    fn put(&mut self, key: Key, data: Option<Data>, change: &mut Change) {
        let old = match data {
            Some(data) => self.elements.insert(key, data),
            None => self.elements.remove(&key),
        };
        if old == data {
            return;
        }
        // Within one transaction the first old value and the last new one tell all.
        let first = change.delete.get(&key).copied().or_else(|| old.filter(|_| !change.add.contains_key(&key)));
        change.delete.remove(&key);
        change.add.remove(&key);
        change.record(key, first, data);
    }
}

#[cfg(test)]
mod tests;
