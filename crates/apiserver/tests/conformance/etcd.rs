//! The same on a real etcd: what the store does is no matter of the double.

use std::sync::Arc;

use gantry_store::testing::Etcd;
use gantry_store::{EtcdConfig, EtcdStore, Store as _};
use serde_json::json;

use crate::client::Client;
use crate::reads;
use crate::subject::{Subject, namespace, stored, world_of};
use crate::support;
use crate::writes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_watched_and_written_on_etcd() {
    let etcd = Etcd::start().expect("etcd starts");
    let config = EtcdConfig::new(vec![etcd.url()]);
    let store = Arc::new(EtcdStore::connect(&config).await.expect("a usable configuration"));
    let cluster = world_of(support::usual().store(store.clone())).await;
    let client = Client::admin(&cluster).await;
    reads::watch(&cluster).await;
    // Its content holds a namespace until it is finalized, and it is made again.
    let path = "/api/v1/namespaces/v1-0";
    let mut held = client.get(path).await.json();
    held["spec"]["finalizers"] = json!([]);
    let gone = client.ask("PUT", &format!("{path}/finalize"), &[], held.to_string()).await;
    assert_eq!(gone.code, 200, "{}", gone.text);
    writes::write(&client).await;
    for kind in stored() {
        let key = kind.storage_key(namespace(kind), &Subject::new(kind, &client).name(1));
        assert!(store.get(&key).await.expect("etcd answers").is_some(), "{key}");
    }
}
