//! Cases about leases.

use super::*;

pub(super) async fn a_revoked_lease_takes_its_keys(store: Arc<dyn Store>, prefix: String) {
    let [a, b, freed] = ["a", "b", "freed"].map(|name| format!("{prefix}{name}"));
    let lease = store.lease_grant(Duration::from_secs(60)).await.expect("grant");
    let leased = |key: &str| Txn::new().put_with_lease(key, value("x"), lease);
    for key in [&a, &b, &freed] {
        commit(&store, leased(key)).await;
    }
    let last = put(&store, &freed, "without a lease now").await;
    assert_eq!(store.get(&a).await.expect("get").map(|kv| kv.lease), Some(lease));
    assert_eq!(store.lease_keep_alive(lease).await.expect("keep alive"), Duration::from_secs(60));
    let mut watch = store.watch(&prefix, last + 1, Previous::Include).await.expect("watch");
    store.lease_revoke(lease).await.expect("revoke");
    let told = events(&mut watch, 2).await;
    assert!(told.iter().all(|event| event.kind == EventKind::Delete && event.kv.mod_revision == last + 1), "{told:?}");
    assert!(store.get(&freed).await.expect("get").is_some());
    assert!(matches!(store.lease_revoke(lease).await, Err(Error::LeaseNotFound { id }) if id == lease));
    assert!(matches!(store.lease_keep_alive(lease).await, Err(Error::LeaseNotFound { id }) if id == lease));
}

pub(super) async fn an_ended_lease_takes_its_keys(store: Arc<dyn Store>, prefix: String) {
    let key = format!("{prefix}a");
    let lease = store.lease_grant(Duration::from_secs(1)).await.expect("grant");
    let revision = commit(&store, Txn::new().put_with_lease(&key, value("x"), lease)).await;
    let mut watch = store.watch(&prefix, revision + 1, Previous::Include).await.expect("watch");
    let told = events(&mut watch, 1).await;
    assert_eq!((told[0].kind, told[0].kv.key.as_str()), (EventKind::Delete, key.as_str()));
    assert_eq!(told[0].prev.as_ref().map(|kv| kv.lease), Some(lease));
}
