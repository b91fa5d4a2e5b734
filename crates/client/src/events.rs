//! Records Events (core/v1): what happened to an object, in one line, for people.
//!
//! As upstream's recorder (client-go tools/record): equal events are counted up on one Event object, a chatty source
//! is throttled per object (25 at once, then one in five minutes), and recording never blocks or fails the caller.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use gantry_common::{clock::SharedClock, task};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use crate::{Client, Key, Object, Patch};

const QUEUE_LEN: usize = 1024;
/// Remembered events and sources; the oldest are forgotten.
const MEMORY_LEN: usize = 4096;
const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_secs(300);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Somebody may have to look.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        if self == Self::Normal { "Normal" } else { "Warning" }
    }
}

/// A reference to `object`, for events about it.
#[must_use]
pub fn reference<K: Object>(object: &K) -> ObjectReference {
    let meta = object.metadata();
    ObjectReference {
        api_version: Some(K::API_VERSION.to_owned()),
        kind: Some(K::KIND.to_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

struct Occurrence {
    about: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    uid: String,
    object: Key,
    object_kind: String,
    field_path: String,
    kind: EventType,
    reason: String,
    message: String,
}

struct Recorded {
    name: String,
    count: i32,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

/// Records events of one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Occurrence>,
    clock: SharedClock,
}

impl Recorder {
    /// A recorder for `component` on `host` (the node's name for node components, else empty).
    #[must_use]
    pub fn new(client: Client, clock: SharedClock, component: &str, host: &str) -> Self {
        let (queue, occurrences) = mpsc::channel(QUEUE_LEN);
        let writer = Writer {
            client,
            component: component.to_owned(),
            host: host.to_owned(),
            recorded: Memory::default(),
            buckets: Memory::default(),
        };
        task::spawn("events", writer.run(occurrences));
        Self { queue, clock }
    }

    /// Records an event about an object. When the queue is full, the event is dropped and logged.
    pub fn event(&self, about: &ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        let message = message.into();
        let occurrence =
            Occurrence { about: about.clone(), kind, reason: reason.to_owned(), message, at: self.clock.now() };
        if let Err(refused) = self.queue.try_send(occurrence) {
            let lost = match refused {
                mpsc::error::TrySendError::Full(o) | mpsc::error::TrySendError::Closed(o) => o,
            };
            tracing::warn!(reason = lost.reason, message = lost.message, "event queue is full, event dropped");
        }
    }
}

/// A map that forgets its oldest entries.
struct Memory<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + std::hash::Hash, V> Memory<K, V> {
    fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
            if self.order.len() > MEMORY_LEN
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
        }
    }
}

struct Writer {
    client: Client,
    component: String,
    host: String,
    recorded: Memory<Identity, Recorded>,
    buckets: Memory<(String, Key), Bucket>,
}

impl Writer {
    async fn run(mut self, mut occurrences: mpsc::Receiver<Occurrence>) {
        while let Some(o) = occurrences.recv().await {
            let object =
                Key::new(o.about.namespace.clone().unwrap_or_default(), o.about.name.clone().unwrap_or_default());
            if self.throttled(&o, &object) {
                continue;
            }
            if let Err(error) = self.write(&o, object).await {
                let error = gantry_common::error_chain(&error);
                tracing::debug!(reason = o.reason, message = o.message, error, "event not recorded");
            }
        }
    }

    fn throttled(&mut self, o: &Occurrence, object: &Key) -> bool {
        let key = (o.about.kind.clone().unwrap_or_default(), object.clone());
        let now = Instant::now();
        let (tokens, at) = self.buckets.entries.get(&key).map_or((BURST, now), |b| (b.tokens, b.at));
        let tokens = (tokens + now.duration_since(at).as_secs_f64() / REFILL.as_secs_f64()).min(BURST);
        let enough = tokens >= 1.0;
        self.buckets.insert(key, Bucket { tokens: if enough { tokens - 1.0 } else { tokens }, at: now });
        !enough
    }

    async fn write(&mut self, o: &Occurrence, object: Key) -> crate::Result<()> {
        let namespace = if object.namespace.is_empty() { "default" } else { &object.namespace };
        let api = self.client.namespaced::<Event>(namespace);
        let identity = Identity {
            uid: o.about.uid.clone().unwrap_or_default(),
            object_kind: o.about.kind.clone().unwrap_or_default(),
            field_path: o.about.field_path.clone().unwrap_or_default(),
            kind: o.kind,
            reason: o.reason.clone(),
            message: o.message.clone(),
            object: object.clone(),
        };
        if let Some(known) = self.recorded.entries.get_mut(&identity) {
            let patch = json!({"count": known.count + 1, "lastTimestamp": seconds(o.at)});
            match api.patch(&known.name, &Patch::Merge(patch), None).await {
                Ok(_) => {
                    known.count += 1;
                    return Ok(());
                }
                // It lived its hour: record it anew.
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e),
            }
        }
        let name = format!("{}.{:x}", object.name, o.at.as_nanosecond());
        let event = self.first(o, namespace, &name);
        api.create(&event).await?;
        self.recorded.insert(identity, Recorded { name, count: 1 });
        Ok(())
    }

    fn first(&self, o: &Occurrence, namespace: &str, name: &str) -> Event {
        let at = seconds_ts(o.at);
        Event {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: o.about.clone(),
            type_: Some(o.kind.as_str().to_owned()),
            reason: Some(o.reason.clone()),
            message: Some(o.message.clone()),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: Some(self.host.clone()).filter(|h| !h.is_empty()),
            }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(self.host.clone()),
            count: Some(1),
            first_timestamp: Some(Time(at)),
            last_timestamp: Some(Time(at)),
            ..Event::default()
        }
    }
}

fn seconds_ts(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn seconds(at: Timestamp) -> String {
    seconds_ts(at).to_string()
}
