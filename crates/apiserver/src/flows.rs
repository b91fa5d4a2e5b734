//! Which flow schema and priority level a request belongs to (`flowcontrol.apiserver.k8s.io`): clients are told in headers, and
//! a schema is told in its status whether its level exists. What is done about too many requests is another matter: see
//! `server/limits.rs`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::select_all;
use gantry_api::kinds::{self, KindInfo};
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_store::cache::Scope;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use serde_json::json;
use tracing::warn;

use crate::app::App;
use crate::auth::{SERVICE_ACCOUNT_PREFIX, User};
use crate::metrics::flows::{Flow as Figures, Flows as AllFigures};
use crate::pipeline::apply::{self, Configuration};
use crate::pipeline::{current, metadata};
use crate::request::{Caller, Target, WriteOptions};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// How long to wait before watching again after a watch ended.
const PAUSE: Duration = Duration::from_millis(200);
/// As upstream's controller calls itself.
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";
/// The schema of all that no other takes, whoever asks.
const CATCH_ALL: &str = "catch-all";
/// Where a schema names its level.
const LEVEL: &str = "spec.priorityLevelConfiguration.name";
/// What upstream calls the condition.
const DANGLING: &str = "Dangling";

fn kind(resource: &str) -> &'static KindInfo {
    kinds::by_resource(GROUP, "v1", resource).expect("the kinds of flow control are always served")
}

/// What a request is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    /// Set where no resource is meant.
    pub(crate) path: Option<&'a str>,
}

/// One schema whose level exists.
#[derive(Debug, Clone)]
struct Flow {
    order: (i64, String),
    uid: HeaderValue,
    level: HeaderValue,
    rules: Vec<Value>,
    figures: Arc<Figures>,
}

/// What is known of flow control.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    /// The schemas in the order in which they are looked at.
    schemas: ArcSwap<Vec<Flow>>,
    /// Of all seats, by the name of the priority level.
    shares: ArcSwap<BTreeMap<String, i64>>,
    /// What has become of requests.
    pub(crate) figures: AllFigures,
}

/// Shares of a level that does not say: upstream's defaults.
const LIMITED_SHARES: i64 = 30;
const EXEMPT_SHARES: i64 = 0;

fn shares_of(level: &Value) -> i64 {
    let (path, default) = match value::str_at(level, "spec.type") {
        Some("Exempt") => ("spec.exempt.nominalConcurrencyShares", EXEMPT_SHARES),
        _ => ("spec.limited.nominalConcurrencyShares", LIMITED_SHARES),
    };
    value::i64_at(level, path).unwrap_or(default)
}

fn has(rule: &Value, key: &str, wanted: &str) -> bool {
    value::list_at(rule, key).iter().filter_map(Value::as_str).any(|item| item == "*" || item == wanted)
}

fn is_subject(subject: &Value, user: &User) -> bool {
    let at = |path: &str| value::str_at(subject, path).unwrap_or_default();
    match at("kind") {
        "User" => matches!(at("user.name"), name if name == "*" || name == user.name),
        "Group" => matches!(at("group.name"), name if name == "*" || user.in_group(name)),
        "ServiceAccount" => {
            let account = user.name.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
            let name = at("serviceAccount.name");
            account.is_some_and(|(of, own)| of == at("serviceAccount.namespace") && (name == "*" || name == own))
        }
        _ => false,
    }
}

fn covers_resource(rule: &Value, asked: &Asked<'_>) -> bool {
    let full = match asked.subresource {
        "" => asked.resource.to_owned(),
        sub => format!("{}/{sub}", asked.resource),
    };
    let place = match asked.namespace {
        "" => value::bool_at(rule, "clusterScope"),
        namespace => has(rule, "namespaces", namespace),
    };
    has(rule, "verbs", asked.verb) && has(rule, "apiGroups", asked.group) && has(rule, "resources", &full) && place
}

fn covers_path(rule: &Value, verb: &str, path: &str) -> bool {
    let covers =
        |pattern: &str| pattern == path || pattern.strip_suffix('*').is_some_and(|head| path.starts_with(head));
    has(rule, "verbs", verb) && value::list_at(rule, "nonResourceURLs").iter().filter_map(Value::as_str).any(covers)
}

fn covers(rule: &Value, user: &User, asked: &Asked<'_>) -> bool {
    value::list_at(rule, "subjects").iter().any(|subject| is_subject(subject, user))
        && match asked.path {
            Some(path) => value::list_at(rule, "nonResourceRules").iter().any(|r| covers_path(r, asked.verb, path)),
            None => value::list_at(rule, "resourceRules").iter().any(|r| covers_resource(r, asked)),
        }
}

