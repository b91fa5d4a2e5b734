//! Both stores against the one suite.

use std::sync::Arc;
use std::time::Duration;

use gantry_store::testing::{Etcd, Options, ServerTls};
use gantry_store::{EtcdConfig, EtcdStore, EtcdTls, MemoryStore, Store, Txn, TxnOutcome, conformance};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

#[tokio::test(start_paused = true)]
async fn the_memory_store_conforms() {
    conformance::run_all(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_conforms() {
    let etcd = Etcd::start().expect("etcd starts");
    let store = EtcdStore::connect(&EtcdConfig::new(vec![etcd.url()])).await.expect("a usable configuration");
    conformance::run_all(Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_reached_with_client_certificates_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tls, client) = certificates(folder.path());
    let options = Options { tls: Some(tls), ..Options::default() };
    let mut etcd = Etcd::start_with(options).expect("etcd starts");
    let config = EtcdConfig::new(vec![etcd.url()]).with_tls(client);
    let store = EtcdStore::connect(&config).await.expect("a usable configuration");
    let created = store.txn(Txn::create("/a", "1".into())).await.expect("txn");
    let TxnOutcome::Committed { revision } = created else { panic!("{created:?}") };
    etcd.kill().expect("etcd is killed");
    let restart = tokio::task::spawn_blocking(move || etcd.restart().map(|()| etcd));
    let found = store.get("/a").await.expect("the read is tried again until etcd is back");
    assert_eq!(found.map(|kv| kv.mod_revision), Some(revision));
    drop(restart.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_conforms_over_its_socket_and_is_found_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tls, _) = certificates(folder.path());
    // Without a certificate of ours: the file's rights are what lets us in.
    let mut etcd = Etcd::start_with(Options { tls: Some(tls), ..Options::default() }).expect("etcd starts");
    let store = EtcdStore::connect(&EtcdConfig::new(vec![etcd.socket_url()])).await.expect("a usable configuration");
    let store: Arc<dyn Store> = Arc::new(store);
    conformance::run_all(store.clone()).await;
    let created = store.txn(Txn::create("/kept", "1".into())).await.expect("txn");
    let TxnOutcome::Committed { revision } = created else { panic!("{created:?}") };
    etcd.kill().expect("etcd is killed");
    let restart = tokio::task::spawn_blocking(move || etcd.restart().map(|()| etcd));
    let found = store.get("/kept").await.expect("the read is tried again until etcd is back");
    assert_eq!(found.map(|kv| kv.mod_revision), Some(revision));
    drop(restart.await);
}

#[tokio::test]
async fn a_socket_is_the_only_endpoint_and_has_a_path() {
    for (endpoints, complaint) in [
        (&["unix://"][..], "there is no path in it, as in unix:///run/etcd.sock"),
        (&["unix:///run/etcd.sock", "http://127.0.0.1:2379"], "a unix socket must be the only endpoint"),
    ] {
        let endpoints = endpoints.iter().map(|url| (*url).to_owned()).collect();
        let refused = EtcdStore::connect(&EtcdConfig::new(endpoints)).await.err().expect("it is refused");
        let said = gantry_common::error_chain(&refused);
        assert!(said.contains(complaint), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_is_passed_over() {
    let etcd = Etcd::start().expect("etcd starts");
    let dead = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let config = EtcdConfig::new(vec![format!("http://{dead}"), etcd.url()]);
    let store = EtcdStore::connect(&config).await.expect("a usable configuration");
    for number in 0..30 {
        let created = store.txn(Txn::create(format!("/{number}"), "1".into())).await.expect("txn");
        assert!(matches!(created, TxnOutcome::Committed { .. }));
        assert!(store.get(&format!("/{number}")).await.expect("get").is_some());
    }
}

#[tokio::test]
async fn without_etcd_calls_fail_in_time() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let config = EtcdConfig { timeout: Duration::from_millis(300), ..EtcdConfig::new(vec![format!("http://{free}")]) };
    let store = EtcdStore::connect(&config).await.expect("a usable configuration");
    assert!(store.get("/a").await.expect_err("nobody listens").is_transient());
    assert!(store.txn(Txn::create("/a", "1".into())).await.expect_err("nobody listens").is_transient());
}

fn certificates(folder: &std::path::Path) -> (ServerTls, EtcdTls) {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("ca");
    let issue = |name: &str| {
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("params");
        (params.signed_by(&key, &issuer).expect("certificate").pem(), key.serialize_pem())
    };
    let ((server, server_key), (client, client_key)) = (issue("127.0.0.1"), issue("apiserver"));
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("the file is written");
        path
    };
    let tls = ServerTls {
        client_ca: write("ca.pem", &issuer.pem()),
        certificate: write("server.pem", &server),
        key: write("server-key.pem", &server_key),
    };
    (tls, EtcdTls { ca: issuer.pem().into(), certificate: client.into(), key: client_key.into() })
}
