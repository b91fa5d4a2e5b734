//! `kubectl get pods`: readiness, the reason that says most, restarts.

use std::collections::HashSet;

use gantry_api::{Value, value};
use jiff::Timestamp;
use serde_json::json;

use crate::registry::columns::{AGE, NAME, age, column, name, number, of_field, since, text, text_or};
use crate::registry::{Column, Row};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
    column("Status", "string", "The aggregate status of the containers in this pod."),
    column(
        "Restarts",
        "string",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    AGE,
    of_field("IP", "string", "core/v1.PodStatus", "podIP").wide(),
    of_field("Node", "string", "core/v1.PodSpec", "nodeName").wide(),
    of_field("Nominated Node", "string", "core/v1.PodStatus", "nominatedNodeName").wide(),
    of_field("Readiness Gates", "string", "core/v1.PodSpec", "readinessGates").wide(),
];

/// What the containers' statuses add up to.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: Restarts,
}

/// A count of restarts and the time of the last one (RFC 3339, or empty).
#[derive(Default)]
struct Restarts {
    count: i64,
    last: String,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += number(status, "restartCount");
        let ended = text(status, "lastState.terminated.finishedAt");
        // RFC 3339 times in UTC with whole seconds sort as text.
        if ended > self.last.as_str() {
            ended.clone_into(&mut self.last);
        }
    }
}

pub(super) fn row(pod: &Value, now: Timestamp) -> Row {
    let summary = summarize(pod);
    let restarts = match (summary.restarts.count, summary.restarts.last.as_str()) {
        (0, _) | (_, "") => summary.restarts.count.to_string(),
        (count, last) => format!("{count} ({} ago)", since(last, now)),
    };
    let ip = value::list_at(pod, "status.podIPs").first().map_or("<none>", |ip| text_or(ip, "ip", "<none>"));
    Row {
        cells: vec![
            name(pod),
            format!("{}/{}", summary.ready, summary.total).into(),
            summary.reason.into(),
            restarts.into(),
            age(pod, now),
            ip.into(),
            text_or(pod, "spec.nodeName", "<none>").into(),
            text_or(pod, "status.nominatedNodeName", "<none>").into(),
            readiness_gates(pod).into(),
        ],
        conditions: completed(pod),
    }
}

fn completed(pod: &Value) -> Vec<Value> {
    let (reason, message) = match text(pod, "status.phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = value::list_at(pod, "spec.readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let met = gates.iter().filter(|gate| condition(pod, text(gate, "conditionType"))).count();
    format!("{met}/{}", gates.len())
}

/// Whether the pod's condition `kind` is true.
fn condition(pod: &Value, kind: &str) -> bool {
    let conditions = value::list_at(pod, "status.conditions");
    conditions.iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

fn summarize(pod: &Value) -> Summary {
    let total = value::list_at(pod, "spec.containers").len()
        + value::list_at(pod, "spec.initContainers").iter().filter(|c| text(c, "restartPolicy") == "Always").count();
    let reason = text_or(pod, "status.reason", text(pod, "status.phase")).to_owned();
    let mut summary = Summary { reason, ready: 0, total, restarts: Restarts::default() };
    let gated = |c: &Value| text(c, "type") == "PodScheduled" && text(c, "reason") == "SchedulingGated";
    if value::list_at(pod, "status.conditions").iter().any(gated) {
        "SchedulingGated".clone_into(&mut summary.reason);
    }
    let mut sidecar_restarts = Restarts::default();
    let initializing = init_containers(pod, &mut summary, &mut sidecar_restarts);
    if !initializing || condition(pod, "Initialized") {
        summary.restarts = sidecar_restarts;
        containers(pod, &mut summary);
    }
    if value::str_at(pod, "metadata.deletionTimestamp").is_some() {
        if text(pod, "status.reason") == "NodeLost" {
            "Unknown".clone_into(&mut summary.reason);
        } else if !super::is_terminal(pod) {
            "Terminating".clone_into(&mut summary.reason);
        }
    }
    summary
}

/// Counts init containers up to the first that has not done its part; true where there is one.
fn init_containers(pod: &Value, summary: &mut Summary, sidecar_restarts: &mut Restarts) -> bool {
    let specs = value::list_at(pod, "spec.initContainers");
    let sidecars: HashSet<&str> =
        specs.iter().filter(|c| text(c, "restartPolicy") == "Always").map(|c| text(c, "name")).collect();
    for (index, status) in value::list_at(pod, "status.initContainerStatuses").iter().enumerate() {
        summary.restarts.add(status);
        let sidecar = sidecars.contains(text(status, "name"));
        if sidecar {
            sidecar_restarts.add(status);
        }
        let terminated = value::get(status, "state.terminated").filter(|t| !t.is_null());
        let waiting = text(status, "state.waiting.reason");
        match terminated {
            Some(end) if number(end, "exitCode") == 0 => continue,
            _ if sidecar && value::bool_at(status, "started") => {
                summary.ready += usize::from(value::bool_at(status, "ready"));
                continue;
            }
            Some(end) => summary.reason = format!("Init:{}", end_reason(end)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => summary.reason = format!("Init:{waiting}"),
            None => summary.reason = format!("Init:{index}/{}", specs.len()),
        }
        return true;
    }
    false
}

/// `Error`, or `Signal:9`, or `ExitCode:1`.
fn end_reason(end: &Value) -> String {
    match (text(end, "reason"), number(end, "signal")) {
        ("", 0) => format!("ExitCode:{}", number(end, "exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// The reason of the first container that has one wins, so they are walked from the last.
fn containers(pod: &Value, summary: &mut Summary) {
    let mut running = false;
    for status in value::list_at(pod, "status.containerStatuses").iter().rev() {
        summary.restarts.add(status);
        let waiting = text(status, "state.waiting.reason");
        let terminated = value::get(status, "state.terminated").filter(|t| !t.is_null());
        let is_running = value::get(status, "state.running").is_some_and(|r| !r.is_null());
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.reason);
        } else if let Some(end) = terminated {
            summary.reason = end_reason(end);
        } else if is_running && value::bool_at(status, "ready") {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        let reason = if condition(pod, "Ready") { "Running" } else { "NotReady" };
        reason.clone_into(&mut summary.reason);
    }
}
