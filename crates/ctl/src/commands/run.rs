//! `gantryctl run`: one pod of an image.

use anyhow::{Result, bail};
use gantry_api::value::Value;
use serde_json::json;

use super::{DryRun, create};
use crate::{Global, manifests::Manifest, session::Session, submit};

/// Flags of `run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gantryctl run nginx --image=nginx\n  gantryctl run job --image=busybox --restart=Never -- sh -c 'echo done'"
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
        let mut env = Vec::new();
        for pair in &self.env {
            let Some((name, value)) = pair.split_once('=') else { bail!("invalid env: {pair}, expected KEY=VALUE") };
            env.push(json!({"name": name, "value": value}));
        }
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
        create::print_local(self.object()?, &self.how, flags)
    }

    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let manifest = Manifest { object: self.object()?, source: "flags".to_owned() };
        submit::create(session, &manifest, &self.how, "gantryctl-run").await
    }
}
