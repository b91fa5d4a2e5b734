//! `gantryctl describe`: an object in words, with its events.

use anyhow::{Result, bail};
use gantry_api::value::{Value, str_at};
use gantry_client::{ListParams, View};

use crate::{describe as text, output, resources::Resource, session::Session};

/// Flags of `describe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE [NAME...] or TYPE/NAME...
    #[arg(required = true, value_name = "TYPE")]
    words: Vec<String>,
    /// Only objects with these labels
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// With the object's events
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    show_events: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let mut texts = Vec::new();
        for (types, name) in super::targets(&self.words)? {
            for resource in session.catalogue().find_many(&types)? {
                for object in self.objects(session, resource, name.as_deref()).await? {
                    texts.push(self.describe(session, resource, &object).await?);
                }
            }
        }
        if texts.is_empty() {
            bail!("no objects found");
        }
        output::print(&texts.join("\n\n"))
    }

    async fn objects(&self, session: &Session, resource: &Resource, name: Option<&str>) -> Result<Vec<Value>> {
        let namespace = if self.all_namespaces { "" } else { &session.namespace };
        let api = session.api_in(resource, namespace);
        let Some(name) = name else {
            return Ok(api.list(&ListParams::labels(self.selector.clone()), View::Full).await?.items);
        };
        match api.get(name, "", View::Full).await {
            Ok(object) => Ok(vec![object]),
            // As kubectl: a prefix of names is enough.
            Err(e) if e.is_not_found() => {
                let all = api.list(&ListParams::default(), View::Full).await?.items;
                let found: Vec<Value> = all
                    .into_iter()
                    .filter(|o| str_at(o, "metadata.name").is_some_and(|n| n.starts_with(name)))
                    .collect();
                if found.is_empty() { Err(e.into()) } else { Ok(found) }
            }
            Err(e) => Err(e.into()),
        }
    }

    async fn describe(&self, session: &Session, resource: &Resource, object: &Value) -> Result<String> {
        let namespace = str_at(object, "metadata.namespace").unwrap_or("");
        let name = str_at(object, "metadata.name").unwrap_or("");
        let related = self.related(session, resource, object).await?;
        let events =
            if self.show_events { Some(events(session, resource, namespace, name, object).await?) } else { None };
        Ok(text::object(&resource.kind, object, &related, events.as_deref(), jiff::Timestamp::now()))
    }

    /// What a description shows beside the object: a node's pods, a service's slices, a deployment's replica sets.
    async fn related(&self, session: &Session, resource: &Resource, object: &Value) -> Result<Vec<Value>> {
        let name = str_at(object, "metadata.name").unwrap_or("");
        let namespace = str_at(object, "metadata.namespace").unwrap_or("");
        let (group, plural, scope, params) = match resource.kind.as_str() {
            "Node" => ("", "pods", "", ListParams::fields(format!("spec.nodeName={name}"))),
            "Service" => (
                "discovery.k8s.io",
                "endpointslices",
                namespace,
                ListParams::labels(format!("kubernetes.io/service-name={name}")),
            ),
            "Deployment" => ("apps", "replicasets", namespace, ListParams::default()),
            _ => return Ok(Vec::new()),
        };
        let id = gantry_client::ResourceId::new(group, "v1", plural);
        Ok(session.client.dynamic(id, scope).list(&params, View::Full).await?.items)
    }
}

async fn events(
    session: &Session,
    resource: &Resource,
    namespace: &str,
    name: &str,
    object: &Value,
) -> Result<Vec<Value>> {
    let mut selector = format!("involvedObject.name={name},involvedObject.kind={}", resource.kind);
    if let Some(uid) = str_at(object, "metadata.uid").filter(|_| resource.kind != "Node") {
        selector = format!("{selector},involvedObject.uid={uid}");
    }
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    let id = gantry_client::ResourceId::new("", "v1", "events");
    match session.client.dynamic(id, namespace).list(&ListParams::fields(selector), View::Full).await {
        Ok(list) => Ok(list.items),
        // A user may see the object but not its events.
        Err(e) if e.is_forbidden() => Ok(Vec::new()),
        Err(e) => Err(e.into()),
    }
}
