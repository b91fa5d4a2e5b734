//! The kinds that crate k8s-pb has definitions of, each with what its user does to a message. Shared with the conformance suite
//! of the API server.

use std::collections::BTreeMap;

use k8s_pb::Resource;

use super::{Again, again};

macro_rules! kinds {
    ($($group:ident::$version:ident: $($kind:ident),*;)*) => {
        pub(super) fn table() -> BTreeMap<(&'static str, &'static str, &'static str), Again> {
            let mut table: BTreeMap<_, Again> = BTreeMap::new();
            $($({
                type T = k8s_pb::api::$group::$version::$kind;
                table.insert((T::GROUP, T::VERSION, T::KIND), again::<T>);
            })*)*
            elsewhere(&mut table);
            table
        }
    };
}

kinds! {
    core::v1: Binding, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolumeClaim, PersistentVolume, Pod,
        PodTemplate, ReplicationController, ResourceQuota, Secret, ServiceAccount, Service;
    apps::v1: ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet;
    events::v1: Event;
    authentication::v1: SelfSubjectReview, TokenReview;
    authorization::v1: LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview;
    autoscaling::v2: HorizontalPodAutoscaler;
    autoscaling::v1: HorizontalPodAutoscaler;
    batch::v1: CronJob, Job;
    certificates::v1: CertificateSigningRequest;
    networking::v1: IngressClass, Ingress, IPAddress, NetworkPolicy, ServiceCIDR;
    policy::v1: PodDisruptionBudget;
    rbac::v1: ClusterRoleBinding, ClusterRole, RoleBinding, Role;
    storage::v1: CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass;
    admissionregistration::v1: MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        ValidatingWebhookConfiguration;
    scheduling::v1: PriorityClass;
    coordination::v1: Lease;
    node::v1: RuntimeClass;
    discovery::v1: EndpointSlice;
    resource::v1: DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice;
    flowcontrol::v1: FlowSchema, PriorityLevelConfiguration;
}

/// Kinds that the crate has in other places, or in the version before: the same messages.
fn elsewhere(table: &mut BTreeMap<(&'static str, &'static str, &'static str), Again>) {
    use k8s_pb::api::admissionregistration::v1beta1::{MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding};
    use k8s_pb::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use k8s_pb::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
    let admission = MutatingAdmissionPolicy::GROUP;
    table.insert((admission, "v1", MutatingAdmissionPolicy::KIND), again::<MutatingAdmissionPolicy>);
    table.insert((admission, "v1", MutatingAdmissionPolicyBinding::KIND), again::<MutatingAdmissionPolicyBinding>);
    table.insert(
        (CustomResourceDefinition::GROUP, "v1", CustomResourceDefinition::KIND),
        again::<CustomResourceDefinition>,
    );
    table.insert((APIService::GROUP, "v1", APIService::KIND), again::<APIService>);
}
