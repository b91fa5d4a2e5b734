//! What a node does with its pods: pure, time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use gantry_client::Object;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Mood;

/// The next thing to do for a pod.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    /// It is as it should be.
    Nothing,
    /// Look again then.
    Wait(Instant),
    /// Write this status.
    Report(Value),
    /// It has ended: let go of the object.
    Remove,
}

#[derive(Debug, Default)]
struct Running {
    address: Option<Ipv4Addr>,
    ready_at: Option<Instant>,
    ended_at: Option<Instant>,
    restarts: i32,
}

/// What runs on the node, by uid.
#[derive(Debug, Default)]
pub(super) struct Local {
    pods: BTreeMap<String, Running>,
}

impl Local {
    /// Ends what has no object any more and frees its address.
    pub(super) fn forget_all_but(&mut self, uids: &BTreeSet<&str>) {
        self.pods.retain(|uid, _| uids.contains(uid.as_str()));
    }

    /// A container crashes; it is back at `until`.
    pub(super) fn crash(&mut self, uid: &str, until: Instant) {
        if let Some(running) = self.pods.get_mut(uid).filter(|r| r.ready_at.is_some()) {
            running.restarts += 1;
            running.ready_at = Some(until);
        }
    }

    pub(super) fn act(&mut self, pod: &Pod, cidr: Option<&str>, mood: &Mood, now: Instant) -> Act {
        let uid = pod.uid().to_owned();
        if pod.metadata.deletion_timestamp.is_some() {
            let running = self.pods.entry(uid).or_default();
            let ended_at = *running.ended_at.get_or_insert(now + mood.stop);
            return if ended_at <= now { Act::Remove } else { Act::Wait(ended_at) };
        }
        let address = match self.pods.get(&uid).and_then(|r| r.address) {
            Some(address) => address,
            // Without an address range the node cannot run pods yet.
            None => match cidr.and_then(|c| self.free_address(c)) {
                Some(address) => address,
                None => return Act::Nothing,
            },
        };
        let running = self.pods.entry(uid).or_default();
        running.address = Some(address);
        let ready_at = *running.ready_at.get_or_insert(now + mood.start);
        let status = status(pod, address, running.restarts, ready_at <= now);
        if !says(pod, &status) {
            return Act::Report(status);
        }
        if ready_at > now { Act::Wait(ready_at) } else { Act::Nothing }
    }

    /// The lowest free address: reused as early as can be, which is hard on everybody who remembers one.
    fn free_address(&self, cidr: &str) -> Option<Ipv4Addr> {
        let network: Ipv4Addr = cidr.split('/').next()?.parse().ok()?;
        let taken: BTreeSet<Ipv4Addr> = self.pods.values().filter_map(|r| r.address).collect();
        (2..255).map(|host| Ipv4Addr::from(u32::from(network) + host)).find(|ip| !taken.contains(ip))
    }
}

fn status(pod: &Pod, address: Ipv4Addr, restarts: i32, ready: bool) -> Value {
    let word = if ready { "True" } else { "False" };
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
    let containers = pod.spec.iter().flat_map(|s| &s.containers).map(|container| {
        json!({"name": container.name, "image": container.image, "imageID": "fake", "ready": ready, "started": ready,
            "restartCount": restarts, "state": {"running": {}}})
    });
    json!({
        "phase": "Running", "podIP": address.to_string(), "podIPs": [{"ip": address.to_string()}],
        "hostIP": "10.200.0.11",
        "conditions": [condition("Initialized", "True"), condition("ContainersReady", word), condition("Ready", word)],
        "containerStatuses": containers.collect::<Vec<_>>(),
    })
}

/// Whether the pod's object says what we would write.
fn says(pod: &Pod, status: &Value) -> bool {
    let Some(present) = &pod.status else { return false };
    let ready = |kind: &str| {
        let conditions = present.conditions.as_deref().unwrap_or_default();
        conditions.iter().find(|c| c.type_ == kind).map(|c| c.status.clone())
    };
    let wanted = status["conditions"][2]["status"].as_str();
    let restarts = present.container_statuses.as_ref().and_then(|c| Some(c.first()?.restart_count));
    present.pod_ip.as_deref() == status["podIP"].as_str()
        && ready("Ready").as_deref() == wanted
        && ready("ContainersReady").as_deref() == wanted
        && restarts.map(i64::from) == status["containerStatuses"][0]["restartCount"].as_i64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CIDR: Option<&str> = Some("10.244.3.0/24");

    fn pod(uid: &str, status: Value) -> Pod {
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": spec, "status": status})).expect("a pod")
    }

    fn reported(act: Act) -> Value {
        let Act::Report(status) = act else { panic!("{act:?}") };
        status
    }

    #[test]
    fn a_pod_starts_crashes_and_ends() {
        let (mood, start) = (Mood::default(), Instant::now());
        let late = start + Duration::from_secs(1);
        let mut local = Local::default();
        assert_eq!(local.act(&pod("a", json!({})), None, &mood, start), Act::Nothing);
        let first = reported(local.act(&pod("a", json!({})), CIDR, &mood, start));
        assert_eq!((&first["podIP"], &first["conditions"][2]["status"]), (&json!("10.244.3.2"), &json!("False")));
        assert_eq!(local.act(&pod("a", first), CIDR, &mood, start), Act::Wait(start + mood.start));
        let running = reported(local.act(&pod("a", json!({})), CIDR, &mood, late));
        assert_eq!(running["conditions"][2]["status"], "True");
        assert_eq!(local.act(&pod("a", running.clone()), CIDR, &mood, late), Act::Nothing);
        local.crash("a", late + mood.start);
        let crashed = reported(local.act(&pod("a", running), CIDR, &mood, late));
        assert_eq!(crashed["containerStatuses"][0]["restartCount"], 1);
        let mut ending = pod("a", json!({}));
        ending.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(local.act(&ending, CIDR, &mood, late), Act::Wait(late + mood.stop));
        assert_eq!(local.act(&ending, CIDR, &mood, late + mood.stop), Act::Remove);
    }

    #[test]
    fn an_address_is_free_only_when_its_pod_is_gone() {
        let (mood, now) = (Mood::default(), Instant::now());
        let mut local = Local::default();
        let address = |local: &mut Local, uid| {
            let status = reported(local.act(&pod(uid, json!({})), CIDR, &mood, now));
            status["podIP"].as_str().expect("an address").to_owned()
        };
        assert_eq!(address(&mut local, "a"), "10.244.3.2");
        assert_eq!(address(&mut local, "b"), "10.244.3.3");
        local.forget_all_but(&BTreeSet::from(["b"]));
        assert_eq!(address(&mut local, "c"), "10.244.3.2");
    }
}
