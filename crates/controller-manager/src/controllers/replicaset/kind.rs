//! The kinds that keep pods of a template.

use std::sync::Arc;

use gantry_client::{Object, Reader};
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus},
        core::v1::{ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::{
    readers::Readers,
    selector::{self, Labels},
};

/// A kind that can be seen as a replica set, as upstream's replication controllers are (pkg/controller/replication).
pub(super) trait Replicas: Object {
    /// The controller's name in its log.
    const NAME: &'static str;
    /// As whom it records events.
    const COMPONENT: &'static str;
    /// What its errors call an object.
    const WORDS: &'static str;

    /// The copy of all objects.
    fn reader(readers: &Readers) -> &Reader<Self>;

    /// The object as a replica set.
    fn as_set(object: &Arc<Self>) -> Arc<ReplicaSet>;

    /// The object with the status of a replica set.
    fn with_status(&self, status: ReplicaSetStatus) -> Self;

    /// Whether it wants pods with these labels.
    fn selects(&self, labels: Option<&Labels>) -> bool;
}

impl Replicas for ReplicaSet {
    const NAME: &'static str = "replicaset";
    const COMPONENT: &'static str = "replicaset-controller";
    const WORDS: &'static str = "replica set";

    fn reader(readers: &Readers) -> &Reader<Self> {
        &readers.replica_sets
    }

    fn as_set(object: &Arc<Self>) -> Arc<ReplicaSet> {
        Arc::clone(object)
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }

    fn selects(&self, labels: Option<&Labels>) -> bool {
        self.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, labels))
    }
}

impl Replicas for ReplicationController {
    const NAME: &'static str = "replicationcontroller";
    const COMPONENT: &'static str = "replication-controller";
    const WORDS: &'static str = "replication controller";

    fn reader(readers: &Readers) -> &Reader<Self> {
        &readers.replication_controllers
    }

    fn as_set(object: &Arc<Self>) -> Arc<ReplicaSet> {
        let condition = |c: &ReplicationControllerCondition| ReplicaSetCondition {
            type_: c.type_.clone(),
            status: c.status.clone(),
            reason: c.reason.clone(),
            message: c.message.clone(),
            last_transition_time: c.last_transition_time.clone(),
        };
        Arc::new(ReplicaSet {
            metadata: object.metadata.clone(),
            spec: object.spec.clone().map(|spec| ReplicaSetSpec {
                replicas: spec.replicas,
                min_ready_seconds: spec.min_ready_seconds,
                selector: LabelSelector { match_labels: spec.selector, match_expressions: None },
                template: spec.template,
            }),
            status: object.status.as_ref().map(|status| ReplicaSetStatus {
                replicas: status.replicas,
                fully_labeled_replicas: status.fully_labeled_replicas,
                ready_replicas: status.ready_replicas,
                available_replicas: status.available_replicas,
                observed_generation: status.observed_generation,
                conditions: status.conditions.as_ref().map(|list| list.iter().map(condition).collect()),
                terminating_replicas: None,
            }),
        })
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let condition = |c: ReplicaSetCondition| ReplicationControllerCondition {
            type_: c.type_,
            status: c.status,
            reason: c.reason,
            message: c.message,
            last_transition_time: c.last_transition_time,
        };
        let status = ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            conditions: status.conditions.map(|list| list.into_iter().map(condition).collect()),
        };
        Self { status: Some(status), ..self.clone() }
    }

    fn selects(&self, labels: Option<&Labels>) -> bool {
        self.spec.as_ref().is_some_and(|spec| selector::has_all(labels, spec.selector.as_ref()))
    }
}
