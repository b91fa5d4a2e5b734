//! The objects that tokens are bound to: as the cache has them, or as the store does where the cache has not heard of them yet.
//!
//! A token may be shown here right after it was made through another API server, before this one's cache has been told of its
//! account or pod. Whoever holds a token that was good once can make the store be asked too, so questions are few at a time,
//! and none is asked again that the store has answered with no: an object that has gone does not come back with its UID.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use gantry_api::Value;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tracing::debug;

use super::service_account::{Bound, Live, LiveObject};

/// Questions to the store at once.
const ASKED_AT_ONCE: usize = 8;
/// How long a question may take, its turn included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Objects that are known not to be there at most; past it the knowledge starts anew.
const ABSENT_MAX: usize = 16_384;

/// One object.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Anchor<'a> {
    /// As of [`Live`].
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// What tells it from a namesake: its UID, or the token that it holds. Empty where any will do.
    pub(crate) mark: &'a str,
}

/// Finds what tokens are bound to.
pub(crate) struct Anchors {
    live: Arc<dyn Live + Send + Sync>,
    turns: Semaphore,
    /// Hashes of what the store does not have.
    absent: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

impl Anchors {
    pub(crate) fn new(live: Arc<dyn Live + Send + Sync>) -> Self {
        Self { live, turns: Semaphore::new(ASKED_AT_ONCE), absent: Mutex::default(), hasher: RandomState::new() }
    }

    /// The object that `bound` means, else its namesake.
    pub(crate) async fn find(&self, resource: &str, namespace: &str, bound: &Bound) -> Option<LiveObject> {
        let anchor = Anchor { resource, namespace, name: &bound.name, mark: &bound.uid };
        let cached = || self.live.find(resource, namespace, &bound.name);
        let is_it = |found: &LiveObject| bound.uid.is_empty() || found.uid == bound.uid;
        self.settle(anchor, cached, is_it, |value| LiveObject::of(&value)).await
    }

    /// The whole object of which `is_it` is true, else its namesake.
    pub(crate) async fn object(&self, anchor: Anchor<'_>, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        let cached = || self.live.object(anchor.resource, anchor.namespace, anchor.name);
        self.settle(anchor, cached, is_it, |value| value).await
    }

    /// The whole object as the cache has it.
    pub(crate) fn cached(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.live.object(resource, namespace, name)
    }

    async fn settle<T>(
        &self,
        anchor: Anchor<'_>,
        cached: impl Fn() -> Option<T>,
        is_it: impl Fn(&T) -> bool,
        read: impl Fn(Value) -> T,
    ) -> Option<T> {
        let found = cached();
        if found.as_ref().is_some_and(&is_it) || self.is_absent(anchor) {
            return found;
        }
        let asking = async {
            let _turn = self.turns.acquire().await.ok()?;
            // The cache may have heard of it meanwhile, or whoever was before may have asked the same.
            let found = cached();
            if found.as_ref().is_some_and(&is_it) || self.is_absent(anchor) {
                return Some(found);
            }
            match self.live.stored(anchor.resource, anchor.namespace, anchor.name).await {
                Ok(stored) => Some(stored.map(&read)),
                Err(why) => {
                    let Anchor { resource, namespace, name, .. } = anchor;
                    debug!(resource, namespace, name, why, "the store was asked in vain for what a token is bound to");
                    None
                }
            }
        };
        // Boxed, since hardly any request comes here, and all would be larger for it.
        let asked = Box::pin(tokio::time::timeout(PATIENCE, asking)).await;
        let Some(stored) = asked.ok().flatten() else { return found };
        if !stored.as_ref().is_some_and(&is_it) {
            self.set_absent(anchor);
        }
        stored
    }

    fn is_absent(&self, anchor: Anchor<'_>) -> bool {
        self.absent.lock().contains(&self.hasher.hash_one(anchor))
    }

