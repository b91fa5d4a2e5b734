//! The end of a definition: its objects go first.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_api::custom;
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_common::backoff::Backoff;
use gantry_store::{KeyValue, Range};
use tokio::time::Instant;
use tracing::warn;

use super::status::{condition, set_condition};
use crate::app::App;
use crate::pipeline::current::store_failed;
use crate::pipeline::delete;
use crate::pipeline::options::DeleteOptions;
use crate::registry::definition::FINALIZER;
use crate::request::{Caller, Target};

/// Objects asked for at a time.
const PAGE: usize = 500;
/// Between rounds over the objects: as long as none of them changes, longer and longer.
const ROUND_MIN: Duration = Duration::from_millis(500);
const ROUND_MAX: Duration = Duration::from_secs(5);

const IN_PROGRESS: (&str, &str, &str) =
    ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress");
const DONE: (&str, &str, &str) = ("False", "InstanceDeletionCompleted", "removed all instances");
const NEVER: (&str, &str, &str) = ("False", "NeverEstablished", "resource was never established");

/// Whether the definition waits for its objects to go.
pub(super) fn concerns(definition: &Value) -> bool {
    value::str_at(definition, "metadata.deletionTimestamp").is_some()
        && value::list_at(definition, "metadata.finalizers").iter().any(|f| f == FINALIZER)
}

/// How far the ends of definitions have come, by their names.
#[derive(Default)]
pub(super) struct Endings(BTreeMap<String, Ending>);

/// A definition whose objects are asked to go: page after page, round after round.
struct Ending {
    /// The last key of the page before; none: the next page is the first of a round.
    after: Option<String>,
    /// What this round came upon so far, and what the one before did in all.
    seen: Seen,
    seen_before: Option<Seen>,
    backoff: Backoff,
    /// When the next page is due.
    due: Instant,
}

/// How many objects there were, and the sum of their revisions: where both are the same, no object has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    keys: usize,
    revisions: u64,
}

impl Default for Ending {
    fn default() -> Self {
        let backoff = Backoff::new(ROUND_MIN, ROUND_MAX);
        Self { after: None, seen: Seen::default(), seen_before: None, backoff, due: Instant::now() }
    }
}

impl Endings {
    /// Forgets those of which nothing is left to do.
    pub(super) fn retain(&mut self, unsettled: &[String]) {
        self.0.retain(|name, _| unsettled.contains(name));
    }
}

impl Ending {
    /// Takes note of a page; how long to wait before the next one. Objects that do not go must not keep those behind them from
    /// being asked.
    fn turn(&mut self, page: &[KeyValue], more: bool) -> Duration {
        self.seen.keys += page.len();
        self.seen.revisions = page.iter().fold(self.seen.revisions, |sum, kv| sum.wrapping_add(kv.mod_revision));
        self.after = page.last().filter(|_| more).map(|kv| kv.key.clone());
        if self.after.is_some() {
            return Duration::ZERO;
        }
        let seen = std::mem::take(&mut self.seen);
        if self.seen_before.replace(seen) != Some(seen) {
            self.backoff.reset();
        }
        self.backoff.next()
    }
}

