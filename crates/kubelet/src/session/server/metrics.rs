//! `/metrics` and `/metrics/resource` in Prometheus' text form, with upstream's names.

use std::{fs, sync::atomic::Ordering};

use gantry_api::stats::{NodeStats, Usage};
use jiff::Timestamp;

use super::summary::{at, started, together};
use crate::{
    runtime::{Role, State},
    session::{Context, Sessions},
};

pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Puts a page together.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64, time: Option<Timestamp>) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escape(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let time = time.map_or_else(String::new, |time| format!(" {}", time.as_millisecond()));
        self.0.push_str(&format!("{name}{labels} {value}{time}\n"));
    }

    /// A family with one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value, None);
    }
}

#[expect(clippy::cast_precision_loss, reason = "the format's numbers are floats")]
fn float(number: u64) -> f64 {
    number as f64
}

fn seconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / 1e9
}

/// One family per figure, as the format asks for.
fn figures(page: &mut Page, prefix: &str, of: &str, rows: &[(Vec<(&str, &str)>, Usage)]) {
    let cpu = format!("{prefix}_cpu_usage_seconds_total");
    page.family(&cpu, "counter", &format!("[STABLE] Cumulative cpu time consumed by the {of} in core-seconds"));
    for (labels, usage) in rows {
        page.sample(&cpu, labels, seconds(usage.cpu_usage_core_nanoseconds), at(usage));
    }
    let memory = format!("{prefix}_memory_working_set_bytes");
    page.family(&memory, "gauge", &format!("[STABLE] Current working set of the {of} in bytes"));
    for (labels, usage) in rows {
        page.sample(&memory, labels, float(usage.memory_working_set_bytes), at(usage));
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
    let start = "container_start_time_seconds";
    page.family(start, "gauge", "[STABLE] Start time of the container since unix epoch in seconds");
    for pod in &stats.pods {
        for usage in &pod.containers {
            let labels = [("container", usage.name.as_str()), ("namespace", &pod.namespace), ("pod", &pod.name)];
            if let Some(time) = starts(&pod.uid, &usage.name) {
                page.sample(start, &labels, time.as_duration().as_secs_f64(), None);
            }
        }
    }
    figures(&mut page, "node", "node", &[(Vec::new(), stats.node.clone())]);
    figures(&mut page, "pod", "pod", &pods);
    let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
    page.single("resource_scrape_error", "gauge", help, 0.0);
    page.0
}

/// The kubelet's own figures.
pub(super) fn own(sessions: &Sessions) -> String {
    let mut page = Page::default();
    let context = &sessions.context;
    page.family("kubelet_node_name", "gauge", "[ALPHA] The node's name. The count is always 1.");
    page.sample("kubelet_node_name", &[("node", &context.deps.settings.node)], 1.0, None);
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
    let name = "kubelet_running_containers";
    page.family(name, "gauge", "[ALPHA] Number of containers currently running");
    for (state, number) in [("created", created), ("running", running), ("exited", exited)] {
        page.sample(name, &[("container_state", state)], float(number), None);
    }
    let current = u64::try_from(sessions.current()).unwrap_or(u64::MAX);
    page.single("gantry_kubelet_sessions", "gauge", "Sessions that are being served", float(current));
    let opened = sessions.counts.opened.load(Ordering::Relaxed);
    page.single("gantry_kubelet_sessions_opened_total", "counter", "Sessions that were accepted", float(opened));
    let refused = sessions.counts.refused.load(Ordering::Relaxed);
    page.single("gantry_kubelet_sessions_refused_total", "counter", "Sessions that were refused", float(refused));
    process(&mut page);
    page.0
}

/// What every program says of itself.
fn process(page: &mut Page) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    let help = "Resident memory size in bytes.";
    page.single("process_resident_memory_bytes", "gauge", help, float(resident.unwrap_or(0u64) * 1024));
    let open = u64::try_from(fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)).unwrap_or(0);
    page.single("process_open_fds", "gauge", "Number of open file descriptors.", float(open));
    if let Ok(used) = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF) {
        let of = |time: nix::sys::time::TimeVal| {
            u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_usec() * 1000).unwrap_or(0)
        };
        let help = "Total user and system CPU time spent in seconds.";
        let total = seconds(of(used.user_time()) + of(used.system_time()));
        page.single("process_cpu_seconds_total", "counter", help, total);
    }
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

    #[test]
    fn labels_cannot_break_out() {
        let mut page = Page::default();
        page.sample("m", &[("l", "a\"b\\c\nd")], 0.5, None);
        assert_eq!(page.0, "m{l=\"a\\\"b\\\\c\\nd\"} 0.5\n");
    }
}
