//! Flags of a kube-apiserver that this server does not have, each with the reason: whoever relies on one must hear of it. Those
//! that have nothing to do here are in `idle`.

use std::ffi::OsString;

const OIDC: &str = "tokens of OpenID Connect are not read here: put a --requestheader-* proxy in front that reads them, or ask \
    for client certificates or service-account tokens";
const AUTHENTICATION: &str = "users are known by client certificates, --token-auth-file, service-account and \
    bootstrap tokens and --requestheader-* proxies; put such a proxy in front for others";
const AUDIT: &str = "with --audit-log-path each write, each refusal and each session is recorded with its metadata (without, sessions alone \
    go to the server's log); rotate the file from outside and ship it from there";
const LOGS: &str = "use --log-level and --log-format";
const ETCD: &str = "all kinds are in one etcd v3, with their values as JSON";
const STOPPING: &str = "a server that is told to stop takes no new requests and gives watches a few seconds to end";
const HTTP: &str = "connections and requests are bounded by themselves";
const ORIGINS: &str = "scripts of other origins are not let in: put a proxy in front that allows them";
const OWN_NAME: &str = "clients are told the advertised address; set --advertise-address";
const PROFILES: &str = "there are no profiling or debugging endpoints; see /metrics";
const TRACING: &str = "traces are not exported";
const EGRESS: &str =
    "connections to nodes, pods and Services use the kubelets' streams, and webhooks the server's own network";
const COMPATIBILITY: &str = "this server is compatible with Kubernetes 1.36 and cannot pretend to be another version";
const PEERS: &str = "each replica serves everything by itself and proxies nothing to another";
const METRICS: &str = "/metrics holds everything that is measured";
const SIGNER: &str = "tokens are signed with --service-account-signing-key-file; there is no signer elsewhere";

/// Names, or beginnings of names that end in `-`, and why they are not there.
const REFUSED: &[(&[&str], &str)] = &[
    (&["oidc-"], OIDC),
    (&["authentication-"], AUTHENTICATION),
    (&["audit-policy-file", "audit-webhook-", "audit-log-"], AUDIT),
    (&["log-", "logging-format", "enable-logs-handler", "logtostderr", "alsologtostderr"], LOGS),
    (&["etcd-"], ETCD),
    (&["shutdown-"], STOPPING),
    (&["max-connection-bytes-per-sec", "max-resource-write-bytes", "target-ram-mb"], HTTP),
    (&["cors-allowed-origins"], ORIGINS),
    (&["external-hostname"], OWN_NAME),
    (&["debug-socket-path"], PROFILES),
    (&["tracing-config-file"], TRACING),
    (&["egress-selector-config-file"], EGRESS),
    (
        &[
            "emulated-version",
            "emulation-forward-compatible",
            "runtime-config-emulation-forward-compatible",
            "min-compatibility-version",
        ],
        COMPATIBILITY,
    ),
    (&["peer-", "identity-lease-", "coordinated-leadership-"], PEERS),
    (&["show-hidden-metrics-for-version", "disabled-metrics", "allow-metric-labels", "allow-metric-labels-"], METRICS),
    (&["service-account-signing-endpoint"], SIGNER),
    (&["tls-curve-preferences"], "the curves of TLS are those of the server's library: X25519, P-256 and P-384"),
    (&["admission-control"], "use --enable-admission-plugins and --disable-admission-plugins"),
    (&["cloud-"], "cloud providers have controllers of their own"),
    (&["insecure-", "address", "port"], "nothing is served without TLS; use --bind-address and --secure-port"),
];

/// Flags that are here though a beginning above covers them.
const HERE: &[&str] = &[
    "audit-log-path",
    "etcd-compaction-interval",
    "etcd-servers",
    "etcd-cafile",
    "etcd-certfile",
    "etcd-keyfile",
    "etcd-prefix",
    "log-format",
    "log-level",
    "shutdown-grace",
];

/// What to say about the first of these arguments that is a flag of a kube-apiserver and not of this server.
#[must_use]
pub fn refused(arguments: impl Iterator<Item = OsString>) -> Option<String> {
    arguments.filter_map(|argument| argument.into_string().ok()).find_map(|argument| {
        let flag = argument.strip_prefix("--")?;
        let name = flag.split('=').next().unwrap_or_default();
        let why = reason(name)?;
        Some(format!("--{name} is a flag of kube-apiserver that this server does not have: {why}"))
    })
}

