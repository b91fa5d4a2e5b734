//! Custom kinds: follows the definitions, serves what they define, and keeps their status.
//!
//! Every API server does all of this by itself. The writes are compare-and-swap of what follows from the definitions alone, so
//! several servers agree instead of fighting: the second one finds nothing left to change.

pub(crate) mod convert;
pub(crate) mod form;
mod known;
pub(crate) mod old;
mod rules;
mod status;
pub(crate) mod strategy;
mod terminate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_api::custom::{self, Definition};
use gantry_api::field::Errors;
use gantry_api::kinds::{self, KindInfo, Kinds};
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_store::cache::{Scope, ViewSpec};
use tracing::{info, warn};

use self::known::Known;
use self::terminate::Endings;
use crate::app::App;
use crate::pipeline::change::{self, Made, Part};
use crate::pipeline::current::Current;
use crate::request::Target;

/// Between tries when following the definitions broke off.
const PAUSE: Duration = Duration::from_millis(200);
/// How long to wait where no change of a definition will tell that there is more to do.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

const GROUP: &str = "apiextensions.k8s.io";

/// What is wrong with the rules of a definition; rules that `old` has as well are left alone.
pub(crate) fn rule_errors(definition: &Value, old: Option<&Value>, found: &Errors) -> Errors {
    rules::definition_errors(definition, old, found)
}

/// The kind of definitions.
pub(crate) fn kind() -> &'static KindInfo {
    kinds::by_resource(GROUP, "v1", "customresourcedefinitions").expect("definitions are always served")
}

/// Whether the condition `name` of a definition is true.
fn is_true(definition: &Value, name: &str) -> bool {
    status::condition(definition, name).and_then(|c| value::str_at(c, "status")) == Some("True")
}

/// Whether what the definition defines is to be served.
fn is_served(definition: &Value) -> bool {
    is_true(definition, "Established") || is_true(definition, "NamesAccepted")
}

/// Whether clients are told of what the definition defines: not where it waits for its owner, and so is not established. One
/// that will be in a moment counts, so that whoever sees it established finds it.
fn is_told(definition: &Value) -> bool {
    let waits = status::condition(definition, "Established").and_then(|c| value::str_at(c, "reason"));
    is_true(definition, "Established") || waits.is_none_or(|reason| reason == status::INSTALLING)
}

/// Serves what the present definitions define. The cache must be ready.
pub(crate) async fn start(app: &App) {
    let (mut served, mut known) = (Served::default(), Known::default());
    known.refresh(app);
    while let Err(why) = served.update(app, &known).await {
        warn!(why, "custom kinds cannot be served yet");
        tokio::time::sleep(PAUSE).await;
        known.refresh(app);
    }
}

