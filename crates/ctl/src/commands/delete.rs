//! `gantryctl delete`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use gantry_api::value::str_at;
use gantry_client::{DeleteParams, DynApi, ListParams, View, watch::EventKind};

use super::DryRun;
use crate::{manifests, output, resources::Resource, session::Session};

/// Flags of `delete`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE NAME... or TYPE/NAME...
    #[arg(value_name = "TYPE")]
    words: Vec<String>,
    /// Delete the objects of these files
    #[arg(short, long, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// Folders with their subfolders
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Objects with these labels
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// All objects of the type in the namespace
    #[arg(long)]
    all: bool,
    /// Seconds that pods get to end; -1 = as the pod says
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    grace_period: i64,
    /// End at once, as with --grace-period=1
    #[arg(long)]
    now: bool,
    /// With --grace-period=0: remove the object without waiting for the node's word
    #[arg(long)]
    force: bool,
    /// What becomes of dependents
    #[arg(long, default_value = "background", value_parser = ["background", "foreground", "orphan"])]
    cascade: String,
    /// Wait until the objects are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    wait: bool,
    /// Give up waiting after this many seconds; 0 = never
    #[arg(long, default_value_t = 0)]
    timeout: u64,
    /// No error for objects that do not exist
    #[arg(long)]
    ignore_not_found: bool,
    /// Only say what would be deleted
    #[arg(long, value_enum, default_value_t, num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    dry_run: DryRun,
}

struct Victim<'s> {
    resource: &'s Resource,
    api: DynApi,
    name: String,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let victims = self.victims(session).await?;
        let params = self.params()?;
        let mut waiting = Vec::new();
        let mut failed = Vec::new();
        for victim in victims {
            match self.delete(&victim, &params).await {
                Ok(Some(uid)) => waiting.push((victim, uid)),
                Ok(None) => {}
                Err(error) => failed.push(error),
            }
        }
        if self.wait && self.dry_run == DryRun::None {
            for (victim, uid) in &waiting {
                self.wait_gone(victim, uid).await?;
            }
        }
        match failed.len() {
            0 => Ok(()),
            1 => Err(failed.remove(0)),
            n => {
                let texts: Vec<String> = failed.iter().map(ToString::to_string).collect();
                bail!("{n} objects were not deleted:\n  {}", texts.join("\n  "))
            }
        }
    }

    async fn victims<'s>(&self, session: &'s Session) -> Result<Vec<Victim<'s>>> {
        let mut out = Vec::new();
        if !self.filename.is_empty() {
            // The last created goes first, so that what others need goes last.
            for manifest in manifests::read(&self.filename, self.recursive)?.iter().rev() {
                let (resource, api) = manifest.locate(session)?;
                out.push(Victim { resource, api, name: manifest.name().to_owned() });
            }
            return Ok(out);
        }
        for (types, name) in super::targets(&self.words)? {
            for resource in session.catalogue().find_many(&types)? {
                let api = session.api(resource);
                match &name {
                    Some(name) => out.push(Victim { resource, api, name: name.clone() }),
                    None if self.selector.is_empty() && !self.all => {
                        bail!("resource(s) were provided, but no name was specified: give names, -l or --all")
                    }
                    None => {
                        let list = api.list(&ListParams::labels(self.selector.clone()), View::Metadata).await?;
                        let names = list.items.iter().filter_map(|o| str_at(o, "metadata.name").map(str::to_owned));
                        out.extend(names.map(|name| Victim { resource, api: api.clone(), name }));
                    }
                }
            }
        }
        if out.is_empty() {
            output::note("No resources found");
        }
        Ok(out)
    }

    fn params(&self) -> Result<DeleteParams> {
        let mut grace = self.grace_period;
        if self.now {
            if grace >= 0 {
                bail!("--now and --grace-period cannot be specified together");
            }
            grace = 1;
        }
        if grace == 0 && !self.force {
            // As kubectl: 0 without --force means as quickly as is safe.
            grace = 1;
        }
        if self.force && grace < 0 {
            grace = 0;
        }
        if self.force {
            output::note(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. \
                 The resource may continue to run on the cluster indefinitely.",
            );
        }
        let mut policy = self.cascade.clone();
        policy[..1].make_ascii_uppercase();
        Ok(DeleteParams {
            grace_period_seconds: (grace >= 0).then_some(grace),
            propagation_policy: Some(policy),
            dry_run: self.dry_run == DryRun::Server,
            ..DeleteParams::default()
        })
    }

    /// Deletes one object; returns its uid, to wait for.
    async fn delete(&self, victim: &Victim<'_>, params: &DeleteParams) -> Result<Option<String>> {
        let reply = if self.dry_run == DryRun::Client {
            victim.api.get(&victim.name, "", View::Metadata).await
        } else {
            victim.api.delete(&victim.name, params).await.map(|r| r.object)
        };
        let object = match reply {
            Err(e) if e.is_not_found() && self.ignore_not_found => return Ok(None),
            other => other?,
        };
        let verb = if self.force { "force deleted" } else { "deleted" };
        output::line(&format!("{} {:?} {verb}{}", victim.resource.display(), victim.name, self.dry_run.suffix()))?;
        let uid = str_at(&object, "metadata.uid").or_else(|| str_at(&object, "details.uid"));
        Ok(uid.map(str::to_owned))
    }

    async fn wait_gone(&self, victim: &Victim<'_>, uid: &str) -> Result<()> {
        let limit =
            if self.timeout == 0 { Duration::from_secs(7 * 24 * 3600) } else { Duration::from_secs(self.timeout) };
        let gone = tokio::time::timeout(limit, gone(victim, uid)).await;
        match gone {
            Ok(result) => result,
            Err(_) => bail!("timed out waiting for {}/{} to be deleted", victim.resource.display(), victim.name),
        }
    }
}

/// Resolves when the object with this uid is gone.
async fn gone(victim: &Victim<'_>, uid: &str) -> Result<()> {
    let by_name = ListParams::fields(format!("metadata.name={}", victim.name));
    loop {
        let list = victim.api.list(&by_name, View::Metadata).await?;
        if !list.items.iter().any(|o| str_at(o, "metadata.uid") == Some(uid)) {
            return Ok(());
        }
        let params = ListParams { resource_version: list.resource_version, ..by_name.clone() };
        let mut stream = victim.api.watch(&params, false, View::Metadata).await?;
        while let Some(event) = stream.next().await? {
            if event.kind == EventKind::Deleted {
                break;
            }
        }
    }
}
