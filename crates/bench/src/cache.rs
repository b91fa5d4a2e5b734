//! The watch cache on the in-memory store: the cost of a write, a list and a delivery without network and disk.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_common::shutdown::Shutdown;
use gantry_common::task;
use gantry_store::cache::{Cache, Config, JsonAsIs, Scope, Subscription, View, ViewSpec};
use gantry_store::{Encoded, MemoryStore, Store, Txn};
use tokio::time::Instant;

use crate::objects::Kind;
use crate::report::Report;

const PODS: &str = "/registry/pods/";

/// Flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Objects in the cache.
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// Watchers.
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
}

pub(crate) async fn run(args: &Args, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    for _ in 0..runs {
        encode(args, report)?;
        let store = MemoryStore::new();
        let pods =
            ViewSpec::new(PODS).index(|pod| pod.scalar_at(&["spec", "nodeName"]).map(|node| node.as_ref().into()));
        let config = Config { queue_events: 2_048, ..Config::default() };
        let (cache, driver) = Cache::new(config, Arc::new(store.clone()), Arc::new(JsonAsIs), vec![pods]);
        let shutdown = Shutdown::new();
        let driver = task::spawn("driver", driver.run(shutdown.clone()));
        cache.ready().await;
        let view = cache.view(PODS).expect("it was just given");
        fill(args, &store, &cache, report).await?;
        list(&view, report);
        watch(args, &store, &cache, &view, report).await?;
        shutdown.trigger();
        driver.await?;
    }
    Ok(())
}

fn encode(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let value = object("p");
    let started = Instant::now();
    for rv in 0..args.objects {
        std::hint::black_box(Encoded::from_json(&value, u64::try_from(rv)?)?);
    }
    report.add(format!("normalise {} B", value.len()), "us", per(started.elapsed(), args.objects));
    Ok(())
}

fn object(name: &str) -> Bytes {
    let mut value: serde_json::Value = serde_json::from_slice(&Kind::Pod.object(name)).expect("it was just written");
    value["metadata"]["namespace"] = "bench".into();
    value["spec"]["nodeName"] = format!("node-{}", name.len() % 10).into();
    Bytes::from(value.to_string())
}

async fn put(store: &MemoryStore, number: usize) -> anyhow::Result<()> {
    let name = format!("pod-{number:06}");
    store.txn(Txn::new().put(format!("{PODS}bench/{name}"), object(&name))).await?;
    Ok(())
}

async fn fill(args: &Args, store: &MemoryStore, cache: &Cache, report: &mut Report) -> anyhow::Result<()> {
    for number in 0..args.objects {
        put(store, number).await?;
        if number % 500 == 0 {
            cache.consistent().await?;
        }
    }
    cache.consistent().await?;
    let view = cache.view(PODS).expect("it was given");
    for (name, held) in [("write, then consistent read", false), ("the same while a list holds the state before", true)]
    {
        let mut times = Vec::new();
        for number in 0..200 {
            let list = held.then(|| view.snapshot());
            let started = Instant::now();
            put(store, number * 37 % args.objects).await?;
            cache.consistent().await?;
            times.push(started.elapsed());
            drop(list);
        }
        times.sort_unstable();
        report.add(name, "us", per(times[times.len() / 2], 1));
    }
    Ok(())
}

fn list(view: &View, report: &mut Report) {
    let started = Instant::now();
    let page = view.snapshot().page(None, None, 0);
    report.add(format!("collect {} objects", page.items.len()), "us", per(started.elapsed(), 1));
    let size: usize = page.items.iter().map(|object| object.size_bytes() + 24).sum();
    let started = Instant::now();
    let mut body = Vec::with_capacity(size);
    for object in view.snapshot().list(None, None) {
        object.write(object.rv(), &mut body);
        body.push(b',');
    }
    report.add(format!("write {} objects as JSON", page.items.len()), "us", per(started.elapsed(), 1));
    report.add("size of that JSON", "MB", per(Duration::from_micros(body.len() as u64), 1_000_000));
}

async fn watch(
    args: &Args,
    store: &MemoryStore,
    cache: &Cache,
    view: &View,
    report: &mut Report,
) -> anyhow::Result<()> {
    const EVENTS: usize = 1_000;
    let one = |number: usize| Scope::Name { namespace: Some("bench".into()), name: format!("pod-{number:06}").into() };
    let scopes: [(&str, &dyn Fn(usize) -> Scope); 2] = [("all", &|_| Scope::All), ("one object each", &one)];
    for (name, scope) in scopes {
        let from = cache.consistent().await?;
        let mut watches: Vec<Subscription> = Vec::new();
        for number in 0..args.watchers {
            watches.push(view.watch(from, scope(number)).await?);
        }
        let started = Instant::now();
        for number in 0..EVENTS {
            put(store, number).await?;
        }
        cache.consistent().await?;
        let spread = started.elapsed();
        let mut delivered = 0;
        for watch in &mut watches {
            while watch.try_next()?.is_some() {
                delivered += 1;
            }
        }
        let name = format!("{EVENTS} events to {} watchers of {name}", args.watchers);
        report.add(format!("{name}, {delivered} deliveries"), "us per event", per(spread, EVENTS));
    }
    Ok(())
}

/// Microseconds for each of `count`.
fn per(time: Duration, count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = count as f64;
    time.as_secs_f64() * 1e6 / count
}
