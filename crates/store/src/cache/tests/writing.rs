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

/// Says that a write was made, as its answer does.
fn answer(writing: Writing, revision: u64) {
    drop(writing.written(revision).unwrap());
}

#[tokio::test]
async fn what_the_answer_comes_before_is_not_read_either_but_only_once() {
    let rig = Rig::start().await;
    let json = pod("a/1", "n1");
    let writing = rig.announce("a/1", &json, true);
    let stored = writing.json().clone();
    answer(writing, rig.world.store.revision().await.unwrap() + 1);
    assert_eq!(rig.stored("a/1", stored.clone()).await.1, 0, "it was written here");
    assert_eq!(rig.stored("a/1", stored).await.1, 1, "this one was not");
}

#[tokio::test]
async fn what_the_watch_will_not_bring_is_not_kept() {
    let rig = Rig::start().await;
    let waiting = || rig.world.cache.core.writing.waiting();
    let json = pod("a/1", "n1");
    let next = rig.world.store.revision().await.unwrap() + 1;
    // Nobody knows whether it was made.
    drop(rig.announce("a/1", &json, true));
    assert_eq!(waiting(), (0, 0));
    // It was brought already.
    let writing = rig.announce("a/1", &json, true);
    rig.stored("a/1", writing.json().clone()).await;
    answer(writing, next);
    assert_eq!(waiting(), (0, 0));
    // Another write of the object takes its place.
    let first = rig.announce("a/1", &pod("a/1", "n2"), true);
    let bytes = first.json().len();
    answer(first, next + 1);
    assert_eq!(waiting(), (1, bytes));
    drop(rig.announce("a/1", &json, true));
    assert_eq!(waiting(), (0, 0));
    // There is a bound.
    let large = |number: u64, revision| {
        let mut object: Value = serde_json::from_slice(&json).unwrap();
        object["metadata"]["name"] = Value::from(number.to_string());
        object["spec"]["large"] = "x".repeat(3 << 20).into();
        answer(rig.announce(&format!("a/{number}"), &object.to_string().into(), true), revision);
    };
    (0..3).for_each(|number| large(number, next + 1));
    assert_eq!(waiting().0, 2, "three MiB each");
    // What the watch has passed without them makes room.
    rig.stored("a/2", pod("a/2", "n1")).await;
    large(3, next + 9);
    assert_eq!(waiting().0, 1);
    // A list makes an end of all.
    rig.world.cache.list_again();
    tokio::time::timeout(Duration::from_secs(10), async {
        while waiting() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("nothing waits any more");
}
