//! The first look at a young namespace: this replica's cache may not know yet what stands in it.
//!
//! Where a list in the cache is empty, upstream's admission asks the store once in a while. Here a namespace that has just
//! been made is waited for, once: whoever makes a namespace, a quota in it and then a pod, through three replicas, finds the
//! quota kept. In namespaces that are older the cache is as far behind as watches are, and no write pays for a read.

use std::collections::BTreeMap;

use gantry_api::kinds;
use gantry_api::status::Status;
use parking_lot::Mutex;

use super::Request;
use crate::pipeline::read;

/// A namespace is young for so long, in seconds.
const YOUNG_SECONDS: i64 = 30;
/// Namespaces that are remembered as looked at.
const LOOKED_LEN: usize = 10_000;

/// Which young namespaces were looked at, and when (in seconds since 1970).
#[derive(Default)]
pub(super) struct FirstLook(Mutex<BTreeMap<String, i64>>);

impl FirstLook {
    /// Waits until the cache knows all that has been written so far, if the request is the first one in a namespace so young
    /// that there may be something in it that the cache does not know. Says whether it did.
    ///
    /// # Errors
    /// When the store fails, or the cache does not follow.
    pub(super) async fn settle(&self, request: &Request<'_>) -> Result<bool, Status> {
        let name = &request.target.namespace;
        let now = request.app.clock.now().as_second();
        if !is_young(request, now)? || self.has_looked(name, now) {
            return Ok(false);
        }
        read::settle(request.app, None).await?;
        let mut looked = self.0.lock();
        looked.retain(|_, at| now - *at < YOUNG_SECONDS);
        if looked.len() < LOOKED_LEN {
            looked.insert(name.clone(), now);
        }
        Ok(true)
    }

    fn has_looked(&self, namespace: &str, now: i64) -> bool {
        self.0.lock().get(namespace).is_some_and(|at| now - *at < YOUNG_SECONDS)
    }
}

/// Whether the namespace is young, or not known here yet.
fn is_young(request: &Request<'_>, now: i64) -> Result<bool, Status> {
    let kind = kinds::by_resource("", "v1", "namespaces").ok_or_else(Status::no_such_resource)?;
    let Some(known) = request.app.view(kind).get("", &request.target.namespace) else { return Ok(true) };
    let made = known.meta().creation_timestamp.parse::<jiff::Timestamp>();
    Ok(made.is_ok_and(|made| now - made.as_second() < YOUNG_SECONDS))
}
