//! The configuration of the API server: flags with kube-apiserver's names, checked once, passed as a value.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gantry_api::kinds::Unserved;
use http::HeaderValue;
use ipnet::IpNet;

mod address;
mod authorization;
mod connections;
mod front;
mod gates;
pub(crate) mod idle;
mod named;
mod ranges;
mod refused;
mod serving;
mod versions;

pub use authorization::Authorization;
pub use connections::Connections;
pub use front::RequestHeader;
pub use idle::{Sifted, sift};
pub use named::NamedCert;
pub use ranges::ServiceRanges;
pub use refused::refused;
pub use serving::{Error as ServingError, Serving};

/// Ports that Services of type NodePort are given, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// Number of ports.
    #[must_use]
    pub fn len(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// Never: a range holds at least one port.
    #[must_use]
    pub fn is_empty(self) -> bool {
        false
    }
}

impl std::str::FromStr for PortRange {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (first, last) = s.split_once('-').ok_or_else(|| format!("{s:?} is not a range like 30000-32767"))?;
        let port = |p: &str| p.trim().parse::<u16>().map_err(|e| format!("port {p:?}: {e}"));
        let range = Self { first: port(first)?, last: port(last)? };
        if range.first == 0 || range.first > range.last {
            return Err(format!("{s:?}: the first port must be at least 1 and not above the last"));
        }
        Ok(range)
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A number of seconds, or Go's form of a duration: `1h30m0s`.
fn seconds_or_unit(s: &str) -> Result<Duration, String> {
    if let Ok(seconds) = s.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = s.parse().map_err(|e| format!("{e}; use s, m or h, as in 1h30m"))?;
    Duration::try_from(span).map_err(|_| "a duration must not be negative".to_owned())
}

/// Everything the API server is told at start.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// All flags as the server was started with them, by name: what `/flagz` tells.
    #[arg(skip)]
    pub flags: BTreeMap<String, String>,
    /// Flags that were given and have nothing to do here, with their values.
    #[arg(skip)]
    pub idle: BTreeMap<String, String>,
    /// etcd's addresses; `unix://` and a path for one on this machine that is reached by its socket.
    #[arg(long = "etcd-servers", value_delimiter = ',', default_value = "https://127.0.0.1:2379")]
    pub etcd_servers: Vec<String>,
    /// The CA that signed etcd's certificate.
    #[arg(long = "etcd-cafile")]
    pub etcd_ca_file: Option<PathBuf>,
    /// The client certificate for etcd.
    #[arg(long = "etcd-certfile")]
    pub etcd_cert_file: Option<PathBuf>,
    /// The key of the client certificate for etcd.
    #[arg(long = "etcd-keyfile")]
    pub etcd_key_file: Option<PathBuf>,
    /// The prefix of every key in etcd.
    #[arg(long = "etcd-prefix", default_value = "/registry")]
    pub etcd_prefix: String,
    /// How often old revisions are dropped from etcd; 0: never by this server.
    #[arg(long = "etcd-compaction-interval", default_value = "5m", value_parser = seconds_or_unit)]
    pub etcd_compaction_interval: Duration,
    /// Which resources are encrypted in etcd, and with which keys: a file with an EncryptionConfiguration
    /// (apiserver.config.k8s.io/v1). Providers: identity, aesgcm, aescbc, secretbox, kms (version 2).
    #[arg(long = "encryption-provider-config")]
    pub encryption_provider_config: Option<PathBuf>,
    /// Take up the encryption configuration again when its file changes.
    #[arg(
        long = "encryption-provider-config-automatic-reload",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub encryption_provider_config_automatic_reload: bool,
    /// How often the encryption configuration's file is looked at.
    #[arg(long = "encryption-provider-config-check-period", default_value = "10s", value_parser = seconds_or_unit, hide = true)]
    pub encryption_provider_config_check_period: Duration,
    /// The TLS port; 0 takes a free one.
    #[arg(long = "secure-port", default_value_t = 6443)]
    pub secure_port: u16,
    /// The addresses to listen on; 0.0.0.0 and :: are all of the machine's, of both families.
    #[arg(long = "bind-address", value_delimiter = ',', default_value = "0.0.0.0")]
    pub bind_addresses: Vec<IpAddr>,
    /// The address under which the cluster's members reach this server; it becomes the endpoint of default/kubernetes.
    /// Without it a bound address is taken; where all are bound, the one from which this machine reaches others. A server that
    /// listens on loopback alone has none.
    #[arg(long = "advertise-address")]
    pub advertise_address: Option<IpAddr>,
    /// The serving certificate and how TLS is spoken.
    #[command(flatten)]
    pub serving: Serving,
    /// The CA of client certificates.
    #[arg(long = "client-ca-file")]
    pub client_ca_file: Option<PathBuf>,
    /// Proxies in front that authenticate users.
    #[command(flatten)]
    pub request_header: RequestHeader,
    /// The certificate that this server shows to API servers that it is in front of (see APIService).
    #[arg(long = "proxy-client-cert-file", requires = "proxy_client_key_file")]
    pub proxy_client_cert_file: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long = "proxy-client-key-file", requires = "proxy_client_cert_file")]
    pub proxy_client_key_file: Option<PathBuf>,
    /// The CA of pods, Services and nodes that are proxied to over https; --client-ca-file by default.
    #[arg(long = "proxy-ca-file")]
    pub proxy_ca_file: Option<PathBuf>,
    /// Static tokens: CSV lines `token,user,uid,"group1,group2"`.
    #[arg(long = "token-auth-file")]
    pub token_auth_file: Option<PathBuf>,
    /// The issuer of service-account tokens. It may be given several times: the first is written into tokens, all are accepted.
    #[arg(long = "service-account-issuer", default_value = "https://kubernetes.default.svc.cluster.local")]
    pub service_account_issuers: Vec<String>,
    /// Where the keys of service-account tokens can be had; at the advertised address of this server by default.
    #[arg(long = "service-account-jwks-uri")]
    pub service_account_jwks_uri: Option<String>,
    /// The longest life of a token that is asked for; longer ones are shortened, with a warning.
    #[arg(long = "service-account-max-token-expiration", value_parser = seconds_or_unit)]
    pub service_account_max_token_expiration: Option<Duration>,
    /// Let the tokens of pods live for a year, for clients that do not read them again.
    #[arg(
        long = "service-account-extend-token-expiration",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub service_account_extend_token_expiration: bool,
    /// Keys (public or private, PEM) that service-account tokens are checked with.
    #[arg(long = "service-account-key-file")]
    pub service_account_key_files: Vec<PathBuf>,
    /// The private key that signs service-account tokens.
    #[arg(long = "service-account-signing-key-file")]
    pub service_account_signing_key_file: Option<PathBuf>,
    /// Audiences of this API; the issuers by default.
    #[arg(long = "api-audiences", value_delimiter = ',')]
    pub api_audiences: Vec<String>,
    /// Where Services get their cluster IPs from: one range, or two of different families, the first of which is that of Services
    /// that do not ask for one.
    #[arg(long = "service-cluster-ip-range", default_value = "10.96.0.0/16")]
    pub service_cluster_ip_range: ServiceRanges,
    /// Where Services get their node ports from.
    #[arg(long = "service-node-port-range", default_value = "30000-32767")]
    pub service_node_port_range: PortRange,
    /// Who decides what callers may do.
    #[command(flatten)]
    pub authorization: Authorization,
    /// Let in those who show no credential, as system:anonymous: they may read what roles let them, usually health and version.
    /// They may write nothing, whatever roles say. With the mode AlwaysAllow nobody is let in so.
    #[arg(
        long = "anonymous-auth",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub anonymous_auth: bool,
    /// Take bootstrap tokens, which Secrets of type bootstrap.kubernetes.io/token in kube-system make good.
    #[arg(
        long = "enable-bootstrap-token-auth",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub enable_bootstrap_token_auth: bool,
    /// How long pods that do not say otherwise stay on a node that is not ready, in seconds.
    #[arg(long = "default-not-ready-toleration-seconds", default_value_t = 300)]
    pub default_not_ready_toleration_seconds: i64,
    /// How long pods that do not say otherwise stay on a node that cannot be reached, in seconds.
    #[arg(long = "default-unreachable-toleration-seconds", default_value_t = 300)]
    pub default_unreachable_toleration_seconds: i64,
    /// How long Events are kept.
    #[arg(long = "event-ttl", default_value = "1h", value_parser = seconds_or_unit)]
    pub event_ttl: Duration,
    /// Reads at once; more are answered 429.
    #[arg(long = "max-requests-inflight", default_value_t = 400)]
    pub max_requests_inflight: usize,
    /// Writes at once; more are answered 429.
    #[arg(long = "max-mutating-requests-inflight", default_value_t = 200)]
    pub max_mutating_requests_inflight: usize,
    /// Sessions (exec, attach, port-forward, logs, stats) that one user may have open; more are answered 429. All service
    /// accounts of a namespace count as one user. Members of system:masters are not counted.
    #[arg(long = "max-sessions-per-user", default_value_t = 512)]
    pub max_sessions_per_user: usize,
    /// Sessions that all users together may have open; more are answered 429. The fewer are left, the fewer one
    /// user may have. Nodes, controllers and the accounts of kube-system have as many of their own.
    #[arg(long = "max-sessions", default_value_t = 4096)]
    pub max_sessions: usize,
    /// Where the audit log goes: a file that lines of JSON (audit.k8s.io/v1) are added to, or `-` for standard output.
    /// Without it audit events go to the server's own log, under the target `audit`.
    #[arg(long = "audit-log-path")]
    pub audit_log_path: Option<PathBuf>,
    /// How many connections there may be, and how long.
    #[arg(skip)]
    pub connections: Connections,
    /// How often the credential of an open session is checked again, at the least.
    #[arg(long = "session-check-period", default_value = "30s", value_parser = seconds_or_unit, hide = true)]
    pub session_check_period: Duration,
    /// How long a request may take that is no stream, unless its client says less. Of those that change something no more than
    /// 34 s.
    #[arg(long = "request-timeout", default_value = "1m", value_parser = seconds_or_unit)]
    pub request_timeout: Duration,
    /// Requests at once on one connection of HTTP/2; 0: 1000.
    #[arg(long = "http2-max-streams-per-connection", default_value_t = 0)]
    pub http2_max_streams_per_connection: u32,
    /// Tells browsers to use TLS alone: max-age=<seconds>, includeSubDomains, preload.
    #[arg(long = "strict-transport-security-directives", value_delimiter = ',')]
    pub strict_transport_security_directives: Vec<String>,
    /// Shortest life of a watch without a timeout of its own, in seconds; each is given between this and twice this.
    #[arg(long = "min-request-timeout", default_value_t = 1800)]
    pub min_request_timeout_seconds: u64,
    /// How long open requests may take to end once the server stops.
    #[arg(long = "shutdown-grace", default_value = "10s", value_parser = seconds_or_unit, hide = true)]
    pub shutdown_grace: Duration,
    /// Networks in which webhooks may be called by URL although the API server would not connect there: this host, nodes,
    /// pods, Services, link-local addresses. Webhooks of Services need none.
    #[arg(long = "webhook-allowed-cidrs", value_delimiter = ',')]
    pub webhook_allowed_cidrs: Vec<IpNet>,
    /// Admission plugins to use besides those that are on by default, by name.
    #[arg(long = "enable-admission-plugins", value_delimiter = ',')]
    pub enable_admission_plugins: Vec<String>,
    /// What admission plugins are told: a file with an AdmissionConfiguration (apiserver.config.k8s.io/v1). For PodSecurity,
    /// PodNodeSelector, PodTolerationRestriction, EventRateLimit, ResourceQuota, ImagePolicyWebhook,
    /// MutatingAdmissionWebhook and ValidatingAdmissionWebhook.
    #[arg(long = "admission-control-config-file")]
    pub admission_control_config_file: Option<PathBuf>,
    /// Admission plugins to leave out, by name.
    #[arg(long = "disable-admission-plugins", value_delimiter = ',')]
    pub disable_admission_plugins: Vec<String>,
    /// Features by their gates in Kubernetes 1.36, as `Name=true`: only what is so anyway may be asked for, but
    /// APIServerIdentity (a Lease per API server in kube-system) can be switched.
    #[arg(long = "feature-gates", value_delimiter = ',')]
    pub feature_gates: Vec<String>,
    /// Group versions, or resources of one, that are not to be served: `batch/v1=false`, `batch/v1/jobs=false`; `api/all`,
    /// `api/ga`, `api/beta` and `api/alpha` mean many at once.
    #[arg(long = "runtime-config", value_delimiter = ',')]
    pub runtime_config: Vec<String>,
}

