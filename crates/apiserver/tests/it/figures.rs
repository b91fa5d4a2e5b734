//! `/metrics` and `/metrics/slis`: upstream's names, types, labels and bounds, and numbers that move.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Cluster};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// One family: its type, and its samples by their name behind the family's and their labels.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

/// A page of figures, read as a scraper reads it.
#[derive(Debug)]
struct Figures(BTreeMap<String, Family>);

/// Labels in braces; values hold none of the signs that would have to be escaped.
fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.strip_suffix('"').unwrap_or(text).split("\",").filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once("=\"").expect("a label")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

impl Figures {
    fn read(text: &str) -> Self {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut order = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help");
                assert!(!families.contains_key(name), "{name} comes twice");
                families.entry(name.to_owned()).or_default().help = help.to_owned();
                order.push(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                families.get_mut(name).expect("help comes first").kind = kind.to_owned();
            } else {
                let family = order.last().expect("a head comes first");
                let (sample, value) = line.rsplit_once(' ').expect("a value");
                let (name, rest) = sample.split_once('{').unwrap_or((sample, "}"));
                let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} in {family}"));
                let key = (suffix.to_owned(), labels(rest.trim_end_matches('}')));
                let value = value.replace("+Inf", "inf").parse().unwrap_or_else(|_| panic!("{line} has no number"));
                let before = families.get_mut(family).expect("just seen").samples.insert(key, value);
                assert!(before.is_none(), "{line} comes twice");
            }
        }
        assert!(order.is_sorted(), "families are in order");
        Self(families)
    }

    fn family(&self, name: &str) -> &Family {
        self.0.get(name).unwrap_or_else(|| panic!("{name} is missing among {:?}", self.0.keys()))
    }

    /// The sum of the samples that have these labels.
    fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        let (family, suffix) = match name.strip_suffix("_count").filter(|base| self.0.contains_key(*base)) {
            Some(base) => (base, "_count"),
            None => (name, ""),
        };
        let Some(family) = self.0.get(family) else { return 0.0 };
        let has =
            |labels: &BTreeMap<String, String>| wanted.iter().all(|(k, v)| labels.get(*k).is_some_and(|l| l == v));
        let found = family.samples.iter().filter(|((name, labels), _)| name == suffix && has(labels));
        found.map(|(_, value)| value).sum()
    }
}

async fn figures(cluster: &Cluster) -> Figures {
    Figures::read(&cluster.rest("GET", "/metrics", &[], "").await.text)
}

async fn ask(cluster: &Cluster, method: &str, path: &str, body: &serde_json::Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    cluster.rest(method, path, &[], &body).await
}

/// Requests after which every figure of the table has a sample.
async fn be_used(cluster: &Cluster) {
    let nothing = serde_json::Value::Null;
    let map = json!({"metadata": {"name": "m"}, "data": {"a": "b"}});
    assert_eq!(ask(cluster, "POST", MAPS, &map).await.code, 201);
    assert_eq!(
        ask(cluster, "POST", &format!("{MAPS}?dryRun=All"), &json!({"metadata": {"name": "n"}})).await.code,
        201
    );
    assert_eq!(ask(cluster, "GET", &format!("{MAPS}/m"), &nothing).await.code, 200);
    assert_eq!(ask(cluster, "GET", MAPS, &nothing).await.code, 200);
    assert_eq!(ask(cluster, "GET", "/api/v1/namespaces/default/endpoints", &nothing).await.code, 200);
    let watch =
        "?watch=1&timeoutSeconds=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    assert_eq!(ask(cluster, "GET", &format!("{MAPS}{watch}"), &nothing).await.code, 200);
    assert_eq!(ask(cluster, "GET", "/readyz", &nothing).await.code, 200);
    let user = [("impersonate-user", "alice")];
    assert_eq!(cluster.rest("GET", MAPS, &user, "").await.code, 403);
    let discovery = [("impersonate-user", "alice"), ("impersonate-group", "system:authenticated")];
    assert_eq!(cluster.rest("GET", "/apis", &discovery, "").await.code, 200);
    let review = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(cluster.rest("POST", reviews, &discovery, &review.to_string()).await.code, 201);
}

const REQUEST: &str = "component group resource scope subresource verb version";

