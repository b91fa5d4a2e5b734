//! What the files of [`crate::stream`] expect of the API server's sessions.
#![allow(dead_code, reason = "these are the API server's files, of which the targets use a part")]

#[path = "../../apiserver/src/sessions/channel.rs"]
pub(crate) mod channel;

/// Far less than in the API server, so that short inputs go past it.
pub(crate) const FRAME_BYTES_MAX: usize = 64;
