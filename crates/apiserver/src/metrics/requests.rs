//! Figures of requests, with upstream's names and labels (`endpoints/metrics`).
//!
//! What a request was is looked up once, without a lock; what is counted then are numbers that
//! threads add to without waiting for each other.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gantry_api::kinds::KindInfo;
use gantry_common::metrics::{Family, Histogram, Page, Snapshot, float};
use http::Method;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Number;
use super::series::Table;
use crate::request::{Notes, Target};

/// Upper bounds of upstream's buckets, in seconds.
pub(super) static SECONDS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// The same for the indicator of the service level.
static SLI_SECONDS: [f64; 21] =
    [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];
/// The same of lists by watches, in seconds.
static LIST_SECONDS: [f64; 17] =
    [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];
/// The same of answers, in bytes.
static BYTES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Codes that are counted without a lock.
const CODES: [u16; 16] = [200, 201, 404, 409, 101, 202, 400, 401, 403, 405, 410, 422, 429, 500, 503, 504];

/// What was done, as upstream's metrics call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Verb {
    Apply,
    Connect,
    Delete,
    Get,
    List,
    Patch,
    Post,
    Put,
    Watch,
    /// What clients invent.
    Other,
}

impl Verb {
    /// Of a method, before more is known.
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::Get,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            _ => Self::Other,
        }
    }

    fn shown(self) -> &'static str {
        match self {
            Self::Apply => "APPLY",
            Self::Connect => "CONNECT",
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::List => "LIST",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Watch => "WATCH",
            Self::Other => "other",
        }
    }

    /// Whether it lasts as long as somebody looks.
    fn is_long(self) -> bool {
        matches!(self, Self::Watch | Self::Connect)
    }
}

/// What a request says of `dryRun`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum DryRun {
    #[default]
    No,
    All,
    Invalid,
}

impl DryRun {
    /// Of the values of the parameter.
    pub(crate) fn of(values: &[String]) -> Self {
        match values {
            [] => Self::No,
            all if all.iter().all(|value| value == "All") => Self::All,
            _ => Self::Invalid,
        }
    }

    fn shown(self) -> &'static str {
        match self {
            Self::No => "",
            Self::All => "All",
            Self::Invalid => "invalid",
        }
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
enum About {
    /// Nothing that is counted.
    Nothing,
    /// A path that upstream counts: `/healthz`.
    Path(&'static str),
    Resource {
        group: &'static str,
        version: &'static str,
        resource: &'static str,
        subresource: &'static str,
        scope: &'static str,
        deprecated: bool,
    },
}

impl About {
    fn of(kind: &KindInfo, subresource: &'static str, scope: &'static str) -> Self {
        let (group, version, resource) = (kind.group, kind.version, kind.resource);
        Self::Resource { group, version, resource, subresource, scope, deprecated: kind.deprecation.is_some() }
    }
}

/// What a request was, for counting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels {
    pub(crate) verb: Verb,
    pub(crate) dry_run: DryRun,
    about: About,
}

impl Labels {
    pub(crate) fn new(verb: Verb) -> Self {
        Self { verb, dry_run: DryRun::No, about: About::Nothing }
    }

    /// Notes what the request is about.
    pub(crate) fn about(&mut self, target: &Target) {
        let scope = match (target.name.is_empty(), target.namespace.is_empty()) {
            _ if self.verb == Verb::Post => "resource",
            (false, _) => "resource",
            (true, false) => "namespace",
            (true, true) => "cluster",
        };
        self.about = About::of(&target.kind, target.subresource, scope);
    }

    /// A connection with what an object stands for.
    pub(crate) fn connecting(kind: &KindInfo, subresource: &'static str) -> Self {
        Self { about: About::of(kind, subresource, "resource"), ..Self::new(Verb::Connect) }
    }

    /// Notes a path that is counted.
    pub(crate) fn path(&mut self, path: &'static str) {
        self.about = About::Path(path);
    }

