//! `gantryctl run`: one pod of an image.

use std::time::Duration;

use anyhow::{Result, bail};
use gantry_api::value::{Value, str_at};
use gantry_client::DeleteParams;
use serde_json::json;

use super::{DryRun, create, live};
use crate::{CommandFailed, Global, Interrupted, manifests::Manifest, output, session::Session, submit};

/// Flags of `run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gantryctl run nginx --image=nginx\n  gantryctl run job --image=busybox --restart=Never -- sh -c 'echo done'\n  gantryctl run -it --rm shell --image=busybox --restart=Never -- sh"
)]
pub struct Args {
    /// Name of the pod
    name: String,
    /// Image to run
    #[arg(long)]
    image: String,
    /// Port that the container listens on
    #[arg(long)]
    port: Option<u16>,
    /// KEY=VALUE for the container's environment
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// KEY=VALUE[,KEY=VALUE]; default run=NAME
    #[arg(short, long)]
    labels: Option<String>,
    /// Always, OnFailure or Never
    #[arg(long, default_value = "Always", value_parser = ["Always", "OnFailure", "Never"])]
    restart: String,
    /// Always, IfNotPresent or Never
    #[arg(long, value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: Option<String>,
    /// The words after -- are the command, not its arguments
    #[arg(long)]
    command: bool,
    /// Send standard input to the container, and join it
    #[arg(short = 'i', long)]
    stdin: bool,
    /// The container gets a terminal: this one, with -i
    #[arg(short, long)]
    tty: bool,
    /// Join the container once it runs [default: with -i]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    attach: Option<bool>,
    /// Delete the pod when it was joined and has ended
    #[arg(long)]
    rm: bool,
    /// Print only what the container prints
    #[arg(short, long)]
    quiet: bool,
    /// How long the container may take until it runs
    #[arg(long, default_value = "1m", value_parser = gantry_common::daemon::duration)]
    pod_running_timeout: Duration,
    /// Arguments of the container (or its command, with --command)
    #[arg(last = true)]
    words: Vec<String>,
    #[command(flatten)]
    how: create::How,
}

impl Args {
    fn object(&self) -> Result<Value> {
        let mut container = json!({"name": self.name, "image": self.image, "resources": {}});
        if let Some(policy) = &self.image_pull_policy {
            container["imagePullPolicy"] = json!(policy);
        }
        if !self.words.is_empty() {
            container[if self.command { "command" } else { "args" }] = json!(self.words);
        }
        if let Some(port) = self.port {
            container["ports"] = json!([{"containerPort": port}]);
        }
        if self.stdin {
            container["stdin"] = json!(true);
            // What was joined by one client ends with it, as a program at the end of a pipe does.
            container["stdinOnce"] = json!(true);
        }
        if self.tty {
            container["tty"] = json!(true);
        }
        let env = create::environment(&self.env)?;
        if !env.is_empty() {
            container["env"] = Value::Array(env);
        }
        let mut labels = serde_json::Map::new();
        match &self.labels {
            None => drop(labels.insert("run".to_owned(), json!(self.name))),
            Some(text) => {
                for pair in text.split(',').filter(|p| !p.is_empty()) {
                    let Some((key, value)) = pair.split_once('=') else { bail!("unexpected label spec: {pair}") };
                    labels.insert(key.to_owned(), json!(value));
                }
            }
        }
        Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.name, "labels": labels},
            "spec": {"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": self.restart}}))
    }

    /// Whether no cluster is needed.
    pub(crate) fn is_local(&self) -> bool {
        self.how.dry_run == DryRun::Client
    }

    pub(crate) fn run_local(self, flags: &Global) -> Result<()> {
        self.check()?;
        create::print_local(self.object()?, &self.how, flags)
    }

    fn joins(&self) -> bool {
        self.attach.unwrap_or(self.stdin)
    }

    fn check(&self) -> Result<()> {
        if self.rm && !self.joins() {
            bail!("--rm should only be used for attached containers: add --attach or -i");
        }
        if self.joins() && (self.how.dry_run != DryRun::None || self.how.output.is_some()) {
            bail!("--dry-run and --output cannot be used with an attached container: leave -i and --attach out");
        }
        Ok(())
    }

    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        self.check()?;
        let manifest = Manifest { object: self.object()?, source: "flags".to_owned() };
        if !self.joins() {
            return submit::create(session, &manifest, &self.how, "gantryctl-run").await;
        }
        let params = submit::params(DryRun::None, "gantryctl-run");
        let created = session.api_of("", "pods").create("", "", &manifest.object, &params).await;
        let reply = created.map_err(|e| submit::refused(e, &manifest, "creating"))?;
        submit::warn(&reply.warnings);
        let joined = self.join(session).await;
        if self.rm {
            let deleted = self.delete(session, &reply.object).await;
            // What the container ended with says more than that it could not be removed, so it is told last.
            match (&joined, deleted) {
                (Ok(()), deleted) => return deleted,
                (Err(_), Err(error)) => output::note(&format!("error: {error:#}")),
                (Err(_), Ok(())) => {}
            }
        }
        joined
    }

    async fn join(&self, session: &Session) -> Result<()> {
        let wanted = live::Wanted {
            pod: &self.name,
            container: &self.name,
            stdin: self.stdin,
            tty: self.tty,
            quiet: self.quiet,
            patience: self.pod_running_timeout,
        };
        let result = live::join(session, wanted).await;
        let ended = match &result {
            Ok(()) => true,
            Err(error) => error.is::<CommandFailed>() || error.is::<Interrupted>(),
        };
        if ended && !self.rm && !self.quiet && self.restart == "Always" {
            let flags = if self.tty { " -i -t" } else { " -i" };
            output::note(&format!(
                "Session ended, resume using 'gantryctl attach {0} -c {0}{flags}' command when the pod is running",
                self.name
            ));
        }
        result
    }

    /// Deletes the pod that was made, and no namesake of it.
    async fn delete(&self, session: &Session, pod: &Value) -> Result<()> {
        let uid = str_at(pod, "metadata.uid").unwrap_or_default();
        match session.api_of("", "pods").delete(&self.name, &DeleteParams::default().uid(uid)).await {
            Ok(_) if self.quiet => Ok(()),
            Ok(_) => output::line(&format!("pod {:?} deleted", self.name)),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(anyhow::Error::from(error).context(format!("cannot delete pod {}", self.name))),
        }
    }
}
