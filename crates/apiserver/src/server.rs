//! The one TLS port: sockets, handshakes, HTTP/1.1 and HTTP/2, and the split between gRPC and REST.

pub(crate) mod connection;
pub(crate) mod door;
pub(crate) mod heads;
pub(crate) mod held;
pub(crate) mod limits;
pub(crate) mod listener;
mod plain_http;
mod sni;
pub(crate) mod standing;
pub(crate) mod tls;
pub(crate) mod trust;

/// The body of every answer, gRPC or REST.
pub(crate) type Body = tonic::body::Body;
/// Every answer.
pub(crate) type Response = http::Response<Body>;