fn reason(name: &str) -> Option<&'static str> {
    if HERE.contains(&name) {
        return None;
    }
    let covers = |known: &&str| if known.ends_with('-') { name.starts_with(*known) } else { name == *known };
    REFUSED.iter().find(|(names, _)| names.iter().any(covers)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;
    use crate::config::idle;

    /// All flags of kube-apiserver 1.36 but --help and --version.
    const UPSTREAM: &str = "
        admission-control-config-file advertise-address aggregator-reject-forwarding-redirect allow-metric-labels
        allow-metric-labels-manifest allow-privileged anonymous-auth api-audiences apiserver-count
        audit-log-batch-buffer-size audit-log-batch-max-size audit-log-batch-max-wait audit-log-batch-throttle-burst
        audit-log-batch-throttle-enable audit-log-batch-throttle-qps audit-log-compress audit-log-format audit-log-maxage
        audit-log-maxbackup audit-log-maxsize audit-log-mode audit-log-path audit-log-truncate-enabled
        audit-log-truncate-max-batch-size audit-log-truncate-max-event-size audit-log-version audit-policy-file
        audit-webhook-batch-buffer-size audit-webhook-batch-max-size audit-webhook-batch-max-wait
        audit-webhook-batch-throttle-burst audit-webhook-batch-throttle-enable audit-webhook-batch-throttle-qps
        audit-webhook-config-file audit-webhook-initial-backoff audit-webhook-mode audit-webhook-truncate-enabled
        audit-webhook-truncate-max-batch-size audit-webhook-truncate-max-event-size audit-webhook-version
        authentication-config authentication-token-webhook-cache-ttl authentication-token-webhook-config-file
        authentication-token-webhook-version authorization-config authorization-mode authorization-policy-file
        authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl
        authorization-webhook-config-file authorization-webhook-version bind-address cert-dir client-ca-file
        contention-profiling coordinated-leadership-lease-duration coordinated-leadership-renew-deadline
        coordinated-leadership-retry-period cors-allowed-origins debug-socket-path default-not-ready-toleration-seconds
        default-unreachable-toleration-seconds delete-collection-workers disable-admission-plugins disable-http2-serving
        disabled-metrics egress-selector-config-file emulated-version emulation-forward-compatible
        enable-admission-plugins enable-aggregator-routing enable-bootstrap-token-auth enable-garbage-collector
        enable-priority-and-fairness encryption-provider-config encryption-provider-config-automatic-reload
        endpoint-reconciler-type etcd-cafile etcd-certfile etcd-compaction-interval etcd-count-metric-poll-period
        etcd-db-metric-poll-interval etcd-healthcheck-timeout etcd-keyfile etcd-prefix etcd-readycheck-timeout etcd-servers
        etcd-servers-overrides event-ttl external-hostname feature-gates goaway-chance http2-max-streams-per-connection
        kubelet-certificate-authority kubelet-client-certificate kubelet-client-key kubelet-preferred-address-types
        kubelet-timeout kubernetes-service-node-port lease-reuse-duration-seconds livez-grace-period log-flush-frequency
        log-json-info-buffer-size log-json-split-stream log-text-info-buffer-size log-text-split-stream logging-format
        max-connection-bytes-per-sec max-mutating-requests-inflight max-requests-inflight min-compatibility-version
        min-request-timeout oidc-ca-file oidc-client-id oidc-groups-claim oidc-groups-prefix oidc-issuer-url
        oidc-required-claim oidc-signing-algs oidc-username-claim oidc-username-prefix peer-advertise-ip
        peer-advertise-port peer-ca-file permit-address-sharing permit-port-sharing profiling proxy-client-cert-file
        proxy-client-key-file request-timeout requestheader-allowed-names requestheader-client-ca-file
        requestheader-extra-headers-prefix requestheader-group-headers requestheader-uid-headers
        requestheader-username-headers runtime-config runtime-config-emulation-forward-compatible secure-port
        service-account-extend-token-expiration service-account-issuer service-account-jwks-uri service-account-key-file
        service-account-lookup service-account-max-token-expiration service-account-signing-endpoint
        service-account-signing-key-file service-cluster-ip-range service-node-port-range
        show-hidden-metrics-for-version shutdown-delay-duration shutdown-send-retry-after
        shutdown-watch-termination-grace-period storage-backend storage-initialization-timeout storage-media-type
        strict-transport-security-directives tls-cert-file tls-cipher-suites tls-curve-preferences tls-min-version
        tls-private-key-file tls-sni-cert-key token-auth-file tracing-config-file v vmodule watch-cache watch-cache-sizes
    ";

    fn asked(argument: &str) -> Option<String> {
        refused(std::iter::once(OsString::from(argument)))
    }

    #[test]
    fn every_flag_of_upstream_is_known() {
        let command = crate::Config::augment_args(clap::Command::new("gantry-apiserver"));
        let here: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        for flag in UPSTREAM.split_whitespace() {
            let is_idle = !idle::reason(flag).is_empty();
            let ways = [here.contains(&flag), is_idle, !is_idle && reason(flag).is_some()];
            assert_eq!(ways.iter().filter(|way| **way).count(), 1, "--{flag}: here, idle, refused: {ways:?}");
        }
    }

    #[test]
    fn a_flag_of_upstream_is_refused_with_its_reason() {
        let check = |argument: &str, expected: &str| {
            let found = asked(argument).unwrap_or_default();
            assert!(found.contains(expected), "{argument}: {found}");
        };
        check(
            "--oidc-issuer-url=https://x",
            "--oidc-issuer-url is a flag of kube-apiserver that this server does not have: tokens of OpenID Connect",
        );
        check("--authentication-config", "users are known by");
        check("--etcd-servers-overrides=/events#x", "all kinds are in one etcd");
        check("--audit-log-maxage=7", "recorded with its metadata");
        check("--logging-format=json", "--log-format");
        assert_eq!(asked("--nonsense"), None, "the parser says that itself");
    }

    #[test]
    fn no_flag_of_this_server_is_refused() {
        let command = crate::Config::augment_args(clap::Command::new("gantry-apiserver"));
        for flag in
            command.get_arguments().filter_map(|a| a.get_long()).chain(["kubeconfig", "log-format", "log-level"])
        {
            assert_eq!(asked(&format!("--{flag}")), None);
        }
    }
}