    /// Nothing where it is not counted.
    fn shown(&self) -> Option<Shown> {
        let (group, version, resource, subresource, scope, deprecated) = match self.about {
            About::Nothing => return None,
            About::Path(path) => ("", "", "", path, "", false),
            About::Resource { group, version, resource, subresource, scope, deprecated } => {
                (group, version, resource, subresource, scope, deprecated)
            }
        };
        let (verb, dry_run) = (self.verb, self.dry_run);
        Some(Shown { verb, dry_run, group, version, resource, subresource, scope, deprecated })
    }
}

/// What [`Labels`] say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Shown {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
    verb: Verb,
    dry_run: DryRun,
    deprecated: bool,
}

impl Shown {
    /// The labels that most figures of requests have.
    fn labels(&self) -> Vec<(&'static str, &'static str)> {
        let mut labels = vec![("component", "apiserver")];
        labels.extend(self.bare());
        labels
    }

    fn bare(&self) -> [(&'static str, &'static str); 6] {
        [
            ("group", self.group),
            ("resource", self.resource),
            ("scope", self.scope),
            ("subresource", self.subresource),
            ("verb", self.verb.shown()),
            ("version", self.version),
        ]
    }

    /// The same whatever it said of dry runs.
    fn any_run(&self) -> Self {
        Self { dry_run: DryRun::No, ..*self }
    }
}

/// Counts by the code of the answer.
#[derive(Debug, Default)]
struct Codes {
    known: [Number; CODES.len()],
    others: Mutex<BTreeMap<u16, u64>>,
}

impl Codes {
    fn count(&self, code: u16) {
        match CODES.iter().position(|known| *known == code) {
            Some(at) => self.known[at].add(1),
            None => *self.others.lock().entry(code).or_default() += 1,
        }
    }

    /// The counts above 0.
    fn all(&self) -> BTreeMap<u16, u64> {
        let mut all = self.others.lock().clone();
        all.extend(CODES.iter().zip(&self.known).map(|(code, count)| (*code, count.get())));
        all.retain(|_, count| *count > 0);
        all
    }
}

/// Figures of requests that are alike.
#[derive(Debug)]
pub(crate) struct Series {
    shown: Shown,
    codes: Codes,
    terminated: Codes,
    took: Histogram,
    sli: Option<Histogram>,
    sizes: Option<Histogram>,
    /// Of long ones, those that go on now.
    open: Number,
    /// Of watches that begin with a list, how long that took.
    lists: OnceLock<Box<Histogram>>,
}

impl Series {
    fn new(shown: Shown) -> Self {
        let reads = matches!(shown.verb, Verb::Get | Verb::List);
        Self {
            shown,
            codes: Codes::default(),
            terminated: Codes::default(),
            took: Histogram::seconds(&SECONDS),
            sli: (!shown.verb.is_long()).then(|| Histogram::seconds(&SLI_SECONDS)),
            sizes: reads.then(|| Histogram::units(&BYTES)),
            open: Number::default(),
            lists: OnceLock::new(),
        }
    }

    fn observe(&self, code: u16, took: Duration) {
        self.codes.count(code);
        self.took.observe(took);
    }

    /// Notes how large an answer is.
    pub(crate) fn size(&self, bytes: u64) {
        if let Some(sizes) = &self.sizes {
            sizes.observe_units(bytes);
        }
    }
}

/// The size of an answer that is made while it is sent; counted when it is dropped.
pub(crate) struct Sizing {
    series: Arc<Series>,
    bytes: u64,
}

impl Sizing {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += u64::try_from(bytes).unwrap_or_default();
    }
}

impl Drop for Sizing {
    fn drop(&mut self) {
        self.series.size(self.bytes);
    }
}

/// A request that goes on after its answer has begun: counted as open while this lives, and as answered when it is dropped.
pub(crate) struct Lasting {
    series: Arc<Series>,
    began: Instant,
    code: u16,
}

impl Lasting {
    /// A watch has been told of all that there was at its start.
    pub(crate) fn listed(&self) {
        let lists = self.series.lists.get_or_init(|| Box::new(Histogram::seconds(&LIST_SECONDS)));
        lists.observe(self.began.elapsed());
    }

