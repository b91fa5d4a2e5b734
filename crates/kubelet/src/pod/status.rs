//! The pod's status, computed from what is known; pure.

#[cfg(test)]
mod tests;

use k8s_openapi::{
    api::core::v1::{HostIP, PodIP, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    Kind, conditions,
    container::{self, Verdict},
    resources, restart,
    state::{Cause, Snapshot},
};

/// What the node contributes to every pod's status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// The node's address.
    pub(crate) ip: String,
}

/// Computes the status.
pub(crate) fn compute(s: &Snapshot<'_>, host: &Host) -> PodStatus {
    let old = s.pod.status.clone().unwrap_or_default();
    let failure = match s.local.ending.as_ref().map(|e| &e.cause) {
        Some(Cause::Failed(reason, message)) => Some(((*reason).to_owned(), message.clone())),
        _ => None,
    };
    let phase = phase(s, failure.is_some());
    let ip = match (super::host_network(s.pod), s.local.ip) {
        (true, _) => Some(host.ip.clone()).filter(|ip| !ip.is_empty()),
        (false, Some(ip)) => Some(ip.to_string()),
        // The address of a pod that has ended stays in its status.
        (false, None) if terminal(phase) => old.pod_ip.clone(),
        (false, None) => None,
    };
    let (init, apps) = container::statuses(s, terminal(phase));
    let (reason, message) = match failure {
        Some((reason, message)) => (Some(reason), Some(message)),
        None => (old.reason.clone(), old.message.clone()),
    };
    PodStatus {
        conditions: Some(conditions::compute(s, phase, &init, &apps)),
        container_statuses: Some(apps).filter(|list| !list.is_empty()),
        ephemeral_container_statuses: Some(container::ephemeral_statuses(s, terminal(phase))).filter(|l| !l.is_empty()),
        init_container_statuses: Some(init).filter(|list| !list.is_empty()),
        host_ip: Some(host.ip.clone()).filter(|ip| !ip.is_empty()),
        host_ips: Some(vec![HostIP { ip: host.ip.clone() }]).filter(|_| !host.ip.is_empty()),
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: ip,
        phase: Some(phase.to_owned()),
        qos_class: old.qos_class.clone().or_else(|| Some(resources::qos(s.pod).name().to_owned())),
        start_time: old.start_time.clone().or_else(|| Some(Time(whole_seconds(s.now)))),
        observed_generation: s.pod.metadata.generation.or(old.observed_generation),
        reason,
        message,
        ..old
    }
}

/// Times in the API have whole seconds.
pub(crate) fn whole_seconds(time: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn terminal(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

/// The phase in which the pod has ended, if it has: no container of it runs or will ever run again.
pub(crate) fn finished(s: &Snapshot<'_>) -> Option<&'static str> {
    match super::phase(s.pod) {
        "Succeeded" => return Some("Succeeded"),
        "Failed" => return Some("Failed"),
        _ => {}
    }
    let phase = phase(s, false);
    terminal(phase).then_some(phase)
}

#[derive(Default)]
struct Counts {
    waiting: usize,
    running: usize,
    stopped: usize,
    succeeded: usize,
    /// Those that ended and are started again.
    restarting: usize,
}

/// Pending, Running, Succeeded or Failed.
fn phase(s: &Snapshot<'_>, failed: bool) -> &'static str {
    match super::phase(s.pod) {
        "Succeeded" => return "Succeeded",
        "Failed" => return "Failed",
        _ => {}
    }
    if failed && !s.any_running() {
        return "Failed";
    }
    match container::initialisation(s) {
        container::Initialisation::Failed => return "Failed",
        container::Initialisation::Done => {}
        _ => return "Pending",
    }
    let mut counts = Counts::default();
    for (_, spec) in super::containers(s.pod).filter(|(kind, _)| *kind == Kind::App) {
        match container::verdict(s, &spec.name) {
            Verdict::Waiting => counts.waiting += 1,
            Verdict::Running => counts.running += 1,
            Verdict::Ended(code) => {
                counts.stopped += 1;
                counts.succeeded += usize::from(code == 0);
                let over = s.latest(&spec.name).is_some_and(|latest| restart::is_over(s, latest));
                counts.restarting += usize::from(over || restart::restarts(s.pod, Kind::App, spec, code));
            }
        }
    }
    decide(&counts, s.local.ending.is_some())
}

fn decide(counts: &Counts, ending: bool) -> &'static str {
    if counts.waiting > 0 {
        return "Pending";
    }
    // A pod that is being deleted restarts nothing: its containers' ends are final.
    if counts.running > 0 || (counts.restarting > 0 && !ending) {
        return "Running";
    }
    if counts.stopped == counts.succeeded { "Succeeded" } else { "Failed" }
}
