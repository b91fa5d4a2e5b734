//! What each controller is given.

use std::{collections::BTreeMap, sync::Arc};

use gantry_client::{Client, events::Recorder};
use gantry_common::{clock::SharedClock, token_keys::Keys};
use tokio_util::sync::CancellationToken;

use crate::{catalog::Catalog, controllers, options::Options, readers::Readers};

/// Cloned into every controller.
#[derive(Clone)]
pub struct Context {
    /// Fenced: its writes are refused once another leader has taken over.
    pub client: Client,
    /// The shared informers.
    pub readers: Arc<Readers>,
    /// The metadata of all objects.
    pub catalog: Arc<Catalog>,
    /// What signs the tokens that are kept in Secrets.
    pub token_keys: Option<Arc<Keys>>,
    /// Wall time.
    pub clock: SharedClock,
    /// Ends the controllers.
    pub stop: CancellationToken,
    /// The flags.
    pub options: Arc<Options>,
}

impl Context {
    /// Records events under the name of one controller.
    #[must_use]
    pub fn recorder(&self, component: &str) -> Recorder {
        Recorder::new(self.client.clone(), Arc::clone(&self.clock), component, "")
    }
}

/// Which controllers run: `*` stands for all that need not be named, `name` adds, `-name` takes away; as kube-controller-manager's flag.
#[must_use]
pub fn selected(name: &str, wanted: &[String]) -> bool {
    let named = wanted.iter().map(|w| w.strip_prefix('-').map_or((w.as_str(), true), |off| (off, false)));
    let named: BTreeMap<&str, bool> = named.map(|(name, on)| (controllers::present_name(name), on)).collect();
    named.get(name).copied().unwrap_or_else(|| named.contains_key("*") && !controllers::NAMED.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::selected;

    #[test]
    fn controllers_are_chosen_by_name() {
        let check = |wanted: &[&str], name, expected| {
            let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
            assert_eq!(selected(name, &wanted), expected, "{wanted:?}");
        };
        check(&["*"], "a", true);
        check(&["*", "-a"], "a", false);
        check(&["*", "-a"], "b", true);
        check(&["a"], "a", true);
        check(&["a"], "b", false);
        check(&["*"], "token-cleaner-controller", false);
        check(&["*", "bootstrapsigner", "tokencleaner"], "token-cleaner-controller", true);
        check(&["*", "-ttl"], "ttl-controller", false);
    }
}
