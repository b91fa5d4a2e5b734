//! kubectl itself: exec, attach and port-forward, over WebSocket and over SPDY.

use std::io::Write;
use std::process::Stdio;

use bytes::Bytes;
use gantry_common::task;
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::exec::success;
use crate::node::{Node, PATIENCE, Served, with_pod};
use crate::support::Cluster;

/// Whether kubectl is there; says so when it is not: `cargo xtask test` prints what is in the file named by `GANTRY_SKIPS`.
fn present() -> bool {
    let found = std::process::Command::new("kubectl").args(["version", "--client"]).output();
    let found = found.is_ok_and(|o| o.status.success());
    if !found {
        let line =
            format!("{}: kubectl is not installed", std::thread::current().name().unwrap_or("a test of kubectl"));
        eprintln!("skipped: {line}");
        if let Some(path) = std::env::var_os("GANTRY_SKIPS") {
            let mut file = std::fs::File::options().append(true).open(path).expect("the file of skips is there");
            writeln!(file, "{line}").expect("it can be written");
        }
    }
    found
}

/// What the node does: a command gives back its input and ends with code 3, a connection gives back what it gets.
async fn serve(kind: Kind, mut served: Served) {
    let mut lines = 0;
    loop {
        match served.next().await {
            Some(Frame::Data(bytes)) => {
                lines += bytes.iter().filter(|b| **b == b'\n').count();
                served.send(Frame::Data(bytes)).await;
            }
            Some(Frame::Resize(_) | Frame::Start(_)) => {}
            Some(Frame::End(_)) => break,
            Some(other) => panic!("{other:?}"),
            None => return,
        }
    }
    let last = match kind {
        Kind::PortForward(_) => success(),
        _ => {
            served.send(Frame::Stderr(Bytes::from(format!("{lines} lines\n")))).await;
            json!({"metadata": {}, "status": "Failure", "message": "command terminated with exit code 3",
                "reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}})
        }
    };
    served.finish(last).await;
}

async fn cluster_with_node() -> (Cluster, tokio::task::JoinHandle<()>) {
    let cluster = with_pod().await;
    let running = json!({"status": {"phase": "Running"}}).to_string();
    let merge = [("content-type", "application/merge-patch+json")];
    let path = "/api/v1/namespaces/default/pods/p/status";
    assert_eq!(cluster.rest("PATCH", path, &merge, &running).await.code, 200);
    let mut node = Node::connect(&cluster, "n1").await;
    let serving = task::spawn("node", async move {
        loop {
            let (kind, served) = node.serve().await;
            drop(task::spawn("node-session", serve(kind, served)));
        }
    });
    (cluster, serving)
}

fn kubectl(cluster: &Cluster, websockets: bool, args: &[&str]) -> Child {
    let mut command = Command::new("kubectl");
    let kubeconfig = cluster.server.kubeconfig("admin", &["system:masters"]);
    command
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .arg("--cache-dir")
        .arg(kubeconfig.with_extension("cache"))
        .args(args)
        .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets.to_string())
        .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command.spawn().expect("kubectl starts")
}

async fn run(cluster: &Cluster, websockets: bool, args: &[&str], input: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let mut child = kubectl(cluster, websockets, args);
    let mut stdin = child.stdin.take().expect("piped");
    let feeding = async {
        stdin.write_all(input).await.expect("written");
        drop(stdin);
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feeding);
    let output = output.expect("ran");
    (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn kubectl_runs_commands() {
    if !present() {
        return;
    }
    let (cluster, _node) = cluster_with_node().await;
    let mut input = Vec::new();
    for line in 0..100_000 {
        writeln!(input, "line {line}").expect("memory");
    }
    for websockets in [true, false] {
        for args in [&["exec", "-i", "p", "--", "cat"][..], &["attach", "-i", "p"]] {
            let (code, out, err) = run(&cluster, websockets, args, &input).await;
            assert_eq!(code, Some(3), "{args:?} websockets={websockets}: {err}");
            assert!(out == input, "{args:?} websockets={websockets}: {} bytes came back: {err}", out.len());
            assert!(err.contains("100000 lines"), "{err}");
        }
    }
    let (code, _, err) = run(&cluster, true, &["exec", "p", "-c", "x", "--", "cat"], b"").await;
    assert!(code == Some(1) && err.contains("container x is not valid for pod p out of: c"), "{code:?} {err}");
}

#[tokio::test]
async fn kubectl_says_why_a_node_refuses() {
    if !present() {
        return;
    }
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let missing = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500,
        "reason": "InternalError", "message": "container not found (\"c\")"});
    let _serving = task::spawn("node", async move {
        loop {
            let (session, _) = node.opened().await;
            node.refuse(&session, &missing).await;
        }
    });
    for websockets in [true, false] {
        for args in [&["exec", "p", "--", "cat"][..], &["attach", "p"]] {
            let (code, _, err) = run(&cluster, websockets, args, b"").await;
            let expected = "error: unable to upgrade connection: container not found (\"c\")\n";
            // Before that, attach speaks of prompts.
            assert!(code == Some(1) && err.ends_with(expected), "{args:?} websockets={websockets}: {err}");
        }
    }
}

#[tokio::test]
async fn kubectl_is_told_that_its_pod_is_gone() {
    if !present() {
        return;
    }
    for websockets in [true, false] {
        let (cluster, _node) = cluster_with_node().await;
        let mut child = kubectl(&cluster, websockets, &["port-forward", "p", ":80"]);
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        lines.next_line().await.expect("read").expect("Forwarding from 127.0.0.1:n -> 80");
        let gone = cluster.rest("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0", &[], "").await;
        assert_eq!(gone.code, 200);
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("in time").expect("ran");
        let err = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!((ended.status.code(), err.as_str()), (Some(1), "error: lost connection to pod\n"));
    }
}

#[tokio::test]
async fn kubectl_forwards_ports() {
    if !present() {
        return;
    }
    let (cluster, _node) = cluster_with_node().await;
    for websockets in [true, false] {
        let mut child = kubectl(&cluster, websockets, &["port-forward", "p", ":80"]);
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = lines.next_line().await.expect("read").expect("a line");
        let address = line.split_whitespace().nth(2).expect("Forwarding from 127.0.0.1:n -> 80").to_owned();
        for round in 0..3 {
            let mut stream = TcpStream::connect(&address).await.expect("connects");
            let sent: Vec<u8> = (0..500_000_u32).map(|n| (n ^ round).to_le_bytes()[0]).collect();
            let (mut read, mut write) = stream.split();
            let mut got = Vec::new();
            let sending = async {
                write.write_all(&sent).await.expect("written");
                write.shutdown().await.expect("closed");
            };
            let (received, ()) = tokio::join!(read.read_to_end(&mut got), sending);
            received.expect("read");
            assert!(got == sent, "websockets={websockets} round {round}: {} of {}", got.len(), sent.len());
        }
        child.kill().await.expect("killed");
    }
}
