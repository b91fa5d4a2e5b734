//! The benchmark of sessions on a small scale: every figure that is promised is printed.

use gantry_tests::cluster::cluster;

/// Figures by the beginning of their names.
const FIGURES: [&str; 20] = [
    "exec of `true`, TLS handshake included",
    "the same by Docker's API on its socket",
    "exec beside Docker's",
    "plain TLS copy",
    "exec, out of the container",
    "exec, into the container",
    "port-forward, out of the pod",
    "port-forward, into the pod",
    "exec over SPDY, out of the container",
    "exec over SPDY, into the container",
    "port-forward over SPDY, out of the pod",
    "port-forward over SPDY, into the pod",
    "port-forward over SPDY in a WebSocket, out of the pod",
    "port-forward over SPDY in a WebSocket, into the pod",
    "log sessions of one line, 1 at a time",
    "log sessions of one line, 16 at a time",
    "execs, 32 at a time",
    "exec beside 0 stuck `logs -f`, median of 3",
    "exec beside 8 stuck `logs -f`, worst of 3",
    "exec beside 1 stuck `logs -f`, worst of 3",
];

#[test]
fn e2e_session_benchmark_prints_its_figures() {
    let Some(c) = cluster() else { return };
    let docker = "/run/gantry/e2e/node-1/docker.sock";
    let state = c.state().display().to_string();
    let small = ["sessions", "--runs", "1", "--mib", "2", "--execs", "2", "--beside", "3", "--idle", "5"];
    let here = ["--docker", docker, "--match", &state];
    let table = gantry_tests::machine::run(&mut c.command("gantry-bench", &[&small[..], &here].concat()), "")
        .expect_ok("gantry-bench sessions");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    for name in FIGURES {
        let row = rows.iter().find(|row| row.get(1).is_some_and(|n| *n == name));
        let row = row.unwrap_or_else(|| panic!("{name} is not in:\n{table}"));
        let figure: f64 = row[2].replace(',', "").parse().unwrap_or_else(|e| panic!("{name}: {e}: {row:?}"));
        assert!(figure > 0.0, "{name}: {row:?}");
    }
    for daemon in ["gantry-apiserver", "gantry-kubelet"] {
        for kind in ["attach", "exec"] {
            let name = format!("{daemon}, an idle {kind} session (5 open)");
            assert!(rows.iter().any(|row| row.get(1).is_some_and(|n| *n == name)), "{name} is not in:\n{table}");
        }
    }
    c.ok("kubectl delete namespace gantry-bench --timeout=60s");
}
