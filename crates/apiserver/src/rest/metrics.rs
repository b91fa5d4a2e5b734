//! `/metrics` and `/metrics/slis`: what was counted, and what is looked up when somebody asks.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use gantry_api::value;
use gantry_common::metrics::{self, Page, float};
use gantry_store::cache::View;
use http::{HeaderValue, header};

use super::answer;
use super::handler::Incoming;
use crate::aggregate;
use crate::app::App;
use crate::registry::aggregation::available;
use crate::server::Response;

/// How long the store may take to say how large it is (as upstream).
const STORE_TIMEOUT: Duration = Duration::from_secs(1);
/// Upstream shows the last fifteen digits of a revision, all of which a float can hold.
const REVISIONS: u64 = 1_000_000_000_000_000;
/// How names that the form cannot show could be written; none are shown.
const ESCAPINGS: &[&str] = &["allow-utf-8", "underscores", "dots", "values"];

/// `/metrics`.
pub(crate) async fn all(app: &App, request: &Incoming) -> Response {
    let mut page = Page::default();
    app.metrics.render(&mut page, &app.admission.names());
    app.authenticator.figures.render(&mut page);
    app.authenticator.legacy_uses().counts.render(&mut page);
    app.authorizer.render(&mut page);
    app.flows.figures.render(&mut page);
    app.audit.render(&mut page);
    in_flight(app, &mut page);
    objects(app, &mut page);
    cache(app, &mut page);
    aggregation(app, &mut page);
    storage(app, &mut page).await;
    metrics::process(&mut page);
    metrics::build_info(&mut page);
    answer(page, request)
}

/// `/metrics/slis`.
pub(crate) fn slis(app: &App, request: &Incoming) -> Response {
    let mut page = Page::default();
    app.metrics.slis.render(&mut page);
    answer(page, request)
}

/// The page in the form that is asked for. As upstream, it is always this text form, of which there are two versions that do not
/// differ in what is shown here; whoever asks for another one gets it too.
fn answer(page: Page, request: &Incoming) -> Response {
    let form = negotiated(request.header(header::ACCEPT));
    let (text, packs) = (page.text(), request.style.gzip);
    let packed = packs.then(|| packed(text.as_bytes())).flatten();
    let is_packed = packed.is_some();
    let mut response = match packed {
        Some(bytes) => answer::bytes(200, bytes),
        None => answer::text(200, text),
    };
    let headers = response.headers_mut();
    if is_packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(form) = HeaderValue::from_str(&form) {
        headers.insert(header::CONTENT_TYPE, form);
    }
    response
}

fn packed(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text).and_then(|()| encoder.finish()).ok()
}

/// A parameter of a media range.
fn parameter<'a>(range: &'a str, key: &str) -> Option<&'a str> {
    range.split(';').skip(1).find_map(|part| part.trim().strip_prefix(key)?.strip_prefix('=').map(str::trim))
}

/// The media type of the answer, as Prometheus' `expfmt.Negotiate` finds it.
fn negotiated(accept: &str) -> String {
    let quality = |range: &&str| parameter(range, "q").and_then(|q| q.parse::<f64>().ok()).unwrap_or(1.0);
    let mut ranges: Vec<&str> = accept.split(',').collect();
    ranges.sort_by(|a, b| quality(b).total_cmp(&quality(a)));
    let (mut escaping, mut version) = ("underscores", "0.0.4");
    for range in ranges {
        let wanted = parameter(range, "escaping");
        if let Some(known) = ESCAPINGS.iter().find(|known| Some(**known) == wanted) {
            escaping = known;
        }
        let media = range.split(';').next().unwrap_or_default().trim();
        match (media, parameter(range, "version")) {
            ("text/plain", Some("1.0.0")) => {
                version = "1.0.0";
                break;
            }
            ("text/plain", None | Some("0.0.4")) => break,
            _ => {}
        }
    }
    format!("text/plain; version={version}; charset=utf-8; escaping={escaping}")
}

fn in_flight(app: &App, page: &mut Page) {
    let kinds = [("readOnly", false), ("mutating", true)];
    let peaks = kinds.map(|(kind, write)| (kind, app.limits.peaks(write)));
    let help =
        "[STABLE] How many requests were worked on, at most in the last second, by whether they change something.";
    let mut working = page.family("apiserver_current_inflight_requests", "gauge", help);
    peaks.iter().for_each(|(kind, (most, _))| working.sample(&[("request_kind", kind)], float(*most)));
    drop(working);
    let help =
        "[ALPHA] How many requests waited for a place, at most in the last second, by whether they change something.";
    let mut waiting = page.family("apiserver_current_inqueue_requests", "gauge", help);
    peaks.iter().for_each(|(kind, (_, most))| waiting.sample(&[("request_kind", kind)], float(*most)));
    drop(waiting);
    let seats = app.config.max_requests_inflight.saturating_add(app.config.max_mutating_requests_inflight);
    let help = "[BETA] How many places each priority level has by its shares.";
    let mut nominal = page.family("apiserver_flowcontrol_nominal_limit_seats", "gauge", help);
    for (level, seats) in app.flows.nominal_seats(seats) {
        nominal.sample(&[("priority_level", &level)], seats);
    }
}

/// Views of the cache by the group and resource of what is in them.
fn views(app: &App) -> BTreeMap<(&'static str, &'static str), View> {
    let kinds = app.kinds.kinds();
    let stored = kinds.distinct().filter_map(|kind| Some((kind, app.cache.view(&kind.storage_prefix)?)));
    stored.map(|(kind, view)| ((kind.group, kind.resource), view)).collect()
}

