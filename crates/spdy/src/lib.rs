//! SPDY/3.1 as Kubernetes' clients speak it: kubectl up to 1.30 for exec and attach, and every kubectl for port-forward.
//!
//! Their side is Go's spdystream, and this crate is made to work with it: frames of SPDY/3.1, header blocks compressed with
//! the protocol's dictionary, and no windows. spdystream neither sends nor honours WINDOW_UPDATE, so what it may send is
//! bounded only by TCP. A stream here therefore holds a bounded queue, and when its reader is slow the *connection* is not
//! read on until there is room: one slow stream holds up the others, as it does at the other end. A caller that needs
//! streams to be independent takes a connection for each.
//!
//! [`server`] and [`client`] put a [`Connection`] and its [`Driver`] over any byte stream. The owner runs the driver; it ends
//! when the peer goes away, after [`Connection::close`], or when the connection and all streams are dropped.

mod connection;
mod dictionary;
mod driver;
mod error;
pub mod frame;
pub mod headers;
mod pipe;
mod shared;
mod stream;

pub use connection::{Connection, Incoming, client, server};
pub use driver::Driver;
pub use error::Error;
pub use frame::Status;
pub use headers::Headers;
pub use pipe::End;
pub use stream::{Reader, Stream, Writer};
