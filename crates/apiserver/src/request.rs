//! A request as the pipeline sees it, wherever it came from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gantry_api::field::{Error, Path};
use gantry_api::kinds::{Kind, Subresource};
use gantry_api::status::Status;
use http::HeaderMap;
use parking_lot::Mutex;

use crate::auth::User;
use crate::metrics::flows::Flow;

/// The proof of an elected leader that it still leads: its fence key must not have changed since this revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) revision: u64,
}

impl Fence {
    /// The fence that a request's headers name.
    ///
    /// # Errors
    /// As [`Fence::parse`].
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Status> {
        let text = headers.get("gantry-fence").map(|value| String::from_utf8_lossy(value.as_bytes()));
        text.filter(|text| !text.is_empty()).map(|text| Self::parse(&text)).transpose()
    }

    /// Reads `<namespace>/<lease>@<revision>`.
    ///
    /// # Errors
    /// 400 for anything else: a fence that is not understood must not be left out.
    pub(crate) fn parse(text: &str) -> Result<Self, Status> {
        let parse = || {
            let (lease, revision) = text.split_once('@')?;
            let (namespace, name) = lease.split_once('/')?;
            let revision = revision.parse().ok().filter(|r| *r > 0)?;
            let plain = |s: &str| !s.is_empty() && !s.contains('/');
            (plain(namespace) && plain(name)).then(|| Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                revision,
            })
        };
        parse().ok_or_else(|| {
            Status::bad_request(format!("gantry-fence {text:?} is not of the form <namespace>/<lease>@<revision>"))
        })
    }

    /// The key that a takeover changes.
    pub(crate) fn key(&self) -> String {
        fence_key(&self.namespace, &self.name)
    }
}

/// The key that a takeover of a Lease changes.
pub(crate) fn fence_key(namespace: &str, name: &str) -> String {
    format!("/registry/gantry.dev/fences/{namespace}/{name}")
}

/// Warnings of one request that are kept at most.
const WARNINGS_MAX: usize = 64;
/// Audit annotations of one request that are kept at most.
const ANNOTATIONS_MAX: usize = 256;

/// What webhooks and policies say of a request besides yes or no, whether it succeeds or not.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    warnings: Mutex<Vec<String>>,
    annotations: Mutex<BTreeMap<String, String>>,
    /// Nanoseconds that others took: webhooks, and those before it in the queue.
    waited: AtomicU64,
    refused: AtomicBool,
    goes_on: AtomicBool,
}

impl Notes {
    /// Tells the client something, once.
    pub(crate) fn warn(&self, text: &str) {
        let mut warnings = self.warnings.lock();
        if !text.is_empty() && warnings.len() < WARNINGS_MAX && !warnings.iter().any(|w| w == text) {
            warnings.push(text.to_owned());
        }
    }

    /// Adds an audit annotation; what was said first stays.
    pub(crate) fn annotate(&self, key: &str, value: &str) {
        let mut annotations = self.annotations.lock();
        if annotations.len() < ANNOTATIONS_MAX {
            annotations.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }

    /// The request has waited for others.
    pub(crate) fn wait(&self, took: Duration) {
        self.waited.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long it has waited for others.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    /// There was no place for it.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whether there was no place for it.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// It goes on after its answer has begun, and is counted when it ends.
    pub(crate) fn go_on(&self) {
        self.goes_on.store(true, Ordering::Relaxed);
    }

    /// Whether it goes on after its answer has begun.
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on.load(Ordering::Relaxed)
    }

    /// What the client is told.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().clone()
    }

    /// What the audit log is told.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        self.annotations.lock().clone()
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail {
    /// What the client is told in `Audit-ID`.
    pub(crate) audit_id: String,
    pub(crate) source: Option<IpAddr>,
    /// Who authenticated, where the request acts as somebody else.
    pub(crate) impersonator: Option<User>,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: User,
    pub(crate) agent: String,
    pub(crate) fence: Option<Fence>,
    /// Of the request that is being served.
    pub(crate) notes: Arc<Notes>,
    /// What the audit log says of the request.
    pub(crate) trail: Arc<Trail>,
    /// The API server itself, which no webhook may keep from starting.
    pub(crate) internal: bool,
    /// The request has its place among those in flight already.
    pub(crate) seated: bool,
    /// Figures of the flow to which the request belongs, where that was asked for.
    pub(crate) flow: Option<Arc<Flow>>,
}

impl Caller {
    /// A caller from outside.
    pub(crate) fn new(user: User, agent: &str, fence: Option<Fence>) -> Self {
        let (notes, trail) = Default::default();
        Self { user, agent: agent.to_owned(), fence, notes, trail, internal: false, seated: false, flow: None }
    }

    /// The API server itself.
    pub(crate) fn apiserver() -> Self {
        Self { internal: true, ..Self::new(User::apiserver(), "gantry-apiserver", None) }
    }

    /// The same caller with another request.
    pub(crate) fn anew(&self) -> Self {
        Self { notes: Arc::default(), ..self.clone() }
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: &'static str,
}

impl Target {
    /// An object, or all of a kind where `name` is empty.
    pub(crate) fn new(kind: impl Into<Kind>, namespace: &str, name: &str) -> Self {
        Self { kind: kind.into(), namespace: namespace.to_owned(), name: name.to_owned(), subresource: "" }
    }

