//! A webhook, as its configuration describes it.

use std::time::Duration;

use gantry_api::{Value, value};
use gantry_cel::{Environment, Type};

use crate::admission::matching::Criteria;
use crate::expressions::{Conditions, Uses, environment};

/// Seconds that a webhook may take, where nothing says so.
const TIMEOUT_SECONDS: u64 = 10;
/// Versions of the review that are spoken.
const VERSIONS: &[&str] = &["v1", "v1beta1"];

/// One webhook.
pub(super) struct Hook {
    pub(super) configuration: String,
    pub(super) name: String,
    /// Unique among all webhooks.
    pub(super) key: String,
    pub(super) criteria: Criteria,
    pub(super) conditions: Conditions,
    pub(super) client: Value,
    /// A webhook that cannot be asked lets the request pass.
    pub(super) ignores_failure: bool,
    pub(super) may_run_dry: bool,
    pub(super) timeout: Duration,
    /// It wants to be asked again when the object changes after it.
    pub(super) repeats: bool,
    /// The version of the review; none that is spoken.
    pub(super) version: Option<&'static str>,
}

/// The webhooks of a configuration.
pub(super) fn hooks(configuration: &Value) -> Vec<Hook> {
    let name = value::str_at(configuration, "metadata.name").unwrap_or_default();
    let uses = Uses { params: false, authorizer: true, changes: false };
    let environment = environment(uses, &Type::Dyn, &Type::Dyn);
    let hooks = value::list_at(configuration, "webhooks").iter().enumerate();
    hooks.map(|(index, hook)| read(name, index, hook, &environment)).collect()
}

fn read(configuration: &str, index: usize, hook: &Value, environment: &Environment) -> Hook {
    let text = |key: &str| value::str_at(hook, key).unwrap_or_default();
    let seconds = value::i64_at(hook, "timeoutSeconds").and_then(|s| u64::try_from(s).ok()).unwrap_or(TIMEOUT_SECONDS);
    let mut versions = value::list_at(hook, "admissionReviewVersions").iter().filter_map(Value::as_str);
    Hook {
        configuration: configuration.to_owned(),
        name: text("name").to_owned(),
        key: format!("{configuration}/{}/{index}", text("name")),
        criteria: Criteria::of_webhook(hook),
        conditions: Conditions::new(environment, value::list_at(hook, "matchConditions")),
        client: hook.get("clientConfig").cloned().unwrap_or(Value::Null),
        ignores_failure: text("failurePolicy") == "Ignore",
        may_run_dry: matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
        timeout: Duration::from_secs(seconds.max(1)),
        repeats: text("reinvocationPolicy") == "IfNeeded",
        version: versions.find_map(|v| VERSIONS.iter().find(|known| **known == v)).copied(),
    }
}
