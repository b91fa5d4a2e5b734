//! Tokens of service accounts that are kept in Secrets.

use gantry_api::legacy_token::{INVALID_SINCE, LAST_USED, TRACKING};
use gantry_client::{Client, Config, Key, Object, Reader};
use k8s_openapi::{
    api::{
        authentication::v1::SelfSubjectReview,
        core::v1::{ConfigMap, ObjectReference, Secret, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::json;

use crate::support::{Manager, World, key, make, until};

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: Some("default".to_owned()), ..ObjectMeta::default() }
}

impl World {
    fn token_manager(&self, flags: &[&str]) -> Manager {
        let file = format!("--service-account-private-key-file={}", self.folder.path().join("sa.key").display());
        self.manager(&[&[file.as_str()], flags].concat())
    }

    async fn account(&self, name: &str, secrets: &[&str]) -> ServiceAccount {
        let reference = |name: &&str| ObjectReference { name: Some((*name).to_owned()), ..ObjectReference::default() };
        let secrets = Some(secrets.iter().map(reference).collect());
        let account = ServiceAccount { metadata: meta(name), secrets, ..ServiceAccount::default() };
        self.client.namespaced("default").create(&account).await.expect("the account is made")
    }

    async fn token_secret(&self, name: &str, account: &str, labels: &[(&str, &str)]) {
        let pairs = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let annotations = Some(pairs(&[("kubernetes.io/service-account.name", account)]));
        let metadata = ObjectMeta { annotations, labels: Some(pairs(labels)), ..meta(name) };
        let kind = Some("kubernetes.io/service-account-token".to_owned());
        let secret = Secret { metadata, type_: kind, ..Secret::default() };
        self.client.namespaced("default").create(&secret).await.expect("the secret is made");
    }

    /// Whom the API server takes the bearer of a token for.
    async fn bearer(&self, token: &str) -> gantry_client::Result<String> {
        let config = Config {
            servers: vec![self.server.url()],
            ca_pem: self.server.ca_pem().into_bytes(),
            tls_server_name: None,
            identity: None,
            token: Some(token.to_owned()),
            user_agent: "bearer/test".to_owned(),
        };
        let review = Client::new(&config)?.api::<SelfSubjectReview>().create(&SelfSubjectReview::default()).await?;
        Ok(review.status.and_then(|s| s.user_info).and_then(|u| u.username).unwrap_or_default())
    }
}

fn text(reader: &Reader<Secret>, name: &str, field: &str) -> String {
    let secret = reader.get(&key(name));
    let data = secret.and_then(|secret| secret.data.clone()).unwrap_or_default();
    data.get(field).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}

fn label(secret: &Secret, name: &str) -> String {
    secret.metadata.labels.as_ref().and_then(|labels| labels.get(name)).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn token_secrets_are_filled_believed_and_go_with_their_account() {
    let world = World::start().await;
    let secrets = world.reader::<Secret>();
    let manager = world.token_manager(&[]);
    world.account("web", &["s"]).await;
    world.token_secret("s", "web", &[]).await;
    until(&secrets, "the secret has a token", |_| !text(&secrets, "s", "token").is_empty()).await;
    assert_eq!(text(&secrets, "s", "namespace"), "default");
    assert_eq!(text(&secrets, "s", "ca.crt"), world.server.ca_pem());

    let token = text(&secrets, "s", "token");
    assert_eq!(world.bearer(&token).await.expect("it is good"), "system:serviceaccount:default:web");
    let today = gantry_api::legacy_token::day(jiff::Timestamp::now());
    until(&secrets, "the use is noted", |all| all.iter().any(|s| label(s, LAST_USED) >= today)).await;

    // What is taken out comes back, with a new token.
    world.patch::<Secret>(&key("s"), json!({"data": {"token": null, "namespace": null}})).await;
    until(&secrets, "the secret has a token again", |_| !text(&secrets, "s", "token").is_empty()).await;
    assert_eq!(text(&secrets, "s", "namespace"), "default");

    world.patch::<Secret>(&key("s"), json!({"metadata": {"labels": {INVALID_SINCE: "2026-01-01"}}})).await;
    let refused = world.bearer(&text(&secrets, "s", "token")).await.expect_err("it was marked invalid");
    assert_eq!(refused.status().map(|s| s.code), Some(401), "{refused}");

    let accounts = world.reader::<ServiceAccount>();
    world.token_secret("t", "web", &[]).await;
    until(&secrets, "the other secret has a token", |_| !text(&secrets, "t", "token").is_empty()).await;
    world.delete::<Secret>(&key("s"), "Background").await;
    let lists = |account: &ServiceAccount| account.secrets.iter().flatten().count();
    until(&accounts, "the account forgets it", |all| all.iter().any(|a| a.key() == key("web") && lists(a) == 0)).await;
    world.delete::<ServiceAccount>(&key("web"), "Background").await;
    until(&secrets, "secrets go with the account", |all| all.iter().all(|s| s.key() != key("t"))).await;

    // A namesake of the account gets nothing of the old one.
    world.token_secret("early", "late", &[]).await;
    until(&secrets, "a secret without an account goes", |all| all.iter().all(|s| s.key() != key("early"))).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_cleaner_marks_unused_tokens_and_deletes_marked_ones() {
    let world = World::start().await;
    let (secrets, maps) = (world.reader::<Secret>(), world.reader::<ConfigMap>());
    let tracking = Key::new("kube-system", TRACKING);
    until(&maps, "uses are tracked", |all| all.iter().any(|map| map.key() == tracking)).await;
    let since = |map: &ConfigMap| map.data.as_ref().and_then(|data| data.get("since")).cloned().unwrap_or_default();
    world.patch::<ConfigMap>(&tracking, json!({"data": {"since": "ever"}})).await;
    let is_day = |map: &ConfigMap| gantry_api::legacy_token::start_of(&since(map)).is_some();
    until(&maps, "a day stands there again", |all| all.iter().any(|map| map.key() == tracking && is_day(map))).await;
    world.patch::<ConfigMap>(&tracking, json!({"data": {"since": "2020-01-01"}})).await;
    world.account("web", &["unused", "marked"]).await;
    world.token_secret("unused", "web", &[]).await;
    world.token_secret("marked", "web", &[(INVALID_SINCE, "2020-02-01")]).await;
    world.token_secret("by-hand", "web", &[]).await;
    let flags = [
        "--legacy-service-account-token-clean-up-period=1ms",
        "--controllers=legacy-serviceaccount-token-cleaner-controller",
    ];
    let manager = world.token_manager(&flags);
    until(&secrets, "the marked one goes", |all| all.iter().all(|s| s.key() != key("marked"))).await;
    let marked = |s: &Secret| s.key() == key("unused") && !label(s, INVALID_SINCE).is_empty();
    until(&secrets, "the unused one is marked", |all| all.iter().any(|s| marked(s))).await;
    assert!(secrets.get(&key("by-hand")).is_some_and(|s| label(&s, INVALID_SINCE).is_empty()));
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_tokens_sign_what_machines_read_and_go_when_they_are_over() {
    let world = World::start().await;
    let (secrets, maps) = (world.reader::<Secret>(), world.reader::<ConfigMap>());
    let token = async |id: &str, expiration: &str| {
        let data = json!({"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true",
            "expiration": expiration});
        let metadata = json!({"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"});
        let kind = "bootstrap.kubernetes.io/token";
        make::<Secret>(&world, json!({"metadata": metadata, "type": kind, "stringData": data})).await;
    };
    token("good00", "2999-01-01T00:00:00Z").await;
    token("over00", "2020-01-01T00:00:00Z").await;
    let (metadata, data) = (json!({"name": "cluster-info", "namespace": "kube-public"}), json!({"kubeconfig": "x"}));
    make::<ConfigMap>(&world, json!({"metadata": metadata, "data": data})).await;
    let manager = world.manager(&["--controllers=*,bootstrapsigner,tokencleaner"]);
    let info = Key::new("kube-public", "cluster-info");
    let signed = |_: &[_]| {
        let data = maps.get(&info).and_then(|map| map.data.clone()).unwrap_or_default();
        let of = |id: &str| data.get(&format!("jws-kubeconfig-{id}")).cloned().unwrap_or_default();
        of("good00").starts_with("eyJ") && of("over00").is_empty()
    };
    until(&maps, "the good one signs", signed).await;
    let over = Key::new("kube-system", "bootstrap-token-over00");
    until(&secrets, "the other one goes", |_| secrets.get(&over).is_none()).await;
    assert!(secrets.get(&Key::new("kube-system", "bootstrap-token-good00")).is_some());
    manager.stop().await;
}
