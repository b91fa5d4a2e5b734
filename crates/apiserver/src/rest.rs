//! The Kubernetes REST API: HTTP requests to pipeline calls and back.

pub(crate) mod answer;
pub(crate) mod discovery;
pub(crate) mod documents;
pub(crate) mod handler;
pub(crate) mod health;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod negotiate;
pub(crate) mod openapi;
pub(crate) mod proxy;
pub(crate) mod query;
pub(crate) mod resource;
pub(crate) mod stream;
pub(crate) mod watch;
pub(crate) mod zpages;
