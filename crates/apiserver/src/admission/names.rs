//! Upstream's plugins that are known by name only, so that flags of a kube-apiserver that switch them off can be kept.

/// The names of plugins that are not here.
pub(super) const UPSTREAM: &[&str] = &[
    "AlwaysAdmit",
    "ClusterTrustBundleAttest",
    "JobValidation",
    "NamespaceExists",
    "NodeDeclaredFeatureValidator",
    "PodGroupProtection",
    "PodGroupWorkloadExists",
];

/// What is a plugin here and elsewhere part of the kinds themselves: nobody can switch it off.
pub(super) const OWN: &[&str] =
    &["AddressInUse", "DeviceAdminAccess", "PolicyParameters", "RBACEscalation", "ResourceClaimStatusAuthorization"];

/// Those of the first list that may be asked for all the same: what they guard, the pipeline always guards; or what they guard is
/// not served, as upstream's feature gates leave it.
pub(super) const GUARDED_ANYWAY: &[&str] = &[
    "AlwaysAdmit",
    "ClusterTrustBundleAttest",
    "JobValidation",
    "NamespaceExists",
    "PodGroupProtection",
    "PodGroupWorkloadExists",
];
