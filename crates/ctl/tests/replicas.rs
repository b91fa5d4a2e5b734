//! Two API servers over one store: clients that know both go on when either is gone.

use std::{process::Command, sync::Arc, time::Duration};

use gantry_apiserver::testing::{Builder, Pki, TestServer};
use gantry_client::{Client, Config, Informer, Key, ResourceId, View, WriteParams};
use gantry_common::{shutdown::Shutdown, task::Group, tls};
use gantry_store::{MemoryStore, Store};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

struct Pair {
    pki: Arc<Pki>,
    store: Arc<dyn Store>,
    folders: [tempfile::TempDir; 2],
    servers: [Option<TestServer>; 2],
}

impl Pair {
    async fn start() -> Self {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let mut pair =
            Self { pki: Arc::default(), store: Arc::new(MemoryStore::new()), folders, servers: [None, None] };
        for n in [0, 1] {
            let builder = Builder::default().store(Arc::clone(&pair.store)).pki(Arc::clone(&pair.pki));
            pair.servers[n] = Some(builder.start(pair.folders[n].path()).await.expect("the server starts"));
        }
        pair
    }

    async fn stop(&mut self, n: usize) {
        self.servers[n].take().expect("it runs").stop().await;
    }

    fn urls(&self) -> Vec<String> {
        self.servers.iter().flatten().map(TestServer::url).collect()
    }

    fn client(&self) -> Client {
        let identity = self.pki.client("admin", &["system:masters"]);
        let identity =
            tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() };
        Client::new(&Config {
            servers: self.urls(),
            ca_pem: self.pki.ca_pem().into_bytes(),
            tls_server_name: None,
            identity: Some(identity),
            token: None,
            user_agent: "test/1".to_owned(),
        })
        .expect("a client")
    }

    /// A kubeconfig that names both.
    fn kubeconfig(&self) -> std::path::PathBuf {
        let first = self.servers[0].as_ref().expect("it runs");
        let path = first.kubeconfig("admin", &["system:masters"]);
        let text = std::fs::read_to_string(&path).expect("it is there");
        std::fs::write(&path, text.replace(&first.url(), &self.urls().join(","))).expect("written");
        path
    }
}

async fn create(client: &Client, name: &str) -> Result<(), gantry_client::Error> {
    let maps = client.dynamic(ResourceId::new("", "v1", "configmaps"), "default");
    let map = json!({"metadata": {"name": name}, "data": {"k": "v"}});
    maps.create("", "", &map, &WriteParams::default()).await.map(drop)
}

/// As a component does: a call that broke off is made again.
async fn create_for_sure(client: &Client, name: &str) {
    match create(client, name).await {
        Ok(()) => {}
        Err(error) if error.is_transient() => match create(client, name).await {
            Ok(()) => {}
            // The call that broke off had done it.
            Err(error) if error.is_already_exists() => {}
            Err(error) => panic!("{name}: {error:?}"),
        },
        Err(error) => panic!("{name}: {error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_writes_and_watches_go_on_whichever_server_stops() {
    for stopped in [0, 1] {
        let mut pair = Pair::start().await;
        let client = pair.client();
        let shutdown = Shutdown::new();
        let group = Group::new(shutdown.clone());
        let informer = Informer::<ConfigMap>::builder(client.namespaced("default")).start(&group);
        informer.synced().await;
        create_for_sure(&client, "before").await;
        let mut changes = informer.subscribe();
        pair.stop(stopped).await;
        for n in 0..10 {
            create_for_sure(&client, &format!("after-{n}")).await;
        }
        let maps = client.dynamic(ResourceId::new("", "v1", "configmaps"), "default");
        maps.get("after-9", "", View::Full).await.expect("it is there");
        let seen = async {
            while informer.get(&Key::new("default", "after-9")).is_none() {
                changes.next().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), seen).await.expect("the watch goes on at the other server");
        shutdown.trigger();
        group.join().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gantryctl_works_with_the_server_that_is_left() {
    let mut pair = Pair::start().await;
    let kubeconfig = pair.kubeconfig();
    let run = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantryctl"));
        let output = command.args(line.split_whitespace()).env("KUBECONFIG", &kubeconfig).output().expect("it runs");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    run("create configmap one --from-literal=a=b");
    pair.stop(0).await;
    // A new process each time, which begins with either of them.
    for _ in 0..6 {
        let map: Value = serde_json::from_str(&run("get configmap one -o json")).expect("JSON");
        assert_eq!(map["data"], json!({"a": "b"}));
    }
    run("create configmap two --from-literal=a=b");
    run("delete configmap one");
}
