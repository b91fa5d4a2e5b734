//! Keys that a plugin holds, with a plugin that inverts bits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_proto::kms::key_management_service_server::{KeyManagementService, KeyManagementServiceServer};
use gantry_proto::kms::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use gantry_store::Form;
use parking_lot::Mutex;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use super::vectors::{BY_PLUGIN, FLIP, PLACE, PLAIN};
use super::{read, unreadable};
use crate::encryption::Keyring;

/// What the plugin does, and how often it was asked to open something.
#[derive(Clone)]
struct Plugin {
    key: Arc<Mutex<String>>,
    healthz: Arc<Mutex<String>>,
    opened: Arc<Mutex<usize>>,
}

fn flipped(bytes: &[u8]) -> Bytes {
    bytes.iter().map(|byte| byte ^ FLIP).collect::<Vec<u8>>().into()
}

#[tonic::async_trait]
impl KeyManagementService for Plugin {
    async fn status(&self, _request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let (healthz, key_id) = (self.healthz.lock().clone(), self.key.lock().clone());
        Ok(Response::new(StatusResponse { version: "v2".to_owned(), healthz, key_id }))
    }

    async fn decrypt(&self, request: Request<DecryptRequest>) -> Result<Response<DecryptResponse>, Status> {
        *self.opened.lock() += 1;
        let request = request.into_inner();
        if request.key_id.starts_with("lost") {
            return Err(Status::not_found("no such key"));
        }
        if request.key_id.starts_with("slow") {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(DecryptResponse { plaintext: flipped(&request.ciphertext) }))
    }

    async fn encrypt(&self, request: Request<EncryptRequest>) -> Result<Response<EncryptResponse>, Status> {
        Ok(Response::new(EncryptResponse {
            ciphertext: flipped(&request.into_inner().plaintext),
            key_id: self.key.lock().clone(),
            annotations: BTreeMap::from([("version.example.com".to_owned(), Bytes::from_static(b"1"))]),
        }))
    }
}

/// Serves until the runtime of the test ends.
fn serve(socket: &Path) -> Plugin {
    let plugin = Plugin {
        key: Arc::new(Mutex::new("key-1".to_owned())),
        healthz: Arc::new(Mutex::new("ok".to_owned())),
        opened: Arc::default(),
    };
    let listener = UnixListenerStream::new(UnixListener::bind(socket).expect("a socket"));
    let server = tonic::transport::Server::builder().add_service(KeyManagementServiceServer::new(plugin.clone()));
    drop(gantry_common::task::spawn("plugin", server.serve_with_incoming(listener)));
    plugin
}

fn configuration(socket: &Path) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  \
         - kms: {{apiVersion: v2, name: vault, endpoint: \"unix://{}\", timeout: 1s}}\n  - identity: {{}}\n",
        socket.display()
    )
}

fn keyring(socket: &Path) -> Keyring {
    Keyring::parse(configuration(socket).as_bytes()).expect("a configuration")
}

fn sealed(keyring: &Keyring) -> Result<Bytes, String> {
    keyring.seal(PLACE, PLACE.as_bytes(), Bytes::from_static(PLAIN.as_bytes()))
}

async fn opened(keyring: &Keyring, stored: &[u8]) -> (String, Form) {
    match keyring.prepare(stored, PLACE).await {
        Ok(()) => read(keyring, PLACE, stored),
        Err(reason) => unreadable(&reason),
    }
}

#[tokio::test]
async fn values_of_another_implementation_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("kms.sock");
    let plugin = serve(&socket);
    let keyring = keyring(&socket);
    for (asked, stored) in BY_PLUGIN.iter().enumerate() {
        let stored = STANDARD.decode(stored).expect("base64");
        for _ in 0..2 {
            assert_eq!(opened(&keyring, &stored).await, (PLAIN.to_owned(), Form::Current));
        }
        assert_eq!(*plugin.opened.lock(), asked + 1, "a seed is opened once");
    }
    keyring.check().await.expect("well");
    let old = STANDARD.decode(BY_PLUGIN[1]).expect("base64");
    assert_eq!(opened(&keyring, &old).await.1, Form::Stale, "values without a seed of their own are replaced");
}

