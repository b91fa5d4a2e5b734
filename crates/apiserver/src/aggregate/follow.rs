//! The one task that keeps all of it: after changes of APIServices, their Services and endpoints, and by the clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, select_all};
use futures::{FutureExt, StreamExt};
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use gantry_common::backoff::Backoff;
use gantry_store::cache::{Event, Scope, WatchError};
use tokio::time::Instant;
use tracing::warn;

use super::{availability, kind, register};
use crate::app::App;
use crate::dial;

/// How often remote group versions are asked for a sign of life; upstream's interval.
const EVERY: Duration = Duration::from_secs(30);
/// After a server did not answer; each time longer, up to [`EVERY`].
const AGAIN: Duration = Duration::from_millis(50);
/// A burst of changes is one reason to look.
const SETTLE: Duration = Duration::from_millis(100);
/// Between tries when the store fails.
const RETRY: Duration = Duration::from_secs(1);
/// APIServices that are looked at at a time.
const AT_ONCE: usize = 8;

/// Remote group versions whose server did not answer, and when it is asked again: nothing tells when it is there.
#[derive(Default)]
struct Failing(BTreeMap<String, (Backoff, Instant)>);

impl Failing {
    fn next(&self) -> Option<Instant> {
        self.0.values().map(|(_, at)| *at).min()
    }

    fn is_due(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|(_, at)| *at <= Instant::now())
    }

    fn note(&mut self, name: &str, has_failed: bool) {
        if !has_failed {
            self.0.remove(name);
            return;
        }
        let fresh = || (Backoff::new(AGAIN, EVERY), Instant::now());
        let (backoff, at) = self.0.entry(name.to_owned()).or_insert_with(fresh);
        *at = Instant::now() + backoff.next();
    }
}

type Events = BoxStream<'static, Result<Arc<Event>, WatchError>>;

/// Runs until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let mut started = app.started.subscribe();
    if started.wait_for(|done| *done).await.is_err() {
        return;
    }
    let mut at_start = true;
    loop {
        if let Err(why) = follow(&app, &mut at_start).await {
            warn!(why, "following APIServices broke off, starting again");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(app: &Arc<App>, at_start: &mut bool) -> Result<(), String> {
    let from = app.cache.revision();
    let mut events = select_all([
        watch(app, "apiregistration.k8s.io", "apiservices", from).await?,
        watch(app, "", "services", from).await?,
        watch(app, "discovery.k8s.io", "endpointslices", from).await?,
    ]);
    let mut served = app.kinds.subscribe();
    let mut next_look = Instant::now();
    let mut failing = Failing::default();
    loop {
        app.aggregator.rebuild(app);
        register::sync(app, *at_start).await.map_err(|status| status.message)?;
        *at_start = false;
        app.registered.send_replace(true);
        // What was just written is part of what is looked at.
        app.cache.consistent().await.map_err(|error| error.to_string())?;
        app.aggregator.rebuild(app);
        let all = Instant::now() >= next_look;
        look(app, all, &mut failing).await?;
        if all {
            next_look = Instant::now() + EVERY;
        }
        let deadline = failing.next().map_or(next_look, |at| at.min(next_look));
        if wait(app, &mut events, &mut served, deadline).await? {
            next_look = Instant::now();
        }
    }
}

/// Waits for a reason to look again; says whether a change is one to ask all remote group versions.
async fn wait(
    app: &App,
    events: &mut futures::stream::SelectAll<Events>,
    served: &mut tokio::sync::watch::Receiver<u64>,
    deadline: Instant,
) -> Result<bool, String> {
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => return Ok(false),
            changed = served.changed() => {
                changed.map_err(|error| error.to_string())?;
                return Ok(false);
            }
            event = events.next() => {
                let event = event.ok_or("the watch ended")?.map_err(|error| error.to_string())?;
                let Some(mut all) = concerns(app, &event) else { continue };
                // Requests follow what is written at once; only the checks wait for the rest of a burst.
                app.aggregator.rebuild(app);
                tokio::time::sleep(SETTLE).await;
                while let Some(Some(event)) = events.next().now_or_never() {
                    let event = event.map_err(|error| error.to_string())?;
                    all |= concerns(app, &event) == Some(true);
                }
                return Ok(all);
            }
        }
    }
}

/// Whether an event is a reason to look, and to ask the remote group versions.
fn concerns(app: &App, event: &Event) -> Option<bool> {
    let meta = event.object.meta();
    if event.object.key().starts_with(&kind().storage_prefix) {
        let spec = |object: &gantry_store::Encoded| {
            serde_json::from_slice::<Value>(object.json()).ok().and_then(|mut o| o.get_mut("spec").map(Value::take))
        };
        let before = event.previous.as_ref().and_then(|previous| spec(previous.encoded()));
        return Some(before != spec(event.object.encoded()));
    }
    let service =
        dial::service_of(event.object.encoded()).unwrap_or_else(|| format!("{}/{}", meta.namespace, meta.name).into());
    let named = |remote: &super::Remote| *service == *format!("{}/{}", remote.namespace, remote.service);
    app.aggregator.remotes().iter().any(|remote| named(remote)).then_some(true)
}

async fn watch(app: &App, group: &str, resource: &str, from: u64) -> Result<Events, String> {
    let kind = kinds::by_resource(group, "v1", resource).ok_or("a built-in kind is missing")?;
    let watch = app.view(kind).watch(from, Scope::All).await.map_err(|error| error.to_string())?;
    Ok(watch.boxed())
}

/// Looks at every APIService; at remote ones, which takes a connection each, if `all` or when they are due.
async fn look(app: &Arc<App>, all: bool, failing: &mut Failing) -> Result<(), String> {
    let objects: Vec<Value> = {
        let snapshot = app.view(kind()).snapshot();
        snapshot.list(None, None).filter_map(|object| serde_json::from_slice(object.json()).ok()).collect()
    };
    let name = |object: &Value| value::str_at(object, "metadata.name").unwrap_or_default().to_owned();
    failing.0.retain(|failed, _| objects.iter().any(|object| name(object) == *failed));
    let is_due = |object: &Value| all || failing.is_due(&name(object)) || super::Remote::read(object).is_none();
    let due: Vec<Value> = objects.into_iter().filter(is_due).collect();
    let mut waiting = due.into_iter();
    let mut looking: FuturesUnordered<BoxFuture<'static, (String, Result<bool, Status>)>> = FuturesUnordered::new();
    loop {
        while looking.len() < AT_ONCE
            && let Some(object) = waiting.next()
        {
            let (app, name) = (app.clone(), name(&object));
            looking.push(async move { (name, availability::look(&app, &object).await) }.boxed());
        }
        match looking.next().await {
            Some((name, result)) => failing.note(&name, result.map_err(|status| status.message)?),
            None => return Ok(()),
        }
    }
}
