//! Rows of `top`, as kubectl's. Pure.

use std::{cmp::Reverse, collections::BTreeMap};

use gantry_api::{
    quantity::Quantity,
    value::{Value, get, list_at, map_at, str_at},
};

use super::SortBy;
use crate::pods::name;

const UNKNOWN: &str = "<unknown>";

/// CPU in thousandths, memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Usage {
    cpu_milli: i64,
    memory_bytes: i64,
}

impl Usage {
    fn of(object: &Value, path: &str) -> Self {
        let map = map_at(object, path);
        let quantity = |key: &str| map.and_then(|m| Quantity::parse(m.get(key)?.as_str()?).ok());
        Self {
            cpu_milli: quantity("cpu").map_or(0, |q| q.milli()),
            memory_bytes: quantity("memory").map_or(0, |q| q.value()),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    fn by(self, sort: SortBy) -> i64 {
        match sort {
            SortBy::Cpu => self.cpu_milli,
            SortBy::Memory => self.memory_bytes,
        }
    }

    fn cells(self) -> [String; 2] {
        [format!("{}m", self.cpu_milli), format!("{}Mi", self.memory_bytes / (1 << 20))]
    }
}

fn percent(part: i64, whole: i64) -> String {
    if whole <= 0 { UNKNOWN.to_owned() } else { format!("{}%", i128::from(part) * 100 / i128::from(whole)) }
}

/// How nodes are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeColumns {
    /// Path of what percentages are parts of.
    pub(super) total: &'static str,
    pub(super) sort_by: Option<SortBy>,
    pub(super) header: bool,
}

impl NodeColumns {
    /// `used` are NodeMetrics, `nodes` the nodes; one without the other is shown as unknown.
    pub(super) fn rows(self, used: &[Value], nodes: &[Value]) -> Vec<Vec<String>> {
        let totals: BTreeMap<&str, Usage> = nodes.iter().map(|n| (name(n), Usage::of(n, self.total))).collect();
        let mut known: Vec<(&str, Usage)> = used.iter().map(|m| (name(m), Usage::of(m, "usage"))).collect();
        known.sort_by_key(|(name, usage)| (self.sort_by.map(|s| Reverse(usage.by(s))), *name));
        let mut rows = Vec::new();
        if self.header {
            rows.push(["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"].map(str::to_owned).to_vec());
        }
        for (name, usage) in &known {
            let total = totals.get(name).copied().unwrap_or_default();
            let [cpu, memory] = usage.cells();
            rows.push(vec![
                (*name).to_owned(),
                cpu,
                percent(usage.cpu_milli, total.cpu_milli),
                memory,
                percent(usage.memory_bytes, total.memory_bytes),
            ]);
        }
        for silent in totals.keys().filter(|n| !known.iter().any(|(k, _)| k == *n)) {
            let mut row = vec![(*silent).to_owned()];
            row.extend([UNKNOWN; 4].map(str::to_owned));
            rows.push(row);
        }
        rows
    }
}

/// How pods are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct PodColumns {
    /// With a column for the namespace.
    pub(super) namespace: bool,
    /// A row for each container.
    pub(super) containers: bool,
    pub(super) sum: bool,
    pub(super) sort_by: Option<SortBy>,
    pub(super) header: bool,
}

impl PodColumns {
    /// `used` are PodMetrics.
    pub(super) fn rows(self, used: &[Value]) -> Vec<Vec<String>> {
        let mut pods: Vec<(&Value, Usage)> = used.iter().map(|pod| (pod, whole(pod))).collect();
        pods.sort_by_key(|(pod, usage)| {
            let namespace = str_at(pod, "metadata.namespace").unwrap_or("");
            (self.sort_by.map(|s| Reverse(usage.by(s))), namespace, name(pod))
        });
        let mut rows = Vec::new();
        if self.header {
            rows.push(self.titles());
        }
        for (pod, usage) in &pods {
            if self.containers {
                let mut all: Vec<(&str, Usage)> = containers(pod).collect();
                all.sort_by_key(|(name, usage)| (self.sort_by.map(|s| Reverse(usage.by(s))), *name));
                rows.extend(all.into_iter().map(|(container, usage)| self.row(pod, Some(container), usage)));
            } else {
                rows.push(self.row(pod, None, *usage));
            }
        }
        if self.sum {
            let sum = pods.iter().fold(Usage::default(), |sum, (_, usage)| sum.plus(*usage));
            rows.extend(self.total(sum));
        }
        rows
    }

    fn lead(self) -> usize {
        usize::from(self.namespace) + usize::from(self.containers)
    }