    /// The etcd key.
    pub(crate) fn key(&self) -> String {
        self.kind.storage_key(&self.namespace, &self.name)
    }

    /// What discovery knows of the subresource.
    pub(crate) fn sub(&self) -> Option<&Subresource> {
        if self.subresource.is_empty() { None } else { self.kind.subresource(self.subresource) }
    }

    /// 409: the name is taken.
    pub(crate) fn exists(&self) -> Status {
        Status::already_exists(self.kind.group, self.kind.resource, &self.name)
    }

    /// 404 for this object.
    pub(crate) fn not_found(&self) -> Status {
        Status::not_found(self.kind.group, self.kind.resource, &self.name)
    }

    /// 409 for this object.
    pub(crate) fn stale(&self) -> Status {
        Status::stale(self.kind.group, self.kind.resource, &self.name)
    }
}

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// A body.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) format: Format,
}

impl Payload {
    pub(crate) fn json(bytes: Bytes) -> Self {
        Self { bytes, format: Format::Json }
    }
}

/// What to do about fields that the type does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl FieldValidation {
    /// Reads the parameter; `""` is `default`.
    ///
    /// # Errors
    /// For another word, as upstream.
    pub(crate) fn parse(text: &str, default: Self) -> Result<Self, Error> {
        match text {
            "" => Ok(default),
            "Ignore" => Ok(Self::Ignore),
            "Warn" => Ok(Self::Warn),
            "Strict" => Ok(Self::Strict),
            other => Err(Error::not_supported(&Path::new("fieldValidation"), other, &["", "Ignore", "Strict", "Warn"])),
        }
    }
}

/// Options of a write.
#[derive(Debug, Clone)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    /// Empty: the user agent up to its slash.
    pub(crate) field_manager: String,
    pub(crate) field_validation: FieldValidation,
    /// A server-side apply: the object brings its managed fields.
    pub(crate) applies: bool,
    /// A PATCH, whatever it is applied by: for rights that are asked for by the verb.
    pub(crate) patches: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            field_manager: String::new(),
            field_validation: FieldValidation::Warn,
            applies: false,
            patches: false,
        }
    }
}

/// Longest name of a field manager, in bytes (upstream's limit).
const FIELD_MANAGER_MAX: usize = 128;

impl WriteOptions {
    /// The manager to stamp.
    pub(crate) fn manager<'a>(&'a self, caller: &'a Caller) -> &'a str {
        if self.field_manager.is_empty() {
            let name = caller.agent.split('/').next().unwrap_or_default();
            let end = name.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|i| *i <= FIELD_MANAGER_MAX).last();
            return &name[..end.unwrap_or(0)];
        }
        &self.field_manager
    }

    /// Checks what the client chose.
    ///
    /// # Errors
    /// 422 for a manager's name that is too long or not printable.
    pub(crate) fn check(&self, options_kind: &str) -> Result<(), Status> {
        let errors = manager_errors(&self.field_manager);
        if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", options_kind, "", &errors)) }
    }
}

/// What is wrong with the name of a field manager: its length, and each character that is not printable.
pub(crate) fn manager_errors(manager: &str) -> Vec<Error> {
    let path = Path::new("fieldManager");
    let length = (manager.len() > FIELD_MANAGER_MAX).then(|| Error::too_long(&path, FIELD_MANAGER_MAX));
    let odd = manager.char_indices().filter(|(_, c)| !gantry_api::go::printable(*c));
    let odd = odd.map(|(at, c)| {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        Error::invalid(&path, manager, &why)
    });
    length.into_iter().chain(odd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_are_read_or_refused() {
        let fence = Fence::parse("kube-system/kube-scheduler@42").expect("valid");
        assert_eq!(
            (fence.revision, fence.key().as_str()),
            (42, "/registry/gantry.dev/fences/kube-system/kube-scheduler")
        );
        for bad in ["", "a/b", "a@1", "a/b@x", "a/b@0", "/b@1", "a/b/c@1"] {
            assert!(Fence::parse(bad).is_err(), "{bad}");
        }
        let of = |bytes: &[u8]| {
            let value = http::HeaderValue::from_bytes(bytes).expect("a header");
            Fence::of(&HeaderMap::from_iter([(http::HeaderName::from_static("gantry-fence"), value)]))
        };
        assert_eq!(Fence::of(&HeaderMap::new()), Ok(None));
        assert_eq!(of(b"kube-system/kube-scheduler@42"), Ok(Some(fence)));
        assert_eq!(of("a/ü@1".as_bytes()).map(|fence| fence.map(|f| f.name)), Ok(Some("ü".to_owned())));
        assert!(of(b"\xff").is_err(), "what is not understood is not left out");
    }

    #[test]
    fn the_manager_defaults_to_the_agent() {
        let mut caller = Caller::apiserver();
        "kubectl/v1.36 (linux)".clone_into(&mut caller.agent);
        assert_eq!(WriteOptions::default().manager(&caller), "kubectl");
        let named = WriteOptions { field_manager: "me".to_owned(), ..WriteOptions::default() };
        assert_eq!(named.manager(&caller), "me");
        let long = WriteOptions { field_manager: "x".repeat(129), ..WriteOptions::default() };
        assert!(long.check("CreateOptions").is_err());
    }
}
