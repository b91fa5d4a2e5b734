//! What this process writes is not read again.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::*;
use crate::encoded::Draft;

/// Counts the values that are read.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Normalise for Arc<Counting> {
    fn normalise(
        &self,
        key: &str,
        value: &Bytes,
        mod_revision: u64,
    ) -> Result<Encoded, Box<dyn std::error::Error + Send + Sync>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        JsonAsIs.normalise(key, value, mod_revision)
    }
}

struct Rig {
    world: World,
    counting: Arc<Counting>,
}

impl Rig {
    async fn start() -> Self {
        let (store, counting) = (MemoryStore::new(), Arc::new(Counting::default()));
        let views = vec![ViewSpec::new(PODS).index(by_node)];
        let (cache, driver) = Cache::new(Config::default(), Arc::new(store.clone()), Arc::new(counting.clone()), views);
        let shutdown = Shutdown::new();
        task::spawn("driver", driver.run(shutdown.clone()));
        cache.ready().await;
        Self { world: World { store, cache, shutdown }, counting }
    }

    fn announce(&self, key: &str, json: &Bytes, shared: bool) -> Writing {
        let object: Value = serde_json::from_slice(json).unwrap();
        self.world.cache.writing(format!("{PODS}{key}"), Draft::new(&object).unwrap(), shared)
    }

    /// Stores bytes, waits for the cache, and says what it has and how many values it has read.
    async fn stored(&self, key: &str, json: Bytes) -> (String, usize) {
        let revision = commit(&self.world.store, Txn::new().put(format!("{PODS}{key}"), json)).await;
        self.world.cache.wait_for(revision).await.unwrap();
        let (namespace, name) = key.split_once('/').unwrap();
        let found = self.world.pods().get(namespace, name).unwrap();
        assert_eq!((found.rv(), &*found.meta().name, found.key()), (revision, name, &*format!("{PODS}{key}")));
        (String::from_utf8(found.to_bytes(0).to_vec()).unwrap(), self.counting.0.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn the_same_bytes_are_taken_from_the_writer() {
    let rig = Rig::start().await;
    let json = pod("a/1", "n1");
    let (plain, read) = rig.stored("a/1", json.clone()).await;
    assert_eq!(read, 1);
    let writing = rig.announce("a/1", &json, true);
    let (drafted, read) = rig.stored("a/1", writing.json().clone()).await;
    assert_eq!((drafted, read), (plain, 1));
    assert_eq!(rig.world.pods().by_index(BY_NODE, "n1").0.len(), 1);
    let found = rig.world.pods().get("a", "1").unwrap();
    assert_eq!(writing.written(found.rv()).unwrap().json().as_ptr(), found.json().as_ptr(), "one buffer for both");
    // Whoever else writes the same later is taken at its own revision.
    assert_eq!(rig.stored("a/1", json.clone()).await.1, 1);
    drop(writing);
    assert_eq!(rig.stored("a/1", json).await.1, 2, "nothing is announced any more");
}

#[tokio::test]
async fn other_bytes_other_objects_and_other_forms_are_read() {
    let rig = Rig::start().await;
    let json = pod("a/1", "n1");
    let first = rig.announce("a/1", &json, true);
    assert!(rig.stored("a/1", pod("a/1", "n2")).await.0.contains("n2"));
    assert_eq!(rig.stored("a/2", pod("a/2", "n1")).await.1, 2);
    let second = rig.announce("a/1", &pod("a/1", "n3"), true);
    drop(first);
    assert_eq!(rig.stored("a/1", second.json().clone()).await.1, 2, "the second write is still announced");
    let third = rig.announce("a/3", &pod("a/3", "n3"), false);
    assert_eq!(rig.stored("a/3", third.json().clone()).await.1, 3);
}
