//! Pods of a running cluster: from the create request to status Running, beside `docker run` of the same image.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::Instant;

use crate::http::{Connection, Target};
use crate::report::Report;

/// Where all of the benchmark's pods are.
pub(crate) const NAMESPACE: &str = "gantry-bench";
const TIMEOUT: Duration = Duration::from_secs(300);

/// Flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The cluster's kubeconfig (`gantryctl kubeconfig`).
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: PathBuf,
    /// An image that the node can pull, with a shell.
    #[arg(long, default_value = "nginx")]
    image: String,
    /// The Docker socket of a node, for `docker run` beside it; without it only pods are measured.
    #[arg(long)]
    docker: Option<PathBuf>,
    /// Pods at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 50])]
    pods: Vec<usize>,
}

pub(crate) async fn run(args: &Args, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    let target = Target::from_kubeconfig(&args.kubeconfig)?;
    let mut connection = target.connect().await?;
    prepare(&mut connection).await?;
    // The first pod pulls the image: it is not counted.
    batch(&target, args, "warm", 1).await?;
    for run in 0..runs {
        for count in &args.pods {
            let seconds = batch(&target, args, &format!("r{run}-{count}"), *count).await?;
            report.add(format!("{count} pods, create to all Running"), "ms", seconds * 1e3);
            if let Some(socket) = &args.docker {
                let seconds = docker_batch(socket, &args.image, run, *count).await?;
                report.add(format!("{count} x docker run, all at a time"), "ms", seconds * 1e3);
            }
        }
    }
    let path = format!("/api/v1/namespaces/{NAMESPACE}");
    // The first connection has idled longer than the server keeps one.
    target.connect().await?.call(Method::DELETE, &path, Bytes::new()).await.map(drop)
}

/// Makes the namespace and waits for its service account.
pub(crate) async fn prepare(connection: &mut Connection) -> anyhow::Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let (status, body) = connection.answer(Method::POST, "/api/v1/namespaces", Bytes::from(object.to_string())).await?;
    anyhow::ensure!(status.is_success() || status.as_u16() == 409, "namespace: {}", String::from_utf8_lossy(&body));
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default");
    let started = Instant::now();
    while !connection.answer(Method::GET, &path, Bytes::new()).await?.0.is_success() {
        anyhow::ensure!(
            started.elapsed() < TIMEOUT,
            "the namespace got no service account: does the controller-manager run?"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Creates the pods at once, waits until all run, deletes them, waits until they are gone; returns seconds to Running.
async fn batch(target: &Target, args: &Args, prefix: &str, count: usize) -> anyhow::Result<f64> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let mut connection = target.connect().await?;
    let list: Value = serde_json::from_slice(&connection.get(&format!("{path}?limit=1")).await?)?;
    let revision = list["metadata"]["resourceVersion"].as_str().context("a list without resourceVersion")?;
    let query = format!("{path}?watch=true&resourceVersion={revision}&labelSelector=bench%3D{prefix}");
    let mut watch = Watch::start(target, &query).await?;
    let connections = target.connections(count.min(64)).await?;
    let started = Instant::now();
    create(connections, &path, args, prefix, count).await?;
    watch.until(count, |event, pod| event != "DELETED" && pod["status"]["phase"] == "Running").await?;
    let seconds = started.elapsed().as_secs_f64();
    let mut connection = target.connect().await?;
    for number in 0..count {
        let pod = format!("{path}/{prefix}-{number}?gracePeriodSeconds=1");
        connection.call(Method::DELETE, &pod, Bytes::new()).await?;
    }
    watch.until(count, |event, _| event == "DELETED").await?;
    Ok(seconds)
}

async fn create(
    connections: Vec<Connection>,
    path: &str,
    args: &Args,
    prefix: &str,
    count: usize,
) -> anyhow::Result<()> {
    let step = connections.len();
    let share = |(first, mut connection): (usize, Connection)| async move {
        for number in (first..count).step_by(step) {
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("{prefix}-{number}"), "labels": {"bench": prefix}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                    "name": "main", "image": &args.image, "imagePullPolicy": "IfNotPresent", "command": COMMAND,
                }]},
            });
            connection.call(Method::POST, path, Bytes::from(pod.to_string())).await?;
        }
        anyhow::Ok(())
    };
    futures::future::try_join_all(connections.into_iter().enumerate().map(share)).await.map(drop)
}

/// Runs until it is told to stop, in any image with a shell.
const COMMAND: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"];

/// A watch over REST, line by line.
struct Watch {
    connection: Connection,
    buffer: Vec<u8>,
}

impl Watch {
    async fn start(target: &Target, path: &str) -> anyhow::Result<Self> {
        let mut connection = target.connect().await?;
        let status = connection.send(Method::GET, path, Bytes::new()).await?;
        anyhow::ensure!(status.is_success(), "watch: {status}");
        Ok(Self { connection, buffer: Vec::new() })
    }

    /// Reads until `count` different pods have satisfied the condition.
    async fn until(&mut self, count: usize, holds: impl Fn(&str, &Value) -> bool) -> anyhow::Result<()> {
        let mut done = BTreeSet::new();
        let all = async {
            while done.len() < count {
                let event = self.next().await?;
                let pod = &event["object"];
                if holds(event["type"].as_str().unwrap_or_default(), pod) {
                    done.insert(pod["metadata"]["name"].as_str().unwrap_or_default().to_owned());
                }
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(TIMEOUT, all).await {
            Ok(result) => result,
            Err(_) => bail!("{} of {count} pods came so far within {TIMEOUT:?}", done.len()),
        }
    }

    async fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line)?);
            }
            self.buffer.extend_from_slice(self.connection.piece().await?.context("the watch ended")?);
        }
    }
}

/// The same number of containers by `docker run -d`, all commands at once; removes them afterwards.
async fn docker_batch(socket: &Path, image: &str, run: usize, count: usize) -> anyhow::Result<f64> {
    let names: Vec<String> = (0..count).map(|number| format!("gantry-bench-{run}-{count}-{number}")).collect();
    let started = Instant::now();
    let starts = names.iter().map(|name| {
        let mut args = vec!["run", "-d", "--network", "none", "--name", name, "--entrypoint", COMMAND[0], image];
        args.extend(&COMMAND[1..]);
        docker(socket, args)
    });
    let result = futures::future::try_join_all(starts).await;
    let seconds = started.elapsed().as_secs_f64();
    let remove: Vec<&str> = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)).collect();
    docker(socket, remove).await?;
    result.map(|_| seconds)
}

async fn docker(socket: &Path, args: Vec<&str>) -> anyhow::Result<()> {
    let mut command = Command::new("docker");
    command.arg("-H").arg(format!("unix://{}", socket.display())).args(&args).stdin(Stdio::null());
    let output = command.output().await.context("running docker")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "docker {}: {}", args.join(" "), said.trim());
    Ok(())
}
