//! Tables for the planner: a pod, what runs, what is known, and what is to be done about it.

use serde_json::json;

use super::*;
use crate::{
    pod::{
        container_hash, reference,
        state::{Ending, Failure, Local, ProbeFailure, Probed, Stopping},
    },
    runtime::{Exit, Role, State},
};
use k8s_openapi::api::core::v1::Pod;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

pub(crate) fn pod(spec: serde_json::Value) -> Pod {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "app", "image": "i"}]);
    }
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec})).unwrap()
}

pub(crate) fn sandbox(running: bool) -> Container {
    let state = if running { State::Running { started: at(0) } } else { exited(0, 5) };
    Container { role: Role::Sandbox, name: String::new(), ..made(&pod(json!({})), "", 0, state) }.with_id("s0")
}

impl Container {
    fn with_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }
}

pub(crate) fn exited(code: i32, finished: i64) -> State {
    State::Exited(Exit { code, started: at(0), finished: at(finished), oom_killed: false, error: String::new() })
}

pub(crate) fn made(pod: &Pod, name: &str, attempt: u32, state: State) -> Container {
    let hash = crate::pod::find(pod, name).map(|(_, spec)| container_hash(&spec)).unwrap_or_default();
    Container {
        id: format!("{name}{attempt}"),
        role: Role::Container,
        pod: reference(pod),
        name: name.into(),
        attempt,
        sandbox: "s0".into(),
        hash,
        image: "i".into(),
        image_id: "docker://i".into(),
        state,
        pid: 7,
        created: at(i64::from(attempt)),
        applied: crate::pod::find(pod, name).map(|(_, spec)| crate::pod::resources::in_use(&spec)).unwrap_or_default(),
        grace_seconds: 30,
    }
}

pub(crate) fn ready() -> Local {
    Local { volumes_ready: true, ip: Some([10, 244, 0, 2].into()), ..Local::default() }
}

fn running(from: i64) -> State {
    State::Running { started: at(from) }
}

fn start(name: &str, attempt: u32) -> Action {
    Action::Start { name: name.into(), attempt }
}

#[track_caller]
fn check(pod: &Pod, containers: &[Container], local: &Local, now: i64, actions: &[Action], wake: Option<i64>) {
    let found = plan(&Snapshot { pod, containers, local, now: at(now) });
    assert_eq!(found.actions, actions);
    assert_eq!(found.wake_at, wake.map(at));
}

#[test]
fn a_pod_comes_up_step_by_step() {
    let pod = pod(json!({}));
    let mut local = Local::default();
    check(&pod, &[], &local, 0, &[Action::PrepareVolumes], None);
    local.busy.insert(Op::Volumes);
    check(&pod, &[], &local, 0, &[], None);
    local = Local { volumes_ready: true, ..Local::default() };
    check(&pod, &[], &local, 0, &[Action::CreateSandbox { attempt: 0 }], None);
    let connect = Action::Connect { sandbox: "s0".into(), pid: 7 };
    check(&pod, &[sandbox(true)], &local, 0, &[connect], None);
    local = ready();
    check(&pod, &[sandbox(true)], &local, 0, &[start("app", 0)], None);
    local.busy.insert(Op::Start);
    check(&pod, &[sandbox(true)], &local, 0, &[], None);
    check(&pod, &[sandbox(true), made(&pod, "app", 0, running(0))], &ready(), 0, &[], None);
}

#[test]
fn failures_wait_for_their_time() {
    let pod = pod(json!({}));
    let failure = |reason| Failure { reason, message: "m".into(), at: at(0), retry_at: at(10) };
    let local = Local { volumes_failure: Some(failure("x")), ..Local::default() };
    check(&pod, &[], &local, 5, &[], Some(10));
    check(&pod, &[], &local, 10, &[Action::PrepareVolumes], None);
    let mut local = ready();
    local.failures.insert("app".into(), failure("ErrImagePull"));
    check(&pod, &[sandbox(true)], &local, 1, &[], Some(2));
    check(&pod, &[sandbox(true)], &local, 3, &[], Some(10));
    check(&pod, &[sandbox(true)], &local, 10, &[start("app", 0)], None);
}

