//! Proxies to Services, pods and nodes.

use gantry_tests::cluster::{Cluster, cluster};

use super::{NS, fixture};

/// Asks the API server as the administrator, with curl, for so many seconds.
pub(crate) fn ask_for(c: &Cluster, args: &[&str], path: &str, seconds: u32) -> gantry_tests::machine::Output {
    let pki = c.state().join("pki");
    let file = |name: &str| pki.join(name).display().to_string();
    let (cert, key, ca) = (file("admin.crt"), file("admin.key"), file("ca.crt"));
    let (url, seconds) = (format!("{}{path}", c.server()), seconds.to_string());
    let all = ["--silent", "--show-error", "--include", "--no-buffer", "--http1.1", "--path-as-is"];
    let mut command = std::process::Command::new("curl");
    command.args(all).args(["--max-time", &seconds, "--cert", &cert, "--key", &key, "--cacert", &ca]);
    gantry_tests::machine::run(command.args(args).arg(&url), "")
}

/// As [`ask_for`]: status, headers and body.
fn ask(c: &Cluster, args: &[&str], path: &str) -> String {
    ask_for(c, args, path, 20).expect_ok(path)
}

fn service(path: &str) -> String {
    format!("/api/v1/namespaces/{NS}/services/{path}")
}

#[test]
fn e2e_session_proxy_carries_any_method_to_services_and_pods() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for target in ["services/server:web", "services/http:server:80", "pods/server:8000", "pods/server"] {
        let path = format!("/api/v1/namespaces/{NS}/{target}/proxy/a%2Fb/c?x=1&y=%20");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let body = if method == "GET" { vec![] } else { vec!["--data", "some body"] };
            let said = ask(&c, &[&["-X", method], &body[..]].concat(), &path);
            assert!(said.contains(&format!("\n{method} /a%2Fb/c?x=1&y=%20\n")), "{target} {method}: {said}");
            assert_eq!(said.contains("some body"), method != "GET", "{target} {method}: {said}");
            assert!(!said.to_lowercase().contains("authorization:"), "credentials went to the backend: {said}");
        }
    }
    for tool in c.kubectls() {
        let raw = c.ok(&format!("{tool} get --raw {}", service("server:web/proxy/plain")));
        assert!(raw.starts_with("GET /plain\n"), "{tool}: {raw}");
    }
}

#[test]
fn e2e_session_proxy_redirects_and_rewrites_as_upstream() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let bare = ask(&c, &[], &service("server:web/proxy"));
    assert!(bare.starts_with("HTTP/1.1 301") && bare.to_lowercase().contains("server:web/proxy/\r\n"), "{bare}");
    let inside = ask(&c, &[], &service("server:web/proxy/redirect"));
    let location = service("server:web/proxy/elsewhere");
    assert!(inside.starts_with("HTTP/1.1 302") && inside.contains(&location), "{inside}");
    let away = ask(&c, &[], &service("server:web/proxy/away"));
    assert!(away.contains("http://example.com/away"), "a redirect elsewhere is passed on, not followed: {away}");
    let page = ask(&c, &[], &service("server:web/proxy/html"));
    assert!(page.contains(&format!("href=\"{}\"", service("server:web/proxy/next"))), "{page}");
    assert!(page.contains("href=\"http://example.com/far\""), "{page}");
}

#[test]
fn e2e_session_proxy_without_endpoints_or_right() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let empty = ask(&c, &[], &service("nobody:80/proxy/"));
    assert!(empty.starts_with("HTTP/1.1 404") || empty.starts_with("HTTP/1.1 503"), "{empty}");
    let port = ask(&c, &[], &service("server:nothing/proxy/"));
    assert!(port.starts_with("HTTP/1.1 503"), "{port}");
    let refused = ask(&c, &["-H", "Impersonate-User: nobody-special"], &service("server:web/proxy/"));
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
}

#[test]
fn e2e_session_proxy_to_the_kubelets_own_api() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for node in ["node-1", "node-1:10250"] {
        let health = c.ok(&format!("kubectl get --raw /api/v1/nodes/{node}/proxy/healthz"));
        assert_eq!(health.trim(), "ok", "{node}");
    }
    let pods = c.ok("kubectl get --raw /api/v1/nodes/node-1/proxy/pods");
    assert!(pods.contains("\"shell-1\"") && !pods.contains("\"shell-2\""), "{pods}");
    let stats = c.ok("kubectl get --raw /api/v1/nodes/node-1/proxy/stats/summary");
    assert!(stats.contains("usageNanoCores") && stats.contains("\"shell-1\""), "{stats}");
    let metrics = c.ok("kubectl get --raw /api/v1/nodes/node-1/proxy/metrics/resource");
    assert!(metrics.contains("container_cpu_usage_seconds_total{"), "{metrics}");
    let no_node = c.line("kubectl get --raw /api/v1/nodes/127.0.0.1/proxy/healthz").expect_failure("no such node");
    assert!(no_node.contains("not found"), "{no_node}");
}
