//! Writers that got into each other's way take turns, so that none of them starves.
//!
//! The store decides by comparing revisions, which is right for any number of servers. But of many writers of one key the
//! slow ones could lose again and again. Whoever lost once waits here for those who lost before; nobody else does.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// Queues for objects; two objects that share one only wait a little longer.
const QUEUES: usize = 64;

/// The queues of a server.
pub(crate) struct Turns {
    objects: Vec<Mutex<()>>,
    /// For the keys that allocators share.
    allocation: Mutex<()>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            objects: std::iter::repeat_with(Mutex::default).take(QUEUES).collect(),
            allocation: Mutex::default(),
            hasher: RandomState::new(),
        }
    }
}

/// The turns that one write holds until it is done. The object's is taken before the allocators', if both are.
#[derive(Default)]
pub(crate) struct Held<'a> {
    object: Option<MutexGuard<'a, ()>>,
    allocation: Option<MutexGuard<'a, ()>>,
}

impl<'a> Held<'a> {
    /// Waits for the turn among those who lost the object at `key`.
    pub(crate) async fn object(&mut self, turns: &'a Turns, key: &str) {
        // Waiting for an object while holding the allocators could wait for someone who waits for them.
        if self.object.is_none() && self.allocation.is_none() {
            let queue = usize::try_from(turns.hasher.hash_one(key) % QUEUES as u64).unwrap_or_default();
            self.object = Some(turns.objects[queue].lock().await);
        }
    }

    /// Waits for the turn among those who lost an allocation.
    pub(crate) async fn allocation(&mut self, turns: &'a Turns) {
        if self.allocation.is_none() {
            self.allocation = Some(turns.allocation.lock().await);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_turn_is_held_until_the_write_is_done() {
        let turns = Turns::default();
        let (mut first, mut second) = (Held::default(), Held::default());
        first.object(&turns, "a").await;
        first.object(&turns, "a").await;
        assert!(second.object(&turns, "a").now_or_never().is_none(), "taken");
        first.allocation(&turns).await;
        assert!(second.allocation(&turns).now_or_never().is_none(), "taken");
        drop(first);
        assert!(second.allocation(&turns).now_or_never().is_some());
        let mut third = Held::default();
        third.object(&turns, "a").await;
        assert!(second.object(&turns, "a").now_or_never().is_some(), "it does not wait while it holds the allocators");
    }
}
