//! Figures of the flows that requests belong to, with upstream's names (API priority and fairness). One request takes one seat.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_common::metrics::{Histogram, Page, float};
use parking_lot::Mutex;

use super::{Number, SERIES_MAX};

/// Upper bounds of upstream's buckets, in seconds.
static SECONDS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

/// Why a request was given no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowded {
    QueueFull,
    TimeOut,
}

/// Figures of one flow schema.
#[derive(Debug)]
pub(crate) struct Flow {
    dispatched: Number,
    executing: Number,
    waiting: Number,
    rejected: [Number; 2],
    waited: Histogram,
    waited_in_vain: Histogram,
}

/// A request of a flow that is worked on, while this lives.
#[derive(Debug)]
pub(crate) struct Executing(Arc<Flow>);

impl Drop for Executing {
    fn drop(&mut self) {
        self.0.executing.sub(1);
    }
}

/// A request of a flow that waits, while this lives.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Flow>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.sub(1);
    }
}

impl Flow {
    fn new() -> Self {
        Self {
            dispatched: Number::default(),
            executing: Number::default(),
            waiting: Number::default(),
            rejected: Default::default(),
            waited: Histogram::seconds(&SECONDS),
            waited_in_vain: Histogram::seconds(&SECONDS),
        }
    }

    /// A request waits from now on.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.add(1);
        Waiting(self.clone())
    }

    /// A request has its place, after a wait.
    pub(crate) fn execute(self: &Arc<Self>, waited: Duration) -> Executing {
        self.dispatched.add(1);
        self.waited.observe(waited);
        self.executing.add(1);
        Executing(self.clone())
    }

    /// A request has its place without having to wait, whoever else does.
    pub(crate) fn execute_exempt(self: &Arc<Self>) -> Executing {
        self.dispatched.add(1);
        self.executing.add(1);
        Executing(self.clone())
    }

    /// A request was given no place.
    pub(crate) fn reject(&self, why: Crowded, waited: Duration) {
        self.rejected[why as usize].add(1);
        self.waited_in_vain.observe(waited);
    }
}

/// Schema and priority level.
type Names = (String, String);

/// Figures of all flows, by schema and level. The names are the users', so there is a fuse.
#[derive(Debug, Default)]
pub(crate) struct Flows(Mutex<BTreeMap<Names, Arc<Flow>>>);

impl Flows {
    /// The figures of a schema with this level.
    pub(crate) fn of(&self, schema: &str, level: &str) -> Arc<Flow> {
        let mut flows = self.0.lock();
        let key = (schema.to_owned(), level.to_owned());
        if let Some(flow) = flows.get(&key) {
            return flow.clone();
        }
        let flow = Arc::new(Flow::new());
        if flows.len() < SERIES_MAX {
            flows.insert(key, flow.clone());
        }
        flow
    }

    /// Shows all that had a request.
    pub(crate) fn render(&self, page: &mut Page) {
        let all: Vec<(Names, Arc<Flow>)> = self.0.lock().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let used = |flow: &Flow| flow.dispatched.get() + flow.rejected.iter().map(Number::get).sum::<u64>() > 0;
        let all: Vec<_> = all.into_iter().filter(|(_, flow)| used(flow)).collect();
        numbers(page, &all);
        let help = "[BETA] How long requests waited for a place, in seconds, by flow and whether they got one.";
        let mut family = page.family("apiserver_flowcontrol_request_wait_duration_seconds", "histogram", help);
        for ((schema, level), flow) in &all {
            for (execute, waited) in [("true", &flow.waited), ("false", &flow.waited_in_vain)] {
                let snapshot = waited.snapshot();
                if snapshot.total() > 0 {
                    let labels = [("execute", execute), ("flow_schema", schema), ("priority_level", level)];
                    family.histogram(&labels, &snapshot);
                }
            }
        }
    }
}

fn numbers(page: &mut Page, all: &[(Names, Arc<Flow>)]) {
    type Read = fn(&Flow) -> u64;
    let rows: [(&str, &str, &str, Read); 4] = [
        ("dispatched_requests_total", "counter", "Requests that got their place.", |flow| flow.dispatched.get()),
        ("current_executing_requests", "gauge", "Requests that are worked on.", |flow| flow.executing.get()),
        ("current_executing_seats", "gauge", "Places of requests that are worked on.", |flow| flow.executing.get()),
        ("current_inqueue_requests", "gauge", "Requests that wait for a place.", |flow| flow.waiting.get()),
    ];
    for (name, kind, help, read) in rows {
        let mut family = page.family(&format!("apiserver_flowcontrol_{name}"), kind, &format!("[BETA] {help}"));
        for ((schema, level), flow) in all {
            family.sample(&[("flow_schema", schema), ("priority_level", level)], float(read(flow)));
        }
    }
    let help = "[BETA] Requests that were given no place, by flow and why.";
    let mut family = page.family("apiserver_flowcontrol_rejected_requests_total", "counter", help);
    for ((schema, level), flow) in all {
        for (reason, count) in ["queue-full", "time-out"].iter().zip(&flow.rejected).filter(|(_, n)| n.get() > 0) {
            family
                .sample(&[("flow_schema", schema), ("priority_level", level), ("reason", reason)], float(count.get()));
        }
    }
}
