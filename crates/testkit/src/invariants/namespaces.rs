//! A namespace that is gone is empty, and stays so.

use super::Invariant;
use crate::history::{Step, World};
use crate::object;

/// Nothing is in a namespace that does not exist.
pub(super) struct Emptiness;

impl Invariant for Emptiness {
    fn name(&self) -> &'static str {
        "a namespace that is gone is empty"
    }

    fn step(&mut self, world: &World, step: &Step) -> Vec<String> {
        let Step::Changes { changes, .. } = step else { return Vec::new() };
        let exists = |name: &str| world.find("Namespace", "", name).is_some();
        let mut found = Vec::new();
        for change in changes {
            if let Some(made) = change.created()
                && !object::namespace(made).is_empty()
                && !exists(object::namespace(made))
            {
                found.push(format!("{} was made in a namespace that does not exist", object::title(made)));
            }
            if let Some(gone) = change.removed()
                && object::kind(gone) == "Namespace"
            {
                let name = object::text(gone, "metadata.name");
                let left = world.objects.values().filter(|o| object::namespace(o) == name);
                found.extend(left.map(|o| format!("{} is left though its namespace is gone", object::title(o))));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{History, thing};
    use super::*;

    #[test]
    fn what_is_left_in_or_made_after_the_namespace_is_found() {
        let (namespace, pod) = (thing("Namespace", "", "a"), thing("Pod", "a", "p"));
        let start = || History::default().put([namespace.clone()]).put([pod.clone()]);
        start().remove([&pod]).remove([&namespace]).expect(Emptiness, 0);
        start().remove([&namespace]).expect(Emptiness, 1);
        start().remove([&pod]).remove([&namespace]).put([pod.clone()]).expect(Emptiness, 1);
    }
}
