//! A watch stream, event by event.

use std::collections::VecDeque;

use bytes::Bytes;
use gantry_proto::v1;

use crate::{Error, Result};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It appeared, or entered the selection.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or left the selection.
    Deleted,
    /// Nothing; only the revision moved on.
    Bookmark {
        /// All objects that were there at the start have been sent.
        initial_events_end: bool,
    },
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object as JSON, empty for bookmarks.
    pub object: Bytes,
    /// Resource version of the event.
    pub revision: u64,
}

/// Events of one watch, in revision order.
pub struct WatchStream {
    stream: tonic::Streaming<v1::WatchBatch>,
    ready: VecDeque<v1::WatchEvent>,
}

impl WatchStream {
    pub(crate) fn new(stream: tonic::Streaming<v1::WatchBatch>) -> Self {
        Self { stream, ready: VecDeque::new() }
    }

    /// The next event; `None` when the server ended the watch in good order.
    ///
    /// # Errors
    /// When the watch broke or its revision expired.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                let kind = match event.r#type() {
                    v1::EventType::Added => EventKind::Added,
                    v1::EventType::Modified => EventKind::Modified,
                    v1::EventType::Deleted => EventKind::Deleted,
                    v1::EventType::Bookmark => EventKind::Bookmark { initial_events_end: event.initial_events_end },
                    v1::EventType::Unspecified => continue,
                };
                return Ok(Some(Event { kind, object: event.object, revision: event.revision }));
            }
            match self.stream.message().await.map_err(|s| Error::from_grpc("Objects.Watch", s))? {
                Some(batch) => self.ready.extend(batch.events),
                None => return Ok(None),
            }
        }
    }
}
