//! What webhooks have said lately.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

struct Kept<A> {
    answer: A,
    until: Instant,
    /// Counts up with every use.
    used: u64,
}

/// Answers by their question.
pub(crate) struct Answers<A> {
    /// How many are remembered.
    len_max: usize,
    kept: Mutex<(u64, BTreeMap<String, Kept<A>>)>,
}

impl<A: Clone> Answers<A> {
    /// None yet, and never more than so many.
    pub(crate) fn new(len_max: usize) -> Self {
        Self { len_max, kept: Mutex::default() }
    }

    /// The answer that still holds.
    pub(crate) fn get(&self, question: &str) -> Option<A> {
        let (uses, kept) = &mut *self.kept.lock();
        let found = kept.get_mut(question).filter(|kept| kept.until > Instant::now())?;
        *uses += 1;
        found.used = *uses;
        Some(found.answer.clone())
    }

    /// Keeps an answer for so long. Where there is no room, what was used longest ago goes.
    pub(crate) fn keep(&self, question: String, answer: A, ttl: Duration) {
        let now = Instant::now();
        let (uses, kept) = &mut *self.kept.lock();
        if ttl.is_zero() {
            return;
        }
        if kept.len() >= self.len_max && !kept.contains_key(&question) {
            kept.retain(|_, kept| kept.until > now);
        }
        if kept.len() >= self.len_max && !kept.contains_key(&question) {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used).map(|(question, _)| question.clone());
            oldest.and_then(|question| kept.remove(&question));
        }
        *uses += 1;
        kept.insert(question, Kept { answer, until: now + ttl, used: *uses });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN_MAX: usize = 16;

    #[tokio::test(start_paused = true)]
    async fn answers_hold_for_their_time_and_make_room() {
        let answers = Answers::new(LEN_MAX);
        answers.keep("q".to_owned(), 1, Duration::from_secs(30));
        answers.keep("never".to_owned(), 2, Duration::ZERO);
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!((answers.get("q"), answers.get("never")), (Some(1), None));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(answers.get("q"), None);
        for n in 0..LEN_MAX {
            answers.keep(n.to_string(), n, Duration::from_secs(30));
        }
        assert!(answers.get("0").is_some());
        answers.keep("one more".to_owned(), 0, Duration::from_secs(30));
        assert!(answers.get("0").is_some() && answers.get("1").is_none(), "what is used stays");
        assert_eq!(answers.kept.lock().1.len(), LEN_MAX);
    }
}
