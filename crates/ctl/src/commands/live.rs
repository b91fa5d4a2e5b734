//! Joining a container that is only about to run: what `run --attach` and `debug` share.

use std::{cell::RefCell, time::Duration};

use anyhow::Result;
use gantry_api::value::{Value, get, i64_at, list_at, str_at};
use gantry_client::ListParams;
use gantry_proto::v1::LogRequest;

use super::attach;
use crate::{CommandFailed, Interrupted, interactive::Side, output, pods, session::Session, terminal};

/// The container to join.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'w> {
    pub(crate) pod: &'w str,
    pub(crate) container: &'w str,
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
    pub(crate) quiet: bool,
    /// How long to wait until it runs.
    pub(crate) patience: Duration,
}

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It does not run yet; why not, where somebody knows.
    Waiting(Option<String>),
    Running,
    /// It has ended, with this exit code.
    Ended(i32),
}

const STATUSES: [&str; 3] =
    ["status.containerStatuses", "status.initContainerStatuses", "status.ephemeralContainerStatuses"];

fn state(pod: &Value, container: &str) -> State {
    let statuses = STATUSES.iter().flat_map(|path| list_at(pod, path));
    let status = statuses.into_iter().find(|s| str_at(s, "name") == Some(container));
    if let Some(status) = status {
        if let Some(ended) = get(status, "state.terminated") {
            return State::Ended(i64_at(ended, "exitCode").and_then(|c| c.try_into().ok()).unwrap_or(1));
        }
        if get(status, "state.running").is_some() {
            return State::Running;
        }
        let reason = str_at(status, "state.waiting.reason").filter(|r| *r != "ContainerCreating");
        let why = reason.map(|r| match str_at(status, "state.waiting.message") {
            Some(message) if !message.is_empty() => format!("{r}: {message}"),
            _ => r.to_owned(),
        });
        return State::Waiting(why);
    }
    match str_at(pod, "status.phase") {
        Some("Succeeded") => State::Ended(0),
        Some("Failed") => State::Ended(1),
        _ => State::Waiting(None),
    }
}

/// Waits until the container runs, joins it, and stays until it ends. One that ended before that is told by its log.
///
/// # Errors
/// As [`attach::join`]; or that it did not run in time; or [`Interrupted`].
pub(crate) async fn join(session: &Session, wanted: Wanted<'_>) -> Result<()> {
    let ending = terminal::ending_signal()?;
    tokio::select! {
        result = join_quietly(session, wanted) => result,
        signal = ending => Err(Interrupted { signal }.into()),
    }
}

async fn join_quietly(session: &Session, wanted: Wanted<'_>) -> Result<()> {
    let Wanted { pod: name, container, .. } = wanted;
    let api = session.api_of("", "pods");
    let by_name = ListParams::fields(format!("metadata.name={name}"));
    let told = RefCell::new(String::new());
    let late = || {
        let why = told.borrow();
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        format!("container {container} of pod {name} does not run after {} s{why}", wanted.patience.as_secs())
    };
    let (pod, found) = pods::until(&api, &by_name, wanted.patience, late, |pods| {
        let Some(pod) = pods.first() else { anyhow::bail!("pod {name} has been deleted") };
        match state(pod, container) {
            State::Waiting(None) => Ok(None),
            State::Waiting(Some(why)) => {
                if *told.borrow() != why && !wanted.quiet {
                    output::note(&format!("Warning: container {container}: {why}"));
                }
                *told.borrow_mut() = why;
                Ok(None)
            }
            found => Ok(Some(((*pod).clone(), found))),
        }
    })
    .await?;
    if let State::Ended(code) = found {
        print_log(session, &wanted).await?;
        return if code == 0 { Ok(()) } else { Err(CommandFailed { code }.into()) };
    }
    let side = Side::new(wanted.stdin, wanted.tty, wanted.quiet);
    attach::join(session, &pod, container, side, wanted.quiet).await
}

async fn print_log(session: &Session, wanted: &Wanted<'_>) -> Result<()> {
    let request = LogRequest {
        namespace: session.namespace.clone(),
        pod: wanted.pod.to_owned(),
        container: wanted.container.to_owned(),
        ..LogRequest::default()
    };
    let mut log = session.client.log(request).await?;
    while let Some(chunk) = log.next().await? {
        // As if it had been attached: the output of what the user runs.
        output::write(&chunk)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_of_containers() {
        let check = |status: Value, expected: State| {
            assert_eq!(state(&json!({"status": status}), "c"), expected, "{status}");
        };
        let of = |state: Value| json!({"containerStatuses": [{"name": "x"}, {"name": "c", "state": state}]});
        check(of(json!({"running": {}})), State::Running);
        check(of(json!({"terminated": {"exitCode": 3}})), State::Ended(3));
        check(of(json!({"waiting": {"reason": "ContainerCreating"}})), State::Waiting(None));
        let pull = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        check(of(pull), State::Waiting(Some("ErrImagePull: no such image".to_owned())));
        check(json!({"ephemeralContainerStatuses": [{"name": "c", "state": {"running": {}}}]}), State::Running);
        check(json!({"phase": "Pending"}), State::Waiting(None));
        check(json!({"phase": "Failed"}), State::Ended(1));
        check(json!({}), State::Waiting(None));
    }
}
