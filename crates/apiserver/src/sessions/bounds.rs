//! How many of something that lasts there may be: per tenant, so that one cannot use up the server, and altogether.
//!
//! What tenants hold is shared fairly: the less is left, the less one may have of it, and the last part is for those who have
//! next to nothing. So many who take what they can leave room for the next one. The system's own users have room of their
//! own, and administrators always find some.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use gantry_api::status::Status;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::auth::{MASTERS, SERVICE_ACCOUNT_PREFIX, User};

/// The namespace of the system's own accounts.
const SYSTEM: &str = "kube-system";
/// The system's own users that are neither nodes nor accounts.
const COMPONENTS: &[&str] = &["system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"];

/// Everybody may have a part of what is left: one in so many.
const SHARED: usize = 4;
/// The last part of all places, one in so many, is for those who have fewer than [`FEW`].
const RESERVED: usize = 8;
const FEW: usize = 4;

/// Whose places are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Trusted with everything, also with the server's memory: an administrator gets through a flood.
    Master,
    /// Nodes, controllers and the like: bounded one by one and together, but not by what tenants hold.
    System,
    Tenant,
}

/// Whom places are taken for: a user, or all service accounts of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    class: Class,
    key: String,
}

impl Holder {
    /// Of an authenticated user.
    pub(crate) fn of(user: &User) -> Self {
        let named = Self::named(&user.name);
        let is_system = user.node().is_some() || COMPONENTS.contains(&user.name.as_str());
        match named.class {
            _ if user.in_group(MASTERS) => Self { class: Class::Master, key: user.name.clone() },
            Class::Tenant if is_system => Self { class: Class::System, key: user.name.clone() },
            _ => named,
        }
    }

    /// Of a user of whom only the name is known.
    fn named(name: &str) -> Self {
        let account = name.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
        match account {
            Some((SYSTEM, _)) => Self { class: Class::System, key: name.to_owned() },
            Some((namespace, _)) => Self { class: Class::Tenant, key: format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:") },
            None => Self::alone(name),
        }
    }

    /// A user who is counted by itself, whoever it is.
    fn alone(name: &str) -> Self {
        Self { class: Class::Tenant, key: name.to_owned() }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.key.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.strip_suffix(':'));
        match namespace {
            Some(namespace) => write!(f, "the service accounts of namespace {namespace:?} together have"),
            None => write!(f, "user {:?} has", self.key),
        }
    }
}

/// What there may be so many of, and what says how many.
struct Words {
    what: &'static str,
    per_user: &'static str,
    all: &'static str,
}

/// What is taken.
#[derive(Default)]
struct Taken {
    by: HashMap<String, usize>,
    tenants: usize,
    system: usize,
}

impl Taken {
    /// What those of a class hold together; masters are not counted.
    fn all(&mut self, class: Class) -> Option<&mut usize> {
        match class {
            Class::Master => None,
            Class::System => Some(&mut self.system),
            Class::Tenant => Some(&mut self.tenants),
        }
    }
}

/// Places for sessions, or for streams.
pub(crate) struct Places {
    words: Words,
    per_user: usize,
    /// For all tenants, and once more for the system's own.
    all: usize,
    /// Whether accounts of one namespace are counted as one.
    by_tenant: bool,
    taken: Mutex<Taken>,
    open: watch::Sender<usize>,
}

/// Held as long as what it is for lasts.
pub(crate) struct Place {
    places: Arc<Places>,
    holder: Holder,
}

impl Places {
    /// For sessions.
    pub(crate) fn sessions(per_user: usize, all: usize) -> Self {
        let words = Words { what: "sessions", per_user: "--max-sessions-per-user is", all: "--max-sessions is" };
        Self { by_tenant: true, ..Self::new(words, per_user, all) }
    }

    /// For batches over gRPC, of which any number of users may have theirs.
    pub(crate) fn batches(per_user: usize) -> Self {
        let words = Words { what: "batches", per_user: "a user may have", all: "there may be" };
        Self::new(words, per_user, usize::MAX)
    }

    fn new(words: Words, per_user: usize, all: usize) -> Self {
        Self { words, per_user, all, by_tenant: false, taken: Mutex::default(), open: watch::Sender::new(0) }
    }

    /// Takes a place for a user of whom the name is known.
    ///
    /// # Errors
    /// As [`Places::take_for`].
    pub(crate) fn take(self: &Arc<Self>, user: &str) -> Result<Place, Status> {
        self.take_for(if self.by_tenant { Holder::named(user) } else { Holder::alone(user) })
    }

    /// Takes a place.
    ///
    /// # Errors
    /// 429 that names the bound which is reached.
    pub(crate) fn take_for(self: &Arc<Self>, holder: Holder) -> Result<Place, Status> {
        let mut taken = self.taken.lock();
        let own = taken.by.get(&holder.key).copied().unwrap_or(0);
        if let Some(all) = taken.all(holder.class) {
            self.check(&holder, own, *all).map_err(|why| Status::too_many_requests(&why, 1))?;
            *all += 1;
            taken.by.insert(holder.key.clone(), own + 1);
        }
        self.open.send_modify(|open| *open += 1);
        Ok(Place { places: self.clone(), holder })
    }

