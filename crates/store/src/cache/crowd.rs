//! Watchers that hear the same events, and when they are told.
//!
//! A write to a connection costs the kernel and TLS some microseconds, whatever is in it: where a thousand watch the same
//! objects, an event is a thousand writes. The larger the crowd, the longer it is left alone after it was told something;
//! what comes meanwhile is told together, and goes out in one write each. What comes after a quiet time is told at once,
//! and a few watchers never wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::event::Event;
use super::hub::{Gone, Subscriber};

/// So many watchers of the same events, or fewer, are no crowd: they are always told at once.
pub const SMALL: usize = 32;
/// What one more watcher adds to the pause: more than ten times what telling it costs, so that a crowd takes less than a tenth of
/// a processor.
const PAUSE_PER_WATCHER: Duration = Duration::from_micros(100);
/// No event waits for longer.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// How long `watchers` of the same events are left alone after they were told something.
fn pause(watchers: usize) -> Duration {
    match u32::try_from(watchers) {
        _ if watchers <= SMALL => Duration::ZERO,
        Ok(watchers) => PAUSE_MAX.min(PAUSE_PER_WATCHER * watchers),
        Err(_) => PAUSE_MAX,
    }
}

/// The watchers of everything, or of one namespace.
#[derive(Default)]
pub(super) struct Crowd {
    pub(super) members: Vec<Arc<Subscriber>>,
    /// Events that the members wait for, oldest first.
    waiting: Vec<Arc<Event>>,
    /// Until then they are left alone.
    turn: Option<Instant>,
}

impl Crowd {
    /// Tells the members of an event, or keeps it until it is their turn; then says when that is, unless it has said so before.
    pub(super) fn tell(&mut self, event: &Arc<Event>, gone: &mut Gone) -> Option<Instant> {
        if self.waiting.is_empty() && self.is_small() {
            self.offer(std::slice::from_ref(event), gone);
            return None;
        }
        let now = Instant::now();
        let turn = self.turn.filter(|turn| *turn > now);
        if turn.is_none() && self.waiting.is_empty() {
            self.offer(std::slice::from_ref(event), gone);
            self.turn = Some(now + pause(self.watchers()));
            return None;
        }
        self.waiting.push(event.clone());
        (self.waiting.len() == 1).then(|| turn.unwrap_or(now))
    }

    /// Tells the members what they wait for.
    pub(super) fn tell_waiting(&mut self, gone: &mut Gone) {
        if self.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.offer(&waiting, gone);
        self.turn = Some(Instant::now() + pause(self.watchers()));
    }

    /// Whether its watchers are no crowd. Many members are one without counting whom each speaks for: this is asked for each event.
    fn is_small(&self) -> bool {
        self.members.len() <= SMALL && self.watchers() <= SMALL
    }

    /// How many watchers hear what the members are told.
    fn watchers(&self) -> usize {
        self.members.iter().map(|member| member.watchers()).sum()
    }

    /// Whether it is the members' turn to be told what they wait for.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && self.turn.is_none_or(|turn| turn <= now)
    }

    /// The first revision that the members wait for.
    pub(super) fn first_waiting(&self) -> Option<u64> {
        self.waiting.first().map(|event| event.revision)
    }

    fn offer(&self, events: &[Arc<Event>], gone: &mut Gone) {
        for member in &self.members {
            if !events.iter().all(|event| member.offer(event.clone())) {
                gone.push((member.id, member.scope.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_the_crowd() {
        let check = |watchers: usize, micros: u64| {
            assert_eq!(pause(watchers), Duration::from_micros(micros), "{watchers} watchers");
        };
        check(0, 0);
        check(32, 0);
        check(33, 3_300);
        check(500, 50_000);
        check(1_000, 100_000);
        check(100_000, 100_000);
        check(usize::MAX, 100_000);
    }
}
