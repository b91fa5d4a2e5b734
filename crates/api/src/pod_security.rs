//! The Pod Security Standards: which pods a namespace's level lets in, in upstream's words.

mod checks;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::Value;
use crate::field::{Error, Errors, Path};
use crate::value::map_at;

/// The newest version of the standards that is known here: 1.36.
const LATEST: u32 = 36;
const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a pod may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Everything.
    #[default]
    Privileged,
    /// Nothing that is known to lead out of a container.
    Baseline,
    /// What hardened pods need.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        [Self::Privileged, Self::Baseline, Self::Restricted].into_iter().find(|level| level.name() == text)
    }

    /// As labels spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// A level as of a version of the standards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standard {
    /// The level.
    pub level: Level,
    /// The minor version; `None` is the latest.
    pub minor: Option<u32>,
}

impl std::fmt::Display for Standard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.minor {
            Some(minor) => write!(f, "{}:v1.{minor}", self.level.name()),
            None => write!(f, "{}:latest", self.level.name()),
        }
    }
}

/// What a namespace asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Pods that violate it are refused.
    pub enforce: Standard,
    /// Violations are noted.
    pub audit: Standard,
    /// Users are warned.
    pub warn: Standard,
}

/// Reads the policy from a namespace, with what is wrong with its labels. What it does not say, `defaults` do; a label that
/// cannot be read asks for the most.
#[must_use]
pub fn policy(namespace: &Value, defaults: Policy) -> (Policy, Errors) {
    let labels = map_at(namespace, "metadata.labels");
    policy_of(|key| labels.and_then(|l| l.get(key)).and_then(Value::as_str), defaults)
}

/// As [`policy`], from the labels alone.
#[must_use]
pub fn policy_of<'l>(label: impl Fn(&str) -> Option<&'l str>, defaults: Policy) -> (Policy, Errors) {
    let stated = |key: &str| label(&format!("{PREFIX}{key}"));
    let path = |key: &str| Path::new("metadata").child("labels").key(&format!("{PREFIX}{key}"));
    read(&stated, &path, defaults)
}

/// Reads what namespaces ask for that say nothing: `enforce`, `enforce-version` and the like.
#[must_use]
pub fn defaults(stated: &BTreeMap<String, String>) -> (Policy, Errors) {
    let path = |key: &str| Path::new("defaults").child(key);
    read(&|key| stated.get(key).map(String::as_str), &path, Policy::default())
}

fn read<'a>(
    stated: &dyn Fn(&str) -> Option<&'a str>,
    path: &dyn Fn(&str) -> Path,
    defaults: Policy,
) -> (Policy, Errors) {
    let mut errors = Errors::new();
    let mut standard = |mode: &str, default| standard(stated, path, mode, default, &mut errors);
    let policy = Policy {
        enforce: standard("enforce", defaults.enforce),
        audit: standard("audit", defaults.audit),
        warn: standard("warn", defaults.warn),
    };
    (policy, errors)
}

fn standard<'a>(
    stated: &dyn Fn(&str) -> Option<&'a str>,
    path: &dyn Fn(&str) -> Path,
    mode: &str,
    default: Standard,
    errors: &mut Errors,
) -> Standard {
    let version_key = format!("{mode}-version");
    let mut found = default;
    if let Some(text) = stated(mode) {
        found.level = Level::parse(text).unwrap_or_else(|| {
            errors.push(Error::invalid(&path(mode), text, "must be one of privileged, baseline, restricted"));
            Level::Restricted
        });
    }
    match stated(&version_key) {
        None => {}
        Some("latest") => found.minor = None,
        Some(text) => {
            let minor = text.strip_prefix("v1.").filter(|m| *m == "0" || !m.starts_with(['0', '+']));
            match minor.and_then(|m| m.parse().ok()) {
                Some(minor) => found.minor = Some(minor),
                None => {
                    let detail = "must be \"latest\" or \"v1.x\"";
                    errors.push(Error::invalid(&path(&version_key), text, detail));
                }
            }
        }
    }
    found
}

/// One thing that a standard forbids and a pod does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `host namespaces`
    pub reason: String,
    /// `hostNetwork=true`
    pub detail: String,
}

/// What is against the standard in a pod or pod template.
#[must_use]
pub fn violations(standard: Standard, pod: &Value) -> Vec<Violation> {
    let minor = standard.minor.unwrap_or(LATEST).min(LATEST);
    match standard.level {
        Level::Privileged => Vec::new(),
        level => checks::all(level == Level::Restricted, minor, pod),
    }
}

/// `host namespaces (hostNetwork=true), privileged (container "a" must not …)`
#[must_use]
pub fn described(violations: &[Violation]) -> String {
    let one = |v: &Violation| match v.detail.as_str() {
        "" => v.reason.clone(),
        detail => format!("{} ({detail})", v.reason),
    };
    violations.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `host namespaces, privileged`
#[must_use]
pub fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|v| v.reason.as_str()).collect::<Vec<_>>().join(", ")
}
