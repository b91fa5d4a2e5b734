//! Sessions of a running cluster: exec beside Docker's own, throughput beside a plain TLS copy, memory, and whether a slow
//! reader holds others up. Clients are WebSockets over TLS, as kubectl's are.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http::Target;
use crate::pods;
use crate::process;
use crate::report::Report;

mod docker;
mod socket;
mod spdy;
mod tls_copy;

use socket::Socket;
use spdy::Way;

/// Readers of a log that never read.
const SLOW_READERS: [usize; 3] = [0, 1, 8];

/// Flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The cluster's kubeconfig (`gantryctl kubeconfig`).
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: PathBuf,
    /// The node to use.
    #[arg(long, default_value = "node-1")]
    node: String,
    /// The Docker socket of that node.
    #[arg(long)]
    docker: PathBuf,
    /// An image that the node can pull, with a shell, cat, head and nc.
    #[arg(long, default_value = "busybox")]
    image: String,
    /// Sessions that are open at once for the figure of memory.
    #[arg(long, default_value_t = 200)]
    idle: usize,
    /// Only processes whose command line holds this, for the figure of memory: the cluster's state folder.
    #[arg(long = "match", default_value = "")]
    contains: String,
    /// MiB that a figure of throughput moves.
    #[arg(long, default_value_t = 256)]
    mib: usize,
    /// Execs of one figure of latency.
    #[arg(long, default_value_t = 20)]
    execs: usize,
    /// Execs beside slow readers.
    #[arg(long, default_value_t = 100)]
    beside: usize,
}

const POD: &str = "sessions";

pub(crate) async fn run(args: &Args, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    let target = Target::from_kubeconfig(&args.kubeconfig)?;
    let container = prepare(&target, args).await?;
    for _ in 0..runs {
        latency(&target, args, &container, report).await?;
        throughput(&target, args.mib << 20, report).await?;
        spdy_throughput(&target, args.mib << 20, report).await?;
        rates(&target, report).await?;
        slow_readers(&target, args.beside, report).await?;
    }
    memory(&target, args, report).await?;
    let path = format!("/api/v1/namespaces/{}/pods/{POD}?gracePeriodSeconds=0", pods::NAMESPACE);
    target.connect().await?.call(Method::DELETE, &path, Bytes::new()).await.map(drop)
}

