//! `gantryctl scale`.

use anyhow::{Result, bail};
use gantry_api::value::{i64_at, str_at};
use gantry_client::{ListParams, Patch, View, WriteParams};
use serde_json::json;

use crate::{output, resources::Resource, session::Session};

/// Flags of `scale`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gantryctl scale deployment nginx --replicas=4\n  gantryctl scale --replicas=6 replicaset web-5d8f"
)]
pub struct Args {
    /// TYPE NAME... or TYPE/NAME...
    #[arg(required = true, value_name = "TYPE")]
    words: Vec<String>,
    /// How many replicas there are to be
    #[arg(long, allow_negative_numbers = true)]
    replicas: i64,
    /// Only if there are this many now
    #[arg(long)]
    current_replicas: Option<i64>,
    /// Only if the object has this resource version
    #[arg(long)]
    resource_version: Option<String>,
    /// All objects of the type in the namespace
    #[arg(long)]
    all: bool,
    /// Objects with these labels
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        if self.replicas < 0 {
            bail!("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
        }
        for (types, name) in super::targets(&self.words)? {
            for resource in session.catalogue().find_many(&types)? {
                for name in self.names(session, resource, name.as_deref()).await? {
                    self.scale(session, resource, &name).await?;
                }
            }
        }
        Ok(())
    }

    async fn names(&self, session: &Session, resource: &Resource, name: Option<&str>) -> Result<Vec<String>> {
        if let Some(name) = name {
            return Ok(vec![name.to_owned()]);
        }
        if !self.all && self.selector.is_empty() {
            bail!("resource(s) were provided, but no name was specified: give names, -l or --all");
        }
        let list = session.api(resource).list(&ListParams::labels(self.selector.clone()), View::Metadata).await?;
        Ok(list.items.iter().filter_map(|o| str_at(o, "metadata.name").map(str::to_owned)).collect())
    }

    async fn scale(&self, session: &Session, resource: &Resource, name: &str) -> Result<()> {
        let api = session.api(resource);
        if self.current_replicas.is_some() || self.resource_version.is_some() {
            let mut scale = api.get(name, "scale", View::Full).await?;
            let now = i64_at(&scale, "spec.replicas").unwrap_or(0);
            if let Some(expected) = self.current_replicas.filter(|n| *n != now) {
                bail!("Expected replicas to be {expected}, was {now}");
            }
            if let Some(expected) = &self.resource_version {
                gantry_api::value::set(&mut scale, "metadata.resourceVersion", expected.as_str());
            }
            gantry_api::value::set(&mut scale, "spec.replicas", self.replicas);
            api.update(name, "scale", &scale, &WriteParams::default()).await?;
        } else {
            let patch = Patch::Merge(json!({"spec": {"replicas": self.replicas}}));
            api.patch(name, "scale", &patch, &WriteParams::default()).await?;
        }
        output::line(&format!("{}/{name} scaled", resource.display()))
    }
}
