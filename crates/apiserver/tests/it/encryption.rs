//! Encryption at rest, from the REST API down to the stored bytes.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use gantry_apiserver::testing::Builder;
use gantry_proto::kms::key_management_service_server::{KeyManagementService, KeyManagementServiceServer};
use gantry_proto::kms::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use gantry_store::testing::Etcd;
use gantry_store::{EtcdConfig, EtcdStore, MemoryStore, Store, Txn};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use crate::support::Cluster;

const KEY: &str = "/registry/secrets/default/s";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const ONE: &str = "{aesgcm: {keys: [{name: one, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}}";
const TWO: &str = "{secretbox: {keys: [{name: two, secret: AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=}]}}";
const PLAIN: &str = "{identity: {}}";

fn configuration(file: &Path, providers: &[&str]) {
    let text = format!(
        "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{{resources: [secrets], providers: [{}]}}]}}",
        providers.join(", ")
    );
    // At once, as an editor does: a half-written file is refused, but would be looked at.
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, text).expect("written");
    std::fs::rename(fresh, file).expect("renamed");
}

/// A server on `store` that encrypts as `file` says, and follows it.
async fn server(store: Arc<dyn Store>, file: &Path, prefix: &'static str) -> Cluster {
    let file = file.to_owned();
    Cluster::with(Builder::default().store(store).configure(move |config| {
        config.encryption_provider_config = Some(file);
        config.encryption_provider_config_automatic_reload = true;
        config.etcd_prefix = prefix.to_owned();
    }))
    .await
}

fn secret() -> String {
    json!({"metadata": {"name": "s"}, "stringData": {"password": "swordfish"}}).to_string()
}

async fn stored(store: &dyn Store, key: &str) -> (Bytes, u64) {
    let kv = store.get(key).await.expect("read").expect("it is there");
    (kv.value, kv.mod_revision)
}

/// Repeats a request until its answer is what is waited for.
async fn until(cluster: &Cluster, path: &str, wanted: impl Fn(u16, &str) -> bool) {
    loop {
        let answer = cluster.rest("GET", path, &[], "").await;
        if wanted(answer.code, &answer.text) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn etcd_holds_no_plain_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("encryption.yaml");
    configuration(&file, &[ONE, PLAIN]);
    let etcd = Etcd::start().expect("etcd");
    let store = Arc::new(EtcdStore::connect(&EtcdConfig::new(vec![etcd.url()])).await.expect("connected"));
    let cluster = server(store, &file, "/registry").await;
    assert_eq!(cluster.rest("POST", SECRETS, &[], &secret()).await.code, 201);
    let map = json!({"metadata": {"name": "m"}, "data": {"word": "marlin"}}).to_string();
    assert_eq!(cluster.rest("POST", "/api/v1/namespaces/default/configmaps", &[], &map).await.code, 201);
    let read = cluster.rest("GET", &format!("{SECRETS}/s"), &[], "").await.json();
    assert_eq!(read["data"]["password"], "c3dvcmRmaXNo");
    let mut etcdctl = Command::new("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &etcd.url(), "get", "--prefix", ""]);
    let dump = String::from_utf8_lossy(&etcdctl.output().expect("etcdctl runs").stdout).into_owned();
    assert!(dump.contains(KEY) && dump.contains("k8s:enc:aesgcm:v1:one:"), "the secret is there");
    assert!(dump.contains("marlin"), "what no rule names is plain");
    assert!(!dump.contains("c3dvcmRmaXNo") && !dump.contains("swordfish"), "a secret is readable in etcd");
}

#[tokio::test]
async fn a_write_that_changes_nothing_still_replaces_an_old_form() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("encryption.yaml");
    configuration(&file, &[PLAIN]);
    let store = Arc::new(MemoryStore::new());
    let cluster = server(store.clone(), &file, "/registry").await;
    assert_eq!(cluster.rest("POST", SECRETS, &[], &secret()).await.code, 201);
    let (value, revision) = stored(&*store, KEY).await;
    assert!(value.starts_with(b"{"));
    let path = format!("{SECRETS}/s");
    let put = async || {
        let object = cluster.rest("GET", &path, &[], "").await.text;
        let answer = cluster.rest("PUT", &path, &[], &object).await;
        assert_eq!(answer.code, 200, "{}", answer.text);
    };
    put().await;
    assert_eq!(stored(&*store, KEY).await.1, revision, "nothing to write");
    for (providers, prefix) in
        [([ONE, PLAIN], "k8s:enc:aesgcm:v1:one:"), ([TWO, ONE], "k8s:enc:secretbox:v1:two:"), ([PLAIN, TWO], "{")]
    {
        let before = stored(&*store, KEY).await.1;
        configuration(&file, &providers);
        // The file is looked at now and then; a no-op is written once it has been taken up.
        while stored(&*store, KEY).await.1 == before {
            put().await;
        }
        assert!(stored(&*store, KEY).await.0.starts_with(prefix.as_bytes()), "{prefix}");
        let after = stored(&*store, KEY).await.1;
        put().await;
        assert_eq!(stored(&*store, KEY).await.1, after, "written once");
    }
}

#[tokio::test]
async fn what_no_key_opens_is_refused_but_never_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("encryption.yaml");
    configuration(&file, &[ONE]);
    let store = Arc::new(MemoryStore::new());
    let cluster = server(store.clone(), &file, "/registry").await;
    assert_eq!(cluster.rest("POST", SECRETS, &[], &secret()).await.code, 201);
    drop(cluster);
    let (before, _) = stored(&*store, KEY).await;
    configuration(&file, &[TWO, PLAIN]);
    let cluster = server(store.clone(), &file, "/registry").await;
    let path = format!("{SECRETS}/s");
    let refused = async |method: &str, path: &str, body: &str, words: &str| {
        let answer = cluster.rest(method, path, &[("content-type", "application/json")], body).await;
        assert_eq!((answer.code, answer.text.contains(words)), (500, true), "{method} {path}: {}", answer.text);
    };
    refused("GET", &path, "", "Internal error occurred: no matching prefix found").await;
    let named = format!("unable to transform key \\\"{KEY}\\\": no matching prefix found");
    refused("GET", SECRETS, "", &named).await;
    refused("GET", "/api/v1/secrets?limit=500", "", &named).await;
    refused("GET", "/api/v1/secrets?watch=true", "", &named).await;
    refused("DELETE", SECRETS, "", &named).await;
    refused("DELETE", &path, "", "no matching prefix found").await;
    refused("PUT", &path, &secret(), "no matching prefix found").await;
    let exists = cluster.rest("POST", SECRETS, &[], &secret()).await;
    assert_eq!(exists.code, 409, "{}", exists.text);
    let other = cluster.rest("GET", "/api/v1/namespaces/kube-system/secrets", &[], "").await;
    assert_eq!(other.code, 200, "other namespaces are served: {}", other.text);
    assert_eq!(stored(&*store, KEY).await.0, before, "the stored bytes are what they were");
    // The key comes back, and so does the secret.
    configuration(&file, &[TWO, ONE]);
    until(&cluster, &path, |code, text| code == 200 && text.contains("c3dvcmRmaXNo")).await;
    until(&cluster, SECRETS, |code, _| code == 200).await;
}

