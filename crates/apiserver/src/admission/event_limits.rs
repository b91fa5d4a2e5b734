//! `EventRateLimit`: who writes too many events is told to wait.

use std::collections::BTreeMap;

use async_trait::async_trait;
use gantry_api::field::{Error, Path};
use gantry_api::status::Status;
use gantry_api::{Value, value};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use super::{Operation, Plugin, Request};

/// Buckets of one limit, where the configuration does not say how many.
const BUCKETS: usize = 4096;
const TYPES: [&str; 4] = ["Namespace", "Server", "SourceAndObject", "User"];

/// One limit of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Limit {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    qps: i32,
    #[serde(default)]
    burst: i32,
    #[serde(default)]
    cache_size: i32,
}

/// What is wrong with the limits, in upstream's words.
pub(super) fn errors(limits: &[Limit]) -> Vec<Error> {
    let root = Path::new("limits");
    let mut out = Vec::new();
    if limits.is_empty() {
        out.push(Error::invalid(&root, Value::Null, "must not be empty"));
    }
    for (index, limit) in limits.iter().enumerate() {
        let at = root.index(index);
        if !TYPES.contains(&limit.kind.as_str()) {
            out.push(Error::not_supported(&at.child("type"), limit.kind.as_str(), &TYPES));
        }
        for (field, amount) in [("burst", limit.burst), ("qps", limit.qps)] {
            if amount <= 0 {
                out.push(Error::invalid(&at.child(field), amount, "must be positive"));
            }
        }
        if limit.kind != "Server" && limit.cache_size < 0 {
            out.push(Error::invalid(&at.child("cacheSize"), limit.cache_size, "must not be negative"));
        }
    }
    out
}

/// Tokens that trickle in, up to a burst.
struct Bucket {
    tokens: f64,
    at: Instant,
    /// When it was used last, in uses of all of them.
    turn: u64,
}

/// The buckets of one limit; the one that was used longest ago makes room.
struct Buckets {
    limit: Limit,
    of: BTreeMap<String, Bucket>,
    /// Keys by the turn of their bucket.
    order: BTreeMap<u64, String>,
    turn: u64,
}

impl Buckets {
    fn new(limit: Limit) -> Self {
        Self { limit, of: BTreeMap::new(), order: BTreeMap::new(), turn: 0 }
    }

    fn accept(&mut self, key: &str, now: Instant) -> bool {
        let (qps, burst) = (f64::from(self.limit.qps), f64::from(self.limit.burst));
        self.turn += 1;
        let turn = self.turn;
        let bucket = self.of.entry(key.to_owned()).or_insert(Bucket { tokens: burst, at: now, turn });
        self.order.remove(&bucket.turn);
        self.order.insert(turn, key.to_owned());
        bucket.turn = turn;
        bucket.tokens = (bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * qps).min(burst);
        bucket.at = now;
        let accepted = bucket.tokens >= 1.0;
        if accepted {
            bucket.tokens -= 1.0;
        }
        let size = usize::try_from(self.limit.cache_size).ok().filter(|size| *size > 0).unwrap_or(BUCKETS);
        while self.order.len() > size {
            if let Some((_, oldest)) = self.order.pop_first() {
                self.of.remove(&oldest);
            }
        }
        accepted
    }
}

pub(super) struct EventRateLimit(Vec<Mutex<Buckets>>);

impl EventRateLimit {
    pub(super) fn new(limits: &[Limit]) -> Self {
        Self(limits.iter().cloned().map(|limit| Mutex::new(Buckets::new(limit))).collect())
    }

    /// What the limits say that have been reached.
    fn refusals(&self, namespace: &str, user: &str, event: &Value, now: Instant) -> Vec<String> {
        let mut out = Vec::new();
        for limit in &self.0 {
            let mut buckets = limit.lock();
            let key = match buckets.limit.kind.as_str() {
                "Namespace" => namespace.to_owned(),
                "User" => user.to_owned(),
                "SourceAndObject" => source_and_object(event),
                _ => String::new(),
            };
            if !buckets.accept(&key, now) {
                out.push(format!("Too many requests: limit reached on type {} for key {key}", buckets.limit.kind));
            }
        }
        out
    }
}

fn source_and_object(event: &Value) -> String {
    [
        "source.component",
        "source.host",
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
    ]
    .iter()
    .map(|path| value::str_at(event, path).unwrap_or_default())
    .collect()
}

#[async_trait]
impl Plugin for EventRateLimit {
    fn name(&self) -> &'static str {
        "EventRateLimit"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let kind = &request.target.kind;
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        if kind.kind != "Event" || !matches!(kind.group, "" | "events.k8s.io") || !written || request.dry_run {
            return Ok(());
        }
        let user = &request.caller.user.name;
        let mut refusals = self.refusals(&request.target.namespace, user, object, Instant::now());
        refusals.dedup();
        let text = match refusals.as_slice() {
            [] => return Ok(()),
            [only] => only.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        Err(Status::failure(429, "TooManyRequests", format!("Too many requests: {text}")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn limit(kind: &str, qps: i32, burst: i32, cache_size: i32) -> Limit {
        Limit { kind: kind.to_owned(), qps, burst, cache_size }
    }

    #[test]
    fn buckets_fill_again() {
        let plugin = EventRateLimit::new(&[limit("Namespace", 1, 2, 2)]);
        let start = Instant::now();
        let asked = |namespace: &str, seconds: u64| {
            plugin.refusals(namespace, "u", &json!({}), start + Duration::from_secs(seconds))
        };
        assert_eq!((asked("a", 0), asked("a", 0)), (vec![], vec![]));
        assert_eq!(asked("a", 0), ["Too many requests: limit reached on type Namespace for key a"]);
        assert_eq!(asked("b", 0), Vec::<String>::new(), "others have buckets of their own");
        assert_eq!(asked("a", 1), Vec::<String>::new());
        assert_eq!(asked("a", 1).len(), 1);
        assert_eq!((asked("b", 1).len(), asked("c", 1).len()), (0, 0));
        assert_eq!(asked("a", 1).len(), 0, "two others made it be forgotten");
    }

    #[test]
    fn each_limit_has_its_key() {
        let event =
            json!({"source": {"component": "kubelet", "host": "n"}, "involvedObject": {"kind": "Pod", "name": "p"}});
        assert_eq!(source_and_object(&event), "kubeletnPodp");
        let plugin = EventRateLimit::new(&[limit("Server", 1, 1, 0), limit("User", 1, 1, 0)]);
        let now = Instant::now();
        assert_eq!(plugin.refusals("n", "u", &event, now).len(), 0);
        assert_eq!(
            plugin.refusals("m", "v", &event, now),
            ["Too many requests: limit reached on type Server for key "]
        );
    }

    #[test]
    fn limits_are_checked() {
        let texts = |limits: &[Limit]| errors(limits).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&[]), ["limits: Invalid value: \"null\": must not be empty"]);
        assert_eq!(
            texts(&[limit("Pod", 0, 1, -1)]),
            [
                "limits[0].type: Unsupported value: \"Pod\": supported values: \"Namespace\", \"Server\", \"SourceAndObject\", \"User\"",
                "limits[0].qps: Invalid value: 0: must be positive",
                "limits[0].cacheSize: Invalid value: -1: must not be negative",
            ]
        );
    }
}
