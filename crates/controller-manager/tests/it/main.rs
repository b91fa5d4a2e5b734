//! The controllers against a whole API server in process, with a kubelet and scheduler that only pretend.

mod certificates;
mod custom;
mod disruption;
mod garbage;
mod leadership;
mod namespaces;
mod nodes;
mod protection;
mod quotas;
mod rollouts;
mod services;
mod support;
mod tokens;