#[tokio::test]
async fn another_prefix_keeps_two_clusters_in_one_etcd_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("encryption.yaml");
    configuration(&file, &[ONE]);
    let store = Arc::new(MemoryStore::new());
    store.txn(Txn::create("/registry/pods/default/foreign", Bytes::from("{}"))).await.expect("written");
    let here = server(store.clone(), &file, "/here").await;
    let there = server(store.clone(), &file, "there/").await;
    assert_eq!(here.rest("POST", SECRETS, &[], &secret()).await.code, 201);
    assert_eq!(here.rest("GET", &format!("{SECRETS}/s"), &[], "").await.code, 200);
    assert_eq!(there.rest("GET", &format!("{SECRETS}/s"), &[], "").await.code, 404);
    let pods: Value = here.rest("GET", "/api/v1/pods", &[], "").await.json();
    assert_eq!(pods["items"], json!([]), "keys of others are not looked at");
    assert!(stored(&*store, "/here/secrets/default/s").await.0.starts_with(b"k8s:enc:aesgcm:v1:one:"));
    assert!(store.get(KEY).await.expect("read").is_none());
    assert!(store.get("/there/namespaces/default").await.expect("read").is_some());
}

#[tokio::test]
async fn a_configuration_that_makes_no_sense_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("encryption.yaml");
    std::fs::write(&file, "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n").expect("written");
    let builder = Builder::default().configure(|config| config.encryption_provider_config = Some(file));
    let error = builder.start(folder.path()).await.err().expect("it does not start");
    let text = gantry_common::error_chain(&error);
    assert!(text.contains("--encryption-provider-config") && text.contains("Required value"), "{text}");
}

/// A plugin that inverts bits, under a key that changes; it opens nothing while it is `away`.
#[derive(Clone)]
struct Plugin(Arc<std::sync::Mutex<String>>, Arc<AtomicBool>);

