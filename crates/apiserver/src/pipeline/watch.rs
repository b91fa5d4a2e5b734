//! WATCH: a stream of events from the cache, with the selection applied, bookmarks and a deadline.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::field;
use gantry_api::kinds::{Kind, KindInfo};
use gantry_api::status::Status;
use gantry_store::cache::{Change, Event, Object, Subscription, WatchError};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::read;
use super::selection::Selection;
use crate::app::App;
use crate::custom::convert;

/// How often a client that asked for bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a bookmark is put off while a crowd is being told.
const BOOKMARK_AGAIN: Duration = Duration::from_millis(50);
/// The last bookmark comes this long before the end.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// What a watch is asked for.
#[derive(Debug)]
pub(crate) struct WatchQuery {
    pub(crate) selection: Selection,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) allow_bookmarks: bool,
    /// Whether a start that is not there yet is waited for as long as the watch lasts, as upstream does it. Otherwise it is refused
    /// after a while, and the client lists again: that repairs it after an old state of etcd was restored.
    pub(crate) awaits_start: bool,
    /// The client's wish; otherwise the server chooses.
    pub(crate) timeout: Option<Duration>,
}

/// One thing to tell the client.
#[derive(Debug, Clone)]
pub(crate) enum Signal {
    /// An object came, changed or went.
    Event { change: Change, object: Arc<Object>, revision: u64 },
    /// Everything up to this revision was told; `initial` ends the initial events.
    Bookmark { revision: u64, initial: bool },
    /// The watch cannot go on.
    Failed(Box<Status>),
}

impl Signal {
    /// The event as the selection sees it.
    pub(crate) fn of(event: &Event, selection: &Selection) -> Option<Self> {
        let (change, object) = event.select(|o| selection.matches(o))?;
        Some(Self::Event { change, object: object.clone(), revision: event.revision })
    }

    /// What a client is told of why the watch ends. Nothing where it was told everything up to here and goes on from there.
    pub(crate) fn of_end(error: WatchError) -> Option<Self> {
        match error {
            // A server that stops ends its watches in good order.
            WatchError::Overflow { .. } | WatchError::Closed => None,
            error => Some(Self::Failed(Box::new(failed(error)))),
        }
    }
}

/// A running watch.
pub(crate) struct Watcher {
    kind: Kind,
    selection: Selection,
    initial: VecDeque<Arc<Object>>,
    /// The bookmark that ends the initial events, if one is owed.
    initial_end: Option<u64>,
    source: Subscription,
    /// What happened up to this revision is not told.
    after: u64,
    schedule: Schedule,
    app: Arc<App>,
    done: bool,
}

/// What a watch does by the clock: bookmarks, and its end.
pub(crate) struct Schedule {
    next_bookmark: Instant,
    ends: Instant,
    /// Until the next bookmark or the end. It and the next one live as long as the watch: to wait anew for each event costs more
    /// than the event.
    wake: Pin<Box<Sleep>>,
    /// Until the server stops.
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// What it is time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A bookmark.
    Bookmark,
    /// The end of the watch.
    End,
}

impl Schedule {
    fn new(app: &Arc<App>, query: &WatchQuery) -> Self {
        let now = Instant::now();
        let ends = now + query.timeout.unwrap_or_else(|| app.watch_lifetime());
        let next_bookmark = bookmark_after(now, ends);
        let first = if query.allow_bookmarks { next_bookmark.min(ends) } else { ends };
        Self {
            next_bookmark,
            ends,
            wake: Box::pin(tokio::time::sleep_until(first)),
            stop: Box::pin(app.shutdown.token().clone().cancelled_owned()),
        }
    }

    /// Waits until it is time for something. Cancel safe.
    pub(crate) async fn due(&mut self) -> Due {
        tokio::select! {
            biased;
            () = &mut self.wake => self.on_time(),
            () = &mut self.stop => Due::End,
        }
    }

    /// There was more to tell than a bookmark: it comes a moment later.
    pub(crate) fn put_off(&mut self) {
        self.wake.as_mut().reset(self.ends.min(Instant::now() + BOOKMARK_AGAIN));
    }

    fn on_time(&mut self) -> Due {
        let now = Instant::now();
        if now >= self.ends {
            return Due::End;
        }
        self.next_bookmark = bookmark_after(now, self.ends);
        self.wake.as_mut().reset(self.next_bookmark.min(self.ends));
        Due::Bookmark
    }
}