impl Flows {
    /// Takes a new picture of schemas and levels.
    fn replace(&self, schemas: &[Value], levels: &[Value]) {
        let uid =
            |object: &Value| HeaderValue::from_str(value::str_at(object, "metadata.uid").unwrap_or_default()).ok();
        let mut flows: Vec<Flow> = Vec::new();
        for schema in schemas {
            let (Some(own), Some(level)) = (uid(schema), level_of(schema, levels).and_then(uid)) else { continue };
            let name = value::str_at(schema, "metadata.name").unwrap_or_default().to_owned();
            let figures = self.figures.of(&name, value::str_at(schema, LEVEL).unwrap_or_default());
            let order = (value::i64_at(schema, "spec.matchingPrecedence").unwrap_or(i64::MAX), name);
            flows.push(Flow { order, uid: own, level, rules: value::list_at(schema, "spec.rules").to_vec(), figures });
        }
        flows.sort_by(|a, b| a.order.cmp(&b.order));
        self.schemas.store(Arc::new(flows));
        let named = |level: &Value| Some((value::str_at(level, "metadata.name")?.to_owned(), shares_of(level)));
        self.shares.store(Arc::new(levels.iter().filter_map(named).collect()));
    }

    /// How many of `seats` each priority level has by its shares, as upstream counts them.
    pub(crate) fn nominal_seats(&self, seats: usize) -> Vec<(String, f64)> {
        let shares = self.shares.load();
        let sum = shares.values().sum::<i64>().max(1) as f64;
        shares.iter().map(|(name, own)| (name.clone(), (seats as f64 * *own as f64 / sum).ceil())).collect()
    }

    /// Tells the client where its request belongs; the figures of its flow.
    pub(crate) fn tell(&self, user: &User, asked: &Asked<'_>, headers: &mut HeaderMap) -> Option<Arc<Figures>> {
        let flows = self.schemas.load();
        let is_in = |flow: &&Flow| flow.order.1 == CATCH_ALL || flow.rules.iter().any(|rule| covers(rule, user, asked));
        let flow = flows.iter().find(is_in)?;
        headers.insert("x-kubernetes-pf-flowschema-uid", flow.uid.clone());
        headers.insert("x-kubernetes-pf-prioritylevel-uid", flow.level.clone());
        Some(flow.figures.clone())
    }
}

/// The level that a schema names.
fn level_of<'a>(schema: &Value, levels: &'a [Value]) -> Option<&'a Value> {
    let wanted = value::str_at(schema, LEVEL)?;
    levels.iter().find(|level| value::str_at(level, "metadata.name") == Some(wanted))
}

/// Follows schemas and levels until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        let Err(why) = follow(&app).await;
        warn!(why, "following flow schemas broke off, starting again");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(app: &App) -> Result<Infallible, String> {
    let from = app.cache.revision();
    let mut watches = Vec::new();
    for resource in ["flowschemas", "prioritylevelconfigurations"] {
        watches.push(app.view(kind(resource)).watch(from, Scope::All).await.map_err(|e| e.to_string())?.boxed());
    }
    let mut events = select_all(watches);
    loop {
        let all = |resource: &str| -> Vec<Value> {
            let snapshot = app.view(kind(resource)).snapshot();
            snapshot.list(None, None).filter_map(|o| serde_json::from_slice(o.json()).ok()).collect()
        };
        let (schemas, levels) = (all("flowschemas"), all("prioritylevelconfigurations"));
        app.flows.replace(&schemas, &levels);
        for schema in &schemas {
            correct(app, schema, level_of(schema, &levels).is_some()).await.map_err(|status| status.message)?;
        }
        events.next().await.ok_or("the watch ended")?.map_err(|e| e.to_string())?;
    }
}

