//! What a connection has been good for, which says how long it may stay.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Response, held};
use crate::config::Connections;

/// One connection.
#[derive(Debug)]
pub(crate) struct Standing {
    born: Instant,
    /// Others need its place.
    given_up: CancellationToken,
    /// Somebody who is known has asked for something.
    known: AtomicBool,
    /// Answers that have not ended.
    open: AtomicUsize,
    /// Answers among them that go on although nobody need be known for them.
    allowed: AtomicUsize,
    /// When the last answer ended.
    rested: Mutex<Instant>,
}

impl Standing {
    /// A connection that has just been made.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            born: now,
            given_up: CancellationToken::new(),
            known: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            allowed: AtomicUsize::new(0),
            rested: Mutex::new(now),
        }
    }

    /// A request on it came from somebody.
    pub(crate) fn is_somebodys(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// Whether anybody who is known has asked for something.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed) || self.allowed.load(Ordering::Relaxed) > 0
    }

    /// Lets the connection stay as long as this is held, for something bounded elsewhere that takes no credentials.
    pub(crate) fn allow(self: &Arc<Self>) -> Allowed {
        self.allowed.fetch_add(1, Ordering::Relaxed);
        Allowed(self.clone())
    }

    /// A request has come; it is answered when this is dropped.
    pub(crate) fn asked(self: &Arc<Self>) -> Asked {
        self.open.fetch_add(1, Ordering::Relaxed);
        Asked(self.clone())
    }

    /// Returns when others need the connection's place.
    pub(crate) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }

    /// Returns when the connection has been open or idle for too long.
    pub(crate) async fn over(&self, is_http2: bool, bounds: &Connections) {
        loop {
            let now = Instant::now();
            let due = match (self.is_known(), is_http2) {
                (false, _) => self.born + bounds.unknown,
                (true, true) if self.open.load(Ordering::Relaxed) == 0 => *self.rested.lock() + bounds.idle,
                // What goes on now may end at once, so no later.
                (true, true) => now + bounds.idle,
                // One that is allowed only is looked at again.
                (true, false) if self.known.load(Ordering::Relaxed) => return std::future::pending().await,
                (true, false) => now + bounds.unknown,
            };
            if due <= now {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

/// See [`Standing::allow`].
#[derive(Debug)]
pub(crate) struct Allowed(Arc<Standing>);

impl Drop for Allowed {
    fn drop(&mut self) {
        self.0.allowed.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Asked(Arc<Standing>);

impl Asked {
    /// The answer, which is open until its body has left.
    pub(crate) fn answered(self, response: Response) -> Response {
        if http_body::Body::is_end_stream(response.body()) {
            return response;
        }
        held::until_left(response, self)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.0.rested.lock() = Instant::now();
        }
    }
}

/// The connections on which nobody has said who he is, by age: they go first when places are scarce, the oldest before others,
/// since whoever means to say it has done so by then.
#[derive(Debug, Default)]
pub(super) struct Nobodies {
    next: AtomicUsize,
    listed: Mutex<BTreeMap<usize, Arc<Standing>>>,
}

impl Nobodies {
    /// Lists a connection until what is returned is dropped.
    pub(super) fn list(self: &Arc<Self>, standing: Arc<Standing>) -> Listed {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.listed.lock().insert(number, standing);
        Listed { nobodies: self.clone(), number }
    }

    /// Gives up the oldest one.
    pub(super) fn give_up_oldest(&self) {
        let mut listed = self.listed.lock();
        // Whoever is known stays known, and need not be looked at again.
        while let Some(first) = listed.first_entry() {
            if !first.get().known.load(Ordering::Relaxed) {
                break;
            }
            first.remove();
        }
        let oldest = listed.iter().find(|(_, standing)| !standing.is_known()).map(|(number, _)| *number);
        if let Some(standing) = oldest.and_then(|number| listed.remove(&number)) {
            standing.given_up.cancel();
        }
    }
}

/// See [`Nobodies::list`].
#[derive(Debug)]
pub(super) struct Listed {
    nobodies: Arc<Nobodies>,
    number: usize,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.nobodies.listed.lock().remove(&self.number);
    }
}

/// How many connections each address has.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<IpAddr, usize>>);

impl Shares {
    /// Counts one more connection from `address`; `None` where it has `most` already.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Share> {
        let address = network(address);
        let mut shares = self.0.lock();
        let count = shares.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Share { shares: self.clone(), address })
    }
}

/// Who has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// One connection of an address.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    address: IpAddr,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.shares.0.lock();
        if let Some(count) = shares.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                shares.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many seconds a connection may stay to which `then` happens.
    async fn stays(is_http2: bool, then: impl AsyncFnOnce(&Arc<Standing>)) -> Option<u64> {
        let (bounds, standing) = (Connections::default(), Arc::new(Standing::new()));
        let over = async {
            standing.over(is_http2, &bounds).await;
            standing.born.elapsed().as_secs()
        };
        let happening = async {
            then(&standing).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            seconds = over => Some(seconds),
            () = happening => None,
            () = tokio::time::sleep(Duration::from_secs(100_000)) => None,
        }
    }

    async fn wait(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_nobody_ends_whatever_it_does() {
        for is_http2 in [false, true] {
            assert_eq!(stays(is_http2, async |_| {}).await, Some(60));
            let asking = async |standing: &Arc<Standing>| loop {
                let asked = standing.asked();
                wait(1).await;
                drop(asked);
            };
            assert_eq!(stays(is_http2, asking).await, Some(60));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_no_credentials_may_hold_a_connection() {
        let held = async |standing: &Arc<Standing>| {
            let _held = (standing.allow(), standing.asked());
            wait(1000).await;
        };
        let stayed = stays(true, held).await.expect("it ends");
        assert!((1000..1100).contains(&stayed), "{stayed}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_somebody_ends_when_it_has_been_idle() {
        let known = async |standing: &Arc<Standing>| standing.is_somebodys();
        assert_eq!(stays(true, known).await, Some(95));
        assert_eq!(stays(false, known).await, None, "HTTP/1.1 is timed with its heads");
        let watching = async |standing: &Arc<Standing>| {
            standing.is_somebodys();
            let _watch = standing.asked();
            wait(3600).await;
        };
        assert_eq!(stays(true, watching).await, Some(3600 + 95));
    }

    #[test]
    fn the_oldest_of_nobody_goes_first() {
        let nobodies = Arc::new(Nobodies::default());
        let standings: Vec<_> = (0..5).map(|_| Arc::new(Standing::new())).collect();
        let mut listed: Vec<_> = standings.iter().map(|standing| nobodies.list(standing.clone())).collect();
        let gone = || standings.iter().map(|standing| standing.given_up.is_cancelled()).collect::<Vec<_>>();
        standings[0].is_somebodys();
        let allowed = standings[1].allow();
        nobodies.give_up_oldest();
        assert_eq!(gone(), [false, false, true, false, false]);
        drop((allowed, listed.remove(3)));
        for _ in 0..3 {
            nobodies.give_up_oldest();
        }
        assert_eq!(gone(), [false, true, true, false, true], "one of them had gone by itself");
        drop(listed);
        assert!(nobodies.listed.lock().is_empty());
    }

    #[test]
    fn an_address_has_its_share() {
        let shares = Arc::new(Shares::default());
        let take = |address: &str| shares.take(address.parse().expect("an address"), 2);
        let held = (take("10.0.0.1"), take("::ffff:10.0.0.1"));
        assert!(held.0.is_some() && held.1.is_some() && take("10.0.0.1").is_none());
        assert!(take("10.0.0.2").is_some());
        let held_6 = (take("2001:db8::1"), take("2001:db8::2"));
        assert!(held_6.0.is_some() && held_6.1.is_some() && take("2001:db8::3").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
        drop(held);
        assert!(take("10.0.0.1").is_some());
        drop(held_6);
        assert!(shares.0.lock().is_empty(), "nothing is kept of who has gone");
    }
}
