//! Figures of admission policies, with upstream's names.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_common::metrics::{Histogram, Label, Page, float};
use parking_lot::Mutex;

use super::series::bounded;

/// Upper bounds of upstream's buckets, in seconds.
static SECONDS: [f64; 5] = [5e-7, 0.001, 0.01, 0.1, 1.0];

/// What one check of a policy came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked<'a> {
    pub(crate) policy: &'a str,
    pub(crate) binding: &'a str,
    /// `allow`, `deny`, `warn`, `audit`; nothing of policies that change objects.
    pub(crate) action: &'static str,
    /// `no_error` or what sort of one.
    pub(crate) error: &'static str,
    /// How long the check took.
    pub(crate) took: Duration,
}

/// Policy, binding, action, error.
type Key = (String, String, &'static str, &'static str);
type Checks = Mutex<BTreeMap<Key, Histogram>>;

/// The figures. Names of policies are the users', so there is a fuse.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    checks: Checks,
    changes: Checks,
}

fn count(checks: &Checks, checked: &Checked<'_>) {
    let key = (checked.policy.to_owned(), checked.binding.to_owned(), checked.action, checked.error);
    if let Some(took) = bounded(&mut checks.lock(), key, || Histogram::seconds(&SECONDS)) {
        took.observe(checked.took);
    }
}

fn labels<'a>((policy, binding, action, error): &'a Key) -> Vec<Label<'a>> {
    let mut labels = vec![("error_type", *error), ("policy", policy.as_str()), ("policy_binding", binding.as_str())];
    labels.extend((!action.is_empty()).then_some(("enforcement_action", *action)));
    labels
}

impl Policies {
    /// A validating policy was asked.
    pub(crate) fn checked(&self, checked: &Checked<'_>) {
        count(&self.checks, checked);
    }

    /// A mutating policy was asked.
    pub(crate) fn changed(&self, checked: &Checked<'_>) {
        count(&self.changes, checked);
    }

    pub(super) fn render(&self, page: &mut Page) {
        for (kind, what, checks) in [
            ("validating", "[BETA] Checks of validating policies", &self.checks),
            ("mutating", "[ALPHA] Changes by mutating policies", &self.changes),
        ] {
            let checks = checks.lock();
            let name = format!("apiserver_{kind}_admission_policy_check");
            let help = format!("{what}, by policy, binding and what came of them.");
            let mut total = page.family(&format!("{name}_total"), "counter", &help);
            for (key, took) in checks.iter() {
                total.sample(&labels(key), float(took.snapshot().total()));
            }
            drop(total);
            let help = format!("{what}: how long they took, in seconds.");
            let mut durations = page.family(&format!("{name}_duration_seconds"), "histogram", &help);
            for (key, took) in checks.iter() {
                durations.histogram(&labels(key), &took.snapshot());
            }
        }
    }
}
