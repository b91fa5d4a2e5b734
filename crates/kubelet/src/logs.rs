//! Which container's log is meant, and why there is none; pure. The texts are upstream's.

use gantry_api::status::Status;
use gantry_proto::v1::LogRequest;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::{
    pod,
    runtime::{Container, LogOptions, Role, State},
};

/// The identifier of the container whose log is asked for.
pub(crate) fn select(pod: &Pod, containers: &[Container], request: &LogRequest) -> Result<String, Status> {
    let name = &request.container;
    if pod::find(pod, name).is_none() {
        return Err(Status::bad_request(format!("container {name} is not valid for pod {}", request.pod)));
    }
    let mut made: Vec<&Container> = containers
        .iter()
        .filter(|c| c.role == Role::Container && &c.name == name && c.state != State::Created)
        .collect();
    made.sort_by_key(|c| std::cmp::Reverse((c.attempt, c.created)));
    let latest = made.first();
    if request.previous {
        // A container that waits for its restart is itself the previous one.
        let waits = latest.is_some_and(|c| c.exit().is_some()) && waiting(pod, name).is_some();
        let previous = if waits { latest } else { made.get(1) };
        return previous.map(|c| c.id.clone()).ok_or_else(|| {
            Status::bad_request(format!(
                "previous terminated container \"{name}\" in pod \"{}\" not found",
                request.pod
            ))
        });
    }
    latest.map(|c| c.id.clone()).ok_or_else(|| {
        let start = format!("container \"{name}\" in pod \"{}\" is waiting to start", request.pod);
        Status::bad_request(match waiting(pod, name).as_deref() {
            Some("ErrImagePull") => format!("{start}: image can't be pulled"),
            Some("ImagePullBackOff") => format!("{start}: trying and failing to pull image"),
            Some(reason) => format!("{start}: {reason}"),
            None if status(pod, name).is_none() => {
                format!("container \"{name}\" in pod \"{}\" is not available", request.pod)
            }
            None => format!("{start} - no logs yet"),
        })
    })
}

fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|c| c.name == name)
}

/// Why it waits, which may be nothing.
fn waiting(pod: &Pod, name: &str) -> Option<String> {
    let waiting = status(pod, name)?.state.as_ref()?.waiting.as_ref()?;
    Some(waiting.reason.clone().unwrap_or_default())
}

/// What the runtime is asked.
pub(crate) fn options(request: &LogRequest, now: Timestamp) -> Result<LogOptions, Status> {
    let since = match (&request.since_seconds, request.since_time.as_str()) {
        (Some(seconds), _) => Some(now - SignedDuration::from_secs(*seconds)),
        (None, "") => None,
        (None, time) => {
            let parsed = time.parse::<Timestamp>();
            Some(parsed.map_err(|error| Status::bad_request(format!("sinceTime {time:?} is not a time: {error}")))?)
        }
    };
    let (no_stdout, no_stderr) = match request.stream.as_str() {
        "" | "All" => (false, false),
        "Stdout" => (false, true),
        "Stderr" => (true, false),
        other => return Err(Status::bad_request(format!("stream {other:?} is not one of All, Stdout, Stderr"))),
    };
    Ok(LogOptions {
        follow: request.follow,
        timestamps: request.timestamps,
        tail: request.tail_lines,
        since,
        no_stdout,
        no_stderr,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pod::plan::tests::{exited, made};

    fn pod(reason: &str) -> Pod {
        let state = if reason.is_empty() { json!({}) } else { json!({"waiting": {"reason": reason}}) };
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"name": "c", "image": "i"}]},
            "status": {"containerStatuses": [
                {"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn the_right_container_is_found() {
        let check = |reason: &str, states: &[State], previous: bool, expected: Result<&str, &str>| {
            let pod = pod(reason);
            let there: Vec<Container> =
                states.iter().zip(0..).map(|(state, n)| made(&pod, "c", n, state.clone())).collect();
            let request = LogRequest { pod: "p".into(), container: "c".into(), previous, ..LogRequest::default() };
            let found = select(&pod, &there, &request).map_err(|status| status.message);
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
        };
        let running = || State::Running { started: Timestamp::UNIX_EPOCH };
        check("", &[running()], false, Ok("c0"));
        check("", &[exited(1, 1), running()], false, Ok("c1"));
        check("", &[exited(1, 1), running()], true, Ok("c0"));
        check("CrashLoopBackOff", &[exited(1, 1), exited(1, 2)], true, Ok("c1"));
        check("", &[running()], true, Err("previous terminated container \"c\" in pod \"p\" not found"));
        let waits = "container \"c\" in pod \"p\" is waiting to start";
        check("ContainerCreating", &[], false, Err(&format!("{waits}: ContainerCreating")));
        check("ImagePullBackOff", &[State::Created], false, Err(&format!("{waits}: trying and failing to pull image")));
        check("ErrImagePull", &[], false, Err(&format!("{waits}: image can't be pulled")));
        check("", &[], false, Err(&format!("{waits} - no logs yet")));
        let unknown = Pod { status: None, ..pod("") };
        let request = LogRequest { pod: "p".into(), container: "c".into(), ..LogRequest::default() };
        let why = select(&unknown, &[], &request).unwrap_err().message;
        assert_eq!(why, "container \"c\" in pod \"p\" is not available");
    }

    #[test]
    fn options_are_translated() {
        let now = Timestamp::from_second(1000).unwrap();
        let request = LogRequest { since_seconds: Some(60), stream: "Stderr".into(), ..LogRequest::default() };
        let found = options(&request, now).unwrap();
        assert_eq!((found.since, found.no_stdout), (Some(Timestamp::from_second(940).unwrap()), true));
        assert!(options(&LogRequest { since_time: "x".into(), ..LogRequest::default() }, now).is_err());
        assert!(options(&LogRequest { stream: "x".into(), ..LogRequest::default() }, now).is_err());
    }
}
