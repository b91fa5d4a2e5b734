//! What the judge of images has said lately.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Answers that are remembered.
const LEN_MAX: usize = 1024;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    /// Empty: none was given.
    pub(super) reason: String,
    /// For the audit log.
    pub(super) annotations: BTreeMap<String, String>,
}

struct Kept {
    verdict: Verdict,
    until: Instant,
    /// Counts up with every use.
    used: u64,
}

/// Answers by their question.
#[derive(Default)]
pub(super) struct Answers(Mutex<(u64, BTreeMap<String, Kept>)>);

impl Answers {
    /// The answer that still holds.
    pub(super) fn get(&self, question: &str) -> Option<Verdict> {
        let (uses, kept) = &mut *self.0.lock();
        let found = kept.get_mut(question).filter(|kept| kept.until > Instant::now())?;
        *uses += 1;
        found.used = *uses;
        Some(found.verdict.clone())
    }

    /// Keeps an answer for so long. Where there is no room, what was used longest ago goes.
    pub(super) fn keep(&self, question: String, verdict: Verdict, ttl: Duration) {
        let now = Instant::now();
        let (uses, kept) = &mut *self.0.lock();
        if ttl.is_zero() {
            return;
        }
        if kept.len() >= LEN_MAX && !kept.contains_key(&question) {
            kept.retain(|_, kept| kept.until > now);
        }
        if kept.len() >= LEN_MAX && !kept.contains_key(&question) {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used).map(|(question, _)| question.clone());
            oldest.and_then(|question| kept.remove(&question));
        }
        *uses += 1;
        kept.insert(question, Kept { verdict, until: now + ttl, used: *uses });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(reason: usize) -> Verdict {
        Verdict { allowed: false, reason: reason.to_string(), annotations: BTreeMap::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_hold_for_their_time_and_make_room() {
        let answers = Answers::default();
        answers.keep("q".to_owned(), verdict(1), Duration::from_secs(30));
        answers.keep("never".to_owned(), verdict(2), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!((answers.get("q"), answers.get("never")), (Some(verdict(1)), None));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(answers.get("q"), None);
        for n in 0..LEN_MAX {
            answers.keep(n.to_string(), verdict(n), Duration::from_secs(30));
        }
        assert!(answers.get("0").is_some());
        answers.keep("one more".to_owned(), verdict(0), Duration::from_secs(30));
        assert!(answers.get("0").is_some() && answers.get("1").is_none(), "what is used stays");
        assert_eq!(answers.0.lock().1.len(), LEN_MAX);
    }
}
