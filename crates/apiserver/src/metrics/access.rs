//! Figures of who is let in, and who may do what, with upstream's names.

use std::time::Duration;

use gantry_common::metrics::{Histogram, Page, float};

use super::Number;

/// Upper bounds of upstream's buckets: a millisecond and its doubles, in seconds.
static SECONDS: [f64; 15] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];
/// The same of how long a certificate is good for: half an hour to a year.
static LIFETIMES: [f64; 14] = [
    0.0,
    1_800.0,
    3_600.0,
    7_200.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
];
/// Users who are named; others are an address or `other`.
const USERS: [&str; 7] =
    ["admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default", "email_id", "other"];

/// How asking who somebody is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Success,
    /// Nothing was shown.
    Failure,
    /// What was shown is not good.
    Error,
}

/// Figures of authentication.
#[derive(Debug)]
pub(crate) struct Authentication {
    took: [Histogram; 3],
    users: [Number; USERS.len()],
    certificates: Histogram,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            took: [(); 3].map(|()| Histogram::seconds(&SECONDS)),
            users: Default::default(),
            certificates: Histogram::units(&LIFETIMES),
        }
    }
}

impl Authentication {
    /// Somebody was asked who they are; `user`: who that is.
    pub(crate) fn asked(&self, attempt: Attempt, user: Option<&str>, took: Duration) {
        self.took[attempt as usize].observe(took);
        let Some(user) = user else { return };
        let known = USERS[..5].iter().position(|name| *name == user);
        let at = known.unwrap_or_else(|| if user.contains('@') { 5 } else { 6 });
        self.users[at].add(1);
    }

    /// A certificate was shown that is good for so many seconds.
    pub(crate) fn certificate(&self, seconds: i64) {
        self.certificates.observe_units(u64::try_from(seconds).unwrap_or_default());
    }

    /// Shows all.
    pub(crate) fn render(&self, page: &mut Page) {
        const RESULTS: [&str; 3] = ["success", "failure", "error"];
        let taken = self.took.each_ref().map(Histogram::snapshot);
        let mut attempts =
            page.family("authentication_attempts", "counter", "[ALPHA] Requests whose sender was asked for.");
        for (result, took) in RESULTS.iter().zip(&taken).filter(|(_, took)| took.total() > 0) {
            attempts.sample(&[("result", result)], float(took.total()));
        }
        drop(attempts);
        let help = "[ALPHA] How long it took to find out who sends a request, in seconds.";
        let mut durations = page.family("authentication_duration_seconds", "histogram", help);
        for (result, took) in RESULTS.iter().zip(&taken).filter(|(_, took)| took.total() > 0) {
            durations.histogram(&[("result", result)], took);
        }
        drop(durations);
        let help = "[ALPHA] Requests by user, who is mostly not named.";
        let mut users = page.family("authenticated_user_requests", "counter", help);
        for (user, count) in USERS.iter().zip(&self.users).filter(|(_, count)| count.get() > 0) {
            users.sample(&[("username", user)], float(count.get()));
        }
        drop(users);
        let help = "[ALPHA] How long the certificates that are shown are still good for, in seconds.";
        let mut family = page.family("apiserver_client_certificate_expiration_seconds", "histogram", help);
        family.histogram(&[], &self.certificates.snapshot());
    }
}

/// What came of asking whether somebody may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Allowed,
    Denied,
    NoOpinion,
    Error,
}

/// Figures of authorisation.
#[derive(Debug)]
pub(crate) struct Authorization {
    /// By outcome.
    took: [Histogram; 4],
}

impl Default for Authorization {
    fn default() -> Self {
        Self { took: [(); 4].map(|()| Histogram::seconds(&SECONDS)) }
    }
}

impl Authorization {
    /// All were asked.
    pub(crate) fn asked(&self, outcome: Outcome, took: Duration) {
        self.took[outcome as usize].observe(took);
    }

    /// Shows all.
    pub(crate) fn render(&self, page: &mut Page) {
        const RESULTS: [&str; 4] = ["allowed", "denied", "no-opinion", "error"];
        let taken = self.took.each_ref().map(Histogram::snapshot);
        let help = "[ALPHA] Requests that somebody had to be allowed to make, by what came of it.";
        let mut attempts = page.family("authorization_attempts_total", "counter", help);
        for (result, took) in RESULTS.iter().zip(&taken).filter(|(_, took)| took.total() > 0) {
            attempts.sample(&[("result", result)], float(took.total()));
        }
        drop(attempts);
        let help = "[ALPHA] How long it took to find out whether a request is allowed, in seconds.";
        let mut durations = page.family("authorization_duration_seconds", "histogram", help);
        for (result, took) in RESULTS.iter().zip(&taken).filter(|(_, took)| took.total() > 0) {
            durations.histogram(&[("result", result)], took);
        }
    }
}
