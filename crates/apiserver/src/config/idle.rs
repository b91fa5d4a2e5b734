//! Flags of a kube-apiserver that are taken and have nothing to do here: what they ask for is so anyway, or tunes what there is
//! not. Manifests that set them work unchanged; a value that asks for something else is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Flags with one reason.
struct Idle {
    names: &'static [&'static str],
    /// Whether they stand alone, as switches do, or have a value behind them.
    switch: bool,
    /// The values that may be given; none: any.
    values: &'static [&'static str],
    /// Why there is nothing to do, and why another value cannot be had.
    why: &'static str,
}

const TRUE: &[&str] = &["true", "1", "t", "T", "TRUE", "True"];
const FALSE: &[&str] = &["false", "0", "f", "F", "FALSE", "False"];

const NODES: &str = "nothing here connects to a node: kubelets keep streams open to the API server";
const STORE: &str = "etcd v3 is the store, with its values as JSON; its client needs no tuning";
const CACHE: &str = "every kind has a watch cache of a bounded size, which needs no tuning";
const LOGS: &str = "what is logged, and how, is said by --log-level and --log-format";

/// All of them.
const IDLE: &[Idle] = &[
    Idle {
        names: &["allow-privileged"],
        switch: true,
        values: TRUE,
        why: "privileged pods are bounded by Pod Security: label namespaces, or give defaults by \
              --admission-control-config-file",
    },
    Idle {
        names: &[
            "kubelet-certificate-authority",
            "kubelet-client-certificate",
            "kubelet-client-key",
            "kubelet-port",
            "kubelet-preferred-address-types",
            "kubelet-timeout",
        ],
        switch: false,
        values: &[],
        why: NODES,
    },
    Idle { names: &["storage-backend"], switch: false, values: &["etcd3", ""], why: STORE },
    Idle { names: &["storage-media-type"], switch: false, values: &["application/json", ""], why: STORE },
    Idle {
        names: &[
            "etcd-count-metric-poll-period",
            "etcd-db-metric-poll-interval",
            "etcd-healthcheck-timeout",
            "etcd-readycheck-timeout",
            "lease-reuse-duration-seconds",
            "storage-initialization-timeout",
        ],
        switch: false,
        values: &[],
        why: STORE,
    },
    Idle {
        names: &["delete-collection-workers"],
        switch: false,
        values: &[],
        why: "the objects of a collection are deleted as fast as the store takes it",
    },
    Idle { names: &["watch-cache"], switch: true, values: TRUE, why: CACHE },
    Idle { names: &["watch-cache-sizes", "default-watch-cache-size"], switch: false, values: &[], why: CACHE },
    Idle {
        names: &["profiling", "contention-profiling"],
        switch: true,
        values: FALSE,
        why: "there are no profiling endpoints; see /metrics",
    },
    Idle {
        names: &["enable-aggregator-routing"],
        switch: true,
        values: &[],
        why: "Services of aggregated APIs are reached at their endpoints, through the endpoints' nodes",
    },
    Idle {
        names: &["aggregator-reject-forwarding-redirect"],
        switch: true,
        values: TRUE,
        why: "redirects of aggregated APIs are never followed or passed on",
    },
    Idle {
        names: &["endpoint-reconciler-type"],
        switch: false,
        values: &["lease"],
        why: "each replica keeps its address in etcd on a lease, and default/kubernetes has those that live",
    },
    Idle {
        names: &["apiserver-count"],
        switch: false,
        values: &[],
        why: "replicas are counted by the leases that they keep",
    },
    Idle {
        names: &["enable-garbage-collector"],
        switch: true,
        values: TRUE,
        why: "the API server always notes owners and finalizers; the controller manager collects garbage",
    },
    Idle {
        names: &["service-account-lookup"],
        switch: true,
        values: TRUE,
        why: "service-account tokens are always checked against their account and pod",
    },
    Idle {
        names: &["enable-priority-and-fairness"],
        switch: true,
        values: FALSE,
        why: "requests in flight are bounded by --max-requests-inflight and --max-mutating-requests-inflight; flow schemas \
              are kept but not enforced",
    },
    Idle {
        names: &["livez-grace-period"],
        switch: false,
        values: &[],
        why: "/livez does not wait for what a server does at its start",
    },
    Idle {
        names: &["goaway-chance"],
        switch: false,
        values: &["0", "0.0"],
        why: "clients are not told to connect anew; spread their connections by a balancer in front",
    },
    Idle {
        names: &["shutdown-delay-duration"],
        switch: false,
        values: &["0", "0s"],
        why: "a server that is told to stop takes no new requests; take it out of the balancer first",
    },
    Idle {
        names: &["shutdown-send-retry-after"],
        switch: true,
        values: FALSE,
        why: "a server that is told to stop takes no new requests",
    },
    Idle {
        names: &["kubernetes-service-node-port"],
        switch: false,
        values: &["0"],
        why: "default/kubernetes has no node port",
    },
    Idle {
        names: &["disable-http2-serving", "permit-port-sharing", "permit-address-sharing"],
        switch: true,
        values: FALSE,
        why: "HTTP/2 is always spoken, and the port is the server's own",
    },
    Idle { names: &["v", "vmodule", "log-flush-frequency"], switch: false, values: &[], why: LOGS },
];

