//! The API server's WebSocket edge, by its files: the whole crate, with all that it links, takes minutes to build with
//! coverage.
#![allow(dead_code, reason = "these are the API server's files, of which the targets use a part")]

#[path = "../../apiserver/src/rest/stream/channel.rs"]
pub(crate) mod channel;
#[path = "../../apiserver/src/rest/stream/tunnel.rs"]
pub(crate) mod tunnel;
#[path = "../../apiserver/src/rest/stream/websocket.rs"]
pub(crate) mod websocket;

/// The streams that a client of exec or attach expects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
}

impl Streams {
    /// The lowest channel that the server writes to.
    pub(crate) fn first(self) -> u8 {
        channel::STDOUT
    }
}
