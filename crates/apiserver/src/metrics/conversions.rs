//! Figures of conversion webhooks of custom kinds, with upstream's names.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_common::metrics::{Histogram, Page, float};
use parking_lot::Mutex;

use super::series::bounded;

/// Upper bounds of upstream's buckets for questions, in seconds.
static QUESTION_SECONDS: [f64; 15] =
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0];
/// The same of conversions: a millisecond and its doubles.
static SECONDS: [f64; 15] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];

/// The webhook could not be asked.
pub(crate) const CALL: &str = "conversion_webhook_call_failure";
/// It gave an answer that is none.
pub(crate) const MALFORMED: &str = "conversion_webhook_malformed_response_failure";

/// One conversion: from a version to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// The definition's name: `widgets.example.com`.
    pub(crate) definition: &'a str,
    /// The version of the first object.
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    /// Why it failed: [`CALL`], [`MALFORMED`], or empty.
    pub(crate) failure: &'static str,
}

type Key = (String, String, String, bool);

/// The figures. Names of definitions and versions are the users', so there is a fuse.
#[derive(Debug, Default)]
pub(crate) struct Conversions {
    questions: Mutex<BTreeMap<&'static str, Histogram>>,
    conversions: Mutex<BTreeMap<Key, Histogram>>,
}

impl Conversions {
    /// A webhook was asked.
    pub(crate) fn asked(&self, seen: &Seen<'_>, took: Duration) {
        let mut questions = self.questions.lock();
        questions.entry(seen.failure).or_insert_with(|| Histogram::seconds(&QUESTION_SECONDS)).observe(took);
        drop(questions);
        let key = (seen.definition.to_owned(), seen.from.to_owned(), seen.to.to_owned(), seen.failure.is_empty());
        if let Some(conversions) = bounded(&mut self.conversions.lock(), key, || Histogram::seconds(&SECONDS)) {
            conversions.observe(took);
        }
    }

    pub(super) fn render(&self, page: &mut Page) {
        let result = |failure: &str| if failure.is_empty() { "success" } else { "failure" };
        let questions = self.questions.lock();
        let help = "[ALPHA] Questions to conversion webhooks, by result and why they failed.";
        let mut family = page.family("apiserver_conversion_webhook_request_total", "counter", help);
        for (failure, took) in questions.iter() {
            let labels = [("failure_type", *failure), ("result", result(failure))];
            family.sample(&labels, float(took.snapshot().total()));
        }
        drop(family);
        let help = "[ALPHA] How long conversion webhooks took to answer, in seconds.";
        let mut family = page.family("apiserver_conversion_webhook_duration_seconds", "histogram", help);
        for (failure, took) in questions.iter() {
            family.histogram(&[("failure_type", *failure), ("result", result(failure))], &took.snapshot());
        }
        drop(family);
        let help = "[ALPHA] How long conversions by webhook took, in seconds, by definition and versions.";
        let mut family = page.family("apiserver_crd_conversion_webhook_duration_seconds", "histogram", help);
        for ((definition, from, to, succeeded), took) in self.conversions.lock().iter() {
            let succeeded = succeeded.to_string();
            let labels = [
                ("crd_name", definition.as_str()),
                ("from_version", from),
                ("succeeded", &succeeded),
                ("to_version", to),
            ];
            family.histogram(&labels, &took.snapshot());
        }
    }
}
