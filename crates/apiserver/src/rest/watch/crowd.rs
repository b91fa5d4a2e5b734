//! Watchers that get the same bytes: one subscription for all of them, written once, sent by one task to each connection in turn.
//!
//! A watch starts by itself: its initial events, its replay. Once it has nothing more to tell, and many others ask for the same,
//! it takes a seat in their crowd and gives up its own subscription. What the crowd's subscription then yields goes to every
//! seat; a seat that was told more already (a subscription of one's own may be ahead) gets the rest of it. Nobody is told
//! anything twice, and nothing is left out: a watch is seated only if it was told everything that the crowd has taken so far.
//!
//! Locks are taken in this order: the house, a seat, a hall.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use gantry_common::task;
use gantry_store::cache::{Event, SMALL_CROWD, Subscription, WatchError};
use parking_lot::Mutex;

use super::batch::{Batch, Store};
use super::form::Form;
use super::seat::{Seat, Step};
use crate::pipeline::selection::Selection;
use crate::pipeline::watch::{Schedule, Signal, Watcher};
use crate::server::door::Door;
use crate::view::{Include, View};

/// Events that are there go out together, up to about this size: the further a crowd is behind, the less it costs to tell it.
const BATCH_BYTES: usize = 1 << 20;
/// After so many connections, or so many bytes, in a row others have their turn.
const SEATS_IN_A_ROW: usize = 64;
const BYTES_IN_A_ROW: usize = 256 << 10;

/// What watches have to have in common to get the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Alike {
    /// The kind as it is served: a definition that changes makes another one.
    pub(super) kind: usize,
    pub(super) namespace: String,
    pub(super) labels: String,
    pub(super) fields: String,
    pub(super) view: View,
    pub(super) include: Include,
    pub(super) protobuf: bool,
}

/// The crowds of a server, each from its first watcher to its last.
#[derive(Default)]
pub(crate) struct Crowds {
    crowds: Mutex<HashMap<Alike, Arc<Crowd>>>,
    /// What is held for slow clients of all crowds.
    store: Store,
}

#[derive(Default)]
struct Crowd {
    /// All who ask for the same, seated or not.
    watchers: AtomicUsize,
    hall: Mutex<Hall>,
}

/// Where a crowd sits while there is one.
#[derive(Default)]
struct Hall {
    /// Counts the crowds that sat here.
    number: u64,
    /// None while nobody sits here.
    source: Option<Subscription>,
    /// The subscription's end, for after the events before it.
    failed: Option<WatchError>,
    /// Everything up to this revision was taken from the subscription.
    taken: u64,
    /// Some seats may not have been told yet of what was taken.
    telling: bool,
    /// Shared with the task that goes through them; the copy that is made when they change meanwhile is rare.
    seats: Arc<Vec<Arc<Seat>>>,
    leader: Option<Waker>,
}

impl Crowds {
    /// Counts a watch in.
    pub(super) fn enter(self: &Arc<Self>, alike: Alike) -> Place {
        let mut crowds = self.crowds.lock();
        let crowd = crowds.entry(alike.clone()).or_default().clone();
        crowd.watchers.fetch_add(1, Ordering::Relaxed);
        Place { crowds: self.clone(), alike, crowd }
    }

    /// How many watches are told in crowds.
    pub(crate) fn seats(&self) -> usize {
        self.crowds.lock().values().map(|crowd| crowd.hall.lock().seats.len()).sum()
    }
}

/// A watch that may take a seat, as long as it lasts.
pub(super) struct Place {
    crowds: Arc<Crowds>,
    alike: Alike,
    crowd: Arc<Crowd>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut crowds = self.crowds.crowds.lock();
        if self.crowd.watchers.fetch_sub(1, Ordering::Relaxed) == 1 {
            crowds.remove(&self.alike);
        }
    }
}

impl Place {
    /// Whether so many ask for the same that they are told together.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowd.watchers.load(Ordering::Relaxed) > SMALL_CROWD
    }

    /// Seats a watch, or gives it back: it has more to tell by itself.
    pub(super) fn seat(
        &self,
        watcher: Box<Watcher>,
        form: &Form,
        door: Option<&Arc<dyn Door>>,
    ) -> Result<(Seated, Schedule), Box<Watcher>> {
        let mut hall = self.crowd.hall.lock();
        let told = watcher.told().filter(|told| hall.source.is_none() || *told >= hall.taken);
        let Some(told) = told else { return Err(watcher) };
        let (source, selection, schedule) = watcher.split();
        let seat = Arc::new(Seat::new(told, door.cloned()));
        let founded = hall.source.is_none();
        let unneeded = if founded {
            // Its own events are told already: those that come now are everybody's.
            let number = hall.number + 1;
            *hall = Hall { number, source: Some(source), taken: told, ..Hall::default() };
            None
        } else {
            Some(source)
        };
        hall.change(|seats| seats.push(seat.clone()));
        let number = hall.number;
        drop(hall);
        drop(unneeded);
        if founded {
            let (crowd, store) = (self.crowd.clone(), self.crowds.store.clone());
            let leader = Leader { crowd, number, selection, form: form.clone(), store };
            drop(task::spawn("watch crowd", leader.lead()));
        }
        Ok((Seated { crowd: self.crowd.clone(), number, seat }, schedule))
    }
}

