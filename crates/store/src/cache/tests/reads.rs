//! GET and LIST.

use super::*;

fn keys(page: &Page) -> Vec<&str> {
    page.items.iter().map(|object| object.key().strip_prefix(PODS).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_consistent_read_sees_every_acknowledged_write() {
    let world = World::new().await;
    let written = world.put("a/x", "n1").await;
    assert_eq!(world.cache.consistent().await.unwrap(), written);
    let found = world.pods().get("a", "x").unwrap();
    let expected = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"app":"x"},"name":"x","namespace":"a","resourceVersion":"2","uid":"u"},"spec":{"nodeName":"n1"}}"#;
    assert_eq!(found.to_bytes(found.rv()), expected);
    assert_eq!((found.rv(), found.create_revision(), found.meta().label("app")), (written, written, Some("x")));
    let deleted = world.delete("a/x").await;
    world.cache.consistent().await.unwrap();
    assert_eq!(world.pods().get_at_present("a", "x").1, deleted);
    assert!(world.pods().get("a", "x").is_none());
}

#[tokio::test(start_paused = true)]
async fn revisions_outside_of_the_views_count() {
    let world = World::new().await;
    let elsewhere = commit(&world.store, Txn::new().put("compact_rev_key", Bytes::new())).await;
    assert_eq!(world.cache.consistent().await.unwrap(), elsewhere);
    let unknown = commit(&world.store, Txn::new().put("/registry/zoo/x", Bytes::from("not JSON"))).await;
    assert_eq!(world.cache.consistent().await.unwrap(), unknown);
    assert_eq!(world.pods().snapshot().revision(), unknown, "an empty list is labelled with it");
    assert!(world.cache.undecodable().is_empty(), "what no view covers is not looked at");
}

