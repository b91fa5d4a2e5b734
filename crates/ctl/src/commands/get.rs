//! `gantryctl get`: lists and watches, printed as the server's tables or as objects.

use anyhow::{Result, bail};
use gantry_api::value::{Value, list_at};
use gantry_client::{DynApi, ListParams, View, watch::EventKind};
use serde_json::json;

use crate::{
    output::{self, Format, TablePrinter},
    resources::Resource,
    session::Session,
};

/// Objects per page of a list.
const PAGE: i64 = 500;

/// Flags of `get`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gantryctl get pods\n  gantryctl get deployment/web -o yaml\n  gantryctl get pods,services -A -o wide\n  gantryctl get pods -l app=web -w"
)]
pub struct Args {
    /// TYPE[,TYPE...] [NAME...] or TYPE/NAME...
    #[arg(required = true, value_name = "TYPE")]
    words: Vec<String>,
    /// Print as
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Go on and print changes
    #[arg(short, long)]
    watch: bool,
    /// Print only changes
    #[arg(long)]
    watch_only: bool,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only objects with these labels: `app=web,tier!=db`
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Only objects with these fields: `spec.nodeName=n1`
    #[arg(long, default_value = "", hide_default_value = true)]
    field_selector: String,
    /// A last column with the labels
    #[arg(long)]
    show_labels: bool,
    /// No header line
    #[arg(long)]
    no_headers: bool,
    /// Nothing is printed, and no error, for an object that does not exist
    #[arg(long)]
    ignore_not_found: bool,
}

