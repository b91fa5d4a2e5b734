//! `gantryctl create`: from files, or from flags for common kinds.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Subcommand;
use gantry_api::value::Value;
use serde_json::{Map, json};

use super::DryRun;
use crate::{
    Global,
    manifests::{self, Manifest},
    output::{self, Format},
    session::Session,
    submit,
};

/// Flags of `create`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  gantryctl create -f web.yaml\n  gantryctl create deployment --image=nginx nginx\n  gantryctl create deployment --image=nginx nginx --dry-run=client -o yaml"
)]
pub struct Args {
    #[command(subcommand)]
    kind: Option<Kind>,
    /// Create the objects of these files
    #[arg(short, long, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// Folders with their subfolders
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    how: How,
}

/// How the result is shown, and whether it is stored.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct How {
    /// Only print what would be sent (client), or let the server do all but store it (server)
    #[arg(long, value_enum, default_value_t, num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    pub(crate) dry_run: DryRun,
    /// Print as
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// A deployment of an image
    #[command(alias = "deploy")]
    Deployment(Deployment),
    /// A namespace
    #[command(alias = "ns")]
    Namespace(Named),
    /// A service account
    #[command(alias = "sa")]
    Serviceaccount(Named),
    /// A config map from literals and files
    #[command(alias = "cm")]
    Configmap(Data),
    /// A secret
    #[command(subcommand)]
    Secret(Secret),
}

#[derive(Debug, Subcommand)]
enum Secret {
    /// An Opaque secret from literals and files
    Generic(Data),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Name of the object
    name: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct Deployment {
    /// Name of the deployment
    name: String,
    /// Image to run; several make several containers
    #[arg(long, required = true)]
    image: Vec<String>,
    /// How many pods
    #[arg(short, long, default_value_t = 1)]
    replicas: i32,
    /// Port that the container listens on
    #[arg(long)]
    port: Option<u16>,
    /// Command of the container
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct Data {
    /// Name of the object
    name: String,
    /// KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    from_literal: Vec<String>,
    /// [KEY=]FILE, or a folder
    #[arg(long, value_name = "FILE")]
    from_file: Vec<String>,
    #[command(flatten)]
    how: How,
}

impl Kind {
    fn how(&self) -> &How {
        match self {
            Self::Deployment(d) => &d.how,
            Self::Namespace(n) | Self::Serviceaccount(n) => &n.how,
            Self::Configmap(d) | Self::Secret(Secret::Generic(d)) => &d.how,
        }
    }

    fn object(&self) -> Result<Value> {
        Ok(match self {
            Self::Deployment(d) => d.object()?,
            Self::Namespace(n) => json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n.name}}),
            Self::Serviceaccount(n) => {
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": n.name}})
            }
            Self::Configmap(d) => d.config_map()?,
            Self::Secret(Secret::Generic(d)) => d.secret()?,
        })
    }
}

/// The `env` of a container, from `KEY=VALUE` flags.
///
/// # Errors
/// When one is something else.
pub(crate) fn environment(pairs: &[String]) -> Result<Vec<Value>> {
    let one = |pair: &String| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
        _ => bail!("invalid env: {pair}, expected KEY=VALUE"),
    };
    pairs.iter().map(one).collect()
}

/// The name of the container of an image: its last path part without tag and digest.
pub(crate) fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let base = last.split(['@', ':']).next().unwrap_or(last);
    base.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

impl Deployment {
    fn object(&self) -> Result<Value> {
        if self.image.len() > 1 && !self.command.is_empty() {
            bail!("cannot specify multiple --image options and command");
        }
        let containers: Vec<Value> = self
            .image
            .iter()
            .map(|image| {
                let mut c = json!({"name": container_name(image), "image": image, "resources": {}});
                if !self.command.is_empty() {
                    c["command"] = json!(self.command);
                }
                if let Some(port) = self.port {
                    c["ports"] = json!([{"containerPort": port}]);
                }
                c
            })
            .collect();
        let labels = json!({"app": self.name});
        Ok(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {"replicas": self.replicas, "selector": {"matchLabels": labels}, "strategy": {},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}}}))
    }
}

impl Data {
    fn entries(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut out = BTreeMap::new();
        for literal in &self.from_literal {
            let Some((key, value)) = literal.split_once('=') else {
                bail!("invalid literal source {literal}, expected key=value")
            };
            out.insert(key.to_owned(), value.as_bytes().to_vec());
        }
        for source in &self.from_file {
            let (key, path) = source.split_once('=').map_or((None, source.as_str()), |(k, p)| (Some(k), p));
            let path = PathBuf::from(path);
            let files = if path.is_dir() {
                let entries =
                    fs::read_dir(&path).with_context(|| format!("cannot read the folder {}", path.display()))?;
                entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.is_file()).collect()
            } else {
                vec![path]
            };
            for file in files {
                let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                out.insert(key.map_or(name, str::to_owned), bytes);
            }
        }
        Ok(out)
    }

    fn config_map(&self) -> Result<Value> {
        let (mut data, mut binary) = (Map::new(), Map::new());
        for (key, bytes) in self.entries()? {
            match String::from_utf8(bytes) {
                Ok(text) => data.insert(key, Value::String(text)),
                Err(e) => binary.insert(key, Value::String(STANDARD.encode(e.as_bytes()))),
            };
        }
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}});
        if !data.is_empty() {
            object["data"] = Value::Object(data);
        }
        if !binary.is_empty() {
            object["binaryData"] = Value::Object(binary);
        }
        Ok(object)
    }

    fn secret(&self) -> Result<Value> {
        let data: Map<String, Value> =
            self.entries()?.into_iter().map(|(k, v)| (k, Value::String(STANDARD.encode(v)))).collect();
        let mut object =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.name}, "type": "Opaque"});
        if !data.is_empty() {
            object["data"] = Value::Object(data);
        }
        Ok(object)
    }
}

impl Args {
    /// Whether no cluster is needed: an object from flags that is only printed.
    pub(crate) fn is_local(&self) -> bool {
        self.kind.as_ref().is_some_and(|k| k.how().dry_run == DryRun::Client)
    }

    pub(crate) fn run_local(self, flags: &Global) -> Result<()> {
        let Some(kind) = self.kind else { return Ok(()) };
        print_local(kind.object()?, kind.how(), flags)
    }

    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let (manifests, how) = match &self.kind {
            Some(kind) => (vec![Manifest { object: kind.object()?, source: "flags".to_owned() }], kind.how().clone()),
            None if self.filename.is_empty() => {
                bail!("must specify one of -f or a kind, for example `create deployment`")
            }
            None => (manifests::read(&self.filename, self.recursive)?, self.how.clone()),
        };
        for manifest in manifests {
            submit::create(session, &manifest, &how, "gantryctl-create").await?;
        }
        Ok(())
    }
}

/// Prints an object that is not sent anywhere.
pub(crate) fn print_local(mut object: Value, how: &How, flags: &Global) -> Result<()> {
    if let Some(namespace) = &flags.namespace {
        gantry_api::value::set(&mut object, "metadata.namespace", namespace.as_str());
    }
    match how.output {
        Some(format) => output::data(&output::render(&object, format, None)?),
        None => output::line(&format!("{} created (dry run)", output::name_of(&object, None))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_named_after_their_image() {
        for (image, name) in
            [("nginx", "nginx"), ("registry:5000/team/My_App:1.2", "my-app"), ("busybox@sha256:00", "busybox")]
        {
            assert_eq!(container_name(image), name);
        }
    }
}