/// Names, types and labels, without `le`.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("aggregator_unavailable_apiservice", "gauge", "name"),
    ("apiserver_admission_controller_admission_duration_seconds", "histogram", "name operation rejected type"),
    ("apiserver_admission_step_admission_duration_seconds", "histogram", "operation rejected type"),
    ("apiserver_audit_event_total", "counter", ""),
    ("apiserver_authorization_decisions_total", "counter", "decision name type"),
    ("apiserver_cache_list_fetched_objects_total", "counter", "group index resource"),
    ("apiserver_cache_list_returned_objects_total", "counter", "group resource"),
    ("apiserver_cache_list_total", "counter", "group index resource"),
    ("apiserver_cel_compilation_duration_seconds", "histogram", ""),
    ("apiserver_cel_evaluation_duration_seconds", "histogram", ""),
    ("apiserver_client_certificate_expiration_seconds", "histogram", ""),
    ("apiserver_current_inflight_requests", "gauge", "request_kind"),
    ("apiserver_current_inqueue_requests", "gauge", "request_kind"),
    ("apiserver_flowcontrol_current_executing_requests", "gauge", "flow_schema priority_level"),
    ("apiserver_flowcontrol_current_executing_seats", "gauge", "flow_schema priority_level"),
    ("apiserver_flowcontrol_current_inqueue_requests", "gauge", "flow_schema priority_level"),
    ("apiserver_flowcontrol_dispatched_requests_total", "counter", "flow_schema priority_level"),
    ("apiserver_flowcontrol_nominal_limit_seats", "gauge", "priority_level"),
    ("apiserver_flowcontrol_request_wait_duration_seconds", "histogram", "execute flow_schema priority_level"),
    ("apiserver_init_events_total", "counter", "group resource"),
    ("apiserver_longrunning_requests", "gauge", REQUEST),
    (
        "apiserver_request_duration_seconds",
        "histogram",
        "component dry_run group resource scope subresource verb version",
    ),
    ("apiserver_request_sli_duration_seconds", "histogram", REQUEST),
    ("apiserver_request_total", "counter", "code component dry_run group resource scope subresource verb version"),
    ("apiserver_requested_deprecated_apis", "gauge", "group removed_release resource subresource version"),
    ("apiserver_resource_objects", "gauge", "group resource"),
    ("apiserver_response_sizes", "histogram", REQUEST),
    ("apiserver_storage_events_received_total", "counter", "group resource"),
    ("apiserver_storage_objects", "gauge", "resource"),
    ("apiserver_storage_size_bytes", "gauge", "storage_cluster_id"),
    ("apiserver_tls_handshake_errors_total", "counter", ""),
    ("apiserver_watch_cache_events_dispatched_total", "counter", "group resource"),
    ("apiserver_watch_cache_events_received_total", "counter", "group resource"),
    ("apiserver_watch_cache_initializations_total", "counter", "group resource"),
    ("apiserver_watch_cache_resource_version", "gauge", "group resource"),
    ("apiserver_watch_events_sizes", "histogram", "group resource version"),
    ("apiserver_watch_events_total", "counter", "group resource version"),
    ("apiserver_watch_list_duration_seconds", "histogram", "group resource scope version"),
    ("authenticated_user_requests", "counter", "username"),
    ("authentication_attempts", "counter", "result"),
    ("authentication_duration_seconds", "histogram", "result"),
    ("authorization_attempts_total", "counter", "result"),
    ("authorization_duration_seconds", "histogram", "result"),
    ("etcd_request_duration_seconds", "histogram", "group operation resource"),
    ("etcd_requests_total", "counter", "group operation resource"),
    ("go_goroutines", "gauge", ""),
    (
        "kubernetes_build_info",
        "gauge",
        "build_date compiler git_commit git_tree_state git_version go_version major minor platform",
    ),
    ("process_cpu_seconds_total", "counter", ""),
    ("process_max_fds", "gauge", ""),
    ("process_open_fds", "gauge", ""),
    ("process_resident_memory_bytes", "gauge", ""),
    ("process_start_time_seconds", "gauge", ""),
    ("process_virtual_memory_bytes", "gauge", ""),
    ("serviceaccount_legacy_tokens_total", "counter", ""),
];

const SECONDS: &str = "0.005 0.025 0.05 0.1 0.2 0.4 0.6 0.8 1 1.25 1.5 2 3 4 5 6 8 10 15 20 30 45 60 +Inf";
const DOUBLES: &str = "0.001 0.002 0.004 0.008 0.016 0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192 16.384 +Inf";

