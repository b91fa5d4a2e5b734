//! `gantryctl rollout`: status, history, undo, pause, resume, restart of deployments.

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use gantry_api::value::{Value, bool_at, i64_at, list_at, map_at, str_at};
use gantry_client::{DynApi, ListParams, Patch, View, watch::EventKind};
use serde_json::json;

use super::DryRun;
use crate::{output, resources::Resource, session::Session, submit};

const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const MANAGER: &str = "gantryctl-rollout";

/// Which deployment.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// TYPE NAME or TYPE/NAME
    #[arg(required = true, num_args = 1..=2, value_name = "TYPE")]
    words: Vec<String>,
}

/// The verbs below `rollout`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Wait for and report the progress of a rollout
    Status {
        #[command(flatten)]
        which: Which,
        /// Only the present state
        #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
        watch: bool,
        /// Give up after this many seconds; 0 = never
        #[arg(long, default_value_t = 0)]
        timeout: u64,
    },
    /// Show the revisions
    History {
        #[command(flatten)]
        which: Which,
        /// The pod template of this revision
        #[arg(long, default_value_t = 0)]
        revision: i64,
    },
    /// Go back to an earlier revision
    Undo {
        #[command(flatten)]
        which: Which,
        /// The revision; 0 = the one before the present
        #[arg(long, default_value_t = 0)]
        to_revision: i64,
    },
    /// Stop rolling out changes
    Pause(Which),
    /// Roll out changes again
    Resume(Which),
    /// Replace all pods, one after another
    Restart(Which),
}

struct Target<'s> {
    resource: &'s Resource,
    api: DynApi,
    name: String,
}

impl Target<'_> {
    async fn get(&self) -> Result<Value> {
        Ok(self.api.get(&self.name, "", View::Full).await?)
    }

    fn done(&self, what: &str) -> Result<()> {
        output::line(&format!("{}/{} {what}", self.resource.display(), self.name))
    }

    async fn patch(&self, patch: Value) -> Result<Value> {
        let params = submit::params(DryRun::None, MANAGER);
        Ok(self.api.patch(&self.name, "", &Patch::Strategic(patch), &params).await?.object)
    }
}

fn target<'s>(session: &'s Session, which: &Which) -> Result<Target<'s>> {
    let targets = super::targets(&which.words)?;
    let [(kind, Some(name))] = targets.as_slice() else {
        bail!("you must name one deployment, for example `rollout status deployment/web`")
    };
    let resource = session.resource(kind)?;
    if resource.kind != "Deployment" {
        bail!("{} has no rollouts in this version of Gantry: name a deployment", resource.display());
    }
    Ok(Target { resource, api: session.api(resource), name: name.clone() })
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self {
            Self::Status { which, watch, timeout } => {
                let target = target(session, &which)?;
                let work = status(&target, watch);
                if timeout == 0 {
                    return work.await;
                }
                let limit = std::time::Duration::from_secs(timeout);
                tokio::time::timeout(limit, work).await.context("timed out waiting for the rollout")?
            }
            Self::History { which, revision } => history(session, &target(session, &which)?, revision).await,
            Self::Undo { which, to_revision } => undo(session, &target(session, &which)?, to_revision).await,
            Self::Pause(which) => pause(&target(session, &which)?, true).await,
            Self::Resume(which) => pause(&target(session, &which)?, false).await,
            Self::Restart(which) => restart(&target(session, &which)?).await,
        }
    }
}

/// What `rollout status` says of a deployment, and whether the rollout is done.
fn progress(d: &Value, name: &str) -> Result<(String, bool)> {
    if i64_at(d, "metadata.generation").unwrap_or(0) > i64_at(d, "status.observedGeneration").unwrap_or(0) {
        return Ok(("Waiting for deployment spec update to be observed...".to_owned(), false));
    }
    let progressing = list_at(d, "status.conditions").iter().find(|c| str_at(c, "type") == Some("Progressing"));
    if progressing.and_then(|c| str_at(c, "reason")) == Some("ProgressDeadlineExceeded") {
        bail!("deployment {name:?} exceeded its progress deadline");
    }
    let number = |path| i64_at(d, path).unwrap_or(0);
    let wanted = i64_at(d, "spec.replicas").unwrap_or(1);
    let (updated, all, available) =
        (number("status.updatedReplicas"), number("status.replicas"), number("status.availableReplicas"));
    let waiting = format!("Waiting for deployment {name:?} rollout to finish: ");
    if updated < wanted {
        return Ok((format!("{waiting}{updated} out of {wanted} new replicas have been updated..."), false));
    }
    if all > updated {
        return Ok((format!("{waiting}{} old replicas are pending termination...", all - updated), false));
    }
    if available < updated {
        return Ok((format!("{waiting}{available} of {updated} updated replicas are available..."), false));
    }
    Ok((format!("deployment {name:?} successfully rolled out"), true))
}

