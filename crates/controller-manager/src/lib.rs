//! The controllers that make the cluster what its objects say: rollouts, replicas, endpoints, namespaces, nodes,
//! bootstrap tokens, garbage, volumes in use, quotas, disruption budgets, certificates.
//!
//! Each controller is a pure plan over what the shared informers show, and a thin shell that writes. All of them run in one
//! process that leads by a fenced lease; without the lease, nothing writes.

pub mod bootstrap_token;
pub mod catalog;
pub mod claim;
pub mod context;
pub mod controllers;
pub mod options;
pub mod pods;
pub mod portion;
pub mod protection;
pub mod readers;
pub mod selector;
pub mod signing_options;
pub mod signing_request;
pub mod volumes;

use std::sync::Arc;

use anyhow::{Context as _, bail};
use gantry_client::{Client, Fence};
use gantry_common::{
    clock::SharedClock,
    shutdown::Shutdown,
    task::{Group, OnExit},
    token_keys::Keys,
};
use gantry_controller::{Leadership, leader};
use tokio_util::sync::CancellationToken;

use crate::{catalog::Catalog, context::Context, options::Options, readers::Readers};

/// The user agent's first part: the default field manager, as upstream's.
pub const COMPONENT: &str = "kube-controller-manager";

/// Runs the controllers until shutdown, or until leadership is lost.
///
/// # Errors
/// When the flags contradict each other, no controller is chosen, or leadership was lost.
pub async fn run(client: Client, options: Options, clock: SharedClock, shutdown: Shutdown) -> anyhow::Result<()> {
    options.check().map_err(anyhow::Error::msg)?;
    let known = |name: &&String| {
        let name = controllers::present_name(name.trim_start_matches('-'));
        controllers::ALL.iter().any(|c| c.name == name)
    };
    if let Some(unknown) = options.controllers.iter().filter(|n| *n != "*").find(|n| !known(n)) {
        let names: Vec<_> = controllers::ALL.iter().map(|c| c.name).collect();
        bail!("--controllers names {unknown:?}, which does not exist; known are {}", names.join(", "));
    }
    let token_keys = token_keys(&options)?;
    let group = Group::new(shutdown.child());
    let options = Arc::new(options);
    let lead = |leadership: Leadership| {
        // Read only now: copies filled while another led could lack its last writes, and they would be made twice.
        let context = Context {
            readers: Arc::new(Readers::start(&client, &group)),
            catalog: Catalog::start(&client, &group),
            client: leadership.client,
            token_keys: token_keys.clone(),
            clock: Arc::clone(&clock),
            stop: leadership.lost,
            options: Arc::clone(&options),
        };
        control(context)
    };
    let result = if options.leader_elect {
        leader::run(&client, election(&options), Arc::clone(&clock), &shutdown, lead).await.context("stopping")
    } else {
        let lost = CancellationToken::new();
        let fence = Fence { lease: String::new(), revision: 0 };
        let reign = lead(Leadership { client: client.clone(), fence, lost: lost.clone() });
        tokio::select! {
            () = reign => {}
            () = shutdown.requested() => lost.cancel(),
        }
        Ok(())
    };
    group.shutdown().trigger();
    group.join().await;
    result
}

fn token_keys(options: &Options) -> anyhow::Result<Option<Arc<Keys>>> {
    let Some(file) = &options.service_account_private_key_file else { return Ok(None) };
    let keys = Keys::load(Some(file), &[]).context("check --service-account-private-key-file")?;
    Ok(Some(Arc::new(keys)))
}

fn election(options: &Options) -> leader::Config {
    leader::Config {
        lease_duration: options.leader_elect_lease_duration,
        renew_deadline: options.leader_elect_renew_deadline,
        retry_period: options.leader_elect_retry_period,
        ..leader::Config::new(&options.leader_elect_resource_name)
    }
}

/// Runs the chosen controllers, each as a task that begins when what it needs is there, until `context.stop`.
async fn control(context: Context) {
    let reign = Shutdown::new();
    let group = Group::new(reign.clone());
    for controller in controllers::ALL {
        if context::selected(controller.name, &context.options.controllers) {
            let (context, stop) = (context.clone(), context.stop.clone());
            group.spawn(controller.name, OnExit::Ignore, async move {
                let readers = Arc::clone(&context.readers);
                let needed = (controller.needs)(&readers);
                tokio::select! {
                    () = readers::whole(controller.name, &needed) => {}
                    () = stop.cancelled() => return,
                }
                tracing::info!(controller = controller.name, "starting");
                (controller.run)(context).await;
                if !stop.is_cancelled() {
                    tracing::error!(controller = controller.name, "ended by itself, stopping all");
                    stop.cancel();
                }
            });
        }
    }
    tokio::select! {
        // A controller panicked.
        () = reign.requested() => {}
        () = context.stop.cancelled() => {}
    }
    context.stop.cancel();
    reign.trigger();
    group.join().await;
}
