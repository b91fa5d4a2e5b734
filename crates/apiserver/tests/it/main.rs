//! The API server in process, over its real port, with an in-memory store.

mod admission;
mod allocation;
mod bootstrap;
mod errors;
mod fences;
mod forms;
mod grpc;
mod identity;
mod kinds;
mod lists;
mod rest;
mod samples;
mod sessions;
mod slow;
mod start;
mod subresources;
mod support;
mod watches;
mod writes;
