//! The same sessions through client libraries: Python's `kubernetes` and kube-rs.

use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use gantry_tests::cluster::{Cluster, cluster};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess, LogParams, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{NS, fixture};

/// What the Python program prints when all of it works.
const PARTS: [&str; 11] =
    ["exec", "large", "terminal", "attach", "copies", "forward", "logs", "proxy", "debug", "top", "refused"];

#[test]
fn e2e_session_python_client() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    c.ok(&format!("kubectl delete pod -n {NS} python-patient --ignore-not-found --timeout=60s"));
    let python = c.tool("python/bin/python");
    let script = "crates/tests/tests/e2e/sessions/clients.py";
    let out = gantry_tests::machine::run(&mut c.command(&python, &[script, NS, "100"]), "").expect_ok(script);
    assert_eq!(out.lines().collect::<Vec<_>>(), PARTS);
}

pub(super) fn with_kube<F: Future<Output = ()>>(c: &Cluster, test: impl FnOnce(Api<Pod>) -> F) {
    gantry_common::tls::install_provider();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let path = c.state().join("kubeconfig/admin.conf");
        let file = kube::config::Kubeconfig::read_from(path).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default()).await;
        let client = kube::Client::try_from(config.expect("a configuration")).expect("a client");
        let limit = Duration::from_secs(120);
        tokio::time::timeout(limit, test(Api::namespaced(client, NS))).await.expect("it ends in time");
    });
}

async fn exit_code(mut process: AttachedProcess) -> i32 {
    let status = process.take_status().expect("once").await.expect("a status");
    process.join().await.expect("it ends well");
    if status.status.as_deref() == Some("Success") {
        return 0;
    }
    let causes = status.details.and_then(|d| d.causes).unwrap_or_default();
    let code = causes.iter().find(|c| c.reason.as_deref() == Some("ExitCode")).and_then(|c| c.message.clone());
    code.and_then(|c| c.parse().ok()).unwrap_or(-1)
}

#[test]
fn e2e_session_kube_rs_exec() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    with_kube(&c, |pods| async move {
        let params = AttachParams::default();
        let command = ["sh", "-c", "echo out; echo err >&2; exit 7"];
        let mut process = pods.exec("shell-1", command, &params).await.expect("it starts");
        let (mut out, mut err) = (String::new(), String::new());
        process.stdout().expect("once").read_to_string(&mut out).await.expect("text");
        process.stderr().expect("once").read_to_string(&mut err).await.expect("text");
        assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
        assert_eq!(exit_code(process).await, 7);

        let params =
            AttachParams::default().stdin(true).stderr(false).max_stdin_buf_size(1 << 20).max_stdout_buf_size(1 << 20);
        let mut process = pods.exec("shell-2", ["cat"], &params).await.expect("it starts");
        let (mut input, mut output) = (process.stdin().expect("once"), process.stdout().expect("once"));
        let pattern: Vec<u8> = (0..1_048_573_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let sending = async {
            for _ in 0..100 {
                input.write_all(&pattern).await.expect("it takes all");
            }
            input.shutdown().await.expect("half-close");
            drop(input);
        };
        let receiving = async {
            let mut piece = vec![0; pattern.len()];
            for n in 0..100 {
                output.read_exact(&mut piece).await.expect("all comes back");
                assert!(piece == pattern, "piece {n} differs");
            }
            assert_eq!(output.read(&mut piece).await.expect("the end"), 0);
        };
        tokio::join!(sending, receiving);
        assert_eq!(exit_code(process).await, 0);

        let params = AttachParams::interactive_tty();
        // Size and input have channels of their own: the size may come after the line.
        let command = "read go; until stty size 2>&1 | grep -qx '50 120'; do sleep 0.1; done; stty size";
        let mut process = pods.exec("shell-1", ["sh", "-c", command], &params).await.expect("it starts");
        let mut size = process.terminal_size().expect("a terminal");
        futures::SinkExt::send(&mut size, TerminalSize { width: 120, height: 50 }).await.expect("it is sent");
        process.stdin().expect("once").write_all(b"go\n").await.expect("it is sent");
        let mut out = String::new();
        process.stdout().expect("once").read_to_string(&mut out).await.expect("text");
        assert!(out.contains("50 120"), "{out}");
        assert_eq!(exit_code(process).await, 0);
    });
}

#[test]
fn e2e_session_kube_rs_attach_logs_and_port_forward() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    with_kube(&c, |pods| async move {
        let params = AttachParams::default().stdin(true).stderr(false);
        let mut process = pods.attach("reader", &params).await.expect("it starts");
        process.stdin().expect("once").write_all(b"kube-rs\n").await.expect("it is sent");
        let mut lines = tokio::io::BufReader::new(process.stdout().expect("once"));
        let mut line = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut line).await.expect("a line");
        assert_eq!(line, "got kube-rs\n");
        process.abort();

        let follow = LogParams { follow: true, ..LogParams::default() };
        let first = pods.log_stream("shell-1", &follow).await.expect("a log").lines().try_next().await.expect("a line");
        assert!(first.is_some_and(|l| l.contains("line")));

        let each = |n: usize| {
            let pods = pods.clone();
            async move {
                let mut forward = pods.portforward("server", &[8000]).await.expect("it starts");
                let mut stream = forward.take_stream(8000).expect("once");
                stream.write_all(format!("GET /rust-{n} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("it is sent");
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.expect("an answer");
                assert!(answer.contains(&format!("GET /rust-{n}\n")), "{answer}");
            }
        };
        futures::stream::iter(0..100).for_each_concurrent(100, each).await;
    });
}
