//! Counters of admission policies, with upstream's names.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::{SERIES_MAX, header, line};

/// What one check of a policy came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked<'a> {
    pub(crate) policy: &'a str,
    pub(crate) binding: &'a str,
    /// `allow`, `deny`, `warn`, `audit`.
    pub(crate) action: &'static str,
    /// `no_error` or what sort of one.
    pub(crate) error: &'static str,
}

type Counters = Mutex<BTreeMap<(String, String, &'static str, &'static str), u64>>;

/// The counters. Names of policies are the users', so there is a fuse.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    checks: Counters,
    changes: Counters,
}

fn count(counters: &Counters, checked: &Checked<'_>) {
    let key = (checked.policy.to_owned(), checked.binding.to_owned(), checked.action, checked.error);
    let mut counters = counters.lock();
    if counters.len() < SERIES_MAX || counters.contains_key(&key) {
        *counters.entry(key).or_default() += 1;
    }
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

    pub(super) fn render(&self, out: &mut String) {
        for (name, help, counters) in [
            ("apiserver_validating_admission_policy_check_total", "Checks of validating policies.", &self.checks),
            ("apiserver_mutating_admission_policy_check_total", "Changes by mutating policies.", &self.changes),
        ] {
            header(out, name, "counter", help);
            for ((policy, binding, action, error), number) in counters.lock().iter() {
                let labels = [
                    ("enforcement_action", *action),
                    ("error_type", error),
                    ("policy", policy),
                    ("policy_binding", binding),
                ];
                line(out, name, &labels, *number as f64);
            }
        }
    }
}
