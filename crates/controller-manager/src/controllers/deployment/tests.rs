mod simulation;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{
            Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, DeploymentStrategy, ReplicaSet,
            ReplicaSetStatus, RollingUpdateDeployment,
        },
        core::v1::{Container, Pod, PodSpec, PodStatus, PodTemplateSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta, Time},
        util::intstr::IntOrString,
    },
};

use super::{
    plan::{Action, Plan, Snapshot, plan},
    revision,
    rollout::{Bounds, Set},
};
use crate::selector::Labels;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("in range")
}

fn labels(pairs: &[(&str, &str)]) -> Option<Labels> {
    Some(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

fn template(image: &str) -> PodTemplateSpec {
    let container = Container { name: "web".to_owned(), image: Some(image.to_owned()), ..Container::default() };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: labels(&[("app", "web")]), ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

fn percent(text: &str) -> Option<IntOrString> {
    Some(IntOrString::String(text.to_owned()))
}

/// A deployment called web with upstream's defaults.
fn deployment(replicas: i32, image: &str) -> Deployment {
    let rolling = RollingUpdateDeployment { max_surge: percent("25%"), max_unavailable: percent("25%") };
    Deployment {
        metadata: ObjectMeta {
            name: Some("web".to_owned()),
            namespace: Some("ns".to_owned()),
            uid: Some("d".to_owned()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: LabelSelector { match_labels: labels(&[("app", "web")]), match_expressions: None },
            template: template(image),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(rolling),
            }),
            revision_history_limit: Some(10),
            progress_deadline_seconds: Some(600),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn spec(d: &mut Deployment) -> &mut DeploymentSpec {
    d.spec.as_mut().expect("has one")
}

/// A set of `d` for `image` with so many replicas, of which so many are available.
fn set(d: &Deployment, image: &str, revision: i64, replicas: i32, available: i32) -> Arc<ReplicaSet> {
    let mut like = d.clone();
    spec(&mut like).template = template(image);
    let made = revision::fresh_set(&like);
    let mut object = ReplicaSet::clone(&made.object);
    let bounds = Bounds::of(d);
    let (desired, most) = (bounds.replicas.to_string(), bounds.most().to_string());
    object.metadata.uid = Some(format!("uid-{image}"));
    object.metadata.name = Some(format!("web-{image}"));
    object.metadata.creation_timestamp = Some(Time(at(revision)));
    object.metadata.annotations = labels(&[
        (revision::REVISION, &revision.to_string()),
        (revision::DESIRED_REPLICAS, &desired),
        (revision::MAX_REPLICAS, &most),
    ]);
    object.spec.get_or_insert_default().replicas = Some(replicas);
    object.status = Some(ReplicaSetStatus {
        replicas,
        available_replicas: Some(available),
        ready_replicas: Some(available),
        ..ReplicaSetStatus::default()
    });
    Arc::new(object)
}

fn plan_at(d: &Deployment, sets: &[Arc<ReplicaSet>], pods: &[Arc<Pod>], second: i64) -> Plan {
    plan(&Snapshot { deployment: d, sets, pods, now: at(second) })
}

/// The planned sizes as `name=size`, `+` for new sets and `-name` for deleted ones.
fn sizes(plan: &Plan) -> String {
    let size = |set: &Set| set.replicas.to_string();
    let one = |action: &Action| match action {
        Action::Create(set) => format!("+{}", size(set)),
        Action::Update(set) => format!("{}={}", set.name(), size(set)),
        Action::Delete(set) => format!("-{}", set.metadata.name.as_deref().unwrap_or("")),
    };
    plan.actions.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn condition<'a>(plan: &'a Plan, kind: &str) -> Option<&'a DeploymentCondition> {
    plan.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// `status reason` of a planned condition.
fn says(plan: &Plan, kind: &str) -> String {
    condition(plan, kind)
        .map_or_else(|| "absent".to_owned(), |c| format!("{} {}", c.status, c.reason.clone().unwrap_or_default()))
}

/// `d` with the status and revision that the plan writes.
fn observed(mut d: Deployment, plan: &Plan) -> Deployment {
    if let Some(status) = &plan.status {
        d.status = Some(status.clone());
    }
    if let Some(revision) = &plan.revision {
        d.metadata.annotations.get_or_insert_default().insert(revision::REVISION.to_owned(), revision.clone());
    }
    d
}

#[test]
fn bounds_round_surge_up_and_unavailability_down() {
    let check = |replicas, surge: IntOrString, unavailable: IntOrString, expected: (i32, i32)| {
        let mut d = deployment(replicas, "a");
        let rolling = RollingUpdateDeployment { max_surge: Some(surge), max_unavailable: Some(unavailable) };
        spec(&mut d).strategy.get_or_insert_default().rolling_update = Some(rolling);
        let bounds = Bounds::of(&d);
        assert_eq!((bounds.max_surge, bounds.max_unavailable), expected, "{replicas}");
    };
    let p = |text: &str| IntOrString::String(text.to_owned());
    check(10, p("25%"), p("25%"), (3, 2));
    check(3, p("25%"), p("25%"), (1, 0));
    check(1, p("0%"), p("25%"), (0, 1));
    check(4, IntOrString::Int(2), IntOrString::Int(9), (2, 4));
    check(0, p("25%"), p("25%"), (0, 0));
}

#[test]
fn steps_of_a_rolling_update() {
    let check = |d: &Deployment, sets: &[Arc<ReplicaSet>], expected: &str| {
        assert_eq!(sizes(&plan_at(d, sets, &[], 0)), expected);
    };
    let d = deployment(4, "b");
    // The first set of a deployment gets all replicas at once.
    check(&d, &[], "+4");
    // A new template: as many as the surge allows.
    check(&d, &[set(&d, "a", 1, 4, 4)], "+1");
    // Nothing more may be added, and one old pod may go.
    check(&d, &[set(&d, "a", 1, 4, 4), set(&d, "b", 2, 1, 0)], "web-a=3");
    check(&d, &[set(&d, "a", 1, 3, 3), set(&d, "b", 2, 1, 0)], "web-b=2");
    check(&d, &[set(&d, "a", 1, 3, 3), set(&d, "b", 2, 2, 0)], "");
    check(&d, &[set(&d, "a", 1, 3, 3), set(&d, "b", 2, 2, 1)], "web-a=2");
    check(&d, &[set(&d, "a", 1, 0, 0), set(&d, "b", 2, 4, 4)], "");
    // Old pods that do not work are replaced first.
    check(&d, &[set(&d, "a", 1, 4, 1), set(&d, "b", 2, 1, 0)], "web-a=3");
    // A status that lags behind a scale-down is not believed.
    let mut lagging = ReplicaSet::clone(&set(&d, "a", 1, 2, 2));
    lagging.status.as_mut().expect("has one").available_replicas = Some(4);
    check(&d, &[Arc::new(lagging), set(&d, "b", 2, 3, 1)], "");
}

#[test]
fn a_rollback_reuses_the_old_set_with_a_new_revision() {
    let d = deployment(2, "a");
    let plan = plan_at(&d, &[set(&d, "a", 1, 0, 0), set(&d, "b", 2, 2, 2)], &[], 0);
    assert_eq!(sizes(&plan), "web-a=1");
    assert_eq!(plan.revision.as_deref(), Some("3"));
    let Some(Action::Update(back)) = plan.actions.first() else { panic!("{plan:?}") };
    assert_eq!(back.annotations[revision::REVISION], "3");
    assert_eq!(back.annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn the_first_set_is_made_with_its_labels_and_revision() {
    let mut d = deployment(3, "a");
    d.metadata.annotations = labels(&[("team", "x"), ("kubectl.kubernetes.io/last-applied-configuration", "{}")]);
    let plan = plan_at(&d, &[], &[], 0);
    assert_eq!(plan.revision.as_deref(), Some("1"));
    assert_eq!(says(&plan, "Progressing"), "True NewReplicaSetCreated");
    assert_eq!(says(&plan, "Available"), "False MinimumReplicasUnavailable");
    let Some(Action::Create(made)) = plan.actions.first() else { panic!("{plan:?}") };
    let hash = made.object.metadata.labels.as_ref().expect("labels")[revision::HASH].clone();
    assert_eq!(made.name(), format!("web-{hash}"));
    let made_spec = made.object.spec.as_ref().expect("spec");
    assert_eq!(made_spec.selector.match_labels.as_ref().expect("labels")[revision::HASH], hash);
    let pod_labels = made_spec.template.as_ref().and_then(|t| t.metadata.clone()).and_then(|m| m.labels);
    assert_eq!(pod_labels.expect("labels")[revision::HASH], hash);
    let expected = labels(&[
        ("team", "x"),
        (revision::REVISION, "1"),
        (revision::DESIRED_REPLICAS, "3"),
        (revision::MAX_REPLICAS, "4"),
    ]);
    assert_eq!(Some(made.annotations.clone()), expected);
}

#[test]
fn hashes_are_stable_and_move_with_collisions() {
    let plain = revision::hash(&template("a"), None);
    assert_eq!(plain, revision::hash(&template("a"), None));
    assert_ne!(plain, revision::hash(&template("b"), None));
    assert_ne!(plain, revision::hash(&template("a"), Some(1)));
    assert!(plain.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)), "{plain}");
}

#[test]
fn scaling_keeps_the_shape_of_a_rollout() {
    let mut d = deployment(10, "b");
    let sets = [set(&d, "a", 1, 8, 8), set(&d, "b", 2, 5, 3)];
    spec(&mut d).replicas = Some(20);
    // 25 may exist: 12 more, in proportion 8 to 5, the remainder to the bigger one.
    assert_eq!(sizes(&plan_at(&d, &sets, &[], 0)), "web-b=10 web-a=15");
    spec(&mut d).replicas = Some(0);
    assert_eq!(sizes(&plan_at(&d, &sets, &[], 0)), "web-b=0 web-a=0");
    // With one active set it is that one's size.
    let single = [set(&deployment(10, "b"), "a", 1, 0, 0), set(&deployment(10, "b"), "b", 2, 10, 10)];
    spec(&mut d).replicas = Some(3);
    assert_eq!(sizes(&plan_at(&d, &single, &[], 0)), "web-b=3");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut d = deployment(3, "b");
    spec(&mut d).paused = Some(true);
    let plan = plan_at(&d, &[set(&d, "a", 1, 3, 3)], &[], 0);
    assert_eq!(sizes(&plan), "");
    assert_eq!(says(&plan, "Progressing"), "Unknown DeploymentPaused");
    let mut resumed = observed(d, &plan);
    spec(&mut resumed).paused = Some(false);
    let plan = plan_at(&resumed, &[set(&resumed, "a", 1, 3, 3)], &[], 0);
    assert_eq!(sizes(&plan), "+1");
    assert_eq!(says(&plan, "Progressing"), "True NewReplicaSetCreated");
}

fn pod_of(uid: &str, phase: &str) -> Arc<Pod> {
    let mut owner = gantry_controller::owner::reference(&ReplicaSet::default());
    owner.uid = uid.to_owned();
    Arc::new(Pod {
        metadata: ObjectMeta { owner_references: Some(vec![owner]), ..ObjectMeta::default() },
        spec: None,
        status: Some(PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() }),
    })
}

#[test]
fn recreation_waits_for_the_last_old_pod() {
    let mut d = deployment(3, "b");
    spec(&mut d).strategy = Some(DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None });
    let check = |sets: &[Arc<ReplicaSet>], pods: &[Arc<Pod>], expected: &str| {
        assert_eq!(sizes(&plan_at(&d, sets, pods, 0)), expected);
    };
    check(&[set(&d, "a", 1, 3, 3)], &[], "web-a=0");
    let drained = set(&d, "a", 1, 0, 0);
    check(std::slice::from_ref(&drained), &[pod_of("uid-a", "Running")], "");
    check(std::slice::from_ref(&drained), &[pod_of("uid-a", "Succeeded")], "+3");
    check(std::slice::from_ref(&drained), &[], "+3");
    check(&[drained, set(&d, "b", 2, 3, 0)], &[pod_of("uid-b", "Running")], "");
}

#[test]
fn history_beyond_the_limit_goes_once_the_rollout_is_complete() {
    let mut d = deployment(1, "d");
    spec(&mut d).revision_history_limit = Some(1);
    let old = |image, revision| set(&d, image, revision, 0, 0);
    let mut done = ReplicaSet::clone(&set(&d, "d", 4, 1, 1));
    let sets = |new: &ReplicaSet| [old("a", 1), old("b", 2), old("c", 3), Arc::new(new.clone())];
    assert_eq!(sizes(&plan_at(&d, &sets(&done), &[], 0)), "-web-a -web-b");
    done.status.as_mut().expect("has one").available_replicas = Some(0);
    assert_eq!(sizes(&plan_at(&d, &sets(&done), &[], 0)), "");
}

#[test]
fn progress_is_judged_by_the_deadline() {
    let d = deployment(2, "a");
    let stuck = [set(&d, "a", 1, 2, 0)];
    let first = plan_at(&d, &stuck, &[], 0);
    assert_eq!(says(&first, "Progressing"), "True ReplicaSetUpdated");
    assert_eq!(first.again.expect("a deadline runs").as_secs(), 601);
    let d = observed(d, &first);
    let waiting = plan_at(&d, &stuck, &[], 300);
    assert_eq!(waiting.status, None, "nothing changed, nothing is written");
    assert_eq!(waiting.again.expect("a deadline runs").as_secs(), 301);
    let late = plan_at(&d, &stuck, &[], 601);
    assert_eq!(says(&late, "Progressing"), "False ProgressDeadlineExceeded");
    let message = condition(&late, "Progressing").and_then(|c| c.message.clone());
    assert_eq!(message.as_deref(), Some("ReplicaSet \"web-a\" has timed out progressing."));
    assert_eq!(late.again, None);
    let healed = plan_at(&observed(d, &late), &[set(&deployment(2, "a"), "a", 1, 2, 2)], &[], 700);
    assert_eq!(says(&healed, "Progressing"), "True NewReplicaSetAvailable");
    assert_eq!(says(&healed, "Available"), "True MinimumReplicasAvailable");
    assert_eq!(healed.again, None);
}

#[test]
fn the_status_counts_and_leaves_zeros_out() {
    let d = deployment(4, "b");
    let plan = plan_at(&d, &[set(&d, "a", 1, 3, 3), set(&d, "b", 2, 2, 0)], &[], 0);
    let status = plan.status.expect("changes");
    let expected = DeploymentStatus {
        replicas: Some(5),
        updated_replicas: Some(2),
        ready_replicas: Some(3),
        available_replicas: Some(3),
        unavailable_replicas: Some(2),
        observed_generation: Some(1),
        conditions: status.conditions.clone(),
        ..DeploymentStatus::default()
    };
    assert_eq!(status, expected);
}

#[test]
fn trouble_of_the_new_set_is_shown() {
    let d = deployment(1, "a");
    let mut failing = ReplicaSet::clone(&set(&d, "a", 1, 1, 0));
    failing.status.as_mut().expect("has one").conditions =
        Some(vec![k8s_openapi::api::apps::v1::ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some("FailedCreate".to_owned()),
            message: Some("quota".to_owned()),
            last_transition_time: None,
        }]);
    let plan = plan_at(&d, &[Arc::new(failing)], &[], 0);
    assert_eq!(says(&plan, "ReplicaFailure"), "True FailedCreate");
    let d = observed(d, &plan);
    let plan = plan_at(&d, &[set(&deployment(1, "a"), "a", 1, 1, 0)], &[], 1);
    assert_eq!(says(&plan, "ReplicaFailure"), "absent");
}

#[test]
fn a_deployment_on_its_way_out_only_reports() {
    let mut d = deployment(3, "b");
    d.metadata.deletion_timestamp = Some(Time(at(0)));
    let plan = plan_at(&d, &[set(&d, "a", 1, 3, 3)], &[], 0);
    assert_eq!(sizes(&plan), "");
    assert!(plan.status.is_some());
}
