//! The Objects service.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use gantry_api::status::Status;
use gantry_proto::v1::objects_server::Objects as Service;
use gantry_proto::v1::{self, EventType};
use gantry_store::cache::Change;
use tokio::time::Instant;
use tonic::{Request, Response, Streaming};

use super::passed::Passing;
use super::{batch, convert};
use crate::app::App;
use crate::auth::MASTERS;
use crate::calls::{Call, Create, Delete, DeleteCollection, Found, Get, List, Patch, Update, Watch};
use crate::metrics::requests::{Answered, Labels, Lasting, Verb};
use crate::metrics::resources::Resource;
use crate::pipeline::Written;
use crate::pipeline::read::{ListQuery, Listed};
use crate::pipeline::selection::{Narrowed, Selection};
use crate::pipeline::watch::{Signal, WatchQuery, Watcher};
use crate::request::{Caller, Notes, Payload, Target};
use crate::view::{ListMeta, Shape};

/// Bytes of items per chunk of a list, and of events per message of a watch.
const CHUNK_BYTES: usize = 256 * 1024;
/// Events per message at most.
const BATCH_EVENTS: usize = 256;

/// Serves objects.
pub(crate) struct Objects(pub(crate) Arc<App>);

type Answer<T> = Result<Response<T>, tonic::Status>;
type Stream_<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

/// Counts a call.
pub(super) fn observe(
    app: &App,
    verb: Verb,
    target: &Target,
    result: Result<(), &Status>,
    (started, notes): (Instant, Option<&Notes>),
) {
    let code = result.map_or_else(|s| s.code, |()| 200);
    let answered = Answered { code, took: started.elapsed(), late: false, notes };
    drop(app.metrics.requests.observe(&labels(verb, target), answered));
}

fn labels(verb: Verb, target: &Target) -> Labels {
    let mut labels = Labels::new(verb);
    labels.about(target);
    labels
}

/// One write, from whichever message it came in.
pub(super) enum Write {
    Create(v1::CreateRequest),
    Update(v1::UpdateRequest),
    Patch(v1::PatchRequest),
    Delete(v1::DeleteRequest),
}

impl Write {
    fn target(&self, app: &App) -> Result<(Verb, Target), Status> {
        Ok(match self {
            Self::Create(r) => {
                (Verb::Post, convert::target(app, r.resource.as_ref(), &r.namespace, &r.name, &r.subresource)?)
            }
            Self::Update(r) => {
                (Verb::Put, convert::named(app, r.resource.as_ref(), &r.namespace, &r.name, &r.subresource)?)
            }
            Self::Patch(r) => {
                (Verb::Patch, convert::named(app, r.resource.as_ref(), &r.namespace, &r.name, &r.subresource)?)
            }
            Self::Delete(r) => (Verb::Delete, convert::named(app, r.resource.as_ref(), &r.namespace, &r.name, "")?),
        })
    }

    /// Makes the write.
    pub(super) async fn run(self, app: &Arc<App>, caller: &Caller) -> Result<v1::ObjectReply, Status> {
        let started = Instant::now();
        let (verb, target) = self.target(app)?;
        // A batch is many requests of one caller.
        let caller = &caller.anew();
        let result = self.made(Call { app, caller }, &target).await;
        observe(app, verb, &target, result.as_ref().map(drop), (started, Some(&caller.notes)));
        result.map(|mut written| {
            written.warnings.extend(caller.notes.warnings());
            convert::reply(app, &target.kind, written)
        })
    }
}

