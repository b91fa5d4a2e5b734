//! Start and stop: every file and socket is checked before anything is served.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_api::kinds::Unserved;
use gantry_common::clock::SharedClock;
use gantry_common::shutdown::Shutdown;
use gantry_common::task::{Group, OnExit};
use gantry_common::token_keys::{self, Keys};
use gantry_store::cache::{self, Cache};
use gantry_store::{EtcdConfig, EtcdStore, EtcdTls, Store, compact};
use http::HeaderValue;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::admission::{Chain, Settings};
use crate::aggregate::{self, Aggregator};
use crate::allocate;
use crate::app::{self, App};
use crate::audit;
use crate::auth::authenticator::{self, Authenticator};
use crate::auth::token_file::{self, TokenFile};
use crate::auth::tracking;
use crate::authorize;
use crate::bootstrap;
use crate::cluster::Lookup;
use crate::config::{Config, idle};
use crate::custom::{self, form::Forms};
use crate::encryption;
use crate::event_leases::EventLeases;
use crate::flows::{self, Flows};
use crate::grpc::{self, batch::STREAMS_PER_USER};
use crate::metrics::{self, Metrics};
use crate::normalise::Stored;
use crate::pipeline::turns::Turns;
use crate::rbac;
use crate::rbac::authorizer::Authorizer;
use crate::rest::health::Asked;
use crate::served::Registry;
use crate::server::limits::Limits;
use crate::server::{listener, tls, trust};
use crate::sessions::Sessions;
use crate::sessions::bounds::Places;
use crate::stats::Stats;
use crate::type_checks;
use crate::webhooks::Webhooks;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// etcd cannot be used.
    #[error(
        "cannot use etcd at {endpoints}: check that it runs and that --etcd-cafile, --etcd-certfile and --etcd-keyfile belong to it"
    )]
    Etcd {
        /// `--etcd-servers`.
        endpoints: String,
        /// Why.
        #[source]
        source: gantry_store::Error,
    },
    /// Only some of the three TLS files for etcd were given.
    #[error("--etcd-cafile, --etcd-certfile and --etcd-keyfile belong together: give all three or none")]
    EtcdTlsIncomplete,
    /// A file cannot be read.
    #[error("cannot read {path}, which {flag} names")]
    Read {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The serving certificate or the client CA cannot be used.
    #[error("cannot set up TLS: check --tls-cert-file, --tls-private-key-file and --client-ca-file")]
    Tls(#[source] gantry_common::tls::Error),
    /// A value of `--tls-min-version` or `--tls-cipher-suites` is not known.
    #[error("check --tls-min-version and --tls-cipher-suites: {why}")]
    Protocol {
        /// Which, in upstream's words.
        why: String,
    },
    /// The server cannot make itself a certificate.
    #[error(
        "no serving certificate: give --tls-cert-file and --tls-private-key-file, or a --cert-dir that can be written"
    )]
    Certificate(#[source] crate::config::ServingError),
    /// The port cannot be had.
    #[error("cannot open the server's port")]
    Listen(#[source] listener::Error),
    /// The static token file is broken.
    #[error("--token-auth-file {path} cannot be used")]
    Tokens {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A service-account key cannot be used.
    #[error("check --service-account-key-file and --service-account-signing-key-file")]
    Keys(#[source] token_keys::Error),
    /// The encryption configuration cannot be used.
    #[error("--encryption-provider-config {path} cannot be used")]
    Encryption {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: encryption::reload::Error,
    },
    /// The audit log cannot be written.
    #[error("--audit-log-path {path}: the file cannot be opened for appending")]
    Audit {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What admission plugins are told cannot be used.
    #[error("--admission-control-config-file {path} cannot be used: {why}")]
    Admission {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A value of a flag makes no sense.
    #[error("{flag} {value}: {why}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// Why not.
        why: &'static str,
    },
    /// What a flag asks for cannot be done.
    #[error("{flag}: {why}")]
    Switch {
        /// The flag.
        flag: &'static str,
        /// Why not.
        why: String,
    },
}

/// What the server is given: tests bring their own.
pub struct Deps {
    /// Where objects are.
    pub store: Arc<dyn Store>,
    /// Open sockets.
    pub sockets: Vec<TcpListener>,
    /// Wall time.
    pub clock: SharedClock,
}

/// A server that runs.
pub struct Running {
    /// The first address that it listens on.
    pub address: SocketAddr,
    pub(crate) app: Arc<App>,
    group: Group,
    served: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Waits until all that a server does at its start is done, and every request is served.
    pub async fn ready(&self) {
        for step in [&self.app.started, &self.app.registered, &self.app.introduced] {
            // An error means that the server has gone, which the caller sees by its next request.
            drop(step.subscribe().wait_for(|done| *done).await);
        }
    }

    /// Waits until the server has stopped; ask for that by its shutdown signal.
    pub async fn stopped(self) {
        if let Err(error) = self.served.await {
            tracing::error!(%error, "serving ended badly");
        }
        // Sessions end by themselves, each with a last word to its client.
        if tokio::time::timeout(self.app.config.shutdown_grace, self.app.places.empty()).await.is_err() {
            tracing::warn!("some sessions did not end in time and are cut off");
        }
        bootstrap::kubernetes::leave(&self.app).await;
        self.group.join().await;
    }
}

fn check(config: &Config) -> Result<(), Error> {
    let refuse = |flag, value: String, why| Err(Error::Flag { flag, value, why });
    if config.etcd_prefix.trim_matches('/').is_empty() {
        return refuse("--etcd-prefix", config.etcd_prefix.clone(), "name a prefix, as /registry");
    }
    if config.bind_addresses.is_empty() {
        return refuse("--bind-address", String::new(), "name at least one address");
    }
    if let Some(address) = config.advertise_address.filter(IpAddr::is_loopback) {
        return refuse("--advertise-address", address.to_string(), "pods and nodes cannot reach such an address");
    }
    plugins(&config.enable_admission_plugins, &config.disable_admission_plugins)
        .map_err(|why| Error::Switch { flag: "check --enable-admission-plugins and --disable-admission-plugins", why })
}

/// default/kubernetes has one family, which is that of its endpoints.
fn check_families(config: &Config) -> Result<(), Error> {
    let range = config.service_cluster_ip_range.all()[0];
    match config.advertise_address.filter(|address| address.is_ipv4() != range.addr().is_ipv4()) {
        None => Ok(()),
        Some(address) => {
            let why = format!("service IP family \"{range}\" must match public address family \"{address}\"");
            Err(Error::Switch { flag: "--advertise-address", why })
        }
    }
}

/// Whether there are the plugins that are switched on and off.
fn plugins(enabled: &[String], disabled: &[String]) -> Result<(), String> {
    for (flag, names) in [("enable-admission-plugins", enabled), ("disable-admission-plugins", disabled)] {
        if let Some(unknown) = Chain::unknown(names).first() {
            return Err(format!("{flag} plugin {unknown:?} is unknown"));
        }
    }
    let both: BTreeSet<&str> = enabled.iter().filter(|name| disabled.contains(name)).map(String::as_str).collect();
    if !both.is_empty() {
        let both = both.into_iter().collect::<Vec<_>>().join(" ");
        return Err(format!("[{both}] in enable-admission-plugins and disable-admission-plugins overlapped"));
    }
    match Chain::unavailable(enabled).first() {
        Some(name) => Err(format!("{name}: this server does not have the plugin, and must not seem to")),
        None => Ok(()),
    }
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { flag, path: path.to_owned(), source })
}

async fn connect(config: &Config) -> Result<Arc<dyn Store>, Error> {
    let mut etcd = EtcdConfig::new(config.etcd_servers.clone());
    match (&config.etcd_ca_file, &config.etcd_cert_file, &config.etcd_key_file) {
        (Some(ca), Some(certificate), Some(key)) => {
            etcd = etcd.with_tls(EtcdTls {
                ca: read("--etcd-cafile", ca)?,
                certificate: read("--etcd-certfile", certificate)?,
                key: read("--etcd-keyfile", key)?,
            });
        }
        (None, None, None) => {}
        _ => return Err(Error::EtcdTlsIncomplete),
    }
    let failed = |source| Error::Etcd { endpoints: config.etcd_servers.join(","), source };
    let store = EtcdStore::connect(&etcd).await.map_err(failed)?;
    store.revision().await.map_err(failed)?;
    Ok(Arc::new(store))
}

fn tokens(config: &Config) -> Result<TokenFile, Error> {
    let Some(path) = &config.token_auth_file else { return Ok(TokenFile::default()) };
    let text = String::from_utf8(read("--token-auth-file", path)?)
        .map_err(|e| Error::Tokens { path: path.clone(), source: e.into() })?;
    TokenFile::parse(&text).map_err(|e: token_file::Error| Error::Tokens { path: path.clone(), source: e.into() })
}

/// The certificate that is served, made where none is given, and whose certificates are believed.
fn acceptor(config: &Config, clock: &SharedClock) -> Result<tls::Acceptor, Error> {
    let proxies = config.request_header.client_ca_file.clone();
    let trusted = trust::Files { clients: config.client_ca_file.clone(), proxies };
    let protocol = config.serving.protocol().map_err(|why| Error::Protocol { why })?;
    let service = config.kubernetes_service_ip();
    let files = config.serving.files(config.advertised(), service, clock.now());
    let (cert, key) = files.map_err(Error::Certificate)?;
    tls::Acceptor::new((&cert, &key), &config.serving.tls_sni_cert_keys, trusted, protocol).map_err(Error::Tls)
}

/// What admission plugins are told; a plugin that cannot work with that stops the server.
fn admission(config: &Config) -> Result<Settings, Error> {
    let path = config.admission_control_config_file.clone().unwrap_or_default();
    let refuse = |why| Error::Admission { path: path.clone(), why };
    let settings = match &config.admission_control_config_file {
        Some(path) => Settings::load(path).map_err(refuse)?,
        None => Settings::default(),
    };
    settings.check(&config.enable_admission_plugins).map_err(refuse)?;
    Ok(settings)
}

/// Who decides what callers may do, and the file that says so, if one does.
fn authorization(config: &Config) -> Result<(Vec<authorize::Link>, Option<authorize::reload::File>), Error> {
    authorize::chain(&config.authorization).map_err(|why| Error::Switch { flag: "--authorization-mode", why })
}

/// What the operator does not want to be served; gates are looked at on the way.
fn unserved(config: &Config) -> Result<Unserved, Error> {
    config.check_gates().map_err(|why| Error::Switch { flag: "--feature-gates", why })?;
    config.unserved().map_err(|why| Error::Switch { flag: "--runtime-config", why })
}

fn encryption(config: &Config) -> Result<Option<encryption::reload::File>, Error> {
    let Some(path) = &config.encryption_provider_config else { return Ok(None) };
    let loaded = encryption::reload::File::load(path);
    loaded.map(Some).map_err(|source| Error::Encryption { path: path.clone(), source })
}

/// Connects to etcd, opens the port and serves until shutdown is asked for; `ready` is called once all is served.
///
/// # Errors
/// What is wrong with the configuration, and what to do about it.
pub async fn run(config: Config, clock: SharedClock, shutdown: Shutdown, ready: impl FnOnce()) -> Result<(), Error> {
    check(&config)?;
    for (flag, value) in &config.idle {
        info!("--{flag}={value} has nothing to do here: {}", idle::reason(flag));
    }
    let store = connect(&config).await?;
    let sockets = listener::bind(&config.bind_addresses, config.secure_port).map_err(Error::Listen)?;
    let running = start(config, Deps { store, sockets, clock }, shutdown.clone())?;
    tokio::select! {
        () = running.ready() => {
            info!(address = %running.address, "serving");
            ready();
        }
        () = shutdown.requested() => {}
    }
    running.stopped().await;
    Ok(())
}

fn address(sockets: &[TcpListener]) -> Result<SocketAddr, Error> {
    let bound = sockets.first().and_then(|socket| socket.local_addr().ok());
    bound.ok_or_else(|| Error::Flag { flag: "--bind-address", value: String::new(), why: "no socket was opened" })
}

fn audit_log(config: &Config) -> Result<audit::Log, Error> {
    let path = config.audit_log_path.as_deref();
    audit::Log::open(path).map_err(|source| Error::Audit { path: path.map(Into::into).unwrap_or_default(), source })
}

/// What signs tokens of service accounts, and what they are verified with.
fn keys(config: &Config) -> Result<Arc<Keys>, Error> {
    let signing = config.service_account_signing_key_file.as_deref();
    Keys::load(signing, &config.service_account_key_files).map(Arc::new).map_err(Error::Keys)
}

/// Serves with what is given.
///
/// # Errors
/// What is wrong with the configuration, and what to do about it.
pub fn start(mut config: Config, deps: Deps, shutdown: Shutdown) -> Result<Running, Error> {
    check(&config)?;
    let Deps { store, sockets, clock } = deps;
    let address = address(&sockets)?;
    config.secure_port = address.port();
    config.advertise_address = config.advertised();
    check_families(&config)?;
    let keys = keys(&config)?;
    let tokens = tokens(&config)?;
    let audit = audit_log(&config)?;
    let admission = admission(&config)?;
    let unserved = unserved(&config)?;
    let acceptor = Arc::new(acceptor(&config, &clock)?);
    let encryption = encryption(&config)?;
    let keyring = encryption.as_ref().map(|file| file.keyring.clone());
    let store = encryption::layer::over(store, &config.etcd_prefix, keyring.clone());
    let (store, figures) = metrics::store::over(store);
    let forms = Arc::new(Forms::default());
    let normalise = Arc::new(Stored::new(forms.clone()));
    let (cache, driver) = Cache::new(cache::Config::default(), store.clone(), normalise, app::views());
    let lookup = Arc::new(Lookup(cache.clone()));
    let (chain, judges) = authorization(&config)?;
    let transport_security = transport_security(&config)?;
    let known = known(&config, tokens, keys.clone(), &chain);
    let app = Arc::new(App {
        authenticator: Authenticator::new(known, clock.clone(), lookup.clone()),
        authorizer: Authorizer::new(chain, lookup),
        admission: Chain::new(&config.enable_admission_plugins, &config.disable_admission_plugins, admission),
        limits: Limits::new(config.max_requests_inflight, config.max_mutating_requests_inflight),
        keys,
        born: clock.now(),
        clock,
        cache,
        metrics: Metrics { store: figures, ..Metrics::default() },
        event_leases: EventLeases::default(),
        sessions: Sessions::default(),
        places: Arc::new(Places::sessions(config.max_sessions_per_user, config.max_sessions)),
        batches: Arc::new(Places::batches(STREAMS_PER_USER)),
        answers: Arc::default(),
        audit,
        transport_security,
        stats: Stats::default(),
        kinds: Arc::new(Registry::new(unserved)),
        forms,
        aggregator: Aggregator::default(),
        crowds: Arc::default(),
        flows: Flows::default(),
        turns: Turns::default(),
        webhooks: Webhooks::default(),
        health: Asked::default(),
        shutdown: shutdown.clone(),
        started: watch::Sender::new(false),
        registered: watch::Sender::new(false),
        introduced: watch::Sender::new(false),
        store: store.clone(),
        keyring,
        config,
    });
    let group = Group::new(shutdown.clone());
    group.spawn("watch-cache", OnExit::ShutDown, driver.run(shutdown.clone()));
    follow_encryption(&app, &group, encryption, &shutdown);
    if let Some(file) = judges {
        group.spawn("authorization-configuration", OnExit::ShutDown, file.follow(app.clone(), shutdown.clone()));
    }
    compact_now_and_then(&app, &group, store, &shutdown);
    group.spawn("control", OnExit::ShutDown, control(app.clone()));
    let grpc = grpc::routes(&app);
    let served = gantry_common::task::spawn("serve", listener::serve(app.clone(), grpc, sockets, acceptor, shutdown));
    Ok(Running { address, app, group, served })
}

/// What browsers are told of TLS.
fn transport_security(config: &Config) -> Result<Option<HeaderValue>, Error> {
    let flag = "--strict-transport-security-directives";
    config.transport_security().map_err(|why| Error::Switch { flag, why })
}

/// Drops old revisions, unless the operator sees to that.
fn compact_now_and_then(app: &App, group: &Group, store: Arc<dyn Store>, shutdown: &Shutdown) {
    let interval = app.config.etcd_compaction_interval;
    if !interval.is_zero() {
        group.spawn("compaction", OnExit::ShutDown, compact::run(store, interval, shutdown.clone()));
    }
}

/// What callers are recognised by.
fn known(config: &Config, tokens: TokenFile, keys: Arc<Keys>, chain: &[authorize::Link]) -> authenticator::Known {
    let anonymous = config.anonymous_auth && !authorize::allows_all(chain);
    if anonymous != config.anonymous_auth {
        warn!(
            "AnonymousAuth is not allowed with the AlwaysAllow authorizer. Resetting AnonymousAuth to false. You should \
             use a different authorizer"
        );
    }
    authenticator::Known {
        tokens,
        keys,
        issuers: config.service_account_issuers.clone(),
        audiences: config.audiences(),
        front: config.request_header.believed(),
        bootstrap: config.enable_bootstrap_token_auth,
        anonymous,
    }
}

/// Follows the file of the encryption configuration, and the plugins that it names.
fn follow_encryption(app: &Arc<App>, group: &Group, file: Option<encryption::reload::File>, shutdown: &Shutdown) {
    let interval = app.config.encryption_provider_config_check_period;
    if let Some(file) = file.filter(|_| app.config.encryption_provider_config_automatic_reload) {
        let follow = file.follow(app.cache.clone(), interval, shutdown.clone());
        group.spawn("encryption-configuration", OnExit::ShutDown, follow);
    }
    if let Some(keyring) = app.keyring.clone() {
        let follow = encryption::reload::follow_plugins(keyring, app.cache.clone(), interval, shutdown.clone());
        group.spawn("encryption-plugins", OnExit::ShutDown, follow);
    }
}

/// What the server keeps by itself, once the cache is filled.
async fn control(app: Arc<App>) {
    app.cache.ready().await;
    custom::start(&app).await;
    rbac::live::rebuild(&app);
    // Whoever is let in takes what discovery does not name for what nobody serves.
    app.aggregator.rebuild(&app);
    if rbac::live::is_bootstrapped(&app) {
        app.authorizer.set_known();
    }
    let roles = rbac::live::run(app.clone());
    let bootstrap = async {
        bootstrap::run(app.clone()).await;
        allocate::repair::run(app.clone()).await;
    };
    let endpoints = bootstrap::kubernetes::run(app.clone());
    let identity = bootstrap::identity::run(app.clone());
    let aggregation = aggregate::run(app.clone());
    let authentication = aggregate::authentication::run(app.clone());
    let custom = async { tokio::join!(custom::run(app.clone()), type_checks::run(app.clone())) };
    let flows = flows::run(app.clone());
    let legacy_tokens = tracking::run(app.clone());
    tokio::join!(roles, bootstrap, endpoints, identity, aggregation, authentication, custom, flows, legacy_tokens);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_switched_one_way() {
        let check = |enabled: &[&str], disabled: &[&str], expected: Result<(), &str>| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            assert_eq!(plugins(&owned(enabled), &owned(disabled)), expected.map_err(str::to_owned));
        };
        check(&["AlwaysDeny", "AlwaysAdmit"], &["LimitRanger", "JobValidation"], Ok(()));
        check(&["Nope"], &[], Err("enable-admission-plugins plugin \"Nope\" is unknown"));
        check(&[], &["Nope"], Err("disable-admission-plugins plugin \"Nope\" is unknown"));
        let own = "disable-admission-plugins plugin \"RBACEscalation\" is unknown";
        check(&[], &["RBACEscalation"], Err(own));
        let both = "[LimitRanger Priority] in enable-admission-plugins and disable-admission-plugins overlapped";
        check(&["Priority", "LimitRanger"], &["LimitRanger", "PodSecurity", "Priority"], Err(both));
        let absent = "NodeDeclaredFeatureValidator: this server does not have the plugin, and must not seem to";
        check(&["NodeDeclaredFeatureValidator"], &[], Err(absent));
    }
}
