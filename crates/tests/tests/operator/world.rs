//! A control plane with the operator's kind, webhooks and rights installed; instances that come and go.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_testkit::cluster::{Builder, Cluster};
use gantry_testkit::component::Component;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::{Condition, await_condition, conditions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::journal::Journal;
use crate::site::{GROUP, PLURAL, Site};
use crate::{election, hooks, program, schema};

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at something that no watch tells.
const LOOK: Duration = Duration::from_millis(30);
/// Whom the operator acts as.
const USER: &str = "site-operator";

/// Everything.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) journal: Arc<Journal>,
    /// An administrator's.
    pub(crate) client: kube::Client,
}

/// How a user connects, as kubectl is told.
pub(crate) fn kubeconfig(cluster: &Cluster, user: &str, groups: &[&str]) -> Value {
    let connection = cluster.connection(user, groups, user);
    let identity = connection.identity.expect("a certificate");
    let encode = |pem: &[u8]| STANDARD.encode(pem);
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {
            "server": connection.servers[0], "certificate-authority-data": encode(&connection.ca_pem),
        }}],
        "users": [{"name": "it", "user": {
            "client-certificate-data": encode(&identity.cert_pem), "client-key-data": encode(&identity.key_pem),
        }}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    })
}

async fn configuration(cluster: &Cluster, user: &str, groups: &[&str]) -> kube::Config {
    let file: Kubeconfig = typed(kubeconfig(cluster, user, groups));
    kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a configuration")
}

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of its type")
}

/// What the operator may do, and no more.
fn rights() -> ClusterRole {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let children = ["get", "list", "watch", "create", "patch"];
    typed(json!({"metadata": {"name": USER}, "rules": [
        rule(GROUP, &[PLURAL], &["get", "list", "watch", "patch"]),
        rule(GROUP, &["sites/status"], &["patch"]),
        rule("", &["configmaps"], &children),
        rule("apps", &["deployments"], &children),
        rule("coordination.k8s.io", &["leases"], &["get", "create", "update"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ]}))
}

impl World {
    /// A control plane that knows sites.
    pub(crate) async fn start() -> Self {
        let cluster = Builder::default().nodes(2).start().await.expect("the cluster starts");
        let config = configuration(&cluster, "admin", &["system:masters"]).await;
        let client = kube::Client::try_from(config).expect("a client");
        let world = Self { cluster, journal: Arc::default(), client };
        tokio::time::timeout(LIMIT, world.install()).await.expect("the kind is installed in time");
        world
    }

    async fn install(&self) {
        let identity = self.cluster.serving(&["127.0.0.1"]);
        let address = hooks::serve(&identity).await;
        let ca = ByteString(self.cluster.connection("admin", &[], "admin").ca_pem);
        let url = |path: &str| format!("https://{address}/{path}");
        self.apply(&Api::all(self.client.clone()), schema::NAME, &schema::definition(&url("convert"), &ca)).await;
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        await_condition(definitions, schema::NAME, conditions::is_crd_established()).await.expect("established");
        let webhook = |name: &str, operations: &[&str]| {
            json!({"metadata": {"name": USER}, "webhooks": [{
                "name": format!("{name}.web.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": url(name), "caBundle": ca},
                "rules": [{"operations": operations, "apiGroups": [GROUP], "apiVersions": ["v1"], "resources": [PLURAL]}],
            }]})
        };
        let mutating: MutatingWebhookConfiguration = typed(webhook("mutate", &["CREATE", "UPDATE"]));
        self.apply(&Api::all(self.client.clone()), USER, &mutating).await;
        let validating: ValidatingWebhookConfiguration = typed(webhook("validate", &["CREATE", "UPDATE", "DELETE"]));
        self.apply(&Api::all(self.client.clone()), USER, &validating).await;
        self.apply(&Api::all(self.client.clone()), USER, &rights()).await;
        let binding: ClusterRoleBinding = typed(json!({
            "metadata": {"name": USER}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": USER}],
            "roleRef": {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": USER},
        }));
        self.apply(&Api::all(self.client.clone()), USER, &binding).await;
    }

    /// Server-side apply.
    async fn apply<K>(&self, api: &Api<K>, name: &str, object: &K)
    where
        K: Serialize + DeserializeOwned + Clone + std::fmt::Debug,
    {
        let params = PatchParams::apply(program::MANAGER).force();
        api.patch(name, &params, &Patch::Apply(object)).await.expect("it is installed");
    }

    /// Starts an instance of the operator, in a thread of its own.
    pub(crate) async fn instance(&self, name: &str) -> Component {
        let (config, journal) = (configuration(&self.cluster, USER, &[]).await, Arc::clone(&self.journal));
        let instance = name.to_owned();
        Component::start(name, move |shutdown| program::run(instance, config, journal, shutdown))
    }

    pub(crate) fn sites(&self) -> Api<Site> {
        self.namespaced()
    }

    /// Objects of a kind in the namespace `default`.
    pub(crate) fn namespaced<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn create(&self, site: &Site) -> Site {
        self.sites().create(&PostParams::default(), site).await.expect("a site that is fine is taken")
    }

    /// Waits until an object is as it should be.
    pub(crate) async fn until<K>(&self, api: Api<K>, name: &str, what: &str, condition: impl Condition<K>) -> Option<K>
    where
        K: Clone + std::fmt::Debug + Send + DeserializeOwned + kube::Resource + 'static,
    {
        let found = tokio::time::timeout(LIMIT, await_condition(api, name, condition)).await;
        let late =
            |_| panic!("not within {LIMIT:?}: {name} {what}; the operator failed with: {}", self.journal.failure());
        found.unwrap_or_else(late).expect("it can be watched")
    }

    /// Waits until a site is all there.
    pub(crate) async fn available(&self, name: &str) -> Site {
        let is = |site: Option<&Site>| site.is_some_and(Site::is_available);
        self.until(self.sites(), name, "is available", is).await.expect("it is there")
    }

    /// Waits until an instance leads, and how many times the lease has changed hands.
    pub(crate) async fn leader(&self, is_it: impl Fn(&str) -> bool) -> (String, i32) {
        let leases: Api<Lease> = self.namespaced();
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let spec = leases.get_opt(election::LEASE).await.ok().flatten().and_then(|lease| lease.spec);
            let holder = spec.as_ref().and_then(|s| s.holder_identity.clone()).unwrap_or_default();
            if !holder.is_empty() && is_it(&holder) {
                return (holder, spec.and_then(|s| s.lease_transitions).unwrap_or_default());
            }
            assert!(tokio::time::Instant::now() < deadline, "not within {LIMIT:?}: another leader than {holder:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Looks until there is something to be found.
    pub(crate) async fn found<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "not within {LIMIT:?}: {what}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What an API server says no with.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: kube::Result<T>) -> (u16, String) {
    match answer {
        Err(kube::Error::Api(status)) => (status.code, status.message),
        other => panic!("it should have been refused: {other:?}"),
    }
}
