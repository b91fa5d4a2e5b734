//! Upstream's plugins that are known by name only, so that flags of a kube-apiserver that switch them off can be kept.

/// The names of plugins that are not here.
pub(super) const UPSTREAM: &[&str] = &[
    "AlwaysAdmit",
    "AlwaysDeny",
    "AlwaysPullImages",
    "ClusterTrustBundleAttest",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "ImagePolicyWebhook",
    "LimitPodHardAntiAffinityTopology",
    "NamespaceAutoProvision",
    "NamespaceExists",
    "OwnerReferencesPermissionEnforcement",
    "PodNodeSelector",
    "PodTolerationRestriction",
    "PodTopologyLabels",
];

/// Those among them that may be asked for all the same: what they guard, the pipeline always guards.
pub(super) const GUARDED_ANYWAY: &[&str] = &["AlwaysAdmit", "NamespaceExists"];
