//! What must hold at every revision, whatever fails: pure functions over a history.
//!
//! An invariant is a file and a line in [`all`]. Each has tables of good and bad histories: an invariant that finds nothing
//! in a bad one is no invariant.

mod addresses;
mod binding;
mod fencing;
mod identity;
mod namespaces;
mod rollout;
#[cfg(test)]
mod sample;
pub mod settled;

pub use rollout::BY_USER;

use crate::history::{Step, World};

/// Something that must never happen, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// At which revision.
    pub revision: u64,
    /// What happened, to which object.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at revision {}: {}", self.invariant, self.revision, self.what)
    }
}

/// Looks at each step; may remember what it needs of the steps before.
pub trait Invariant: Send {
    /// Its name in messages.
    fn name(&self) -> &'static str;
    /// What is wrong with this step; `world` is the state after it.
    fn step(&mut self, world: &World, step: &Step) -> Vec<String>;
}

/// All invariants, fresh.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(identity::Revisions::default()),
        Box::new(identity::Resurrection::default()),
        Box::new(binding::Once),
        Box::new(binding::Room),
        Box::new(addresses::PodAddresses),
        Box::new(addresses::ServiceAddresses),
        Box::new(namespaces::Emptiness),
        Box::new(fencing::Fencing::default()),
        Box::new(rollout::Bounds::default()),
        Box::new(rollout::Exactness::default()),
    ]
}

/// Follows a history with a set of invariants.
pub struct Checker {
    world: World,
    invariants: Vec<Box<dyn Invariant>>,
    violations: Vec<Violation>,
}

impl Default for Checker {
    fn default() -> Self {
        Self::new(all())
    }
}

impl Checker {
    /// Checks these.
    #[must_use]
    pub fn new(invariants: Vec<Box<dyn Invariant>>) -> Self {
        Self { world: World::default(), invariants, violations: Vec::new() }
    }

    /// Takes in a step.
    pub fn step(&mut self, step: &Step) {
        self.world.apply(step);
        for invariant in &mut self.invariants {
            for what in invariant.step(&self.world, step) {
                let violation = Violation { invariant: invariant.name(), revision: self.world.revision, what };
                self.violations.push(violation);
            }
        }
    }

    /// The state now.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What was found.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

/// What is wrong with a whole history.
#[must_use]
pub fn check(invariants: Vec<Box<dyn Invariant>>, history: &[Step]) -> Vec<Violation> {
    let mut checker = Checker::new(invariants);
    history.iter().for_each(|step| checker.step(step));
    checker.violations
}