#[test]
fn restarts_follow_policy_and_backoff() {
    let backoff = crate::pod::backoff::Backoff::next(None, at(0));
    let mut local = ready();
    local.backoffs.insert("app".into(), backoff);
    let case = |policy: &str, code, now, actions: &[Action], wake| {
        let pod = pod(json!({"restartPolicy": policy}));
        check(&pod, &[sandbox(true), made(&pod, "app", 3, exited(code, 6))], &local, now, actions, wake);
    };
    case("Always", 0, 10, &[], Some(16));
    case("Always", 0, 16, &[start("app", 4)], None);
    case("OnFailure", 1, 16, &[start("app", 4)], None);
    // A pod that has ended lets its sandbox and address go.
    let settle = [Action::Release, Action::Remove { id: "s0".into() }];
    case("OnFailure", 0, 16, &settle, None);
    case("Never", 1, 16, &settle, None);
    local.backoffs.clear();
    let pod = pod(json!({}));
    check(&pod, &[sandbox(true), made(&pod, "app", 0, exited(1, 6))], &local, 6, &[start("app", 1)], None);
}

#[test]
fn init_containers_run_one_after_the_other() {
    let mut pod = pod(json!({"initContainers": [
        {"name": "i1", "image": "i"}, {"name": "i2", "image": "i"}, {"name": "side", "image": "i", "restartPolicy": "Always"}
    ]}));
    let mut local = ready();
    let mut there = vec![sandbox(true)];
    check(&pod, &there, &local, 0, &[start("i1", 0)], None);
    there.push(made(&pod, "i1", 0, running(0)));
    check(&pod, &there, &local, 0, &[], None);
    there[1].state = exited(0, 1);
    check(&pod, &there, &local, 1, &[start("i2", 0)], None);
    there.push(made(&pod, "i2", 0, exited(2, 1)));
    check(&pod, &there, &local, 1, &[start("i2", 1)], None);
    pod.spec.as_mut().unwrap().restart_policy = Some("Never".into());
    check(&pod, &there, &local, 1, &[Action::Release, Action::Remove { id: "s0".into() }], None);
    pod.spec.as_mut().unwrap().restart_policy = Some("Always".into());
    there[2].state = exited(0, 1);
    check(&pod, &there, &local, 1, &[start("side", 0)], None);
    there.push(made(&pod, "side", 0, running(1)));
    check(&pod, &there, &local, 1, &[], None);
    local.probed.insert("side0".into(), Probed { started: true, ready: true, failed: None });
    check(&pod, &there, &local, 1, &[start("app", 0)], None);
    // The sidecar restarts beside the running application, the init containers do not.
    there.push(made(&pod, "app", 0, running(1)));
    there[3].state = exited(1, 2);
    there.remove(1);
    check(&pod, &there, &local, 2, &[start("side", 1)], None);
}

#[test]
fn a_lost_sandbox_takes_its_containers_along() {
    let pod = pod(json!({}));
    let app = made(&pod, "app", 0, running(0));
    let found = plan(&Snapshot { pod: &pod, containers: &[sandbox(false), app], local: &ready(), now: at(9) });
    assert!(matches!(&found.actions[..], [Action::BeginStop { id, .. }] if id == "app0"), "{found:?}");
    let dead = made(&pod, "app", 0, exited(143, 9));
    check(&pod, &[sandbox(false), dead], &ready(), 9, &[Action::CreateSandbox { attempt: 1 }], None);
}

