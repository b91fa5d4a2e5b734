//! The API server in process, over its real port, with an in-memory store.

mod allocation;
mod backends;
mod bootstrap;
mod ephemeral;
mod errors;
mod fences;
mod grpc;
mod identity;
mod kinds;
mod kubectl_reach;
mod lists;
mod metrics;
mod proxy;
mod proxy_attacks;
mod proxy_upgrades;
mod rest;
mod sessions;
mod start;
mod support;
mod watches;
mod writes;