    fn titles(self) -> Vec<String> {
        let namespace = self.namespace.then_some("NAMESPACE");
        let pod = self.containers.then_some("POD");
        let all = namespace.into_iter().chain(pod).chain(["NAME", "CPU(cores)", "MEMORY(bytes)"]);
        all.map(str::to_owned).collect()
    }

    fn row(self, pod: &Value, container: Option<&str>, usage: Usage) -> Vec<String> {
        let namespace = self.namespace.then(|| str_at(pod, "metadata.namespace").unwrap_or("").to_owned());
        let names = std::iter::once(name(pod).to_owned()).chain(container.map(str::to_owned));
        namespace.into_iter().chain(names).chain(usage.cells()).collect()
    }

    fn total(self, sum: Usage) -> [Vec<String>; 2] {
        let [cpu, memory] = sum.cells();
        let mut rule = vec![String::new(); self.lead() + 1];
        rule.extend(["________", "________"].map(str::to_owned));
        let mut total = vec![String::new(); self.lead() + 1];
        total.extend([cpu, memory]);
        [rule, total]
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = (&str, Usage)> {
    list_at(pod, "containers").iter().map(|c| (str_at(c, "name").unwrap_or(""), Usage::of(c, "usage")))
}

fn whole(pod: &Value) -> Usage {
    // Newer servers may say the use of the whole pod, which has more in it than its containers.
    match get(pod, "usage") {
        Some(Value::Object(_)) => Usage::of(pod, "usage"),
        _ => containers(pod).fold(Usage::default(), |sum, (_, usage)| sum.plus(usage)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::align;

    fn pods() -> Vec<Value> {
        vec![
            json!({"metadata": {"name": "web", "namespace": "shop"}, "containers": [
                {"name": "nginx", "usage": {"cpu": "1500m", "memory": "20Mi"}},
                {"name": "log", "usage": {"cpu": "1234567n", "memory": "1536Ki"}}]}),
            json!({"metadata": {"name": "db", "namespace": "shop"}, "containers": [
                {"name": "redis", "usage": {"cpu": "2", "memory": "1Gi"}}]}),
        ]
    }

    const PODS: PodColumns =
        PodColumns { namespace: false, containers: false, sum: false, sort_by: None, header: true };

    #[test]
    fn pods_by_name() {
        let text = align(&PODS.rows(&pods()));
        assert_eq!(text, "NAME   CPU(cores)   MEMORY(bytes)\ndb     2000m        1024Mi\nweb    1502m        21Mi\n");
    }

    #[test]
    fn pods_sorted_with_namespaces_containers_and_sum() {
        let columns =
            PodColumns { namespace: true, containers: true, sum: true, sort_by: Some(SortBy::Cpu), header: true };
        assert_eq!(
            align(&columns.rows(&pods())),
            "NAMESPACE   POD   NAME    CPU(cores)   MEMORY(bytes)\n\
             shop        db    redis   2000m        1024Mi\n\
             shop        web   nginx   1500m        20Mi\n\
             shop        web   log     2m           1Mi\n\
             \x20                         ________     ________\n\
             \x20                         3502m        1045Mi\n"
        );
        let by_memory = PodColumns { sort_by: Some(SortBy::Memory), header: false, ..PODS };
        assert!(align(&by_memory.rows(&pods())).starts_with("db "), "the most memory comes first");
    }

    #[test]
    fn nodes_with_their_parts() {
        let used = [json!({"metadata": {"name": "n1"}, "usage": {"cpu": "250m", "memory": "512Mi"}})];
        let nodes = [
            json!({"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "2", "memory": "2Gi"},
                "capacity": {"cpu": "4", "memory": "4Gi"}}}),
            json!({"metadata": {"name": "n2"}, "status": {"allocatable": {"cpu": "2", "memory": "2Gi"}}}),
        ];
        let columns = NodeColumns { total: "status.allocatable", sort_by: None, header: true };
        assert_eq!(
            align(&columns.rows(&used, &nodes)),
            "NAME   CPU(cores)   CPU(%)      MEMORY(bytes)   MEMORY(%)\n\
             n1     250m         12%         512Mi           25%\n\
             n2     <unknown>    <unknown>   <unknown>       <unknown>\n"
        );
        let capacity = NodeColumns { total: "status.capacity", sort_by: Some(SortBy::Cpu), header: false };
        assert_eq!(capacity.rows(&used, &nodes)[0][2], "6%");
        assert_eq!(capacity.rows(&used, &[])[0][2], UNKNOWN);
    }
}