#[test]
fn stopping_goes_from_hook_to_term_to_kill() {
    let pod = pod(json!({"terminationGracePeriodSeconds": 20}));
    let there = [sandbox(true), made(&pod, "app", 0, running(0))];
    let ending = Ending { since: at(100), grace_seconds: 20, cause: Cause::Deleted };
    let mut local = Local { ending: Some(ending), ..ready() };
    let begin = Action::BeginStop {
        id: "app0".into(),
        name: "app".into(),
        deadline: at(120),
        message: "Stopping container app".into(),
    };
    check(&pod, &there, &local, 100, &[begin], Some(120));
    let mut stopping = Stopping { deadline: at(120), hook_done: false, asked: None, killed: None };
    let mut case = |stopping: &Stopping, now, actions: &[Action], wake| {
        local.stopping.insert("app0".into(), stopping.clone());
        check(&pod, &there, &local, now, actions, Some(wake));
    };
    case(&stopping, 101, &[], 120);
    stopping.hook_done = true;
    case(&stopping, 102, &[Action::Terminate { id: "app0".into() }], 120);
    stopping.asked = Some(at(102));
    case(&stopping, 103, &[], 120);
    case(&stopping, 120, &[Action::Kill { id: "app0".into() }], 130);
    stopping.killed = Some(at(120));
    case(&stopping, 125, &[], 130);
    case(&stopping, 130, &[Action::Kill { id: "app0".into() }], 130);
    // A second, shorter deletion moves the deadline.
    local.ending.as_mut().unwrap().grace_seconds = 1;
    local.stopping.insert("app0".into(), Stopping { killed: None, ..stopping });
    check(&pod, &there, &local, 102, &[Action::Kill { id: "app0".into() }], Some(112));
}

#[test]
fn a_deleted_pod_leaves_nothing_and_confirms_last() {
    let pod = pod(json!({}));
    let ending = Ending { since: at(0), grace_seconds: 30, cause: Cause::Deleted };
    let mut local = Local { ending: Some(ending), ..ready() };
    let dead = made(&pod, "app", 0, exited(0, 3));
    check(&pod, &[sandbox(true), dead.clone()], &local, 3, &[Action::TearDown], None);
    local.torn_down = true;
    let removals = [Action::Remove { id: "s0".into() }, Action::Remove { id: "app0".into() }];
    check(&pod, &[sandbox(true), dead], &local, 3, &removals, None);
    check(&pod, &[], &local, 3, &[Action::Delete], None);
    local.busy.insert(Op::Delete);
    check(&pod, &[], &local, 3, &[], None);
    local.ending.as_mut().unwrap().cause = Cause::Orphaned;
    check(&pod, &[], &local, 3, &[Action::Forget], None);
}

#[test]
fn sidecars_end_last_and_in_reverse() {
    let pod = pod(json!({"initContainers": [
        {"name": "a", "image": "i", "restartPolicy": "Always"}, {"name": "b", "image": "i", "restartPolicy": "Always"}
    ]}));
    let ending = Ending { since: at(0), grace_seconds: 30, cause: Cause::Deleted };
    let local = Local { ending: Some(ending), ..ready() };
    let mut there =
        vec![made(&pod, "a", 0, running(0)), made(&pod, "b", 0, running(0)), made(&pod, "app", 0, running(0))];
    let stopped = |there: &[Container], now| -> Vec<String> {
        let found = plan(&Snapshot { pod: &pod, containers: there, local: &local, now: at(now) });
        found
            .actions
            .into_iter()
            .filter_map(|a| if let Action::BeginStop { name, .. } = a { Some(name) } else { None })
            .collect()
    };
    assert_eq!(stopped(&there, 1), ["app"]);
    assert_eq!(stopped(&there, 30), ["a", "b", "app"]);
    there.pop();
    assert_eq!(stopped(&there, 1), ["b"]);
    there.pop();
    assert_eq!(stopped(&there, 1), ["a"]);
}

#[test]
fn failed_probes_and_new_images_restart_a_container() {
    let mut pod = pod(json!({}));
    let there = [sandbox(true), made(&pod, "app", 0, running(0))];
    let mut local = ready();
    let failed = Some(ProbeFailure { probe: "liveness", grace_seconds: Some(5) });
    local.probed.insert("app0".into(), Probed { started: true, ready: true, failed });
    let begin = |message: &str, deadline| Action::BeginStop {
        id: "app0".into(),
        name: "app".into(),
        deadline: at(deadline),
        message: message.into(),
    };
    check(&pod, &there, &local, 50, &[begin("Container app failed liveness probe, will be restarted", 55)], None);
    pod.spec.as_mut().unwrap().containers[0].image = Some("other".into());
    check(&pod, &there, &ready(), 50, &[begin("Container app definition changed, will be restarted", 80)], None);
}

