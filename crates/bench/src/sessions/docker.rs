//! exec by Docker's HTTP API, as the baseline: create, start, read to the end, inspect.

use std::path::Path;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::time::Instant;

async fn call(socket: &Path, method: Method, path: &str, body: &Value) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = UnixStream::connect(socket).await.with_context(|| format!("connecting to {}", socket.display()))?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    gantry_common::task::spawn("docker", async move {
        // Its end shows in the request.
        drop(connection.await);
    });
    let request = Request::builder().method(method).uri(path).header("host", "docker");
    let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body.to_string())))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// Runs `true` in a container; returns milliseconds.
pub(crate) async fn exec_true(socket: &Path, container: &str) -> anyhow::Result<f64> {
    let started = Instant::now();
    let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["true"]});
    let (status, answer) = call(socket, Method::POST, &format!("/containers/{container}/exec"), &body).await?;
    ensure!(status.is_success(), "docker exec: {status}: {}", String::from_utf8_lossy(&answer));
    let answer: Value = serde_json::from_slice(&answer)?;
    let id = answer["Id"].as_str().context("an exec without id")?;
    let start = json!({"Detach": false, "Tty": false});
    let (status, _) = call(socket, Method::POST, &format!("/exec/{id}/start"), &start).await?;
    ensure!(status.is_success(), "docker exec start: {status}");
    let (_, answer) = call(socket, Method::GET, &format!("/exec/{id}/json"), &json!({})).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    ensure!(answer["ExitCode"] == 0, "docker exec ended with {answer}");
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
