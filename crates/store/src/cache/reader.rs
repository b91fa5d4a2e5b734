//! Shared questions for the store's revision.
//!
//! An answer counts for a caller only if the question was put to the store after the caller asked. So while one
//! question is under way new callers gather, and the next question serves all of them: the store sees one small read
//! per round trip, however many consistent reads there are.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Error;
use super::core::{Core, Question};

/// Answers until all handles are gone.
pub(crate) async fn answer(core: Arc<Core>, mut questions: mpsc::Receiver<Question>) {
    let mut asking = Vec::new();
    while questions.recv_many(&mut asking, usize::MAX >> 1).await > 0 {
        core.counters.count_revision_read();
        // Read first: the cache may pass the answer while the answer travels.
        let seen = core.revision();
        let revision = core.store.revision().await.map_err(Error::from);
        if revision.as_ref().is_ok_and(|revision| *revision < seen) {
            core.doubt.notify_one();
        }
        for question in asking.drain(..) {
            // A caller that has gone away needs no answer.
            drop(question.send(revision.clone()));
        }
    }
}