    /// How it ended, if not with 200.
    pub(crate) fn ended(&mut self, code: u16) {
        self.code = code;
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.series.open.sub(1);
        self.series.observe(self.code, self.began.elapsed());
    }
}

/// How a request was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered<'a> {
    pub(crate) code: u16,
    pub(crate) took: Duration,
    /// It was not answered in time.
    pub(crate) late: bool,
    pub(crate) notes: Option<&'a Notes>,
}

/// Figures of all requests.
#[derive(Debug, Default)]
pub(crate) struct Requests(Table<Shown, Series>);

impl Requests {
    fn series(&self, labels: &Labels) -> Option<Arc<Series>> {
        let shown = labels.shown()?;
        self.0.get_or_make(shown, || Series::new(shown))
    }

    /// Forgets a resource that is not served any more.
    pub(super) fn forget(&self, group: &str, resource: &str) {
        self.0.retain(|shown| (shown.group, shown.resource) != (group, resource));
    }

    /// Counts an answered request, unless it goes on; its series, for the size of the answer.
    pub(crate) fn observe(&self, labels: &Labels, answered: Answered<'_>) -> Option<Arc<Series>> {
        let series = self.series(labels)?;
        let Answered { code, took, late, notes } = answered;
        let (waited, refused) = notes.map_or((Duration::ZERO, false), |notes| (notes.waited(), notes.is_refused()));
        if late || refused {
            series.terminated.count(code);
        }
        if notes.is_some_and(Notes::goes_on) {
            return None;
        }
        series.observe(code, took);
        if let Some(sli) = &series.sli {
            sli.observe(took.saturating_sub(waited));
        }
        Some(series)
    }

    /// Begins to count the bytes of an answer.
    pub(crate) fn sizing(&self, labels: &Labels) -> Option<Sizing> {
        self.series(labels).map(|series| Sizing { series, bytes: 0 })
    }

    /// A request goes on from now on. `notes`: the request's own.
    pub(crate) fn last(&self, labels: &Labels, began: Instant, notes: &Notes) -> Option<Lasting> {
        let series = self.series(labels)?;
        notes.go_on();
        series.open.add(1);
        Some(Lasting { series, began, code: 200 })
    }

    /// How many watches go on.
    pub(crate) fn watches(&self) -> u64 {
        let watches = self.0.all().into_iter().filter(|(shown, _)| shown.verb == Verb::Watch);
        watches.map(|(_, series)| series.open.get()).sum()
    }

    pub(super) fn render(&self, page: &mut Page) {
        let all: Vec<Arc<Series>> = self.0.all().into_iter().map(|(_, series)| series).collect();
        counts(page, &all);
        let help = "[STABLE] Time to answer, in seconds, by verb, resource and scope; of watches and sessions, how long they went on.";
        let mut took = page.family("apiserver_request_duration_seconds", "histogram", help);
        for series in &all {
            let mut labels = series.shown.labels();
            labels.push(("dry_run", series.shown.dry_run.shown()));
            some(&mut took, &labels, &series.took.snapshot());
        }
        drop(took);
        let help = "[ALPHA] Time to answer, in seconds, without the time of webhooks and the wait for a place.";
        together(page, &all, ("apiserver_request_sli_duration_seconds", help), |series| series.sli.as_ref());
        let help = "[ALPHA] How long watches took to tell of all that there was at their start, in seconds.";
        let mut lists = page.family("apiserver_watch_list_duration_seconds", "histogram", help);
        for series in &all {
            let (Some(took), shown) = (series.lists.get(), series.shown) else { continue };
            let labels = [("group", shown.group), ("resource", shown.resource), ("scope", shown.scope)];
            lists.histogram(&[&labels[..], &[("version", shown.version)]].concat(), &took.snapshot());
        }
        drop(lists);
        let help = "[STABLE] Bytes of answers to reads, by verb, resource and scope.";
        together(page, &all, ("apiserver_response_sizes", help), |series| series.sizes.as_ref());
    }
}

