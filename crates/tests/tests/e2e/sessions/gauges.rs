//! What the daemons say that they hold for sessions, and what Docker does.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_tests::cluster::Cluster;
use gantry_tests::wait::{ensure, eventually};

/// Open sessions as the API server counts them by kind, and as each kubelet does; commands that Docker knows in the
/// fixture's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gauges {
    server: BTreeMap<String, u64>,
    kubelets: [u64; 2],
    commands: [u64; 2],
}

/// The value of a line of metrics.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

impl Gauges {
    /// Looks.
    ///
    /// # Errors
    /// When somebody does not answer.
    pub(super) fn look(c: &Cluster) -> Result<Self, String> {
        let raw = |path: &str| {
            let said = c.line(&format!("kubectl get --raw {path} --request-timeout=10s"));
            ensure(said.ok, || said.stderr.clone()).map(|()| said.stdout)
        };
        let metrics = raw("/metrics")?;
        let kinds = metrics.lines().filter_map(|line| line.strip_prefix("gantry_node_sessions{kind=\""));
        let server: BTreeMap<String, u64> = kinds
            .filter_map(|rest| {
                let (kind, count) = rest.split_once("\"} ")?;
                Some((kind.to_owned(), count.trim().parse().ok()?))
            })
            .collect();
        ensure(server.len() > 4, || format!("{server:?}"))?;
        let kubelet = |node: u8| {
            let own = raw(&format!("/api/v1/nodes/node-{node}/proxy/metrics"))?;
            // The one that asks is one of them.
            let all = value(&own, "gantry_kubelet_sessions ").ok_or("no gauge")?;
            Ok::<_, String>(all.saturating_sub(1))
        };
        let kubelets = [kubelet(1)?, kubelet(2)?];
        Ok(Self { server, kubelets, commands: [commands(c, 1)?, commands(c, 2)?] })
    }
}

/// Commands that a node's Docker knows in the containers of sessions' pods.
fn commands(c: &Cluster, node: u8) -> Result<u64, String> {
    let filter = "label=io.kubernetes.pod.namespace=e2e-sessions";
    let ids = c.docker(node, &["ps", "--quiet", "--filter", filter]);
    ensure(ids.ok, || ids.stderr.clone())?;
    let mut count = 0;
    for id in ids.stdout.lines() {
        let found = c.docker(node, &["inspect", "--format", "{{len .ExecIDs}}", id]);
        ensure(found.ok, || found.stderr.clone())?;
        count += found.stdout.trim().parse::<u64>().map_err(|e| format!("{e}: {}", found.stdout))?;
    }
    Ok(count)
}

/// What is there while nothing is open.
pub(super) fn idle(c: &Cluster) -> Gauges {
    eventually("nobody else has a session", Duration::from_secs(120), || {
        let now = Gauges::look(c)?;
        let none = now.server.values().all(|n| *n == 0) && now.kubelets == [0, 0] && now.commands == [0, 0];
        ensure(none, || format!("{now:?}")).map(|()| now)
    })
}
