//! `/metrics`, `/metrics/probes` and `/metrics/resource` in Prometheus' text form, with upstream's names.

use std::sync::atomic::Ordering;

use gantry_api::stats::{NodeStats, Usage};
use gantry_common::metrics::{self, Label, Page, float};
use jiff::Timestamp;

use super::summary::{at, started, together};
use crate::{
    runtime::{Role, State},
    session::{Context, Sessions},
};

pub(super) const KIND: &str = metrics::TEXT;

fn seconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / 1e9
}

/// One family per figure, as the format asks for.
fn figures(page: &mut Page, prefix: &str, of: &str, rows: &[(Vec<Label<'_>>, Usage)]) {
    let time = |usage: &Usage| at(usage).map(Timestamp::as_millisecond);
    let help = format!("[STABLE] Cumulative cpu time consumed by the {of} in core-seconds");
    let mut cpu = page.family(&format!("{prefix}_cpu_usage_seconds_total"), "counter", &help);
    for (labels, usage) in rows {
        cpu.sample_at(labels, seconds(usage.cpu_usage_core_nanoseconds), time(usage));
    }
    drop(cpu);
    let help = format!("[STABLE] Current working set of the {of} in bytes");
    let mut memory = page.family(&format!("{prefix}_memory_working_set_bytes"), "gauge", &help);
    for (labels, usage) in rows {
        memory.sample_at(labels, float(usage.memory_working_set_bytes), time(usage));
    }
}

/// The use of node, pods and containers.
pub(super) fn resources(stats: &NodeStats, context: &Context) -> String {
    let starts = |uid: &str, name: &str| started(context, uid, name);
    resource_page(stats, starts)
}

fn resource_page(stats: &NodeStats, starts: impl Fn(&str, &str) -> Option<Timestamp>) -> String {
    let mut page = Page::default();
    let (mut containers, mut pods) = (Vec::new(), Vec::new());
    for pod in &stats.pods {
        let of_pod = [("namespace", pod.namespace.as_str()), ("pod", pod.name.as_str())];
        pods.extend(together(&pod.name, &pod.containers).map(|usage| (of_pod.to_vec(), usage)));
        for usage in &pod.containers {
            containers.push(([&[("container", usage.name.as_str())][..], &of_pod].concat(), usage.clone()));
        }
    }
    figures(&mut page, "container", "container", &containers);
    let help = "[STABLE] Start time of the container since unix epoch in seconds";
    let mut start = page.family("container_start_time_seconds", "gauge", help);
    for pod in &stats.pods {
        for usage in &pod.containers {
            let labels = [("container", usage.name.as_str()), ("namespace", &pod.namespace), ("pod", &pod.name)];
            if let Some(time) = starts(&pod.uid, &usage.name) {
                start.sample(&labels, time.as_duration().as_secs_f64());
            }
        }
    }
    drop(start);
    figures(&mut page, "node", "node", &[(Vec::new(), stats.node.clone())]);
    figures(&mut page, "pod", "pod", &pods);
    let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
    page.single("resource_scrape_error", "gauge", help, 0.0);
    page.text()
}

/// What probes said.
pub(super) fn probes(context: &Context) -> String {
    let mut page = Page::default();
    context.deps.probes.figures.render(&mut page);
    page.text()
}

/// The kubelet's own figures.
pub(super) fn own(sessions: &Sessions) -> String {
    let mut page = Page::default();
    let context = &sessions.context;
    let mut name = page.family("kubelet_node_name", "gauge", "[ALPHA] The node's name. The count is always 1.");
    name.sample(&[("node", &context.deps.settings.node)], 1.0);
    drop(name);
    let observed = &context.deps.observed;
    let (mut pods, mut created, mut running, mut exited) = (0u64, 0u64, 0u64, 0u64);
    for container in observed.uids().iter().flat_map(|uid| observed.of(uid)) {
        match (container.role, container.state) {
            (Role::Sandbox, State::Running { .. }) => pods += 1,
            (Role::Container, State::Created) => created += 1,
            (Role::Container, State::Running { .. }) => running += 1,
            (Role::Container, State::Exited(_)) => exited += 1,
            (Role::Sandbox, _) => {}
        }
    }
    let help = "[ALPHA] Number of pods that have a running pod sandbox";
    page.single("kubelet_running_pods", "gauge", help, float(pods));
    let help = "[ALPHA] Number of containers currently running";
    let mut containers = page.family("kubelet_running_containers", "gauge", help);
    for (state, number) in [("created", created), ("running", running), ("exited", exited)] {
        containers.sample(&[("container_state", state)], float(number));
    }
    drop(containers);
    let current = u64::try_from(sessions.current()).unwrap_or(u64::MAX);
    page.single("gantry_kubelet_sessions", "gauge", "Sessions that are being served", float(current));
    let opened = sessions.counts.opened.load(Ordering::Relaxed);
    page.single("gantry_kubelet_sessions_opened_total", "counter", "Sessions that were accepted", float(opened));
    let refused = sessions.counts.refused.load(Ordering::Relaxed);
    page.single("gantry_kubelet_sessions_refused_total", "counter", "Sessions that were refused", float(refused));
    metrics::process(&mut page);
    metrics::build_info(&mut page);
    page.text()
}

#[cfg(test)]
mod tests {
    use gantry_api::stats::PodStats;

    use super::*;

    fn usage(name: &str) -> Usage {
        Usage {
            name: name.into(),
            time: Timestamp::from_millisecond(1_700_000_000_123).unwrap().to_string(),
            window_seconds: 1.0,
            cpu_nano_cores: 5,
            cpu_usage_core_nanoseconds: 1_500_000_000,
            memory_usage_bytes: 8192,
            memory_working_set_bytes: 4096,
        }
    }

    #[test]
    fn the_names_are_upstreams() {
        let pod = PodStats {
            namespace: "ns".into(),
            name: "p".into(),
            uid: "u".into(),
            containers: vec![usage("a"), usage("b")],
        };
        let stats = NodeStats { node: usage("n"), pods: vec![pod] };
        let page = resource_page(&stats, |_, name| (name == "a").then_some(Timestamp::from_second(77).unwrap()));
        for line in [
            "# TYPE container_cpu_usage_seconds_total counter",
            "container_cpu_usage_seconds_total{container=\"a\",namespace=\"ns\",pod=\"p\"} 1.5 1700000000123",
            "container_memory_working_set_bytes{container=\"b\",namespace=\"ns\",pod=\"p\"} 4096 1700000000123",
            "container_start_time_seconds{container=\"a\",namespace=\"ns\",pod=\"p\"} 77",
            "node_cpu_usage_seconds_total 1.5 1700000000123",
            "node_memory_working_set_bytes 4096 1700000000123",
            "pod_cpu_usage_seconds_total{namespace=\"ns\",pod=\"p\"} 3 1700000000123",
            "pod_memory_working_set_bytes{namespace=\"ns\",pod=\"p\"} 8192 1700000000123",
            "resource_scrape_error 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        let families: Vec<&str> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let mut unique = families.clone();
        unique.dedup();
        assert_eq!(families, unique, "each family is one block");
    }
}
