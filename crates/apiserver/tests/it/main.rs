//! The API server in process, over its real port, with an in-memory store.

mod allocation;
mod bootstrap;
mod contract;
mod errors;
mod examples;
mod fences;
mod grpc;
mod identity;
mod kinds;
mod kubectl_documents;
mod lists;
mod rest;
mod sessions;
mod start;
mod support;
mod watches;
mod writes;