/// Asks the next objects to go; lets the definition go once there are none. How long to wait before there is more to do; none:
/// nothing is left.
pub(super) async fn run(app: &App, definition: &Value, endings: &mut Endings) -> Result<Option<Duration>, Status> {
    if !super::is_served(definition) {
        finish(app, definition, NEVER).await?;
        return Ok(None);
    }
    // One that cannot be made may have objects all the same: they would stay without anybody who knows of them.
    let served = custom::definition(definition).ok_or_else(|| {
        Status::unavailable(
            "its objects cannot be deleted: the names of custom kinds are more than are kept, restart the API server",
        )
    })?;
    if served.is_over_built_in() {
        finish(app, definition, NEVER).await?;
        return Ok(None);
    }
    let in_progress =
        condition(definition, "Terminating").and_then(|c| value::str_at(c, "reason")) == Some(IN_PROGRESS.1);
    if !in_progress {
        let now = app.clock.now();
        super::write(app, definition, &|state: &Value| {
            let mut state = state.clone();
            set_condition(&mut state, "Terminating", IN_PROGRESS, now);
            state
        })
        .await?;
    }
    let Some(kind) = served.storage().or_else(|| served.served().next()) else { return Ok(None) };
    let name = value::str_at(definition, "metadata.name").unwrap_or_default();
    let ending = endings.0.entry(name.to_owned()).or_default();
    let early = ending.due.saturating_duration_since(Instant::now());
    if !early.is_zero() {
        return Ok(Some(early));
    }
    let mut range = Range::prefix(served.storage_prefix.clone()).limit(PAGE).keys_only();
    range.after.clone_from(&ending.after);
    let found = app.store.range(range).await.map_err(store_failed)?;
    if found.kvs.is_empty() && ending.after.is_none() {
        finish(app, definition, DONE).await?;
        return Ok(None);
    }
    let refused = ask_to_go(app, kind, &served.storage_prefix, &found.kvs).await;
    if let Some((key, status)) = refused.first() {
        let (objects, why) = (refused.len(), &status.message);
        warn!(definition = name, objects, first = *key, why, "objects of a definition that goes cannot be deleted");
    }
    let wait = ending.turn(&found.kvs, found.more);
    ending.due = Instant::now() + wait;
    Ok(Some(wait))
}

/// Asks objects to go; those that were not taken, and why.
async fn ask_to_go<'k>(app: &App, kind: &KindInfo, prefix: &str, objects: &'k [KeyValue]) -> Vec<(&'k str, Status)> {
    let mut refused = Vec::new();
    for kv in objects {
        let path = kv.key.strip_prefix(prefix).unwrap_or_default();
        let (namespace, name) = path.split_once('/').unwrap_or(("", path));
        let target = Target::new(kind, namespace, name);
        match delete::delete(app, &Caller::apiserver(), &target, &DeleteOptions::default()).await {
            Err(status) if !status.is("NotFound") => refused.push((kv.key.as_str(), status)),
            _ => {}
        }
    }
    refused
}

/// Takes the finalizer off; with it the definition goes.
async fn finish(app: &App, definition: &Value, says: (&str, &str, &str)) -> Result<(), Status> {
    let now = app.clock.now();
    super::write(app, definition, &|state: &Value| {
        let mut state = state.clone();
        set_condition(&mut state, "Terminating", says, now);
        let mut finalizers = value::list_at(&state, "metadata.finalizers").to_vec();
        finalizers.retain(|f| f != FINALIZER);
        if finalizers.is_empty() {
            value::remove(&mut state, "metadata.finalizers");
        } else {
            value::set(&mut state, "metadata.finalizers", finalizers);
        }
        state
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(revisions: &[u64]) -> Vec<KeyValue> {
        let kv = |revision: &u64| KeyValue {
            key: format!("/k/{revision}"),
            value: bytes::Bytes::new(),
            create_revision: 1,
            mod_revision: *revision,
            version: 1,
            lease: 0,
            form: gantry_store::Form::Current,
        };
        revisions.iter().map(kv).collect()
    }

    #[tokio::test]
    async fn rounds_go_over_all_pages_and_come_seldom_while_nothing_changes() {
        let mut ending = Ending::default();
        let mut round = |first: &[u64], rest: &[u64]| {
            assert_eq!(ending.turn(&page(first), true), Duration::ZERO);
            assert_eq!(ending.after, first.last().map(|last| format!("/k/{last}")));
            let wait = ending.turn(&page(rest), false);
            assert_eq!(ending.after, None, "the next round begins at the first object");
            wait
        };
        // Each delay is drawn from the upper half of its step.
        assert!(round(&[1, 2], &[3]) <= ROUND_MIN);
        let waits: Vec<Duration> = (0..5).map(|_| round(&[1, 2], &[3])).collect();
        assert!(waits[0] <= ROUND_MIN * 2 && waits[4] >= ROUND_MAX / 2, "{waits:?}");
        assert!(round(&[1, 4], &[3]) <= ROUND_MIN, "one has changed");
        assert!(round(&[1, 4], &[]) <= ROUND_MIN, "one has gone");
    }
}
