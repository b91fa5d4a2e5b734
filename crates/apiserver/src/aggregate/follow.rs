//! The one task that keeps all of it: after changes of APIServices, their Services and endpoints, and by the clock.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, select_all};
use futures::{FutureExt, StreamExt};
use gantry_api::status::Status;
use gantry_api::{Value, kinds};
use gantry_store::cache::{Event, Scope, WatchError};
use tokio::time::Instant;
use tracing::warn;

use super::{availability, kind, register};
use crate::app::App;
use crate::dial;

/// How often remote group versions are asked for a sign of life; upstream's interval.
const EVERY: Duration = Duration::from_secs(30);
/// A burst of changes is one reason to look.
const SETTLE: Duration = Duration::from_millis(100);
/// Between tries when the store fails.
const RETRY: Duration = Duration::from_secs(1);
/// APIServices that are looked at at a time.
const AT_ONCE: usize = 8;

type Events = BoxStream<'static, Result<Arc<Event>, WatchError>>;

/// Runs until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    app.aggregator.rebuild(&app);
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
    loop {
        app.aggregator.rebuild(app);
        register::sync(app, *at_start).await.map_err(|status| status.message)?;
        *at_start = false;
        app.registered.send_replace(true);
        // What was just written is part of what is looked at.
        app.cache.consistent().await.map_err(|error| error.to_string())?;
        app.aggregator.rebuild(app);
        look(app, Instant::now() >= next_look).await?;
        if Instant::now() >= next_look {
            next_look = Instant::now() + EVERY;
        }
        let all = wait(app, &mut events, &mut served, next_look).await?;
        if all {
            next_look = Instant::now();
        }
    }
}

/// Waits for a reason to look again; says whether remote group versions must be asked.
async fn wait(
    app: &App,
    events: &mut futures::stream::SelectAll<Events>,
    served: &mut tokio::sync::watch::Receiver<u64>,
    next_look: Instant,
) -> Result<bool, String> {
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next_look) => return Ok(true),
            changed = served.changed() => {
                changed.map_err(|error| error.to_string())?;
                return Ok(false);
            }
            event = events.next() => {
                let event = event.ok_or("the watch ended")?.map_err(|error| error.to_string())?;
                let Some(mut all) = concerns(app, &event) else { continue };
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

/// Looks at every APIService; `all`: also at the remote ones, which takes a connection each.
async fn look(app: &Arc<App>, all: bool) -> Result<(), String> {
    let objects: Vec<Value> = {
        let snapshot = app.view(kind()).snapshot();
        snapshot.list(None, None).filter_map(|object| serde_json::from_slice(object.json()).ok()).collect()
    };
    let mut waiting = objects.into_iter().filter(|object| all || super::Remote::read(object).is_none());
    let mut looking: FuturesUnordered<BoxFuture<'static, Result<(), Status>>> = FuturesUnordered::new();
    loop {
        while looking.len() < AT_ONCE
            && let Some(object) = waiting.next()
        {
            let app = app.clone();
            looking.push(async move { availability::look(&app, &object).await }.boxed());
        }
        match looking.next().await {
            Some(result) => result.map_err(|status| status.message)?,
            None => return Ok(()),
        }
    }
}
