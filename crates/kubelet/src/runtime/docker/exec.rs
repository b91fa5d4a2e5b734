//! Commands in containers, and joining containers' streams.

use bollard::{exec::CreateExecOptions, query_parameters::ResizeContainerTTYOptions};
use tokio::net::UnixStream;

use super::{
    Docker, Error,
    frames::output,
    wire::{self, Joined},
};
use crate::runtime::{AttachSpec, ExecSpec, ExecState, Size, Streams};

/// Keys that would part a terminal from its process. Docker cannot be told that there are none, and without any it takes
/// two that shells use: so here are ones that nobody types. A first key that is typed alone waits for the next one.
const DETACH_KEYS: &str = "ctrl-@,ctrl-^,ctrl-@,ctrl-_,ctrl-@,ctrl-^,ctrl-@,ctrl-_,ctrl-@,ctrl-^,ctrl-@,ctrl-_";

/// The streams of a connection. Its directions are independent: shutting down the input leaves the output alone.
fn streams(joined: Joined, tty: bool) -> Streams {
    let Joined { stream, arrived } = joined;
    let (reader, writer) = UnixStream::into_split(stream);
    Streams { output: output(reader, arrived, tty, None), input: Box::new(writer) }
}

pub(super) async fn create(docker: &Docker, id: &str, spec: &ExecSpec) -> Result<String, Error> {
    let options = CreateExecOptions {
        attach_stdin: Some(spec.stdin),
        attach_stdout: Some(spec.stdout),
        attach_stderr: Some(spec.stderr && !spec.tty),
        tty: Some(spec.tty),
        cmd: Some(spec.command.clone()),
        detach_keys: Some(DETACH_KEYS.to_owned()),
        ..Default::default()
    };
    Ok(docker.client()?.create_exec(id, options).await.map_err(|e| docker.error(e))?.id)
}

pub(super) async fn start(docker: &Docker, exec: &str, spec: &ExecSpec) -> Result<Streams, Error> {
    let body = serde_json::json!({"Detach": false, "Tty": spec.tty}).to_string();
    let joined = wire::join(&docker.endpoint, &format!("/exec/{exec}/start"), Some(body)).await?;
    Ok(streams(joined, spec.tty))
}

pub(super) async fn state(docker: &Docker, exec: &str) -> Result<Option<ExecState>, Error> {
    match docker.client()?.inspect_exec(exec).await.map_err(|e| docker.error(e)) {
        Ok(found) => Ok(Some(ExecState {
            running: found.running == Some(true),
            pid: found.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
            code: found.exit_code,
        })),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn resize(docker: &Docker, exec: &str, size: Size) -> Result<(), Error> {
    let options = bollard::exec::ResizeExecOptions { height: size.height, width: size.width };
    docker.client()?.resize_exec(exec, options).await.map_err(|e| docker.error(e))
}

pub(super) async fn attach(docker: &Docker, id: &str, spec: &AttachSpec) -> Result<Streams, Error> {
    let flag = |on: bool| u8::from(on);
    // A byte that no terminal sends takes the place of keys that part it from the container.
    let path = format!(
        "/containers/{id}/attach?stream=1&stdin={}&stdout={}&stderr={}&detachKeys=%FF",
        flag(spec.stdin),
        flag(spec.stdout),
        flag(spec.stderr && !spec.tty),
    );
    Ok(streams(wire::join(&docker.endpoint, &path, None).await?, spec.tty))
}

pub(super) async fn resize_container(docker: &Docker, id: &str, size: Size) -> Result<(), Error> {
    let options = ResizeContainerTTYOptions { h: i32::from(size.height), w: i32::from(size.width) };
    docker.client()?.resize_container_tty(id, options).await.map_err(|e| docker.error(e))
}
