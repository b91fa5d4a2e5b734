//! The operator: makes a ConfigMap and a Deployment for each site, says how it stands, and keeps a directory of all sites.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gantry_common::shutdown::Shutdown;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event as Note, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Error as FinalizerError, Event, finalizer};
use kube::runtime::{Controller, watcher};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::election::Election;
use crate::journal::Journal;
use crate::site::{Site, SiteCondition, SiteStatus};

/// The field manager.
pub(crate) const MANAGER: &str = "site-operator";
pub(crate) const FINALIZER: &str = "web.example.com/directory";
/// A ConfigMap with an entry for each site. No site owns it: entries are removed by finalizers.
pub(crate) const DIRECTORY: &str = "directory";
/// An annotation that keeps a site from being cleaned up.
pub(crate) const HOLD: &str = "web.example.com/hold";
/// After a failure.
const RETRY: Duration = Duration::from_millis(100);

/// Why an object could not be brought to what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the API server did not do what it was asked")]
    Api(#[source] kube::Error),
    #[error("somebody wants the site's entry to stay")]
    Held,
    #[error("the finalizer")]
    Finalizer(#[source] Box<FinalizerError<Error>>),
}

/// What an instance works with.
struct Context {
    instance: String,
    client: kube::Client,
    recorder: Recorder,
    journal: Arc<Journal>,
}

/// Runs an instance: it waits until it leads, works while it does, and gives the lease back when it is asked to stop.
pub(crate) async fn run(instance: String, config: kube::Config, journal: Arc<Journal>, shutdown: Shutdown) {
    let client = kube::Client::try_from(config).expect("a client");
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(instance.clone()) };
    let recorder = Recorder::new(client.clone(), reporter);
    let mut election = Election::new(client.clone(), &instance);
    let context = Arc::new(Context { instance, client, recorder, journal });
    loop {
        tokio::select! {
            () = election.win() => {}
            () = shutdown.requested() => return,
        }
        let asked = shutdown.clone();
        let work = controller(&context, async move { asked.requested().await });
        tokio::select! {
            // Work is broken off where it stands: another one may begin.
            () = election.lead() => {}
            () = work => {
                election.resign().await;
                return;
            }
        }
    }
}

/// Works until it is asked to stop; what was begun is finished.
async fn controller(context: &Arc<Context>, asked: impl Future<Output = ()> + Send + Sync + 'static) {
    let client = &context.client;
    let every = watcher::Config::default();
    Controller::new(Api::<Site>::all(client.clone()), every.clone())
        .owns(Api::<ConfigMap>::all(client.clone()), every.clone())
        .owns(Api::<Deployment>::all(client.clone()), every)
        .graceful_shutdown_on(asked)
        .run(reconcile, |_, _, _| Action::requeue(RETRY), Arc::clone(context))
        .for_each(async |done| {
            if let Err(error) = done {
                context.journal.failed(gantry_common::error_chain(&error));
            }
        })
        .await;
}

async fn reconcile(site: Arc<Site>, context: Arc<Context>) -> Result<Action, Error> {
    let _turn = context.journal.turn(&context.instance, &site.name_any());
    let namespace = site.namespace().unwrap_or_default();
    let sites: Api<Site> = Api::namespaced(context.client.clone(), &namespace);
    let (context, api) = (&context, &sites);
    let work = |event: Event<Site>| async move {
        match event {
            Event::Apply(site) => context.apply(api, &site).await,
            Event::Cleanup(site) => context.clean_up(&site).await,
        }
    };
    finalizer(api, FINALIZER, site, work).await.map_err(|error| Error::Finalizer(Box::new(error)))
}

/// The metadata of something that a site owns.
fn owned(site: &Site, name: &str) -> Value {
    json!({"name": name, "labels": {"site": site.name_any()}, "ownerReferences": [site.controller_owner_ref(&())]})
}

fn page(site: &Site) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": owned(site, &format!("{}-page", site.name_any())),
        "data": {"index.html": site.spec.page},
    })
}

