//! A whole API server in process for tests: port 0, an in-memory store, a CA of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_common::clock::{self, SharedClock};
use gantry_common::shutdown::Shutdown;
use gantry_store::{MemoryStore, Store};

use crate::config::Config;
use crate::run::{self, Deps, Running};
use crate::server::listener;

pub mod bytes;
mod pki;

pub use pki::{Identity, Pki};

/// A server that runs until it is dropped or stopped.
pub struct TestServer {
    running: Option<Running>,
    shutdown: Shutdown,
    pki: Arc<Pki>,
    folder: PathBuf,
    store: Arc<dyn Store>,
}

/// What a test server is made of.
pub struct Builder {
    store: Option<Arc<dyn Store>>,
    clock: SharedClock,
    pki: Option<Arc<Pki>>,
    configure: Box<dyn FnOnce(&mut Config) + Send>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { store: None, clock: clock::system(), pki: None, configure: Box::new(|_| {}) }
    }
}

impl Builder {
    /// Uses this store.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Uses this clock.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Uses the CA of a server that was there before, so that its clients can go on.
    #[must_use]
    pub fn pki(mut self, pki: Arc<Pki>) -> Self {
        self.pki = Some(pki);
        self
    }

    /// Changes the configuration.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config) + Send + 'static) -> Self {
        self.configure = Box::new(change);
        self
    }

    /// Starts the server and waits until it serves everything. Its files are below `folder`.
    ///
    /// # Errors
    /// What [`run::start`] says.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub async fn start(self, folder: &Path) -> Result<TestServer, run::Error> {
        let server = self.start_now(folder).await?;
        if let Some(running) = &server.running {
            running.ready().await;
        }
        Ok(server)
    }

    /// As [`Builder::start`], without waiting until the server can serve.
    ///
    /// # Errors
    /// What [`run::start`] says.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub async fn start_now(self, folder: &Path) -> Result<TestServer, run::Error> {
        gantry_common::tls::install_provider();
        let pki = self.pki.unwrap_or_default();
        let mut config = configuration(&pki, folder);
        (self.configure)(&mut config);
        let shutdown = Shutdown::new();
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let sockets = listener::bind(&config.bind_addresses, config.secure_port).map_err(run::Error::Listen)?;
        let deps = Deps { store: store.clone(), sockets, clock: self.clock };
        let running = run::start(config, deps, shutdown.clone())?;
        Ok(TestServer { running: Some(running), shutdown, pki, folder: folder.to_owned(), store })
    }
}

fn configuration(pki: &Pki, folder: &Path) -> Config {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("the test's folder can be written");
        path
    };
    let serving = pki.serving();
    let signing = write("sa.key", &pki.signing_key_pem());
    Config {
        flags: [("secure-port".to_owned(), "0".to_owned())].into(),
        idle: std::collections::BTreeMap::new(),
        etcd_servers: Vec::new(),
        etcd_ca_file: None,
        etcd_cert_file: None,
        etcd_key_file: None,
        etcd_prefix: "/registry".to_owned(),
        etcd_compaction_interval: gantry_store::compact::INTERVAL,
        encryption_provider_config: None,
        encryption_provider_config_automatic_reload: false,
        encryption_provider_config_check_period: std::time::Duration::from_millis(50),
        secure_port: 0,
        bind_addresses: vec![std::net::Ipv4Addr::LOCALHOST.into()],
        advertise_address: None,
        serving: crate::Serving {
            tls_cert_file: Some(write("server.crt", &serving.cert_pem)),
            tls_private_key_file: Some(write("server.key", &serving.key_pem)),
            ..crate::Serving::default()
        },
        client_ca_file: Some(write("ca.crt", &pki.ca_pem())),
        request_header: crate::RequestHeader::default(),
        proxy_client_cert_file: None,
        proxy_client_key_file: None,
        proxy_ca_file: None,
        token_auth_file: None,
        service_account_issuers: vec!["https://kubernetes.default.svc.cluster.local".to_owned()],
        service_account_jwks_uri: None,
        service_account_max_token_expiration: None,
        service_account_extend_token_expiration: true,
        service_account_key_files: Vec::new(),
        service_account_signing_key_file: Some(signing),
        api_audiences: Vec::new(),
        service_cluster_ip_range: "10.96.0.0/16".parse().expect("a network"),
        service_node_port_range: "30000-32767".parse().expect("a range"),
        authorization: crate::Authorization::default(),
        anonymous_auth: true,
        enable_bootstrap_token_auth: false,
        default_not_ready_toleration_seconds: 300,
        default_unreachable_toleration_seconds: 300,
        event_ttl: std::time::Duration::from_secs(3600),
        max_requests_inflight: 400,
        max_mutating_requests_inflight: 200,
        max_sessions_per_user: 512,
        max_sessions: 4096,
        connections: crate::Connections::default(),
        audit_log_path: None,
        session_check_period: std::time::Duration::from_secs(30),
        request_timeout: std::time::Duration::from_secs(60),
        http2_max_streams_per_connection: 0,
        strict_transport_security_directives: Vec::new(),
        min_request_timeout_seconds: 1800,
        shutdown_grace: std::time::Duration::from_secs(2),
        webhook_allowed_cidrs: Vec::new(),
        enable_admission_plugins: Vec::new(),
        disable_admission_plugins: Vec::new(),
        admission_control_config_file: None,
        // A Lease that is renewed all the time would stand in the way of tests that count what is written.
        feature_gates: vec!["APIServerIdentity=false".to_owned()],
        runtime_config: Vec::new(),
    }
}

impl TestServer {
    /// A server with everything as it usually is.
    ///
    /// # Errors
    /// What [`run::start`] says.
    pub async fn start(folder: &Path) -> Result<Self, run::Error> {
        Builder::default().start(folder).await
    }

    /// `https://127.0.0.1:<port>`.
    ///
    /// # Panics
    /// After [`TestServer::stop`].
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.running.as_ref().expect("the server runs").address)
    }

    /// The CA of the serving certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.pki.ca_pem()
    }

    /// What serves.
    #[cfg(test)]
    pub(crate) fn app(&self) -> &crate::app::App {
        &self.running.as_ref().expect("the server runs").app
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// A client certificate for a user and its groups.
    #[must_use]
    pub fn identity(&self, user: &str, groups: &[&str]) -> Identity {
        self.pki.client(user, groups)
    }

    /// A serving certificate of the cluster's CA.
    #[must_use]
    pub fn serving(&self, names: &[&str]) -> Identity {
        self.pki.serving_for("backend", names)
    }

    /// Writes a kubeconfig for a user; returns its path.
    ///
    /// # Panics
    /// When the folder cannot be written.
    #[must_use]
    pub fn kubeconfig(&self, user: &str, groups: &[&str]) -> PathBuf {
        let identity = self.identity(user, groups);
        let path = self.folder.join(format!("{}.kubeconfig", user.replace([':', '/'], "-")));
        let text = pki::kubeconfig(&self.url(), &self.ca_pem(), &identity);
        std::fs::write(&path, text).expect("the test's folder can be written");
        path
    }

    /// Stops the server and waits for its end.
    pub async fn stop(mut self) {
        self.shutdown.trigger();
        if let Some(running) = self.running.take() {
            running.stopped().await;
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}
