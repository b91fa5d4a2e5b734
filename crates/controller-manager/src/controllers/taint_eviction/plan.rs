//! How long a pod tolerates the taints of its node.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};

use crate::pods::until;

/// What becomes of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It tolerates all for ever.
    Stay,
    /// It must go after this time.
    Wait(Duration),
    /// It must go now.
    Go,
}

/// The taints that evict.
pub(super) fn executing(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref());
    taints.into_iter().flatten().filter(|t| t.effect == "NoExecute").cloned().collect()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or("");
    let key = toleration.key.as_deref().unwrap_or("");
    let value = toleration.value.as_deref().unwrap_or("");
    let operator = toleration.operator.as_deref().unwrap_or("Equal");
    (effect.is_empty() || effect == taint.effect)
        && (key.is_empty() || key == taint.key)
        && match operator {
            "Exists" => true,
            "Equal" | "" => value == taint.value.as_deref().unwrap_or(""),
            _ => false,
        }
}

/// Judges `pod` by the evicting taints of its node. `since` is when it was first seen with a taint, for taints that do not
/// say when they were added.
pub(super) fn judge(pod: &Pod, taints: &[Taint], since: Timestamp, now: Timestamp) -> Verdict {
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.clone()).unwrap_or_default();
    let mut verdict = Verdict::Stay;
    for taint in taints {
        let matching: Vec<&Toleration> = tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        if matching.is_empty() {
            return Verdict::Go;
        }
        // As upstream: of several tolerations of one taint the shortest counts.
        let Some(seconds) = matching.iter().filter_map(|t| t.toleration_seconds).min() else { continue };
        let Ok(seconds @ 1..) = u64::try_from(seconds) else { return Verdict::Go };
        let added = taint.time_added.as_ref().map_or(since, |t| t.0);
        let left = until(now, added, Duration::from_secs(seconds));
        verdict = match (verdict, left.is_zero()) {
            (_, true) => return Verdict::Go,
            (Verdict::Wait(sooner), false) => Verdict::Wait(sooner.min(left)),
            (_, false) => Verdict::Wait(left),
        };
    }
    verdict
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::PodSpec, apimachinery::pkg::apis::meta::v1::Time};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn taint(key: &str, added: Option<i64>) -> Taint {
        Taint {
            key: key.to_owned(),
            effect: "NoExecute".to_owned(),
            value: None,
            time_added: added.map(|second| Time(at(second))),
        }
    }

    fn toleration(key: &str, seconds: Option<i64>) -> Toleration {
        Toleration {
            key: Some(key.to_owned()).filter(|k| !k.is_empty()),
            operator: Some("Exists".to_owned()),
            effect: Some("NoExecute".to_owned()),
            toleration_seconds: seconds,
            value: None,
        }
    }

    #[test]
    fn verdicts() {
        let check = |taints: &[Taint], tolerations: &[Toleration], expected: Verdict| {
            let spec = PodSpec { tolerations: Some(tolerations.to_vec()), ..PodSpec::default() };
            let pod = Pod { spec: Some(spec), ..Pod::default() };
            assert_eq!(judge(&pod, taints, at(100), at(110)), expected, "{taints:?} {tolerations:?}");
        };
        let wait = |seconds| Verdict::Wait(Duration::from_secs(seconds));
        check(&[], &[], Verdict::Stay);
        check(&[taint("a", None)], &[], Verdict::Go);
        check(&[taint("a", None)], &[toleration("a", None)], Verdict::Stay);
        check(&[taint("a", None)], &[toleration("", None)], Verdict::Stay);
        check(&[taint("a", None), taint("b", None)], &[toleration("a", None)], Verdict::Go);
        // Without a time of its own the taint counts from when it was first seen.
        check(&[taint("a", None)], &[toleration("a", Some(30))], wait(20));
        check(&[taint("a", Some(50))], &[toleration("a", Some(300))], wait(240));
        check(&[taint("a", Some(50))], &[toleration("a", Some(60))], Verdict::Go);
        check(&[taint("a", None)], &[toleration("a", Some(0))], Verdict::Go);
        check(&[taint("a", None)], &[toleration("a", Some(30)), toleration("", Some(15))], wait(5));
        check(&[taint("a", None), taint("b", None)], &[toleration("a", Some(30)), toleration("b", Some(12))], wait(2));
    }

    #[test]
    fn values_and_effects_count() {
        let check = |toleration: Toleration, expected| {
            let tainted = Taint { value: Some("v".to_owned()), ..taint("a", None) };
            assert_eq!(tolerates(&toleration, &tainted), expected, "{toleration:?}");
        };
        let equal = |value: &str| Toleration { operator: None, value: Some(value.to_owned()), ..toleration("a", None) };
        check(equal("v"), true);
        check(equal("w"), false);
        check(Toleration { effect: Some("NoSchedule".to_owned()), ..equal("v") }, false);
        check(Toleration { effect: None, ..equal("v") }, true);
        check(toleration("b", None), false);
    }
}
