//! Whole lives of pods.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::rig::Rig;
use crate::worker::Input;

fn simple() -> serde_json::Value {
    json!({"containers": [{"name": "app", "image": "web:1", "imagePullPolicy": "IfNotPresent"}]})
}

#[tokio::test(start_paused = true)]
async fn a_pod_comes_up_and_says_so() {
    let rig = Rig::new(simple());
    rig.fake.publish("web:1", "");
    rig.start().await;
    rig.until("Ready", 0).await;
    let status = rig.pod().status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.2"));
    let ready = status.conditions.unwrap().into_iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True");
    for event in ["Pulling", "Pulled", "Created", "Started"] {
        assert_eq!(rig.said(event), 1, "{event}: {:?}", rig.events.lock());
    }
    // Nothing changes, nothing is asked.
    let (calls, writes) = (rig.fake.calls().len(), *rig.api.writes.lock());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((rig.fake.calls().len(), *rig.api.writes.lock()), (calls, writes));
}

#[tokio::test(start_paused = true)]
async fn a_crashing_container_is_restarted_ever_more_slowly() {
    let rig = Rig::new(simple());
    rig.fake.publish("web:1", "");
    rig.start().await;
    rig.until("Ready", 0).await;
    rig.fake.exit("app", 1);
    rig.until("Ready", 1).await;
    for (restarts, seconds) in [(2, 10), (3, 20), (4, 40)] {
        let crashed = Instant::now();
        rig.fake.exit("app", 1);
        rig.until("CrashLoopBackOff", restarts - 1).await;
        rig.until("Ready", restarts).await;
        let waited = crashed.elapsed().as_secs_f64();
        assert!((f64::from(seconds)..f64::from(seconds) + 1.0).contains(&waited), "{waited} instead of {seconds}");
    }
    assert_eq!(rig.said("BackOff"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_pulled_when_it_appears() {
    let rig = Rig::new(simple());
    rig.start().await;
    rig.until("ErrImagePull", 0).await;
    rig.until("ImagePullBackOff", 0).await;
    assert_eq!(rig.said("BackOff: Back-off pulling image \"web:1\""), 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let pulls = rig.called("pull");
    assert!((3..=4).contains(&pulls), "{pulls} pulls in a minute");
    rig.fake.publish("web:1", "");
    rig.until("Ready", 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_is_asked_then_killed_then_confirmed() {
    let mut rig = Rig::new(simple());
    rig.fake.publish("web:1", "");
    rig.start().await;
    rig.until("Ready", 0).await;
    rig.fake.set_ignores_term(true);
    let asked = Instant::now();
    rig.delete(30);
    while !*rig.api.deleted.lock() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = asked.elapsed().as_secs_f64();
    assert!((30.0..32.0).contains(&took), "{took}");
    assert_eq!((rig.called("signal app TERM"), rig.called("signal app KILL")), (1, 1));
    assert!(rig.fake.specs().is_empty(), "containers are left");
    rig.send(Input::Gone);
    assert!(rig.ended.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_shorter_deletion_overtakes_a_longer_one() {
    let rig = Rig::new(simple());
    rig.fake.publish("web:1", "");
    rig.start().await;
    rig.until("Ready", 0).await;
    rig.fake.set_ignores_term(true);
    let asked = Instant::now();
    rig.delete(600);
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.delete(8);
    while !*rig.api.deleted.lock() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_seen_while_an_image_is_missing() {
    let rig = Rig::new(simple());
    rig.start().await;
    rig.until("ImagePullBackOff", 0).await;
    rig.delete(30);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(*rig.api.deleted.lock());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_kubelet_adopts_what_runs() {
    let rig = Rig::new(json!({"containers": [{"name": "app", "image": "web:1",
        "readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 5}}]}));
    rig.fake.publish("web:1", "");
    rig.fake.set_exec("ready", 0, "");
    rig.start().await;
    rig.until("Ready", 0).await;
    let made = rig.called("create");
    let writes = *rig.api.writes.lock();
    rig.start().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.called("create"), made, "nothing is made anew: {:?}", rig.fake.calls());
    assert_eq!(rig.called("signal"), 0);
    assert_eq!(*rig.api.writes.lock(), writes, "the pod was ready all the time");
    rig.fake.exit("app", 0);
    rig.until("Ready", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_went_away_is_used_again() {
    let rig = Rig::new(simple());
    rig.fake.publish("web:1", "");
    rig.fake.set_down(true);
    let start = rig.start();
    tokio::pin!(start);
    assert!(tokio::time::timeout(Duration::from_secs(20), &mut start).await.is_err());
    rig.fake.set_down(false);
    start.await;
    rig.until("Ready", 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_liveness_probe_restarts_the_container() {
    let rig = Rig::new(json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": "web:1",
        "livenessProbe": {"exec": {"command": ["alive"]}, "periodSeconds": 2, "failureThreshold": 2}}]}));
    rig.fake.publish("web:1", "");
    rig.fake.set_exec("alive", 0, "");
    rig.start().await;
    rig.until("Ready", 0).await;
    rig.fake.set_exec("alive", 1, "dead\n");
    rig.until("Ready", 1).await;
    assert!(rig.said("Unhealthy: Liveness probe failed: dead") >= 2, "{:?}", rig.events.lock());
    assert_eq!(rig.said("Killing: Container app failed liveness probe, will be restarted"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_hook_that_fails_takes_the_container_down() {
    let rig = Rig::new(json!({"containers": [{"name": "app", "image": "web:1",
        "lifecycle": {"postStart": {"exec": {"command": ["hook"]}}}}]}));
    rig.fake.publish("web:1", "");
    rig.fake.set_exec("hook", 3, "no");
    rig.start().await;
    rig.until("PostStartHookError", 0).await;
    assert_eq!(rig.called("signal app KILL"), 1);
    rig.fake.set_exec("hook", 0, "");
    rig.until("Ready", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_root_image_is_refused_where_it_must_not_be() {
    let rig =
        Rig::new(json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "app", "image": "web:1"}]}));
    rig.fake.publish("web:1", "");
    rig.start().await;
    rig.until("CreateContainerConfigError", 0).await;
    assert_eq!(rig.called("create app"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_ends_and_lets_its_sandbox_go() {
    let rig = Rig::new(json!({"restartPolicy": "Never", "containers": [{"name": "app", "image": "web:1"}]}));
    rig.fake.publish("web:1", "");
    rig.start().await;
    rig.until("Ready", 0).await;
    rig.fake.exit("app", 0);
    rig.until("Completed", 0).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.pod().status.unwrap().phase.as_deref(), Some("Succeeded"));
    assert_eq!(rig.fake.specs().len(), 1, "the container stays for its log, the sandbox goes");
    assert_eq!(rig.pod().status.unwrap().pod_ip.as_deref(), Some("10.244.0.2"), "its address stays in the status");
}
