//! The metadata watch of one kind.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gantry_api::kinds::Kind;
use gantry_client::{
    Client, DynApi, Error, ListParams, ResourceId, Result, View,
    watch::{Event, EventKind, WatchStream},
};
use gantry_common::backoff::Backoff;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::Deserialize;

use super::{Catalog, Meta};

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// An object, as far as it matters here: not the managed fields, which are most of it and may nest deep.
#[derive(Deserialize)]
struct Partial {
    metadata: Part,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    deletion_timestamp: Option<Time>,
}

impl From<Part> for ObjectMeta {
    fn from(part: Part) -> Self {
        let Part { name, namespace, uid, resource_version, owner_references, finalizers, deletion_timestamp } = part;
        Self {
            name,
            namespace,
            uid,
            resource_version,
            owner_references,
            finalizers,
            deletion_timestamp,
            ..Self::default()
        }
    }
}

/// Takes the metadata out of an object.
fn decode(kind: &Kind, bytes: &Bytes) -> Result<Meta> {
    taken(kind, serde_json::from_slice(bytes))
}

/// As [`decode`], of an object of a list.
pub(super) fn meta(kind: &Kind, object: serde_json::Value) -> Result<Meta> {
    taken(kind, serde_json::from_value(object))
}

fn taken(kind: &Kind, partial: serde_json::Result<Partial>) -> Result<Meta> {
    let partial =
        partial.map_err(|source| Error::Decode { what: format!("the metadata of a {}", kind.kind), source })?;
    Ok(Meta::new(kind, partial.metadata.into()))
}

/// Where the watch stands.
enum Position {
    /// The present objects are wanted first.
    Start,
    /// Everything up to this revision is known.
    At(u64),
}

pub(super) struct Watch {
    api: DynApi,
    kind: Kind,
    catalog: Arc<Catalog>,
    position: Position,
    synced: bool,
}

impl Watch {
    pub(super) fn new(client: Client, kind: Kind, catalog: Arc<Catalog>) -> Self {
        let resource = ResourceId::new(kind.group, kind.version, kind.resource);
        Self { api: client.dynamic(resource, ""), kind, catalog, position: Position::Start, synced: false }
    }

    /// A watch that nobody waited for at the start.
    pub(super) fn additional(client: Client, kind: Kind, catalog: Arc<Catalog>) -> Self {
        Self { synced: true, ..Self::new(client, kind, catalog) }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        loop {
            let before = self.revision();
            let ended = self.stream().await;
            if self.revision() > before {
                backoff.reset();
            }
            match ended {
                // In good order.
                Ok(()) => {}
                Err(error) if error.is_unserved() => self.leave(),
                Err(error) if error.is_expired() || error.is_ahead() => self.position = Position::Start,
                Err(error) => {
                    let (resource, error) = (self.kind.resource, gantry_common::error_chain(&error));
                    // The informers of the same server say it louder.
                    tracing::debug!(resource, error, "watch broke, trying again");
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// The server does not serve the kind (`--runtime-config`, a definition that has gone): nobody can see objects of it, whatever
    /// is stored, and nobody need wait for them. It may serve it again.
    fn leave(&mut self) {
        if self.revision() > 0 {
            self.catalog.forget(&self.kind);
        }
        if self.revision() > 0 || !self.synced {
            tracing::info!(resource = self.kind.resource, group = self.kind.group, "the API server does not serve it");
        }
        self.position = Position::Start;
        self.settle();
    }

    /// What there is of the kind is known.
    fn settle(&mut self) {
        if !std::mem::replace(&mut self.synced, true) {
            self.catalog.kind_is_synced();
        }
    }

    fn revision(&self) -> u64 {
        if let Position::At(revision) = self.position { revision } else { 0 }
    }

    async fn stream(&mut self) -> Result<()> {
        let (initial, resource_version) = match self.position {
            Position::Start => (true, String::new()),
            Position::At(revision) => (false, revision.to_string()),
        };
        let params = ListParams { resource_version, ..ListParams::default() };
        let mut stream = self.api.watch(&params, initial, View::Metadata).await?;
        if initial && !self.present_objects(&mut stream).await? {
            return Ok(());
        }
        while let Some(event) = stream.next().await? {
            self.live(&event)?;
        }
        Ok(())
    }

    /// Takes the present objects; `false` when the stream ended before they were all there.
    async fn present_objects(&mut self, stream: &mut WatchStream) -> Result<bool> {
        let mut present = Vec::new();
        while let Some(event) = stream.next().await? {
            match event.kind {
                EventKind::Bookmark { initial_events_end: true } => {
                    self.catalog.replace(&self.kind, present);
                    self.catalog.advance(&self.kind, event.revision);
                    self.position = Position::At(event.revision);
                    self.settle();
                    return Ok(true);
                }
                EventKind::Bookmark { .. } => {}
                EventKind::Deleted => {
                    let gone = decode(&self.kind, &event.object)?.key;
                    present.retain(|m: &Meta| m.key != gone);
                }
                EventKind::Added | EventKind::Modified => present.push(decode(&self.kind, &event.object)?),
            }
        }
        Ok(false)
    }

    fn live(&mut self, event: &Event) -> Result<()> {
        match event.kind {
            EventKind::Added | EventKind::Modified => {
                let meta = decode(&self.kind, &event.object)?;
                self.catalog.set(meta.id(), Some(meta));
            }
            EventKind::Deleted => self.catalog.set(decode(&self.kind, &event.object)?.id(), None),
            EventKind::Bookmark { .. } => {}
        }
        self.catalog.advance(&self.kind, event.revision);
        self.position = Position::At(event.revision);
        Ok(())
    }
}