/// Adds a histogram that is not empty.
fn some(family: &mut Family<'_>, labels: &[(&str, &str)], snapshot: &Snapshot) {
    if snapshot.total() > 0 {
        family.histogram(labels, snapshot);
    }
}

/// A histogram that does not tell dry runs apart.
fn together(page: &mut Page, all: &[Arc<Series>], (name, help): (&str, &str), of: fn(&Series) -> Option<&Histogram>) {
    let mut merged: BTreeMap<Shown, Snapshot> = BTreeMap::new();
    for series in all {
        let Some(snapshot) = of(series).map(Histogram::snapshot) else { continue };
        merged.entry(series.shown.any_run()).and_modify(|sum| sum.merge(&snapshot)).or_insert(snapshot);
    }
    let mut family = page.family(name, "histogram", help);
    for (shown, snapshot) in merged {
        some(&mut family, &shown.labels(), &snapshot);
    }
}

fn counts(page: &mut Page, all: &[Arc<Series>]) {
    let help = "[STABLE] Requests that were answered, by verb, resource, scope and code.";
    let mut total = page.family("apiserver_request_total", "counter", help);
    for series in all {
        for (code, count) in series.codes.all() {
            let code = code.to_string();
            let mut labels = series.shown.labels();
            labels.extend([("code", code.as_str()), ("dry_run", series.shown.dry_run.shown())]);
            total.sample(&labels, float(count));
        }
    }
    drop(total);
    let help = "[ALPHA] Requests that were given up so that the server can go on: too late, or too many.";
    let mut terminated: BTreeMap<(Shown, u16), u64> = BTreeMap::new();
    for series in all {
        for (code, count) in series.terminated.all() {
            *terminated.entry((series.shown.any_run(), code)).or_default() += count;
        }
    }
    let mut family = page.family("apiserver_request_terminations_total", "counter", help);
    for ((shown, code), count) in terminated {
        let code = code.to_string();
        let mut labels = shown.labels();
        labels.push(("code", &code));
        family.sample(&labels, float(count));
    }
    drop(family);
    let help = "[STABLE] Watches and sessions that go on now, by verb, resource and scope.";
    let mut open = page.family("apiserver_longrunning_requests", "gauge", help);
    for series in all.iter().filter(|series| series.shown.verb.is_long()) {
        open.sample(&series.shown.labels(), float(series.open.get()));
    }
    drop(open);
    let help = "[STABLE] 1 for each deprecated API that was asked for.";
    let mut deprecated: BTreeMap<[&str; 4], ()> = BTreeMap::new();
    for shown in all.iter().map(|series| series.shown).filter(|shown| shown.deprecated) {
        deprecated.insert([shown.group, shown.version, shown.resource, shown.subresource], ());
    }
    let mut family = page.family("apiserver_requested_deprecated_apis", "gauge", help);
    for ([group, version, resource, subresource], ()) in deprecated {
        let labels = [("group", group), ("version", version), ("resource", resource), ("subresource", subresource)];
        family.sample(&[&labels[..], &[("removed_release", "")]].concat(), 1.0);
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::kinds;

    use super::*;

    fn labels(verb: Verb, namespace: &str, name: &str) -> Labels {
        let pods = kinds::by_resource("", "v1", "pods").expect("served");
        let mut labels = Labels::new(verb);
        labels.about(&Target::new(pods, namespace, name));
        labels
    }

    fn answered(code: u16, milliseconds: u64) -> Answered<'static> {
        Answered { code, took: Duration::from_millis(milliseconds), late: false, notes: None }
    }

    fn text(requests: &Requests) -> String {
        let mut page = Page::default();
        requests.render(&mut page);
        page.text()
    }

    #[track_caller]
    fn expect(text: &str, line: &str) {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }

    #[test]
    fn requests_are_counted_by_label() {
        let requests = Requests::default();
        let put = labels(Verb::Put, "n", "p");
        requests.observe(&put, answered(200, 2));
        requests.observe(&put, answered(409, 60_000));
        requests.observe(&put, Answered { late: true, ..answered(504, 1) });
        requests.observe(&Labels { dry_run: DryRun::All, ..put }, answered(200, 70));
        requests.observe(&put, answered(418, 1));
        let text = text(&requests);
        let rest = r#"group="",resource="pods",scope="resource",subresource="",verb="PUT",version="v1""#;
        for (code, dry_run, count) in [("200", "", 1), ("409", "", 1), ("418", "", 1), ("200", "All", 1)] {
            let line = format!(
                "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"{dry_run}\",{rest}}} {count}"
            );
            expect(&text, &line);
        }
        let took = "apiserver_request_duration_seconds_bucket{component=\"apiserver\",dry_run=\"\",";
        expect(&text, &format!("{took}{rest},le=\"0.005\"}} 3"));
        expect(&text, &format!("{took}{rest},le=\"+Inf\"}} 4"));
        let sli = "apiserver_request_sli_duration_seconds_bucket{component=\"apiserver\",";
        expect(&text, &format!("{sli}{rest},le=\"0.05\"}} 3"));
        expect(&text, &format!("{sli}{rest},le=\"0.1\"}} 4"));
        expect(
            &text,
            &format!("apiserver_request_terminations_total{{code=\"504\",component=\"apiserver\",{rest}}} 1"),
        );
        assert!(!text.contains("apiserver_response_sizes"), "writes have none: {text}");
    }

    #[test]
    fn scopes_are_upstreams() {
        let check = |verb, namespace, name, expected| {
            assert_eq!(
                labels(verb, namespace, name).shown().expect("counted").scope,
                expected,
                "{verb:?} {namespace} {name}"
            );
        };
        check(Verb::Get, "n", "p", "resource");
        check(Verb::List, "n", "", "namespace");
        check(Verb::List, "", "", "cluster");
        check(Verb::Post, "n", "", "resource");
        check(Verb::Delete, "n", "", "namespace");
    }

    #[test]
    fn what_goes_on_is_counted_when_it_ends() {
        let (requests, notes) = (Requests::default(), Notes::default());
        let watch = labels(Verb::Watch, "", "");
        let lasting = requests.last(&watch, Instant::now(), &notes).expect("counted");
        requests.observe(&watch, Answered { notes: Some(&notes), ..answered(200, 1) });
        let rest = r#"group="",resource="pods",scope="cluster",subresource="",verb="WATCH",version="v1""#;
        let gauge = format!("apiserver_longrunning_requests{{component=\"apiserver\",{rest}}}");
        let total = format!("apiserver_request_total{{code=\"200\",component=\"apiserver\",dry_run=\"\",{rest}}} 1");
        let before = text(&requests);
        expect(&before, &format!("{gauge} 1"));
        assert!(!before.contains("apiserver_request_total"), "{before}");
        drop(lasting);
        let after = text(&requests);
        expect(&after, &format!("{gauge} 0"));
        expect(&after, &total);
        assert!(!after.contains("sli"), "a watch has no service level: {after}");
    }

    #[test]
    fn deprecated_ones_are_named_and_reads_have_sizes() {
        let requests = Requests::default();
        let endpoints = kinds::by_resource("", "v1", "endpoints").expect("served");
        let mut list = Labels::new(Verb::List);
        list.about(&Target::new(endpoints, "n", ""));
        requests.observe(&list, answered(200, 1)).expect("counted").size(1500);
        requests.sizing(&list).expect("counted").add(2_000_000);
        let text = text(&requests);
        let line = "apiserver_requested_deprecated_apis{group=\"\",removed_release=\"\",resource=\"endpoints\",subresource=\"\",version=\"v1\"} 1";
        expect(&text, line);
        let sizes = r#"component="apiserver",group="",resource="endpoints",scope="namespace",subresource="",verb="LIST",version="v1""#;
        expect(&text, &format!("apiserver_response_sizes_bucket{{{sizes},le=\"1000\"}} 0"));
        expect(&text, &format!("apiserver_response_sizes_bucket{{{sizes},le=\"10000\"}} 1"));
        expect(&text, &format!("apiserver_response_sizes_bucket{{{sizes},le=\"1e+07\"}} 2"));
    }
}
