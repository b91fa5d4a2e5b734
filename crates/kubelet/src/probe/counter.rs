//! When a row of answers changes a probe's verdict; pure.

/// What an answer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Unchanged,
    /// The probe now succeeds.
    Success,
    /// The probe now fails.
    Failure,
}

/// Counts equal answers in a row.
#[derive(Debug)]
pub(super) struct Counter {
    successes: u64,
    failures: u64,
    verdict: Option<bool>,
    last: bool,
    row: u64,
}

impl Counter {
    /// `before` is the verdict so far, if there was one.
    pub(super) fn new(successes: u64, failures: u64, before: Option<bool>) -> Self {
        Self { successes, failures, verdict: before, last: false, row: 0 }
    }

    pub(super) fn observe(&mut self, success: bool) -> Verdict {
        self.row = if success == self.last { self.row + 1 } else { 1 };
        self.last = success;
        let needed = if success { self.successes } else { self.failures };
        if self.row < needed || self.verdict == Some(success) {
            return Verdict::Unchanged;
        }
        self.verdict = Some(success);
        if success { Verdict::Success } else { Verdict::Failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let check = |successes, failures, before, answers: &str, expected: &str| {
            let mut counter = Counter::new(successes, failures, before);
            let found: String = answers
                .chars()
                .map(|c| match counter.observe(c == '+') {
                    Verdict::Unchanged => '.',
                    Verdict::Success => 'S',
                    Verdict::Failure => 'F',
                })
                .collect();
            assert_eq!(found, expected, "{answers} with {successes}/{failures}");
        };
        check(1, 3, None, "+", "S");
        check(1, 3, None, "--+---", "..S..F");
        check(2, 1, None, "+-++", ".F.S");
        check(1, 3, Some(true), "+--+---", "......F");
        check(1, 1, Some(true), "-+", "FS");
    }
}
