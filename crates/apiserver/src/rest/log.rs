//! `pods/{name}/log`: text from the node, through its own session.

use std::sync::Arc;

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_proto::v1::LogRequest;
use gantry_proto::v1::open_session::Kind;
use http_body_util::StreamBody;

use super::answer;
use super::handler::Incoming;
use crate::app::App;
use crate::calls::Call;
use crate::pipeline::current;
use crate::request::{Caller, Target};
use crate::server::{Body, Response};
use crate::sessions::{Opened, Received};

/// Answers a log request.
///
/// # Errors
/// 400 in upstream's words for a container that is not there or has not started, 503 when the node cannot be reached.
pub(crate) async fn get(app: &Arc<App>, request: &Incoming, target: &Target) -> Result<Response, Status> {
    let query = &request.query;
    let wanted = LogRequest {
        namespace: target.namespace.clone(),
        pod: target.name.clone(),
        container: query.get("container").to_owned(),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        since_seconds: query.number("sinceSeconds")?,
        since_time: query.get("sinceTime").to_owned(),
        timestamps: query.flag("timestamps"),
        tail_lines: query.number("tailLines")?,
        limit_bytes: query.number("limitBytes")?,
        stream: query.get("stream").to_owned(),
        pod_uid: String::new(),
    };
    let reader = open(app, &request.caller, wanted).await?;
    let slot = Open::new(app.clone());
    let frames = futures::stream::unfold((reader, slot), |(mut reader, slot)| async move {
        let bytes = match slot.next(&mut reader).await? {
            Ok(bytes) => bytes,
            // The headers are out: the only way to tell is in the text, as upstream does.
            Err(status) => Bytes::from(format!("{}\n", status.message)),
        };
        Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes)), (reader, slot)))
    });
    Ok(answer::stream("text/plain", Body::new(StreamBody::new(frames))))
}

/// Counts an open session.
pub(crate) struct Open(Arc<App>);

impl Open {
    pub(crate) fn new(app: Arc<App>) -> Self {
        app.metrics.sessions.add(1);
        Self(app)
    }
}

impl Open {
    /// The next piece of text; a server that stops ends its sessions.
    pub(crate) async fn next(&self, session: &mut Option<Opened>) -> Option<Result<Bytes, Status>> {
        let reader = &mut session.as_mut()?.from_node;
        let received = tokio::select! {
            received = reader.recv() => received?,
            () = self.0.shutdown.requested() => return None,
        };
        match received {
            Received::Data(bytes) | Received::Stderr(bytes) => Some(Ok(bytes)),
            Received::Done(status) if status.status != "Success" => {
                *session = None;
                Some(Err(status))
            }
            Received::Done(_) | Received::End => None,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.sessions.sub(1);
    }
}

/// Opens the log of a container; `None` for a pod that has no node yet, which upstream answers with nothing.
///
/// # Errors
/// 401 and 403, 400 for a container that is not there, 503 when the node cannot be reached.
pub(crate) async fn open(
    app: &Arc<App>,
    caller: &Caller,
    mut request: LogRequest,
) -> Result<Option<Opened>, Status> {
    let kind = gantry_api::kinds::by_resource("", "v1", "pods").ok_or_else(Status::no_such_resource)?;
    let target = Target { subresource: "log", ..Target::new(kind, &request.namespace, &request.pod) };
    Call { app, caller }.authorize("get", &target)?;
    let pod = current::load(app, &Target::new(kind, &request.namespace, &request.pod)).await?;
    let pod = pod.ok_or_else(|| target.not_found())?.value;
    request.container = container(&pod, &request.container)?;
    check(&request)?;
    value::str_at(&pod, "metadata.uid").unwrap_or_default().clone_into(&mut request.pod_uid);
    let node = value::str_at(&pod, "spec.nodeName").unwrap_or_default();
    if node.is_empty() {
        return Ok(None);
    }
    app.sessions.open(node, Kind::Log(request)).await.map(Some)
}

fn names(pod: &Value) -> Vec<&str> {
    ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"]
        .iter()
        .flat_map(|list| value::list_at(pod, list))
        .filter_map(|c| value::str_at(c, "name"))
        .collect()
}

/// The container that is meant.
fn container(pod: &Value, wanted: &str) -> Result<String, Status> {
    let name = value::str_at(pod, "metadata.name").unwrap_or_default();
    if !wanted.is_empty() {
        if names(pod).contains(&wanted) {
            return Ok(wanted.to_owned());
        }
        return Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}")));
    }
    let main: Vec<&str> =
        value::list_at(pod, "spec.containers").iter().filter_map(|c| value::str_at(c, "name")).collect();
    if let [only] = main.as_slice() {
        return Ok((*only).to_owned());
    }
    let annotations = value::map_at(pod, "metadata.annotations");
    let default = annotations.and_then(|a| a.get("kubectl.kubernetes.io/default-container")).and_then(Value::as_str);
    if let Some(default) = default.filter(|d| main.contains(d)) {
        return Ok(default.to_owned());
    }
    let mut message = format!("a container name must be specified for pod {name}, choose one of: [{}]", main.join(" "));
    let inits: Vec<&str> =
        value::list_at(pod, "spec.initContainers").iter().filter_map(|c| value::str_at(c, "name")).collect();
    if !inits.is_empty() {
        message.push_str(&format!(" or one of the init containers: [{}]", inits.join(" ")));
    }
    Err(Status::bad_request(message))
}

fn check(request: &LogRequest) -> Result<(), Status> {
    use gantry_api::field::{Error, Path};
    let mut errors = Vec::new();
    if request.since_seconds.is_some() && !request.since_time.is_empty() {
        errors.push(Error::forbidden(
            &Path::new("sinceSeconds"),
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ));
    }
    if request.since_seconds.is_some_and(|s| s < 1) {
        errors.push(Error::invalid(&Path::new("sinceSeconds"), request.since_seconds, "must be greater than 0"));
    }
    if request.tail_lines.is_some_and(|n| n < 0) {
        errors.push(Error::invalid(&Path::new("tailLines"), request.tail_lines, "must be greater than or equal to 0"));
    }
    if request.limit_bytes.is_some_and(|n| n < 1) {
        errors.push(Error::invalid(&Path::new("limitBytes"), request.limit_bytes, "must be greater than 0"));
    }
    if !request.since_time.is_empty() && request.since_time.parse::<jiff::Timestamp>().is_err() {
        return Err(Status::bad_request(format!("sinceTime {:?} is not a time in RFC 3339", request.since_time)));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("", "PodLogOptions", &request.pod, &errors)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_container_is_found_or_asked_for() {
        let pod = |names: &[&str], default: Option<&str>| {
            let list: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
            let mut pod =
                json!({"metadata": {"name": "p"}, "spec": {"containers": list, "initContainers": [{"name": "i"}]}});
            if let Some(default) = default {
                pod["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": default});
            }
            pod
        };
        let check = |pod: &Value, wanted: &str, expected: Result<&str, &str>| {
            let got = container(pod, wanted).map_err(|s| s.message);
            assert_eq!(got.as_deref().map_err(String::as_str), expected);
        };
        check(&pod(&["a"], None), "", Ok("a"));
        check(&pod(&["a", "b"], None), "b", Ok("b"));
        check(&pod(&["a", "b"], Some("b")), "", Ok("b"));
        check(&pod(&["a"], None), "i", Ok("i"));
        check(&pod(&["a"], None), "x", Err("container x is not valid for pod p"));
        check(
            &pod(&["a", "b"], None),
            "",
            Err(
                "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
            ),
        );
    }
}
