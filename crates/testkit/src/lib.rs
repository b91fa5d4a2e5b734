//! The whole control plane in one process, for simulation.
//!
//! - [`cluster`] runs the API server on the in-memory store, schedulers and controller managers, each in a thread and a
//!   runtime of its own ([`component`]), so that they can crash and freeze; [`node`] is a double of the kubelet.
//! - [`driver`] does random things from a seed, with faults, and waits until the cluster has come to rest.
//! - [`recorder`] takes the history from the store and holds it against [`invariants`], which are pure functions over a
//!   [`history`]; [`watching`] does the same with what clients of the API server are told.

pub mod cluster;
pub mod component;
pub mod driver;
pub mod history;
pub mod invariants;
pub mod node;
pub mod object;
pub mod recorder;
pub mod watching;