/// A watch in its seat. Dropping it leaves.
pub(super) struct Seated {
    crowd: Arc<Crowd>,
    number: u64,
    seat: Arc<Seat>,
}

impl Seated {
    /// What there is to say next. Cancel safe.
    pub(super) async fn next(&self) -> Step {
        std::future::poll_fn(|cx| self.seat.poll(cx)).await
    }

    /// The revision of a bookmark that is sent next, unless there is more to say.
    pub(super) fn bookmark(&self) -> Option<u64> {
        self.seat.bookmark(|| {
            let hall = self.crowd.hall.lock();
            // Another crowd may sit here already.
            if hall.number == self.number { hall.told() } else { None }
        })
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.seat.leave();
        let mut hall = self.crowd.hall.lock();
        if hall.number != self.number {
            return;
        }
        hall.change(|seats| seats.retain(|seat| !Arc::ptr_eq(seat, &self.seat)));
        if hall.seats.is_empty() {
            let (source, leader) = (hall.source.take(), hall.leader.take());
            drop(hall);
            drop(source);
            leader.inspect(Waker::wake_by_ref);
        }
    }
}

impl Hall {
    fn change(&mut self, how: impl FnOnce(&mut Vec<Arc<Seat>>)) {
        how(Arc::make_mut(&mut self.seats));
        if let Some(source) = &self.source {
            source.speak_for(self.seats.len());
        }
    }

    /// The revision up to which every seat was told everything; None while somebody is being told.
    fn told(&self) -> Option<u64> {
        self.source.as_ref().filter(|_| !self.telling)?.progress()
    }

    /// Takes the events that are there. None = nobody sits here any more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<Arc<Event>>, WatchError>>> {
        let mut events = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES && self.failed.is_none() {
            let Some(source) = &mut self.source else { return Poll::Ready(None) };
            match Pin::new(source).poll_next(cx) {
                Poll::Ready(Some(Ok(event))) => {
                    bytes += event.object.size_bytes();
                    events.push(event);
                }
                Poll::Ready(Some(Err(error))) => self.failed = Some(error),
                Poll::Ready(None) => self.failed = Some(WatchError::Closed),
                Poll::Pending => break,
            }
        }
        if let Some(last) = events.last() {
            self.telling = true;
            self.taken = self.taken.max(last.revision);
            return Poll::Ready(Some(Ok(events)));
        }
        match self.failed.clone() {
            Some(error) => Poll::Ready(Some(Err(error))),
            None => {
                self.leader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The task that tells a crowd.
struct Leader {
    crowd: Arc<Crowd>,
    number: u64,
    selection: Selection,
    form: Form,
    store: Store,
}

impl Leader {
    async fn lead(self) {
        while self.round().await.is_continue() {}
    }

    async fn round(&self) -> ControlFlow<()> {
        let taken = std::future::poll_fn(|cx| {
            let mut hall = self.crowd.hall.lock();
            if hall.number != self.number {
                return Poll::Ready(None);
            }
            let seats = hall.seats.clone();
            hall.poll(cx).map(|taken| Some((taken?, seats)))
        });
        let Some((taken, seats)) = taken.await else { return ControlFlow::Break(()) };
        let events = match taken {
            Ok(events) => events,
            Err(error) => {
                self.dissolve(&error);
                return ControlFlow::Break(());
            }
        };
        let signals = events.iter().filter_map(|event| Signal::of(event, &self.selection)).collect();
        if let Some(batch) = Batch::new(signals, &self.form, &self.store) {
            self.tell(&Arc::new(batch), &seats).await;
        }
        let mut hall = self.crowd.hall.lock();
        if hall.number == self.number {
            hall.telling = false;
        }
        ControlFlow::Continue(())
    }

    async fn tell(&self, batch: &Arc<Batch>, seats: &[Arc<Seat>]) {
        // Events of one batch are mostly one, or alike.
        self.form.figures.told(batch.chunk().len() / batch.len(), batch.len() * seats.len());
        let row = (BYTES_IN_A_ROW / batch.chunk().len()).clamp(1, SEATS_IN_A_ROW);
        for row in seats.chunks(row) {
            for seat in row {
                seat.tell(batch, |told| batch.after(told, &self.form));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends the watches of all who sit here.
    fn dissolve(&self, error: &WatchError) {
        let (source, seats) = {
            let mut hall = self.crowd.hall.lock();
            if hall.number != self.number {
                return;
            }
            (hall.source.take(), std::mem::take(&mut hall.seats))
        };
        drop(source);
        for seat in seats.iter() {
            seat.end(error);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // Nobody is to wait for a leader that is gone, whatever took him.
        self.dissolve(&WatchError::Closed);
    }
}
