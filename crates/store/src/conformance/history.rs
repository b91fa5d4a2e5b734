//! Cases about ranges, watches and compaction.

use super::*;

fn keys(kvs: &[KeyValue], prefix: &str) -> Vec<String> {
    kvs.iter().map(|kv| kv.key.strip_prefix(prefix).expect("in the prefix").to_owned()).collect()
}

pub(super) async fn ranges_are_cut_and_continued(store: Arc<dyn Store>, prefix: String) {
    let inside = format!("{prefix}in/");
    for number in 0..7 {
        put(&store, &format!("{inside}k{number}"), "v").await;
    }
    put(&store, &format!("{prefix}in"), "before").await;
    let last = put(&store, &format!("{prefix}in0"), "after").await;
    let page = store.range(Range::prefix(&inside).limit(3)).await.expect("range");
    assert_eq!((page.revision, page.more, page.count), (last, true, 7));
    assert_eq!(keys(&page.kvs, &inside), ["k0", "k1", "k2"]);
    assert_eq!(page.kvs[0].value, value("v"));
    let page = store.range(Range::prefix(&inside).after(format!("{inside}k2")).limit(3)).await.expect("range");
    assert_eq!(
        (keys(&page.kvs, &inside), page.more, page.count),
        (vec!["k3".into(), "k4".into(), "k5".into()], true, 4)
    );
    let page = store.range(Range::prefix(&inside).after(format!("{inside}k5")).limit(3)).await.expect("range");
    assert_eq!((keys(&page.kvs, &inside), page.more, page.count), (vec!["k6".to_owned()], false, 1));
    let page = store.range(Range::prefix(&inside).after(format!("{inside}k6"))).await.expect("range");
    assert_eq!((page.kvs.len(), page.more, page.count), (0, false, 0));
    let counted = store.range(Range::prefix(&inside).count_only()).await.expect("range");
    assert_eq!((counted.kvs.len(), counted.more, counted.count), (0, false, 7));
    let names = store.range(Range::prefix(&inside).keys_only()).await.expect("range");
    assert!(names.kvs.len() == 7 && names.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > 0));
}

pub(super) async fn ranges_show_old_revisions(store: Arc<dyn Store>, prefix: String) {
    let key = format!("{prefix}a");
    let first = put(&store, &key, "1").await;
    let second = put(&store, &key, "2").await;
    let third = commit(&store, Txn::new().delete(&key)).await;
    let check = async |revision: u64, expected: Option<&str>| {
        let read = store.range(Range::prefix(&prefix).at(revision)).await.expect("range");
        assert_eq!(read.revision, revision);
        assert_eq!(read.kvs.first().map(|kv| kv.value.clone()), expected.map(value), "at {revision}");
    };
    check(first - 1, None).await;
    check(first, Some("1")).await;
    check(second, Some("2")).await;
    check(third, None).await;
    let ahead = store.range(Range::prefix(&prefix).at(third + 1_000)).await;
    assert!(matches!(ahead, Err(Error::FutureRevision { requested, .. }) if requested == third + 1_000));
}

pub(super) async fn large_ranges_are_complete(store: Arc<dyn Store>, prefix: String) {
    const KEYS: usize = 3_100; // more than two pages
    for start in (0..KEYS).step_by(100) {
        let op = |number| Op::Put { key: format!("{prefix}{number:05}"), value: value("x"), lease: 0 };
        commit(&store, Txn { ops: (start..start + 100).map(op).collect(), ..Txn::default() }).await;
    }
    let all = store.range(Range::prefix(&prefix)).await.expect("range");
    assert_eq!((all.kvs.len(), all.more, all.count), (KEYS, false, 3_100));
    assert!(all.kvs.is_sorted_by(|one, next| one.key < next.key));
    let most = store.range(Range::prefix(&prefix).limit(2_000)).await.expect("range");
    assert_eq!((most.kvs.len(), most.more, most.count), (2_000, true, 3_100));
}

