//! Exponential back-off per key.

use std::{collections::BTreeMap, time::Duration};

/// Remembers how often each key failed; a key is dropped when it succeeds.
#[derive(Debug)]
pub(super) struct Limiter<K> {
    min: Duration,
    max: Duration,
    failures: BTreeMap<K, u32>,
}

impl<K: Ord + Clone> Limiter<K> {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: BTreeMap::new() }
    }

    /// The delay before the next attempt; counts a failure.
    pub(super) fn next(&mut self, key: &K) -> Duration {
        let count = self.failures.entry(key.clone()).or_insert(0);
        let factor = 2u32.checked_pow(*count).unwrap_or(u32::MAX);
        *count = count.saturating_add(1);
        self.min.saturating_mul(factor).min(self.max)
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }

    pub(super) fn failures(&self, key: &K) -> u32 {
        self.failures.get(key).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_per_key_up_to_the_maximum() {
        let mut limiter = Limiter::new(Duration::from_millis(5), Duration::from_secs(1000));
        let delays: Vec<_> = (0..20).map(|_| limiter.next(&"a").as_millis()).collect();
        assert_eq!(&delays[..4], &[5, 10, 20, 40]);
        assert_eq!(delays[17], 655_360);
        assert_eq!(delays[18], 1_000_000);
        assert_eq!(limiter.next(&"b").as_millis(), 5);
        assert_eq!(limiter.failures(&"a"), 20);
        limiter.forget(&"a");
        assert_eq!(limiter.next(&"a").as_millis(), 5);
    }

    #[test]
    fn a_huge_count_does_not_overflow() {
        let mut limiter = Limiter::new(Duration::from_millis(5), Duration::from_secs(1000));
        for _ in 0..100 {
            limiter.next(&1);
        }
        assert_eq!(limiter.next(&1), Duration::from_secs(1000));
    }
}
