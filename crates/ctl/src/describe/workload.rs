//! Deployments, replica sets, services and nodes.

use gantry_api::value::{Value, bool_at, get, i64_at, list_at, map_at, str_at};

use super::{Page, conditions, pod::template};
use crate::output::align;

fn selector(object: &Value, path: &str) -> String {
    let labels: Vec<String> =
        map_at(object, path).into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
    if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") }
}

fn int_or_string(value: Option<&Value>) -> String {
    value.map_or_else(|| "<unset>".to_owned(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
}

/// A deployment and its replica sets.
pub(super) fn deployment(page: &mut Page, d: &Value, sets: &[Value]) {
    let n = |path| i64_at(d, path).unwrap_or(0);
    page.entry(0, "Selector", selector(d, "spec.selector.matchLabels"));
    page.entry(
        0,
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            i64_at(d, "spec.replicas").unwrap_or(1),
            n("status.updatedReplicas"),
            n("status.replicas"),
            n("status.availableReplicas"),
            n("status.unavailableReplicas")
        ),
    );
    page.maybe(0, "StrategyType", str_at(d, "spec.strategy.type"));
    page.entry(0, "MinReadySeconds", n("spec.minReadySeconds").to_string());
    if let Some(r) = get(d, "spec.strategy.rollingUpdate") {
        let (unavailable, surge) = (int_or_string(r.get("maxUnavailable")), int_or_string(r.get("maxSurge")));
        page.entry(0, "RollingUpdateStrategy", format!("{unavailable} max unavailable, {surge} max surge"));
    }
    template(page, get(d, "spec.template").unwrap_or(&Value::Null));
    conditions(page, d, &[("Type", "type"), ("Status", "status"), ("Reason", "reason")]);
    let uid = str_at(d, "metadata.uid").unwrap_or("");
    let mut owned: Vec<&Value> = sets
        .iter()
        .filter(|s| list_at(s, "metadata.ownerReferences").iter().any(|o| str_at(o, "uid") == Some(uid)))
        .collect();
    owned.sort_by_key(|s| revision(s));
    let newest = owned.iter().map(|s| revision(s)).max().unwrap_or(0);
    let text = |s: &&&Value| {
        let name = str_at(s, "metadata.name").unwrap_or("");
        let (is, wanted) = (i64_at(s, "status.replicas").unwrap_or(0), i64_at(s, "spec.replicas").unwrap_or(0));
        format!("{name} ({is}/{wanted} replicas created)")
    };
    let old: Vec<String> = owned.iter().filter(|s| revision(s) != newest).map(|s| text(&s)).collect();
    let new: Vec<String> = owned.iter().filter(|s| revision(s) == newest).map(|s| text(&s)).collect();
    let or_none = |list: Vec<String>| if list.is_empty() { "<none>".to_owned() } else { list.join(", ") };
    page.entry(0, "OldReplicaSets", or_none(old));
    page.entry(0, "NewReplicaSet", or_none(new));
}

fn revision(set: &Value) -> i64 {
    let text = map_at(set, "metadata.annotations").and_then(|a| a.get("deployment.kubernetes.io/revision")?.as_str());
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

/// A replica set.
pub(super) fn replica_set(page: &mut Page, rs: &Value) {
    page.entry(0, "Selector", selector(rs, "spec.selector.matchLabels"));
    let n = |path| i64_at(rs, path).unwrap_or(0);
    page.entry(0, "Replicas", format!("{} current / {} desired", n("status.replicas"), n("spec.replicas")));
    page.entry(0, "Ready", n("status.readyReplicas").to_string());
    template(page, get(rs, "spec.template").unwrap_or(&Value::Null));
    conditions(page, rs, &[("Type", "type"), ("Status", "status"), ("Reason", "reason")]);
}

/// A service and the endpoints of its slices.
pub(super) fn service(page: &mut Page, s: &Value, slices: &[Value]) {
    page.entry(0, "Selector", selector(s, "spec.selector"));
    page.entry(0, "Type", str_at(s, "spec.type").unwrap_or(""));
    page.maybe(0, "IP Family Policy", str_at(s, "spec.ipFamilyPolicy"));
    page.entry(0, "IP", str_at(s, "spec.clusterIP").unwrap_or(""));
    page.maybe(0, "External Name", str_at(s, "spec.externalName"));
    for port in list_at(s, "spec.ports") {
        let name = str_at(port, "name").unwrap_or("<unset>");
        let protocol = str_at(port, "protocol").unwrap_or("TCP");
        let n = |path| i64_at(port, path).unwrap_or(0);
        page.entry(0, "Port", format!("{name}  {}/{protocol}", n("port")));
        page.entry(0, "TargetPort", format!("{}/{protocol}", int_or_string(get(port, "targetPort"))));
        if n("nodePort") > 0 {
            page.entry(0, "NodePort", format!("{name}  {}/{protocol}", n("nodePort")));
        }
        page.entry(0, "Endpoints", endpoints(slices, str_at(port, "name").unwrap_or("")));
    }
    page.maybe(0, "Session Affinity", str_at(s, "spec.sessionAffinity"));
    page.maybe(0, "External Traffic Policy", str_at(s, "spec.externalTrafficPolicy"));
    page.maybe(0, "Internal Traffic Policy", str_at(s, "spec.internalTrafficPolicy"));
}

fn endpoints(slices: &[Value], port_name: &str) -> String {
    let mut out = Vec::new();
    for slice in slices {
        let ports = list_at(slice, "ports").iter().filter(|p| str_at(p, "name").unwrap_or("") == port_name);
        for port in ports.filter_map(|p| i64_at(p, "port")) {
            for endpoint in
                list_at(slice, "endpoints").iter().filter(|e| get(e, "conditions.ready") != Some(&Value::Bool(false)))
            {
                let addresses = list_at(endpoint, "addresses").iter().filter_map(Value::as_str);
                out.extend(addresses.map(|a| format!("{a}:{port}")));
            }
        }
    }
    let more = out.len().saturating_sub(3);
    out.truncate(3);
    match (out.is_empty(), more) {
        (true, _) => "<none>".to_owned(),
        (false, 0) => out.join(","),
        (false, more) => format!("{} + {more} more...", out.join(",")),
    }
}

/// A node and its pods.
pub(super) fn node(page: &mut Page, n: &Value, pods: &[Value]) {
    let taints: Vec<String> = list_at(n, "spec.taints")
        .iter()
        .map(|t| {
            let value = str_at(t, "value").map(|v| format!("={v}")).unwrap_or_default();
            format!("{}{value}:{}", str_at(t, "key").unwrap_or(""), str_at(t, "effect").unwrap_or(""))
        })
        .collect();
    page.entry(0, "Taints", if taints.is_empty() { "<none>".to_owned() } else { taints.join(", ") });
    page.entry(0, "Unschedulable", bool_at(n, "spec.unschedulable").to_string());
    conditions(
        page,
        n,
        &[
            ("Type", "type"),
            ("Status", "status"),
            ("LastHeartbeatTime", "lastHeartbeatTime"),
            ("LastTransitionTime", "lastTransitionTime"),
            ("Reason", "reason"),
            ("Message", "message"),
        ],
    );
    page.text(0, "Addresses:");
    for a in list_at(n, "status.addresses") {
        page.entry(1, str_at(a, "type").unwrap_or(""), str_at(a, "address").unwrap_or(""));
    }
    for (title, path) in [("Capacity", "status.capacity"), ("Allocatable", "status.allocatable")] {
        page.text(0, format!("{title}:"));
        for (k, v) in map_at(n, path).into_iter().flatten() {
            page.entry(1, k, v.as_str().unwrap_or(""));
        }
    }
    page.text(0, "System Info:");
    for (k, v) in map_at(n, "status.nodeInfo").into_iter().flatten() {
        page.entry(1, &super::title(k), v.as_str().unwrap_or(""));
    }
    page.maybe(0, "PodCIDR", str_at(n, "spec.podCIDR"));
    node_pods(page, pods);
}

fn node_pods(page: &mut Page, pods: &[Value]) {
    let running: Vec<&Value> =
        pods.iter().filter(|p| !matches!(str_at(p, "status.phase"), Some("Succeeded" | "Failed"))).collect();
    page.entry(0, "Non-terminated Pods", format!("({} in total)", running.len()));
    let mut lines = vec![["Namespace", "Name", "CPU Requests", "Memory Requests"].map(str::to_owned).to_vec()];
    for p in running {
        let sum = |resource: &str| {
            let requests: Vec<&str> = list_at(p, "spec.containers")
                .iter()
                .filter_map(|c| map_at(c, "resources.requests")?.get(resource)?.as_str())
                .collect();
            if requests.is_empty() { "0".to_owned() } else { requests.join("+") }
        };
        let meta = |path| str_at(p, path).unwrap_or("").to_owned();
        lines.push(vec![meta("metadata.namespace"), meta("metadata.name"), sum("cpu"), sum("memory")]);
    }
    page.block(1, &align(&lines));
}
