//! The use of CPU and memory, measured when somebody asks and not before.
//!
//! Control groups tell how much CPU time was used since the start; how much is used now takes two measurements. The last
//! one of each container is kept, so that who asks regularly need not wait for a second.

mod groups;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use gantry_api::stats::{NodeStats, PodStats, Usage};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::groups::{Group, Groups, Reading};
use crate::{pod, runtime::Role, session::Pods, worker::Deps};

/// A measurement that is this old shows the present use; a younger one is too near, an older one too far away.
const AGE_MIN: Duration = Duration::from_secs(1);
const AGE_MAX: Duration = Duration::from_secs(90);
/// Between two measurements where there is no fitting one.
const PAUSE: Duration = Duration::from_millis(500);

/// What is measured.
#[derive(Debug, Clone)]
struct Subject {
    /// The container's identifier; "" for the node.
    id: String,
    name: String,
    group: Group,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    time: Timestamp,
    reading: Reading,
}

type Samples = BTreeMap<String, Sample>;

/// Measures.
pub(crate) struct Meter {
    groups: Groups,
    last: Mutex<Samples>,
    shared: tokio::sync::Mutex<Option<(Instant, Arc<NodeStats>)>>,
}

impl Meter {
    /// For the machine's control groups.
    pub(crate) fn new() -> Self {
        let groups = Groups::at(Path::new("/sys/fs/cgroup"));
        Self { groups, last: Mutex::default(), shared: tokio::sync::Mutex::new(None) }
    }

    /// Measures the node and its pods. Who asks while somebody else does gets the same answer.
    pub(crate) async fn measure(&self, pods: &dyn Pods, deps: &Deps) -> Arc<NodeStats> {
        let mut shared = self.shared.lock().await;
        if let Some((at, stats)) = &*shared
            && at.elapsed() < AGE_MIN
        {
            return Arc::clone(stats);
        }
        let stats = Arc::new(self.measure_now(pods, deps).await);
        *shared = Some((Instant::now(), Arc::clone(&stats)));
        stats
    }

    async fn measure_now(&self, pods: &dyn Pods, deps: &Deps) -> NodeStats {
        let settings = &deps.settings;
        let node =
            Subject { id: String::new(), name: settings.node.clone(), group: self.groups.group(&settings.cgroup_root) };
        let listed = self.subjects(pods, deps);
        let all: Vec<Subject> = listed.iter().flat_map(|(_, of)| of).chain([&node]).cloned().collect();
        let first = self.read(&all, deps).await;
        let before = self.last.lock().clone();
        let fits = |id: &String| before.get(id).is_some_and(|last| (AGE_MIN..=AGE_MAX).contains(&last.at.elapsed()));
        let (from, to) = if first.keys().all(fits) {
            (before, first)
        } else {
            tokio::time::sleep(PAUSE).await;
            let second = self.read(&all, deps).await;
            let from =
                first.iter().map(|(id, sample)| (id.clone(), *before.get(id).filter(|_| fits(id)).unwrap_or(sample)));
            (from.collect(), second)
        };
        let usage = |subject: &Subject| to.get(&subject.id).map(|now| usage(&subject.name, from.get(&subject.id), now));
        let stats = NodeStats {
            node: usage(&node).unwrap_or_else(|| nothing(&node.name, deps.clock.now())),
            pods: listed
                .iter()
                .map(|(reference, containers)| PodStats {
                    namespace: reference.namespace.clone(),
                    name: reference.name.clone(),
                    uid: reference.uid.clone(),
                    containers: containers.iter().filter_map(usage).collect(),
                })
                .collect(),
        };
        // Only what is still there is kept.
        *self.last.lock() = to;
        stats
    }

    /// The running containers of the node's pods.
    fn subjects(&self, pods: &dyn Pods, deps: &Deps) -> Vec<(crate::runtime::PodRef, Vec<Subject>)> {
        let of = |reference: &crate::runtime::PodRef| {
            let mut found = deps.observed.of(&reference.uid);
            found.retain(|c| c.role == Role::Container && c.running());
            found.sort_by(|a, b| a.name.cmp(&b.name));
            found.into_iter().filter_map(|container| {
                let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid)).ok()?;
                // The number may be another process's by now.
                let ours = text.contains(&container.id);
                let group = self.groups.of_process(&text).filter(|_| ours)?;
                Some(Subject { id: container.id, name: container.name, group })
            })
        };
        let references = pods.list().into_iter().map(|pod| pod::reference(&pod));
        references.map(|reference| (reference.clone(), of(&reference).collect())).collect()
    }

    async fn read(&self, subjects: &[Subject], deps: &Deps) -> Samples {
        let (groups, subjects) = (self.groups.clone(), subjects.to_vec());
        let (at, time) = (Instant::now(), deps.clock.now());
        // The kernel may have to add figures up over all CPUs first.
        let read = move || {
            let found = subjects.into_iter().filter_map(|s| Some((s.id, groups.read(&s.group)?)));
            found.map(|(id, reading)| (id, Sample { at, time, reading })).collect()
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }
}

fn usage(name: &str, before: Option<&Sample>, now: &Sample) -> Usage {
    let window = before.map_or(Duration::ZERO, |before| now.at.duration_since(before.at));
    let used = before.map_or(0, |before| now.reading.cpu.saturating_sub(before.reading.cpu));
    Usage {
        name: name.to_owned(),
        time: now.time.to_string(),
        window_seconds: (window.as_secs_f64() * 1000.0).round() / 1000.0,
        cpu_nano_cores: rate(used, window),
        cpu_usage_core_nanoseconds: now.reading.cpu,
        memory_usage_bytes: now.reading.memory,
        memory_working_set_bytes: now.reading.working_set,
    }
}

/// Nanoseconds of CPU time within a window, as billionths of a core.
fn rate(used: u64, window: Duration) -> u64 {
    let billionths = u128::from(used) * 1_000_000_000;
    billionths.checked_div(window.as_nanos()).map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}

fn nothing(name: &str, time: Timestamp) -> Usage {
    Usage { name: name.to_owned(), time: time.to_string(), ..Usage::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_time_over_time() {
        let check = |used, milliseconds, expected| {
            assert_eq!(rate(used, Duration::from_millis(milliseconds)), expected, "{used} in {milliseconds} ms");
        };
        check(500_000_000, 500, 1_000_000_000);
        check(1_000_000, 2000, 500_000);
        check(0, 500, 0);
        check(7, 0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_counter_that_began_anew_is_no_use() {
        let sample =
            |at, cpu| Sample { at, time: Timestamp::UNIX_EPOCH, reading: Reading { cpu, memory: 9, working_set: 8 } };
        let start = Instant::now();
        let (before, now) = (sample(start, 5000), sample(start + Duration::from_secs(2), 6000));
        let found = usage("c", Some(&before), &now);
        assert_eq!((found.cpu_nano_cores, found.window_seconds), (500, 2.0));
        assert_eq!((found.memory_usage_bytes, found.memory_working_set_bytes), (9, 8));
        assert_eq!(usage("c", Some(&now), &sample(start + Duration::from_secs(3), 10)).cpu_nano_cores, 0);
        assert_eq!(usage("c", None, &now).window_seconds, 0.0);
    }
}
