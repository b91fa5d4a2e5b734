//! `--feature-gates`: the gates of Kubernetes 1.36 are known by name, and what asks for the state that there is anyway is
//! taken. Only a few can really be switched.

/// Gates that are on by default in Kubernetes 1.36.
const ON: &str = "
    AggregatedDiscoveryRemoveBetaType AllowParsingUserUIDFromCertAuth AllowServiceExternalIPs APIResponseCompression
    APIServerIdentity AuthorizePodWebsocketUpgradeCreatePermission ClearingNominatedNodeNameAfterBinding ComponentFlagz
    ComponentStatusz ConstrainedImpersonation ContainerCheckpoint ContainerRestartRules ContextualLogging
    CPUManagerPolicyBetaOptions CPUManagerPolicyOptions CRDObservedGenerationTracking CRDValidationRatcheting
    CSIServiceAccountTokenSecrets CustomCPUCFSQuotaPeriod CustomResourceFieldSelectors DeclarativeValidation
    DeclarativeValidationBeta DeploymentReplicaSetTerminatingReplicas DetectCacheInconsistency DisableAllocatorDualWrite
    DisableCPUQuotaWithExclusiveCPUs DisableNodeKubeProxyVersion DRAAdminAccess DRAConsumableCapacity
    DRADeviceBindingConditions DRADeviceTaints DRAExtendedResource DRAPartitionableDevices DRAPrioritizedList
    DRAResourceClaimDeviceStatus DRAResourceClaimGranularStatusAuthorization DRASchedulerFilterTimeout
    DynamicResourceAllocation EnvFiles ExecProbeTimeout ExtendWebSocketsToKubelet ExternalServiceAccountTokenSigner
    GracefulNodeShutdown GracefulNodeShutdownBasedOnPodPriority HostnameOverride HPAConfigurableTolerance ImageMaximumGCAge
    ImageVolume InPlacePodLevelResourcesVerticalScaling InPlacePodVerticalScaling InPlacePodVerticalScalingInitContainers
    JobManagedBy KubeletCgroupDriverFromCRI KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages
    KubeletFineGrainedAuthz KubeletPodResourcesDynamicResources KubeletPodResourcesGet KubeletPodResourcesListUseActivePods
    KubeletPSI KubeletSeparateDiskGC KubeletServiceAccountTokenForCredentialProviders KubeletTracing KubeProxyIPVS
    ListFromCacheSnapshot LoggingBetaOptions MatchLabelKeysInPodAffinity MatchLabelKeysInPodTopologySpread
    MatchLabelKeysInPodTopologySpreadSelectorMerge MultiCIDRServiceAllocator MutableCSINodeAllocatableCount
    MutablePodResourcesForSuspendedJobs MutableSchedulingDirectivesForSuspendedJobs MutatingAdmissionPolicy NFTablesProxyMode
    NodeDeclaredFeatures NodeInclusionPolicyInPodTopologySpread NodeLogQuery NodeSwap NominatedNodeNameForExpectation
    OpenAPIEnums OpportunisticBatching PLEGOnDemandRelist PodDeletionCost PodLevelResources PodObservedGenerationTracking
    PodReadyToStartContainersCondition PodSchedulingReadiness PodTopologyLabelsAdmission PortForwardWebsockets
    PreferSameTrafficDistribution ProcMountType RecoverVolumeExpansionFailure RecursiveReadOnlyMounts
    RelaxedEnvironmentVariableValidation RelaxedServiceNameValidation ReloadKubeletClientCAFile
    ReloadKubeletServerCertificateFile RemoteRequestHeaderUID ResourceHealthStatus ResourceHealthStatusMessage
    RestartAllContainersOnContainerExits RotateKubeletServerCertificate SchedulerAsyncPreemption SchedulerPopFromBackoffQ
    SELinuxChangePolicy SELinuxMountReadWriteOncePod SeparateTaintEvictionController ServiceAccountNodeAudienceRestriction
    ServiceAccountTokenJTI ServiceAccountTokenNodeBinding ServiceAccountTokenNodeBindingValidation
    ServiceAccountTokenPodNodeInfo ServiceCIDRStatusFieldWiping SizeBasedListCostEstimate
    StaleControllerConsistencyDaemonSet StaleControllerConsistencyJob StaleControllerConsistencyReplicaSet
    StaleControllerConsistencyStatefulSet StatefulSetSemanticRevisionComparison StorageNamespaceIndex StorageVersionHash
    StrictIPCIDRValidation StructuredAuthenticationConfigurationEgressSelector
    StructuredAuthenticationConfigurationJWKSMetrics SupplementalGroupsPolicy SystemdWatchdog
    TokenRequestServiceAccountUIDValidation TopologyManagerPolicyBetaOptions TopologyManagerPolicyOptions
    TranslateStreamCloseWebsocketRequests UnauthenticatedHTTP2DOSMitigation UnknownVersionInteroperabilityProxy
    UserNamespacesSupport VolumeAttributesClass WatchCacheInitializationPostStartHook WatchList WindowsGracefulNodeShutdown
    WinDSR WinOverlay
