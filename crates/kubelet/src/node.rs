//! The Node object: what this machine is, what it can give, and whether it works.

mod agent;
mod lease;
mod machine;
mod range;
mod report;

pub(crate) use agent::Agent;
pub(crate) use machine::Machine;
pub(crate) use range::follow;