impl Write {
    async fn made(self, call: Call<'_>, target: &Target) -> Result<Written, Status> {
        match self {
            Self::Create(r) => {
                let entered = call.enter::<Create>(target).await?;
                let options = convert::write_options(r.options.as_ref())?;
                entered.create(&Payload::json(r.object), &options).await
            }
            Self::Update(r) => {
                let entered = call.enter::<Update>(target).await?;
                let options = convert::write_options(r.options.as_ref())?;
                entered.update(&Payload::json(r.object), &options).await
            }
            Self::Patch(r) => {
                let entered = call.enter::<Patch>(target).await?;
                let options = convert::write_options(r.options.as_ref())?;
                entered.patch(convert::patch_type(r.r#type, r.force)?, &r.patch, &options).await
            }
            Self::Delete(r) => {
                let entered = call.enter::<Delete>(target).await?;
                let options = convert::delete_options(&r.delete_options, r.options.as_ref())?;
                entered.delete(&options).await
            }
        }
    }
}

impl Objects {
    async fn write<T>(&self, request: Request<T>, make: impl FnOnce(T) -> Write) -> Answer<v1::ObjectReply> {
        let caller = convert::caller(&request)?;
        let write = make(request.into_inner());
        write.run(&self.0, &caller).await.map(Response::new).map_err(convert::failed)
    }

    async fn found(&self, caller: &Caller, request: &v1::GetRequest, target: &Target) -> Result<Bytes, Status> {
        let shape = convert::shape(&self.0, request.view);
        let call = Call { app: &self.0, caller };
        Ok(match call.enter::<Get>(target).await?.get(&request.resource_version).await? {
            Found::Object(object) => shape.one(&target.kind, object.encoded(), object.rv()),
            Found::Scale(bytes) => bytes,
        })
    }

    async fn listed(&self, caller: &Caller, r: &v1::ListRequest, target: &Target) -> Result<Listed, Status> {
        let narrowed = narrowed(&r.label_selector, &r.field_selector);
        let permitted = Call { app: &self.0, caller }.permit_selection::<List>(target, narrowed).await?;
        let query = ListQuery {
            selection: Selection::parse(&target.kind, &r.namespace, &r.label_selector, &r.field_selector)?,
            limit: usize::try_from(r.limit).unwrap_or(0),
            continue_token: r.r#continue.clone(),
            resource_version: r.resource_version.clone(),
            resource_version_match: r.resource_version_match.clone(),
        };
        permitted.enter().await?.list(&query).await
    }
}

/// A list in chunks. The table views are one JSON document, whole in the first chunk.
fn chunks(target: Target, shape: Shape, listed: Listed) -> impl Iterator<Item = v1::ListChunk> + Send {
    let meta =
        ListMeta { revision: listed.revision, continue_token: listed.continue_token, remaining: listed.remaining };
    let kind = target.kind;
    let mut head = Some(shape.list_head(&kind, &meta));
    let mut items = listed.items.into_iter().peekable();
    std::iter::from_fn(move || {
        if shape.view.is_table() {
            let mut list = head.take()?;
            for (at, object) in items.by_ref().enumerate() {
                if at > 0 {
                    list.push(b',');
                }
                shape.item(&kind, object.encoded(), object.rv(), &mut list);
            }
            list.extend_from_slice(b"]}");
            return Some(v1::ListChunk { list: Bytes::from(list), items: Vec::new() });
        }
        let first = head.take();
        if first.is_none() && items.peek().is_none() {
            return None;
        }
        let mut chunk = v1::ListChunk::default();
        if let Some(mut list) = first {
            // The head is the list without items, as a document of its own.
            list.extend_from_slice(b"]}");
            chunk.list = Bytes::from(list);
        }
        let mut bytes = 0;
        while bytes < CHUNK_BYTES
            && let Some(object) = items.next()
        {
            let item = shape.one(&kind, object.encoded(), object.rv());
            bytes += item.len();
            chunk.items.push(item);
        }
        Some(chunk)
    })
}

/// A list that is all there.
fn one(chunk: v1::ListChunk) -> Response<Stream_<v1::ListChunk>> {
    Response::new(Box::pin(futures::stream::iter([Ok(chunk)])))
}

/// A running watch as messages.
struct Events {
    watcher: Watcher,
    shape: Shape,
    target: Target,
    first: bool,
    failed: Option<Status>,
    figures: Arc<Resource>,
    _lasting: Option<Lasting>,
}

impl Events {
    async fn next(&mut self) -> Option<Result<v1::WatchBatch, tonic::Status>> {
        if let Some(status) = self.failed.take() {
            return Some(Err(convert::failed(status)));
        }
        let mut batch = v1::WatchBatch::default();
        let mut bytes = 0;
        let mut signal = Some(self.watcher.next().await?);
        while let Some(one) = signal {
            match self.event(&one) {
                Ok(event) => {
                    bytes += event.object.len();
                    self.figures.told(event.object.len(), 1);
                    batch.events.push(event);
                }
                Err(status) if batch.events.is_empty() => return Some(Err(convert::failed(status))),
                Err(status) => {
                    self.failed = Some(status);
                    break;
                }
            }
            let room = bytes < CHUNK_BYTES && batch.events.len() < BATCH_EVENTS;
            signal = if room { self.watcher.try_next() } else { None };
        }
        Some(Ok(batch))
    }

    fn event(&mut self, signal: &Signal) -> Result<v1::WatchEvent, Status> {
        let kind = &self.target.kind;
        Ok(match signal {
            Signal::Event { change, object, revision } => {
                let mut bytes = Vec::with_capacity(object.size_bytes() + 32);
                self.shape.event(kind, object.encoded(), *revision, self.first, &mut bytes);
                self.first = false;
                let change = match change {
                    Change::Added => EventType::Added,
                    Change::Modified => EventType::Modified,
                    Change::Deleted => EventType::Deleted,
                };
                v1::WatchEvent {
                    r#type: change.into(),
                    object: Bytes::from(bytes),
                    revision: *revision,
                    initial_events_end: false,
                }
            }
            Signal::Bookmark { revision, initial } => v1::WatchEvent {
                r#type: EventType::Bookmark.into(),
                object: Bytes::from(self.shape.bookmark(kind, *revision, *initial).to_string()),
                revision: *revision,
                initial_events_end: *initial,
            },
            Signal::Failed(status) => return Err((**status).clone()),
        })
    }
}

/// What a list or watch narrows itself to, as far as it can be read.
fn narrowed(labels: &str, fields: &str) -> Narrowed {
    Narrowed::of(labels, fields, true)
}

fn watch_query(r: &v1::WatchRequest, target: &Target) -> Result<WatchQuery, Status> {
    let send = r.send_initial_events.then_some(true);
    Ok(WatchQuery {
        selection: Selection::parse(&target.kind, &r.namespace, &r.label_selector, &r.field_selector)?,
        resource_version: r.resource_version.clone(),
        resource_version_match: if r.send_initial_events { "NotOlderThan".to_owned() } else { String::new() },
        send_initial_events: send,
        // The end of the initial events is told in any case.
        allow_bookmarks: r.allow_bookmarks || r.send_initial_events,
        awaits_start: false,
        timeout: None,
    })
}

#[tonic::async_trait]
impl Service for Objects {
    type ListStream = Stream_<v1::ListChunk>;
    type WatchStream = Stream_<v1::WatchBatch>;
    type DeleteCollectionStream = Stream_<v1::ListChunk>;
    type BatchStream = Stream_<v1::BatchReply>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Answer<v1::ObjectReply> {
        if let Some(passing) = Passing::of(&self.0, &request, |r| r.resource.as_ref())? {
            let passed = passing.get(&request.into_inner()).await.map_err(convert::failed)?;
            return Ok(passed.response(Response::new));
        }
        let started = Instant::now();
        let caller = convert::caller(&request)?;
        let r = request.into_inner();
        let target = convert::named(&self.0, r.resource.as_ref(), &r.namespace, &r.name, &r.subresource)
            .map_err(convert::failed)?;
        let found = self.found(&caller, &r, &target).await;
        observe(&self.0, Verb::Get, &target, found.as_ref().map(drop), (started, Some(&caller.notes)));
        let object = found.map_err(convert::failed)?;
        Ok(Response::new(v1::ObjectReply { object, warnings: Vec::new(), created: false }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Answer<Self::ListStream> {
        if let Some(passing) = Passing::of(&self.0, &request, |r| r.resource.as_ref())? {
            let passed = passing.list(&request.into_inner()).await.map_err(convert::failed)?;
            return Ok(passed.response(one));
        }
        let started = Instant::now();
        let caller = convert::caller(&request)?;
        let r = request.into_inner();
        let target = convert::target(&self.0, r.resource.as_ref(), &r.namespace, "", "").map_err(convert::failed)?;
        let listed = self.listed(&caller, &r, &target).await;
        observe(&self.0, Verb::List, &target, listed.as_ref().map(drop), (started, Some(&caller.notes)));
        let shape = convert::shape(&self.0, r.view);
        let chunks = chunks(target, shape, listed.map_err(convert::failed)?);
        Ok(Response::new(Box::pin(futures::stream::iter(chunks.map(Ok)))))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let started = Instant::now();
        let caller = convert::caller(&request)?;
        let r = request.into_inner();
        let start = async {
            let target = convert::target(&self.0, r.resource.as_ref(), &r.namespace, "", "")?;
            let (call, narrowed) =
                (Call { app: &self.0, caller: &caller }, narrowed(&r.label_selector, &r.field_selector));
            let permitted = call.permit_selection::<Watch>(&target, narrowed).await?;
            let watcher = permitted.watch(watch_query(&r, &target)?).await?;
            Ok::<_, Status>((target, watcher))
        };
        let (target, watcher) = start.await.map_err(convert::failed)?;
        let shape = convert::shape(&self.0, r.view);
        let lasting = self.0.metrics.requests.last(&labels(Verb::Watch, &target), started, &caller.notes);
        let figures = self.0.metrics.resources.of(&target.kind);
        let events = Events { watcher, shape, target, first: true, failed: None, figures, _lasting: lasting };
        let stream = futures::stream::unfold(events, |mut events| async move {
            let next = events.next().await?;
            Some((next, events))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn create(&self, request: Request<v1::CreateRequest>) -> Answer<v1::ObjectReply> {
        self.write(request, Write::Create).await
    }

    async fn update(&self, request: Request<v1::UpdateRequest>) -> Answer<v1::ObjectReply> {
        self.write(request, Write::Update).await
    }

    async fn patch(&self, request: Request<v1::PatchRequest>) -> Answer<v1::ObjectReply> {
        if let Some(passing) = Passing::of(&self.0, &request, |r| r.resource.as_ref())? {
            let passed = passing.patch(&request.into_inner()).await.map_err(convert::failed)?;
            return Ok(passed.response(Response::new));
        }
        self.write(request, Write::Patch).await
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Answer<v1::ObjectReply> {
        if let Some(passing) = Passing::of(&self.0, &request, |r| r.resource.as_ref())? {
            let passed = passing.delete(&request.into_inner()).await.map_err(convert::failed)?;
            return Ok(passed.response(Response::new));
        }
        self.write(request, Write::Delete).await
    }

    async fn delete_collection(
        &self,
        request: Request<v1::DeleteCollectionRequest>,
    ) -> Answer<Self::DeleteCollectionStream> {
        if let Some(passing) = Passing::of(&self.0, &request, |r| r.resource.as_ref())? {
            let passed = passing.delete_collection(&request.into_inner()).await.map_err(convert::failed)?;
            return Ok(passed.response(one));
        }
        let started = Instant::now();
        let caller = convert::caller(&request)?;
        let r = request.into_inner();
        let target = convert::target(&self.0, r.resource.as_ref(), &r.namespace, "", "").map_err(convert::failed)?;
        let run = async {
            let call = Call { app: &self.0, caller: &caller };
            let narrowed = Narrowed::of_deletion(&r.label_selector, &r.field_selector);
            let permitted = call.permit_selection::<DeleteCollection>(&target, narrowed).await?;
            let options = convert::delete_options(&r.delete_options, r.options.as_ref())?;
            let selection = Selection::parse(&target.kind, &r.namespace, &r.label_selector, &r.field_selector)?;
            let entered = permitted.enter().await?;
            entered.delete_collection(&ListQuery::all(selection), &options).await
        };
        let listed = run.await;
        observe(&self.0, Verb::Delete, &target, listed.as_ref().map(drop), (started, Some(&caller.notes)));
        let chunks = chunks(target, convert::shape(&self.0, 0), listed.map_err(convert::failed)?);
        Ok(Response::new(Box::pin(futures::stream::iter(chunks.map(Ok)))))
    }

    async fn batch(&self, request: Request<Streaming<v1::BatchRequest>>) -> Answer<Self::BatchStream> {
        let (caller, right) = (convert::caller(&request)?, convert::right(&self.0, &request).await?);
        // As for places among the requests in flight: an administrator gets through a flood.
        let place = match caller.user.in_group(MASTERS) {
            true => None,
            false => Some(self.0.batches.take(&caller.user.name).map_err(convert::failed)?),
        };
        let whose = batch::Whose { caller, right, place };
        Ok(Response::new(Box::pin(batch::run(self.0.clone(), whose, request.into_inner()))))
    }
}
