//! `--authorization-*`: who decides what callers may do.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::seconds_or_unit;

/// Who decides where no flag says so. Upstream lets everybody do everything then, which nobody should have without asking.
const DEFAULT_MODES: [&str; 2] = ["Node", "RBAC"];

/// Who decides, in order, and what they are told.
#[derive(Debug, Clone, Default, Args)]
pub struct Authorization {
    /// Who decides, in this order: Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny. Node,RBAC by default. Members of
    /// system:masters may do everything.
    #[arg(long = "authorization-mode", value_delimiter = ',')]
    pub mode: Vec<String>,
    /// What ABAC allows: a file with a policy (abac.authorization.kubernetes.io/v1beta1) a line, as JSON.
    #[arg(id = "authorization_policy_file", long = "authorization-policy-file")]
    pub policy_file: Option<PathBuf>,
    /// Whom Webhook asks: a file in kubeconfig form.
    #[arg(id = "authorization_webhook_config_file", long = "authorization-webhook-config-file")]
    pub webhook_config_file: Option<PathBuf>,
    /// The version of the SubjectAccessReview that the webhook is sent: v1 or v1beta1 (the default, as upstream).
    #[arg(id = "authorization_webhook_version", long = "authorization-webhook-version")]
    pub webhook_version: Option<String>,
    /// How long the webhook's yes holds; 5m by default.
    #[arg(
        id = "authorization_webhook_cache_authorized_ttl",
        long = "authorization-webhook-cache-authorized-ttl",
        value_parser = seconds_or_unit
    )]
    pub webhook_cache_authorized_ttl: Option<Duration>,
    /// How long its other answers hold; 30s by default.
    #[arg(
        id = "authorization_webhook_cache_unauthorized_ttl",
        long = "authorization-webhook-cache-unauthorized-ttl",
        value_parser = seconds_or_unit
    )]
    pub webhook_cache_unauthorized_ttl: Option<Duration>,
    /// All of this in a file instead: an AuthorizationConfiguration (apiserver.config.k8s.io/v1). Changes are taken up.
    #[arg(id = "authorization_config", long = "authorization-config")]
    pub config_file: Option<PathBuf>,
}

impl Authorization {
    /// Whether none of the flags is given that the file stands for.
    pub(crate) fn is_default(&self) -> bool {
        let told = [self.policy_file.is_some(), self.webhook_config_file.is_some(), self.webhook_version.is_some()];
        let ttls = [self.webhook_cache_authorized_ttl, self.webhook_cache_unauthorized_ttl];
        self.mode.is_empty() && !told.contains(&true) && ttls.iter().all(Option::is_none)
    }

    /// The modes.
    pub(crate) fn modes(&self) -> impl Iterator<Item = &str> {
        let default = if self.mode.is_empty() { &DEFAULT_MODES[..] } else { &[] };
        self.mode.iter().map(String::as_str).chain(default.iter().copied())
    }
}
