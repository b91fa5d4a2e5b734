//! The decision: system:masters, then the node authoriser, then roles.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use tokio::sync::watch;
use tokio::time::Instant;

use super::index::{Index, aggregated};
use super::node::{self, Graph};
use super::rule::Attributes;
use crate::auth::{MASTERS, User};
use crate::config::AuthorizationMode;
use crate::metrics::access::{Authorization, By};

/// What those who showed nothing may do where a role lets them: nobody writes without a name, whatever is bound to whom.
const OF_NOBODY: &[&str] = &["get", "list", "watch", "head"];

/// Decides; cheap to ask.
pub(crate) struct Authorizer {
    modes: Vec<AuthorizationMode>,
    index: ArcSwap<Index>,
    graph: Arc<dyn Graph + Send + Sync>,
    /// Whether the index has been filled: before that everybody would be refused.
    known: watch::Sender<bool>,
    /// Counts the pictures, so that whoever holds a right can see that it may have ended.
    changes: watch::Sender<u64>,
    /// What was decided.
    pub(crate) figures: Authorization,
}

/// Yes, or no and why.
pub(crate) type Decision = Result<(), String>;

/// What a user may do. [`Authorizer::allow`] alone makes one, so whoever holds it need not ask again.
pub(crate) struct Allowed<'u> {
    request: Attributes,
    /// Whose right it is.
    user: PhantomData<&'u User>,
}

impl Allowed<'_> {
    /// What.
    pub(crate) fn verb(&self) -> &str {
        &self.request.verb
    }
}

impl Authorizer {
    pub(crate) fn new(modes: Vec<AuthorizationMode>, graph: Arc<dyn Graph + Send + Sync>) -> Self {
        Self {
            modes,
            index: ArcSwap::from_pointee(Index::default()),
            graph,
            known: watch::Sender::new(false),
            changes: watch::Sender::new(0),
            figures: Authorization::default(),
        }
    }

    /// Says that roles and bindings have been read.
    pub(crate) fn set_known(&self) {
        self.known.send_replace(true);
    }

    /// Waits until roles and bindings have been read, at most for `wait`; says whether they are.
    pub(crate) async fn known(&self, wait: Duration) -> bool {
        if *self.known.borrow() {
            return true;
        }
        let mut known = self.known.subscribe();
        tokio::time::timeout(wait, known.wait_for(|k| *k)).await.is_ok_and(|r| r.is_ok())
    }

    /// Takes a new picture of roles and bindings.
    pub(crate) fn replace(&self, index: Index) {
        self.index.store(Arc::new(index));
        self.changes.send_modify(|n| *n += 1);
    }

    /// Wakes up whenever roles or bindings have changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The present picture.
    pub(crate) fn index(&self) -> Arc<Index> {
        self.index.load_full()
    }

    /// Decides on one request; the text says why not, as upstream's `reason` (mostly empty).
    pub(crate) fn decide(&self, user: &User, request: &Attributes) -> Decision {
        if user.in_group(MASTERS) {
            return Ok(());
        }
        if user.is_anonymous() && !OF_NOBODY.contains(&request.verb.as_str()) {
            return Err(String::new());
        }
        let mut why = String::new();
        let mut because = |reason: &str| {
            if !why.is_empty() && !reason.is_empty() {
                why.push('\n');
            }
            why.push_str(reason);
        };
        for mode in &self.modes {
            match mode {
                AuthorizationMode::Node => {
                    let Some(node) = user.node() else { continue };
                    match node::decide(node, request, self.graph.as_ref()) {
                        Ok(()) => {
                            self.figures.allowed(By::Node);
                            return Ok(());
                        }
                        Err(reason) => because(&reason),
                    }
                }
                AuthorizationMode::Rbac => {
                    let index = self.index.load();
                    if index.allows(user, request) {
                        self.figures.allowed(By::Rbac);
                        return Ok(());
                    }
                    because(&unresolved(&index, user, &request.namespace));
                }
            }
        }
        Err(why)
    }

    /// Why a request that [`Authorizer::decide`] allows is allowed, in upstream's words; empty for the mighty.
    pub(crate) fn reason(&self, user: &User, request: &Attributes) -> String {
        if user.in_group(MASTERS) {
            return String::new();
        }
        for mode in &self.modes {
            match mode {
                AuthorizationMode::Node => {
                    // It says nothing where it allows.
                    let may = |node| node::decide(node, request, self.graph.as_ref()).is_ok();
                    if user.node().is_some_and(may) {
                        return String::new();
                    }
                }
                AuthorizationMode::Rbac => {
                    if let Some(text) = self.index.load().reason(user, request) {
                        return format!("RBAC: allowed by {text}");
                    }
                }
            }
        }
        String::new()
    }

    /// As [`Authorizer::require`], with what was allowed.
    ///
    /// # Errors
    /// As [`Authorizer::require`].
    pub(crate) fn allow<'u>(&self, user: &'u User, request: Attributes) -> Result<Allowed<'u>, Status> {
        self.require(user, &request)?;
        Ok(Allowed { request, user: PhantomData })
    }

    /// As [`Authorizer::decide`], with the Status that a client gets.
    ///
    /// # Errors
    /// 403 in upstream's words.
    pub(crate) fn require(&self, user: &User, request: &Attributes) -> Result<(), Status> {
        let began = Instant::now();
        let decision = self.decide(user, request);
        self.figures.asked(decision.is_ok(), began.elapsed());
        decision.map_err(|why| refused(user, request, &why))
    }
}

/// What roles that are bound but not there may have to do with a refusal, in upstream's words.
fn unresolved(index: &Index, user: &User, namespace: &str) -> String {
    let missing = index.missing(user, namespace);
    if missing.is_empty() {
        return String::new();
    }
    format!("RBAC: {}", aggregated(missing.iter().map(|missing| missing.text(None)).collect()))
}

/// 403 in upstream's words.
pub(crate) fn refused(user: &User, request: &Attributes, why: &str) -> Status {
    let mut text = request.refusal(&user.name);
    if !why.is_empty() {
        text = format!("{text}: {why}");
    }
    if let Some(path) = &request.path {
        let _ = path;
        let mut status = Status::forbidden("", "", "", &text);
        status.details = Some(gantry_api::status::Details::default());
        return status;
    }
    let mut status = Status::forbidden(&request.group, &request.resource, &request.name, &text);
    if let Some(details) = &mut status.details {
        request.resource.clone_into(&mut details.kind);
    }
    status
}

/// The namespace of a request about an object: one about a Namespace is in that namespace, as upstream's are, so that a role
/// bound in it is enough.
pub(crate) fn namespace_of<'a>((group, resource): (&str, &str), namespace: &'a str, name: &'a str) -> &'a str {
    if (group, resource) == ("", "namespaces") { name } else { namespace }
}

/// The request attributes of `verb` on an object of `kind`.
pub(crate) fn on(kind: &KindInfo, verb: &str, namespace: &str, name: &str, subresource: &str) -> Attributes {
    let namespace = namespace_of((kind.group, kind.resource), namespace, name);
    Attributes {
        verb: verb.to_owned(),
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        resource: kind.resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        node_selector: String::new(),
        path: None,
    }
}
