//! Who is calling: client certificates, static tokens, service-account tokens, impersonation.

use std::collections::BTreeMap;

use gantry_api::names;
use gantry_api::status::Status;
use http::{HeaderName, HeaderValue};

pub(crate) mod anchors;
pub(crate) mod authenticator;
pub(crate) mod bootstrap_token;
pub(crate) mod certificate;
pub(crate) mod constrained;
pub(crate) mod credential;
pub(crate) mod impersonation;
pub(crate) mod legacy;
pub(crate) mod request_header;
pub(crate) mod service_account;
pub(crate) mod token_file;
pub(crate) mod tracking;
pub(crate) mod websocket;

/// The group of everybody who authenticated.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of the anonymous user.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The anonymous user.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
/// Members may do everything.
pub(crate) const MASTERS: &str = "system:masters";
/// The group of kubelets.
pub(crate) const NODES: &str = "system:nodes";
/// Kubelets are called `system:node:<node>`.
pub(crate) const NODE_PREFIX: &str = "system:node:";
/// Service accounts are called `system:serviceaccount:<namespace>:<name>`.
pub(crate) const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// The key of a service account's token that names the node of its pod.
pub(crate) const NODE_OF_TOKEN: &str = "authentication.kubernetes.io/node-name";
/// The group of all service accounts; with `:<namespace>` that of one namespace's.
pub(crate) const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";

/// What is said of a token that is no one's.
pub(crate) const INVALID_TOKEN: &str = "invalid bearer token";

/// What is said of a token that is for others.
fn not_for(token: &[String], wanted: &[String]) -> String {
    let shown = |names: &[String]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" ");
    format!("token audiences [{}] is invalid for the target audiences [{}]", shown(token), shown(wanted))
}

/// The text of a header that says who somebody is. Upstream takes bytes as they come; here text is UTF-8, and what is none
/// is refused: a header that is left out could make its sender somebody else.
///
/// # Errors
/// 400 for bytes that are no UTF-8.
fn header_text<'v>(name: &HeaderName, value: &'v HeaderValue) -> Result<&'v str, Status> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| {
        Status::bad_request(format!("the value of the header {name:?} is not valid UTF-8; send it as UTF-8"))
    })
}

/// An authenticated caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The name that roles are bound to.
    pub name: String,
    /// An identifier that outlives renaming, if the authenticator has one.
    pub uid: String,
    /// Groups, `system:authenticated` included.
    pub groups: Vec<String>,
    /// What else the authenticator knows, by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with a name and groups, and the group of everybody who authenticated.
    #[must_use]
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let mut user = Self { name: name.to_owned(), ..Self::default() };
        user.groups = groups.iter().map(|g| (*g).to_owned()).collect();
        user.add_group(AUTHENTICATED);
        user
    }

    /// Nobody in particular.
    #[must_use]
    pub(crate) fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// The API server itself, for what it keeps on its own.
    #[must_use]
    pub(crate) fn apiserver() -> Self {
        Self::new("system:apiserver", &[MASTERS])
    }

    /// A service account.
    #[must_use]
    pub(crate) fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let mut user = Self::new(
            &format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"),
            &[SERVICE_ACCOUNTS, &format!("{SERVICE_ACCOUNTS}:{namespace}")],
        );
        uid.clone_into(&mut user.uid);
        user
    }

    /// Adds a group once.
    pub(crate) fn add_group(&mut self, group: &str) {
        if !self.in_group(group) {
            self.groups.push(group.to_owned());
        }
    }

    /// Whether the user is in `group`.
    #[must_use]
    pub(crate) fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// Whether nobody authenticated.
    #[must_use]
    pub(crate) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// The node that a service account's token was made for, where it names one.
    #[must_use]
    pub(crate) fn node_of_account(&self) -> Option<&str> {
        let [node] = self.extra.get(NODE_OF_TOKEN)?.as_slice() else { return None };
        self.name.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
        Some(node).filter(|node| names::dns_subdomain(node).is_empty()).map(String::as_str)
    }

    /// The node's name, if this is a kubelet.
    #[must_use]
    pub(crate) fn node(&self) -> Option<&str> {
        let node = self.name.strip_prefix(NODE_PREFIX).filter(|n| !n.is_empty())?;
        self.in_group(NODES).then_some(node)
    }
}