async fn status(target: &Target<'_>, watch: bool) -> Result<()> {
    let by_name = ListParams::fields(format!("metadata.name={}", target.name));
    let mut said = String::new();
    loop {
        let list = target.api.list(&by_name, View::Full).await?;
        let Some(object) = list.items.first() else {
            bail!("deployments.apps {:?} not found", target.name);
        };
        if report(object, &target.name, &mut said)? || !watch {
            return Ok(());
        }
        let params = ListParams { resource_version: list.resource_version, ..by_name.clone() };
        let mut stream = target.api.watch(&params, false, View::Full).await?;
        while let Some(event) = stream.next().await? {
            match event.kind {
                EventKind::Bookmark { .. } => {}
                EventKind::Deleted => bail!("object has been deleted"),
                EventKind::Added | EventKind::Modified => {
                    if report(&serde_json::from_slice(&event.object)?, &target.name, &mut said)? {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn report(object: &Value, name: &str, said: &mut String) -> Result<bool> {
    let (text, done) = progress(object, name)?;
    if *said != text {
        output::line(&text)?;
        *said = text;
    }
    Ok(done)
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    map_at(object, "metadata.annotations")?.get(key)?.as_str()
}

fn revision_of(object: &Value) -> i64 {
    annotation(object, REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// The deployment's replica sets that hold a revision, oldest first.
async fn revisions(session: &Session, deployment: &Value) -> Result<Vec<Value>> {
    let uid = str_at(deployment, "metadata.uid").unwrap_or("");
    let list = session.api_of("apps", "replicasets").list(&ListParams::default(), View::Full).await?;
    let mut owned: Vec<Value> = list
        .items
        .into_iter()
        .filter(|rs| {
            list_at(rs, "metadata.ownerReferences")
                .iter()
                .any(|o| str_at(o, "uid") == Some(uid) && bool_at(o, "controller"))
        })
        .filter(|rs| revision_of(rs) > 0)
        .collect();
    owned.sort_by_key(revision_of);
    Ok(owned)
}

async fn history(session: &Session, target: &Target<'_>, revision: i64) -> Result<()> {
    let deployment = target.get().await?;
    let sets = revisions(session, &deployment).await?;
    let title = format!("{}/{}", target.resource.display(), target.name);
    if revision > 0 {
        let set = sets.iter().find(|rs| revision_of(rs) == revision);
        let set = set.with_context(|| format!("unable to find the specified revision {revision} of {title}"))?;
        let template = output::yaml(set.get("spec").and_then(|s| s.get("template")).unwrap_or(&Value::Null))?;
        return output::print(&format!("{title} with revision #{revision}\nPod Template:\n{template}"));
    }
    let mut lines = vec![vec!["REVISION".to_owned(), "CHANGE-CAUSE".to_owned()]];
    lines.extend(
        sets.iter()
            .map(|rs| vec![revision_of(rs).to_string(), annotation(rs, CHANGE_CAUSE).unwrap_or("<none>").to_owned()]),
    );
    output::print(&format!("{title}\n{}\n", output::align(&lines).replace("   ", "  ")))
}

async fn undo(session: &Session, target: &Target<'_>, to: i64) -> Result<()> {
    let deployment = target.get().await?;
    if bool_at(&deployment, "spec.paused") {
        bail!(
            "you cannot rollback a paused deployment; resume it first with 'gantryctl rollout resume deployment/{}' and try again",
            target.name
        );
    }
    let sets = revisions(session, &deployment).await?;
    let present = revision_of(&deployment);
    let wanted = if to > 0 {
        sets.iter()
            .find(|rs| revision_of(rs) == to)
            .with_context(|| format!("unable to find the specified revision {to} in history"))?
    } else {
        sets.iter()
            .rfind(|rs| revision_of(rs) < present)
            .with_context(|| format!("no rollout history found for deployment {:?}", target.name))?
    };
    let mut template = wanted.get("spec").and_then(|s| s.get("template")).cloned().unwrap_or_default();
    if let Some(labels) = gantry_api::value::get_mut(&mut template, "metadata.labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    if deployment.get("spec").and_then(|s| s.get("template")) == Some(&template) {
        return target
            .done(&format!("skipped rollback (current template already matches revision {})", revision_of(wanted)));
    }
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
    target.api.patch(&target.name, "", &Patch::Json(patch), &submit::params(DryRun::None, MANAGER)).await?;
    target.done("rolled back")
}

async fn pause(target: &Target<'_>, paused: bool) -> Result<()> {
    let now = bool_at(&target.get().await?, "spec.paused");
    let (word, already) = if paused { ("paused", "already paused") } else { ("resumed", "not paused") };
    if now == paused {
        bail!("{}.apps {:?} is {already}", target.resource.id.resource, target.name);
    }
    target.patch(json!({"spec": {"paused": if paused { json!(true) } else { Value::Null }}})).await?;
    target.done(word)
}

async fn restart(target: &Target<'_>) -> Result<()> {
    if bool_at(&target.get().await?, "spec.paused") {
        bail!("can't restart paused deployment (run rollout resume first)");
    }
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    target.patch(json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}})).await?;
    target.done("restarted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_kubectls_words() {
        let d = |spec: i64, updated: i64, all: i64, available: i64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": spec}, "status": {"observedGeneration": 2,
                "updatedReplicas": updated, "replicas": all, "availableReplicas": available}})
        };
        for (object, text, done) in [
            (
                d(3, 1, 4, 3),
                "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated...",
                false,
            ),
            (
                d(3, 3, 4, 3),
                "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...",
                false,
            ),
            (
                d(3, 3, 3, 2),
                "Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available...",
                false,
            ),
            (d(3, 3, 3, 3), "deployment \"web\" successfully rolled out", true),
        ] {
            assert_eq!(progress(&object, "web").expect("no deadline"), (text.to_owned(), done));
        }
        let late = json!({"status": {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}});
        assert!(progress(&late, "web").is_err());
    }
}
