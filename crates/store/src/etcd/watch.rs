//! One etcd watch as a stream of whole revisions.
//!
//! etcd cuts large answers into fragments, and a fragment may end inside a revision: events of the last revision wait
//! here until the next fragment, or the last one, completes it.

use std::time::Duration;

use etcd_client::proto::{PbEvent, PbWatchResponse};
use futures::StreamExt;
use futures::stream;

use super::convert::{failure, key_value, unsigned};
use crate::error::{Error, Result};
use crate::store::{EventKind, StoreEvent, WatchBatch, WatchStream};

const DOING: &str = "watching";

/// Turns answers into batches.
#[derive(Default)]
struct Assembler {
    waiting: Vec<StoreEvent>,
}

impl Assembler {
    /// Takes the events of one answer; gives what is complete.
    fn take(&mut self, events: Vec<PbEvent>, is_fragment: bool) -> Option<WatchBatch> {
        self.waiting.extend(events.into_iter().filter_map(event));
        let last = self.waiting.last()?.kv.mod_revision;
        let complete = match is_fragment {
            true => self.waiting.partition_point(|event| event.kv.mod_revision < last),
            false => self.waiting.len(),
        };
        let rest = self.waiting.split_off(complete);
        let events = std::mem::replace(&mut self.waiting, rest);
        Some(WatchBatch { revision: events.last()?.kv.mod_revision, events })
    }
}

fn event(event: PbEvent) -> Option<StoreEvent> {
    let kind = if event.r#type == 0 { EventKind::Put } else { EventKind::Delete };
    Some(StoreEvent { kind, kv: key_value(event.kv?), prev: event.prev_kv.map(key_value) })
}

/// Waits (at most `timeout`) until etcd has confirmed the watch, then streams.
pub(super) async fn run(mut watch: etcd_client::WatchStream, from: u64, timeout: Duration) -> Result<WatchStream> {
    let first = tokio::time::timeout(timeout, watch.message())
        .await
        .map_err(|_| Error::Timeout { doing: DOING, after: timeout })?
        .map_err(|error| failure(error, DOING))?
        .ok_or(Error::WatchEnded)?
        .0;
    check(&first, from)?;
    let state = (watch, Assembler::default(), false);
    let batches = stream::unfold(state, move |(mut watch, mut assembler, ended)| async move {
        if ended {
            return None;
        }
        let next = next(&mut watch, &mut assembler, from).await;
        let ended = next.is_err();
        Some((next, (watch, assembler, ended)))
    });
    Ok(batches.boxed())
}

async fn next(watch: &mut etcd_client::WatchStream, assembler: &mut Assembler, from: u64) -> Result<WatchBatch> {
    loop {
        let answer = watch.message().await.map_err(|error| failure(error, DOING))?.ok_or(Error::WatchEnded)?.0;
        check(&answer, from)?;
        if let Some(batch) = assembler.take(answer.events, answer.fragment) {
            return Ok(batch);
        }
    }
}

fn check(answer: &PbWatchResponse, from: u64) -> Result<()> {
    if answer.compact_revision > 0 {
        return Err(Error::Compacted { requested: from, oldest: unsigned(answer.compact_revision) });
    }
    if answer.canceled {
        return Err(Error::Unavailable { doing: DOING, source: answer.cancel_reason.clone().into() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbKeyValue;

    use super::*;

    fn put(revision: i64) -> PbEvent {
        PbEvent { r#type: 0, kv: Some(PbKeyValue { mod_revision: revision, ..PbKeyValue::default() }), prev_kv: None }
    }

    fn check(assembler: &mut Assembler, revisions: &[i64], is_fragment: bool, expected: &[u64]) {
        let batch = assembler.take(revisions.iter().map(|revision| put(*revision)).collect(), is_fragment);
        let given: Vec<u64> = batch.iter().flat_map(|batch| &batch.events).map(|event| event.kv.mod_revision).collect();
        assert_eq!(given, expected, "{revisions:?}");
        assert!(batch.is_none_or(|batch| Some(&batch.revision) == expected.last()));
    }

    #[test]
    fn fragments_never_cut_a_revision() {
        let mut assembler = Assembler::default();
        check(&mut assembler, &[1, 2, 2], true, &[1]);
        check(&mut assembler, &[2, 2], true, &[]);
        check(&mut assembler, &[2, 3], true, &[2, 2, 2, 2, 2]);
        check(&mut assembler, &[3], false, &[3, 3]);
        check(&mut assembler, &[], false, &[]);
        check(&mut assembler, &[4], false, &[4]);
    }
}
