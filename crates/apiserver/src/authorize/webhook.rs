//! `Webhook`: a server of the operator's decides, by a SubjectAccessReview of `authorization.k8s.io`.

use std::path::Path;
use std::time::Duration;

use gantry_api::{Value, value};
use gantry_cel::Bindings;
use http::StatusCode;
use serde_json::{Map, json};
use tokio::time::Instant;
use tracing::error;

use super::Opinion;
use crate::app::App;
use crate::auth::User;
use crate::config::Authorization;
use crate::expressions::Conditions;
use crate::metrics::judges::Answered;
use crate::rbac::rule::{Attributes, Required};
use crate::webhooks::{Answers, Place};

const KIND: &str = "SubjectAccessReview";
/// Versions of it, as the flag and the file name them.
pub(super) const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// How long one question may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait before a question is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long answers hold unless flags or file say otherwise.
pub(super) const AUTHORIZED_TTL: Duration = Duration::from_secs(300);
pub(super) const UNAUTHORIZED_TTL: Duration = Duration::from_secs(30);
/// Answers that are remembered.
const ANSWERS_MAX: usize = 8192;
/// Bytes of what callers can choose of a question; the answer to a longer one is not remembered.
const CHOSEN_BYTES_MAX: usize = 10_000;

/// How a webhook is asked.
pub(super) struct Settings {
    /// Its name in metrics.
    pub(super) name: String,
    pub(super) place: Place,
    /// One of [`VERSIONS`].
    pub(super) version: String,
    pub(super) timeout: Duration,
    /// How long a yes holds, and anything else.
    pub(super) ttls: (Duration, Duration),
    /// What cannot be decided is denied, and not left to others.
    pub(super) denies_on_error: bool,
    /// What must hold of a question for it to be asked.
    pub(super) conditions: Conditions,
}

/// The webhook.
pub(crate) struct Webhook {
    settings: Settings,
    answers: Answers<Answer>,
}

/// The review's status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Answer {
    allowed: bool,
    denied: bool,
    reason: String,
}

impl Answer {
    fn read(review: &Value, version: &str) -> Result<Self, String> {
        let text = |path: &str| value::str_at(review, path).unwrap_or_default();
        let (kind, found, wanted) = (text("kind"), text("apiVersion"), api_version(version));
        if (kind, found) != (KIND, wanted.as_str()) {
            return Err(format!("no kind {kind:?} is registered for version {found:?}: want {KIND} of {wanted}"));
        }
        Ok(Self {
            allowed: value::bool_at(review, "status.allowed"),
            denied: value::bool_at(review, "status.denied"),
            reason: text("status.reason").to_owned(),
        })
    }

    fn opinion(self) -> Opinion {
        let Self { allowed, denied, reason } = self;
        let both = "webhook subject access review returned both allow and deny response";
        match (allowed, denied) {
            (true, true) => Opinion::Deny { reason, error: both.to_owned() },
            (false, true) => Opinion::Deny { reason, error: String::new() },
            (true, false) => Opinion::Allow(reason),
            (false, false) => Opinion::none(reason),
        }
    }
}

fn api_version(version: &str) -> String {
    format!("authorization.k8s.io/{version}")
}

/// A selector, as reviews have it.
fn selector(requirements: &[Required]) -> Value {
    json!({"requirements": requirements})
}

/// What the request is about. `all`: with what is empty, as conditions see it.
fn about(request: &Attributes, all: bool) -> (&'static str, Value) {
    let mut attributes = Map::new();
    let mut put = |key: &str, text: &str| {
        if all || !text.is_empty() {
            attributes.insert(key.to_owned(), text.into());
        }
    };
    put("verb", &request.verb);
    if let Some(path) = &request.path {
        put("path", path);
        return ("nonResourceAttributes", attributes.into());
    }
    put("namespace", &request.namespace);
    put("group", &request.group);
    put("version", &request.version);
    put("resource", &request.resource);
    put("subresource", &request.subresource);
    put("name", &request.name);
    for (key, requirements) in [("fieldSelector", &request.fields), ("labelSelector", &request.labels)] {
        if !requirements.is_empty() {
            attributes.insert(key.to_owned(), selector(requirements));
        }
    }
    ("resourceAttributes", attributes.into())
}

