//! `ImagePolicyWebhook`: a server of the operator's judges the images of pods, by an ImageReview.

mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use serde_json::json;
use tracing::debug;

pub(super) use self::settings::{ImagePolicy, Settings};
use super::{Operation, Plugin, Request};
use crate::app::App;
use crate::webhooks::Answers;

const VERSION: &str = "imagepolicy.k8s.io/v1alpha1";
const KIND: &str = "ImageReview";
/// Where pods say what their images' judge should know, and where its remarks go in the audit log.
const ANNOTATIONS: &str = ".image-policy.k8s.io/";
const AUDIT: &str = "imagepolicywebhook.image-policy.k8s.io/";
/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Answers that are remembered.
const ANSWERS_MAX: usize = 1024;

/// What the judge says.
#[derive(Debug, Clone)]
struct Verdict {
    allowed: bool,
    /// Empty: none was given.
    reason: String,
    /// For the audit log.
    annotations: BTreeMap<String, String>,
}

/// The plugin; without settings it never asks, and the server does not start with it on.
pub(super) struct ImagePolicyWebhook {
    settings: Option<Settings>,
    answers: Answers<Verdict>,
}

/// The ImageReview's spec; nothing where the request brings no images.
fn spec(request: &Request<'_>, pod: &Value) -> Option<Value> {
    let target = request.target;
    if !target.kind.is("", "Pod") || !matches!(request.operation, Operation::Create | Operation::Update) {
        return None;
    }
    let lists: &[&str] = match target.subresource {
        "" => &["containers", "initContainers"],
        "ephemeralcontainers" => &["ephemeralContainers"],
        _ => return None,
    };
    let containers = lists.iter().flat_map(|list| value::list_at(pod, &format!("spec.{list}")));
    let images: Vec<Value> =
        containers.map(|c| json!({"image": value::str_at(c, "image").unwrap_or_default()})).collect();
    let annotations = value::map_at(pod, "metadata.annotations").into_iter().flatten();
    let annotations: BTreeMap<&String, &Value> = annotations.filter(|(key, _)| key.contains(ANNOTATIONS)).collect();
    let mut spec = json!({"namespace": target.namespace});
    if !images.is_empty() {
        spec["containers"] = images.into();
    }
    if !annotations.is_empty() {
        spec["annotations"] = json!(annotations);
    }
    Some(spec)
}

/// What the judge says, from its answer.
fn verdict(review: &Value) -> Result<Verdict, String> {
    let text = |path: &str| value::str_at(review, path).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let other = |found: &str, wanted: &str| !found.is_empty() && found != wanted;
    if other(version, VERSION) || other(kind, KIND) {
        return Err(format!("no kind {kind:?} is registered for version {version:?}: want {KIND} of {VERSION}"));
    }
    let notes = value::map_at(review, "status.auditAnnotations").into_iter().flatten();
    Ok(Verdict {
        allowed: value::bool_at(review, "status.allowed"),
        reason: text("status.reason").to_owned(),
        annotations: notes.filter_map(|(key, note)| Some((key.clone(), note.as_str()?.to_owned()))).collect(),
    })
}

/// Asks the judge, again where it may help.
async fn ask(app: &App, settings: &Settings, spec: &Value) -> Result<Verdict, String> {
    let review = json!({
        "kind": KIND, "apiVersion": VERSION, "metadata": {}, "spec": spec, "status": {"allowed": false},
    });
    let answer = app.webhooks.call_patiently(app, &settings.place, &review, TIMEOUT, settings.retry_backoff).await;
    answer.map_err(|status| status.message).and_then(|answer| verdict(&answer))
}

impl ImagePolicyWebhook {
    pub(super) fn new(settings: Option<Settings>) -> Self {
        Self { settings, answers: Answers::new(ANSWERS_MAX) }
    }
}

#[async_trait]
impl Plugin for ImagePolicyWebhook {
    fn name(&self) -> &'static str {
        "ImagePolicyWebhook"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let Some(settings) = &self.settings else { return Ok(()) };
        let Some(spec) = spec(request, object) else { return Ok(()) };
        let key = spec.to_string();
        let notes = &request.caller.notes;
        let verdict = match self.answers.get(&key) {
            Some(known) => known,
            None => match ask(request.app, settings, &spec).await {
                Ok(verdict) => {
                    let ttl = if verdict.allowed { settings.allow_ttl } else { settings.deny_ttl };
                    self.answers.keep(key, verdict.clone(), ttl);
                    verdict
                }
                Err(why) if settings.default_allow => {
                    debug!(why, "images cannot be judged, the pod passes");
                    notes.annotate(&format!("{AUDIT}failed-open"), "true");
                    return Ok(());
                }
                Err(why) => return Err(request.forbidden(&why)),
            },
        };
        for (key, text) in &verdict.annotations {
            notes.annotate(&format!("{AUDIT}{key}"), text);
        }
        match verdict.reason.as_str() {
            _ if verdict.allowed => Ok(()),
            "" => Err(request.forbidden("one or more images rejected by webhook backend")),
            why => Err(request.forbidden(&format!("image policy webhook backend denied one or more images: {why}"))),
        }
    }
}
