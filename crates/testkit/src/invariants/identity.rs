//! Revisions only rise; what is gone stays gone.

use std::collections::BTreeMap;

use super::Invariant;
use crate::history::{Step, World};
use crate::object;

/// Each transaction has a higher revision than the one before.
#[derive(Default)]
pub(super) struct Revisions {
    last: u64,
}

impl Invariant for Revisions {
    fn name(&self) -> &'static str {
        "revisions rise"
    }

    fn step(&mut self, _: &World, step: &Step) -> Vec<String> {
        let Step::Changes { revision, .. } = step else { return Vec::new() };
        let last = std::mem::replace(&mut self.last, *revision);
        if *revision > last { Vec::new() } else { vec![format!("revision {revision} came after {last}")] }
    }
}

/// A uid belongs to one life of one object.
#[derive(Default)]
pub(super) struct Resurrection {
    /// Key of each uid, and whether it is gone.
    seen: BTreeMap<String, (String, bool)>,
}

impl Invariant for Resurrection {
    fn name(&self) -> &'static str {
        "no object is resurrected"
    }

    fn step(&mut self, _: &World, step: &Step) -> Vec<String> {
        let Step::Changes { changes, .. } = step else { return Vec::new() };
        let mut found = Vec::new();
        for change in changes {
            let newest = change.newest();
            let uid = object::uid(newest);
            if uid.is_empty() {
                continue;
            }
            if let Some((before, after)) = change.updated()
                && object::uid(before) != object::uid(after)
            {
                found.push(format!("{} changed its uid", object::title(after)));
            }
            let life = self.seen.entry(uid.to_owned()).or_insert_with(|| (change.key.clone(), false));
            if life.1 && change.after.is_some() {
                found.push(format!("{} with uid {uid} was gone and is back", object::title(newest)));
            }
            if life.0 != change.key {
                found.push(format!("uid {uid} belongs to {} and to {}", life.0, change.key));
            }
            life.1 = change.after.is_none();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::super::sample::{History, thing, with};
    use super::*;

    #[test]
    fn what_is_gone_stays_gone() {
        let pod = thing("Pod", "a", "p");
        let lives = || History::default().put([pod.clone()]).put([with(pod.clone(), "x", 1)]).remove([&pod]);
        lives().expect(Resurrection::default(), 0);
        lives().put([with(pod.clone(), "metadata.uid", "new")]).expect(Resurrection::default(), 0);
        lives().put([pod.clone()]).expect(Resurrection::default(), 1);
        let stolen = with(thing("Pod", "a", "q"), "metadata.uid", object::uid(&pod));
        History::default().put([pod.clone()]).put([stolen]).expect(Resurrection::default(), 1);
        let changed = with(pod.clone(), "metadata.uid", "new");
        History::default().put([pod]).put([changed]).expect(Resurrection::default(), 1);
    }

    #[test]
    fn revisions_rise() {
        let check = |revisions: &[u64]| {
            let step = |revision: &u64| Step::Changes { revision: *revision, changes: Vec::new() };
            let steps: Vec<_> = revisions.iter().map(step).collect();
            check(vec![Box::new(Revisions::default())], &steps).len()
        };
        assert_eq!(check(&[1, 2, 5]), 0);
        assert_eq!(check(&[1, 2, 2]), 1);
        assert_eq!(check(&[3, 2, 5]), 1);
    }
}