/// Bounds of histograms, as upstream writes them.
const BOUNDS: &[(&str, &str)] = &[
    ("apiserver_admission_controller_admission_duration_seconds", "0.005 0.025 0.1 0.5 1 2.5 +Inf"),
    ("apiserver_admission_step_admission_duration_seconds", "0.005 0.025 0.1 0.5 1 2.5 +Inf"),
    ("apiserver_cel_evaluation_duration_seconds", "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf"),
    (
        "apiserver_client_certificate_expiration_seconds",
        "0 1800 3600 7200 21600 43200 86400 172800 345600 604800 2.592e+06 7.776e+06 1.5552e+07 3.1104e+07 +Inf",
    ),
    ("apiserver_flowcontrol_request_wait_duration_seconds", "0 0.005 0.02 0.05 0.1 0.2 0.5 1 2 5 10 15 30 +Inf"),
    ("apiserver_request_duration_seconds", SECONDS),
    (
        "apiserver_request_sli_duration_seconds",
        "0.05 0.1 0.2 0.4 0.6 0.8 1 1.25 1.5 2 3 4 5 6 8 10 15 20 30 45 60 +Inf",
    ),
    ("apiserver_response_sizes", "1000 10000 100000 1e+06 1e+07 1e+08 1e+09 +Inf"),
    ("apiserver_watch_events_sizes", "1024 2048 4096 8192 16384 32768 65536 131072 +Inf"),
    ("apiserver_watch_list_duration_seconds", "0.05 0.1 0.2 0.4 0.6 0.8 1 2 4 6 8 10 15 20 30 45 60 +Inf"),
    ("authentication_duration_seconds", DOUBLES),
    ("authorization_duration_seconds", DOUBLES),
    ("etcd_request_duration_seconds", SECONDS),
];

#[tokio::test]
async fn names_types_labels_and_bounds_are_upstreams() {
    let cluster = Cluster::start().await;
    be_used(&cluster).await;
    let figures = figures(&cluster).await;
    for (name, kind, expected) in EXPECTED {
        let family = figures.family(name);
        assert_eq!(family.kind, *kind, "{name}");
        let is_upstreams = family.help.starts_with('[') || name.starts_with("process_") || name.starts_with("go_");
        assert!(is_upstreams, "{name} does not say how stable it is: {}", family.help);
        for (_, labels) in family.samples.keys() {
            let found: Vec<&str> = labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
            assert_eq!(found.join(" "), *expected, "{name}");
        }
    }
    for (name, expected) in BOUNDS {
        let bounds = figures.family(name).samples.keys().filter_map(|(_, labels)| labels.get("le"));
        let found: BTreeSet<&str> = bounds.map(String::as_str).collect();
        assert_eq!(found, expected.split(' ').collect(), "{name}");
    }
    for (name, family) in figures.0.iter().filter(|(_, family)| family.kind == "histogram") {
        let infinite = |labels: &BTreeMap<String, String>| labels.get("le").is_some_and(|le| le == "+Inf");
        for ((_, labels), count) in family.samples.iter().filter(|((_, labels), _)| infinite(labels)) {
            let mut labels = labels.clone();
            labels.remove("le");
            assert_eq!(family.samples.get(&("_count".to_owned(), labels)), Some(count), "{name}");
        }
    }
}

#[tokio::test]
async fn figures_move_with_requests() {
    let cluster = Cluster::start().await;
    let before = figures(&cluster).await;
    be_used(&cluster).await;
    let after = figures(&cluster).await;
    let check = |name: &str, labels: &[(&str, &str)], more: f64| {
        let found = after.sum(name, labels) - before.sum(name, labels);
        assert!((found - more).abs() < 1e-9, "{name} {labels:?}: {found} more, not {more}");
    };
    let maps = |verb| [("verb", verb), ("resource", "configmaps"), ("version", "v1"), ("component", "apiserver")];
    let with = |verb, label: &str, value: &str| {
        check("apiserver_request_total", &[&maps(verb)[..], &[(label, value)]].concat(), 1.0);
    };
    with("POST", "dry_run", "");
    with("POST", "dry_run", "All");
    with("GET", "scope", "resource");
    with("LIST", "code", "200");
    with("LIST", "code", "403");
    with("WATCH", "scope", "namespace");
    check("apiserver_request_total", &[("subresource", "/readyz"), ("verb", "GET")], 1.0);
    check("apiserver_request_duration_seconds_count", &maps("GET"), 1.0);
    check("apiserver_request_sli_duration_seconds_count", &maps("POST"), 2.0);
    check("apiserver_request_sli_duration_seconds_count", &maps("WATCH"), 0.0);
    check("apiserver_response_sizes_count", &maps("GET"), 1.0);
    check("apiserver_response_sizes_count", &maps("POST"), 0.0);
    check("apiserver_longrunning_requests", &maps("WATCH"), 0.0);
    check("apiserver_requested_deprecated_apis", &[("resource", "endpoints")], 1.0);
    check("apiserver_resource_objects", &[("resource", "configmaps")], 1.0);
    check("apiserver_storage_objects", &[("resource", "configmaps")], 1.0);
    check(
        "apiserver_watch_events_total",
        &[("resource", "configmaps")],
        after.sum("apiserver_init_events_total", &[("resource", "configmaps")]) + 1.0,
    );
    check("etcd_requests_total", &[("operation", "create"), ("resource", "configmaps")], 1.0);
    check("apiserver_cache_list_total", &[("resource", "endpoints"), ("index", "")], 1.0);
    let step = [("operation", "CREATE"), ("type", "validate"), ("rejected", "false")];
    assert!(after.sum("apiserver_admission_step_admission_duration_seconds_count", &step) >= 2.0);
    let plugin = [("name", "ServiceAccount"), ("operation", "CREATE"), ("type", "admit"), ("rejected", "false")];
    assert!(after.sum("apiserver_admission_controller_admission_duration_seconds_count", &plugin) >= 2.0);
    assert!(after.sum("authorization_attempts_total", &[("result", "no-opinion")]) >= 1.0);
    assert!(after.sum("apiserver_authorization_decisions_total", &[("type", "RBAC")]) >= 1.0);
    let exempt = [("flow_schema", "exempt"), ("priority_level", "exempt")];
    assert!(after.sum("apiserver_flowcontrol_dispatched_requests_total", &exempt) >= 1.0);
    assert!(after.sum("apiserver_client_certificate_expiration_seconds_count", &[]) > 5.0);
    assert!(after.sum("process_start_time_seconds", &[]) > 1.7e9);
}