struct Target<'s> {
    resource: &'s Resource,
    name: Option<String>,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let mut targets = Vec::new();
        for (types, name) in super::targets(&self.words)? {
            for resource in session.catalogue().find_many(&types)? {
                targets.push(Target { resource, name: name.clone() });
            }
        }
        if self.all_namespaces && targets.iter().any(|t| t.name.is_some()) {
            bail!("a resource cannot be retrieved by name across all namespaces: leave out -A or the name");
        }
        if self.watch || self.watch_only {
            let [target] = targets.as_slice() else { bail!("you may only watch one resource at a time") };
            return self.watch(session, target).await;
        }
        match self.output {
            Some(Format::Yaml | Format::Json | Format::Name) => self.objects(session, &targets).await,
            _ => self.tables(session, &targets).await,
        }
    }

    fn params(&self, name: Option<&str>) -> ListParams {
        let mut params = ListParams::labels(self.selector.clone());
        params.field_selector.clone_from(&self.field_selector);
        if let Some(name) = name {
            let comma = if params.field_selector.is_empty() { "" } else { "," };
            params.field_selector = format!("{}{comma}metadata.name={name}", params.field_selector);
        }
        params
    }

    fn api(&self, session: &Session, resource: &Resource) -> DynApi {
        if self.all_namespaces { session.api_in(resource, "") } else { session.api(resource) }
    }

    /// All pages of a list, as one view; `None` for a missing object that may be missing.
    async fn fetch(&self, session: &Session, target: &Target<'_>, view: View) -> Result<Vec<Value>> {
        let api = self.api(session, target.resource);
        if let Some(name) = &target.name {
            return match api.get(name, "", view).await {
                Ok(value) => Ok(vec![value]),
                Err(e) if e.is_not_found() && self.ignore_not_found => Ok(Vec::new()),
                Err(e) => Err(e.into()),
            };
        }
        let mut pages = Vec::new();
        let mut params = ListParams { limit: PAGE, ..self.params(None) };
        loop {
            let list = api.list(&params, view).await?;
            params.continue_token = list.continue_token;
            if matches!(view, View::Table | View::TableWithObject) {
                pages.push(list.list)
            } else {
                pages.extend(list.items)
            }
            if params.continue_token.is_empty() {
                return Ok(pages);
            }
        }
    }

    fn printer(&self, resource: &Resource, many: bool) -> TablePrinter {
        TablePrinter {
            wide: self.output == Some(Format::Wide),
            namespace: self.all_namespaces && resource.namespaced,
            labels: self.show_labels,
            no_headers: self.no_headers,
            prefix: if many { format!("{}/", resource.display()) } else { String::new() },
            ..TablePrinter::default()
        }
    }

    async fn tables(&self, session: &Session, targets: &[Target<'_>]) -> Result<()> {
        let several = targets.iter().any(|t| t.resource.id != targets[0].resource.id);
        let mut groups: Vec<(&Resource, Value)> = Vec::new();
        for target in targets {
            for table in self.fetch(session, target, View::Table).await? {
                match groups.iter_mut().find(|(r, _)| r.id == target.resource.id) {
                    Some((_, all)) => append_rows(all, &table),
                    None => groups.push((target.resource, table)),
                }
            }
        }
        groups.retain(|(_, table)| !list_at(table, "rows").is_empty());
        if groups.is_empty() {
            self.nothing_found(session, targets);
            return Ok(());
        }
        let texts: Vec<String> =
            groups.iter().map(|(resource, table)| self.printer(resource, several).render(table, true)).collect();
        output::print(&texts.join("\n"))
    }

    fn nothing_found(&self, session: &Session, targets: &[Target<'_>]) {
        if self.ignore_not_found {
            return;
        }
        let namespaced = targets.iter().any(|t| t.resource.namespaced);
        if namespaced && !self.all_namespaces {
            output::note(&format!("No resources found in {} namespace.", session.namespace));
        } else {
            output::note("No resources found");
        }
    }

    async fn objects(&self, session: &Session, targets: &[Target<'_>]) -> Result<()> {
        let format = self.output.unwrap_or(Format::Yaml);
        let mut all = Vec::new();
        for target in targets {
            for object in self.fetch(session, target, View::Full).await? {
                all.push((target.resource, object));
            }
        }
        if format == Format::Name {
            let names: String = all.iter().map(|(r, o)| format!("{}\n", output::name_of(o, Some(r)))).collect();
            return output::print(&names);
        }
        let single = targets.len() == 1 && targets[0].name.is_some();
        match (single, all.as_slice()) {
            (true, []) => Ok(()),
            (true, [(resource, object)]) => output::data(&output::render(object, format, Some(resource))?),
            _ => {
                let items: Vec<Value> = all.into_iter().map(|(_, o)| o).collect();
                let list =
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items});
                output::data(&output::render(&list, format, None)?)
            }
        }
    }

    async fn watch(&self, session: &Session, target: &Target<'_>) -> Result<()> {
        let api = self.api(session, target.resource);
        let as_objects = matches!(self.output, Some(Format::Yaml | Format::Json | Format::Name));
        let view = if as_objects { View::Full } else { View::Table };
        let mut params = self.params(target.name.as_deref());
        let list = api.list(&params, view).await?;
        let mut printer = self.printer(target.resource, false);
        let mut header = !self.watch_only;
        if as_objects && !self.watch_only {
            for item in &list.items {
                output::data(&self.one(item, target.resource)?)?;
            }
        } else {
            printer.learn(&list.list);
            if !self.watch_only && !list_at(&list.list, "rows").is_empty() {
                output::print(&printer.render(&list.list, true))?;
                header = false;
            }
        }
        params.resource_version = list.resource_version;
        loop {
            let mut stream = api.watch(&params, false, view).await?;
            while let Some(event) = stream.next().await? {
                params.resource_version = event.revision.to_string();
                if matches!(event.kind, EventKind::Bookmark { .. }) {
                    continue;
                }
                let value: Value = serde_json::from_slice(&event.object)?;
                let text = if as_objects {
                    self.one(&value, target.resource)?
                } else {
                    printer.render(&value, std::mem::take(&mut header))
                };
                // Tables are harmless already.
                output::data(&text)?;
            }
        }
    }

    fn one(&self, object: &Value, resource: &Resource) -> Result<String> {
        let format = self.output.unwrap_or(Format::Yaml);
        let text = output::render(object, format, Some(resource))?;
        Ok(if format == Format::Yaml { format!("---\n{text}") } else { text })
    }
}

fn append_rows(all: &mut Value, page: &Value) {
    if let Some(rows) = all.get_mut("rows").and_then(Value::as_array_mut) {
        rows.extend(list_at(page, "rows").iter().cloned());
    }
}
