//! Events that go out together, written once for everybody who gets them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::form::Form;
use crate::pipeline::watch::Signal;

/// Digits of a chunk's length and the line's end: room for what is known last and stands first.
const HEAD_BYTES: usize = 10;
const LINE_END: &[u8] = b"\r\n";

/// Events, as they are sent.
pub(super) struct Batch {
    events: Vec<Signal>,
    /// The revision of the first event.
    first: u64,
    /// One chunk of HTTP/1.1 (RFC 9112, 7.1): length, events, line end.
    chunk: Bytes,
    head_bytes: usize,
    held: Held,
}

/// Bytes of batches that are held for watchers of a server.
pub(super) type Store = Arc<AtomicUsize>;

/// A batch's part of them.
struct Held(Store, usize);

impl Held {
    fn new(store: &Store, bytes: usize) -> Self {
        store.fetch_add(bytes, Ordering::Relaxed);
        Self(store.clone(), bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

fn revision(signal: &Signal) -> u64 {
    match signal {
        Signal::Event { revision, .. } | Signal::Bookmark { revision, .. } => *revision,
        Signal::Failed(_) => 0,
    }
}

impl Batch {
    /// Writes events. None of them is the first one of its watch.
    pub(super) fn new(events: Vec<Signal>, form: &Form, store: &Store) -> Option<Self> {
        let first = revision(events.first()?);
        let mut out = vec![b'0'; HEAD_BYTES];
        for event in &events {
            form.write(event, false, &mut out);
        }
        let head = format!("{:X}\r\n", out.len() - HEAD_BYTES);
        // A length of more than eight digits is no length of an event.
        let start = HEAD_BYTES.checked_sub(head.len())?;
        out[start..HEAD_BYTES].copy_from_slice(head.as_bytes());
        out.extend_from_slice(LINE_END);
        let chunk = Bytes::from(out).slice(start..);
        let held = Held::new(store, chunk.len());
        Some(Self { events, first, chunk, head_bytes: head.len(), held })
    }

    /// What is left of it for a watch that has been told everything up to `revision`.
    pub(super) fn after(&self, told: u64, form: &Form) -> Option<Self> {
        let events = self.events.iter().filter(|event| revision(event) > told).cloned().collect();
        Self::new(events, form, &self.held.0)
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Bytes of all batches that are held for somebody now.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.0.load(Ordering::Relaxed)
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
    use crate::metrics::resources::Resources;
    use crate::view::{Include, Shape, View};

    pub(crate) fn form() -> Form {
        let kind = kinds::by_resource("", "v1", "configmaps").expect("served");
        let shape = Shape { view: View::Full, include: Include::Metadata, now: Timestamp::UNIX_EPOCH };
        let figures = Resources::default().of(kind);
        Form { kind: kind.held(), shape, protobuf: false, clock: clock::system(), figures }
    }

    /// An event of each revision.
    pub(crate) fn batch(revisions: &[u64]) -> Batch {
        batch_of(revisions, "", &Store::default())
    }

    /// The same, about an object with `data`.
    pub(crate) fn batch_of(revisions: &[u64], data: &str, store: &Store) -> Batch {
        let json = format!(
            r#"{{"apiVersion":"v1","data":{{"x":"{data}"}},"kind":"ConfigMap","metadata":{{"name":"c","namespace":"n"}}}}"#
        );
        let event = |revision: &u64| {
            let object = Object::computed(Encoded::from_json(json.as_bytes(), *revision).expect("valid"));
            Signal::Event { change: Change::Added, object: Arc::new(object), revision: *revision }
        };
        Batch::new(revisions.iter().map(event).collect(), &form(), store).expect("events")
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
        assert_eq!((whole.first(), whole.len()), (3, 3));
        let rest = whole.after(3, &form()).expect("two");
        assert_eq!((rest.first(), rest.payload()), (4, batch(&[4, 5]).payload()));
        assert!(whole.after(5, &form()).is_none());
        let held = whole.chunk().len() + rest.chunk().len();
        assert_eq!(whole.held_bytes(), held);
        drop(rest);
        assert_eq!(whole.held_bytes(), whole.chunk().len());
    }
}
