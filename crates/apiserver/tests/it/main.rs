//! The API server in process, over its real port, with an in-memory store.

mod allocation;
mod apply;
mod bootstrap;
mod errors;
mod fences;
mod grpc;
mod identity;
mod kinds;
mod kubectl;
mod lists;
mod races;
mod rest;
mod sessions;
mod start;
mod support;
mod watches;
mod writes;