    /// Whether the holder of `own` places may have one more where all of its class hold `all`.
    fn check(&self, holder: &Holder, own: usize, all: usize) -> Result<(), String> {
        let Words { what, per_user, all: of_all } = self.words;
        if own >= self.per_user {
            return Err(format!("{holder} {own} {what} open, and {per_user} {}", self.per_user));
        }
        match self.all.saturating_sub(all) {
            0 => Err(format!("{all} {what} are open on this API server, and {of_all} {}", self.all)),
            free if own >= self.share(free) => Err(format!(
                "{holder} {own} {what} open, and the last {free} of this API server are for who has fewer: {of_all} {}",
                self.all
            )),
            _ => Ok(()),
        }
    }

    /// How many one may have where `free` are left.
    fn share(&self, free: usize) -> usize {
        if free <= self.all / RESERVED { FEW } else { (free / SHARED).max(FEW) }
    }

    /// Waits until nothing is open.
    pub(crate) async fn empty(&self) {
        // The sender is this very object: it cannot be gone.
        drop(self.open.subscribe().wait_for(|open| *open == 0).await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if let Some(all) = taken.all(self.holder.class) {
            *all -= 1;
            if let Some(own) = taken.by.get_mut(&self.holder.key) {
                *own -= 1;
                if *own == 0 {
                    taken.by.remove(&self.holder.key);
                }
            }
        }
        self.places.open.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn both_bounds_hold_and_are_named() {
        let places = Arc::new(Places::sessions(2, 3));
        let refused = |user: &str| places.take(user).map(drop).map_err(|s| (s.code, s.message));
        let first = [places.take("alice").expect("free"), places.take("alice").expect("free")];
        let (code, why) = refused("alice").expect_err("her bound");
        assert_eq!((code, why.contains("--max-sessions-per-user is 2")), (429, true), "{why}");
        let bob = places.take("bob").expect("he has his own");
        let (code, why) = refused("carol").expect_err("the server's bound");
        assert_eq!((code, why.contains("--max-sessions is 3")), (429, true), "{why}");
        assert!(places.empty().now_or_never().is_none());
        drop(first);
        assert!(refused("alice").is_ok());
        drop(bob);
        assert!(places.empty().now_or_never().is_some());
        assert!(places.taken.lock().by.is_empty(), "users without sessions are forgotten");
    }
    #[test]
    fn attack_accounts_of_one_tenant_leave_room_for_others() {
        let places = Arc::new(Places::sessions(512, 4096));
        let mut held = Vec::new();
        let mut flood = |namespace: &str| {
            let before = held.len();
            for account in 0..16 {
                let user = User::service_account(namespace, &format!("a{account}"), "");
                while let Ok(place) = places.take_for(Holder::of(&user)) {
                    held.push(place);
                }
            }
            held.len() - before
        };
        assert_eq!(flood("evil"), 512, "all accounts of a namespace are one tenant");
        for namespace in 0..100 {
            flood(&format!("n{namespace}"));
        }
        let alice = Holder::of(&User::new("alice", &[]));
        let why = places.take("system:serviceaccount:evil:a0").err().expect("it has enough").message;
        assert!(why.contains("the service accounts of namespace \"evil\" together have 512 sessions"), "{why}");
        let kept: Vec<_> = (0..FEW).map(|_| places.take_for(alice.clone()).expect("room for who has little")).collect();
        drop((kept, held));
        assert_eq!((places.taken.lock().by.len(), *places.open.borrow()), (0, 0));
    }

    #[test]
    fn the_system_finds_room_where_tenants_have_left_none() {
        let places = Arc::new(Places::sessions(1, 2));
        let tenants = ["alice", "bob"].map(|user| places.take(user).expect("free"));
        let check = |user: &User, free: bool| {
            let first = places.take_for(Holder::of(user));
            assert_eq!(first.is_ok(), free, "{}", user.name);
            first.is_ok_and(|_first| places.take_for(Holder::of(user)).is_ok())
        };
        check(&User::new("carol", &[]), false);
        check(&User::service_account("team", "a", ""), false);
        check(&User::new("system:node:n", &[]), false);
        assert!(check(&User::new("root", &[MASTERS]), true), "no bound counts for administrators");
        for user in [
            User::new("system:node:n", &["system:nodes"]),
            User::new("system:kube-scheduler", &[]),
            User::service_account(SYSTEM, "job-controller", ""),
        ] {
            assert!(!check(&user, true), "the system's own are bounded one by one");
        }
        drop(tenants);
        check(&User::new("carol", &[]), true);
    }
}