";

/// Gates that are off by default in Kubernetes 1.36.
const OFF: &str = "
    AllAlpha AllowDNSOnlyNodeCSR AllowInsecureKubeletCertificateSigningRequests AllowOverwriteTerminationGracePeriodSeconds
    AllowUnsafeMalformedObjectDeletion APIServingWithRoutine CBORServingAndStorage ChangeContainerStatusOnKubeletRestart
    CloudControllerManagerWatchBasedRoutesReconciliation CloudControllerManagerWebhook ClusterTrustBundle
    ClusterTrustBundleProjection ConcurrentWatchObjectDecode ContainerStopSignals
    ControllerManagerReleaseLeaderElectionLockOnExit CoordinatedLeaderElection CPUManagerPolicyAlphaOptions CRIListStreaming
    CrossNamespaceVolumeDataSource CSIVolumeHealth DeclarativeValidationTakeover DRADeviceTaintRules DRAListTypeAttributes
    DRANodeAllocatableResources DRAResourcePoolStatus DRAWorkloadResourceClaims EventedPLEG GenericWorkload
    GitRepoVolumeDriver HPAScaleToZero ImageVolumeWithDigest InPlacePodVerticalScalingExclusiveCPUs
    InPlacePodVerticalScalingExclusiveMemory KMSv1 KubeletInUserNamespace KubeletRegistrationGetOnExistsOnly
    LocalStorageCapacityIsolationFSQuotaMonitoring LoggingAlphaOptions ManifestBasedAdmissionControlConfig
    MaxUnavailableStatefulSet MemoryQoS MutablePVNodeAffinity NativeHistograms PersistentVolumeClaimUnusedSinceTime
    PodAndContainerStatsFromCRI PodCertificateRequest PodLevelResourceManagers PodLogsQuerySplitStreams PodsAPI QOSReserved
    ReduceDefaultCrashLoopBackOffDecay RuntimeClassInImageCriApi SchedulerAsyncAPICalls SELinuxMount SeparateCacheWatchRPC
    ShardedListAndWatch StorageCapacityScoring StorageVersionAPI StorageVersionMigrator TaintTolerationComparisonOperators
    TopologyAwareWorkloadScheduling TopologyManagerPolicyAlphaOptions UserNamespacesHostNetworkSupport
    VolumeLimitScaling WindowsCPUAndMemoryAffinity WindowsHostNetwork WorkloadWithJob
";

/// Gates of the first list whose feature is not here: they are off.
const ABSENT: &[&str] = &[
    "ComponentFlagz",
    "ComponentStatusz",
    "ContainerCheckpoint",
    "ExternalServiceAccountTokenSigner",
    "NodeDeclaredFeatures",
    "NodeLogQuery",
    "RelaxedServiceNameValidation",
    "StructuredAuthenticationConfigurationEgressSelector",
    "StructuredAuthenticationConfigurationJWKSMetrics",
    "UnknownVersionInteroperabilityProxy",
];

/// The gate of the Lease that says which API servers there are.
pub(super) const IDENTITY: &str = "APIServerIdentity";
/// Gates that are heeded.
const SWITCHED: &[&str] = &[IDENTITY];

fn in_list(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|known| known == name)
}