    fn set_absent(&self, anchor: Anchor<'_>) {
        let mut absent = self.absent.lock();
        if absent.len() >= ABSENT_MAX {
            absent.clear();
        }
        absent.insert(self.hasher.hash_one(anchor));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use async_trait::async_trait;
    use gantry_api::value;
    use serde_json::json;

    use super::*;

    /// A store with one account, and a cache that knows of it or not.
    #[derive(Default)]
    struct Lagging {
        has_heard: AtomicBool,
        fails: AtomicBool,
        asked: AtomicUsize,
        at_once: AtomicUsize,
        most_at_once: AtomicUsize,
    }

    #[async_trait]
    impl Live for Lagging {
        fn find(&self, _: &str, _: &str, name: &str) -> Option<LiveObject> {
            self.object("", "", name).map(|object| LiveObject::of(&object))
        }

        fn object(&self, _: &str, _: &str, name: &str) -> Option<Value> {
            let heard = name == "web" && self.has_heard.load(Ordering::Relaxed);
            heard.then(|| json!({"metadata": {"uid": "new"}}))
        }

        async fn stored(&self, _: &str, _: &str, name: &str) -> Result<Option<Value>, String> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let now = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_at_once.fetch_max(now, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.at_once.fetch_sub(1, Ordering::Relaxed);
            if self.fails.load(Ordering::Relaxed) {
                return Err("no leader".to_owned());
            }
            Ok((name == "web").then(|| json!({"metadata": {"uid": "new"}})))
        }
    }

    struct Case {
        live: Arc<Lagging>,
        anchors: Anchors,
    }

    impl Case {
        fn new() -> Self {
            let live = Arc::new(Lagging::default());
            Self { anchors: Anchors::new(live.clone()), live }
        }

        /// The UID of what is found, and how often the store has been asked so far.
        async fn find(&self, name: &str, uid: &str) -> (Option<String>, usize) {
            let bound = Bound { name: name.to_owned(), uid: uid.to_owned() };
            let found = self.anchors.find("serviceaccounts", "a", &bound).await;
            (found.map(|found| found.uid), self.live.asked.load(Ordering::Relaxed))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_asked_for_what_the_cache_has_not_heard_of() {
        let case = Case::new();
        let new = Some("new".to_owned());
        assert_eq!(case.find("web", "new").await, (new.clone(), 1));
        let whole = Anchor { resource: "serviceaccounts", namespace: "a", name: "web", mark: "new" };
        let found = case.anchors.object(whole, |object| value::str_at(object, "metadata.uid") == Some("new")).await;
        assert!(found.is_some());
        case.live.has_heard.store(true, Ordering::Relaxed);
        assert_eq!(case.find("web", "new").await, (new.clone(), 2), "the cache knows");
        assert_eq!(case.find("web", "").await, (new, 2), "any will do");
    }

    #[tokio::test(start_paused = true)]
    async fn attack_the_store_is_not_asked_again_for_what_has_gone() {
        let case = Case::new();
        for _ in 0..3 {
            assert_eq!(case.find("gone", "old").await, (None, 1));
        }
        case.live.has_heard.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            assert_eq!(case.find("web", "old").await, (Some("new".to_owned()), 2), "a namesake is there");
        }
        assert_eq!(case.find("gone", "older").await, (None, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn attack_the_store_is_asked_a_few_questions_at_a_time() {
        let case = Case::new();
        let names: Vec<String> = (0..24).map(|n| format!("gone-{n}")).collect();
        futures::future::join_all(names.iter().map(|name| case.find(name, "old"))).await;
        assert_eq!(case.live.most_at_once.load(Ordering::Relaxed), ASKED_AT_ONCE);
        let same = Case::new();
        futures::future::join_all((0..100).map(|_| same.find("gone", "old"))).await;
        assert_eq!(same.live.asked.load(Ordering::Relaxed), ASKED_AT_ONCE, "the others have their answer then");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_says_nothing_of_what_is_there() {
        let case = Case::new();
        case.live.fails.store(true, Ordering::Relaxed);
        assert_eq!(case.find("web", "new").await, (None, 1));
        case.live.fails.store(false, Ordering::Relaxed);
        assert_eq!(case.find("web", "new").await, (Some("new".to_owned()), 2));
    }
}