/// The condition that says whether a schema's level is missing.
fn condition(level: &str, exists: bool, now: Timestamp) -> Value {
    let (status, reason, rest) = match exists {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    json!({
        "type": DANGLING, "status": status, "reason": reason, "lastTransitionTime": metadata::time(now),
        "message": format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {rest}"),
    })
}

/// Says so in a new schema, before it is stored: its creator does not see it change a moment later.
///
/// # Errors
/// When the store fails.
pub(crate) async fn judge_new(app: &App, schema: &mut Value) -> Result<(), Status> {
    let level = value::str_at(schema, LEVEL).unwrap_or_default().to_owned();
    let target = Target::new(kind("prioritylevelconfigurations"), "", &level);
    let exists = current::reload(app, &target).await?.is_some();
    value::set(schema, "status", json!({"conditions": [condition(&level, exists, app.clock.now())]}));
    Ok(())
}

/// Corrects what a schema's status says of its level.
async fn correct(app: &App, schema: &Value, exists: bool) -> Result<(), Status> {
    let at = |path: &str| value::str_at(schema, path).unwrap_or_default();
    let said = value::list_at(schema, "status.conditions").iter().find(|c| value::str_at(c, "type") == Some(DANGLING));
    let right = condition(at(LEVEL), exists, app.clock.now());
    // Whoever has taken the condition away means it.
    if said.is_none_or(|said| said["status"] == right["status"]) {
        return Ok(());
    }
    let kind = kind("flowschemas");
    let config = json!({
        "apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": at("metadata.name")},
        "status": {"conditions": [right]},
    });
    let config = Configuration::parse(&Bytes::from(config.to_string()), true)?;
    let target = Target { subresource: "status", ..Target::new(kind, "", at("metadata.name")) };
    let options = WriteOptions { field_manager: MANAGER.to_owned(), ..WriteOptions::default() };
    match apply::apply(app, &Caller::apiserver(), &target, &config, &options).await {
        Err(status) if !status.is("NotFound") && !status.is("Conflict") => Err(status),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_seats_by_their_shares() {
        let level = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        let flows = Flows::default();
        assert!(flows.nominal_seats(600).is_empty());
        let levels = [
            level("exempt", json!({"type": "Exempt"})),
            level("a", json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 10}})),
            level("b", json!({"type": "Limited", "limited": {}})),
        ];
        flows.replace(&[], &levels);
        let seats = flows.nominal_seats(601);
        let expected = [("a", 151.0), ("b", 451.0), ("exempt", 0.0)].map(|(name, seats)| (name.to_owned(), seats));
        assert_eq!(seats, expected);
    }

    fn with_uid(mut object: Value) -> Value {
        let uid = object["metadata"]["name"].clone();
        object["metadata"]["uid"] = uid;
        object
    }

    #[test]
    fn requests_belong_where_upstream_puts_them() {
        let all: Vec<Value> =
            gantry_api::flow::mandatory().into_iter().chain(gantry_api::flow::suggested()).map(with_uid).collect();
        let (schemas, levels): (Vec<Value>, Vec<Value>) = all.into_iter().partition(|o| o["kind"] == "FlowSchema");
        let flows = Flows::default();
        flows.replace(&schemas, &levels);
        let check = |name: &str, groups: &[&str], asked: Asked<'_>, expected: &str| {
            let groups = groups.iter().map(|g| (*g).to_owned()).collect();
            let user = User { name: name.to_owned(), groups, ..User::default() };
            let mut headers = HeaderMap::new();
            flows.tell(&user, &asked, &mut headers);
            let told = |key: &str| headers[key].to_str().expect("text").to_owned();
            let pair =
                format!("{} {}", told("x-kubernetes-pf-flowschema-uid"), told("x-kubernetes-pf-prioritylevel-uid"));
            assert_eq!(pair, expected, "{name} {asked:?}");
        };
        let pods = Asked { verb: "list", resource: "pods", namespace: "a", ..Asked::default() };
        let known = "system:authenticated";
        check("admin", &["system:masters", known], pods, "exempt exempt");
        check("bob", &[known], pods, "global-default global-default");
        check("system:node:n", &["system:nodes", known], pods, "system-nodes system");
        let node = Asked { verb: "patch", resource: "nodes", subresource: "status", ..Asked::default() };
        check("system:node:n", &["system:nodes", known], node, "system-node-high node-high");
        let lease =
            Asked { verb: "get", group: "coordination.k8s.io", resource: "leases", namespace: "a", ..Asked::default() };
        check("system:kube-scheduler", &[known], lease, "system-leader-election leader-election");
        let account = "system:serviceaccount:a:b";
        check(account, &["system:serviceaccounts", known], pods, "service-accounts workload-low");
        let health = Asked { verb: "get", path: Some("/healthz"), ..Asked::default() };
        check("bob", &[known], health, "probes exempt");
        check("bob", &[known], Asked { path: Some("/version"), ..health }, "global-default global-default");
        check("nobody", &[], Asked::default(), "catch-all catch-all");
    }
}