fn servers(site: &Site) -> Value {
    let labels = json!({"site": site.name_any()});
    let volume = json!({"name": "page", "configMap": {"name": format!("{}-page", site.name_any())}});
    let container =
        json!({"name": "web", "image": "nginx:1", "volumeMounts": [{"name": "page", "mountPath": "/page"}]});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": owned(site, &site.name_any()),
        "spec": {
            "replicas": site.spec.replicas.unwrap_or(1), "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": [volume]}},
        },
    })
}

impl Context {
    async fn apply(&self, sites: &Api<Site>, site: &Site) -> Result<Action, Error> {
        let namespace = site.namespace().unwrap_or_default();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &namespace);
        let (name, params) = (site.name_any(), PatchParams::apply(MANAGER).force());
        maps.patch(&format!("{name}-page"), &params, &Patch::Apply(page(site))).await.map_err(Error::Api)?;
        let found = deployments.patch(&name, &params, &Patch::Apply(servers(site))).await.map_err(Error::Api)?;
        self.list(site, json!({&name: site.spec.page.len().to_string()})).await?;
        self.say(sites, site, &found).await?;
        Ok(Action::await_change())
    }

    /// Sets the site's entries in the directory; those that are left out are removed.
    async fn list(&self, site: &Site, entries: Value) -> Result<(), Error> {
        let namespace = site.namespace().unwrap_or_default();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": DIRECTORY}, "data": entries});
        let params = PatchParams::apply(&format!("site-{}", site.name_any()));
        maps.patch(DIRECTORY, &params, &Patch::Apply(map)).await.map_err(Error::Api)?;
        Ok(())
    }

    /// Writes the status, if it is news.
    async fn say(&self, sites: &Api<Site>, site: &Site, servers: &Deployment) -> Result<(), Error> {
        let known = site.status.clone().unwrap_or_default();
        let status = status(site, &known, servers);
        if status == known {
            return Ok(());
        }
        let patch = json!({"apiVersion": Site::api_version(&()), "kind": Site::kind(&()), "status": status});
        let params = PatchParams::apply(MANAGER).force();
        sites.patch_status(&site.name_any(), &params, &Patch::Apply(patch)).await.map_err(Error::Api)?;
        let is = |status: &SiteStatus| status.conditions.iter().any(|c| c.status == "True");
        if is(&status) && !is(&known) {
            let note = Note {
                type_: EventType::Normal,
                reason: "Published".to_owned(),
                note: Some(format!("{} servers show the page", status.ready)),
                action: "Publish".to_owned(),
                secondary: None,
            };
            self.recorder.publish(&note, &site.object_ref(&())).await.map_err(Error::Api)?;
        }
        Ok(())
    }

    async fn clean_up(&self, site: &Site) -> Result<Action, Error> {
        if site.annotations().contains_key(HOLD) {
            return Err(Error::Held);
        }
        self.list(site, json!({})).await?;
        Ok(Action::await_change())
    }
}

/// How a site stands, from its Deployment.
fn status(site: &Site, known: &SiteStatus, servers: &Deployment) -> SiteStatus {
    let (wanted, found) = (site.spec.replicas.unwrap_or(1), servers.status.clone().unwrap_or_default());
    let is_seen = found.observed_generation == servers.metadata.generation;
    let ready = found.ready_replicas.unwrap_or(0);
    let is_available = is_seen && ready == wanted && found.replicas.unwrap_or(0) == wanted;
    let generation = site.metadata.generation.unwrap_or_default();
    let mut condition = SiteCondition {
        kind: "Available".to_owned(),
        status: if is_available { "True" } else { "False" }.to_owned(),
        reason: if is_available { "AllReady" } else { "Waiting" }.to_owned(),
        message: format!("{ready} of {wanted} servers are ready"),
        observed_generation: generation,
        last_transition_time: format!("{:.0}", Timestamp::now()),
    };
    if let Some(old) = known.conditions.iter().find(|c| c.status == condition.status) {
        condition.last_transition_time.clone_from(&old.last_transition_time);
    }
    let selector = format!("site={}", site.name_any());
    SiteStatus { observed_generation: generation, ready, selector, conditions: vec![condition] }
}