/// As Go reads a truth value.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// A gate and its state, as `name=bool` (or `kube:name=bool`) says.
fn read(written: &str) -> Result<(&str, bool), String> {
    let (name, value) = written.split_once('=').unwrap_or((written, ""));
    let name = name.trim();
    let name = name.strip_prefix("kube:").unwrap_or(name);
    if !written.contains('=') {
        return Err(format!("missing bool value for {name}"));
    }
    let value = value.trim();
    let state = truth(value).map_err(|why| format!("invalid value of {name}={value}, err: {why}"))?;
    Ok((name, state))
}

fn check_one(name: &str, wanted: bool) -> Result<(), String> {
    if name == "AllBeta" {
        return Err("AllBeta cannot be set: features are on or off as Kubernetes 1.36 has them by default".to_owned());
    }
    let default = in_list(ON, name);
    if !default && !in_list(OFF, name) {
        return Err(format!("unrecognized feature gate: {name}"));
    }
    let state = default && !ABSENT.contains(&name);
    if state == wanted || SWITCHED.contains(&name) {
        return Ok(());
    }
    let why = match (state, default) {
        (true, _) => "it is on, as in Kubernetes 1.36 by default, and this server cannot switch it off",
        (false, true) => "this server does not have what it switches on",
        (false, false) => "it is off, as in Kubernetes 1.36 by default, and this server cannot switch it on",
    };
    Err(format!("cannot set feature gate {name} to {wanted}: {why}"))
}

/// Whether all that is asked for is so, or can be made so.
///
/// # Errors
/// What is not, in upstream's words where it has them.
pub(super) fn check(written: &[String]) -> Result<(), String> {
    for one in written.iter().filter(|one| !one.is_empty()) {
        let (name, wanted) = read(one)?;
        check_one(name, wanted)?;
    }
    Ok(())
}

/// The state of a gate that can be switched: the last word counts.
pub(super) fn is_on(written: &[String], gate: &str) -> bool {
    let said = written.iter().filter_map(|one| read(one).ok()).rfind(|(name, _)| *name == gate);
    said.map_or_else(|| in_list(ON, gate), |(_, state)| state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_anyway_may_be_asked_for() {
        let check = |written: &str, expected: Result<(), &str>| {
            let written: Vec<String> = written.split(',').map(str::to_owned).collect();
            let found = super::check(&written);
            match expected {
                Ok(()) => assert_eq!(found, Ok(()), "{written:?}"),
                Err(why) => assert!(found.as_ref().is_err_and(|e| e.contains(why)), "{written:?}: {found:?}"),
            }
        };
        check("", Ok(()));
        check("WatchList=true,kube:HPAScaleToZero=false, ImageVolume = t", Ok(()));
        check("AllAlpha=false", Ok(()));
        check("APIServerIdentity=false", Ok(()));
        check("NodeDeclaredFeatures=false", Ok(()));
        check("WatchList=false", Err("cannot set feature gate WatchList to false: it is on"));
        check("HPAScaleToZero=true", Err("cannot set feature gate HPAScaleToZero to true: it is off"));
        check("NodeDeclaredFeatures=true", Err("this server does not have what it switches on"));
        check("AllAlpha=true", Err("cannot set feature gate AllAlpha to true"));
        check("AllBeta=false", Err("AllBeta cannot be set"));
        check("Nonsense=true", Err("unrecognized feature gate: Nonsense"));
        check("WatchList", Err("missing bool value for WatchList"));
        let syntax = "invalid value of WatchList=yes, err: strconv.ParseBool: parsing \"yes\": invalid syntax";
        check("WatchList=yes", Err(syntax));
    }

    #[test]
    fn every_gate_stands_in_one_list() {
        let mut all: Vec<&str> = ON.split_whitespace().chain(OFF.split_whitespace()).collect();
        let len = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), len);
        assert!(ABSENT.iter().chain(SWITCHED).all(|gate| in_list(ON, gate)));
        // What drops fields is off, whatever is asked for.
        assert!(gantry_api::gated::gates().all(|gate| in_list(OFF, gate)));
        let written = ["APIServerIdentity=false".to_owned(), "APIServerIdentity=true".to_owned()];
        assert!(is_on(&written, IDENTITY) && !is_on(&written[..1], IDENTITY) && is_on(&[], IDENTITY));
    }
}