fn count(number: usize) -> f64 {
    float(u64::try_from(number).unwrap_or(u64::MAX))
}

fn objects(app: &App, page: &mut Page) {
    let views = views(app);
    type Read = fn(&View) -> f64;
    let rows: [(&str, &str, &str, Read); 6] = [
        ("apiserver_resource_objects", "gauge", "[ALPHA] Objects that are stored, by resource.", |view| {
            count(view.len())
        }),
        ("apiserver_storage_events_received_total", "counter", "[BETA] Changes that etcd told of.", |view| {
            float(view.received())
        }),
        ("apiserver_watch_cache_events_received_total", "counter", "[ALPHA] Changes that the cache took up.", |view| {
            float(view.received())
        }),
        (
            "apiserver_watch_cache_events_dispatched_total",
            "counter",
            "[ALPHA] Changes that watches were told of.",
            |view| float(view.received()),
        ),
        ("apiserver_watch_cache_initializations_total", "counter", "[ALPHA] How often the cache was filled.", |view| {
            float(view.fillings())
        }),
        (
            "apiserver_watch_cache_resource_version",
            "gauge",
            "[ALPHA] The revision that the cache has reached, without its digits above the fifteenth.",
            |view| float(view.snapshot().revision() % REVISIONS),
        ),
    ];
    for (name, kind, help, read) in rows {
        let mut family = page.family(name, kind, help);
        for ((group, resource), view) in &views {
            family.sample(&[("group", group), ("resource", resource)], read(view));
        }
    }
    let help = "[STABLE] Objects that are stored, by resource; apiserver_resource_objects tells the group by itself.";
    let mut family = page.family("apiserver_storage_objects", "gauge", help);
    for ((group, resource), view) in &views {
        let name = if group.is_empty() { (*resource).to_owned() } else { format!("{resource}.{group}") };
        family.sample(&[("resource", &name)], count(view.len()));
    }
}

fn cache(app: &App, page: &mut Page) {
    let counters = app.cache.counters();
    let objects: usize = app.cache.views().iter().map(View::len).sum();
    let watchers: usize = app.cache.views().iter().map(View::watchers).sum();
    for (name, help, value) in [
        ("gantry_cache_revision", "Revision that the watch cache has reached.", float(app.cache.revision())),
        ("gantry_cache_objects", "Objects in the watch cache.", count(objects)),
        ("gantry_cache_watchers", "Subscriptions to the watch cache.", count(watchers)),
        ("gantry_watches", "Watches that are open.", float(app.metrics.requests.watches())),
        (
            "gantry_watch_seats",
            "Watches that are told together with others who watch the same.",
            count(app.crowds.seats()),
        ),
        ("gantry_cache_events_total", "Events taken from etcd.", float(counters.events())),
        ("gantry_cache_lists_total", "Full reads of etcd.", float(counters.lists())),
        ("gantry_cache_watch_starts_total", "Watches of etcd started.", float(counters.watch_starts())),
        (
            "gantry_cache_mismatches_total",
            "Differences between etcd and cache that were found.",
            float(counters.mismatches()),
        ),
        ("gantry_cache_revision_reads_total", "Consistent-read questions to etcd.", float(counters.revision_reads())),
    ] {
        page.single(name, if name.ends_with("_total") { "counter" } else { "gauge" }, help, value);
    }
}

/// What the conditions of APIServices say.
fn aggregation(app: &App, page: &mut Page) {
    let help = "[ALPHA] APIServices that cannot be had: 1, others 0.";
    let mut family = page.family("aggregator_unavailable_apiservice", "gauge", help);
    for object in app.view(aggregate::kind()).snapshot().list(None, None) {
        let Ok(object) = serde_json::from_slice::<gantry_api::Value>(object.json()) else { continue };
        let name = value::str_at(&object, "metadata.name").unwrap_or_default();
        let is_missing = available(&object).is_some_and(|known| value::str_at(known, "status") == Some("False"));
        family.sample(&[("name", name)], f64::from(u8::from(is_missing)));
    }
}

async fn storage(app: &App, page: &mut Page) {
    // A store that does not say is left out, as upstream.
    if let Ok(Ok(status)) = tokio::time::timeout(STORE_TIMEOUT, app.store.status()).await {
        let help = "[STABLE] Bytes of the file of etcd's database.";
        let mut family = page.family("apiserver_storage_size_bytes", "gauge", help);
        family.sample(&[("storage_cluster_id", "etcd-0")], float(status.database_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_found_as_prometheus_finds_it() {
        let check = |accept: &str, version: &str, escaping: &str| {
            let expected = format!("text/plain; version={version}; charset=utf-8; escaping={escaping}");
            assert_eq!(negotiated(accept), expected, "{accept}");
        };
        check("", "0.0.4", "underscores");
        check("*/*", "0.0.4", "underscores");
        check("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4", "0.0.4", "underscores");
        check("text/plain;version=1.0.0;escaping=allow-utf-8,text/plain;version=0.0.4;q=0.6", "1.0.0", "allow-utf-8");
        check("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.2,*/*", "0.0.4", "underscores");
        check("application/openmetrics-text; version=1.0.0", "0.0.4", "underscores");
        check("text/plain;version=0.0.4;q=0.2,text/plain;version=1.0.0;q=0.5", "1.0.0", "underscores");
        check("text/plain; escaping=nonsense", "0.0.4", "underscores");
    }
}
