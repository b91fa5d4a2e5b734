//! One decision: where a pod goes, or why it goes nowhere. Pure but for the seeded generator that breaks ties.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;

use crate::plugins::{Plugin, Reason};
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

/// Up to this many nodes all are looked at (upstream's value).
const MIN_FEASIBLE: usize = 100;
/// The least share of a large cluster that is looked at, in percent (upstream's value).
const MIN_SHARE_PERCENT: usize = 5;
/// How many refusals are kept for one pod; the counts cover all nodes in any case.
const MAX_KEPT_REJECTIONS: usize = 256;

/// One node's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The node.
    pub node: Arc<str>,
    /// The plugin that refused it.
    pub plugin: &'static str,
    /// Its reasons.
    pub reasons: Vec<Reason>,
}

/// Why no node would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// How many nodes there were.
    pub nodes: usize,
    /// How often each reason was given.
    pub counts: BTreeMap<Reason, usize>,
    /// The plugins that refused at least one node.
    pub plugins: BTreeSet<&'static str>,
    /// Per node and plugin, the first [`MAX_KEPT_REJECTIONS`] nodes.
    pub rejections: Vec<Rejection>,
}

impl Diagnosis {
    fn record(&mut self, node: &NodeInfo, plugin: &'static str, reasons: Vec<Reason>) {
        self.plugins.insert(plugin);
        for reason in &reasons {
            *self.counts.entry(reason.clone()).or_insert(0) += 1;
        }
        if self.rejections.len() < MAX_KEPT_REJECTIONS {
            self.rejections.push(Rejection { node: Arc::clone(&node.name), plugin, reasons });
        }
    }

    /// The text of the condition and the event, in upstream's form.
    #[must_use]
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut parts: Vec<String> = self.counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        parts.sort();
        format!("0/{} nodes are available: {}.", self.nodes, parts.join(", "))
    }
}

/// The outcome of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The pod goes to this node.
    Node(Arc<str>),
    /// No node takes it now.
    Unschedulable(Diagnosis),
}

/// Decides for one pod after another; remembers where it stopped looking, so that all nodes of a large cluster get their turn.
pub struct Decider {
    plugins: Vec<Box<dyn Plugin>>,
    rng: StdRng,
    start: usize,
}

impl Decider {
    /// `rng` breaks ties; seed it to replay.
    #[must_use]
    pub fn new(plugins: Vec<Box<dyn Plugin>>, rng: StdRng) -> Self {
        Self { plugins, rng, start: 0 }
    }

    /// The plugins, for queueing hints.
    #[must_use]
    pub fn plugins(&self) -> &[Box<dyn Plugin>] {
        &self.plugins
    }

    /// Decides where `pod` goes.
    pub fn decide(&mut self, pod: &PodInfo, snapshot: &Snapshot) -> Decision {
        let (feasible, diagnosis) = self.filter(pod, snapshot);
        match feasible.as_slice() {
            [] => Decision::Unschedulable(diagnosis),
            [only] => Decision::Node(Arc::clone(&only.name)),
            several => Decision::Node(self.best(pod, several, snapshot)),
        }
    }

    fn filter<'a>(&mut self, pod: &PodInfo, snapshot: &'a Snapshot) -> (Vec<&'a NodeInfo>, Diagnosis) {
        let nodes = snapshot.nodes();
        let enough = feasible_to_find(nodes.len());
        let mut feasible = Vec::with_capacity(enough.min(nodes.len()));
        let mut diagnosis = Diagnosis { nodes: nodes.len(), ..Diagnosis::default() };
        let mut seen = 0;
        while seen < nodes.len() && feasible.len() < enough {
            let node = &nodes[(self.start + seen) % nodes.len()];
            seen += 1;
            let refusal = self.plugins.iter().find_map(|p| Some((p.name(), p.filter(pod, node).err()?)));
            match refusal {
                None => feasible.push(node),
                Some((plugin, reasons)) => diagnosis.record(node, plugin, reasons),
            }
        }
        self.start = (self.start + seen).checked_rem(nodes.len()).unwrap_or(0);
        (feasible, diagnosis)
    }

    fn best(&mut self, pod: &PodInfo, nodes: &[&NodeInfo], snapshot: &Snapshot) -> Arc<str> {
        let mut totals = vec![0_i64; nodes.len()];
        for plugin in self.plugins.iter().filter(|p| p.scores(pod)) {
            let mut scores: Vec<i64> = nodes.iter().map(|node| plugin.score(pod, node, snapshot)).collect();
            plugin.normalise(&mut scores);
            for (total, score) in totals.iter_mut().zip(scores) {
                *total += score * plugin.weight();
            }
        }
        let highest = totals.iter().copied().max().unwrap_or(0);
        let tied: Vec<&NodeInfo> =
            nodes.iter().zip(&totals).filter(|(_, total)| **total == highest).map(|(node, _)| *node).collect();
        Arc::clone(&tied[self.rng.random_range(0..tied.len())].name)
    }
}

/// How many fitting nodes suffice: all of a small cluster, a shrinking share of a large one (upstream's formula).
fn feasible_to_find(nodes: usize) -> usize {
    if nodes < MIN_FEASIBLE {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(MIN_SHARE_PERCENT);
    (nodes * percent / 100).max(MIN_FEASIBLE)
}

#[cfg(test)]
mod tests;