#[tokio::test(start_paused = true)]
async fn lists_are_cut_by_namespace_place_and_limit() {
    let world = World::new().await;
    for key in ["a/1", "a/2", "a/3", "a-b/1", "b/1", "b/2"] {
        world.put(key, "").await;
    }
    let revision = world.cache.consistent().await.unwrap();
    let snapshot = world.pods().snapshot();
    world.delete("a/2").await;
    world.cache.consistent().await.unwrap();
    let check = |namespace: Option<&str>, after: Option<&str>, limit: usize, expected: &[&str], remaining: usize| {
        let page = snapshot.page(namespace, after, limit);
        assert_eq!((keys(&page), page.remaining, page.revision), (expected.to_vec(), remaining, revision));
    };
    check(None, None, 0, &["a-b/1", "a/1", "a/2", "a/3", "b/1", "b/2"], 0);
    check(Some("a"), None, 0, &["a/1", "a/2", "a/3"], 0);
    check(Some("a"), None, 2, &["a/1", "a/2"], 1);
    check(Some("a"), Some("a/2"), 2, &["a/3"], 0);
    check(None, Some("a/2"), 2, &["a/3", "b/1"], 1);
    check(Some("b"), Some("a/2"), 0, &["b/1", "b/2"], 0);
    check(Some("c"), None, 0, &[], 0);
    assert_eq!(snapshot.count(Some("a"), None), 3);
    assert_eq!(snapshot.get("a", "2").map(|object| &*object.meta().name), Some("2"));
    assert_eq!(world.pods().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_index_follows_changes() {
    let world = World::new().await;
    world.put("a/1", "n1").await;
    world.put("a/2", "n1").await;
    world.put("a/3", "").await;
    let check = async |node: &str, expected: &[&str]| {
        let revision = world.cache.consistent().await.unwrap();
        let (found, at) = world.pods().by_index(BY_NODE, node);
        let found: Vec<&str> = found.iter().map(|pod| &*pod.meta().name).collect();
        assert_eq!((found, at), (expected.to_vec(), revision), "{node}");
    };
    check("n1", &["1", "2"]).await;
    world.put("a/3", "n1").await;
    world.put("a/1", "n2").await;
    world.delete("a/2").await;
    check("n1", &["3"]).await;
    check("n2", &["1"]).await;
    check("n3", &[]).await;
}

#[tokio::test(start_paused = true)]
async fn pages_of_an_old_revision_come_from_history_or_the_store() {
    let config = Config { history_events: 4, ..Config::default() };
    let world = World::start(MemoryStore::new(), config).await;
    let mut states: Vec<(u64, Vec<String>)> = Vec::new();
    for number in 0..12_u32 {
        let revision = match number % 4 {
            3 => world.delete(&format!("a/{}", number - 1)).await,
            _ => world.put(&format!("a/{number}"), "").await,
        };
        world.cache.consistent().await.unwrap();
        let snapshot = world.pods().snapshot();
        states.push((revision, snapshot.list(None, None).map(|pod| pod.meta().name.to_string()).collect()));
    }
    let from_history = states.iter().filter(|(revision, _)| world.pods().snapshot_at(*revision).is_ok()).count();
    assert_eq!(from_history, 5, "four events can be undone");
    for (revision, names) in &states {
        let page = world.pods().page_at(*revision, Some("a"), None, 3).await.unwrap();
        let found: Vec<_> = page.items.iter().map(|pod| pod.meta().name.to_string()).collect();
        assert_eq!(found, names[..names.len().min(3)], "at {revision}");
        assert_eq!((page.remaining, page.revision), (names.len().saturating_sub(3), *revision));
    }
    world.store.compact(states[3].0).await.unwrap();
    let gone = world.pods().page_at(states[1].0, None, None, 0).await;
    assert!(matches!(gone, Err(Error::Expired { requested, .. }) if requested == states[1].0), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_servers_compact_is_gone_from_pages_and_not_from_watches() {
    let world = World::new().await;
    let mut revisions = Vec::new();
    for name in ["a/1", "a/2", "a/3"] {
        revisions.push(world.put(name, "").await);
    }
    let page = async |revision| {
        world.cache.consistent().await.unwrap();
        world.pods().page_at(revision, None, None, 0).await.map(|page| page.items.len())
    };
    let announce =
        async |text: String| commit(&world.store, Txn::new().put(crate::compact::KEY, Bytes::from(text))).await;
    for nothing in ["0".to_owned(), "x".to_owned(), (revisions[2] + 1_000).to_string()] {
        announce(nothing).await;
        assert_eq!(page(revisions[0]).await.unwrap(), 1);
    }
    // Another server compacts; this one's history is complete.
    announce(revisions[1].to_string()).await;
    let gone = page(revisions[0]).await;
    assert!(matches!(gone, Err(Error::Expired { requested, .. }) if requested == revisions[0]), "{gone:?}");
    assert_eq!(page(revisions[1]).await.unwrap(), 2, "as etcd has it, the revision itself is left");
    announce("1".to_owned()).await;
    assert!(page(revisions[0]).await.is_err(), "what is gone does not come back");
    let mut watch = world.watch(revisions[0], Scope::All).await;
    assert_eq!(next(&mut watch).await, format!("+a/2@{}", revisions[1]));
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_does_not_come_times_out() {
    let world = World::new().await;
    let current = world.cache.consistent().await.unwrap();
    let waited = world.cache.wait_for(current + 1).await;
    assert!(matches!(waited, Err(Error::TooLarge { requested, current: at }) if requested == at + 1 && at == current));
    let (waited, written) = tokio::join!(world.cache.wait_for(current + 1), world.put("a/1", ""));
    assert!(waited.is_ok() && written == current + 1);
    let watched = world.pods().watch(current + 9, Scope::All).await;
    assert!(matches!(watched.map(drop), Err(WatchError::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn consistent_reads_share_their_questions() {
    let world = World::new().await;
    world.store.faults().delay(Duration::from_millis(10));
    let before = world.cache.counters().revision_reads();
    let all = futures::future::join_all((0..1_000).map(|_| world.cache.consistent())).await;
    assert!(all.iter().all(Result::is_ok));
    let reads = world.cache.counters().revision_reads() - before;
    assert!((1..=2).contains(&reads), "{reads} questions for 1,000 readers");
    world.store.faults().fail_next(1);
    assert!(matches!(world.cache.consistent().await, Err(Error::Store { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_served_is_kept_aside() {
    let store = MemoryStore::new();
    put(&store, "a/bad", "").await;
    let bad = commit(&store, Txn::new().put(format!("{PODS}a/bad"), Bytes::from("\0"))).await;
    let good = put(&store, "a/good", "").await;
    let world = World::start(store, Config { startup_revisions: 0, ..Config::default() }).await;
    let aside = |world: &World| {
        world.cache.undecodable().iter().map(|what| (what.key.clone(), what.mod_revision)).collect::<Vec<_>>()
    };
    assert_eq!(aside(&world), [(format!("{PODS}a/bad"), bad)]);
    assert_eq!(keys(&world.pods().snapshot().page(None, None, 0)), ["a/good"]);
    let mut watch = world.watch(good, Scope::All).await;
    let broken = commit(&world.store, Txn::new().put(format!("{PODS}a/good"), Bytes::from("{}"))).await;
    assert_eq!(next(&mut watch).await, format!("-a/good@{broken}"), "readers lose it");
    let mended = world.put("a/bad", "").await;
    assert_eq!(next(&mut watch).await, format!("+a/bad@{mended}"));
    assert_eq!(aside(&world), [(format!("{PODS}a/good"), broken)]);
    world.delete("a/good").await;
    world.cache.consistent().await.unwrap();
    assert!(aside(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_of_several_pages_is_read_whole() {
    for objects in [0, 1_499, 1_500, 1_501, 3_200] {
        let store = MemoryStore::new();
        for number in 0..objects {
            put(&store, &format!("a/{number:05}"), "n1").await;
        }
        let world = World::start(store, Config { startup_revisions: 0, ..Config::default() }).await;
        assert_eq!((world.pods().len(), world.pods().by_index(BY_NODE, "n1").0.len()), (objects, objects));
    }
}

#[test]
#[should_panic(expected = "views must not overlap")]
fn overlapping_views_are_refused() {
    let views = vec![ViewSpec::new("/registry/a/"), ViewSpec::new("/registry/a/b/")];
    drop(Cache::new(Config::default(), Arc::new(MemoryStore::new()), Arc::new(JsonAsIs), views));
}
