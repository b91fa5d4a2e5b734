//! The pod's conditions; pure. Upstream's types, reasons and messages.

use k8s_openapi::{
    api::core::v1::{ContainerStatus, PodCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    container::{Initialisation, initialisation},
    state::Snapshot,
    status::whole_seconds,
};

struct Verdict {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self { holds: true, reason: None, message: None }
    }

    fn no(reason: &'static str, message: Option<String>) -> Self {
        Self { holds: false, reason: Some(reason), message }
    }
}

/// All conditions of the kubelet, and those of others as they are.
pub(crate) fn compute(
    s: &Snapshot<'_>,
    phase: &str,
    init: &[ContainerStatus],
    apps: &[ContainerStatus],
) -> Vec<PodCondition> {
    let old = s.pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let sandbox = s.sandbox().is_some_and(crate::runtime::Container::running)
        && (s.local.ip.is_some() || super::host_network(s.pod));
    let network = if sandbox { Verdict::yes() } else { Verdict { holds: false, reason: None, message: None } };
    let containers = containers_ready(phase, apps);
    let ready = match gates(s, &old) {
        Some(message) if containers.holds => Verdict::no("ReadinessGatesNotReady", Some(message)),
        _ => Verdict { holds: containers.holds, reason: containers.reason, message: containers.message.clone() },
    };
    let ours = [
        ("PodReadyToStartContainers", network),
        ("Initialized", initialized(s, phase, init)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Verdict::yes()),
    ];
    let mut all: Vec<PodCondition> =
        ours.into_iter().map(|(kind, verdict)| condition(s, &old, kind, verdict)).collect();
    all.extend(
        super::resize::conditions(s)
            .into_iter()
            .map(|(kind, reason, message)| condition(s, &old, kind, Verdict { holds: true, reason, message })),
    );
    let known: Vec<String> = all.iter().map(|c| c.type_.clone()).collect();
    all.extend(old.into_iter().filter(|c| !known.contains(&c.type_) && !super::resize::is_ours(c)));
    all
}

fn condition(s: &Snapshot<'_>, old: &[PodCondition], kind: &str, verdict: Verdict) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let before = old.iter().find(|c| c.type_ == kind);
    let unchanged = before.filter(|c| c.status == status).and_then(|c| c.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: unchanged.or_else(|| Some(Time(whole_seconds(s.now)))),
        last_probe_time: None,
        observed_generation: s.pod.metadata.generation,
    }
}

fn initialized(s: &Snapshot<'_>, phase: &str, init: &[ContainerStatus]) -> Verdict {
    if phase == "Succeeded" {
        return Verdict { holds: true, reason: Some("PodCompleted"), message: None };
    }
    if initialisation(s) == Initialisation::Done {
        return Verdict::yes();
    }
    let open: Vec<&str> =
        init.iter().filter(|c| !c.ready && c.started != Some(true)).map(|c| c.name.as_str()).collect();
    let message = format!("containers with incomplete status: [{}]", open.join(" "));
    Verdict::no("ContainersNotInitialized", Some(message))
}

fn containers_ready(phase: &str, apps: &[ContainerStatus]) -> Verdict {
    match phase {
        "Succeeded" => return Verdict::no("PodCompleted", None),
        "Failed" => return Verdict::no("PodFailed", None),
        _ => {}
    }
    let unready: Vec<&str> = apps.iter().filter(|c| !c.ready).map(|c| c.name.as_str()).collect();
    if unready.is_empty() {
        return Verdict::yes();
    }
    Verdict::no("ContainersNotReady", Some(format!("containers with unready status: [{}]", unready.join(" "))))
}

/// What the pod's readiness gates object to.
fn gates(s: &Snapshot<'_>, old: &[PodCondition]) -> Option<String> {
    let gates = super::spec(s.pod).readiness_gates.as_ref()?;
    let objections: Vec<String> = gates
        .iter()
        .filter_map(|gate| match old.iter().find(|c| c.type_ == gate.condition_type) {
            None => Some(format!(
                "corresponding condition of pod readiness gate \"{}\" does not exist.",
                gate.condition_type
            )),
            Some(c) if c.status != "True" => Some(format!(
                "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                gate.condition_type, c.status
            )),
            Some(_) => None,
        })
        .collect();
    (!objections.is_empty()).then(|| objections.join(", "))
}