#[tokio::test]
async fn a_watch_is_counted_while_it_lasts() {
    let cluster = Cluster::start().await;
    let labels = [("verb", "WATCH"), ("resource", "secrets"), ("scope", "cluster")];
    let watch = cluster.rest("GET", "/api/v1/secrets?watch=1&timeoutSeconds=2", &[], "");
    let looks = async {
        let seen = async {
            while figures(&cluster).await.sum("apiserver_longrunning_requests", &labels) < 1.0 {}
            figures(&cluster).await.sum("apiserver_request_total", &labels)
        };
        tokio::time::timeout(Duration::from_secs(30), seen).await.expect("it is counted")
    };
    let (_, answered) = tokio::join!(watch, looks);
    assert!(answered < 1.0, "it has not ended");
    let done = async { while figures(&cluster).await.sum("apiserver_request_total", &labels) < 1.0 {} };
    tokio::time::timeout(Duration::from_secs(30), done).await.expect("it is counted as answered");
}

#[tokio::test]
async fn the_form_is_negotiated_and_whoever_may_not_sees_nothing() {
    let cluster = Cluster::start().await;
    let get = async |path: &str, headers: &[(&str, &str)]| cluster.rest("GET", path, headers, "").await;
    let form = |answer: &Answer| answer.headers["content-type"].to_str().expect("text").to_owned();
    let plain = get("/metrics", &[]).await;
    assert_eq!(form(&plain), "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
    let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.1";
    let asked = get("/metrics", &[("accept", prometheus)]).await;
    assert_eq!(form(&asked), "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8");
    let packed = get("/metrics", &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.bytes[..]).read_to_string(&mut text).expect("packed");
    Figures::read(&text).family("process_open_fds");
    for path in ["/metrics", "/metrics/slis"] {
        assert_eq!(get(path, &[("impersonate-user", "bob")]).await.code, 403, "{path}");
        let monitor = [("impersonate-user", "bob"), ("impersonate-group", "system:monitoring")];
        assert_eq!(get(path, &monitor).await.code, 200, "{path}");
        assert_eq!(cluster.bare("GET", path, &[], "").await.code, 403, "{path}");
    }
}

#[tokio::test]
async fn checks_of_health_are_told() {
    let cluster = Cluster::start().await;
    for path in ["/livez", "/readyz", "/readyz", "/readyz?exclude=ping"] {
        assert_eq!(cluster.rest("GET", path, &[], "").await.code, 200, "{path}");
    }
    let figures = Figures::read(&cluster.rest("GET", "/metrics/slis", &[], "").await.text);
    assert_eq!(figures.0.keys().collect::<Vec<_>>(), ["kubernetes_healthcheck", "kubernetes_healthchecks_total"]);
    let value = |name: &str, labels: &[(&str, &str)]| figures.sum(name, labels);
    let ready = |check| [("name", check), ("type", "readyz")];
    assert!((value("kubernetes_healthcheck", &ready("etcd")) - 1.0).abs() < 1e-9);
    let total = |check: &str, status: &str| {
        value("kubernetes_healthchecks_total", &[("name", check), ("type", "readyz"), ("status", status)])
    };
    assert!((total("etcd", "success") - 3.0).abs() < 1e-9 && (total("ping", "success") - 2.0).abs() < 1e-9);
    assert!(total("etcd", "error") < 1e-9);
}
