//! Events that go out together, written once for everybody who gets them.

use bytes::Bytes;

use super::form::Form;
use crate::pipeline::watch::Signal;

/// Digits of a chunk's length and the line's end: room for what is known last and stands first.
const HEAD_BYTES: usize = 10;
const LINE_END: &[u8] = b"\r\n";

/// Events, as they are sent.
pub(super) struct Batch {
    events: Vec<Signal>,
    /// The revisions of the first event and of the last one.
    first: u64,
    last: u64,
    /// One chunk of HTTP/1.1 (RFC 9112, 7.1): length, events, line end.
    chunk: Bytes,
    head_bytes: usize,
}

fn revision(signal: &Signal) -> u64 {
    match signal {
        Signal::Event { revision, .. } | Signal::Bookmark { revision, .. } => *revision,
        Signal::Failed(_) => 0,
    }
}

impl Batch {
    /// Writes events. None of them is the first one of its watch.
    pub(super) fn new(events: Vec<Signal>, form: &Form) -> Option<Self> {
        let (first, last) = (revision(events.first()?), revision(events.last()?));
        let mut out = vec![b'0'; HEAD_BYTES];
        for event in &events {
            form.write(event, false, &mut out);
        }
        let head = format!("{:X}\r\n", out.len() - HEAD_BYTES);
        // A length of more than eight digits is no length of an event.
        let start = HEAD_BYTES.checked_sub(head.len())?;
        out[start..HEAD_BYTES].copy_from_slice(head.as_bytes());
        out.extend_from_slice(LINE_END);
        Some(Self { events, first, last, chunk: Bytes::from(out).slice(start..), head_bytes: head.len() })
    }

    /// What is left of it for a watch that has been told everything up to `revision`.
    pub(super) fn after(&self, told: u64, form: &Form) -> Option<Self> {
        let events = self.events.iter().filter(|event| revision(event) > told).cloned().collect();
        Self::new(events, form)
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The events as a chunk of HTTP/1.1.
    pub(super) fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// The events alone.
    pub(super) fn payload(&self) -> Bytes {
        self.chunk.slice(self.head_bytes..self.chunk.len() - LINE_END.len())
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::sync::Arc;

    use gantry_api::kinds;
    use gantry_common::clock;
    use gantry_store::cache::{Change, Object};
    use gantry_store::encoded::Encoded;
    use jiff::Timestamp;

    use super::*;
    use crate::view::{Include, Shape, View};

    pub(crate) fn form() -> Form {
        let kind = kinds::by_resource("", "v1", "configmaps").expect("served");
        let shape = Shape { view: View::Full, include: Include::Metadata, now: Timestamp::UNIX_EPOCH };
        Form { kind, shape, protobuf: false, clock: clock::system() }
    }

    /// An event of each revision.
    pub(crate) fn batch(revisions: &[u64]) -> Batch {
        let json = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"n"}}"#;
        let event = |revision: &u64| {
            let object = Object::computed(Encoded::from_json(json, *revision).expect("valid"));
            Signal::Event { change: Change::Added, object: Arc::new(object), revision: *revision }
        };
        Batch::new(revisions.iter().map(event).collect(), &form()).expect("events")
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{batch, form};

    fn check(revisions: &[u64]) {
        let batch = batch(revisions);
        let chunk = std::str::from_utf8(batch.chunk()).expect("text");
        let (length, rest) = chunk.split_once("\r\n").expect("a length");
        let length = usize::from_str_radix(length, 16).expect("hexadecimal");
        assert_eq!(rest.len(), length + 2);
        assert_eq!(&rest[length..], "\r\n");
        assert_eq!(batch.payload(), rest[..length]);
        let lines: Vec<serde_json::Value> =
            rest[..length].lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let told: Vec<&str> =
            lines.iter().filter_map(|line| line["object"]["metadata"]["resourceVersion"].as_str()).collect();
        assert_eq!(told, revisions.iter().map(u64::to_string).collect::<Vec<_>>());
    }

    #[test]
    fn a_batch_is_a_chunk() {
        check(&[7]);
        check(&[7, 8, 9]);
        check(&(1000..2000).collect::<Vec<_>>());
    }

    #[test]
    fn the_rest_of_a_batch_is_a_batch() {
        let whole = batch(&[3, 4, 5]);
        assert_eq!((whole.first(), whole.last(), whole.len()), (3, 5, 3));
        let rest = whole.after(3, &form()).expect("two");
        assert_eq!((rest.first(), rest.last(), rest.payload()), (4, 5, batch(&[4, 5]).payload()));
        assert!(whole.after(5, &form()).is_none());
    }
}
