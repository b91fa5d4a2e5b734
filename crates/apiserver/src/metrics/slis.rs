//! Results of health checks (`/metrics/slis`, KEP-3466), with upstream's names.

use std::collections::BTreeMap;

use gantry_common::metrics::{Page, float};
use parking_lot::Mutex;

/// What a check has said so far.
#[derive(Debug, Default, Clone, Copy)]
struct Said {
    is_well: bool,
    well: u64,
    failed: u64,
}

/// All checks, by the probe (`healthz`, `livez`, `readyz`) and their name.
#[derive(Debug, Default)]
pub(crate) struct Slis(Mutex<BTreeMap<(&'static str, &'static str), Said>>);

impl Slis {
    /// A check was made for a probe.
    pub(crate) fn checked(&self, probe: &'static str, check: &'static str, is_well: bool) {
        let mut all = self.0.lock();
        let said = all.entry((probe, check)).or_default();
        said.is_well = is_well;
        if is_well { said.well += 1 } else { said.failed += 1 }
    }

    /// The page.
    pub(crate) fn render(&self, page: &mut Page) {
        let all = self.0.lock().clone();
        let help = "[STABLE] What each health check said last: 1 = well.";
        let mut family = page.family("kubernetes_healthcheck", "gauge", help);
        for ((probe, check), said) in &all {
            family.sample(&[("name", check), ("type", probe)], f64::from(u8::from(said.is_well)));
        }
        drop(family);
        let help = "[STABLE] How often each health check was made, by what it said.";
        let mut family = page.family("kubernetes_healthchecks_total", "counter", help);
        for ((probe, check), said) in &all {
            for (status, count) in [("error", said.failed), ("success", said.well)].iter().filter(|(_, n)| *n > 0) {
                family.sample(&[("name", check), ("status", status), ("type", probe)], float(*count));
            }
        }
    }
}
