//! Counters of the API server in Prometheus' text format, with upstream's names where there is one.

pub(crate) mod hooks;
pub(crate) mod legacy_tokens;
pub(crate) mod policies;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::request::Target;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The kinds of sessions.
pub(crate) const SESSIONS: [&str; 6] = ["log", "exec", "attach", "port_forward", "stats", "proxy"];
/// Subresources whose requests last as long as somebody looks.
const LONG: &[&str] = &["log", "proxy", "exec", "attach", "portforward"];
/// Label sets kept at most. Who defines kinds chooses labels, which go with the kinds; so this is a fuse.
const SERIES_MAX: usize = 4096;

/// A number that changes.
#[derive(Debug, Default)]
pub(crate) struct Number(AtomicU64);

impl Number {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default, Clone)]
struct Histogram {
    counts: [u64; 14],
    sum_seconds: f64,
    total: u64,
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = BUCKETS.iter().position(|b| seconds <= *b).unwrap_or(BUCKETS.len());
        self.counts[at] += 1;
        self.sum_seconds += seconds;
        self.total += 1;
    }
}

/// Sessions of one kind.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Open now.
    pub(crate) open: Number,
    /// Ever opened.
    pub(crate) opened: Number,
    /// Asked for and refused, by the server or the node.
    pub(crate) refused: Number,
}

/// What a request was, for counting.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labels {
    /// As authorisation calls it: `get`, `create`, `deletecollection`.
    pub(crate) verb: String,
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) subresource: &'static str,
    /// `resource`, `namespace` or `cluster`; empty where no resource is meant.
    pub(crate) scope: &'static str,
    pub(crate) dry_run: bool,
    pub(crate) code: u16,
}

impl Labels {
    /// Notes what the request is about.
    pub(crate) fn about(&mut self, target: &Target) {
        let kind = &target.kind;
        (self.group, self.version) = (kind.group, kind.version);
        (self.resource, self.subresource) = (kind.resource, target.subresource);
        self.scope = match (target.name.is_empty(), target.namespace.is_empty()) {
            (false, _) => "resource",
            (true, false) => "namespace",
            (true, true) => "cluster",
        };
    }

    /// The verb as upstream's metrics have it.
    fn shown_verb(&self) -> String {
        match self.verb.as_str() {
            "create" => "POST".to_owned(),
            "update" => "PUT".to_owned(),
            "other" => "other".to_owned(),
            verb => verb.to_uppercase(),
        }
    }

    /// The labels that upstream puts on all numbers about requests.
    fn shown(&self) -> Vec<(&'static str, String)> {
        let dry_run = if self.dry_run { "All" } else { "" };
        vec![
            ("component", "apiserver".to_owned()),
            ("dry_run", dry_run.to_owned()),
            ("group", self.group.to_owned()),
            ("resource", self.resource.to_owned()),
            ("scope", self.scope.to_owned()),
            ("subresource", self.subresource.to_owned()),
            ("verb", self.shown_verb()),
            ("version", self.version.to_owned()),
        ]
    }
}

/// All counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Labels, u64>>,
    latency: Mutex<BTreeMap<Labels, Histogram>>,
    pub(crate) tls_failures: Number,
    pub(crate) watches: Number,
    sessions: [Kept; SESSIONS.len()],
    pub(crate) conflicts: Number,
    pub(crate) refused: Number,
    pub(crate) hooks: hooks::Hooks,
    pub(crate) policies: policies::Policies,
}

impl Metrics {
    /// Counts one answered request.
    pub(crate) fn observe(&self, labels: Labels, took: Duration) {
        let is_long = labels.verb == "watch" || LONG.contains(&labels.subresource);
        if !is_long {
            let mut latency = self.latency.lock();
            let any_code = Labels { code: 0, ..labels.clone() };
            if latency.len() < SERIES_MAX || latency.contains_key(&any_code) {
                latency.entry(any_code).or_default().observe(took);
            }
        }
        let mut requests = self.requests.lock();
        if requests.len() < SERIES_MAX || requests.contains_key(&labels) {
            *requests.entry(labels).or_default() += 1;
        }
    }

    /// Forgets what was counted of a resource that is not served any more.
    pub(crate) fn forget(&self, group: &str, resource: &str) {
        let stays = |labels: &Labels| (labels.group, labels.resource) != (group, resource);
        self.requests.lock().retain(|labels, _| stays(labels));
        self.latency.lock().retain(|labels, _| stays(labels));
    }

    /// The numbers of a kind of session, one of [`SESSIONS`].
    pub(crate) fn sessions(&self, kind: &str) -> &Kept {
        let at = SESSIONS.iter().position(|k| *k == kind).unwrap_or_default();
        &self.sessions[at]
    }

