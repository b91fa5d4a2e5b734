//! Flags of a kube-apiserver that this server does not have, each with the reason: whoever relies on one must hear of it.

use std::ffi::OsString;

const NODES: &str = "nothing here connects to a node: kubelets keep streams open to the API server, which need no certificate, \
    address or timeout of their own";
const AUTHENTICATION: &str = "users are known by client certificates, --token-auth-file, service-account and \
    bootstrap tokens and --requestheader-* proxies; put such a proxy in front for others";
const AUDIT: &str = "with --audit-log-path each write, each refusal and each session is recorded with its metadata (without, sessions alone \
    go to the server's log); rotate the file from outside and ship it from there";
const PRIVILEGED: &str = "privileged pods are bounded by Pod Security: label namespaces, or give defaults by \
    --admission-control-config-file";
const LOGS: &str = "use --log-level and --log-format";
const ETCD: &str = "etcd v3 is the store, with its values as JSON; its client needs no tuning";
const CACHE: &str = "every kind has a watch cache of a bounded size, which needs no tuning";
const FAIRNESS: &str = "requests in flight are bounded by --max-requests-inflight and --max-mutating-requests-inflight; flow schemas \
    are kept but not enforced";
const HTTP: &str = "connections and requests are bounded by themselves";
const PROFILES: &str = "there are no profiling or debugging endpoints; see /metrics";
const TRACING: &str = "traces are not exported";
const EGRESS: &str =
    "connections to nodes, pods and Services use the kubelets' streams, and webhooks the server's own network";
const AGGREGATION: &str = "Services of aggregated APIs are reached through a node";
const COMPATIBILITY: &str = "this server is compatible with Kubernetes 1.36 and cannot pretend to be another version";
const PEERS: &str = "each replica serves everything by itself and proxies nothing to another";
const METRICS: &str = "/metrics holds everything that is measured";
const ACCOUNTS: &str = "service-account tokens are always checked against their account and pod";
const GARBAGE: &str = "the controller manager collects garbage; the API server always notes owners and finalizers";

/// Names, or beginnings of names that end in `-`, and why they are not there.
const REFUSED: &[(&[&str], &str)] = &[
    (&["kubelet-"], NODES),
    (&["oidc-", "authentication-"], AUTHENTICATION),
    (&["audit-policy-file", "audit-webhook-", "audit-log-"], AUDIT),
    (&["allow-privileged"], PRIVILEGED),
    (&["v", "vmodule", "log-", "logging-format", "enable-logs-handler", "logtostderr", "alsologtostderr"], LOGS),
    (
        &[
            "storage-backend",
            "storage-media-type",
            "storage-initialization-timeout",
            "etcd-",
            "lease-reuse-duration-seconds",
            "delete-collection-workers",
        ],
        ETCD,
    ),
    (&["watch-cache", "watch-cache-", "default-watch-cache-size"], CACHE),
    (&["enable-priority-and-fairness", "max-resource-write-bytes"], FAIRNESS),
    (
        &[
            "http2-max-streams-per-connection",
            "disable-http2-serving",
            "goaway-chance",
            "request-timeout",
            "livez-grace-period",
            "shutdown-",
            "max-connection-bytes-per-sec",
            "permit-",
            "strict-transport-security-directives",
            "cors-allowed-origins",
            "external-hostname",
            "target-ram-mb",
        ],
        HTTP,
    ),
    (&["profiling", "contention-profiling", "debug-socket-path"], PROFILES),
    (&["tracing-config-file"], TRACING),
    (&["egress-selector-config-file"], EGRESS),
    (&["enable-aggregator-routing", "aggregator-reject-forwarding-redirects"], AGGREGATION),
    (&["emulated-version", "emulation-forward-compatible", "min-compatibility-version"], COMPATIBILITY),
    (&["peer-", "apiserver-count", "endpoint-reconciler-type", "identity-lease-", "coordinated-leadership-"], PEERS),
    (&["show-hidden-metrics-for-version", "disabled-metrics", "allow-metric-labels", "allow-metric-labels-"], METRICS),
    (&["service-account-lookup", "service-account-signing-endpoint"], ACCOUNTS),
    (&["enable-garbage-collector"], GARBAGE),
    (&["kubernetes-service-node-port"], "default/kubernetes has no node port"),
    (&["admission-control"], "use --enable-admission-plugins and --disable-admission-plugins"),
];

/// Flags that are here though a beginning above covers them.
const HERE: &[&str] = &[
    "audit-log-path",
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
        let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-').filter(|f| f.starts_with('v')))?;
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

    fn asked(argument: &str) -> Option<String> {
        refused(std::iter::once(OsString::from(argument)))
    }

    #[test]
    fn a_flag_of_upstream_is_refused_with_its_reason() {
        let check = |argument: &str, expected: &str| {
            let found = asked(argument).unwrap_or_default();
            assert!(found.contains(expected), "{argument}: {found}");
        };
        check(
            "--kubelet-timeout=5s",
            "--kubelet-timeout is a flag of kube-apiserver that this server does not have: nothing here connects",
        );
        check("--oidc-issuer-url", "users are known by");
        check("--etcd-compaction-interval=5m", "etcd v3 is the store");
        check("--audit-log-maxage=7", "recorded with its metadata");
        check("-v", "--log-level");
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
