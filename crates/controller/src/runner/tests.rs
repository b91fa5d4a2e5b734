use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::*;

/// Does per key what its name says and counts.
#[derive(Default)]
struct Probe {
    calls: Mutex<BTreeMap<String, usize>>,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
}

impl Probe {
    fn calls(&self, name: &str) -> usize {
        self.calls.lock().get(name).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Reconciler for Probe {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let count = {
            let mut calls = self.calls.lock();
            let count = calls.entry(key.name.clone()).or_default();
            *count += 1;
            *count
        };
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_inside.fetch_max(inside, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.inside.fetch_sub(1, Ordering::SeqCst);
        match (key.name.as_str(), count) {
            ("fails-twice", 1 | 2) => Err(Error::Refused("not yet".to_owned())),
            ("panics-once", 1) => panic!("on purpose"),
            ("again", 1) => Ok(Outcome::After(Duration::from_secs(3))),
            _ => Ok(Outcome::Done),
        }
    }
}

/// Runs `names` for `time` with `workers`.
async fn run(workers: usize, names: &[&str], time: Duration) -> Arc<Probe> {
    let probe = Arc::new(Probe::default());
    let stop = CancellationToken::new();
    let runner = Runner::new("probe", workers, stop.clone());
    for name in names {
        runner.queue().add(Key::cluster(*name));
    }
    let stopper = async {
        tokio::time::sleep(time).await;
        stop.cancel();
    };
    tokio::join!(runner.run(probe.clone()), stopper);
    probe
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_until_it_succeeds() {
    let probe = run(1, &["fails-twice", "good"], Duration::from_secs(60)).await;
    assert_eq!(probe.calls("fails-twice"), 3);
    assert_eq!(probe.calls("good"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_that_key_alone() {
    let probe = run(1, &["panics-once", "good"], Duration::from_secs(60)).await;
    assert_eq!(probe.calls("panics-once"), 2);
    assert_eq!(probe.calls("good"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_asks_comes_back() {
    assert_eq!(run(1, &["again"], Duration::from_secs(2)).await.calls("again"), 1);
    assert_eq!(run(1, &["again"], Duration::from_secs(60)).await.calls("again"), 2);
}

#[tokio::test(start_paused = true)]
async fn workers_work_side_by_side() {
    let probe = run(3, &["a", "b", "c", "d", "e"], Duration::from_secs(1)).await;
    assert_eq!(probe.most_inside.load(Ordering::SeqCst), 3);
    assert_eq!(probe.calls.lock().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn stopping_drops_what_runs() {
    let start = Instant::now();
    let probe = run(1, &["a"], Duration::from_millis(50)).await;
    assert_eq!(start.elapsed(), Duration::from_millis(50));
    assert_eq!(probe.inside.load(Ordering::SeqCst), 1, "the call must have been cut off");
}
