//! What expressions ask of the outside: the authoriser.

/// Answers the questions of expressions.
pub trait Host {
    /// Whether somebody may do something. Called for each `check(..)`, at most twice in one expression because of its cost.
    fn check(&self, check: &Check) -> Decision;
}

/// A question that is put together call by call (`authorizer.group('').resource('pods').check('get')`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// Who: a service account (namespace, name), or `None` for whoever made the request.
    pub service_account: Option<(String, String)>,
    /// What.
    pub subject: Subject,
    /// Verb, set when the question is asked.
    pub verb: String,
    /// The answer, once there is one.
    pub decision: Option<Decision>,
}

/// What a [`Check`] is about, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Subject {
    /// Nothing yet: `authorizer`.
    #[default]
    Nothing,
    /// A path that is no resource: `authorizer.path('/healthz')`.
    Path(String),
    /// An API group: `authorizer.group('apps')`.
    Group(String),
    /// A resource.
    Resource(ResourceCheck),
}

/// A resource that rights are asked for; what is not said is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceCheck {
    /// API group.
    pub group: String,
    /// Resource (plural).
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Field selector, not parsed.
    pub field_selector: String,
    /// Label selector, not parsed.
    pub label_selector: String,
}

/// The authoriser's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, for people.
    pub reason: String,
    /// What went wrong while deciding.
    pub error: Option<String>,
}

/// Name of the type of `authorizer`.
pub const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
/// Name of the type of `authorizer.requestResource`.
pub const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";

impl Check {
    /// A question about a resource, as `authorizer.requestResource` starts with.
    #[must_use]
    pub fn resource(resource: ResourceCheck) -> Self {
        Self { subject: Subject::Resource(resource), ..Self::default() }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        if self.decision.is_some() {
            return "kubernetes.authorization.Decision";
        }
        match self.subject {
            Subject::Nothing => AUTHORIZER,
            Subject::Path(_) => "kubernetes.authorization.PathCheck",
            Subject::Group(_) => "kubernetes.authorization.GroupCheck",
            Subject::Resource(_) => RESOURCE_CHECK,
        }
    }
}