/// The review's spec.
fn spec(user: &User, request: &Attributes, version: &str) -> Value {
    let (key, about) = about(request, false);
    let mut spec = json!({key: about});
    let groups = if version == "v1" { "groups" } else { "group" };
    for (key, text) in [("user", &user.name), ("uid", &user.uid)] {
        if !text.is_empty() {
            spec[key] = text.as_str().into();
        }
    }
    if !user.groups.is_empty() {
        spec[groups] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        spec["extra"] = json!(user.extra);
    }
    spec
}

/// The spec of version v1 with what is empty, as conditions see it.
fn seen(user: &User, request: &Attributes) -> Value {
    let (key, about) = about(request, true);
    json!({key: about, "user": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra})
}

/// Whether the answer may be remembered: whoever can make questions long must not fill the memory with them.
fn is_short(request: &Attributes) -> bool {
    let Attributes { verb, group, version, resource, subresource, namespace, name, .. } = request;
    let path = request.path.as_deref().unwrap_or_default();
    let texts = [verb, group, version, resource, subresource, namespace, name];
    let selectors = request.fields.iter().chain(&request.labels);
    let selected: usize = selectors.map(|r| r.key.len() + r.values.iter().map(String::len).sum::<usize>()).sum();
    texts.into_iter().map(String::len).sum::<usize>() + path.len() + selected < CHOSEN_BYTES_MAX
}