fn failed(error: WatchError) -> Status {
    match error {
        WatchError::Expired { .. } | WatchError::Overflow { .. } => Status::expired(error.to_string()),
        WatchError::TooLarge { requested, current } => read::too_large(requested, current),
        WatchError::Closed => Status::unavailable("the API server is shutting down").retry_after(1),
        WatchError::Store { reason } => Status::unavailable(reason).retry_after(1),
    }
}

fn check(query: &WatchQuery) -> Result<(), Status> {
    let path = field::Path::new("resourceVersionMatch");
    let (sends, wanted) = (query.send_initial_events.is_some(), query.resource_version_match.as_str());
    let mut errors = Vec::new();
    let mut refuse = |when: bool, error: field::Error| errors.extend(when.then_some(error));
    let (stated, known) = (!wanted.is_empty(), wanted == "NotOlderThan");
    let needed = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
    refuse(sends && !known, field::Error::forbidden(&path, needed));
    let alone = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
    refuse(stated && !sends, field::Error::forbidden(&path, alone));
    refuse(stated && !known, field::Error::not_listed(&path, wanted, &["NotOlderThan"]));
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)) }
}

/// Starts a watch.
///
/// # Errors
/// 410 when the start is too old, 422 for parameters that do not go together, 504 when the start is not there yet.
pub(crate) async fn watch(app: &Arc<App>, kind: &Kind, query: WatchQuery) -> Result<Watcher, Status> {
    check(&query)?;
    let version = read::version(&query.resource_version)?;
    let send = match query.send_initial_events {
        Some(send) => send,
        None => matches!(version, None | Some(0)),
    };
    if send || matches!(version, None | Some(0)) {
        read::settle(app, version).await?;
    }
    // Not before: meanwhile another view may have taken the place of the kind's, and what came last is in that one alone.
    let view = app.view(kind);
    let mut initial = VecDeque::new();
    let from = if send {
        read::readable(&view, &query.selection)?;
        let snapshot = view.snapshot();
        let listed = snapshot.list(query.selection.namespace(), None);
        let mut found: Vec<Arc<Object>> = listed.filter(|o| query.selection.may_match(o)).cloned().collect();
        if query.selection.is_selective() {
            convert::shown(app, kind, &mut found).await?;
        }
        initial.extend(found.into_iter().filter(|o| query.selection.matches(o)));
        app.metrics.resources.of(kind).begins(initial.len());
        snapshot.revision()
    } else {
        match version {
            Some(revision) if revision > 0 && query.awaits_start => revision.min(app.cache.revision()),
            Some(revision) if revision > 0 => revision,
            // "Now" without initial events.
            _ => view.snapshot().revision(),
        }
    };
    let after = if send { from } else { from.max(version.unwrap_or_default()) };
    let source = view.watch(from, query.selection.scope()).await.map_err(failed)?;
    let schedule = Schedule::new(app, &query);
    let initial_end = (query.send_initial_events == Some(true) && query.allow_bookmarks).then_some(from);
    Ok(Watcher {
        kind: kind.clone(),
        selection: query.selection,
        initial,
        initial_end,
        source,
        after,
        schedule,
        app: app.clone(),
        done: false,
    })
}

/// When the next bookmark is due: in turn, and once more shortly before the end, so that a client goes on from there.
fn bookmark_after(now: Instant, ends: Instant) -> Instant {
    let in_turn = now + BOOKMARK_EVERY;
    let last = ends.checked_sub(BOOKMARK_BEFORE_END).unwrap_or(ends);
    if now < last { in_turn.min(last) } else { in_turn }
}

impl Watcher {
    /// The next thing to tell; `None` ends the watch.
    pub(crate) async fn next(&mut self) -> Option<Signal> {
        let signal = self.next_as_stored().await?;
        let Signal::Event { change, object, revision } = signal else { return Some(signal) };
        let mut shown = [object];
        if let Err(status) = convert::shown(&self.app, &self.kind, &mut shown).await {
            self.done = true;
            return Some(Signal::Failed(Box::new(status)));
        }
        let [object] = shown;
        Some(Signal::Event { change, object, revision })
    }

