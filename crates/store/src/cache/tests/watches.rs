//! WATCH without faults.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_a_list_ended() {
    let world = World::new().await;
    world.put("a/1", "").await;
    world.cache.consistent().await.unwrap();
    let snapshot = world.pods().snapshot();
    let changed = world.put("a/1", "n1").await;
    let mut watch = world.watch(snapshot.revision(), Scope::All).await;
    assert_eq!(next(&mut watch).await, format!("~a/1@{changed}"));
    let deleted = world.delete("a/1").await;
    let event = watch.next().await.unwrap();
    assert_eq!((told(&event), event.object.rv()), (format!("-a/1@{deleted}"), changed));
    let sent = event.object.to_bytes(event.revision);
    assert!(std::str::from_utf8(&sent).unwrap().contains(&format!(r#""resourceVersion":"{deleted}""#)));
    world.cache.consistent().await.unwrap();
    assert_eq!(watch.progress(), Some(deleted));
    assert!(watch.try_next().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn watchers_hear_of_their_scope_only() {
    let world = World::new().await;
    let from = world.cache.consistent().await.unwrap();
    let name = |namespace: Option<&str>| Scope::Name { namespace: namespace.map(Into::into), name: "1".into() };
    let index = |value: &str| Scope::Index { index: BY_NODE, value: value.into() };
    let scopes = [Scope::All, scope_of("a"), name(Some("a")), name(None), index("n1"), index("n2")];
    let mut watches = Vec::new();
    for scope in scopes.iter().cloned() {
        watches.push(world.watch(from, scope).await);
    }
    for (key, node) in [("a/1", ""), ("b/1", "n1"), ("a/2", "n1"), ("a/2", "n2"), ("a/1", "n1"), ("b/1", "")] {
        world.put(key, node).await;
    }
    world.delete("a/2").await;
    world.cache.consistent().await.unwrap();
    let expected: [&[&str]; 6] = [
        &["+a/1@2", "+b/1@3", "+a/2@4", "~a/2@5", "~a/1@6", "~b/1@7", "-a/2@8"],
        &["+a/1@2", "+a/2@4", "~a/2@5", "~a/1@6", "-a/2@8"],
        &["+a/1@2", "~a/1@6"],
        &["+a/1@2", "+b/1@3", "~a/1@6", "~b/1@7"],
        &["+b/1@3", "+a/2@4", "-a/2@5", "+a/1@6", "-b/1@7"],
        &["+a/2@5", "-a/2@8"],
    ];
    for ((watch, scope), expected) in watches.iter_mut().zip(scopes).zip(expected) {
        let mut replayed = world.watch(from, scope.clone()).await;
        assert_eq!(drain(watch), expected, "live {scope:?}");
        assert_eq!(drain(&mut replayed), expected, "replayed {scope:?}");
    }
}

fn drain(watch: &mut Subscription) -> Vec<String> {
    std::iter::from_fn(|| watch.try_next().unwrap()).map(|event| told(&event)).collect()
}

#[tokio::test(start_paused = true)]
async fn many_events_can_be_taken_at_once() {
    let world = World::new().await;
    let mut watch = world.watch(0, Scope::All).await;
    for _ in 0..1_000 {
        world.put("a/1", "").await;
    }
    world.cache.consistent().await.unwrap();
    assert_eq!(drain(&mut watch).len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn what_leaves_a_scope_is_sent_as_it_last_was_in_it() {
    let world = World::new().await;
    let first = world.put("a/1", "n1").await;
    let mut watch = world.watch(first, Scope::Index { index: BY_NODE, value: "n1".into() }).await;
    let left = world.put("a/1", "n2").await;
    let event = watch.next().await.unwrap();
    assert_eq!((event.change, event.revision, event.object.rv()), (Change::Deleted, left, first));
}

#[tokio::test(start_paused = true)]
async fn selectors_turn_changes_into_arrivals_and_departures() {
    let world = World::new().await;
    let mut watch = world.watch(0, Scope::All).await;
    for node in ["", "n1", "n1", ""] {
        world.put("a/1", node).await;
    }
    world.put("a/1", "n1").await;
    world.delete("a/1").await;
    world.cache.consistent().await.unwrap();
    let mut seen = Vec::new();
    while let Some(event) = watch.try_next().unwrap() {
        seen.push(event.select(|pod| by_node(pod).is_some()).map(|(change, object)| (change, object.rv())));
    }
    let expected = [
        None,
        Some((Change::Added, 3)),
        Some((Change::Modified, 4)),
        Some((Change::Deleted, 4)),
        Some((Change::Added, 6)),
        Some((Change::Deleted, 6)),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_is_ended_and_others_go_on() {
    let config = Config { queue_events: 8, ..Config::default() };
    let world = World::start(MemoryStore::new(), config).await;
    let from = world.cache.consistent().await.unwrap();
    let mut slow = world.watch(from, Scope::All).await;
    let mut other = world.watch(from, scope_of("b")).await;
    for _ in 0..9 {
        world.put("a/1", "").await;
    }
    let last = world.put("b/1", "").await;
    world.cache.consistent().await.unwrap();
    assert_eq!(slow.progress(), None);
    for number in 1..=8 {
        assert_eq!(slow.next().await.unwrap().revision, from + number, "what was queued is delivered");
    }
    assert_eq!(slow.next().await.unwrap_err(), WatchError::Overflow { revision: from + 9 });
    assert_eq!(next(&mut other).await, format!("+b/1@{last}"));
    assert_eq!(world.pods().watchers(), 1);
    let mut again = world.watch(from + 8, Scope::All).await;
    assert_eq!(again.next().await.unwrap().revision, from + 9, "it may go on where it was");
    drop((again, other));
    assert_eq!(world.pods().watchers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_history() {
    let store = MemoryStore::new();
    let first = put(&store, "a/1", "").await;
    let second = put(&store, "a/1", "n1").await;
    let third = put(&store, "a/2", "").await;
    let world = World::start(store, Config::default()).await;
    let mut watch = world.watch(first, Scope::All).await;
    assert_eq!(next(&mut watch).await, format!("~a/1@{second}"));
    assert_eq!(next(&mut watch).await, format!("+a/2@{third}"));
}

#[tokio::test(start_paused = true)]
async fn a_restart_after_compaction_starts_there() {
    let store = MemoryStore::new();
    let first = put(&store, "a/1", "").await;
    let second = put(&store, "a/1", "n1").await;
    put(&store, "a/2", "").await;
    store.compact(second).await.unwrap();
    let world = World::start(store, Config::default()).await;
    assert_eq!(world.pods().oldest_revision(), second);
    let mut watch = world.watch(second, Scope::All).await;
    assert_eq!(next(&mut watch).await, format!("+a/2@{}", second + 1));
    let mut gone = world.watch(first - 1, Scope::All).await;
    assert!(matches!(gone.next().await, Err(WatchError::Expired { requested, .. }) if requested == first - 1));
}

#[tokio::test(start_paused = true)]
async fn history_older_than_the_ring_comes_from_the_store() {
    let config = Config { history_events: 4, gap_watches: 1, ..Config::default() };
    let world = World::start(MemoryStore::new(), config).await;
    let from = world.cache.consistent().await.unwrap();
    for number in 0..50 {
        world.put(&format!("a/{}", number % 7), if number % 2 == 0 { "n1" } else { "n2" }).await;
        world.put("b/1", "").await;
    }
    world.cache.consistent().await.unwrap();
    assert_eq!(world.pods().history().0, 4);
    let mut watch = world.watch(from, scope_of("a")).await;
    let refused = world.pods().watch(from, Scope::All).await;
    assert!(matches!(refused.map(drop), Err(WatchError::Expired { .. })), "few at a time");
    for number in 0..50 {
        let event = watch.next().await.unwrap();
        let change = if number < 7 { Change::Added } else { Change::Modified };
        assert_eq!((event.revision, event.change), (from + 1 + 2 * number, change));
    }
    assert!(watch.try_next().unwrap().is_none());
    let live = world.put("a/9", "").await;
    assert_eq!(next(&mut watch).await, format!("+a/9@{live}"), "then it is live");
    assert!(world.pods().watch(from, Scope::All).await.is_ok(), "the permit is free again");
}

#[tokio::test(start_paused = true)]
async fn old_history_may_be_ahead_of_the_cache() {
    let config = Config { history_events: 1, ..Config::default() };
    let world = World::start(MemoryStore::new(), config).await;
    for _ in 0..3 {
        world.put("a/1", "").await;
    }
    world.cache.consistent().await.unwrap();
    let mut watch = world.watch(0, Scope::All).await;
    let ahead = world.put("a/2", "").await;
    assert!(world.cache.revision() < ahead);
    assert_eq!(drain(&mut watch).len(), 4);
    world.cache.consistent().await.unwrap();
    assert!(watch.try_next().unwrap().is_none(), "nothing comes twice");
    let live = world.put("a/2", "").await;
    assert_eq!(next(&mut watch).await, format!("~a/2@{live}"));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_watches() {
    let config = Config { history_events: 1, ..Config::default() };
    let world = World::start(MemoryStore::new(), config).await;
    world.put("a/1", "").await;
    world.put("a/1", "").await;
    let from = world.cache.consistent().await.unwrap();
    let mut watch = world.watch(from, Scope::All).await;
    world.store.faults().silence_watches(true);
    let mut old = world.watch(0, Scope::All).await;
    world.shutdown.trigger();
    assert_eq!(watch.next().await.unwrap_err(), WatchError::Closed);
    assert_eq!(old.next().await.unwrap_err(), WatchError::Closed);
    let mut late = world.watch(from, Scope::All).await;
    assert_eq!(late.next().await.unwrap_err(), WatchError::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_told_in_turns() {
    const CROWD: usize = 100;
    // Half of them are a crowd each.
    const PAUSE: Duration = Duration::from_millis(5);
    let world = World::new().await;
    let from = world.cache.consistent().await.unwrap();
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        crowd.push(world.watch(from, if number % 2 == 0 { Scope::All } else { scope_of("a") }).await);
    }
    let mut one = world.watch(from, Scope::Name { namespace: None, name: "1".into() }).await;
    let started = tokio::time::Instant::now();
    let first = world.put("a/1", "").await;
    for watch in &mut crowd {
        assert_eq!(next(watch).await, format!("+a/1@{first}"));
    }
    assert!(started.elapsed() < PAUSE / 2, "the first event is told at once");
    let second = world.put("a/1", "").await;
    let third = world.put("a/1", "").await;
    world.cache.consistent().await.unwrap();
    assert_eq!(drain(&mut one), [format!("+a/1@{first}"), format!("~a/1@{second}"), format!("~a/1@{third}")]);
    assert!(crowd.iter_mut().all(|watch| watch.try_next().unwrap().is_none()), "the others wait");
    assert!(crowd.iter().all(|watch| watch.progress() == Some(first)), "no bookmark overtakes an event");
    tokio::time::sleep_until(started + PAUSE).await;
    tokio::task::yield_now().await;
    for watch in &mut crowd {
        assert_eq!(drain(watch), [format!("~a/1@{second}"), format!("~a/1@{third}")]);
    }
    assert!(crowd.iter().all(|watch| watch.progress() == Some(third)));
}

/// Two crowds that hear of the same event have turns of their own, at different times.
#[tokio::test(start_paused = true)]
async fn every_crowd_has_its_turn() {
    let world = World::new().await;
    let from = world.cache.consistent().await.unwrap();
    let mut crowds = Vec::new();
    for (scope, watchers) in [(Scope::All, 200), (scope_of("a"), 50), (scope_of("b"), 100)] {
        let watch = world.watch(from, scope).await;
        watch.speak_for(watchers);
        crowds.push(watch);
    }
    let events = ["a/1", "b/1", "a/2", "b/2"];
    let txn = events.iter().fold(Txn::new(), |txn, key| txn.put(format!("{PODS}{key}"), pod(key, "")));
    let revision = commit(&world.store, txn).await;
    world.cache.consistent().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let heard: Vec<_> = crowds.iter_mut().map(drain).collect();
    let expected = |keys: &[&str]| keys.iter().map(|key| format!("+{key}@{revision}")).collect::<Vec<_>>();
    assert_eq!(heard, [expected(&events), expected(&["a/1", "a/2"]), expected(&["b/1", "b/2"])]);
    assert!(crowds.iter().all(|watch| watch.progress() == Some(revision)));
}

/// A lease's end deletes many objects at one revision.
#[tokio::test(start_paused = true)]
async fn no_bookmark_is_within_a_revision() {
    let world = World::new().await;
    let lease = world.store.lease_grant(Duration::from_secs(100)).await.unwrap();
    for name in ["a/1", "a/2", "a/3"] {
        let put = Txn::new().put_with_lease(format!("{PODS}{name}"), pod(name, ""), lease);
        commit(&world.store, put).await;
    }
    let from = world.cache.consistent().await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..=SMALL_CROWD {
        crowd.push(world.watch(from, Scope::All).await);
    }
    world.store.lease_revoke(lease).await.unwrap();
    let end = world.cache.consistent().await.unwrap();
    for watch in &mut crowd {
        assert_eq!(next(watch).await, format!("-a/1@{end}"));
        assert_eq!(watch.try_next().unwrap().map(|event| told(&event)), None, "the others wait for their turn");
        assert_eq!(watch.progress(), None);
    }
    for watch in &mut crowd {
        assert_eq!((next(watch).await, next(watch).await), (format!("-a/2@{end}"), format!("-a/3@{end}")));
    }
    assert!(crowd.iter().all(|watch| watch.progress() == Some(end)));
}

#[tokio::test(start_paused = true)]
async fn one_who_speaks_for_many_is_a_crowd() {
    let world = World::new().await;
    let from = world.cache.consistent().await.unwrap();
    let mut watch = world.watch(from, Scope::All).await;
    let mut told = async |watchers: usize| {
        watch.speak_for(watchers);
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.put("a/1", "").await;
        world.put("a/1", "").await;
        world.cache.consistent().await.unwrap();
        let at_once = drain(&mut watch).len();
        tokio::time::sleep(Duration::from_millis(100)).await;
        (at_once, drain(&mut watch).len())
    };
    assert_eq!(told(SMALL_CROWD).await, (2, 0));
    assert_eq!(told(SMALL_CROWD + 1).await, (1, 1), "the second waits for its turn");
    assert_eq!(told(1).await, (2, 0));
}

/// A crowd that was told of a first pod and waits for the second, and where its watches began.
async fn waiting_crowd() -> (World, Vec<Subscription>, u64) {
    let world = World::new().await;
    let from = world.cache.consistent().await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(world.watch(from, Scope::All).await);
    }
    world.put("a/1", "").await;
    world.put("a/2", "").await;
    world.cache.consistent().await.unwrap();
    (world, crowd, from)
}

#[tokio::test(start_paused = true)]
async fn whoever_joins_a_waiting_crowd_is_told_once() {
    let (world, mut crowd, from) = waiting_crowd().await;
    crowd.push(world.watch(from, Scope::All).await);
    world.put("a/3", "").await;
    for watch in &mut crowd {
        for expected in ["+a/1@2", "+a/2@3", "+a/3@4"] {
            assert_eq!(next(watch).await, expected);
        }
        assert!(watch.try_next().unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_hears_everything_before_the_end() {
    let (world, mut crowd, _) = waiting_crowd().await;
    world.shutdown.trigger();
    for watch in &mut crowd {
        assert_eq!((next(watch).await, next(watch).await), ("+a/1@2".to_owned(), "+a/2@3".to_owned()));
        assert_eq!(watch.next().await.unwrap_err(), WatchError::Closed);
    }
}
