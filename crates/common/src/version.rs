//! What Gantry says of its own version.

/// The Kubernetes minor version whose API is served.
pub const KUBERNETES_MINOR: &str = "36";
/// `gitVersion` of `/version` and of every component: semver with Kubernetes' prefix.
pub const GIT_VERSION: &str = concat!("v1.36.2+gantry.", env!("CARGO_PKG_VERSION"));

/// The user agent of a component, which is also its default field manager (up to the slash).
#[must_use]
pub fn user_agent(component: &str) -> String {
    format!("{component}/{GIT_VERSION} (linux/amd64)")
}
