//! Who did what, as events of audit.k8s.io/v1: one line of JSON each. Never what was said, only that it was.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use gantry_api::Value;
use gantry_api::status::Status;
use gantry_common::metrics::{Page, float};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use tracing::error;

use crate::app::App;
use crate::auth::User;
use crate::metrics::Number;
use crate::rbac::authorizer;
use crate::request::{Caller, Target};
use crate::server::connection::Origin;

/// The log, and what became of its events.
pub(crate) struct Log {
    sink: Sink,
    /// Events that were to be written.
    pub(crate) events: Number,
    /// Those of them that were not.
    pub(crate) failed: Number,
}

/// Where events go.
enum Sink {
    /// Into the server's own log, under the target `audit`.
    Tracing,
    Stdout,
    File(Mutex<File>),
}

/// A user, as events show it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Who {
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, Vec<String>>,
}

impl From<&User> for Who {
    fn from(user: &User) -> Self {
        Self {
            username: user.name.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
        }
    }
}

/// The object that an event is about.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectRef {
    pub(crate) resource: Cow<'static, str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
    pub(crate) api_version: Cow<'static, str>,
    pub(crate) subresource: Cow<'static, str>,
}

/// One event.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    pub(crate) kind: &'static str,
    pub(crate) api_version: &'static str,
    pub(crate) level: &'static str,
    #[serde(rename = "auditID")]
    pub(crate) audit_id: String,
    pub(crate) stage: &'static str,
    #[serde(rename = "requestURI")]
    pub(crate) request_uri: String,
    pub(crate) verb: &'static str,
    pub(crate) user: Who,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) impersonated_user: Option<Who>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub(crate) source_ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) user_agent: String,
    pub(crate) object_ref: ObjectRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_status: Option<Value>,
    pub(crate) request_received_timestamp: String,
    pub(crate) stage_timestamp: String,
    pub(crate) annotations: BTreeMap<Cow<'static, str>, String>,
}

impl Event {
    /// Of a request that ends now, about which no more is known.
    fn new(app: &App, audit_id: String, request_uri: String, verb: &'static str) -> Self {
        let now = time(app.clock.now());
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: "Metadata",
            audit_id,
            stage: COMPLETE,
            request_uri,
            verb,
            user: Who::default(),
            impersonated_user: None,
            source_ips: Vec::new(),
            user_agent: String::new(),
            object_ref: ObjectRef::default(),
            response_status: None,
            request_received_timestamp: now.clone(),
            stage_timestamp: now,
            annotations: BTreeMap::new(),
        }
    }

    /// The same of a caller: who authenticated, and whom the request acts as where that is another.
    pub(crate) fn of(app: &App, caller: &Caller, request_uri: String, verb: &'static str) -> Self {
        let (user, impersonated_user) = match &caller.trail.impersonator {
            None => (Who::from(&caller.user), None),
            Some(real) => (Who::from(real), Some(Who::from(&caller.user))),
        };
        Self {
            user,
            impersonated_user,
            source_ips: caller.trail.source.map(|source| source.to_string()).into_iter().collect(),
            user_agent: caller.agent.clone(),
            ..Self::new(app, caller.trail.audit_id.clone(), request_uri, verb)
        }
    }
}

/// A time as events have it.
pub(crate) fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// The header that names a request.
pub(crate) const AUDIT_ID: &str = "audit-id";

/// Sessions have begun.
pub(crate) const STARTED: &str = "ResponseStarted";
/// Nothing more comes.
pub(crate) const COMPLETE: &str = "ResponseComplete";

/// What the right to a request was decided to be (upstream's name).
const DECISION: &str = "authorization.k8s.io/decision";

/// Writes down a write, whether it succeeded or not, with what webhooks and policies want to be kept about it.
pub(crate) fn wrote(app: &App, caller: &Caller, verb: &'static str, target: &Target, result: Result<(), &Status>) {
    write(app, caller, (verb, target), "allow", result);
}

/// Writes down that somebody wanted what they may not do.
pub(crate) fn refused(app: &App, caller: &Caller, verb: &'static str, target: &Target, status: &Status) {
    write(app, caller, (verb, target), "forbid", Err(status));
}

/// Writes down that somebody was not recognised.
pub(crate) fn unknown(app: &App, origin: Option<&Origin>, request: &http::request::Parts, status: &Status) {
    if matches!(app.audit.sink, Sink::Tracing) {
        return;
    }
    let text = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (uri, verb) = (request.uri.to_string(), verb_of(&request.method));
    app.audit.write(&Event {
        source_ips: origin.map(|origin| origin.address.ip().to_string()).into_iter().collect(),
        user_agent: text("user-agent"),
        response_status: Some(shown(status)),
        ..Event::new(app, text(AUDIT_ID), uri, verb)
    });
}

/// The verb of a request about which no more is known.
fn verb_of(method: &http::Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    }
}

