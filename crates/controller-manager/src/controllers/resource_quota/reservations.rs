//! Which amounts of a quota others have changed, and when.

use std::collections::BTreeMap;

use gantry_api::quota::Usage;

/// What is known of the reservations in one quota.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    /// The last status that was seen or written, and its revision.
    last: Option<(u64, Usage)>,
    /// By amount, the revision of the last status in which somebody else had changed it.
    changed: BTreeMap<String, u64>,
}

impl Reservations {
    /// The quota states this usage at this revision.
    pub(super) fn saw(&mut self, used: &Usage, revision: u64) {
        let before = match &self.last {
            Some((known, _)) if *known >= revision => return,
            last => last.as_ref().map(|(_, used)| used),
        };
        let other = |name: &&String| before.is_none_or(|before| before.get(*name) != used.get(*name));
        let changed: Vec<String> = used.keys().filter(other).cloned().collect();
        self.changed.retain(|name, _| used.contains_key(name));
        self.changed.extend(changed.into_iter().map(|name| (name, revision)));
        self.last = Some((revision, used.clone()));
    }

    /// This usage was written, with this revision.
    pub(super) fn wrote(&mut self, used: Usage, revision: u64) {
        self.last = Some((revision, used));
    }

    /// The revision of the last reservation that the amount is known to contain.
    pub(super) fn revision_of(&self, name: &str) -> u64 {
        self.changed.get(name).copied().unwrap_or(0)
    }
}