#[test]
fn the_active_deadline_ends_a_pod() {
    let mut pod = pod(json!({"activeDeadlineSeconds": 60}));
    pod.status = serde_json::from_value(json!({"startTime": at(0).to_string()})).unwrap();
    let there = [sandbox(true), made(&pod, "app", 0, running(0))];
    check(&pod, &there, &ready(), 59, &[], Some(60));
    let found = plan(&Snapshot { pod: &pod, containers: &there, local: &ready(), now: at(60) });
    assert!(matches!(&found.actions[..], [Action::End(Cause::Failed("DeadlineExceeded", _))]));
}

#[test]
fn only_two_dead_containers_of_a_name_are_kept() {
    let pod = pod(json!({}));
    let there = [
        sandbox(true),
        made(&pod, "app", 3, running(9)),
        made(&pod, "app", 2, exited(1, 8)),
        made(&pod, "app", 1, exited(1, 7)),
    ];
    check(&pod, &there, &ready(), 9, &[Action::Remove { id: "app1".into() }], None);
}

#[test]
fn restart_counts_survive_a_runtime_that_forgot() {
    let mut pod = pod(json!({}));
    pod.status = serde_json::from_value(json!({"containerStatuses": [
        {"name": "app", "image": "i", "imageID": "", "ready": false, "restartCount": 4, "containerID": "docker://x"}
    ]}))
    .unwrap();
    check(&pod, &[sandbox(true)], &ready(), 0, &[start("app", 5)], None);
}

#[test]
fn ephemeral_containers_start_once_whatever_the_others_do() {
    let mut pod = pod(json!({
        "initContainers": [{"name": "init", "image": "i"}],
        "ephemeralContainers": [{"name": "d1", "image": "i"}, {"name": "d2", "image": "i"}],
    }));
    // The init container has not ended, and one of the pod's own is being started: neither holds them up.
    let mut there = vec![sandbox(true), made(&pod, "init", 0, running(0))];
    check(&pod, &there, &ready(), 1, &[start("d1", 0)], None);
    let mut local = ready();
    local.busy.insert(Op::Start);
    check(&pod, &there, &local, 1, &[start("d1", 0)], None);
    // One at a time; one that failed waits, and lets the next one go first.
    local.busy.insert(Op::StartEphemeral);
    check(&pod, &there, &local, 1, &[], None);
    let mut local = ready();
    let failure = Failure { reason: "ErrImagePull", message: "m".into(), at: at(0), retry_at: at(10) };
    local.failures.insert("d1".into(), failure);
    check(&pod, &there, &local, 1, &[start("d2", 0)], Some(2));
    // It has run: never again, whatever its end.
    there.extend([made(&pod, "d1", 0, exited(1, 1)), made(&pod, "d2", 0, running(1))]);
    check(&pod, &there, &ready(), 9, &[], None);
    // Left behind between creation and start.
    there.truncate(3);
    there.push(made(&pod, "d2", 0, State::Created));
    check(&pod, &there, &ready(), 9, &[Action::Remove { id: "d20".into() }], None);
    // The runtime has forgotten it.
    pod.status = serde_json::from_value(json!({"ephemeralContainerStatuses": [
        {"name": "d2", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "containerID": "docker://x"}
    ]}))
    .unwrap();
    there.truncate(3);
    check(&pod, &there, &ready(), 9, &[], None);
    // They end with the pod, which does not wait for them to end by themselves.
    pod.spec.as_mut().unwrap().restart_policy = Some("Never".into());
    let there = [sandbox(true), made(&pod, "app", 0, exited(0, 5)), made(&pod, "d1", 0, running(1))];
    let message = "Stopping container d1".to_owned();
    let stop = Action::BeginStop { id: "d10".into(), name: "d1".into(), deadline: at(39), message };
    check(&pod, &there, &ready(), 9, &[stop], Some(39));
}
