//! Commands in containers, with an end: Docker has no way to stop an exec, so its process is killed by its host PID.

use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures::StreamExt;

use super::{Docker, Error, Executed};

/// Bytes of output that are kept; upstream's limit for probe output.
const OUTPUT_BYTES: usize = 10 * 1024;

/// Runs `command` and waits for its end.
pub(super) async fn run(docker: &Docker, id: &str, command: &[String], timeout: Duration) -> Result<Executed, Error> {
    let client = docker.client()?;
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..Default::default()
    };
    let exec = client.create_exec(id, options).await.map_err(|e| docker.error(e))?.id;
    let finished = tokio::time::timeout(timeout, collect(docker, &client, &exec)).await;
    let Ok(output) = finished else {
        kill(docker, &client, &exec).await?;
        return Err(Error::TimedOut { command: command.join(" "), seconds: timeout.as_secs() });
    };
    let output = output?;
    let ended = client.inspect_exec(&exec).await.map_err(|e| docker.error(e))?;
    Ok(Executed { code: ended.exit_code.unwrap_or(0), output })
}

async fn collect(docker: &Docker, client: &bollard::Docker, exec: &str) -> Result<String, Error> {
    let options = StartExecOptions { detach: false, tty: false, output_capacity: None };
    let started = client.start_exec(exec, Some(options)).await.map_err(|e| docker.error(e))?;
    let StartExecResults::Attached { mut output, input: _input } = started else { return Ok(String::new()) };
    let mut text = Vec::new();
    while let Some(chunk) = output.next().await {
        let chunk = chunk.map_err(|e| docker.error(e))?.into_bytes();
        let room = OUTPUT_BYTES.saturating_sub(text.len());
        text.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or(&chunk));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

async fn kill(docker: &Docker, client: &bollard::Docker, exec: &str) -> Result<(), Error> {
    let state = client.inspect_exec(exec).await.map_err(|e| docker.error(e))?;
    let pid = state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1);
    if let (Some(true), Some(pid)) = (state.running, pid) {
        // It may have ended meanwhile; then there is nothing to kill.
        let _ended = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    Ok(())
}