pub(super) async fn watches_tell_all_changes_in_order(store: Arc<dyn Store>, prefix: String) {
    let (key, other) = (format!("{prefix}a"), format!("{}other", prefix.trim_end_matches('/')));
    let first = put(&store, &key, "1").await;
    put(&store, &other, "elsewhere").await;
    let mut watch = store.watch(&prefix, first, Previous::Include).await.expect("watch");
    let second = put(&store, &key, "2").await;
    let third = commit(&store, Txn::new().delete(&key)).await;
    let told = events(&mut watch, 3).await;
    let seen: Vec<_> = told.iter().map(|event| (event.kind, event.kv.mod_revision)).collect();
    assert_eq!(seen, [(EventKind::Put, first), (EventKind::Put, second), (EventKind::Delete, third)]);
    assert_eq!(told[0].prev, None);
    assert_eq!(told[1].prev.as_ref().map(|kv| (&kv.value, kv.mod_revision)), Some((&value("1"), first)));
    assert_eq!(told[2].prev.as_ref().map(|kv| (&kv.value, kv.mod_revision)), Some((&value("2"), second)));
    assert_eq!(told[2].kv.key, key);
    let mut lean = store.watch(&prefix, first, Previous::Omit).await.expect("watch");
    assert!(events(&mut lean, 3).await.iter().all(|event| event.prev.is_none()));
    let mut late = store.watch(&prefix, third + 2, Previous::Include).await.expect("a watch may start in the future");
    let mut now = store.watch(&prefix, 0, Previous::Include).await.expect("watch");
    let fourth = put(&store, &key, "4").await;
    assert_eq!(fourth, third + 1);
    let fifth = put(&store, &key, "5").await;
    assert_eq!(events(&mut late, 1).await[0].kv.mod_revision, fifth);
    assert_eq!(events(&mut now, 2).await[0].kv.mod_revision, fourth);
}

pub(super) async fn a_watch_of_everything_sees_every_revision(store: Arc<dyn Store>, prefix: String) {
    let from = store.revision().await.expect("revision") + 1;
    let mut watch = store.watch("", from, Previous::Include).await.expect("watch");
    for number in 0..40 {
        put(&store, &format!("{prefix}{number}"), "x").await;
    }
    put(&store, "compact_rev_key", "outside of any prefix").await;
    let told: Vec<u64> = events(&mut watch, 41).await.iter().map(|event| event.kv.mod_revision).collect();
    assert_eq!(told, (from..from + 41).collect::<Vec<_>>());
}

pub(super) async fn a_large_revision_arrives_whole(store: Arc<dyn Store>, prefix: String) {
    const KEYS: usize = 100;
    let filled = |fill: u8| {
        let op =
            |number| Op::Put { key: format!("{prefix}{number:03}"), value: Bytes::from(vec![fill; 14_000]), lease: 0 };
        Txn { ops: (0..KEYS).map(op).collect(), ..Txn::default() }
    };
    let first = commit(&store, filled(b'1')).await;
    let second = commit(&store, filled(b'2')).await; // with the previous values more than one message may hold
    let mut watch = store.watch(&prefix, first, Previous::Include).await.expect("watch");
    let mut seen = Vec::new();
    while seen.len() < 2 * KEYS {
        let batch = watch.next().await.expect("the watch goes on").expect("the watch works");
        seen.extend(batch.events.iter().map(|event| event.kv.mod_revision));
        assert_eq!(seen.len() % KEYS, 0, "a revision was cut");
    }
    assert!(seen[..KEYS].iter().all(|revision| *revision == first));
    assert!(seen[KEYS..].iter().all(|revision| *revision == second));
}

pub(super) async fn compaction_hides_the_past(store: Arc<dyn Store>, prefix: String) {
    let key = format!("{prefix}a");
    let first = put(&store, &key, "1").await;
    let second = put(&store, &key, "2").await;
    let third = put(&store, &key, "3").await;
    store.compact(second).await.expect("compact");
    assert_eq!(store.compacted_revision().await.expect("bisection"), second);
    let hidden = store.range(Range::prefix(&prefix).at(first)).await;
    assert!(matches!(hidden, Err(Error::Compacted { requested, .. }) if requested == first), "{hidden:?}");
    let kept = store.range(Range::prefix(&prefix).at(second)).await.expect("the compacted revision stays readable");
    assert_eq!(kept.kvs[0].value, value("2"));
    assert!(matches!(store.compact(second).await, Err(Error::Compacted { .. })));
    assert!(matches!(store.compact(third + 1_000).await, Err(Error::FutureRevision { .. })));
    let lost = match store.watch(&prefix, first, Previous::Include).await {
        Ok(mut watch) => watch.next().await.expect("a watch does not end silently").expect_err("it is compacted"),
        Err(error) => error,
    };
    assert!(
        matches!(lost, Error::Compacted { requested, oldest } if requested == first && oldest == second),
        "{lost:?}"
    );
    let mut watch = store.watch(&prefix, second + 1, Previous::Include).await.expect("watch");
    let told = events(&mut watch, 1).await;
    assert_eq!(told[0].kv.mod_revision, third);
    assert_eq!(told[0].prev.as_ref().map(|kv| &kv.value), Some(&value("2")));
}
