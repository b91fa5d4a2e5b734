//! The store fails, and readers must not notice, or be told.

use super::*;
use crate::cache::state::Prepared;
use crate::store::KeyValue;

/// Waits until the cache has followed `world.store` to its present revision.
async fn settle(world: &World) {
    let revision = world.store.revision().await.unwrap();
    while world.cache.wait_for(revision).await.is_err() {}
}

#[tokio::test(start_paused = true)]
async fn a_dropped_watch_resumes_without_loss() {
    let world = World::new().await;
    let mut watch = world.watch(0, Scope::All).await;
    for round in 0..5 {
        let before = world.put("a/1", "").await;
        world.store.faults().drop_watches();
        world.store.faults().refuse_watches(2);
        let after = world.put("a/1", "n1").await;
        let sign = if round == 0 { '+' } else { '~' };
        assert_eq!(next(&mut watch).await, format!("{sign}a/1@{before}"));
        assert_eq!(next(&mut watch).await, format!("~a/1@{after}"));
    }
    assert_eq!(world.cache.counters().lists(), 1);
    assert!(world.cache.counters().watch_starts() > 5);
}

/// Cuts the cache off, runs `meanwhile`, compacts everything and lets the cache back.
async fn cut_off(world: &World, meanwhile: impl AsyncFnOnce()) {
    world.store.faults().silence_watches(true);
    world.store.faults().drop_watches();
    meanwhile().await;
    let revision = world.store.revision().await.unwrap();
    world.store.compact(revision).await.unwrap();
    world.store.faults().silence_watches(false);
    world.store.faults().drop_watches();
    settle(world).await;
}

#[tokio::test(start_paused = true)]
async fn after_compaction_watchers_get_the_differences() {
    let world = World::new().await;
    world.put("a/1", "").await;
    let second = world.put("a/2", "").await;
    settle(&world).await;
    let mut watch = world.watch(second, Scope::All).await;
    let mut node = world.watch(second, Scope::Index { index: BY_NODE, value: "n1".into() }).await;
    cut_off(&world, async || {
        world.put("a/1", "n1").await;
        world.put("a/3", "").await;
        world.put("a/1", "n2").await;
        world.put("a/2", "n1").await;
    })
    .await;
    assert_eq!(world.cache.counters().lists(), 2);
    assert_eq!(next(&mut watch).await, format!("+a/3@{}", second + 2));
    assert_eq!(next(&mut watch).await, format!("~a/1@{}", second + 3));
    assert_eq!(next(&mut watch).await, format!("~a/2@{}", second + 4));
    assert_eq!(next(&mut node).await, format!("+a/2@{}", second + 4));
    let live = world.put("a/4", "").await;
    assert_eq!(next(&mut watch).await, format!("+a/4@{live}"), "the watch goes on");
    let late = world.pods().watch(second + 1, Scope::All).await;
    let ended = match late {
        Ok(mut watch) => watch.next().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(ended, Err(WatchError::Expired { .. })), "nobody can start inside the gap: {ended:?}");
}

#[tokio::test(start_paused = true)]
async fn watchers_are_ended_where_the_differences_cannot_be_told() {
    for recreate in [false, true] {
        let world = World::new().await;
        let first = world.put("a/1", "").await;
        settle(&world).await;
        let mut watch = world.watch(first, Scope::All).await;
        cut_off(&world, async || {
            world.delete("a/1").await;
            if recreate {
                world.put("a/1", "").await;
            }
            world.put("a/2", "").await;
        })
        .await;
        assert!(matches!(watch.next().await, Err(WatchError::Expired { .. })));
        assert_eq!(world.pods().get("a", "1").is_some(), recreate);
        assert!(world.pods().get("a", "2").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_found_and_replaced() {
    let world = World::new().await;
    settle(&world).await;
    world.store.faults().silence_watches(true);
    let written = world.put("a/1", "").await;
    assert!(world.cache.consistent().await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.cache.revision() >= written, "the list brought it");
    assert!(world.pods().get("a", "1").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_in_time_is_listed_again() {
    let world = World::new().await;
    let first = world.put("a/1", "").await;
    let last = world.put("a/2", "").await;
    settle(&world).await;
    let mut watch = world.watch(last, Scope::All).await;
    world.store.rewind(first);
    drop(world.cache.consistent_revision().await);
    assert!(matches!(watch.next().await, Err(WatchError::Expired { .. })));
    assert_eq!(world.cache.consistent().await.unwrap(), first);
    assert_eq!((world.pods().len(), world.cache.revision()), (1, first));
    let again = world.put("a/3", "").await;
    assert_eq!((again, world.cache.consistent().await.unwrap()), (last, last));
    assert!(world.pods().get("a", "3").is_some());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_cache_has_passed_is_no_doubt() {
    let world = World::new().await;
    world.store.faults().delay_replies(Duration::from_millis(100));
    let before = world.store.revision().await.unwrap();
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.put("a/1", "").await
    };
    let (asked, written) = tokio::join!(world.cache.consistent_revision(), late);
    assert_eq!((asked.unwrap(), written), (before, before + 1));
    world.cache.consistent().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.cache.counters().lists(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_check_finds_a_cache_that_differs() {
    let config = Config { check_interval: Duration::ZERO, ..Config::default() };
    let world = World::start(MemoryStore::new(), config).await;
    world.put("a/1", "").await;
    let revision = world.put("a/2", "").await;
    settle(&world).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!((world.cache.counters().mismatches(), world.cache.counters().lists()), (0, 1));
    let forged = KeyValue {
        key: format!("{PODS}a/3"),
        value: pod("a/3", ""),
        create_revision: 1,
        mod_revision: 1,
        version: 1,
        lease: 0,
        form: crate::Form::Current,
    };
    let forged = world.pods().decode(&forged).unwrap();
    let lost = Prepared::Delete { key: format!("{PODS}a/1"), revision };
    world.pods().apply(vec![Prepared::Put(forged), lost], revision);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(world.cache.counters().mismatches() >= 2);
    assert_eq!(world.cache.counters().lists(), 2);
    assert!(world.pods().get("a", "1").is_some() && world.pods().get("a", "3").is_none());
}

#[tokio::test(start_paused = true)]
async fn the_cache_comes_up_when_the_store_does() {
    let store = MemoryStore::new();
    put(&store, "a/1", "").await;
    store.faults().fail_next(20);
    let world = World::start(store, Config::default()).await;
    assert!(world.pods().get("a", "1").is_some());
}