#[tokio::test]
async fn a_seed_is_made_for_each_key_of_the_plugin() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("kms.sock");
    let plugin = serve(&socket);
    let keyring = keyring(&socket);
    assert_eq!(sealed(&keyring), Err("got unexpected nil transformer".to_owned()), "nobody was asked yet");
    keyring.check().await.expect("well");
    let first = sealed(&keyring).expect("sealed");
    assert!(first.starts_with(b"k8s:enc:kms:v2:vault:"));
    assert_ne!(first, sealed(&keyring).expect("sealed"), "each value has a key of its own");
    assert_eq!(opened(&keyring, &first).await, (PLAIN.to_owned(), Form::Current));
    assert_eq!(*plugin.opened.lock(), 0, "the server knows what it made");
    "key-2".clone_into(&mut plugin.key.lock());
    keyring.check().await.expect("well");
    assert_eq!(opened(&keyring, &first).await, (PLAIN.to_owned(), Form::Stale));
    let second = sealed(&keyring).expect("sealed");
    assert_eq!(opened(&keyring, &second).await, (PLAIN.to_owned(), Form::Current));
    // Another server opens both.
    let other = self::keyring(&socket);
    assert_eq!(opened(&other, &first).await.0, PLAIN);
    assert_eq!(opened(&other, &second).await.0, PLAIN);
    let moved = other.prepare(&first, "/registry/secrets/default/t").await;
    assert_eq!(moved, Ok(()));
    let (text, form) = read(&other, "/registry/secrets/default/t", &first);
    assert_eq!((text, form), unreadable("cipher: message authentication failed"));
}

#[tokio::test]
async fn what_a_plugin_does_not_open_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("kms.sock");
    let plugin = serve(&socket);
    let keyring = keyring(&socket);
    "lost-1".clone_into(&mut plugin.key.lock());
    keyring.check().await.expect("well");
    let stored = sealed(&keyring).expect("sealed");
    let other = self::keyring(&socket);
    let why = "failed to decrypt DEK, error: rpc error: code = NotFound desc = no such key";
    assert_eq!(opened(&other, &stored).await, unreadable(why));
    assert_eq!(opened(&other, b"k8s:enc:kms:v2:vault:").await, unreadable("encrypted data is empty"));
    "broken".clone_into(&mut plugin.healthz.lock());
    let why = "kmsv2 Provider vault is not healthy, error: got unexpected healthz status: broken";
    assert_eq!(keyring.check().await, Err(why.to_owned()));
    assert_eq!(keyring.health(), Some(Err(why.to_owned())));
    assert!(sealed(&keyring).is_ok(), "its last word holds for a while");
}

#[tokio::test]
async fn a_plugin_that_does_not_answer_is_not_waited_for_once_for_each_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("kms.sock");
    let plugin = serve(&socket);
    let keyring = keyring(&socket);
    "slow-1".clone_into(&mut plugin.key.lock());
    keyring.check().await.expect("well");
    let stored = sealed(&keyring).expect("sealed");
    let other = self::keyring(&socket);
    let why = "failed to decrypt DEK, error: rpc error: code = DeadlineExceeded desc = context deadline exceeded";
    for _ in 0..100 {
        assert_eq!(opened(&other, &stored).await, unreadable(why));
    }
    assert_eq!(*plugin.opened.lock(), 1);
    assert!(other.missed() && !other.missed() && !keyring.missed());
}

#[tokio::test]
async fn wrong_plugins_are_refused() {
    let check = |plugin: &str, expected: &str| {
        let text = format!(
            "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{{resources: [secrets], providers: \
             [{{kms: {{{plugin}}}}}]}}]}}"
        );
        let found = Keyring::parse(text.as_bytes()).map(drop).expect_err("refused");
        assert!(found.contains(expected), "{found}");
    };
    let at = "resources[0].providers[0].kms";
    check("apiVersion: v1, name: a, endpoint: 'unix:///s'", "KMSv1 is deprecated");
    check("apiVersion: v3, name: a, endpoint: 'unix:///s'", "only v1 and v2 are supported");
    check("apiVersion: v2, endpoint: 'unix:///s'", "name is a mandatory field for a provider");
    check("apiVersion: v2, name: 'a:b', endpoint: 'unix:///s'", "invalid KMS provider name a:b, must not contain ':'");
    check(
        "apiVersion: v2, name: a",
        &format!("{at}.endpoint: Invalid value: \"\": endpoint is a mandatory field for a kms"),
    );
    check(
        "apiVersion: v2, name: a, endpoint: 'https://s'",
        "unsupported scheme \"https\" for KMS provider, only unix is supported",
    );
    check("apiVersion: v2, name: a, endpoint: 'unix:///s', timeout: 0s", "timeout should be a positive value");
    check("apiVersion: v2, name: a, endpoint: 'unix:///s', cachesize: 5", "cachesize is not supported in v2");
    check(
        "apiVersion: v2, name: a, endpoint: 'unix:///s'}}, {kms: {apiVersion: v2, name: a, endpoint: 'unix:///s'",
        "duplicate KMS provider name a, names must be unique",
    );
}
