//! The delay between restarts: 10 s, doubling to 300 s, forgotten after ten minutes of peace. As upstream.

use jiff::{SignedDuration, Timestamp};

/// The first delay.
pub(crate) const INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest delay.
pub(crate) const MAXIMUM: SignedDuration = SignedDuration::from_secs(300);
/// A container that ran this long since its last back-off starts over.
const FORGET_AFTER: SignedDuration = SignedDuration::from_secs(600);

/// The back-off of one container or image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    delay: SignedDuration,
    updated: Timestamp,
}

impl Backoff {
    /// The entry after another attempt at `now`.
    pub(crate) fn next(before: Option<Self>, now: Timestamp) -> Self {
        match before {
            Some(entry) if !entry.expired(now) => Self { delay: (entry.delay * 2).min(MAXIMUM), updated: now },
            _ => Self { delay: INITIAL, updated: now },
        }
    }

    fn expired(self, at: Timestamp) -> bool {
        at.duration_since(self.updated) > FORGET_AFTER
    }

    /// Until when something that happened at `event` must wait.
    pub(crate) fn until(self, event: Timestamp) -> Option<Timestamp> {
        if self.expired(event) { None } else { event.checked_add(self.delay).ok() }
    }

    /// The present delay.
    pub(crate) fn delay(self) -> SignedDuration {
        self.delay
    }
}

/// A delay as Go prints it: `10s`, `1m20s`, `5m0s`.
pub(crate) fn human(delay: SignedDuration) -> String {
    let seconds = delay.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn doubles_to_five_minutes_and_is_forgotten() {
        let mut entry = None;
        let mut now = 1000;
        let mut seen = Vec::new();
        for _ in 0..7 {
            let next = Backoff::next(entry, at(now));
            seen.push(next.delay().as_secs());
            now += next.delay().as_secs() + 1;
            entry = Some(next);
        }
        assert_eq!(seen, [10, 20, 40, 80, 160, 300, 300]);
        let entry = entry.unwrap();
        assert_eq!(entry.until(entry.updated), entry.updated.checked_add(MAXIMUM).ok());
        assert_eq!(entry.until(entry.updated + SignedDuration::from_secs(601)), None);
        assert_eq!(Backoff::next(Some(entry), entry.updated + SignedDuration::from_secs(601)).delay(), INITIAL);
    }

    #[test]
    fn prints_as_go_does() {
        for (seconds, expected) in [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (160, "2m40s")] {
            assert_eq!(human(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
