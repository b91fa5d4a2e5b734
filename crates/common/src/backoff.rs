//! Exponential back-off with jitter.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// Doubles from `min` to `max`; each delay is drawn from the upper half of its step, so that clients spread out.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    step: Duration,
    rng: SmallRng,
}

impl Backoff {
    /// Starts at `min`, ends at `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, step: min, rng: SmallRng::from_os_rng() }
    }

    /// As [`Backoff::new`], repeatable.
    #[must_use]
    pub fn seeded(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, step: min, rng: SmallRng::seed_from_u64(seed) }
    }

    /// The next delay.
    #[expect(clippy::should_implement_trait, reason = "a back-off never ends, so it is no iterator")]
    pub fn next(&mut self) -> Duration {
        let step = self.step;
        self.step = (step * 2).min(self.max);
        step.mul_f64(self.rng.random_range(0.5..=1.0))
    }

    /// Starts again at `min`: something worked.
    pub fn reset(&mut self) {
        self.step = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_maximum_and_starts_again() {
        let mut b = Backoff::seeded(Duration::from_millis(100), Duration::from_millis(350), 1);
        let steps = [100u64, 200, 350, 350];
        for step in steps {
            let d = b.next().as_millis() as u64;
            assert!(d >= step / 2 && d <= step, "{d} for step {step}");
        }
        b.reset();
        assert!(b.next() <= Duration::from_millis(100));
    }
}
