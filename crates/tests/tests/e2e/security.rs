//! What nobody may see or reach.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use gantry_tests::{
    cluster::{SOON, cluster},
    machine::{connected_to, connected_to_socket, run},
    wait::eventually,
};

#[test]
fn e2e_only_the_api_server_talks_to_etcd() {
    let Some(c) = cluster() else { return };
    let port = c.port_of("etcd");
    let (mut by_port, mut by_socket) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..20 {
        c.get("nodes").expect("the API answers");
        by_port.extend(connected_to(port));
        by_socket.extend(connected_to_socket("etcd.sock:0"));
    }
    // etcd's own gateways connect to itself.
    by_port.remove("etcd");
    by_socket.remove("etcd");
    assert_eq!(by_port, BTreeSet::new());
    assert_eq!(
        by_socket.into_iter().collect::<Vec<_>>(),
        ["gantry-apiserve"],
        "the kernel cuts names at 15 characters"
    );
    let folder = c.run_folder().join("etcd");
    assert!(folder.join("etcd.sock:0").exists(), "etcd's socket is not in {}", folder.display());
    let mode = folder.metadata().expect("the folder").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{} is open to others: {mode:o}", folder.display());
    let url = format!("https://127.0.0.1:{port}/version");
    let stranger =
        run(Command::new("curl").args(["--silent", "--show-error", "--insecure", "--max-time", "5", &url]), "");
    assert!(!stranger.ok, "etcd answered a stranger: {}", stranger.stdout);
    // The cluster's CA is not etcd's: an administrator of the cluster is a stranger too.
    let admin = c.state().join("pki/admin");
    let (cert, key) = (format!("{}.crt", admin.display()), format!("{}.key", admin.display()));
    let args = ["--silent", "--insecure", "--max-time", "5", "--cert", &cert, "--key", &key, &url];
    let other_ca = run(Command::new("curl").args(args), "");
    assert!(!other_ca.ok, "etcd answered a certificate of another CA: {}", other_ca.stdout);
}

/// Asks the API server from a container without credentials; prints `path status` lines.
const PROBE: &str = r#"
import ssl, http.client, sys
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
for path in sys.argv[2:]:
    connection = http.client.HTTPSConnection(sys.argv[1], timeout=5, context=context)
    connection.request("GET", path)
    print(path, connection.getresponse().status, flush=True)
"#;

#[test]
fn e2e_container_finds_nothing_without_credentials_but_health_and_version() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("stranger");
    let paths = [
        "/healthz",
        "/livez",
        "/readyz",
        "/version",
        "/",
        "/api",
        "/apis",
        "/api/v1",
        "/api/v1/namespaces",
        "/api/v1/secrets",
        "/api/v1/namespaces/kube-system/pods",
        "/apis/apps/v1/deployments",
        "/openapi/v2",
        "/openapi/v3",
        "/metrics",
        "/debug/pprof/",
        "/configz",
        "/logs",
        "/.well-known/openid-configuration",
        "/openid/v1/jwks",
        "/nothing",
    ];
    let command: Vec<&str> = ["python3", "-c", PROBE, "10.96.0.1"].into_iter().chain(paths).collect();
    let pod = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "stranger" },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "c",
                "image": "gantry-demo-web",
                "imagePullPolicy": "IfNotPresent",
                "command": command,
            }],
        },
    });
    c.line_with(&format!("kubectl apply -n {ns} -f -"), pod.to_string()).expect_ok("apply").clear();
    eventually("the probe ends", SOON, || match c.get(&format!("pod stranger -n {ns}"))?["status"]["phase"].as_str() {
        Some("Succeeded") => Ok(()),
        Some("Failed") => panic!("the probe failed: {}", c.line(&format!("kubectl logs -n {ns} stranger")).stdout),
        other => Err(format!("{other:?}")),
    });
    let logs = c.ok(&format!("kubectl logs -n {ns} stranger"));
    assert_eq!(logs.lines().count(), paths.len(), "{logs}");
    for line in logs.lines() {
        let (path, status) = line.split_once(' ').expect("path and status");
        let expected: &[&str] =
            if ["/healthz", "/livez", "/readyz", "/version"].contains(&path) { &["200"] } else { &["401", "403"] };
        assert!(expected.contains(&status), "{path} answers {status} to a stranger");
    }
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

#[test]
fn e2e_service_account_of_a_pod_may_do_nothing_by_default() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("account");
    let user = format!("--as=system:serviceaccount:{ns}:default");
    for question in ["list secrets", "get pods", "create pods", "list nodes", "'*' '*'"] {
        let answer = c.line(&format!("kubectl auth can-i {} -n {ns} {user}", question.replace('\'', "")));
        assert_eq!(answer.stdout.trim(), "no", "{question}: {}", answer.stderr);
    }
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

#[test]
fn e2e_etcd_has_upstreams_keys() {
    let Some(c) = cluster() else { return };
    c.demo();
    let pod = c.ready_pods("default", "app=web").expect("pods are listed").remove(0);
    let keys = c.etcdctl(&["get", "--prefix", "/registry/", "--keys-only"]).expect_ok("etcdctl");
    for key in [
        "/registry/namespaces/kube-system",
        "/registry/services/specs/default/kubernetes",
        "/registry/services/specs/kube-system/kube-dns",
        "/registry/deployments/default/web",
        &format!("/registry/pods/default/{pod}"),
        "/registry/minions/node-1",
        "/registry/serviceaccounts/default/default",
        "/registry/configmaps/default/kube-root-ca.crt",
        "/registry/clusterroles/cluster-admin",
        "/registry/clusterrolebindings/cluster-admin",
        "/registry/leases/kube-system/kube-scheduler",
        "/registry/leases/kube-node-lease/node-1",
        "/registry/ranges/servicenodeports",
        "/registry/ipaddresses/10.96.0.1",
        "/registry/ipaddresses/10.96.0.10",
        "/registry/masterleases/10.201.0.1",
    ] {
        assert!(keys.lines().any(|k| k == key), "{key} is not in etcd, but:\n{keys}");
    }
    for prefix in
        ["/registry/replicasets/default/web-", "/registry/endpointslices/default/web-", "/registry/events/default/web-"]
    {
        assert!(keys.lines().any(|k| k.starts_with(prefix)), "nothing with {prefix} is in etcd");
    }
}