    async fn next_as_stored(&mut self) -> Option<Signal> {
        loop {
            if self.done {
                return None;
            }
            if let Some(signal) = self.ready() {
                return Some(signal);
            }
            tokio::select! {
                biased;
                event = self.source.next() => match event {
                    Ok(event) => match seen(&self.app, &self.kind, self.selection.is_selective(), event).await {
                        Ok(event) => {
                            if let Some(signal) = self.select(&event) {
                                return Some(signal);
                            }
                        }
                        Err(status) => {
                            self.done = true;
                            return Some(Signal::Failed(Box::new(status)));
                        }
                    },
                    Err(error) => return self.fail(error),
                },
                due = self.schedule.due() => match due {
                    Due::End => self.done = true,
                    Due::Bookmark => {
                        if let Some(signal) = self.bookmark() {
                            return Some(signal);
                        }
                    }
                },
            }
        }
    }

    /// What can be told without waiting.
    pub(crate) fn try_next(&mut self) -> Option<Signal> {
        // A webhook takes its time.
        if self.done || convert::asks(&self.kind) {
            return None;
        }
        if let Some(signal) = self.ready() {
            return Some(signal);
        }
        loop {
            match self.source.try_next() {
                Ok(Some(event)) => {
                    if let Some(signal) = self.select(&event) {
                        return Some(signal);
                    }
                }
                Ok(None) => return None,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// The initial events and their end.
    fn ready(&mut self) -> Option<Signal> {
        if let Some(object) = self.initial.pop_front() {
            let revision = object.rv();
            return Some(Signal::Event { change: Change::Added, object, revision });
        }
        let revision = self.initial_end.take()?;
        Some(Signal::Bookmark { revision, initial: true })
    }

    fn select(&self, event: &Event) -> Option<Signal> {
        if event.revision <= self.after { None } else { Signal::of(event, &self.selection) }
    }

    /// The revision up to which everything was told, if nothing is waiting to be told now.
    pub(crate) fn told(&self) -> Option<u64> {
        let idle = !self.done && self.initial.is_empty() && self.initial_end.is_none();
        self.source.progress().filter(|revision| idle && *revision >= self.after)
    }

    /// What [`Watcher::told`] waits for, if it is a matter of a moment: an event may be told before the cache says that it has come
    /// as far.
    ///
    /// Nothing for kinds whose webhook is asked: [`Watcher::next`] may have taken an event and be waiting for the webhook, and whoever
    /// waits for this gives that up.
    pub(crate) fn settles(&self) -> Option<impl Future<Output = ()> + use<>> {
        let position = self.source.position();
        (position > self.app.cache.revision() && !convert::asks(&self.kind)).then(|| {
            let app = self.app.clone();
            async move { drop(app.cache.wait_for(position).await) }
        })
    }

    /// Where the events come from, and what remains for somebody else to see to.
    pub(crate) fn split(self) -> (Subscription, Selection, Schedule) {
        (self.source, self.selection, self.schedule)
    }

    /// The end.
    fn fail(&mut self, error: WatchError) -> Option<Signal> {
        self.done = true;
        if matches!(error, WatchError::Overflow { .. }) {
            self.app.metrics.resources.of(&self.kind).terminated();
        }
        Signal::of_end(error)
    }

    fn bookmark(&self) -> Option<Signal> {
        let revision = self.source.progress().filter(|revision| *revision >= self.after)?;
        Some(Signal::Bookmark { revision, initial: false })
    }
}

/// The event with its objects as they are selected by, where that takes a webhook.
async fn seen(app: &App, kind: &KindInfo, is_selected: bool, event: Arc<Event>) -> Result<Arc<Event>, Status> {
    if !convert::asks(kind) || !is_selected {
        return Ok(event);
    }
    let mut both = vec![event.object.clone()];
    both.extend(event.previous.clone());
    convert::shown(app, kind, &mut both).await?;
    let mut both = both.into_iter();
    let object = both.next().unwrap_or_else(|| event.object.clone());
    Ok(Arc::new(Event { object, previous: both.next(), ..(*event).clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bookmarks_come_in_turn_and_before_the_end() {
        let start = Instant::now();
        let check = |now: u64, ends: u64, expected: u64| {
            let at = |seconds| start + Duration::from_secs(seconds);
            assert_eq!(bookmark_after(at(now), at(ends)), at(expected), "at {now} of {ends}");
        };
        check(0, 300, 60);
        check(60, 300, 120);
        check(240, 300, 298);
        check(298, 300, 358);
        check(0, 3, 1);
    }
}