#[tonic::async_trait]
impl KeyManagementService for Plugin {
    async fn status(&self, _request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let key_id = self.0.lock().expect("whole").clone();
        Ok(Response::new(StatusResponse { version: "v2".to_owned(), healthz: "ok".to_owned(), key_id }))
    }

    async fn decrypt(&self, request: Request<DecryptRequest>) -> Result<Response<DecryptResponse>, Status> {
        if self.1.load(Ordering::Relaxed) {
            return Err(Status::unavailable("away"));
        }
        let plaintext = request.into_inner().ciphertext.iter().map(|b| !b).collect::<Vec<u8>>().into();
        Ok(Response::new(DecryptResponse { plaintext }))
    }

    async fn encrypt(&self, request: Request<EncryptRequest>) -> Result<Response<EncryptResponse>, Status> {
        let ciphertext = request.into_inner().plaintext.iter().map(|b| !b).collect::<Vec<u8>>().into();
        let key_id = self.0.lock().expect("whole").clone();
        Ok(Response::new(EncryptResponse { ciphertext, key_id, annotations: Default::default() }))
    }
}

/// Serves until the test's runtime ends.
fn plugin(socket: &Path) -> Plugin {
    let plugin = Plugin(Arc::new(std::sync::Mutex::new("one".to_owned())), Arc::default());
    let listener =
        tokio_stream::wrappers::UnixListenerStream::new(tokio::net::UnixListener::bind(socket).expect("a socket"));
    let server = tonic::transport::Server::builder().add_service(KeyManagementServiceServer::new(plugin.clone()));
    drop(gantry_common::task::spawn("plugin", server.serve_with_incoming(listener)));
    plugin
}

#[tokio::test]
async fn a_plugin_holds_the_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, socket) = (folder.path().join("encryption.yaml"), folder.path().join("kms.sock"));
    let named = format!("{{kms: {{apiVersion: v2, name: vault, endpoint: \"unix://{}\"}}}}", socket.display());
    configuration(&file, &[&named, PLAIN]);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let cluster = server(store.clone(), &file, "/registry").await;
    // Without its plugin the server is not ready, and stores nothing in the clear.
    let ready = cluster.rest("GET", "/readyz?verbose", &[], "").await;
    assert!(ready.code == 500 && ready.text.contains("[-]kms-providers failed"), "{}", ready.text);
    let refused = cluster.rest("POST", SECRETS, &[], &secret()).await;
    assert_eq!(refused.code, 500, "{}", refused.text);
    let plugin = plugin(&socket);
    until(&cluster, "/readyz?verbose", |code, text| code == 200 && text.contains("[+]kms-providers ok")).await;
    let made = cluster.rest("POST", SECRETS, &[], &secret()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let (first, _) = stored(&*store, KEY).await;
    assert!(first.starts_with(b"k8s:enc:kms:v2:vault:"));
    drop(cluster);
    // Another server opens it, and replaces it once the plugin's key has changed.
    "two".clone_into(&mut plugin.0.lock().expect("whole"));
    let cluster = server(store.clone(), &file, "/registry").await;
    until(&cluster, "/readyz", |code, _| code == 200).await;
    let read = cluster.rest("GET", &format!("{SECRETS}/s"), &[], "").await;
    assert_eq!(read.json()["data"]["password"], "c3dvcmRmaXNo", "{}", read.text);
    let written = cluster.rest("PUT", &format!("{SECRETS}/s"), &[], &read.text).await;
    assert_eq!(written.code, 200, "{}", written.text);
    assert_ne!(stored(&*store, KEY).await.0, first);
}

#[tokio::test]
async fn values_that_came_while_a_plugin_was_away_for_a_moment_are_read_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, socket) = (folder.path().join("encryption.yaml"), folder.path().join("kms.sock"));
    configuration(
        &file,
        &[&format!("{{kms: {{apiVersion: v2, name: vault, endpoint: \"unix://{}\"}}}}", socket.display())],
    );
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let plugin = plugin(&socket);
    let (writer, reader) = (server(store.clone(), &file, "/registry").await, server(store, &file, "/registry").await);
    for cluster in [&writer, &reader] {
        until(cluster, "/readyz", |code, _| code == 200).await;
    }
    // All the time it says that it is well.
    plugin.1.store(true, Ordering::Relaxed);
    let path = format!("{SECRETS}/s");
    assert_eq!(writer.rest("POST", SECRETS, &[], &secret()).await.code, 201);
    until(&reader, &path, |code, text| code == 500 && text.contains("desc = away")).await;
    plugin.1.store(false, Ordering::Relaxed);
    until(&reader, &path, |code, _| code == 200).await;
    until(&reader, SECRETS, |code, text| code == 200 && text.contains("c3dvcmRmaXNo")).await;
}
