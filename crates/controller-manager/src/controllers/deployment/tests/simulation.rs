//! A rollout under any schedule: replica sets and pods of a toy cluster act in random order and report late, and the bounds
//! hold at every instant.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet, ReplicaSetStatus, RollingUpdateDeployment},
    apimachinery::pkg::util::intstr::IntOrString,
};
use proptest::prelude::*;

use super::{
    super::{plan::Action, rollout::Bounds},
    at, deployment, observed, plan_at, spec, template,
};

/// A set and its true pods: `true` = available.
struct Member {
    object: ReplicaSet,
    pods: Vec<bool>,
}

struct World {
    deployment: Deployment,
    members: BTreeMap<String, Member>,
    clock: i64,
}

impl World {
    fn new(replicas: i32, surge: i32, unavailable: i32) -> Self {
        let mut d = deployment(replicas, "a");
        let (max_surge, max_unavailable) = (Some(IntOrString::Int(surge)), Some(IntOrString::Int(unavailable)));
        spec(&mut d).strategy.get_or_insert_default().rolling_update =
            Some(RollingUpdateDeployment { max_surge, max_unavailable });
        Self { deployment: d, members: BTreeMap::new(), clock: 0 }
    }

    fn reconcile(&mut self) -> bool {
        self.clock += 1;
        let sets: Vec<Arc<ReplicaSet>> = self.members.values().map(|m| Arc::new(m.object.clone())).collect();
        let plan = plan_at(&self.deployment, &sets, &[], self.clock);
        for action in &plan.actions {
            match action {
                Action::Create(set) | Action::Update(set) => {
                    let mut object = ReplicaSet::clone(&set.object);
                    object.metadata.annotations = Some(set.annotations.clone());
                    object.spec.get_or_insert_default().replicas = Some(set.replicas);
                    object.metadata.generation = Some(object.metadata.generation.unwrap_or(0) + 1);
                    if set.fresh {
                        object.metadata.uid = Some(format!("uid-{}", set.name()));
                        object.metadata.creation_timestamp =
                            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(self.clock)));
                    }
                    let pods = self.members.remove(set.name()).map_or_else(Vec::new, |m| m.pods);
                    self.members.insert(set.name().to_owned(), Member { object, pods });
                }
                Action::Delete(set) => {
                    self.members.remove(set.metadata.name.as_deref().unwrap_or(""));
                }
            }
        }
        let acted = !plan.actions.is_empty() || plan.status.is_some();
        self.deployment = observed(self.deployment.clone(), &plan);
        acted
    }

    /// One of the toy cluster's actors does one thing.
    fn act(&mut self, choice: u8) -> bool {
        let kind = choice % 4;
        if kind == 0 {
            return self.reconcile();
        }
        let index = usize::from(choice / 4) % self.members.len().max(1);
        let Some(member) = self.members.values_mut().nth(index) else { return false };
        match kind {
            1 => member.fit(),
            2 => member.report(),
            _ => member.become_available(),
        }
    }

    fn check(&self, had_minimum: bool) -> Result<bool, TestCaseError> {
        let bounds = Bounds::of(&self.deployment);
        let pods: usize = self.members.values().map(|m| m.pods.len()).sum();
        let available: usize = self.members.values().map(|m| m.pods.iter().filter(|p| **p).count()).sum();
        let (pods, available) = (i32::try_from(pods).expect("few"), i32::try_from(available).expect("few"));
        prop_assert!(pods <= bounds.most(), "{pods} pods, {} allowed", bounds.most());
        let enough = available >= bounds.fewest_available();
        prop_assert!(enough || !had_minimum, "{available} available, {} needed", bounds.fewest_available());
        Ok(had_minimum || enough)
    }

    /// Lets everybody act in turn until nobody has anything to do.
    fn settle(&mut self, had_minimum: bool) -> Result<(), TestCaseError> {
        let mut minimum = had_minimum;
        for _ in 0..2000 {
            let mut acted = false;
            for choice in 0..=(4 * self.members.len().max(1) as u8) {
                acted |= self.act(choice);
                minimum = self.check(minimum)?;
            }
            if !acted {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("the rollout never came to rest"))
    }
}

impl Member {
    /// What the replica set controller does: as many pods as asked for, unavailable ones go first.
    fn fit(&mut self) -> bool {
        let wanted = self.object.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0);
        let wanted = usize::try_from(wanted).expect("sizes are not negative");
        let acted = self.pods.len() != wanted;
        self.pods.sort_by_key(|available| !*available);
        self.pods.resize(wanted, false);
        acted
    }

    fn report(&mut self) -> bool {
        let available = i32::try_from(self.pods.iter().filter(|p| **p).count()).expect("few");
        let status = ReplicaSetStatus {
            replicas: i32::try_from(self.pods.len()).expect("few"),
            observed_generation: self.object.metadata.generation,
            available_replicas: Some(available),
            ready_replicas: Some(available),
            ..ReplicaSetStatus::default()
        };
        let acted = self.object.status.as_ref() != Some(&status);
        self.object.status = Some(status);
        acted
    }

    fn become_available(&mut self) -> bool {
        let waiting = self.pods.iter_mut().find(|p| !**p);
        waiting.map(|pod| *pod = true).is_some()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn bounds_hold_under_any_schedule(
        replicas in 1..12i32,
        surge in 0..4i32,
        unavailable in 0..4i32,
        schedule in prop::collection::vec(any::<u8>(), 0..120),
        second in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut world = World::new(replicas, surge, unavailable);
        world.settle(false)?;
        for (image, schedule) in [("b", schedule), ("c", second)] {
            spec(&mut world.deployment).template = template(image);
            let generation = world.deployment.metadata.generation.unwrap_or(0);
            world.deployment.metadata.generation = Some(generation + 1);
            for choice in schedule {
                world.act(choice);
                world.check(true)?;
            }
        }
        world.settle(true)?;
        let status = world.deployment.status.clone().unwrap_or_default();
        prop_assert_eq!(status.updated_replicas, Some(replicas));
        prop_assert_eq!(status.available_replicas, Some(replicas));
        prop_assert_eq!(status.replicas, Some(replicas));
        prop_assert_eq!(status.observed_generation, world.deployment.metadata.generation);
        let progressing = status.conditions.iter().flatten().find(|c| c.type_ == "Progressing");
        prop_assert_eq!(progressing.and_then(|c| c.reason.as_deref()), Some("NewReplicaSetAvailable"));
    }
}