/// The pod that sessions are opened with; returns its container's id.
async fn prepare(target: &Target, args: &Args) -> anyhow::Result<String> {
    let mut connection = target.connect().await?;
    pods::prepare(&mut connection).await?;
    let path = format!("/api/v1/namespaces/{}/pods", pods::NAMESPACE);
    // A log that is longer than anything between it and its reader can hold; and a port that sends and one that takes.
    let script = "yes 0123456789abcdefghijklmnopqrstuvwxyz | head -n 4000000; \
                  (while :; do nc -l -p 7001 < /dev/zero; done) & mkfifo /tmp/open; sleep 86400 > /tmp/open & (while :; do nc -l -p 7002 < /tmp/open > /dev/null; done) & \
                  echo ready > /tmp/ready; while :; do sleep 1000; done";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD},
        "spec": {"nodeName": args.node, "terminationGracePeriodSeconds": 0, "containers": [{
            "name": "main", "image": args.image, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
            "readinessProbe": {"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1},
        }]},
    });
    connection.call(Method::POST, &path, Bytes::from(pod.to_string())).await?;
    let started = Instant::now();
    loop {
        let pod: Value = serde_json::from_slice(&connection.get(&format!("{path}/{POD}")).await?)?;
        let status = &pod["status"]["containerStatuses"][0];
        if status["ready"] == true {
            let id = status["containerID"].as_str().context("a container without id")?;
            return Ok(id.trim_start_matches("docker://").to_owned());
        }
        anyhow::ensure!(started.elapsed() < Duration::from_secs(120), "the pod is not ready: {}", pod["status"]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn exec(command: &[&str], streams: &str) -> String {
    let words: Vec<String> = command.iter().map(|w| format!("command={}", socket::encode(w))).collect();
    format!("/api/v1/namespaces/{}/pods/{POD}/exec?{}&{streams}", pods::NAMESPACE, words.join("&"))
}

/// One exec on a connection of its own, as kubectl makes it, until its status.
async fn exec_true(target: &Target) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut socket = Socket::open(target, &exec(&["true"], "stdout=true&stderr=true")).await?;
    socket.status().await?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn latency(target: &Target, args: &Args, container: &str, report: &mut Report) -> anyhow::Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..args.execs {
        ours.push(exec_true(target).await?);
        theirs.push(docker::exec_true(&args.docker, container).await?);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    report.add("exec of `true`, TLS handshake included", "ms", ours);
    report.add("the same by Docker's API on its socket", "ms", theirs);
    report.add("exec beside Docker's", "x", ours / theirs);
    Ok(())
}

fn mib_per_second(bytes: usize, started: Instant) -> f64 {
    bytes as f64 / (1 << 20) as f64 / started.elapsed().as_secs_f64()
}

async fn throughput(target: &Target, moved: usize, report: &mut Report) -> anyhow::Result<()> {
    report.add("plain TLS copy", "MiB/s", tls_copy::run(moved).await?);

    let count = moved.to_string();
    let mut socket = Socket::open(target, &exec(&["head", "-c", &count, "/dev/zero"], "stdout=true")).await?;
    let started = Instant::now();
    let got = socket.drain().await?;
    anyhow::ensure!(got == moved, "{got} bytes came out of exec instead of {moved}");
    report.add("exec, out of the container", "MiB/s", mib_per_second(got, started));

    let mut socket = Socket::open(target, &exec(&["sh", "-c", "cat > /dev/null"], "stdin=true&stdout=true")).await?;
    let started = Instant::now();
    socket.send_zeros(0, moved).await?;
    socket.close_channel(0).await?;
    socket.status().await?;
    report.add("exec, into the container", "MiB/s", mib_per_second(moved, started));

    let forward = |port| format!("/api/v1/namespaces/{}/pods/{POD}/portforward?ports={port}", pods::NAMESPACE);
    let mut socket = Socket::open(target, &forward(7001)).await?;
    let started = Instant::now();
    let got = socket.take(moved).await?;
    report.add("port-forward, out of the pod", "MiB/s", mib_per_second(got, started));
    drop(socket);

    let mut socket = Socket::open(target, &forward(7002)).await?;
    let started = Instant::now();
    socket.send_zeros(0, moved).await?;
    report.add("port-forward, into the pod", "MiB/s", mib_per_second(moved, started));
    Ok(())
}

/// The same over SPDY: exec as kubectl up to 1.30 has it, port-forward as every kubectl has it.
async fn spdy_throughput(target: &Target, moved: usize, report: &mut Report) -> anyhow::Result<()> {
    let count = moved.to_string();
    let exec_out = exec(&["head", "-c", &count, "/dev/zero"], "stdout=true");
    let session = spdy::Exec::open(target, &exec_out, false).await?;
    let started = Instant::now();
    let got = session.drain().await?;
    anyhow::ensure!(got == moved, "{got} bytes came out of exec instead of {moved}");
    report.add("exec over SPDY, out of the container", "MiB/s", mib_per_second(got, started));

    let exec_in = exec(&["sh", "-c", "cat > /dev/null"], "stdin=true&stdout=true");
    let session = spdy::Exec::open(target, &exec_in, true).await?;
    let started = Instant::now();
    session.send_zeros(moved).await?;
    session.drain().await?;
    report.add("exec over SPDY, into the container", "MiB/s", mib_per_second(moved, started));

    let forward = format!("/api/v1/namespaces/{}/pods/{POD}/portforward", pods::NAMESPACE);
    for (way, name) in [(Way::Plain, "over SPDY"), (Way::Tunnel, "over SPDY in a WebSocket")] {
        let mut connection = spdy::Forward::open(target, &forward, 7001, way).await?;
        let started = Instant::now();
        let got = connection.take(moved).await?;
        report.add(format!("port-forward {name}, out of the pod"), "MiB/s", mib_per_second(got, started));
        drop(connection);

        let connection = spdy::Forward::open(target, &forward, 7002, way).await?;
        let started = Instant::now();
        connection.send_zeros(moved).await?;
        report.add(format!("port-forward {name}, into the pod"), "MiB/s", mib_per_second(moved, started));
    }
    Ok(())
}

/// Sessions per second: logs of one line, which cost Docker little.
async fn rates(target: &Target, report: &mut Report) -> anyhow::Result<()> {
    const SESSIONS: usize = 200;
    let path = format!("/api/v1/namespaces/{}/pods/{POD}/log?tailLines=1", pods::NAMESPACE);
    for at_once in [1, 16] {
        let connections = target.connections(at_once).await?;
        let started = Instant::now();
        let each = |mut connection: crate::http::Connection| {
            let path = path.clone();
            async move {
                for _ in 0..SESSIONS / at_once {
                    connection.get(&path).await?;
                }
                anyhow::Ok(())
            }
        };
        futures::future::try_join_all(connections.into_iter().map(each)).await?;
        let rate = (SESSIONS / at_once * at_once) as f64 / started.elapsed().as_secs_f64();
        report.add(format!("log sessions of one line, {at_once} at a time"), "per s", rate);
    }
    let started = Instant::now();
    let all = futures::future::try_join_all((0..32).map(|_| exec_true(target))).await?;
    report.add("execs, 32 at a time", "per s", all.len() as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

/// Execs while others ask for a long log and never read it.
async fn slow_readers(target: &Target, beside: usize, report: &mut Report) -> anyhow::Result<()> {
    let log = format!("/api/v1/namespaces/{}/pods/{POD}/log?follow=true", pods::NAMESPACE);
    for count in SLOW_READERS {
        let mut stuck = Vec::new();
        for _ in 0..count {
            let mut connection = target.connect().await?;
            let status = connection.send(Method::GET, &log, Bytes::new()).await?;
            anyhow::ensure!(status.is_success(), "log: {status}");
            stuck.push(connection);
        }
        // Until every buffer between the log and the readers is full.
        tokio::time::sleep(Duration::from_secs(if count == 0 { 0 } else { 1 })).await;
        let mut times = Vec::with_capacity(beside);
        for _ in 0..beside {
            times.push(exec_true(target).await?);
        }
        let worst = times.iter().copied().fold(0.0, f64::max);
        report.add(format!("exec beside {count} stuck `logs -f`, median of {beside}"), "ms", median(times));
        report.add(format!("exec beside {count} stuck `logs -f`, worst of {beside}"), "ms", worst);
    }
    Ok(())
}

/// What idle sessions cost the API server and the kubelet.
async fn memory(target: &Target, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let of = |name: &'static str| {
        let found = process::find(|found| found == name).into_iter().find(|p| p.command.contains(&args.contains));
        found.map(|p| p.pid).with_context(|| format!("{name} does not run on this machine"))
    };
    let daemons = [("gantry-apiserver", of("gantry-apiserver")?), ("gantry-kubelet", of("gantry-kubelet")?)];
    let rss = || daemons.iter().map(|(_, pid)| process::rss_mib(*pid)).collect::<anyhow::Result<Vec<f64>>>();
    for kind in ["attach", "exec"] {
        let before = rss()?;
        let mut open = Vec::new();
        for _ in 0..args.idle {
            open.push(match kind {
                "exec" => Socket::open(target, &exec(&["sleep", "1000"], "stdout=true")).await?,
                _ => {
                    let path = format!("/api/v1/namespaces/{}/pods/{POD}/attach?stdout=true", pods::NAMESPACE);
                    Socket::open(target, &path).await?
                }
            });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        for ((name, _), (before, after)) in daemons.iter().zip(before.iter().zip(rss()?)) {
            let each = (after - before) * 1024.0 / args.idle as f64;
            report.add(format!("{name}, an idle {kind} session ({} open)", args.idle), "KiB", each);
        }
        drop(open);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}