/// Follows the definitions until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let (mut served, mut known) = (Served::of(&app), Known::default());
    loop {
        if let Err(why) = follow(&app, &mut served, &mut known).await {
            warn!(why, "following the definitions of custom kinds broke off, starting again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(app: &App, served: &mut Served, known: &mut Known) -> Result<(), String> {
    let mut changes = app.view(kind()).watch(app.cache.revision(), Scope::All).await.map_err(|e| e.to_string())?;
    let mut endings = Endings::default();
    loop {
        known.refresh(app);
        served.update(app, known).await?;
        let wait = reconcile(app, known, &mut endings).await.unwrap_or(Duration::MAX);
        match tokio::time::timeout(wait, changes.next()).await {
            Ok(event) => drop(event.map_err(|e| e.to_string())?),
            Err(_) => continue,
        }
        // Whatever else is there already is taken up by the same turn.
        while let Some(event) = futures::FutureExt::now_or_never(changes.next()) {
            event.map_err(|e| e.to_string())?;
        }
    }
}

/// Brings the status of the definitions up to date; how long to wait where there is more to do that no event will tell of.
async fn reconcile(app: &App, known: &mut Known, endings: &mut Endings) -> Option<Duration> {
    let (mut again, unsettled) = (None, known.unsettled());
    endings.retain(&unsettled);
    for name in unsettled {
        let Some((definition, group)) = known.with_group(&name) else { continue };
        let left = if terminate::concerns(definition) {
            terminate::run(app, definition, endings).await
        } else {
            settle(app, definition, &group).await.map(|()| None)
        };
        let wait = left.unwrap_or_else(|status| {
            warn!(definition = name, why = status.message, "keeping the status of a definition failed");
            Some(LOOK_AGAIN)
        });
        if wait.is_none() {
            known.settle(&name);
        }
        again = again.into_iter().chain(wait).min();
    }
    again
}

async fn settle(app: &App, definition: &Value, group: &[&Value]) -> Result<(), Status> {
    if status::next(definition, group, app.clock.now()).is_none() {
        return Ok(());
    }
    let now = app.clock.now();
    write(app, definition, &|state: &Value| status::next(state, group, now).unwrap_or_else(|| state.clone())).await
}

/// Changes a definition as `change` says, status and finalizers included. One that is gone needs nothing.
async fn write(app: &App, definition: &Value, change: &(dyn Fn(&Value) -> Value + Send + Sync)) -> Result<(), Status> {
    let target = Target::new(kind(), "", value::str_at(definition, "metadata.name").unwrap_or_default());
    let make = |state: &Current| Ok(Made { object: change(&state.value), warnings: Vec::new() });
    match change::by_server(app, &target, Part::System, &make).await {
        Err(status) if !status.is("NotFound") => Err(status),
        _ => Ok(()),
    }
}

/// What is served now.
#[derive(Default, PartialEq)]
struct Served {
    /// By storage prefix.
    all: BTreeMap<String, Arc<Definition>>,
    /// The storage prefixes of those that clients are not told of.
    untold: BTreeSet<String>,
}

impl Served {
    /// What the registry says.
    fn of(app: &App) -> Self {
        let now = app.kinds.now();
        let all = now.kinds.definitions().iter().map(|d| (d.storage_prefix.clone(), d.clone())).collect();
        let told = now.told.definitions();
        let untold = now.kinds.definitions().iter().filter(|definition| !told.contains(definition));
        Self { all, untold: untold.map(|d| d.storage_prefix.clone()).collect() }
    }

    /// What these definitions define.
    fn wanted(known: &Known) -> Self {
        let mut wanted = Self::default();
        for entry in known.entries() {
            let Some(definition) = &entry.served else { continue };
            wanted.all.insert(definition.storage_prefix.clone(), definition.clone());
            if !is_told(&entry.definition) {
                wanted.untold.insert(definition.storage_prefix.clone());
            }
        }
        wanted
    }

    /// The kinds that clients are told of, if those are not all.
    fn told(&self) -> Option<Kinds> {
        let told = self.all.iter().filter(|(prefix, _)| !self.untold.contains(*prefix));
        (!self.untold.is_empty()).then(|| Kinds::with(told.map(|(_, definition)| definition.clone()).collect()))
    }

    /// Makes views and kinds those of the definitions.
    async fn update(&mut self, app: &App, known: &Known) -> Result<(), String> {
        let wanted = Self::wanted(known);
        let webhooks = known.entries().filter_map(|entry| {
            let webhook = custom::webhook(&entry.definition)?;
            Some((entry.served.as_ref()?.storage_prefix.clone(), Arc::new(webhook.clone())))
        });
        app.forms.replace_webhooks(webhooks.collect());
        if wanted == *self {
            return Ok(());
        }
        let changed: Vec<&Arc<Definition>> = wanted
            .all
            .values()
            .filter(|d| self.all.get(&d.storage_prefix).is_none_or(|before| before.form != d.form))
            .collect();
        let gone: Vec<&Definition> =
            self.all.iter().filter(|(prefix, _)| !wanted.all.contains_key(*prefix)).map(|(_, d)| &**d).collect();
        app.forms.replace(wanted.all.values().cloned().collect());
        for definition in &changed {
            let spec = ViewSpec::new(definition.storage_prefix.clone());
            app.cache.add_view(spec).await.map_err(|e| gantry_common::error_chain(&e))?;
        }
        app.kinds.replace(Kinds::with(wanted.all.values().cloned().collect()), wanted.told());
        for definition in &gone {
            app.cache.remove_view(&definition.storage_prefix);
            app.metrics.forget(&definition.group, definition.plural());
        }
        info!(served = wanted.all.len(), changed = changed.len(), gone = gone.len(), "custom kinds changed");
        *self = wanted;
        Ok(())
    }
}
