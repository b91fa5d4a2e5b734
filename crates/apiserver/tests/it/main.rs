//! The API server in process, over its real port, with an in-memory store.

mod allocation;
mod apply;
mod bootstrap;
mod errors;
mod exec;
mod fences;
mod forward;
mod grpc;
mod identity;
mod kinds;
mod kubectl;
mod kubectl_sessions;
mod lists;
mod node;
mod races;
mod rest;
mod sessions;
mod spdy;
mod start;
mod support;
mod upgrades;
mod watches;
mod writes;