impl Config {
    /// The address that default/kubernetes points to, if there is a usable one.
    #[must_use]
    pub fn advertised(&self) -> Option<IpAddr> {
        let bound = || self.bind_addresses.iter().copied().filter(|address| !address.is_loopback());
        let own = || match bound().next()? {
            IpAddr::V4(_) => address::own(false).or_else(|| address::own(true)),
            IpAddr::V6(_) => address::own(true).or_else(|| address::own(false)),
        };
        let told = self.advertise_address.filter(|address| !address.is_unspecified());
        told.or_else(|| bound().find(|address| !address.is_unspecified())).or_else(own)
    }

    /// The first address of the Service range: default/kubernetes.
    #[must_use]
    pub fn kubernetes_service_ip(&self) -> IpAddr {
        self.service_cluster_ip_range.first_address()
    }

    /// The issuer of the tokens that this server makes.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.service_account_issuers.first().map_or("", String::as_str)
    }

    /// Whether `--feature-gates` asks for what is so, or can be made so.
    ///
    /// # Errors
    /// What cannot be done.
    pub(crate) fn check_gates(&self) -> Result<(), String> {
        gates::check(&self.feature_gates)
    }

    /// Whether this server tells of itself by a Lease.
    pub(crate) fn has_identity(&self) -> bool {
        gates::is_on(&self.feature_gates, gates::IDENTITY)
    }

    /// The built-in kinds that `--runtime-config` switches off.
    ///
    /// # Errors
    /// What cannot be done.
    pub(crate) fn unserved(&self) -> Result<Unserved, String> {
        versions::switched_off(&self.runtime_config)
    }

    /// The value of the header Strict-Transport-Security, where there is to be one.
    ///
    /// # Errors
    /// For directives that there are not, in upstream's words.
    pub(crate) fn transport_security(&self) -> Result<Option<HeaderValue>, String> {
        const WRONG: &str = "--strict-transport-security-directives invalid, allowed values: max-age=expireTime, \
            includeSubDomains, preload. see https://tools.ietf.org/html/rfc6797#section-6.1 for more information";
        let directives = &self.strict_transport_security_directives;
        let is_age = |text: &str| text.strip_prefix("max-age=").is_some_and(|age| !age.contains('='));
        let known = |text: &String| matches!(text.as_str(), "includeSubDomains" | "preload") || is_age(text);
        if !directives.iter().all(known) {
            return Err(WRONG.to_owned());
        }
        let value = HeaderValue::from_str(&directives.join("; ")).map_err(|_| WRONG.to_owned())?;
        Ok(Some(value).filter(|_| !directives.is_empty()))
    }

    /// Audiences that a token must name one of.
    #[must_use]
    pub fn audiences(&self) -> Vec<String> {
        if self.api_audiences.is_empty() { self.service_account_issuers.clone() } else { self.api_audiences.clone() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn every_flag_has_a_name_of_its_own() {
        Config::augment_args(clap::Command::new("gantry-apiserver")).debug_assert();
    }

    #[test]
    fn durations_take_go_units() {
        for (text, seconds) in [
            ("90", 90),
            ("30s", 30),
            ("5m", 300),
            ("1h", 3600),
            ("1h0m0s", 3600),
            ("1h30m", 5400),
            ("8760h", 31_536_000),
        ] {
            assert_eq!(seconds_or_unit(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["3 fortnights", "-1s", ""] {
            assert!(seconds_or_unit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_that_others_can_reach_is_advertised() {
        let check = |arguments: &[&str], expected: Option<&str>| {
            let given = ["x"].iter().chain(arguments);
            let config = Cli::parse_from(given).config;
            assert_eq!(config.advertised(), expected.map(|text| text.parse().expect("an address")), "{arguments:?}");
        };
        check(&["--bind-address=127.0.0.1"], None);
        check(&["--bind-address=::1"], None);
        check(&["--bind-address=127.0.0.1,192.0.2.1"], Some("192.0.2.1"));
        check(&["--bind-address=2001:db8::1"], Some("2001:db8::1"));
        check(&["--bind-address=127.0.0.1", "--advertise-address=192.0.2.7"], Some("192.0.2.7"));
        check(&["--bind-address=192.0.2.1", "--advertise-address=0.0.0.0"], Some("192.0.2.1"));
        let (old, new) = (address::own(false), address::own(true));
        let shown = |found: Option<IpAddr>| found.map(|address| address.to_string());
        check(&[], shown(old.or(new)).as_deref());
        check(&["--bind-address=::"], shown(new.or(old)).as_deref());
    }

    /// As kubeadm 1.36 writes it, and kind, which adds an empty `--runtime-config`.
    #[test]
    fn the_flags_of_a_kubeadm_manifest_are_taken() {
        const MANIFEST: &str = "--advertise-address=192.0.2.1 --allow-privileged=true --authorization-mode=Node,RBAC \
            --client-ca-file=/p/ca.crt --enable-admission-plugins=NodeRestriction --enable-bootstrap-token-auth=true \
            --etcd-cafile=/p/etcd/ca.crt --etcd-certfile=/p/c.crt --etcd-keyfile=/p/c.key \
            --etcd-servers=https://127.0.0.1:2379 --kubelet-client-certificate=/p/k.crt --kubelet-client-key=/p/k.key \
            --kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname --proxy-client-cert-file=/p/f.crt \
            --proxy-client-key-file=/p/f.key --requestheader-allowed-names=front-proxy-client \
            --requestheader-client-ca-file=/p/f-ca.crt --requestheader-extra-headers-prefix=X-Remote-Extra- \
            --requestheader-group-headers=X-Remote-Group --requestheader-username-headers=X-Remote-User --runtime-config= \
            --secure-port=6443 --service-account-issuer=https://kubernetes.default.svc.cluster.local \
            --service-account-key-file=/p/sa.pub --service-account-signing-key-file=/p/sa.key \
            --service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112 --tls-cert-file=/p/a.crt --tls-private-key-file=/p/a.key";
        let sifted = sift(MANIFEST.split_whitespace().map(Into::into)).expect("idle flags that can be had");
        assert_eq!(refused(sifted.rest.iter().cloned()), None);
        let config = Cli::try_parse_from(std::iter::once("x".into()).chain(sifted.rest)).expect("known").config;
        assert_eq!(config.service_cluster_ip_range.families().len(), 2);
        assert!(config.unserved().is_ok());
        let names: Vec<&str> = sifted.idle.keys().map(String::as_str).collect();
        let kubelet = ["kubelet-client-certificate", "kubelet-client-key", "kubelet-preferred-address-types"];
        assert_eq!(names, [&["allow-privileged"][..], &kubelet].concat());
    }

    #[test]
    fn browsers_are_told_what_there_is() {
        let check = |directives: &str, expected: Result<Option<&str>, ()>| {
            let mut config = Cli::parse_from(["x"]).config;
            config.strict_transport_security_directives = directives.split_terminator(',').map(str::to_owned).collect();
            let found = config.transport_security();
            let shown = found.as_ref().map(|value| value.as_ref().map(|value| value.to_str().expect("text")));
            assert_eq!(shown.map_err(|_| ()), expected, "{directives}");
        };
        check("", Ok(None));
        check("max-age=31536000,includeSubDomains", Ok(Some("max-age=31536000; includeSubDomains")));
        check("max-age", Err(()));
        check("preload,x", Err(()));
    }

    #[test]
    fn port_ranges_are_checked() {
        assert_eq!("30000-32767".parse(), Ok(PortRange { first: 30000, last: 32767 }));
        for bad in ["30000", "0-10", "10-9", "1-70000"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }
}
