//! Cases about writes.

use super::*;

pub(super) async fn writes_raise_the_revision(store: Arc<dyn Store>, prefix: String) {
    let key = format!("{prefix}a");
    let before = store.revision().await.expect("revision");
    let created = commit(&store, Txn::create(&key, value("1"))).await;
    assert_eq!(created, before + 1);
    let updated = commit(&store, Txn::update(&key, created, value("2"))).await;
    assert_eq!(updated, created + 1);
    let expected = KeyValue {
        key: key.clone(),
        value: value("2"),
        create_revision: created,
        mod_revision: updated,
        version: 2,
        lease: 0,
        form: crate::Form::Current,
    };
    assert_eq!(store.get(&key).await.expect("get"), Some(expected));
    let removed = commit(&store, Txn::remove(&key, updated)).await;
    assert_eq!(removed, updated + 1);
    assert_eq!(store.get(&key).await.expect("get"), None);
    assert_eq!(store.revision().await.expect("revision"), removed);
    assert_eq!(commit(&store, Txn::new().delete(&key)).await, removed, "nothing to delete: no new revision");
    let again = commit(&store, Txn::create(&key, value("3"))).await;
    let kv = store.get(&key).await.expect("get").expect("it exists");
    assert_eq!((kv.create_revision, kv.version), (again, 1), "a new incarnation starts anew");
}

pub(super) async fn conditions_decide(store: Arc<dyn Store>, prefix: String) {
    let (here, gone) = (format!("{prefix}here"), format!("{prefix}gone"));
    let revision = put(&store, &here, "x").await;
    let check = async |txn: Txn, expected: bool| {
        let outcome = store.txn(txn.clone()).await.expect("txn");
        assert_eq!(matches!(outcome, TxnOutcome::Committed { .. }), expected, "{txn:?}");
    };
    check(Txn::new().if_absent(&here), false).await;
    check(Txn::new().if_absent(&gone), true).await;
    check(Txn::new().if_exists(&here), true).await;
    check(Txn::new().if_exists(&gone), false).await;
    check(Txn::new().if_unchanged(&here, revision), true).await;
    check(Txn::new().if_unchanged(&here, revision - 1), false).await;
    check(Txn::new().if_unchanged(&here, revision + 1), false).await;
    check(Txn::new().if_unchanged(&gone, 0), true).await;
    check(Txn::new().if_unchanged(&here, 0), false).await;
    check(Txn::new().if_unchanged(&gone, revision), false).await;
    check(Txn::new().if_exists(&here).if_exists(&gone), false).await;
}

pub(super) async fn a_conflict_tells_what_is_there(store: Arc<dyn Store>, prefix: String) {
    let [one, two, three] = ["1", "2", "3"].map(|name| format!("{prefix}{name}"));
    let revision = put(&store, &one, "is here").await;
    let txn = Txn::create(&one, value("new")).if_absent(&two).delete(&three).read_on_conflict(&three);
    let TxnOutcome::Conflict { revision: at, current } = store.txn(txn).await.expect("txn") else {
        panic!("the key exists, yet it was created");
    };
    assert_eq!(at, revision);
    let [Some(found), None, None] = current.as_slice() else { panic!("{current:?}") };
    assert_eq!((found.key.as_str(), &found.value, found.mod_revision), (one.as_str(), &value("is here"), revision));
    assert_eq!(store.revision().await.expect("revision"), revision, "nothing was written");
}

pub(super) async fn one_transaction_is_one_revision(store: Arc<dyn Store>, prefix: String) {
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("{prefix}{name}"));
    let first = put(&store, &c, "old").await;
    let mut watch = store.watch(&prefix, first + 1, Previous::Include).await.expect("watch");
    let revision = commit(&store, Txn::new().put(&a, value("1")).put(&b, value("2")).delete(&c)).await;
    assert_eq!(revision, first + 1);
    let events = events(&mut watch, 3).await;
    assert!(events.iter().all(|event| event.kv.mod_revision == revision), "{events:?}");
}

pub(super) async fn bad_requests_change_nothing(store: Arc<dyn Store>, prefix: String) {
    let key = format!("{prefix}a");
    let before = store.revision().await.expect("revision");
    let twice = Txn::new().put(&key, value("1")).put(&key, value("2"));
    assert!(matches!(store.txn(twice).await, Err(Error::Invalid { .. })));
    let huge = Txn::new().put(&key, Bytes::from(vec![b'x'; 2 << 20]));
    assert!(matches!(store.txn(huge).await, Err(Error::TooLarge { .. })));
    let no_lease = Txn::new().put_with_lease(&key, value("1"), 0x7777);
    assert!(matches!(store.txn(no_lease).await, Err(Error::LeaseNotFound { .. })));
    let many = (0..200).map(|number| Op::Put { key: format!("{key}{number}"), value: value("1"), lease: 0 });
    let many = Txn { ops: many.collect(), ..Txn::default() };
    assert!(matches!(store.txn(many).await, Err(Error::Invalid { .. })));
    assert_eq!(store.revision().await.expect("revision"), before);
}

pub(super) async fn concurrent_increments_are_all_counted(store: Arc<dyn Store>, prefix: String) {
    const WORKERS: usize = 8;
    const EACH: usize = 10;
    let key = format!("{prefix}counter");
    let first = put(&store, &key, "0").await;
    let worker = |_| {
        let (store, key) = (store.clone(), key.clone());
        async move {
            for _ in 0..EACH {
                increment(&store, &key).await;
            }
        }
    };
    futures::future::join_all((0..WORKERS).map(worker)).await;
    let kv = store.get(&key).await.expect("get").expect("it exists");
    assert_eq!(kv.value, value(&(WORKERS * EACH).to_string()));
    assert_eq!(kv.mod_revision, first + u64::try_from(WORKERS * EACH).expect("small"));
}

/// Adds one, using what a conflict tells instead of reading again.
async fn increment(store: &Arc<dyn Store>, key: &str) {
    let mut current = store.get(key).await.expect("get").expect("it exists");
    loop {
        let number: usize = std::str::from_utf8(&current.value).expect("text").parse().expect("a number");
        let next = value(&(number + 1).to_string());
        match store.txn(Txn::update(key, current.mod_revision, next)).await.expect("txn") {
            TxnOutcome::Committed { .. } => return,
            TxnOutcome::Conflict { current: mut there, .. } => current = there.remove(0).expect("it exists"),
        }
    }
}
