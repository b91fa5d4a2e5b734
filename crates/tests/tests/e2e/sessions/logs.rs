//! Logs with every parameter, and of several pods at once.

use std::io::{BufRead, BufReader};

use gantry_tests::cluster::cluster;

use super::{NS, fixture};

#[test]
fn e2e_session_logs_take_every_parameter() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let name = "counter";
    let script = "for i in 1 2 3 4 5; do echo line $i; done; sleep 0.3; echo problem >&2; exec sleep 36000";
    let container = serde_json::json!({"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]});
    let pod = super::pod(name, "node-2", &container);
    c.line_with(&format!("kubectl apply -n {NS} -f -"), pod.to_string()).expect_ok("apply").clear();
    gantry_tests::wait::eventually("all lines are written", gantry_tests::cluster::SOON, || {
        let log = c.line(&format!("kubectl logs -n {NS} {name}"));
        gantry_tests::wait::ensure(log.stdout.lines().count() == 6, || format!("{}{}", log.stdout, log.stderr))
    });
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        let logs = |flags: &str| c.ok(&format!("{tool} logs -n {NS} {name} {flags}"));
        assert_eq!(logs("").lines().count(), 6, "{tool}");
        assert_eq!(logs("--tail=2").lines().count(), 2, "{tool}");
        assert_eq!(logs("--tail=0"), "", "{tool}");
        assert_eq!(logs("--limit-bytes=9"), "line 1\nli", "{tool}");
        assert!(logs("--timestamps").lines().all(|l| l.starts_with("20")), "{tool}");
        assert_eq!(logs("--since=1h").lines().count(), 6, "{tool}");
        assert_eq!(logs("--since-time=2100-01-01T00:00:00Z"), "", "{tool}");
        let previous = c.line(&format!("{tool} logs -n {NS} {name} --previous")).expect_failure("previous");
        assert!(
            previous.contains("previous terminated container \"c\" in pod \"counter\" not found"),
            "{tool}: {previous}"
        );
    }
    let errors = c.ok(&format!("kubectl get --raw /api/v1/namespaces/{NS}/pods/{name}/log?stream=Stderr"));
    assert_eq!(errors, "problem\n");
    c.ok(&format!("kubectl delete pod -n {NS} {name} --wait=false"));
}

#[test]
fn e2e_session_logs_of_several_pods_at_once() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        let line =
            format!("{tool} logs -n {NS} -l set=fixture,app!=server,app!=reader -f --prefix --max-log-requests=8");
        let mut child = c.follow(&line);
        let mut lines = BufReader::new(child.stdout.take().expect("its output is read")).lines();
        // Two lines of each of two pods; the client would go on for ever.
        let mut seen: Vec<String> = lines.by_ref().take(4).map(|l| l.expect("a line")).collect();
        drop(child.kill());
        drop(child.wait());
        seen.sort();
        for n in [1, 2] {
            let first = format!("first line of shell-{n}");
            assert!(seen.iter().any(|l| l.contains(&format!("shell-{n}")) && l.ends_with(&first)), "{tool}: {seen:?}");
        }
    }
}
