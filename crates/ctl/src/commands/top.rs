//! `gantryctl top`: what nodes and pods use, from metrics.k8s.io.

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use gantry_api::value::Value;
use gantry_client::{Error, ListParams, ResourceId, View};

use crate::{output, session::Session};

mod table;

use table::{NodeColumns, PodColumns};

/// Objects per page of a list.
const PAGE: i64 = 500;

/// By what rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortBy {
    /// The most CPU first.
    Cpu,
    /// The most memory first.
    Memory,
}

/// The verbs below `top`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What nodes use
    #[command(visible_aliases = ["nodes", "no"])]
    Node(NodeArgs),
    /// What pods use
    #[command(visible_aliases = ["pods", "po"])]
    Pod(PodArgs),
}

/// Flags of both.
#[derive(Debug, clap::Args)]
struct Selection {
    /// Only this one
    name: Option<String>,
    /// Only those with these labels: `app=web,tier!=db`
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// The most of this first [default: by name]
    #[arg(long, value_enum)]
    sort_by: Option<SortBy>,
    /// No header line
    #[arg(long)]
    no_headers: bool,
}

/// Flags of `top node`.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    #[command(flatten)]
    selection: Selection,
    /// Parts of the capacity, not of what pods can have
    #[arg(long)]
    show_capacity: bool,
}

/// Flags of `top pod`.
#[derive(Debug, clap::Args)]
pub struct PodArgs {
    #[command(flatten)]
    selection: Selection,
    /// Pods of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// A row for each container
    #[arg(long)]
    containers: bool,
    /// Only pods with these fields: `spec.nodeName=n1`
    #[arg(long, default_value = "", hide_default_value = true)]
    field_selector: String,
    /// The sum of all rows at the end
    #[arg(long)]
    sum: bool,
}

impl Selection {
    fn check(&self) -> Result<()> {
        if self.name.is_some() && !self.selector.is_empty() {
            bail!("only one of NAME or --selector can be provided");
        }
        Ok(())
    }
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self {
            Self::Node(args) => args.run(session).await,
            Self::Pod(args) => args.run(session).await,
        }
    }
}

/// One object, or all that are selected, page by page.
async fn read(
    session: &Session,
    id: ResourceId,
    namespace: &str,
    which: (&Option<String>, ListParams),
) -> Result<Vec<Value>> {
    let api = session.client.dynamic(id, namespace);
    let (name, mut params) = which;
    if let Some(name) = name {
        return Ok(vec![api.get(name, "", View::Full).await?]);
    }
    params.limit = PAGE;
    let mut items = Vec::new();
    loop {
        let list = api.list(&params, View::Full).await?;
        items.extend(list.items);
        params.continue_token = list.continue_token;
        if params.continue_token.is_empty() {
            return Ok(items);
        }
    }
}

fn metrics(resource: &str) -> ResourceId {
    ResourceId::new("metrics.k8s.io", "v1beta1", resource)
}

/// A cluster without the metrics API answers NotFound for the resource, not for an object.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let is_missing = error
        .downcast_ref::<Error>()
        .and_then(Error::status)
        .is_some_and(|s| s.reason == "NotFound" && s.details.as_ref().is_none_or(|d| d.name.is_empty()));
    if is_missing {
        error.context("Metrics API not available: the API server does not serve metrics.k8s.io/v1beta1")
    } else {
        error
    }
}

impl NodeArgs {
    async fn run(self, session: &Session) -> Result<()> {
        self.selection.check()?;
        let params = ListParams::labels(self.selection.selector.clone());
        let used =
            read(session, metrics("nodes"), "", (&self.selection.name, params.clone())).await.map_err(explain)?;
        let nodes = read(session, ResourceId::new("", "v1", "nodes"), "", (&self.selection.name, params)).await?;
        if used.is_empty() && nodes.is_empty() {
            output::note("No resources found");
            return Ok(());
        }
        let columns = NodeColumns {
            total: if self.show_capacity { "status.capacity" } else { "status.allocatable" },
            sort_by: self.selection.sort_by,
            header: !self.selection.no_headers,
        };
        output::print(&output::align(&columns.rows(&used, &nodes)))
    }
}

impl PodArgs {
    async fn run(self, session: &Session) -> Result<()> {
        self.selection.check()?;
        if self.all_namespaces && self.selection.name.is_some() {
            bail!("a pod cannot be named across all namespaces: leave out -A or the name");
        }
        let namespace = if self.all_namespaces { "" } else { &session.namespace };
        let mut params = ListParams::labels(self.selection.selector.clone());
        params.field_selector.clone_from(&self.field_selector);
        let used = read(session, metrics("pods"), namespace, (&self.selection.name, params)).await.map_err(explain)?;
        if used.is_empty() {
            let place = if self.all_namespaces { String::new() } else { format!(" in {namespace} namespace.") };
            output::note(&format!("No resources found{place}"));
            return Ok(());
        }
        let columns = PodColumns {
            namespace: self.all_namespaces,
            containers: self.containers,
            sum: self.sum,
            sort_by: self.selection.sort_by,
            header: !self.selection.no_headers,
        };
        output::print(&output::align(&columns.rows(&used)))
    }
}
