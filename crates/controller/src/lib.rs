//! What every control loop shares: a keyed queue, workers that reconcile keys, leader election with fencing, ownership.
//!
//! A controller is a pure plan over a snapshot and a thin shell that implements [`Reconciler`]. It is level-triggered: it
//! gets a key and reads the world, never an event, so a missed, doubled or reordered event changes nothing.

pub mod leader;
pub mod owner;
pub mod pending;
pub mod queue;
mod reconciler;
pub mod runner;

pub use leader::Leadership;
pub use pending::Pending;
pub use queue::Queue;
pub use reconciler::{Doing, Error, Failures, Outcome, Reconciler};
pub use runner::Runner;
