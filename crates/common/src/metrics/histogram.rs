//! Counts of values by size, which many threads add to without waiting for each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::float;

/// Nanoseconds of a second.
const NANOSECONDS: f64 = 1e9;

/// A histogram with fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds, ascending, without infinity.
    bounds: &'static [f64],
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    /// In parts of the unit.
    sum: AtomicU64,
    /// Parts that make one of the unit in which bounds are.
    parts: f64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Upper bounds, ascending, without infinity.
    pub bounds: &'static [f64],
    /// How many values are in each bucket: at most its bound, more than the one before. The last has no bound.
    pub counts: Vec<u64>,
    /// Of all values, in the unit of the bounds.
    pub sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64], parts: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0), parts }
    }

    /// Of durations; `bounds` are in seconds.
    #[must_use]
    pub fn seconds(bounds: &'static [f64]) -> Self {
        Self::new(bounds, NANOSECONDS)
    }

    /// Of whole numbers, as bytes.
    #[must_use]
    pub fn units(bounds: &'static [f64]) -> Self {
        Self::new(bounds, 1.0)
    }

    fn add(&self, parts: u64, times: u64) {
        let value = float(parts) / self.parts;
        let at = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[at].fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(parts.saturating_mul(times), Ordering::Relaxed);
    }

    /// Adds a duration.
    pub fn observe(&self, took: Duration) {
        self.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), 1);
    }

    /// Adds a whole number.
    pub fn observe_units(&self, units: u64) {
        self.add(units, 1);
    }

    /// Adds a whole number many times.
    pub fn observe_units_times(&self, units: u64, times: u64) {
        self.add(units, times);
    }

    /// What it holds now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Snapshot { bounds: self.bounds, counts, sum: float(self.sum.load(Ordering::Relaxed)) / self.parts }
    }
}

impl Snapshot {
    /// An empty one.
    #[must_use]
    pub fn empty(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// How many values there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds what another one with the same bounds holds.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, more)| *own += more);
        self.sum += other.sum;
    }
}
