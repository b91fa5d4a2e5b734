use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use gantry_api::status::Status;
use gantry_client::Error as ClientError;
use gantry_common::clock;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::*;

/// One lease with resource versions and conflicts.
#[derive(Default)]
struct Memory {
    lease: Mutex<Option<Lease>>,
    revision: AtomicU64,
    reads: AtomicU64,
    /// Calls hang while set.
    down: AtomicBool,
    /// So many writes are made, but not answered.
    lost: AtomicU64,
    /// What a fence is made of: holder and revision of the last takeover.
    takeover: Mutex<(String, u64)>,
}

impl Memory {
    fn holder(&self) -> String {
        let lease = self.lease.lock();
        lease.as_ref().and_then(|l| l.spec.clone()).and_then(|s| s.holder_identity).unwrap_or_default()
    }

    fn transitions(&self) -> i32 {
        let lease = self.lease.lock();
        lease.as_ref().and_then(|l| l.spec.clone()).and_then(|s| s.lease_transitions).unwrap_or(-1)
    }

    async fn up(&self) {
        while self.down.load(Ordering::SeqCst) {
            sleep(Duration::from_secs(3600)).await;
        }
    }

    fn store(&self, lease: &Lease) -> Lease {
        let mut lease = lease.clone();
        let revision = self.revision.fetch_add(1, Ordering::SeqCst) + 1;
        lease.metadata.resource_version = Some(revision.to_string());
        *self.lease.lock() = Some(lease.clone());
        let mut takeover = self.takeover.lock();
        if takeover.0 != self.holder() {
            *takeover = (self.holder(), revision);
        }
        lease
    }

    fn answered(&self, stored: Lease) -> gantry_client::Result<Lease> {
        let left = |left: u64| left.checked_sub(1);
        match self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left) {
            Ok(_) => Err(ClientError::Api(Box::new(Status::failure(504, "Timeout", "may have been made")))),
            Err(_) => Ok(stored),
        }
    }
}

#[async_trait]
impl Leases for Memory {
    async fn get(&self) -> gantry_client::Result<Option<Lease>> {
        self.up().await;
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(self.lease.lock().clone())
    }

    async fn create(&self, lease: &Lease) -> gantry_client::Result<Lease> {
        self.up().await;
        if self.lease.lock().is_some() {
            return Err(ClientError::Api(Box::new(Status::already_exists("leases", "", "x"))));
        }
        self.answered(self.store(lease))
    }

    async fn update(&self, lease: &Lease) -> gantry_client::Result<Lease> {
        self.up().await;
        let stored = self.lease.lock().as_ref().and_then(|l| l.metadata.resource_version.clone());
        if stored != lease.metadata.resource_version {
            return Err(ClientError::Api(Box::new(Status::conflict("leases", "", "x", "changed"))));
        }
        self.answered(self.store(lease))
    }
}

fn config(identity: &str) -> Config {
    Config { identity: identity.to_owned(), ..Config::new("test") }
}

