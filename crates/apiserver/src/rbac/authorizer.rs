//! The decision: system:masters, then those whom the operator has named, in their order.

use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_common::metrics::{Page, float};
use tokio::sync::watch;
use tokio::time::Instant;

use super::index::{Index, aggregated};
use super::node::{self, Graph};
use super::rule::{Attributes, Rule};
use crate::app::App;
use crate::auth::{MASTERS, User};
use crate::authorize::{Judge, Link, Opinion};
use crate::metrics::access::{Authorization, Outcome};

/// What those who showed nothing may do where a role lets them: nobody writes without a name, whatever is bound to whom.
const OF_NOBODY: &[&str] = &["get", "list", "watch", "head"];

/// Decides.
pub(crate) struct Authorizer {
    /// Who is asked, in this order.
    chain: ArcSwap<Vec<Link>>,
    index: ArcSwap<Index>,
    graph: Arc<dyn Graph + Send + Sync>,
    /// Whether the index has been filled: before that everybody would be refused.
    known: watch::Sender<bool>,
    /// Counts the pictures, so that whoever holds a right can see that it may have ended.
    changes: watch::Sender<u64>,
    figures: Authorization,
}

/// Why something is not allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// One of those who decide said no, so that nobody else was asked. Otherwise nobody said yes.
    pub(crate) denied: bool,
    /// Upstream's `reason`; mostly empty.
    pub(crate) reason: String,
    /// What went wrong while deciding; mostly nothing.
    pub(crate) error: String,
}

impl Refusal {
    /// Reason and error, as Go prints both.
    pub(crate) fn shown(&self) -> String {
        format!("{}, {}", self.reason, if self.error.is_empty() { "<nil>" } else { &self.error })
    }
}

/// Yes, or no and why.
pub(crate) type Decision = Result<(), Refusal>;

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

/// What somebody may do in a namespace, as far as those who decide can say.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) rules: Vec<Rule>,
    /// There may be more.
    pub(crate) incomplete: bool,
    pub(crate) errors: Vec<String>,
}

