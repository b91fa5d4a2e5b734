//! What can go wrong with a connection or one of its streams.

use std::{io, time::Duration};

use crate::{Status, frame, headers};

/// Why a connection ended, or why a call on one of its handles failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The byte stream below failed.
    #[error("cannot {doing} the SPDY connection")]
    Io {
        /// `read` or `write`.
        doing: &'static str,
        /// What the byte stream said.
        #[source]
        source: io::Error,
    },
    /// The peer sent something that is no frame.
    #[error("the peer broke the framing of SPDY/3.1")]
    Frame(#[from] frame::Error),
    /// The peer sent a header block that cannot be used; the compression of all later blocks builds on it.
    #[error("the peer sent a bad header block on stream {stream}")]
    Headers {
        /// The stream that the block was for.
        stream: u32,
        /// What was wrong with it.
        #[source]
        source: headers::Error,
    },
    /// Headers that this side was asked to send are past a limit.
    #[error("cannot send these headers")]
    OwnHeaders(#[source] headers::Error),
    /// The peer opened a stream with an id that it does not own.
    #[error("the peer opened stream {stream}, but {rule}")]
    StreamId {
        /// The id in its frame.
        stream: u32,
        /// What the id should have been.
        rule: &'static str,
    },
    /// The peer's bytes ended inside a frame.
    #[error("the peer closed the SPDY connection in the middle of a frame")]
    CutOff,
    /// The peer neither sent anything nor answered a ping.
    #[error("the peer of the SPDY connection has not answered a ping for {0:?}")]
    Silent(Duration),
    /// The stream was reset, by the peer or by this side.
    #[error("stream {stream} was reset: {status}")]
    Reset {
        /// The stream.
        stream: u32,
        /// The reason that was given.
        status: Status,
    },
    /// This side has already finished the stream.
    #[error("stream {0} is already finished for writing")]
    Finished(u32),
    /// The connection has ended.
    #[error("the SPDY connection has ended")]
    Gone,
    /// The peer has sent GOAWAY.
    #[error("the peer of the SPDY connection takes no new streams")]
    GoingAway,
    /// As many streams are open as a connection may have.
    #[error("the SPDY connection has {0} open streams, as many as it may have")]
    TooManyStreams(usize),
    /// Every id of this side has been used.
    #[error("the SPDY connection has used up its stream ids; open another connection")]
    OutOfIds,
}