/// What is said of a value that cannot be had, and of all others in the log.
fn find(name: &str) -> Option<&'static Idle> {
    IDLE.iter().find(|idle| idle.names.contains(&name))
}

/// The name, and the value that stands with it, of an argument that is a flag; `-v` is the only short one.
fn split(argument: &str) -> Option<(&str, Option<&str>)> {
    let flag =
        argument.strip_prefix("--").or_else(|| argument.strip_prefix('-').filter(|flag| flag.starts_with('v')))?;
    match flag.split_once('=') {
        Some((name, value)) => Some((name, Some(value))),
        None => Some((flag, None)),
    }
}

/// What the command line is without its idle flags.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sifted {
    /// The other arguments.
    pub rest: Vec<OsString>,
    /// The idle flags with their values, by name.
    pub idle: BTreeMap<String, String>,
}

/// Takes idle flags out of the command line (without the program's name).
///
/// # Errors
/// Which flag asks for what cannot be had, and why.
pub fn sift(arguments: impl IntoIterator<Item = OsString>) -> Result<Sifted, String> {
    let mut sifted = Sifted::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let Some((name, given)) = split(&text) else {
            sifted.rest.push(argument);
            continue;
        };
        let Some(idle) = find(name) else {
            sifted.rest.push(argument);
            continue;
        };
        let value = match given {
            Some(value) => value.to_owned(),
            None if idle.switch => "true".to_owned(),
            None => {
                let next = arguments.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?;
                next.to_string_lossy().into_owned()
            }
        };
        if !idle.values.is_empty() && !idle.values.contains(&value.as_str()) {
            return Err(format!("--{name}={value} cannot be had: {}", idle.why));
        }
        sifted.idle.insert(name.to_owned(), value);
    }
    Ok(sifted)
}

/// Why a flag that [`sift`] has taken has nothing to do.
pub(crate) fn reason(name: &str) -> &'static str {
    find(name).map_or("", |idle| idle.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sifted(arguments: &str) -> Result<(String, String), String> {
        let found = sift(arguments.split(' ').filter(|word| !word.is_empty()).map(OsString::from))?;
        let rest: Vec<_> = found.rest.iter().map(|argument| argument.to_string_lossy()).collect();
        let idle: Vec<_> = found.idle.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok((rest.join(" "), idle.join(" ")))
    }

    #[test]
    fn idle_flags_are_taken_in_every_form() {
        let check = |arguments: &str, rest: &str, idle: &str| {
            assert_eq!(sifted(arguments), Ok((rest.to_owned(), idle.to_owned())), "{arguments}");
        };
        check(
            "--secure-port=1 --allow-privileged --etcd-prefix /x",
            "--secure-port=1 --etcd-prefix /x",
            "allow-privileged=true",
        );
        check("--kubelet-client-key /k --profiling=false", "", "kubelet-client-key=/k profiling=false");
        check("-v=2 --log-level info", "--log-level info", "v=2");
        check("-v 4 --v=5", "", "v=5");
        check("--storage-backend=etcd3 --watch-cache=T", "", "storage-backend=etcd3 watch-cache=T");
        check("--version", "--version", "");
    }

    #[test]
    fn what_an_idle_flag_cannot_have_is_refused() {
        let check = |arguments: &str, expected: &str| {
            let found = sifted(arguments).expect_err(arguments);
            assert!(found.starts_with(expected), "{found}");
        };
        check("--allow-privileged=false", "--allow-privileged=false cannot be had: privileged pods are bounded by");
        check("--profiling", "--profiling=true cannot be had: there are no profiling endpoints");
        check("--storage-media-type application/vnd.kubernetes.protobuf", "--storage-media-type=application/vnd");
        check("--goaway-chance=0.01", "--goaway-chance=0.01 cannot be had: clients are not told");
        check("--kubelet-timeout", "flag needs an argument: --kubelet-timeout");
    }
}
