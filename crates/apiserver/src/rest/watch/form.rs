//! How the events of a watch are written: lines of JSON, or messages of protobuf.

use std::sync::Arc;

use gantry_api::encode;
use gantry_api::kinds::Kind;
use gantry_common::clock::SharedClock;
use gantry_store::cache::{Change, WatchError};
use tokio_tungstenite::tungstenite::Message;

use crate::metrics::resources::Resource;
use crate::pipeline::watch::Signal;
use crate::view::Shape;

/// The form that a client asked for.
#[derive(Clone)]
pub(super) struct Form {
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// Events are messages behind their length instead of lines of JSON.
    pub(super) protobuf: bool,
    pub(super) clock: SharedClock,
    /// What is counted of the kind.
    pub(super) figures: Arc<Resource>,
}

fn name(signal: &Signal) -> &'static str {
    match signal {
        Signal::Event { change: Change::Added, .. } => "ADDED",
        Signal::Event { change: Change::Modified, .. } => "MODIFIED",
        Signal::Event { change: Change::Deleted, .. } => "DELETED",
        Signal::Bookmark { .. } => "BOOKMARK",
        Signal::Failed(_) => "ERROR",
    }
}

impl Form {
    /// Whether the first event of a watch differs from the others: it has the columns of the Table.
    pub(super) fn begins(&self) -> bool {
        self.shape.view.is_table()
    }

    /// Counts the end of a watch whose client was too slow.
    pub(super) fn ended(&self, error: &WatchError) {
        if matches!(error, WatchError::Overflow { .. }) {
            self.figures.terminated();
        }
    }

    /// Writes one event; `first`: it is the first of its watch.
    pub(super) fn write(&self, signal: &Signal, first: bool, out: &mut Vec<u8>) {
        if self.protobuf {
            let event = self.protobuf_event(signal, first);
            out.extend_from_slice(&u32::try_from(event.len()).unwrap_or_default().to_be_bytes());
            out.extend_from_slice(&event);
            return;
        }
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(name(signal).as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        self.object(signal, first, out);
        out.extend_from_slice(b"}\n");
    }

    /// One event as a message of a WebSocket.
    pub(super) fn message(&self, signal: &Signal, first: bool) -> Message {
        if self.protobuf {
            return Message::binary(self.protobuf_event(signal, first));
        }
        let mut line = Vec::new();
        self.write(signal, first, &mut line);
        Message::text(String::from_utf8_lossy(&line).into_owned())
    }

    fn protobuf_event(&self, signal: &Signal, first: bool) -> Vec<u8> {
        let mut object = Vec::new();
        self.object(signal, first, &mut object);
        let event = serde_json::from_slice(&object).ok().and_then(|o| encode::protobuf_event(name(signal), &o));
        event.unwrap_or_default()
    }

    fn object(&self, signal: &Signal, first: bool, out: &mut Vec<u8>) {
        match signal {
            Signal::Event { object, revision, .. } => {
                let mut shape = self.shape;
                if shape.view.is_table() {
                    // Ages are those of the event, however long the watch runs already.
                    shape.now = self.clock.now();
                }
                shape.event(&self.kind, object.encoded(), *revision, first, out);
            }
            Signal::Bookmark { revision, initial } => {
                let object = self.shape.bookmark(&self.kind, *revision, *initial);
                out.extend_from_slice(object.to_string().as_bytes());
            }
            Signal::Failed(status) => {
                out.extend_from_slice(&serde_json::to_vec(status).expect("a Status is plain data"));
            }
        }
    }
}
