//! The places of API groups and versions in discovery, and in the APIServices of what this server serves itself.
//!
//! The numbers are upstream's (kube-aggregator's and kube-apiserver's tables): they decide which of two kinds with one name kubectl means.

/// The place of a group version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// `groupPriorityMinimum`: of two groups the one with the higher number comes first.
    pub group: i64,
    /// `versionPriority`: of two versions of a group the one with the higher number comes first.
    pub version: i64,
}

/// The place of the groups of custom resources.
pub const CUSTOM: Priority = Priority { group: 1000, version: 100 };
/// The group that registers others; it has no APIService and comes first.
pub const REGISTRATION: &str = "apiregistration.k8s.io";
/// The group of what nodes and pods use: served here until somebody registers a server for it.
pub const METRICS: &str = "metrics.k8s.io";

const GROUPS: &[(&str, i64)] = &[
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("resource.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    (METRICS, 100),
];

/// The place of a group version that is built in.
#[must_use]
pub fn builtin(group: &str, version: &str) -> Option<Priority> {
    let (_, place) = GROUPS.iter().find(|(name, _)| *name == group)?;
    let version = match (group, version) {
        ("", _) => 1,
        (METRICS, _) => 100,
        ("autoscaling", "v2") => 30,
        ("flowcontrol.apiserver.k8s.io", _) => 21,
        ("resource.k8s.io", _) => 20,
        (_, version) if version.contains("beta") => 9,
        (_, version) if version.contains("alpha") => 1,
        _ => 15,
    };
    Some(Priority { group: *place, version })
}

/// The place of a whole group among those that discovery lists.
#[must_use]
pub fn group(name: &str) -> i64 {
    if name == REGISTRATION {
        return i64::MAX;
    }
    GROUPS.iter().find(|(known, _)| *known == name).map_or(CUSTOM.group, |(_, place)| *place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kinds;

    #[test]
    fn every_group_version_has_a_place_and_the_order_is_discoverys() {
        let mut last = i64::MAX;
        for (group, version) in Kinds::builtin().group_versions().into_iter().filter(|(group, _)| !group.is_empty()) {
            assert!(builtin(group, version).is_some() || group == REGISTRATION, "{group}/{version}");
            let place = super::group(group);
            assert!(place <= last, "{group} comes after one with {last}");
            last = place;
        }
    }

    #[test]
    fn places_are_upstreams() {
        let check = |group: &str, version: &str, places: (i64, i64)| {
            assert_eq!(builtin(group, version).map(|p| (p.group, p.version)), Some(places), "{group}/{version}");
        };
        check("", "v1", (18_000, 1));
        check("apps", "v1", (17_800, 15));
        check("autoscaling", "v2", (17_500, 30));
        check("autoscaling", "v1", (17_500, 15));
        check("flowcontrol.apiserver.k8s.io", "v1", (16_100, 21));
        assert_eq!(builtin("example.com", "v1"), None);
    }
}
