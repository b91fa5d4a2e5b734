//! The gantry-kubelet: runs the pods that are bound to its node.
//!
//! It learns its pods from a watch and the containers' state from the runtime's events, and has one worker per pod.
//! Every decision is a pure function of the two (`pod`); the worker carries it out through the seams [`runtime`],
//! [`network`] and volumes. Nothing that it knows must survive it: after a restart it finds everything again in the API,
//! in the runtime's labels and in the kernel, and adopts what runs.

mod api;
mod config;
mod dispatcher;
mod events;
mod exec;
mod images;
mod logs;
pub mod network;
mod node;
mod objects;
mod observe;
pub mod pause;
mod pod;
mod probe;
mod process;
pub mod runtime;
mod session;
#[cfg(test)]
mod skips;
mod start;
mod stats;
mod volumes;
mod worker;

pub use config::Config;
pub use start::run;
