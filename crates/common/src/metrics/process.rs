//! What every program says of itself, read when it is asked.

use std::fs;

use super::{Page, float};
use crate::version::{GIT_VERSION, KUBERNETES_MINOR};

/// Ticks per second in which Linux tells CPU time (`USER_HZ` of `proc(5)`).
const TICKS: f64 = 100.0;
/// What Prometheus' collectors show where there is no limit.
const UNLIMITED: f64 = 18_446_744_073_709_551_615.0;

/// Numbers of `/proc/self/stat` behind the name in brackets, which may hold spaces.
fn stat() -> Vec<u64> {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect()
}

/// The soft limit that a line of `/proc/self/limits` tells.
fn limit(limits: &str, name: &str) -> Option<f64> {
    match limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()? {
        "unlimited" => Some(UNLIMITED),
        number => number.parse().ok(),
    }
}

/// A number that a file of `/proc` tells behind a word at the begin of a line.
fn told(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Octets in and out of the process's network namespace.
fn octets() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let find = |wanted: &str| {
        let at = names.split_whitespace().position(|name| name == wanted)?;
        values.split_whitespace().nth(at)?.parse().ok()
    };
    Some((find("InOctets")?, find("OutOctets")?))
}

/// The figures that Prometheus' client libraries show of a process (`process_*`), and of its tasks and threads by the names that
/// dashboards look for.
pub fn process(page: &mut Page) {
    let stat = stat();
    // The fields are numbered from 1; the third is the first one behind the name.
    let field = |number: usize| float(stat.get(number - 3).copied().unwrap_or_default());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
    let bytes = |name: &str| told(&status, name).map(|kib| kib * 1024.0);
    let open = u64::try_from(fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)).unwrap_or(0);
    let traffic = octets();
    let rows = [
        (
            "process_cpu_seconds_total",
            "CPU time of user and system, in seconds.",
            Some((field(14) + field(15)) / TICKS),
        ),
        ("process_max_fds", "How many file descriptors may be open.", limit(&limits, "Max open files")),
        ("process_network_receive_bytes_total", "Bytes received from the network.", traffic.map(|both| both.0)),
        ("process_network_transmit_bytes_total", "Bytes sent to the network.", traffic.map(|both| both.1)),
        ("process_open_fds", "File descriptors that are open.", Some(float(open))),
        ("process_resident_memory_bytes", "Resident memory in bytes.", bytes("VmRSS:")),
        (
            "process_start_time_seconds",
            "When the process was started, in seconds since 1970.",
            told(&machine, "btime ").map(|boot| boot + field(22) / TICKS),
        ),
        ("process_virtual_memory_bytes", "Virtual memory in bytes.", bytes("VmSize:")),
        (
            "process_virtual_memory_max_bytes",
            "How much virtual memory there may be.",
            limit(&limits, "Max address space"),
        ),
        ("go_threads", "Threads of the operating system.", told(&status, "Threads:")),
        ("go_goroutines", "Tasks that have not ended.", tasks()),
    ];
    for (name, help, value) in rows {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        if let Some(value) = value {
            page.single(name, kind, help, value);
        }
    }
}

fn tasks() -> Option<f64> {
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    Some(float(u64::try_from(runtime.metrics().num_alive_tasks()).unwrap_or_default()))
}

/// `kubernetes_build_info`: what `/version` says, as labels.
pub fn build_info(page: &mut Page) {
    let help = "[ALPHA] Always 1; its labels tell the version, and what it was built with.";
    let labels = [
        ("build_date", "1970-01-01T00:00:00Z"),
        ("compiler", "rustc"),
        ("git_commit", ""),
        ("git_tree_state", "clean"),
        ("git_version", GIT_VERSION),
        ("go_version", "rust"),
        ("major", "1"),
        ("minor", KUBERNETES_MINOR),
        ("platform", "linux/amd64"),
    ];
    page.family("kubernetes_build_info", "gauge", help).sample(&labels, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_tells_of_itself() {
        let mut page = Page::default();
        process(&mut page);
        let text = page.text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{name} is missing in\n{text}"))
        };
        assert!(value("process_resident_memory_bytes") < value("process_virtual_memory_bytes"), "{text}");
        assert!(value("process_open_fds") < value("process_max_fds"), "{text}");
        assert!(value("process_start_time_seconds") > 1.7e9 && value("process_cpu_seconds_total") >= 0.0, "{text}");
        assert!(value("go_threads") >= 1.0 && value("go_goroutines") >= 0.0, "{text}");
    }

    #[test]
    fn limits_are_read() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax address space  unlimited  unlimited  bytes\nMax open files  1024  4096  files\n";
        assert_eq!(limit(text, "Max open files"), Some(1024.0));
        assert_eq!(limit(text, "Max address space"), Some(UNLIMITED));
        assert_eq!(limit(text, "Max cpu time"), None);
    }
}
