//! Connections that wait for their next call.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::speak::Connection;

/// How long a connection waits at most. Endpoints come and go, so it is short.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Connections that wait for one place.
const WAITING_MAX: usize = 8;
/// Connections that wait for all places.
const ALL_MAX: usize = 256;

/// Idle connections by place, the newest last.
#[derive(Default)]
pub(super) struct Pool(Mutex<BTreeMap<String, Vec<(Instant, Connection)>>>);

impl Pool {
    /// A connection to this place that is still open.
    pub(super) fn take(&self, key: &str) -> Option<Connection> {
        let mut places = self.0.lock();
        let waiting = places.get_mut(key)?;
        let mut found = None;
        while let Some((since, connection)) = waiting.pop() {
            if since.elapsed() < IDLE_MAX && connection.is_reusable() {
                found = Some(connection);
                break;
            }
        }
        if waiting.is_empty() {
            places.remove(key);
        }
        found
    }

    /// Keeps a connection for the next call.
    pub(super) fn keep(&self, key: &str, connection: Connection) {
        let mut places = self.0.lock();
        places.retain(|_, waiting| {
            waiting.retain(|(since, connection)| since.elapsed() < IDLE_MAX && connection.is_reusable());
            !waiting.is_empty()
        });
        let all: usize = places.values().map(Vec::len).sum();
        let waiting = places.entry(key.to_owned()).or_default();
        if waiting.len() < WAITING_MAX && all < ALL_MAX {
            waiting.push((Instant::now(), connection));
        }
    }
}
