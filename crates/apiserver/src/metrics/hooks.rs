//! Counters of webhooks, with upstream's names.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_common::metrics::{Histogram, Page, float};
use parking_lot::Mutex;

use super::series::bounded;

/// Upper bounds of upstream's buckets, in seconds.
static SECONDS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];

/// Which webhook was asked about what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) name: &'a str,
    /// `admit` or `validating`.
    pub(crate) kind: &'static str,
    pub(crate) operation: &'static str,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rejection {
    /// The webhook said so.
    Denied,
    /// It could not be asked.
    Calling,
    /// What it wants cannot be done.
    Internal,
}

impl Rejection {
    fn label(self) -> &'static str {
        match self {
            Self::Denied => "no_error",
            Self::Calling => "calling_webhook_error",
            Self::Internal => "apiserver_internal_error",
        }
    }
}

type Key = (String, &'static str, &'static str);

/// The counters. Names of webhooks are the users', so there is a fuse.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    durations: Mutex<BTreeMap<(Key, bool), Histogram>>,
    requests: Mutex<BTreeMap<(Key, u16, bool), u64>>,
    rejections: Mutex<BTreeMap<(Key, Rejection, u16), u64>>,
    open: Mutex<BTreeMap<(String, &'static str), u64>>,
}

fn key(seen: &Seen<'_>) -> Key {
    (seen.name.to_owned(), seen.kind, seen.operation)
}

fn count<K: Ord>(counters: &Mutex<BTreeMap<K, u64>>, key: K) {
    if let Some(count) = bounded(&mut counters.lock(), key, || 0) {
        *count += 1;
    }
}

impl Hooks {
    /// A webhook was asked; `code` is that of its answer.
    pub(crate) fn asked(&self, seen: &Seen<'_>, took: Duration, rejected: bool, code: u16) {
        count(&self.requests, (key(seen), code, rejected));
        let key = (key(seen), rejected);
        if let Some(durations) = bounded(&mut self.durations.lock(), key, || Histogram::seconds(&SECONDS)) {
            durations.observe(took);
        }
    }

    /// A request was refused for a webhook.
    pub(crate) fn rejected(&self, seen: &Seen<'_>, why: Rejection, code: u16) {
        // Upstream caps what webhooks choose.
        count(&self.rejections, (key(seen), why, code.min(600)));
    }

    /// A webhook could not be asked, and the request passed.
    pub(crate) fn failed_open(&self, seen: &Seen<'_>) {
        count(&self.open, (seen.name.to_owned(), seen.kind));
    }

    pub(super) fn render(&self, page: &mut Page) {
        let help = "[STABLE] Time that webhooks took, in seconds, by webhook, type and operation.";
        let mut durations = page.family("apiserver_admission_webhook_admission_duration_seconds", "histogram", help);
        for (((name, kind, operation), rejected), histogram) in self.durations.lock().iter() {
            let rejected = rejected.to_string();
            let labels = [("name", name.as_str()), ("operation", operation), ("rejected", &rejected), ("type", kind)];
            durations.histogram(&labels, &histogram.snapshot());
        }
        drop(durations);
        let help = "[ALPHA] Questions to webhooks, by the code of the answer.";
        let mut requests = page.family("apiserver_admission_webhook_request_total", "counter", help);
        for (((name, kind, operation), code, rejected), number) in self.requests.lock().iter() {
            let (code, rejected) = (code.to_string(), rejected.to_string());
            let labels = [
                ("code", code.as_str()),
                ("name", name),
                ("operation", operation),
                ("rejected", &rejected),
                ("type", kind),
            ];
            requests.sample(&labels, float(*number));
        }
        drop(requests);
        let help = "[ALPHA] Requests that were refused for a webhook.";
        let mut rejections = page.family("apiserver_admission_webhook_rejection_count", "counter", help);
        for (((name, kind, operation), why, code), number) in self.rejections.lock().iter() {
            let code = code.to_string();
            let labels = [
                ("error_type", why.label()),
                ("name", name),
                ("operation", operation),
                ("rejection_code", &code),
                ("type", kind),
            ];
            rejections.sample(&labels, float(*number));
        }
        drop(rejections);
        let help = "[ALPHA] Requests that passed although a webhook could not be asked.";
        let mut open = page.family("apiserver_admission_webhook_fail_open_count", "counter", help);
        for ((name, kind), number) in self.open.lock().iter() {
            open.sample(&[("name", name), ("type", kind)], float(*number));
        }
    }
}
