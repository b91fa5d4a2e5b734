//! A thousand sessions, and then nothing more than before.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use gantry_tests::cluster::{Cluster, cluster};
use gantry_tests::wait::{ensure, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, LogParams};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::clients::with_kube;
use super::{NS, fixture, gauges};

const SESSIONS: usize = 1000;
const AT_ONCE: usize = 16;
/// Memory that an allocator may keep, in KiB.
const SLACK_KIB: u64 = 24 << 10;

/// What a daemon holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: usize,
    rss_kib: u64,
}

fn held(pid: i64) -> Held {
    let entries =
        |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).map(Iterator::count).unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let rss = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|l| l.trim().trim_end_matches(" kB").parse().ok());
    Held { descriptors: entries("fd"), threads: entries("task"), rss_kib: rss.unwrap_or_default() }
}

fn daemons(c: &Cluster) -> BTreeMap<&'static str, Held> {
    let names = ["apiserver", "kubelet-node-1", "kubelet-node-2", "dockerd-node-1", "dockerd-node-2"];
    names.into_iter().map(|name| (name, held(c.service(name).expect("it works")))).collect()
}

/// The processes in the fixture's containers.
fn inside(c: &Cluster) -> usize {
    let on = |node| {
        let ids =
            c.docker(node, &["ps", "--quiet", "--filter", "label=io.kubernetes.pod.namespace=e2e-sessions"]).stdout;
        let count = |id: &str| c.docker(node, &["top", id]).stdout.lines().count().saturating_sub(1);
        ids.lines().map(count).sum::<usize>()
    };
    on(1) + on(2)
}

/// One session of a kind that depends on its number; some are left in the middle.
async fn session(pods: &Api<Pod>, n: usize) {
    let quiet = AttachParams::default().stderr(false);
    match n % 10 {
        0 => {
            let mut process = pods.exec("shell-1", ["echo", "x"], &quiet).await.expect("exec");
            let mut out = String::new();
            process.stdout().expect("once").read_to_string(&mut out).await.expect("text");
            assert_eq!(out, "x\n");
            process.join().await.expect("it ends well");
        }
        1 => pods.exec("shell-2", ["sleep", "3000"], &quiet).await.expect("exec").abort(),
        2..=4 => {
            let tail = LogParams { tail_lines: Some(1), ..LogParams::default() };
            assert!(pods.logs("shell-1", &tail).await.expect("a log").contains("line"));
        }
        5 => {
            drop(pods.log_stream("shell-2", &LogParams { follow: true, ..LogParams::default() }).await.expect("a log"))
        }
        6 | 7 => {
            let mut forward = pods.portforward("server", &[8000]).await.expect("it starts");
            let mut stream = forward.take_stream(8000).expect("once");
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("it is sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.contains("200"), "{answer}");
        }
        8 => {
            let mut forward = pods.portforward("server", &[7000]).await.expect("it starts");
            let mut stream = forward.take_stream(7000).expect("once");
            stream.write_all(b"never finished").await.expect("it is sent");
        }
        _ => pods.attach("reader", &quiet).await.expect("attach").abort(),
    }
}

fn many(c: &Cluster, count: usize) {
    with_kube(c, |pods| async move {
        let each = |n| {
            let pods = pods.clone();
            async move { session(&pods, n).await }
        };
        futures::stream::iter(0..count).for_each_concurrent(AT_ONCE, each).await;
    });
}

/// Commands over SPDY whose client is killed at one moment or another of their start.
fn given_up(c: &Cluster) {
    let [_, old] = c.kubectls();
    let exec = format!("{} exec -n {NS} shell-1 -- sleep 3000", c.path_of(&old));
    let line = format!("for i in $(seq 40); do timeout -s KILL 0.$((i % 8 + 1)) {exec} 2>/dev/null & done; wait");
    c.shell(&line);
}

#[test]
fn e2e_session_a_thousand_leave_nothing_behind() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    // What is made once and kept is made by the first ones.
    many(&c, 100);
    let settled = |what: &str, before: &BTreeMap<&'static str, Held>, processes: usize| {
        eventually(what, Duration::from_secs(60), || {
            let (now, there) = (daemons(&c), inside(&c));
            let grown = |(name, held): (&&'static str, &Held)| {
                let before = &before[*name];
                let more = held.descriptors > before.descriptors + 8 || held.rss_kib > before.rss_kib + SLACK_KIB;
                (more || held.threads > before.threads + 8).then(|| format!("{name}: {before:?} -> {held:?}"))
            };
            let grown: Vec<String> = now.iter().filter_map(grown).collect();
            ensure(grown.is_empty() && there == processes, || {
                format!("{grown:?}, {there} processes instead of {processes}")
            })
        });
    };
    // shell-1, shell-2, server, reader, and their sandboxes: `docker top` shows one process each.
    let processes = inside(&c).min(8);
    let before = daemons(&c);
    gauges::idle(&c);
    many(&c, SESSIONS);
    given_up(&c);
    gauges::idle(&c);
    settled("nothing is left of a thousand sessions", &before, processes);
}
