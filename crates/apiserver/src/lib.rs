//! The API server: one TLS port for gRPC and REST over one pipeline for every kind, stored in etcd.
//!
//! * `server`: sockets, TLS, HTTP. `rest` and `grpc` translate to `calls`, `calls` to the `pipeline`.
//! * `pipeline`: what happens to every request of every kind; `registry` is what is special about a kind.
//! * `auth` and `rbac`: who calls, and what they may do. `admission`: what the cluster adds and refuses.
//! * `sessions`: streams with nodes, and the one door that every session passes; `audit`: who did what.
//! * `sessions` and `dial`: connections to nodes, and through them to pods and Services.
//! * `expressions`: what users write in CEL about requests.
//! * `webhooks`: calls to what users run to judge or convert objects.
//! * `aggregate`: group versions that other API servers serve, with this one in front of them.
//! * `flows`: which flow schema a request belongs to.
//! * `encryption`: what is stored, sealed and opened on its way to etcd.
//! * `bootstrap`: what every cluster starts with.

mod admission;
mod aggregate;
mod allocate;
mod app;
mod audit;
mod auth;
mod authorize;
mod bootstrap;
mod calls;
mod cluster;
mod computed;
mod config;
mod custom;
mod dial;
mod encryption;
mod event_leases;
mod expressions;
mod flows;
mod grpc;
mod metrics;
mod normalise;
mod pipeline;
mod rbac;
pub mod registry;
mod request;
mod rest;
mod route;
mod run;
mod served;
mod server;
mod sessions;
mod stats;
mod type_checks;
mod view;
mod webhooks;

#[cfg(feature = "testing")]
pub mod testing;

pub use auth::User;
pub use config::{
    Authorization, Config, Connections, NamedCert, PortRange, RequestHeader, ServiceRanges, Serving, ServingError,
    Sifted, refused, sift,
};
pub use rest::zpages::flags;
pub use run::{Deps, Error, Running, run, start};
