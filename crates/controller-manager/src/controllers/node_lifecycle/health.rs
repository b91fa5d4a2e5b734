//! When each node was last heard.

use std::{collections::BTreeMap, time::Duration};

use gantry_client::Change;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, NodeCondition},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use parking_lot::Mutex;
use tokio::time::Instant;

#[derive(Debug, Clone, Default, PartialEq)]
struct Heard {
    renewed: Option<MicroTime>,
    posted: Option<Time>,
}

/// Per node what was last heard and when. One entry per node.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<BTreeMap<String, (Heard, Instant)>>);

/// The newest time that the kubelet put into the node's conditions.
fn posted(node: &Node) -> Option<Time> {
    let conditions: Option<&Vec<NodeCondition>> = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.into_iter().flatten().filter_map(|c| c.last_heartbeat_time.clone()).max()
}

impl Health {
    fn hear(&self, name: &str, update: impl FnOnce(&mut Heard)) {
        let mut all = self.0.lock();
        match all.get_mut(name) {
            Some((heard, at)) => {
                let before = heard.clone();
                update(heard);
                if *heard != before {
                    *at = Instant::now();
                }
            }
            None => {
                // A node that we see for the first time gets the whole grace period, however old its heartbeat.
                let mut heard = Heard::default();
                update(&mut heard);
                all.insert(name.to_owned(), (heard, Instant::now()));
            }
        }
    }

    pub(super) fn see_node(&self, change: &Change<Node>) {
        if let Some(node) = &change.new {
            self.hear(&change.key.name, |heard| heard.posted = posted(node));
        }
    }

    pub(super) fn see_lease(&self, change: &Change<Lease>) {
        let renewed = change.new.as_ref().and_then(|l| l.spec.as_ref()).and_then(|s| s.renew_time.clone());
        // A lease that is gone says nothing.
        if renewed.is_some() {
            self.hear(&change.key.name, |heard| heard.renewed = renewed);
        }
    }

    /// How long the node has been silent; zero for one never heard of.
    pub(super) fn silent_for(&self, name: &str) -> Duration {
        self.0.lock().get(name).map_or(Duration::ZERO, |(_, at)| at.elapsed())
    }

    pub(super) fn forget(&self, name: &str) {
        self.0.lock().remove(name);
    }
}