#[test]
fn e2e_unknown_users_are_refused() {
    let Some(c) = cluster() else { return };
    let server = c.server();
    let with_token = c.line(&format!(
        "kubectl get pods --kubeconfig=/dev/null --server={server} --insecure-skip-tls-verify --token=made-up --request-timeout=10s"
    ));
    let said = with_token.expect_failure("a made-up token");
    assert!(said.contains("Unauthorized") || said.contains("must be logged in"), "{said}");
    let forbidden = c.line("kubectl get secrets --as=nobody-special").expect_failure("a user without rights");
    assert!(
        forbidden.contains("secrets is forbidden: User \"nobody-special\" cannot list resource \"secrets\""),
        "{forbidden}"
    );
    let expired = expired_user(&c);
    let args =
        ["--silent", "--show-error", "--insecure", "--max-time", "10", "--cert", &expired.0, "--key", &expired.1];
    let url = format!("{server}/api/v1/namespaces");
    let answer = run(Command::new("curl").args(args).args(["--write-out", "%{http_code}", &url]), "");
    assert!(!answer.ok || answer.stdout.ends_with("401"), "an expired certificate was accepted: {}", answer.stdout);
}

/// A figure of a process's memory in KiB.
fn kib(pid: i64, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Aliases of aliases: ten times as many nodes with each of 12 lines.
fn laughs() -> String {
    let level = |n: u32| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","));
    let levels: String = (1..12).map(level).collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: bomb}}\na0: &a0 [x]\n{levels}")
}

/// What bodies take is bounded, whatever they are made of and however slowly they come. (One body has 3 MiB at most, and a tree of it
/// takes a multiple of that.)
#[test]
fn e2e_attack_bodies_take_bounded_memory() {
    const AT_ONCE: usize = 64;
    const MOST_KIB: u64 = 160 << 10;
    let Some(c) = cluster() else { return };
    let ns = c.namespace("bodies");
    let pid = c.service("apiserver").expect("it runs");
    let admin = c.state().join("pki/admin");
    let (cert, key) = (format!("{}.crt", admin.display()), format!("{}.key", admin.display()));
    let url = format!("{}/api/v1/namespaces/{ns}/configmaps", c.server());
    let curl = |content: &str, more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--insecure",
            "--max-time",
            "30",
            "--cert",
            &cert,
            "--key",
            &key,
            "--output",
            "/dev/null",
        ]);
        curl.args(["--write-out", "%{http_code}", "--header", &format!("content-type: application/{content}")]);
        curl.args(["--data-binary", "@-", &url]).args(more);
        curl
    };
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak starts anew");
    let before = kib(pid, "VmRSS:");
    let json = |data: &str| format!(r#"{{"metadata":{{"name":"bomb"}},"data":{{{data}}}}}"#);
    let many: Vec<String> = (0..200_000).map(|n| format!("\"k{n}\":\"\"")).collect();
    let deep = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
    for (content, body, codes) in [
        ("yaml", laughs(), &["400"][..]),
        ("yaml", format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000)), &["400"]),
        ("json", deep, &["400"]),
        ("json", json(&many.join(",")), &["413", "422", "500"]),
        ("json", json(&format!("\"a\":\"{}\"", "x".repeat(4 << 20))), &["413"]),
    ] {
        let answer = run(&mut curl(content, &[]), &body).stdout;
        assert!(codes.contains(&answer.as_str()), "{content} of {} bytes: {answer}", body.len());
    }
    let large = json(&format!("\"a\":\"{}\"", "x".repeat(2 << 20)));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| run(&mut curl("json", &["--limit-rate", "50K", "--max-time", "5"]), &large));
        }
    });
    let peak = kib(pid, "VmHWM:");
    assert!(peak < before + MOST_KIB, "{before} KiB before, {peak} KiB at most");
    c.get("nodes").expect("the API answers");
}

/// A certificate of the administrator's group that ended yesterday.
fn expired_user(c: &gantry_tests::cluster::Cluster) -> (String, String) {
    use gantry_ctl::cluster::pki::{CLUSTER_CA, Pki, Request};
    let request = Request {
        file: "expired".to_owned(),
        ca: CLUSTER_CA,
        common_name: "late".to_owned(),
        organizations: vec!["system:masters".to_owned()],
        dns: Vec::new(),
        addresses: Vec::new(),
        client: true,
    };
    let long_ago = jiff::Timestamp::now() - Duration::from_secs(10 * 86_400);
    let (cert, key) = Pki::new(c.state().join("pki")).sign(&request, long_ago, 5).expect("the CA signs");
    let path = |end: &str| c.data_dir().join(format!("expired.{end}"));
    std::fs::write(path("crt"), cert).expect("it is written");
    std::fs::write(path("key"), key).expect("it is written");
    (path("crt").display().to_string(), path("key").display().to_string())
}