fn shown(status: &Status) -> Value {
    json!({"metadata": {}, "status": status.status, "reason": status.reason, "code": status.code})
}

fn write(
    app: &App,
    caller: &Caller,
    (verb, target): (&'static str, &Target),
    decision: &'static str,
    result: Result<(), &Status>,
) {
    // Without a log of its own, audit is about sessions alone: every write would be a line.
    if matches!(app.audit.sink, Sink::Tracing) {
        return;
    }
    let mut annotations = caller.notes.annotations();
    annotations.entry(DECISION.to_owned()).or_insert_with(|| decision.to_owned());
    let kind = &target.kind;
    app.audit.write(&Event {
        object_ref: ObjectRef {
            resource: Cow::Borrowed(kind.resource),
            namespace: authorizer::namespace_of((kind.group, kind.resource), &target.namespace, &target.name)
                .to_owned(),
            name: target.name.clone(),
            uid: String::new(),
            api_version: Cow::Borrowed(kind.version),
            subresource: Cow::Borrowed(target.subresource),
        },
        response_status: result.err().map(shown),
        annotations: annotations.into_iter().map(|(key, value)| (Cow::Owned(key), value)).collect(),
        ..Event::of(app, caller, uri(target), verb)
    });
}

/// The path of a request.
fn uri(target: &Target) -> String {
    let kind = &target.kind;
    let mut path = if kind.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", kind.api_version) };
    if !target.namespace.is_empty() {
        path = format!("{path}/namespaces/{}", target.namespace);
    }
    for part in [kind.resource, &target.name, target.subresource].into_iter().filter(|part| !part.is_empty()) {
        path = format!("{path}/{part}");
    }
    path
}

impl Log {
    /// Opens the log: `-` is standard output, nothing is the server's own log.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub(crate) fn open(path: Option<&Path>) -> std::io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let sink = match path {
            None => Sink::Tracing,
            Some(path) if path == Path::new("-") => Sink::Stdout,
            Some(path) => {
                let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
                Sink::File(Mutex::new(file))
            }
        };
        Ok(Self { sink, events: Number::default(), failed: Number::default() })
    }

    /// Shows what became of events.
    pub(crate) fn render(&self, page: &mut Page) {
        let help = "[ALPHA] Audit events that were to be written.";
        page.single("apiserver_audit_event_total", "counter", help, float(self.events.get()));
        let failed = self.failed.get();
        let plugin = if matches!(self.sink, Sink::File(_)) { "log" } else { "stdout" };
        if failed > 0 {
            let help = "[ALPHA] Audit events that could not be written.";
            page.family("apiserver_audit_error_total", "counter", help).sample(&[("plugin", plugin)], float(failed));
        }
    }

    /// Writes an event: at once, since an audit log that lags behind loses what matters most. It is one short append.
    pub(crate) fn write(&self, event: &Event) {
        let mut line = serde_json::to_vec(event).expect("an event is plain data");
        self.events.add(1);
        let written = match &self.sink {
            Sink::Tracing => {
                tracing::info!(target: "audit", "{}", String::from_utf8_lossy(&line));
                return;
            }
            Sink::Stdout => {
                line.push(b'\n');
                std::io::stdout().lock().write_all(&line)
            }
            Sink::File(file) => {
                line.push(b'\n');
                file.lock().write_all(&line)
            }
        };
        if let Err(error) = written {
            self.failed.add(1);
            line.pop();
            error!(target: "audit", %error, "the audit log cannot be written; event: {}", String::from_utf8_lossy(&line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_added_to_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.log");
        let event = Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: "Metadata",
            audit_id: "1".to_owned(),
            stage: COMPLETE,
            request_uri: "/api/v1/namespaces/a/pods/p/exec".to_owned(),
            verb: "create",
            user: Who::from(&User::new("alice", &["dev"])),
            impersonated_user: None,
            source_ips: vec!["127.0.0.1".to_owned()],
            user_agent: String::new(),
            object_ref: ObjectRef {
                resource: Cow::Borrowed("pods"),
                subresource: Cow::Borrowed("exec"),
                ..ObjectRef::default()
            },
            response_status: None,
            request_received_timestamp: "2026-01-01T00:00:00.000000Z".to_owned(),
            stage_timestamp: "2026-01-01T00:00:01.000000Z".to_owned(),
            annotations: BTreeMap::new(),
        };
        for _ in 0..2 {
            Log::open(Some(&path)).expect("opens").write(&event);
        }
        let text = std::fs::read_to_string(&path).expect("written");
        assert_eq!(text.lines().count(), 2, "an older log is kept");
        let read: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        assert_eq!(read["auditID"], "1");
        assert_eq!(read["user"]["groups"], serde_json::json!(["dev", "system:authenticated"]));
        assert!(Log::open(Some(folder.path())).is_err(), "a folder is no file");
    }
}
