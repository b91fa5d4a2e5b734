//! How many there are of something at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many there are now, and how many there were at most in the last second.
#[derive(Debug, Default)]
pub(crate) struct Peak {
    now: AtomicU64,
    /// The second, and the highest number in it, in the lower half.
    highest: AtomicU64,
}

/// What a [`Peak`] has one more of while this lives.
#[derive(Debug)]
pub(crate) struct Held(Arc<Peak>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peak {
    /// One more. `second`: of any clock that goes on.
    pub(crate) fn hold(self: &Arc<Self>, second: u64) -> Held {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        let mark = (second << 32) | now.min(u64::from(u32::MAX));
        if self.highest.load(Ordering::Relaxed) < mark {
            self.highest.fetch_max(mark, Ordering::Relaxed);
        }
        Held(self.clone())
    }

    /// How many there are now.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// The highest number of this second or the one before, or the present one.
    pub(crate) fn highest(&self, second: u64) -> u64 {
        let mark = self.highest.load(Ordering::Relaxed);
        let recent = if mark >> 32 >= second.saturating_sub(1) { mark & u64::from(u32::MAX) } else { 0 };
        recent.max(self.now.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_of_the_last_second() {
        let peak = Arc::new(Peak::default());
        let held: Vec<Held> = (0..3).map(|_| peak.hold(7)).collect();
        drop(held);
        let one = peak.hold(8);
        assert_eq!((peak.highest(7), peak.highest(8), peak.highest(10)), (1, 1, 1));
        drop(one);
        assert_eq!((peak.highest(9), peak.highest(10)), (1, 0));
    }
}