/// Leads as `identity` until shutdown; reports when it led and with which fence.
async fn lead(
    leases: &Memory,
    identity: &str,
    shutdown: &Shutdown,
    led: &Mutex<Vec<(String, u64)>>,
) -> Result<(), Error> {
    serve(leases, config(identity), clock::system(), shutdown, |fence, lost| async move {
        led.lock().push((identity.to_owned(), fence));
        lost.cancelled().await;
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_other_follows_at_once_after_a_release() {
    let (leases, led) = (Memory::default(), Mutex::new(Vec::new()));
    let (first, second) = (Shutdown::new(), Shutdown::new());
    let script = async {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(led.lock().len(), 1, "two leaders");
        assert_eq!(leases.transitions(), 0);
        first.trigger();
        let stopped = Instant::now();
        while leases.holder() != "b" {
            sleep(Duration::from_millis(100)).await;
        }
        assert!(stopped.elapsed() < Duration::from_secs(6), "{:?}", stopped.elapsed());
        sleep(Duration::from_secs(30)).await;
        second.trigger();
    };
    let b = async {
        sleep(Duration::from_secs(1)).await;
        lead(&leases, "b", &second, &led).await
    };
    let (a, b, ()) = tokio::join!(lead(&leases, "a", &first, &led), b, script);
    a.expect("orderly");
    b.expect("orderly");
    let led = led.lock().clone();
    assert_eq!(led[0].0, "a");
    assert_eq!(led[1].0, "b");
    assert!(led[1].1 > led[0].1, "the fence must move on: {led:?}");
    assert_eq!(leases.transitions(), 1);
    assert_eq!(leases.holder(), "", "b gave it back");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_starts() {
    let (leases, led) = (Arc::new(Memory::default()), Mutex::new(Vec::new()));
    let shutdown = Shutdown::new();
    let start = Instant::now();
    let outage = async {
        sleep(Duration::from_secs(21)).await;
        leases.down.store(true, Ordering::SeqCst);
    };
    let (ended, ()) = tokio::join!(lead(&leases, "a", &shutdown, &led), outage);
    let error = ended.expect_err("lost").to_string();
    assert!(error.contains("could not be renewed in time"), "{error}");
    // The last renewal was at 20 s.
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_replaced_after_its_lease() {
    let (leases, led) = (Memory::default(), Mutex::new(Vec::new()));
    let shutdown = Shutdown::new();
    // Killed: its future is dropped, nothing is given back.
    drop(tokio::time::timeout(Duration::from_secs(5), lead(&leases, "a", &shutdown, &led)).await);
    let start = Instant::now();
    let stop = async {
        sleep(Duration::from_secs(40)).await;
        shutdown.trigger();
    };
    let watch = async {
        while leases.holder() != "b" {
            sleep(Duration::from_millis(100)).await;
        }
        start.elapsed()
    };
    let (ended, (), taken_after) = tokio::join!(lead(&leases, "b", &shutdown, &led), stop, watch);
    ended.expect("orderly");
    assert!((15..20).contains(&taken_after.as_secs()), "{taken_after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_taken_stops() {
    let (leases, led) = (Memory::default(), Mutex::new(Vec::new()));
    let shutdown = Shutdown::new();
    let thief = async {
        sleep(Duration::from_secs(5)).await;
        let mut lease = leases.lease.lock().clone().expect("held");
        lease.spec.get_or_insert_default().holder_identity = Some("thief".to_owned());
        leases.store(&lease);
    };
    let (ended, ()) = tokio::join!(lead(&leases, "a", &shutdown, &led), thief);
    let error = ended.expect_err("lost").to_string();
    assert!(error.contains("thief holds the lease"), "{error}");
    assert_eq!(leases.holder(), "thief");
}

#[tokio::test(start_paused = true)]
async fn being_fenced_ends_the_reign_and_gives_nothing_back() {
    let leases = Memory::default();
    let shutdown = Shutdown::new();
    let ended = serve(&leases, config("a"), clock::system(), &shutdown, |_, lost| async move {
        lost.cancel();
        std::future::pending().await
    })
    .await;
    assert!(ended.is_err());
    assert_eq!(leases.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_takeover_without_an_answer_is_made_again() {
    // One loses the answer to its creation, to its takeover of an old lease, and to a part of making it again.
    for (lost, before) in [(1, false), (1, true), (2, true), (3, true)] {
        let (leases, led) = (Memory::default(), Mutex::new(Vec::new()));
        let shutdown = Shutdown::new();
        if before {
            let mut lease = Lease::default();
            lease.spec.get_or_insert_default().holder_identity = Some(String::new());
            leases.store(&lease);
        }
        leases.lost.store(lost, Ordering::SeqCst);
        let stop = async {
            sleep(Duration::from_secs(60)).await;
            let takeover = leases.takeover.lock().clone();
            assert_eq!(*led.lock(), [takeover], "{lost} lost, {before}");
            shutdown.trigger();
        };
        let (ended, ()) = tokio::join!(lead(&leases, "a", &shutdown, &led), stop);
        ended.expect("orderly");
        assert_eq!(leases.holder(), "");
    }
}

#[tokio::test(start_paused = true)]
async fn renewing_costs_one_call() {
    let (leases, led) = (Memory::default(), Mutex::new(Vec::new()));
    let shutdown = Shutdown::new();
    let stop = async {
        sleep(Duration::from_secs(61)).await;
        shutdown.trigger();
    };
    let (ended, ()) = tokio::join!(lead(&leases, "a", &shutdown, &led), stop);
    ended.expect("orderly");
    assert_eq!(leases.reads.load(Ordering::SeqCst), 1);
    assert_eq!(leases.revision.load(Ordering::SeqCst), 1 + 30 + 1, "taken, renewed every two seconds, given back");
}
