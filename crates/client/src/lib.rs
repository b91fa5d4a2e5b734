//! How every Gantry component talks to the API server: gRPC with a client certificate or a bearer token.
//!
//! - [`Client`] is the connection, [`Api`] the typed and [`DynApi`] the untyped way to one resource.
//! - [`informer`] keeps a local, indexed copy of a resource up to date over one watch stream.
//! - [`session`] is exec, attach, port-forward: a stream with a container.
//! - [`batch`] pipelines many writes over one stream; [`events`] records Events.

pub mod api;
pub mod batch;
mod connection;
pub mod dynamic;
mod error;
pub mod events;
pub mod informer;
mod key;
mod params;
mod raw;
mod replicas;
pub mod session;
pub mod watch;

pub use api::{Api, List, Object, resource_of};
pub use batch::{Batch, Write};
pub use connection::{Client, Config, Fence};
pub use dynamic::{DynApi, DynList, View};
pub use error::Error;
pub use informer::{Change, Informer, Reader, Subscription};
pub use key::Key;
pub use params::{DeleteParams, ListParams, Patch, Preconditions, ResourceId, WriteParams};
pub use replicas::Replicas;

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;