impl Authorizer {
    pub(crate) fn new(chain: Vec<Link>, graph: Arc<dyn Graph + Send + Sync>) -> Self {
        Self {
            chain: ArcSwap::from_pointee(chain),
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

    /// Lets others decide. Who decided before, under the same name, goes on counting.
    pub(crate) fn replace_chain(&self, mut chain: Vec<Link>) {
        let before = self.chain.load();
        for link in &mut chain {
            let same = |old: &&Link| (old.kind(), &old.name) == (link.kind(), &link.name);
            if let Some(old) = before.iter().find(same) {
                link.decided = old.decided.clone();
            }
        }
        self.chain.store(Arc::new(chain));
        self.changes.send_modify(|n| *n += 1);
    }

    /// Wakes up whenever roles or bindings have changed, or who decides.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The present picture.
    pub(crate) fn index(&self) -> Arc<Index> {
        self.index.load_full()
    }

    /// Shows what was decided.
    pub(crate) fn render(&self, page: &mut Page) {
        self.figures.render(page);
        let help = "[ALPHA] Decisions that were the last word, by who decided.";
        let mut family = page.family("apiserver_authorization_decisions_total", "counter", help);
        for link in self.chain.load().iter() {
            for (decision, count) in [("allowed", &link.decided.allowed), ("denied", &link.decided.denied)] {
                if count.get() > 0 {
                    let labels = [("decision", decision), ("name", link.name.as_str()), ("type", link.kind())];
                    family.sample(&labels, float(count.get()));
                }
            }
        }
    }

    /// Decides on one request.
    pub(crate) async fn decide(&self, app: &App, user: &User, request: &Attributes) -> Decision {
        self.judge(app, user, request, false).await.map(drop)
    }

    /// As [`Authorizer::decide`]; where it allows it says why, in upstream's words, which takes longer. Empty for the mighty.
    pub(crate) async fn explain(&self, app: &App, user: &User, request: &Attributes) -> Result<String, Refusal> {
        self.judge(app, user, request, true).await
    }

    /// As [`Authorizer::explain`], for expressions, which cannot wait. Where a webhook has to be asked this thread waits, and
    /// the runtime, which must have several, gives its other work to another one.
    pub(crate) fn decide_here(&self, app: &App, user: &User, request: &Attributes) -> Result<String, Refusal> {
        let mut decision = pin!(self.explain(app, user, request));
        match decision.as_mut().now_or_never() {
            Some(decided) => decided,
            None => tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(decision)),
        }
    }

    async fn judge(&self, app: &App, user: &User, request: &Attributes, explain: bool) -> Result<String, Refusal> {
        if user.in_group(MASTERS) {
            return Ok(String::new());
        }
        if user.is_anonymous() && !OF_NOBODY.contains(&request.verb.as_str()) {
            return Err(Refusal::default());
        }
        let (mut reason, mut errors) = (String::new(), Vec::new());
        for link in self.chain.load_full().iter() {
            let opinion = match &link.judge {
                Judge::Node => self.node(user, request),
                Judge::Rbac => self.roles(user, request, explain),
                Judge::AlwaysAllow => Opinion::Allow(String::new()),
                Judge::AlwaysDeny => Opinion::none("Everything is forbidden."),
                Judge::Abac(policies) => policies.decide(user, request),
                Judge::Webhook(webhook) => Box::pin(webhook.decide(app, user, request)).await,
            };
            match opinion {
                Opinion::Allow(why) => {
                    link.decided.allowed.add(1);
                    return Ok(why);
                }
                Opinion::Deny { reason, error } => {
                    link.decided.denied.add(1);
                    return Err(Refusal { denied: true, reason, error });
                }
                Opinion::None { reason: why, error } => {
                    if !reason.is_empty() && !why.is_empty() {
                        reason.push('\n');
                    }
                    reason.push_str(&why);
                    errors.extend(Some(error).filter(|error| !error.is_empty()));
                }
            }
        }
        Err(Refusal { denied: false, reason, error: aggregated(errors) })
    }

    fn node(&self, user: &User, request: &Attributes) -> Opinion {
        let Some(node) = user.node() else { return Opinion::none("") };
        match node::decide(node, request, self.graph.as_ref()) {
            // It says nothing where it allows.
            Ok(()) => Opinion::Allow(String::new()),
            Err(why) => Opinion::none(why),
        }
    }

    fn roles(&self, user: &User, request: &Attributes, explain: bool) -> Opinion {
        let index = self.index.load();
        if !index.allows(user, request) {
            return Opinion::none(unresolved(&index, user, &request.namespace));
        }
        let why = explain.then(|| index.reason(user, request)).flatten();
        Opinion::Allow(why.map(|text| format!("RBAC: allowed by {text}")).unwrap_or_default())
    }

    /// What the user may do in a namespace, as far as those who decide can say.
    pub(crate) fn held(&self, user: &User, namespace: &str) -> Held {
        let mut held = Held::default();
        let untold = |held: &mut Held, who: &str| {
            held.incomplete = true;
            held.errors.push(format!("{who} authorizer does not support user rule resolution"));
        };
        for link in self.chain.load().iter() {
            match &link.judge {
                // What a node may do depends on its pods.
                Judge::Node if user.node().is_some() => untold(&mut held, "node"),
                Judge::Node | Judge::AlwaysDeny => {}
                Judge::Rbac => {
                    let index = self.index.load();
                    held.rules.extend(index.rules_of(user, namespace));
                    held.errors.extend(index.missing(user, namespace).into_iter().map(|missing| missing.text(None)));
                }
                Judge::AlwaysAllow => held.rules.extend(Rule::everything()),
                Judge::Abac(policies) => held.rules.extend(policies.rules_of(user, namespace)),
                Judge::Webhook(_) => untold(&mut held, "webhook"),
            }
        }
        held
    }

    /// As [`Authorizer::require`], with what was allowed.
    ///
    /// # Errors
    /// As [`Authorizer::require`].
    pub(crate) async fn allow<'u>(
        &self,
        app: &App,
        user: &'u User,
        request: Attributes,
    ) -> Result<Allowed<'u>, Status> {
        self.require(app, user, &request).await?;
        Ok(Allowed { request, user: PhantomData })
    }

    /// As [`Authorizer::decide`], with the Status that a client gets.
    ///
    /// # Errors
    /// 403 in upstream's words, and 500 where it could not be decided.
    pub(crate) async fn require(&self, app: &App, user: &User, request: &Attributes) -> Result<(), Status> {
        let began = Instant::now();
        let decision = self.decide(app, user, request).await;
        let result = match &decision {
            Ok(()) => Outcome::Allowed,
            Err(Refusal { error, .. }) if !error.is_empty() => Outcome::Error,
            Err(Refusal { denied: true, .. }) => Outcome::Denied,
            Err(_) => Outcome::NoOpinion,
        };
        self.figures.asked(result, began.elapsed());
        decision.map_err(|refusal| refused(user, request, &refusal))
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

/// 403 in upstream's words; 500 where those who decide could not.
pub(crate) fn refused(user: &User, request: &Attributes, refusal: &Refusal) -> Status {
    if !refusal.error.is_empty() {
        return Status::internal(&refusal.error);
    }
    let why = &refusal.reason;
    let mut text = request.refusal(&user.name);
    if !why.is_empty() {
        text = format!("{text}: {why}");
    }
    if request.path.is_some() {
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
        ..Attributes::default()
    }
}
