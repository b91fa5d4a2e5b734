//! What a pod's status says.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, Volume};

/// The phase, or "".
#[must_use]
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("")
}

/// Whether its containers have ended for good.
#[must_use]
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it has been asked to go.
#[must_use]
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether it counts as a replica.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

/// The node it is bound to, or "".
#[must_use]
pub fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or("")
}

/// The volumes.
#[must_use]
pub fn volumes(pod: &Pod) -> &[Volume] {
    pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default()
}

/// The name of the claim that is made for an ephemeral volume of the pod.
#[must_use]
pub fn ephemeral_claim(pod: &Pod, volume: &Volume) -> String {
    format!("{}-{}", pod.metadata.name.as_deref().unwrap_or(""), volume.name)
}

/// The names of the claims that the volumes stand for.
pub fn claims(pod: &Pod) -> impl Iterator<Item = String> {
    volumes(pod).iter().filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(ephemeral_claim(pod, volume)),
        (None, None) => None,
    })
}

/// The condition of this type.
#[must_use]
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// Whether it is ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// When it last became ready, or ceased to be.
#[must_use]
pub fn turned(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready")?.last_transition_time.as_ref().map(|t| t.0)
}

/// Since when it has been ready.
#[must_use]
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|c| c.status == "True")?;
    ready.last_transition_time.as_ref().map(|t| t.0)
}

/// Whether a pod has been ready for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Yes.
    Now,
    /// It will be, if it stays ready for this long.
    In(Duration),
    /// It is not ready.
    No,
}

/// Judges `pod` by `min_ready_seconds`.
#[must_use]
pub fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::No;
    }
    let Ok(seconds @ 1..) = u64::try_from(min_ready_seconds) else { return Availability::Now };
    let Some(since) = ready_since(pod) else { return Availability::No };
    let left = until(now, since, Duration::from_secs(seconds));
    if left.is_zero() { Availability::Now } else { Availability::In(left) }
}

/// The time from `now` until `period` after `since`; zero when that is past.
#[must_use]
pub fn until(now: Timestamp, since: Timestamp, period: Duration) -> Duration {
    let passed = now.duration_since(since);
    let Ok(period) = jiff::SignedDuration::try_from(period) else { return period };
    (period - passed).max(jiff::SignedDuration::ZERO).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::PodStatus, apimachinery::pkg::apis::meta::v1::Time};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn availability_needs_time() {
        let check = |ready: &str, since: i64, min_ready, now: i64, expected| {
            let condition = PodCondition {
                type_: "Ready".to_owned(),
                status: ready.to_owned(),
                last_transition_time: Some(Time(at(since))),
                ..PodCondition::default()
            };
            let status = PodStatus { conditions: Some(vec![condition]), ..PodStatus::default() };
            let pod = Pod { status: Some(status), ..Pod::default() };
            assert_eq!(availability(&pod, min_ready, at(now)), expected);
        };
        check("True", 100, 0, 100, Availability::Now);
        check("False", 100, 0, 100, Availability::No);
        check("True", 100, 10, 104, Availability::In(Duration::from_secs(6)));
        check("True", 100, 10, 110, Availability::Now);
        // The kubelet's clock may be ahead of ours.
        check("True", 100, 10, 90, Availability::In(Duration::from_secs(20)));
    }
}