    fn render_sessions(&self, out: &mut String) {
        type Read = fn(&Kept) -> u64;
        let rows: [(&str, &str, &str, Read); 3] = [
            ("gantry_node_sessions", "gauge", "Sessions with nodes that are open.", |k| k.open.get()),
            ("gantry_node_sessions_opened_total", "counter", "Sessions that were opened.", |k| k.opened.get()),
            ("gantry_node_sessions_refused_total", "counter", "Sessions that were refused.", |k| k.refused.get()),
        ];
        for (name, kind, help, read) in rows {
            header(out, name, kind, help);
            for (session, kept) in SESSIONS.iter().zip(&self.sessions) {
                line(out, name, &[("kind", session)], read(kept) as f64);
            }
        }
    }

    /// The text for `/metrics`; `extra` holds gauges that others know.
    pub(crate) fn render(&self, extra: &[(&str, &str, f64)]) -> String {
        let mut out = String::new();
        header(&mut out, "apiserver_request_total", "counter", "Requests by verb, resource and HTTP code.");
        for (l, count) in self.requests.lock().iter() {
            let shown = l.shown();
            let code = l.code.to_string();
            let mut all = vec![("code", code.as_str())];
            all.extend(shown.iter().map(|(name, value)| (*name, value.as_str())));
            line(&mut out, "apiserver_request_total", &all, *count as f64);
        }
        header(
            &mut out,
            "apiserver_request_duration_seconds",
            "histogram",
            "Time to answer, without watches and logs.",
        );
        for (labels, histogram) in self.latency.lock().iter() {
            let shown = labels.shown();
            let shown: Vec<(&str, &str)> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
            render_histogram(&mut out, "apiserver_request_duration_seconds", &shown, histogram);
        }
        header(&mut out, "apiserver_registered_watchers", "gauge", "Watches that are open.");
        line(&mut out, "apiserver_registered_watchers", &[], self.watches.get() as f64);
        self.render_sessions(&mut out);
        self.hooks.render(&mut out);
        self.policies.render(&mut out);
        for (name, help, value) in [
            ("apiserver_tls_handshake_errors_total", "TLS handshakes that failed.", self.tls_failures.get()),
            ("gantry_write_conflicts_total", "Compare-and-swap writes that were tried again.", self.conflicts.get()),
            ("apiserver_dropped_requests_total", "Requests answered 429.", self.refused.get()),
        ] {
            header(&mut out, name, "counter", help);
            line(&mut out, name, &[], value as f64);
        }
        for (name, help, value) in extra {
            header(&mut out, name, "gauge", help);
            line(&mut out, name, &[], *value);
        }
        out
    }
}

/// Gauges that differ in one label.
pub(crate) fn render_gauges(out: &mut String, (name, help): (&str, &str), label: &str, values: &[(String, f64)]) {
    header(out, name, "gauge", help);
    for (value, number) in values {
        line(out, name, &[(label, value)], *number);
    }
}

fn render_histogram(out: &mut String, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
    let bucket = format!("{name}_bucket");
    let mut below = 0;
    for (bound, count) in BUCKETS.iter().zip(&histogram.counts) {
        below += count;
        line(out, &bucket, &[labels, &[("le", &bound.to_string())]].concat(), below as f64);
    }
    line(out, &bucket, &[labels, &[("le", "+Inf")]].concat(), histogram.total as f64);
    line(out, &format!("{name}_sum"), labels, histogram.sum_seconds);
    line(out, &format!("{name}_count"), labels, histogram.total as f64);
}

fn header(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let escape = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(out, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_label() {
        let metrics = Metrics::default();
        let labels =
            || Labels { verb: "update".to_owned(), version: "v1", resource: "pods", code: 200, ..Labels::default() };
        metrics.observe(labels(), Duration::from_millis(2));
        metrics.observe(Labels { code: 409, ..labels() }, Duration::from_secs(60));
        let text = metrics.render(&[("gantry_cache_revision", "The cache's revision.", 7.0)]);
        let expect = |line: &str| assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        let shown = r#"component="apiserver",dry_run="",group="",resource="pods",scope="",subresource="",verb="PUT",version="v1""#;
        expect(&format!("apiserver_request_total{{code=\"200\",{shown}}} 1"));
        expect(&format!("apiserver_request_total{{code=\"409\",{shown}}} 1"));
        expect(&format!("apiserver_request_duration_seconds_bucket{{{shown},le=\"0.001\"}} 0"));
        expect(&format!("apiserver_request_duration_seconds_bucket{{{shown},le=\"0.0025\"}} 1"));
        expect(&format!("apiserver_request_duration_seconds_bucket{{{shown},le=\"+Inf\"}} 2"));
        expect("gantry_cache_revision 7");
    }
}