impl Webhook {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, answers: Answers::new(ANSWERS_MAX) }
    }

    /// As the flags say.
    ///
    /// # Errors
    /// What is wrong with them, or with the kubeconfig.
    pub(super) fn of_flags(flags: &Authorization, kubeconfig: &Path) -> Result<Self, String> {
        // Upstream's default, which is the older.
        let version = flags.webhook_version.clone().unwrap_or_else(|| VERSIONS[1].to_owned());
        if !VERSIONS.contains(&version.as_str()) {
            let [new, old] = VERSIONS;
            return Err(format!(
                "unsupported webhook authorizer version {version:?}, supported versions are {new:?}, {old:?}"
            ));
        }
        Ok(Self::new(Settings {
            // As upstream names the one that flags tell of.
            name: "default".to_owned(),
            place: Place::load(kubeconfig)?,
            version,
            timeout: TIMEOUT,
            ttls: (
                flags.webhook_cache_authorized_ttl.unwrap_or(AUTHORIZED_TTL),
                flags.webhook_cache_unauthorized_ttl.unwrap_or(UNAUTHORIZED_TTL),
            ),
            denies_on_error: false,
            conditions: Conditions::default(),
        }))
    }

    /// What the webhook says.
    pub(crate) async fn decide(&self, app: &App, user: &User, request: &Attributes) -> Opinion {
        match self.answer(app, user, request).await {
            Ok(Some(answer)) => answer.opinion(),
            Ok(None) => Opinion::none(""),
            Err(error) if self.settings.denies_on_error => Opinion::Deny { reason: String::new(), error },
            Err(error) => Opinion::None { reason: String::new(), error },
        }
    }

    /// Its answer; nothing where it is not to be asked.
    async fn answer(&self, app: &App, user: &User, request: &Attributes) -> Result<Option<Answer>, String> {
        let Settings { name, version, conditions, ttls, .. } = &self.settings;
        if !conditions.is_empty() {
            let (began, seen) = (Instant::now(), seen(user, request));
            let hold = conditions.hold(&Bindings::new().json("request", &seen));
            app.metrics.judges.conditions(name, &hold, began.elapsed());
            if !hold? {
                return Ok(None);
            }
        }
        let spec = spec(user, request, version);
        let key = spec.to_string();
        if let Some(known) = self.answers.get(&key) {
            return Ok(Some(known));
        }
        let answer = self.ask(app, spec).await.inspect_err(|why| {
            error!(why, "the webhook that authorises cannot be asked: check its kubeconfig and whether it runs");
        })?;
        if is_short(request) {
            self.answers.keep(key, answer.clone(), if answer.allowed { ttls.0 } else { ttls.1 });
        }
        Ok(Some(answer))
    }

    async fn ask(&self, app: &App, spec: Value) -> Result<Answer, String> {
        let Settings { name, place, version, timeout, .. } = &self.settings;
        let review = json!({
            "kind": KIND, "apiVersion": api_version(version), "metadata": {}, "spec": spec, "status": {"allowed": false},
        });
        let began = Instant::now();
        let answer = app.webhooks.call_patiently(app, place, &review, *timeout, PAUSE).await;
        let late = matches!(&answer, Err(status) if status.code == StatusCode::GATEWAY_TIMEOUT.as_u16());
        let answer = answer.map_err(|status| status.message).and_then(|review| Answer::read(&review, version));
        let answered = match (&answer, late) {
            (Ok(_), _) => Answered::Success,
            (Err(_), true) => Answered::Timeout,
            (Err(_), false) => Answered::Error,
        };
        app.metrics.judges.asked(name, answered, began.elapsed());
        if answered != Answered::Success && !self.settings.denies_on_error {
            app.metrics.judges.failed_open(name, answered);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::selector::{FieldSelector, LabelSelector};

    use super::*;

    #[test]
    fn a_question_says_what_is_asked() {
        let mut user = User::new("alice", &["dev"]);
        let request = Attributes {
            verb: "list".to_owned(),
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
            namespace: "a".to_owned(),
            fields: Required::of_fields(&FieldSelector::parse("spec.nodeName=n,status.phase!=Failed").expect("good")),
            labels: Required::of_labels(&LabelSelector::parse("a=b,!c,d in (e,f),g>1").expect("good")),
            ..Attributes::default()
        };
        let fields = json!([
            {"key": "spec.nodeName", "operator": "In", "values": ["n"]},
            {"key": "status.phase", "operator": "NotIn", "values": ["Failed"]},
        ]);
        let labels = json!([
            {"key": "a", "operator": "In", "values": ["b"]},
            {"key": "c", "operator": "DoesNotExist"},
            {"key": "d", "operator": "In", "values": ["e", "f"]},
        ]);
        let attributes = json!({
            "verb": "list", "version": "v1", "resource": "pods", "namespace": "a",
            "fieldSelector": {"requirements": fields}, "labelSelector": {"requirements": labels},
        });
        let groups = json!(["dev", "system:authenticated"]);
        let expected = json!({"user": "alice", "groups": groups, "resourceAttributes": attributes});
        assert_eq!(spec(&user, &request, "v1"), expected);
        user.extra.insert("scope".to_owned(), vec!["x".to_owned()]);
        user.uid = "7".to_owned();
        let path = Attributes { verb: "get".to_owned(), path: Some("/metrics".to_owned()), ..Attributes::default() };
        let expected = json!({
            "user": "alice", "uid": "7", "group": groups, "extra": {"scope": ["x"]},
            "nonResourceAttributes": {"verb": "get", "path": "/metrics"},
        });
        assert_eq!(spec(&user, &path, "v1beta1"), expected);
        assert_eq!(seen(&user, &request)["resourceAttributes"]["subresource"], "");
        assert!(is_short(&request));
        assert!(!is_short(&Attributes { name: "x".repeat(CHOSEN_BYTES_MAX), ..request }));
    }

    #[test]
    fn an_answer_allows_denies_or_leaves_it_to_others() {
        let check = |status: Value, expected: Result<Opinion, &str>| {
            let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": KIND, "status": status});
            let found = Answer::read(&review, "v1").map(Answer::opinion);
            assert_eq!(found, expected.map_err(str::to_owned), "{review}");
        };
        let text = str::to_owned;
        check(json!({"allowed": true, "reason": "r"}), Ok(Opinion::Allow(text("r"))));
        check(json!({"allowed": false, "reason": "r"}), Ok(Opinion::none("r")));
        check(json!({"denied": true, "reason": "r"}), Ok(Opinion::Deny { reason: text("r"), error: String::new() }));
        let both = "webhook subject access review returned both allow and deny response";
        check(json!({"allowed": true, "denied": true}), Ok(Opinion::Deny { reason: String::new(), error: text(both) }));
        let other = json!({"apiVersion": "authorization.k8s.io/v1beta1", "kind": KIND, "status": {"allowed": true}});
        assert!(Answer::read(&other, "v1").expect_err("another version").contains("is registered"));
    }
}
