//! Tables for the status.

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::*;
use crate::{
    pod::{
        backoff::Backoff,
        plan::tests::{at, exited, made, pod, ready, sandbox},
        state::{Ending, Failure, Local, Probed},
    },
    runtime::{Container, State},
};

fn running() -> State {
    State::Running { started: at(1) }
}

fn up(local: &mut Local, id: &str, ready: bool) {
    local.probed.insert(id.into(), Probed { started: true, ready, failed: None });
}

fn status(pod: &Pod, containers: &[Container], local: &Local, now: i64) -> PodStatus {
    compute(&Snapshot { pod, containers, local, now: at(now) }, &Host { ip: "10.200.0.11".into() })
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a k8s_openapi::api::core::v1::PodCondition {
    status.conditions.as_ref().unwrap().iter().find(|c| c.type_ == kind).unwrap()
}

/// The reason that `kubectl get` shows for the only container.
fn waiting(status: &PodStatus) -> (String, String) {
    let state = status.container_statuses.as_ref().unwrap()[0].state.clone().unwrap();
    let waiting = state.waiting.unwrap_or_default();
    (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())
}

#[test]
fn phases() {
    let check = |policy: &str, states: &[State], expected: &str| {
        let names = ["a", "b"];
        let specs: Vec<_> = names[..states.len()].iter().map(|n| json!({"name": n, "image": "i"})).collect();
        let pod = pod(json!({"restartPolicy": policy, "containers": specs}));
        let mut there = vec![sandbox(true)];
        there.extend(states.iter().zip(names).map(|(state, name)| made(&pod, name, 0, state.clone())));
        assert_eq!(status(&pod, &there, &ready(), 9).phase.unwrap(), expected, "{policy} {states:?}");
    };
    check("Always", &[State::Created], "Pending");
    check("Always", &[running()], "Running");
    check("Always", &[running(), State::Created], "Pending");
    check("Always", &[exited(1, 2)], "Running");
    check("Always", &[exited(0, 2)], "Running");
    check("OnFailure", &[exited(0, 2), exited(0, 2)], "Succeeded");
    check("OnFailure", &[exited(0, 2), exited(1, 2)], "Running");
    check("Never", &[exited(0, 2), exited(0, 2)], "Succeeded");
    check("Never", &[exited(0, 2), exited(1, 2)], "Failed");
    check("Never", &[exited(0, 2), running()], "Running");
}

#[test]
fn a_running_pod_is_ready_when_its_probes_say_so() {
    let pod = pod(json!({}));
    let there = [sandbox(true), made(&pod, "app", 2, running()), made(&pod, "app", 1, exited(3, 0))];
    let mut local = ready();
    up(&mut local, "app2", false);
    let found = status(&pod, &there, &local, 5);
    let app = &found.container_statuses.as_ref().unwrap()[0];
    assert_eq!((app.ready, app.started, app.restart_count), (false, Some(true), 2));
    assert_eq!(app.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 3);
    assert_eq!(condition(&found, "Ready").message.as_deref(), Some("containers with unready status: [app]"));
    assert_eq!(condition(&found, "PodReadyToStartContainers").status, "True");
    up(&mut local, "app2", true);
    let found = status(&pod, &there, &local, 5);
    assert_eq!(condition(&found, "Ready").status, "True");
    assert_eq!(found.pod_ip.as_deref(), Some("10.244.0.2"));
    assert_eq!(found.host_ip.as_deref(), Some("10.200.0.11"));
    assert_eq!(found.qos_class.as_deref(), Some("BestEffort"));
}

#[test]
fn transition_times_stay_while_nothing_changes() {
    let mut pod = pod(json!({}));
    let there = [sandbox(true), made(&pod, "app", 0, running())];
    let first = status(&pod, &there, &ready(), 5);
    pod.status = Some(first.clone());
    let later = status(&pod, &there, &ready(), 50);
    assert_eq!(first, later, "nothing to write when nothing changed");
}

#[test]
fn waiting_reasons() {
    let pod = pod(json!({}));
    let mut local = ready();
    assert_eq!(waiting(&status(&pod, &[], &local, 0)).0, "ContainerCreating");
    let failure = Failure { reason: "ErrImagePull", message: "no".into(), at: at(0), retry_at: at(10) };
    local.failures.insert("app".into(), failure);
    assert_eq!(waiting(&status(&pod, &[sandbox(true)], &local, 1)), ("ErrImagePull".into(), "no".into()));
    let later = waiting(&status(&pod, &[sandbox(true)], &local, 3));
    assert_eq!(later, ("ImagePullBackOff".into(), "Back-off pulling image \"i\": ErrImagePull: no".into()));
    local.failures.clear();
    let there = [sandbox(true), made(&pod, "app", 1, exited(1, 5))];
    let entry = Backoff::next(Some(Backoff::next(None, at(0))), at(1));
    local.backoffs.insert("app".into(), entry);
    let found = status(&pod, &there, &local, 6);
    let expected = "back-off 20s restarting failed container=app pod=p_ns(u)";
    assert_eq!(waiting(&found), ("CrashLoopBackOff".into(), expected.into()));
    let last = found.container_statuses.unwrap()[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (1, Some("Error")));
    // After the delay it is a plain end again, until the next start.
    assert_eq!(waiting(&status(&pod, &there, &local, 40)).0, "");
}

#[test]
fn init_containers_hold_the_pod_back() {
    let pod = pod(json!({"initContainers": [{"name": "i1", "image": "i"}]}));
    let found = status(&pod, &[sandbox(true), made(&pod, "i1", 0, running())], &ready(), 5);
    assert_eq!(found.phase.as_deref(), Some("Pending"));
    assert_eq!(waiting(&found).0, "PodInitializing");
    let open = condition(&found, "Initialized");
    assert_eq!(open.message.as_deref(), Some("containers with incomplete status: [i1]"));
    let found = status(&pod, &[sandbox(true), made(&pod, "i1", 0, exited(0, 2))], &ready(), 5);
    assert_eq!(condition(&found, "Initialized").status, "True");
    assert!(found.init_container_statuses.unwrap()[0].ready);
}

#[test]
fn a_deleted_pod_ends_as_its_containers_did() {
    let pod = pod(json!({}));
    let ending = Ending { since: at(0), grace_seconds: 30, cause: Cause::Deleted };
    let local = Local { ending: Some(ending), ..ready() };
    let there = |code| [sandbox(true), made(&pod, "app", 0, exited(code, 2))];
    assert_eq!(status(&pod, &there(0), &local, 5).phase.as_deref(), Some("Succeeded"));
    assert_eq!(status(&pod, &there(137), &local, 5).phase.as_deref(), Some("Failed"));
}

#[test]
fn a_failed_pod_says_why() {
    let pod = pod(json!({}));
    let cause = Cause::Failed("DeadlineExceeded", "too long".into());
    let local = Local { ending: Some(Ending { since: at(0), grace_seconds: 30, cause }), ..ready() };
    let found = status(&pod, &[sandbox(true), made(&pod, "app", 0, exited(137, 2))], &local, 5);
    assert_eq!(
        (found.phase.as_deref(), found.reason.as_deref(), found.message.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"), Some("too long"))
    );
}

#[test]
fn ephemeral_containers_are_shown_and_count_for_nothing() {
    let mut pod = pod(json!({"ephemeralContainers": [{"name": "d", "image": "i"}]}));
    let own = [sandbox(true), made(&pod, "app", 0, running())];
    let mut local = ready();
    up(&mut local, "app0", true);
    let shown = |status: &PodStatus| {
        let list = status.ephemeral_container_statuses.as_ref().unwrap();
        serde_json::to_value(&list[0]).unwrap()
    };
    let found = status(&pod, &own, &local, 9);
    assert_eq!(shown(&found)["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!((found.phase.as_deref(), condition(&found, "Ready").status.as_str()), (Some("Running"), "True"));
    let with = |state| [&own[..], &[made(&pod, "d", 0, state)]].concat();
    let found = status(&pod, &with(running()), &local, 9);
    assert_eq!((&shown(&found)["ready"], shown(&found).get("started")), (&json!(false), None));
    assert!(shown(&found)["state"]["running"].is_object());
    let found = status(&pod, &with(exited(3, 5)), &local, 9);
    assert_eq!(shown(&found)["state"]["terminated"]["exitCode"], 3);
    assert_eq!((found.phase.as_deref(), condition(&found, "Ready").status.as_str()), (Some("Running"), "True"));
    // The runtime has forgotten it: its end stays, and it does not wait for another life.
    pod.status = Some(found);
    let found = status(&pod, &own, &local, 9);
    assert_eq!(shown(&found)["state"]["terminated"]["exitCode"], 3);
}
