//! Figures of those who decide what callers may do, and of the file that names them, with upstream's names.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_common::metrics::{Histogram, Page, float};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::hash;
use super::series::bounded;

/// Upper bounds of upstream's buckets for questions, in seconds.
static SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The same for conditions.
static CONDITION_SECONDS: [f64; 7] = [0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];

/// How asking a webhook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answered {
    Success,
    /// What came is no answer, or nothing could be asked.
    Error,
    Timeout,
}

impl Answered {
    fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Timeout => "timeout",
        }
    }
}

/// The conditions of one webhook.
#[derive(Debug)]
struct Conditions {
    took: Histogram,
    errors: u64,
    exclusions: u64,
}

/// What became of one sort of look at the file.
#[derive(Debug, Default, Clone, Copy)]
struct Reloads {
    count: u64,
    last: Option<Timestamp>,
}

/// The figures. Webhooks have names that a file may change, so there is a fuse.
#[derive(Debug, Default)]
pub(crate) struct Judges {
    asked: Mutex<BTreeMap<(String, Answered), Histogram>>,
    open: Mutex<BTreeMap<(String, Answered), u64>>,
    conditions: Mutex<BTreeMap<String, Conditions>>,
    /// Of successes, and of failures.
    reloads: Mutex<[Reloads; 2]>,
    /// The hash of the file in force.
    file: Mutex<Option<String>>,
    /// The hash of this server's identity; empty where it has none.
    server: Mutex<String>,
}

impl Judges {
    /// The webhook was asked.
    pub(crate) fn asked(&self, name: &str, answered: Answered, took: Duration) {
        let mut asked = self.asked.lock();
        if let Some(times) = bounded(&mut asked, (name.to_owned(), answered), || Histogram::seconds(&SECONDS)) {
            times.observe(took);
        }
    }

    /// What the webhook could not decide was left to others.
    pub(crate) fn failed_open(&self, name: &str, answered: Answered) {
        if let Some(count) = bounded(&mut self.open.lock(), (name.to_owned(), answered), || 0) {
            *count += 1;
        }
    }

    /// The conditions of the webhook were looked at: whether they hold, or why nobody can say.
    pub(crate) fn conditions(&self, name: &str, hold: &Result<bool, String>, took: Duration) {
        let make = || Conditions { took: Histogram::seconds(&CONDITION_SECONDS), errors: 0, exclusions: 0 };
        if let Some(figures) = bounded(&mut self.conditions.lock(), name.to_owned(), make) {
            figures.took.observe(took);
            figures.errors += u64::from(hold.is_err());
            figures.exclusions += u64::from(hold == &Ok(false));
        }
    }

    /// The file is in force since the start; `server`: this API server's identity, or empty.
    pub(crate) fn started(&self, server: &str, file: &[u8]) {
        *self.server.lock() = hash(server.as_bytes());
        *self.file.lock() = Some(hash(file));
    }

    /// The file has changed: it is in force now, or nothing where it cannot be.
    pub(crate) fn reloaded(&self, file: Option<&[u8]>, now: Timestamp) {
        let reloads = &mut self.reloads.lock()[usize::from(file.is_none())];
        *reloads = Reloads { count: reloads.count + 1, last: Some(now) };
        if let Some(file) = file {
            *self.file.lock() = Some(hash(file));
        }
    }

    /// Shows all.
    pub(crate) fn render(&self, page: &mut Page) {
        self.render_webhooks(page);
        self.render_conditions(page);
        self.render_file(page);
    }

    fn render_webhooks(&self, page: &mut Page) {
        let asked = self.asked.lock();
        let mut family = page.family(
            "apiserver_authorization_webhook_evaluations_total",
            "counter",
            "[BETA] Questions to webhooks.",
        );
        for ((name, answered), times) in asked.iter() {
            family.sample(&[("name", name), ("result", answered.label())], float(times.snapshot().total()));
        }
        drop(family);
        let help = "[BETA] How long asking a webhook took, in seconds.";
        let mut family = page.family("apiserver_authorization_webhook_duration_seconds", "histogram", help);
        for ((name, answered), times) in asked.iter() {
            family.histogram(&[("name", name), ("result", answered.label())], &times.snapshot());
        }
        drop(family);
        let help = "[BETA] What webhooks could not decide and others were left to.";
        let mut family = page.family("apiserver_authorization_webhook_evaluations_fail_open_total", "counter", help);
        for ((name, answered), count) in self.open.lock().iter() {
            family.sample(&[("name", name), ("result", answered.label())], float(*count));
        }
    }

    fn render_conditions(&self, page: &mut Page) {
        type Read = fn(&Conditions) -> u64;
        let conditions = self.conditions.lock();
        let rows: [(&str, &str, Read); 2] = [
            ("evaluation_errors_total", "[ALPHA] Requests of which the conditions of a webhook could not say.", |c| {
                c.errors
            }),
            ("exclusions_total", "[ALPHA] Requests of which a webhook was not asked, by its conditions.", |c| {
                c.exclusions
            }),
        ];
        for (name, help, read) in rows {
            let name = format!("apiserver_authorization_match_condition_{name}");
            let mut family = page.family(&name, "counter", help);
            for (name, figures) in conditions.iter().filter(|(_, figures)| read(figures) > 0) {
                family.sample(&[("name", name), ("type", "Webhook")], float(read(figures)));
            }
        }
        let help = "[ALPHA] How long the conditions of a webhook took, in seconds.";
        let mut family = page.family("apiserver_authorization_match_condition_evaluation_seconds", "histogram", help);
        for (name, figures) in conditions.iter() {
            family.histogram(&[("name", name), ("type", "Webhook")], &figures.took.snapshot());
        }
    }

    fn render_file(&self, page: &mut Page) {
        const PREFIX: &str = "apiserver_authorization_config_controller";
        let server = self.server.lock().clone();
        let reloads = *self.reloads.lock();
        let shown = || ["success", "failure"].into_iter().zip(reloads).filter(|(_, reloads)| reloads.count > 0);
        let help = "[BETA] Changes of the file that says who decides, by whether they were taken up.";
        let mut family = page.family(&format!("{PREFIX}_automatic_reloads_total"), "counter", help);
        for (status, reloads) in shown() {
            family.sample(&[("apiserver_id_hash", &server), ("status", status)], float(reloads.count));
        }
        drop(family);
        let help = "[BETA] When the last of them was.";
        let mut family = page.family(&format!("{PREFIX}_automatic_reload_last_timestamp_seconds"), "gauge", help);
        for (status, reloads) in shown() {
            let last = reloads.last.map_or(0.0, |last| last.as_duration().as_secs_f64());
            family.sample(&[("apiserver_id_hash", &server), ("status", status)], last);
        }
        drop(family);
        if let Some(file) = &*self.file.lock() {
            let help = "[ALPHA] The hash of the file that is in force.";
            let mut family = page.family(&format!("{PREFIX}_last_config_info"), "gauge", help);
            family.sample(&[("apiserver_id_hash", &server), ("hash", file)], 1.0);
        }
    }
}
